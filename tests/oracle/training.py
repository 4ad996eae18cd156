"""LoRA curves on the tiny llama by every method, and adapters as PEFT writes them: tests/fixtures/training/.

The loops are written out here so that every formula can be read; `--check` runs TRL's own trainers on the same rows and compares.
"""

import argparse
import json
import math
import shutil
import sys

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM

import preference
from common import FIXTURES, generator, write_json_rows, write_tensors

OUT, BASE = FIXTURES / "training", FIXTURES / "models" / "llama"
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
VOCAB, PAD = 96, 0


def base_model():
    return LlamaForCausalLM.from_pretrained(BASE, attn_implementation="eager", dtype=torch.float32)


def save_adapter(model: PeftModel, folder):
    shutil.rmtree(folder, ignore_errors=True)
    for c in model.peft_config.values():
        c.base_model_name_or_path = "fledgling/tiny-llama"  # the config of an adapter names its base, never a path here
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    # PEFT keeps target_modules as a set: sorted here, so that the same numbers give the same bytes.
    config = json.loads((folder / "adapter_config.json").read_text())
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    (folder / "adapter_model.safetensors").chmod(0o644)


def init_adapter(name: str, config: LoraConfig, b_scale: float) -> PeftModel:
    """A random, B random times b_scale (0: the adapter changes nothing yet)."""
    model = get_peft_model(base_model(), config)
    for key, p in model.named_parameters():
        if "lora_" not in key:
            continue
        x = torch.randn(p.shape, generator=generator(f"{name}/{key}"))
        with torch.no_grad():
            p.copy_(x * (p.shape[1] ** -0.5 if "lora_A" in key else b_scale))
    return model


# ---- rows --------------------------------------------------------------------------------------------------------------

def ids(name: str, n: int) -> list[int]:
    return torch.randint(3, VOCAB, (n,), generator=generator(name)).tolist()


def sft_rows(completion_only: bool) -> list[dict]:
    rows = []
    for i, (p, c) in enumerate([(3, 8), (5, 4), (1, 12), (7, 7), (2, 3), (6, 10), (4, 1), (9, 6)]):
        row = {"input_ids": ids(f"sft/{i}", p + c - 1) + [2]}
        if completion_only:
            row["labels"] = [-100] * p + row["input_ids"][p:]
        rows.append(row)
    return rows


def dpo_rows() -> list[dict]:
    return [{"prompt_ids": ids(f"dpo/{i}/prompt", p), "chosen_ids": ids(f"dpo/{i}/chosen", c - 1) + [2],
             "rejected_ids": ids(f"dpo/{i}/rejected", r - 1) + [2]}
            for i, (p, c, r) in enumerate([(3, 6, 4), (5, 2, 9), (1, 5, 5), (8, 7, 1), (2, 9, 3), (6, 4, 8), (4, 3, 3), (7, 1, 6)])]


def kto_rows(group: int) -> list[dict]:
    """Seven rows, of which the last is alone in its group: it is paired with itself. `_other` is the mismatched answer: that of the row before
    in the same group, of the first the last one's."""
    rows = [{"prompt_ids": ids(f"kto3/{i}/prompt", p), "completion_ids": ids(f"kto3/{i}/completion", c - 1) + [2], "label": good}
            for i, (p, c, good) in enumerate([(3, 6, True), (5, 2, False), (1, 5, False), (8, 7, True), (2, 9, True), (6, 4, True), (4, 3, False)])]
    for first in range(0, len(rows), group):
        some = rows[first:first + group]
        for i, row in enumerate(some):
            row["_other"] = some[i - 1]["completion_ids"]
    return rows


