"""The work of `fledgling bench` by the field's own tools, timed: PyTorch, Transformers, PEFT.

    python3 tests/oracle/speed_torch.py [--only prefill,decode,lora,gpt] [--batch 1] [--length 128] [--device cuda|cpu] [--threads N]

SmolLM2-135M's configuration with random weights (nothing is fetched), f32 with TF32 off. prefill: 128 tokens into an empty cache; decode: 64 more,
one by one, greedy, from that cache; lora: a step with r 8, alpha 16 on q, k, v, o, gate, up and down of every layer (forward, backward, clipping to
norm 1, AdamW; ids = labels); gpt: a step of full training of a GPT of 4 layers, 4 heads, width 128, context 128, batch 8, 96 symbols.
Prints one JSON object with the median over several turns behind a warm-up, or {"missing": [...]} where a package is not installed (then it
exits with 3).
"""

import argparse
import importlib
import json
import os
import statistics
import sys
import time

PROMPT, NEW = 128, 64


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="lora")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default=None)
    args = parser.parse_args()
    works = args.only.split(",")

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
    missing = []
    for name in ("torch", "transformers", "peft"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            missing.append({"package": name, "why": str(error)})
    if missing:
        print(json.dumps({"missing": missing}))
        return 3

    import peft
    import torch
    import transformers

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    torch.manual_seed(1)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    result: dict = {}

    def timed(turn, times: int, warmup: int) -> list:
        """Seconds of each turn behind the warm-up."""
        seconds = []
        for i in range(warmup + times):
            if device.type == "cuda":
                torch.cuda.synchronize()
            begin = time.perf_counter()
            turn()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if i >= warmup:
                seconds.append(time.perf_counter() - begin)
        return seconds

    def step(model, trained, optimizer, ids) -> float:
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def llama():
        config = transformers.LlamaConfig(
            vocab_size=49152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=args.layers,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=8192,
            rms_norm_eps=1e-5,
            rope_theta=100000.0,
            tie_word_embeddings=True,
            attn_implementation="sdpa",
        )
        return transformers.LlamaForCausalLM(config).to(device=device, dtype=torch.float32)

    if "prefill" in works or "decode" in works:
        model = llama().eval()
        ids = torch.randint(100, 49152, (1, PROMPT), device=device)
        state: dict = {}

        def prefill() -> None:
            out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
            state["cache"], state["next"] = out.past_key_values, out.logits[:, -1:].argmax(-1)

        def decode() -> None:
            for _ in range(NEW):
                out = model(input_ids=state["next"], past_key_values=state["cache"], use_cache=True)
                state["cache"], state["next"] = out.past_key_values, out.logits[:, -1:].argmax(-1)

        with torch.inference_mode():
            result["prefill_tokens_per_second"] = PROMPT / statistics.median(timed(prefill, 3, 1))
            if "decode" in works:
                rates = []
                for _ in range(2):
                    prefill()
                    rates.append(NEW / timed(decode, 1, 0)[0])
                result["decode_tokens_per_second"] = statistics.median(rates)
        del model

    if "lora" in works:
        modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        lora = peft.LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=modules, task_type="CAUSAL_LM")
        model = llama()
        model.config.use_cache = False
        model = peft.get_peft_model(model, lora)
        model.train()
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0)
        ids = torch.randint(100, 49152, (args.batch, args.length), device=device)
        seconds = timed(lambda: result.__setitem__("loss", step(model, trained, optimizer, ids)), args.steps, args.warmup)
        result |= {
            "lora_step_ms": statistics.median(seconds) * 1e3,
            "fastest_ms": min(seconds) * 1e3,
            "steps": args.steps,
            "batch": args.batch,
            "length": args.length,
            "layers": args.layers,
            "memory_bytes": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
            "trained_parameters": sum(p.numel() for p in trained),
        }
        del model

    if "gpt" in works:
        config = transformers.GPT2Config(
            vocab_size=96,
            n_positions=128,
            n_embd=128,
            n_layer=4,
            n_head=4,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
            attn_implementation="sdpa",
        )
        model = transformers.GPT2LMHeadModel(config).to(device=device, dtype=torch.float32)
        model.train()
        trained = list(model.parameters())
        optimizer = torch.optim.AdamW(trained, lr=1e-3)
        ids = torch.randint(0, 96, (8, 128), device=device)
        result["gpt_step_ms"] = statistics.median(timed(lambda: step(model, trained, optimizer, ids), 2 * args.steps, args.warmup)) * 1e3

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    print(json.dumps({**result, "device": name, "threads": torch.get_num_threads(), "dtype": "float32", "tf32": False, **versions}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
