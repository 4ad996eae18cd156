"""A LoRA step with PyTorch and PEFT, timed: what `fledgling bench --only lora --random smollm2` does, by the field's own tools.

    python3 tests/oracle/lora_step_torch.py --batch 4 --length 512 [--device cuda|cpu] [--layers 30] [--steps 10]

SmolLM2-135M's configuration with random weights (nothing is fetched), f32 with TF32 off; r 8, alpha 16 on q, k, v, o, gate, up and down of
every layer; forward, backward, clipping to norm 1, AdamW; ids = labels. Prints one JSON object: the median over the steps behind a
warm-up, or {"missing": [...]} where a package is not installed (then it exits with 3).
"""

import argparse
import importlib
import json
import os
import statistics
import sys
import time


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--device", default=None)
    args = parser.parse_args()

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
    device = torch.device(args.device or ("cuda" if torch.cuda.is_available() else "cpu"))
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
        use_cache=False,
        attn_implementation="sdpa",
    )
    model = transformers.LlamaForCausalLM(config).to(device=device, dtype=torch.float32)
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    lora = peft.LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, target_modules=modules, task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, lora)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0)
    ids = torch.randint(100, 49152, (args.batch, args.length), device=device)

    def settle() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    def step() -> float:
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    for _ in range(args.warmup):
        step()
    seconds = []
    loss = float("nan")
    for _ in range(args.steps):
        settle()
        begin = time.perf_counter()
        loss = step()
        settle()
        seconds.append(time.perf_counter() - begin)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
    print(
        json.dumps(
            {
                "lora_step_ms": statistics.median(seconds) * 1e3,
                "fastest_ms": min(seconds) * 1e3,
                "steps": args.steps,
                "batch": args.batch,
                "length": args.length,
                "layers": args.layers,
                "device": name,
                "dtype": "float32",
                "tf32": False,
                "loss": loss,
                "memory_bytes": peak,
                "trained_parameters": sum(p.numel() for p in trained),
                **versions,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
