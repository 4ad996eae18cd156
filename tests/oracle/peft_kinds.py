"""Kinds of adapters as PEFT has them: tests/fixtures/peft/<name>/.

Each begins with given values (a file of what is trained, under PEFT's names, which PEFT itself never writes), is trained by SFT for six updates, and is
then saved by PEFT. Kept are the losses and gradient norms, the first gradients, PEFT's folder, and the logits of a sequence with the reloaded folder.
`--read DIR` prints the logits that PEFT computes with an adapter of ours.
"""

import argparse
import json
import shutil
import sys

import torch
from peft import PeftModel, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, LoraConfig, get_peft_model
from transformers import LlamaForCausalLM, get_linear_schedule_with_warmup

from common import FIXTURES, generator, write_json_rows, write_tensors

OUT, BASE = FIXTURES / "peft", FIXTURES / "models" / "llama"
VOCAB, PAD = 96, 0
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CFG = dict(per_device_train_batch_size=2, max_steps=6, learning_rate=0.01, lr_scheduler_type="linear", max_grad_norm=1.0, shuffle=False)
COMMON = dict(task_type="CAUSAL_LM")
LSTM = dict(num_virtual_tokens=5, encoder_reparameterization_type="LSTM", **COMMON)

CASES = {
    "prompt_tuning": PromptTuningConfig(num_virtual_tokens=8, **COMMON),
    "p_tuning_mlp": PromptEncoderConfig(num_virtual_tokens=6, encoder_hidden_size=24, **COMMON),
    "p_tuning_lstm": PromptEncoderConfig(encoder_hidden_size=12, encoder_num_layers=1, **LSTM),
    "p_tuning_lstm2": PromptEncoderConfig(encoder_hidden_size=10, encoder_num_layers=2, **LSTM),
    "prefix_tuning": PrefixTuningConfig(num_virtual_tokens=8, **COMMON),
    "prefix_tuning_projection": PrefixTuningConfig(num_virtual_tokens=5, prefix_projection=True, encoder_hidden_size=20, **COMMON),
    "lora_dora": LoraConfig(r=4, lora_alpha=8, target_modules=LINEARS, use_dora=True, **COMMON),
    "lora_dora_head": LoraConfig(r=3, lora_alpha=6, target_modules=["q_proj", "down_proj", "lm_head"], use_dora=True, use_rslora=True, **COMMON),
    "lora_modules_to_save": LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], modules_to_save=["lm_head"], **COMMON),
}


def base_model():
    return LlamaForCausalLM.from_pretrained(BASE, attn_implementation="eager", dtype=torch.float32)


def ids(name: str, n: int) -> list[int]:
    return torch.randint(3, VOCAB, (n,), generator=generator(name)).tolist()


def rows(name: str) -> list[dict]:
    """Answers are judged; the prompts have labels of −100."""
    out = []
    for i in range(12):
        x = ids(f"{name}/{i}", 6 + (5 * i) % 9)
        at = 2 + i % 3
        out.append({"input_ids": x, "labels": [-100] * at + x[at:]})
    return out


def batch(rows: list[dict]):
    n = max(len(r["input_ids"]) for r in rows)
    pad = lambda v, p: torch.tensor([list(r[v]) + [p] * (n - len(r[v])) for r in rows])
    mask = torch.tensor([[1] * len(r["input_ids"]) + [0] * (n - len(r["input_ids"])) for r in rows])
    return pad("input_ids", PAD), mask, pad("labels", -100)


def begin(model: PeftModel, name: str):
    """Values that do something, the same on every machine."""
    for key, p in model.named_parameters():
        if not p.requires_grad:
            continue
        x = torch.randn(p.shape, generator=generator(f"{name}/{key}"))
        with torch.no_grad():
            if "lora_magnitude" in key:
                p.mul_(1 + 0.1 * x)
            elif "modules_to_save" in key:
                p.add_(0.02 * x)
            elif "lora_A" in key:
                p.copy_(x * p.shape[1] ** -0.5)
            elif "lora_B" in key:
                p.copy_(x * 0.3)
            elif "embedding" in key:
                p.copy_(x * 0.5)
            else:
                p.copy_(x * 0.4)


def trained(model) -> dict:
    return {k: p for k, p in model.named_parameters() if p.requires_grad}