def padded(rows: list[list[int]], fill: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([r + [fill] * (longest - len(r)) for r in rows])


# ---- losses ------------------------------------------------------------------------------------------------------------

ENTROPIES: list[torch.Tensor] = []  # of the tokens that the update under way judges
SQUARES: list[torch.Tensor] = []  # Σ over the judged tokens of ln Σ p² per row, of each call with a gradient


def token_logps(model, rows: list[list[int]], labels: list[list[int]], again: bool = False) -> torch.Tensor:
    """(N, T−1) log-probabilities of label t+1 at position t; 0 where the label is −100. `again`: these tokens are judged elsewhere, too."""
    x, y = padded(rows, PAD), padded(labels, -100)
    mask = padded([[1] * len(r) for r in rows], 0)
    lp = torch.log_softmax(model(input_ids=x, attention_mask=mask).logits[:, :-1], -1)
    y = y[:, 1:]
    if torch.is_grad_enabled() and not again:
        ENTROPIES.append(-(lp.exp() * lp).sum(-1)[y != -100].detach())
        SQUARES.append(torch.where(y == -100, 0.0, torch.logsumexp(2 * lp, -1)).sum(1).detach())
    return torch.where(y == -100, 0.0, lp.gather(-1, y.clamp_min(0)[..., None])[..., 0])


def labels_of(row: dict) -> list[int]:
    return row.get("labels", row["input_ids"])


def sft_step(model, micro: list[list[dict]], cfg) -> dict:
    """Mean over the counted tokens of *all* micro-batches of the step, as Trainer does since 4.46."""
    count = sum(t != -100 for rows in micro for r in rows for t in labels_of(r)[1:])
    total = 0.0
    for rows in micro:
        loss = -token_logps(model, [r["input_ids"] for r in rows], [labels_of(r) for r in rows]).sum() / count
        loss.backward()
        total += loss.item()
    return {"loss": total, "counted_tokens": count}


def dpo_step(model, micro: list[list[dict]], cfg) -> dict:
    """Mean over pairs of each micro-batch, then over micro-batches. `ld_alpha`: tokens beyond the length of the shorter answer count less, under
    the reference, too. `use_weighting`: times exp of the mean over tokens of ln p − ln Σ p² of both answers."""
    beta, seen = cfg["beta"], []
    for rows in micro:
        counts = [torch.tensor([len(r[side]) for r in rows]) for side in ("chosen_ids", "rejected_ids")]
        shared = torch.minimum(*counts)

        def pair_logps():
            out = []
            for side in ("chosen_ids", "rejected_ids"):
                logps = answer_logps(model, rows, side)
                weights = torch.ones_like(logps)
                for i, r in enumerate(rows):
                    weights[i, len(r["prompt_ids"]) - 1 + int(shared[i]):] = cfg.get("ld_alpha", 1.0)
                out.append(((logps * weights).sum(1), logps.sum(1)))
            return out
        SQUARES.clear()
        (chosen, plain_chosen), (rejected, plain_rejected) = pair_logps()
        squares = list(SQUARES)
        with torch.no_grad(), model.disable_adapter():
            (ref_chosen, _), (ref_rejected, _) = pair_logps()
        losses = preference.losses(cfg, chosen, rejected, ref_chosen, ref_rejected, *counts)
        if cfg.get("use_weighting"):
            mean = [(p.detach() - s) / n for p, s, n in zip((plain_chosen, plain_rejected), squares, counts)]
            losses = losses * torch.exp(mean[0] + mean[1])
        (losses.mean() / len(micro)).backward()
        rc, rr = beta * (chosen - ref_chosen), beta * (rejected - ref_rejected)
        seen.append({"loss": losses, "rewards/chosen": rc, "rewards/rejected": rr, "rewards/margins": rc - rr,
                     "rewards/accuracies": (rc > rr).float(), "logps/chosen": chosen, "logps/rejected": rejected})
    return {k: sum(m[k].mean().item() for m in seen) / len(seen) for k in seen[0]}


def answer_logps(model, rows: list[dict], side: str, again: bool = False) -> torch.Tensor:
    """(N, T−1) log-probabilities of an answer's tokens, 0 elsewhere."""
    return token_logps(model, [r["prompt_ids"] + r[side] for r in rows], [[-100] * len(r["prompt_ids"]) + r[side] for r in rows], again)


def kto_step(model, micro: list[list[dict]], cfg) -> dict:
    """Mean over the rows of each micro-batch, then over micro-batches; metrics of a kind of row only where there are such."""
    beta, weights, seen = cfg["beta"], {True: cfg["desirable_weight"], False: cfg["undesirable_weight"]}, []
    for rows in micro:
        logps = answer_logps(model, rows, "completion_ids").sum(1)
        with torch.no_grad():
            other = answer_logps(model, rows, "_other").sum(1)
            with model.disable_adapter():
                ref, ref_other = answer_logps(model, rows, "completion_ids").sum(1), answer_logps(model, rows, "_other").sum(1)
        kl = (other - ref_other).mean().clamp(min=0) if cfg["loss_type"] == "kto" else torch.zeros(())
        u, good = logps - ref, torch.tensor([r["label"] for r in rows])
        losses = torch.where(good, weights[True] * (1 - F.sigmoid(beta * (u - kl))), weights[False] * (1 - F.sigmoid(beta * (kl - u))))
        (losses.mean() / len(micro)).backward()
        m = {"loss": losses.mean().item(), "kl": kl.item()}
        for name, which in (("chosen", good), ("rejected", ~good)):
            if which.any():
                m[f"rewards/{name}"], m[f"logps/{name}"] = (beta * u)[which].mean().item(), logps[which].mean().item()
        if good.any() and not good.all():
            m["rewards/margins"] = m["rewards/chosen"] - m["rewards/rejected"]
        seen.append(m)
    keys = [k for k in ("loss", "kl", "rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected")
            if any(k in m for m in seen)]
    return {k: sum(m[k] for m in seen if k in m) / sum(k in m for m in seen) for k in keys}


def orpo_step(model, micro: list[list[dict]], cfg) -> dict:
    """nll over prompt and answer of the chosen sequences, odds from the answers' means; means of a micro-batch, then over micro-batches."""
    beta, seen = cfg["beta"], []
    for rows in micro:
        sides = ("chosen_ids", "rejected_ids")
        sums = [answer_logps(model, rows, side, again=side == "chosen_ids").sum(1) for side in sides]
        mean = [s / torch.tensor([len(r[side]) for r in rows]) for s, side in zip(sums, sides)]
        whole = [r["prompt_ids"] + r["chosen_ids"] for r in rows]
        nll = -token_logps(model, whole, whole).sum() / sum(len(w) - 1 for w in whole)
        odds = (mean[0] - mean[1]) - (torch.log1p(-torch.exp(mean[0])) - torch.log1p(-torch.exp(mean[1])))
        ratio = F.logsigmoid(odds)
        loss = nll - beta * ratio.mean()
        (loss / len(micro)).backward()
        chosen, rejected = beta * mean[0], beta * mean[1]
        seen.append({"loss": loss, "rewards/chosen": chosen, "rewards/rejected": rejected, "rewards/margins": chosen - rejected,
                     "rewards/accuracies": (chosen > rejected).float(), "logps/chosen": mean[0], "logps/rejected": mean[1], "nll_loss": nll,
                     "log_odds_ratio": ratio, "log_odds_chosen": odds})
    return {k: sum(m[k].mean().item() for m in seen) / len(seen) for k in seen[0]}


def cpo_step(model, micro: list[list[dict]], cfg) -> dict:
    """Preference of sums (ipo, simpo: of means) plus cpo_alpha · nll over the chosen answers' tokens; alphapo bends what is compared."""
    kind, beta, eps, seen = cfg["loss_type"], cfg["beta"], cfg.get("label_smoothing", 0.0), []
    kind, imitation = ("simpo", 0.0) if kind == "alphapo" else (kind, cfg.get("cpo_alpha", 1.0))
    for rows in micro:
        sums = [answer_logps(model, rows, side).sum(1) for side in ("chosen_ids", "rejected_ids")]
        counts = [torch.tensor([len(r[side]) for r in rows]) for side in ("chosen_ids", "rejected_ids")]
        x = [s / n if kind in ("ipo", "simpo") else s for s, n in zip(sums, counts)]
        alpha = cfg.get("alpha", 0.0)
        c, r = [(1 - torch.exp(-alpha * v)) / alpha if alpha else v for v in x]
        z = c - r
        d = beta * z - (cfg.get("simpo_gamma", 0.5) if kind == "simpo" else 0.0)
        smoothed = -F.logsigmoid(d) * (1 - eps) - F.logsigmoid(-d) * eps
        losses = {"hinge": torch.relu(1 - beta * z), "ipo": (z - 1 / (2 * beta)) ** 2}.get(kind, smoothed)
        nll = -sums[0].sum() / counts[0].sum()
        loss = losses.mean() + imitation * nll
        (loss / len(micro)).backward()
        seen.append({"loss": loss, "rewards/chosen": beta * c, "rewards/rejected": beta * r, "rewards/margins": beta * (c - r),
                     "rewards/accuracies": (c > r).float(), "logps/chosen": x[0], "logps/rejected": x[1], "nll_loss": nll})
    return {k: sum(m[k].mean().item() for m in seen) / len(seen) for k in seen[0]}


# ---- the loop ----------------------------------------------------------------------------------------------------------

def lr_at(cfg: dict, step: int) -> float:
    """Learning rate of update `step`, counted from 0: with a warm-up the first update has rate 0."""
    warm, total = cfg["warmup_steps"], cfg["max_steps"]
    if step < warm:
        return cfg["learning_rate"] * step / max(1, warm)
    at = (step - warm) / max(1, total - warm)
    f = {"constant": 1.0, "linear": max(0.0, 1 - at), "cosine": max(0.0, 0.5 * (1 + math.cos(math.pi * at)))}
    return cfg["learning_rate"] * f[cfg["lr_scheduler_type"]]


def train(model: PeftModel, rows: list[dict], step_fn, cfg: dict) -> tuple[list[dict], dict]:
    params = {k: p for k, p in model.named_parameters() if p.requires_grad}
    opt = torch.optim.AdamW(params.values(), lr=0.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=cfg["weight_decay"])
    size, at, log, first = cfg["per_device_train_batch_size"], 0, [], {}
    for step in range(cfg["max_steps"]):
        micro = []
        for _ in range(cfg["gradient_accumulation_steps"]):
            micro.append(rows[at:at + size])
            at = at + size if at + size < len(rows) else 0
            if at == 0:
                break  # an update ends with the epoch
        opt.zero_grad()
        ENTROPIES.clear()
        metrics = step_fn(model, micro, cfg)
        metrics["entropy"] = torch.cat(ENTROPIES).mean().item()
        if step == 0:
            first = {f"grad/{k}": p.grad.clone() for k, p in params.items()}
        norm = torch.nn.utils.clip_grad_norm_(params.values(), cfg["max_grad_norm"]).item()
        lr = lr_at(cfg, step)
        opt.param_groups[0]["lr"] = lr
        opt.step()
        log.append({"step": step + 1, **metrics, "grad_norm": norm, "learning_rate": lr})
    return log, first


COMMON = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "max_steps": 10, "learning_rate": 5e-3, "warmup_steps": 2,
          "lr_scheduler_type": "linear", "weight_decay": 0.0, "max_grad_norm": 1.0}
DPO = {**COMMON, "learning_rate": 2e-2, "beta": 0.1, "label_smoothing": 0.0}
# Six updates from an adapter that does something, measured against the base model: a KL above 0 from the beginning.
PLAIN = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "max_steps": 6, "learning_rate": 1e-3, "warmup_steps": 0,
         "lr_scheduler_type": "constant", "weight_decay": 0.0, "max_grad_norm": 1e9}
KTO = {**PLAIN, "beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.33, "loss_type": "kto"}
ORPO = {**PLAIN, "beta": 0.1}
CURVES = {  # name: (method, config, completion-only)
    "sft": ("sft", COMMON, False),
    "sft_completion": ("sft", COMMON, True),
    "sft_accumulate": ("sft", {**COMMON, "gradient_accumulation_steps": 2}, True),
    "sft_cosine_decay": ("sft", {**COMMON, "lr_scheduler_type": "cosine", "weight_decay": 0.1, "warmup_steps": 0}, False),
    "dpo": ("dpo", DPO, True),
    "dpo_accumulate": ("dpo", {**DPO, "gradient_accumulation_steps": 2, "lr_scheduler_type": "constant", "warmup_steps": 0}, True),
    **{f"dpo_{name}": ("dpo", {**PLAIN, "beta": 0.1, "label_smoothing": 0.0, **cfg}, True) for name, cfg in {
        "hinge": dict(loss_type="hinge"), "ipo": dict(loss_type="ipo"), "robust": dict(loss_type="robust", label_smoothing=0.1),
        "exo_pair": dict(loss_type="exo_pair", label_smoothing=1e-3), "nca_pair": dict(loss_type="nca_pair"),
        "bco_pair": dict(loss_type="bco_pair"), "sppo_hard": dict(loss_type="sppo_hard"), "apo_zero": dict(loss_type="apo_zero"),
        "apo_down": dict(loss_type="apo_down"), "discopop": dict(loss_type="discopop"), "sigmoid_norm": dict(loss_type="sigmoid_norm", beta=2.0),
        "aot": dict(loss_type="aot", per_device_train_batch_size=6), "aot_unpaired": dict(loss_type="aot_unpaired", per_device_train_batch_size=6),
        "rpo": dict(loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.5]),
        "mpo": dict(loss_type=["sigmoid", "bco_pair", "sft"], loss_weights=[0.8, 0.2, 1.0]),
        "ld": dict(ld_alpha=0.5), "wpo": dict(use_weighting=True), "ld_wpo": dict(ld_alpha=0.5, use_weighting=True),
        "smoothing_ignored": dict(label_smoothing=0.1),
        "forward_kl": dict(f_divergence_type="forward_kl", learning_rate=5e-3),
        "js_divergence": dict(f_divergence_type="js_divergence", learning_rate=5e-3),
        "alpha_divergence": dict(f_divergence_type="alpha_divergence", learning_rate=5e-3),
    }.items()},
    "kto": ("kto", KTO, True),
    "kto_batch4": ("kto", {**KTO, "per_device_train_batch_size": 4, "undesirable_weight": 1.0}, True),
    "kto_apo_zero_unpaired": ("kto", {**KTO, "loss_type": "apo_zero_unpaired"}, True),
    "kto_accumulate": ("kto", {**KTO, "gradient_accumulation_steps": 2, "max_steps": 4}, True),
    "orpo": ("orpo", ORPO, True),
    **{name: ("cpo", {**PLAIN, "beta": 0.1, "loss_type": "sigmoid", **cfg}, True) for name, cfg in {
        "cpo": {}, "cpo_smoothing": dict(label_smoothing=0.1), "cpo_hinge": dict(loss_type="hinge"), "cpo_ipo": dict(loss_type="ipo"),
        "cpo_simpo": dict(loss_type="simpo", beta=2.0, simpo_gamma=1.0),
        "simpo": dict(loss_type="simpo", beta=2.0, simpo_gamma=1.0, cpo_alpha=0.0),
        "cpo_alphapo": dict(loss_type="alphapo", beta=0.5, simpo_gamma=0.25, alpha=0.1),
        "cpo_accumulate": dict(gradient_accumulation_steps=2, max_steps=3),
    }.items()},
    "orpo_accumulate": ("orpo", {**ORPO, "gradient_accumulation_steps": 2, "max_steps": 3}, True),
}
STEPS = {"sft": sft_step, "dpo": dpo_step, "kto": kto_step, "orpo": orpo_step, "cpo": cpo_step}