def save(model: PeftModel, folder):
    shutil.rmtree(folder, ignore_errors=True)
    for c in model.peft_config.values():
        c.base_model_name_or_path = "fledgling/tiny-llama"
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    if isinstance(config.get("target_modules"), list):
        config["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    (folder / "adapter_model.safetensors").chmod(0o644)


def logits(model, x):
    with torch.no_grad():
        out = model(input_ids=x).logits
    return out[0, -x.shape[1]:]


def case(name: str, config):
    torch.manual_seed(0)
    model = get_peft_model(base_model(), config)
    begin(model, name)
    model.train()
    plain = lambda o: sorted(o) if isinstance(o, set) else getattr(o, "value", str(o))
    written = {k: v for k, v in json.loads(json.dumps(config.to_dict(), default=plain)).items() if v is not None}
    start = {k: p.detach().clone() for k, p in trained(model).items()}
    data = rows(name)
    opt = torch.optim.AdamW(list(trained(model).values()), lr=CFG["learning_rate"], weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(opt, 0, CFG["max_steps"])
    steps, first = [], None
    for i in range(CFG["max_steps"]):
        x, mask, y = batch(data[2 * i:2 * i + 2])
        out = model(input_ids=x, attention_mask=mask, labels=None).logits
        out = out[:, -x.shape[1]:]
        logp = torch.log_softmax(out[:, :-1], -1).gather(-1, y[:, 1:].clamp(min=0).unsqueeze(-1)).squeeze(-1)
        seen = (y[:, 1:] != -100)
        loss = -(logp * seen).sum() / seen.sum()
        loss.backward()
        if first is None:
            first = {k: p.grad.detach().clone() for k, p in trained(model).items()}
        norm = torch.nn.utils.clip_grad_norm_(list(trained(model).values()), CFG["max_grad_norm"])
        steps.append({"step": i + 1, "loss": loss.item(), "grad_norm": norm.item()})
        opt.step()
        schedule.step()
        opt.zero_grad()
    model.eval()
    folder = OUT / name
    save(model, folder)
    x = torch.tensor([ids(f"{name}/seen", 11)])
    again = PeftModel.from_pretrained(base_model(), folder).eval()
    seen = logits(again, x)
    assert (seen - logits(model, x)).abs().max() < 2e-5, name
    expected = {"logits": seen}
    expected |= {f"start/{k}": v for k, v in start.items()} | {f"grad/{k}": v for k, v in first.items()}
    write_tensors(folder / "expected.safetensors", expected)
    head = {"config": CFG, "peft_config": written, "seen": x[0].tolist(), "rows": data}
    write_json_rows(folder / "curve.json", head, "steps", steps)
    print(f"{name}: loss {steps[0]['loss']:.4f} → {steps[-1]['loss']:.4f}, {sum(v.numel() for v in start.values())} values")


WEIGHTED = {
    "linear": dict(weights=[0.7, 0.3], combination_type="linear"),
    "linear_negative": dict(weights=[1.0, -0.5], combination_type="linear"),
    "cat": dict(weights=[0.7, 0.3], combination_type="cat"),
    "svd": dict(weights=[0.7, 0.3], combination_type="svd"),
}


def weighted():
    """Two adapters and PEFT's add_weighted_adapter of them."""
    folder = OUT / "lora_weighted"
    shutil.rmtree(folder, ignore_errors=True)
    for name, alpha in [("a", 8), ("b", 12)]:
        model = get_peft_model(base_model(), LoraConfig(r=4, lora_alpha=alpha, target_modules=LINEARS, **COMMON))
        begin(model, f"weighted/{name}")
        save(model, folder / name)
    x = torch.tensor([ids("weighted/seen", 11)])
    expected = {}
    for name, how in WEIGHTED.items():
        model = PeftModel.from_pretrained(base_model(), folder / "a", adapter_name="a")
        model.load_adapter(folder / "b", "b")
        model.add_weighted_adapter(["a", "b"], adapter_name="both", **how)
        model.set_adapter("both")
        expected[name] = logits(model.eval(), x)
        lora = model.base_model.model.model.layers[0].self_attn.q_proj
        product = lora.lora_B["both"].weight @ lora.lora_A["both"].weight * lora.scaling["both"]
        expected[f"{name}.product"] = product
        if name.startswith("linear"):
            expected[f"{name}.a"], expected[f"{name}.b"] = lora.lora_A["both"].weight, lora.lora_B["both"].weight
        print(f"weighted {name}: r {model.peft_config['both'].r}, alpha {model.peft_config['both'].lora_alpha}, scale {lora.scaling['both']}")
    write_tensors(folder / "expected.safetensors", expected)
    (folder / "seen.json").write_text(json.dumps(x[0].tolist()) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--read", help="an adapter's folder, whose logits after --ids are printed")
    parser.add_argument("--ids", type=lambda s: [int(i) for i in s.split(",")])
    args = parser.parse_args()
    if args.read:
        model = PeftModel.from_pretrained(base_model(), args.read).eval()
        json.dump(logits(model, torch.tensor([args.ids]))[-1].tolist(), sys.stdout)
        sys.exit()
    for name, config in CASES.items():
        if not args.names or name in args.names:
            case(name, config)
    if not args.names or "lora_weighted" in args.names:
        weighted()