def rows_of(method: str, cfg: dict, completion: bool) -> list[dict]:
    of = {"sft": lambda: sft_rows(completion), "kto": lambda: kto_rows(cfg["per_device_train_batch_size"])}
    return of.get(method, dpo_rows)()


def shown(rows: list[dict]) -> list[dict]:
    """Without what only the loop here needs."""
    return [{k: v for k, v in r.items() if not k.startswith("_")} for r in rows]


def start(name: str = "sft") -> PeftModel:
    return PeftModel.from_pretrained(base_model(), OUT / folder(name), is_trainable=True)


def folder(name: str) -> str:
    """SFT and the plain DPO begin with an adapter that does nothing yet, the others with one that does."""
    nothing = name.startswith("sft") or name in ("dpo", "dpo_accumulate") or name.endswith(("_kl", "divergence"))
    return "adapter_init" if nothing else "adapters/default"


def curves():
    model = init_adapter("training", LoraConfig(r=4, lora_alpha=8, target_modules=LINEARS, task_type="CAUSAL_LM"), 0.0)
    save_adapter(model, OUT / "adapter_init")
    for name, (method, cfg, completion) in CURVES.items():
        model = start(name)
        rows = rows_of(method, cfg, completion)
        log, first = train(model, rows, STEPS[method], cfg)
        head = {"method": method, "base": "../models/llama", "init_adapter": folder(name), "config": cfg, "rows": shown(rows)}
        write_json_rows(OUT / f"{name}.json", head, "steps", log)
        if name in ("sft", "dpo", "kto", "orpo", "cpo"):
            write_tensors(OUT / f"{name}_grad_step0.safetensors", {k.replace(".default", ""): g for k, g in first.items()})
        if name in ("sft", "dpo"):
            save_adapter(model, OUT / f"{name}_final")
        print(f"{name}: loss {log[0]['loss']:.4f} → {log[-1]['loss']:.4f}, grad_norm {min(r['grad_norm'] for r in log):.2f}…"
              f"{max(r['grad_norm'] for r in log):.2f}" + (f", margins {log[-1]['rewards/margins']:.3f}" if method in ("dpo", "orpo") else "")
              + (f", kl {[round(r['kl'], 3) for r in log]}" if method == "kto" else ""))
        if name == "dpo":
            assert abs(log[0]["loss"] - math.log(2)) < 1e-6


ADAPTERS = {
    "default": dict(r=4, lora_alpha=8, target_modules=LINEARS),
    "rslora": dict(r=4, lora_alpha=8, target_modules=LINEARS, use_rslora=True),
    "patterns": dict(r=4, lora_alpha=8, target_modules=LINEARS, rank_pattern={"q_proj": 2, "layers.1.mlp.down_proj": 6},
                     alpha_pattern={"q_proj": 16, "model.layers.0.self_attn.o_proj": 3}),
    "patterns_rslora": dict(r=3, lora_alpha=5, target_modules=LINEARS, use_rslora=True, rank_pattern={"v_proj": 1, "layers.0.mlp.up_proj": 7},
                            alpha_pattern={"v_proj": 2}),
    "subset": dict(r=3, lora_alpha=6, target_modules=["q_proj", "v_proj"], layers_to_transform=[1]),
    "head": dict(r=3, lora_alpha=6, target_modules=["o_proj", "lm_head"]),
    "regex": dict(r=2, lora_alpha=2, target_modules=r".*\.mlp\.(gate|up)_proj"),
}


def adapters():
    """Adapters PEFT wrote, with the logits it computes: B is not zero, so scale, transposition and placement all show."""
    x = padded([ids("adapters/0", 12), ids("adapters/1", 9)], PAD)
    mask = padded([[1] * 12, [1] * 9], 0)
    y = x.masked_fill(mask == 0, -100)
    for name, kw in ADAPTERS.items():
        model = init_adapter(f"adapters/{name}", LoraConfig(task_type="CAUSAL_LM", **kw), 0.3)
        save_adapter(model, OUT / "adapters" / name)
        out = model(input_ids=x, attention_mask=mask, labels=y)
        out.loss.backward()
        with torch.no_grad(), model.disable_adapter():
            plain = model(input_ids=x, attention_mask=mask).logits
        expected = {"input_ids": x, "attention_mask": mask, "labels": y, "logits": out.logits, "loss": out.loss.reshape(1)}
        scales = {}
        for key, m in model.named_modules():
            if hasattr(m, "lora_A"):
                scales[key] = m.scaling["default"]
        for key, p in model.named_parameters():
            if "lora_" in key:
                expected["grad/" + key.replace(".default", "")] = p.grad
        with torch.no_grad():
            merged = model.merge_and_unload()(input_ids=x, attention_mask=mask).logits
        seen = mask.bool()
        assert (merged - expected["logits"])[seen].abs().max() < 1e-4
        if name == "default":
            expected["base_logits"] = plain
        write_tensors(OUT / "adapters" / name / "expected.safetensors", expected)
        (OUT / "adapters" / name / "scales.json").write_text(json.dumps(scales, indent=1, sort_keys=True) + "\n")
        print(f"adapter {name}: {len(scales)} layers, moves logits by {(plain - expected['logits'])[seen].abs().max():.2f}")


def check():
    """The same curves from TRL's own trainers."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from torch.utils.data import SequentialSampler
    from transformers import PreTrainedTokenizerFast
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer
    from trl.experimental.cpo import CPOConfig, CPOTrainer
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    tok = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w1")),
                                  pad_token="w0", eos_token="w2")

    class Sft(SFTTrainer):
        def _get_train_sampler(self, *a, **k):
            return SequentialSampler(self.train_dataset)

    class Dpo(DPOTrainer):
        def _get_train_sampler(self, *a, **k):
            return SequentialSampler(self.train_dataset)

        def _prepare_dataset(self, dataset, *a, **k):
            return dataset

    class Kto(KTOTrainer):
        def _prepare_dataset(self, dataset, processing_class, args, dataset_name):
            """Rows are tokenized already: what is left is the pairing."""
            if self.calculate_KL:
                pair = lambda e: {"KL_completion_ids": [e["completion_ids"][-1]] + e["completion_ids"][:-1]}
                dataset = dataset.map(pair, batched=True, batch_size=args.per_device_train_batch_size)
            return dataset

    class Tokenized:
        def _get_train_sampler(self, *a, **k):
            return SequentialSampler(self.train_dataset)

        def tokenize_row(self, row, model=None):
            sides = {}
            for side in ("chosen", "rejected"):
                whole, n = row["prompt_ids"] + row[f"{side}_ids"], len(row["prompt_ids"])
                sides |= {f"{side}_input_ids": whole, f"{side}_attention_mask": [1] * len(whole), f"{side}_labels": [-100] * n + whole[n:]}
            return sides | {"prompt_input_ids": row["prompt_ids"], "prompt_attention_mask": [1] * len(row["prompt_ids"])}

    class Orpo(Tokenized, ORPOTrainer):
        pass

    class Cpo(Tokenized, CPOTrainer):
        pass

    def adapted(trainer, name):
        """The weights of the adapter that the curve starts from, in a trainer that made one of its own over the base model."""
        set_peft_model_state_dict(trainer.model, load_file(OUT / folder(name) / "adapter_model.safetensors"))
        return trainer

    for name, (method, cfg, completion) in CURVES.items():
        args = dict(output_dir=str(OUT / "trl"), use_cpu=True, bf16=False, logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True,
                    gradient_checkpointing=False, **cfg)
        if method == "sft":
            rows = Dataset.from_list([{"input_ids": r["input_ids"], "labels": labels_of(r)} for r in sft_rows(completion)])
            t = Sft(model=start(name), args=SFTConfig(**args), train_dataset=rows, processing_class=tok)
        else:
            # A fresh adapter on a plain base, so that the reference is the base; then the weights that the curve starts from.
            peft = LoraConfig(task_type="CAUSAL_LM", **ADAPTERS["default"])
            rows = Dataset.from_list(shown(rows_of(method, cfg, completion)))
            if method == "kto":
                t = Kto(model=base_model(), args=KTOConfig(max_length=None, **args), train_dataset=rows, processing_class=tok, peft_config=peft)
            elif method == "dpo":
                t = Dpo(model=base_model(), args=DPOConfig(max_length=None, **args), train_dataset=rows, processing_class=tok, peft_config=peft)
            else:
                rows = rows.map(lambda r: {"prompt": "", "chosen": "", "rejected": ""})
                trainer, config = (Orpo, ORPOConfig) if method == "orpo" else (Cpo, CPOConfig)
                t = trainer(model=base_model(), args=config(**args), train_dataset=rows, processing_class=tok, peft_config=peft)
            adapted(t, name)
        t.train()
        ours = json.loads((OUT / f"{name}.json").read_text())["steps"]
        theirs = [r for r in t.state.log_history if "grad_norm" in r]
        assert len(ours) == len(theirs), (name, len(theirs))
        worst = (0.0, "")
        for a, b in zip(ours, theirs):
            for k in a:
                # TRL's entropy is a mean over micro-batches, ours over tokens.
                # Without imitation TRL reports no nll_loss but 0.
                if k == "nll_loss" and b.get(k) == 0.0:
                    continue
                if k in b and k != "step" and (k != "entropy" or cfg["gradient_accumulation_steps"] == 1):
                    # Rewards are small differences of large sums.
                    worst = max(worst, (abs(a[k] - b[k]) / max(0.1 if "rewards" in k else 1e-2, abs(b[k])), k))
        keys = sorted(k for k in ours[0] if k in theirs[0])
        print(f"TRL {name}: worst relative difference {worst[0]:.1e} ({worst[1]}) over {', '.join(keys)}")
        assert worst[0] < 2e-3, name
    shutil.rmtree(OUT / "trl", ignore_errors=True)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--check", action="store_true", help="compare the committed curves with TRL's trainers and write nothing")
    if p.parse_args().check:
        check()
        sys.exit()
    shutil.rmtree(OUT, ignore_errors=True)
    adapters()
    curves()
