"""Adapters exchanged with PEFT on the same weights: whatever fledgling saved, PEFT must load to the same logits, and the reverse.

  write    a random (seeded) adapter by PEFT, and the logits PEFT computes with it
           peft_parity.py write --model M --out DIR
  compare  logits of PEFT and of fledgling with one adapter, whoever wrote it
           peft_parity.py compare --model M --adapter DIR (--fledgling BINARY | --logits FILE)
  both     write, then compare that adapter and, with --adapter, one that fledgling trained
           peft_parity.py both --model M --out DIR --fledgling BINARY [--adapter DIR]

M is a GGUF of the llama architecture (dequantized to f32 here) or a folder in Transformers' form. fledgling is asked by
`fledgling logits --model M --adapter DIR --prompt-ids 1,2,3 --json` for {"last_logits": [...]}, the logits after the last prompt token.
Exit status 0 when every |difference| ≤ --tolerance (0.02), 1 when not, 2 when something could not be run.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from common import generator
from training import LINEARS

# GGUF tensor name (without `blk.N.` and `.weight`) → module path below a layer.
LAYER = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
         "ffn_norm": "post_attention_layernorm"}
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def half_split_rows(w: np.ndarray, heads: int) -> np.ndarray:
    """A llama GGUF interleaves the rows of q and k (rotated pairs 2i, 2i+1); Transformers keeps the halves (i, i + D/2) apart."""
    out, inner = w.shape
    d = out // heads
    return w.reshape(heads, d // 2, 2, inner).swapaxes(1, 2).reshape(out, inner)


def load_gguf(path: str) -> LlamaForCausalLM:
    reader = GGUFReader(path)

    def field(key, default=None):
        f = reader.get_field(key)
        if f is None and default is None:
            raise SystemExit(f"{path}: no metadata key {key}")
        return default if f is None else f.contents()

    arch = field("general.architecture")
    if arch != "llama":
        raise SystemExit(f"{path}: architecture {arch}, expected llama")
    heads, kv_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv", -1)
    kv_heads = heads if kv_heads == -1 else kv_heads
    names = {t.name for t in reader.tensors}
    vocab = next(t for t in reader.tensors if t.name == "token_embd.weight").shape[1]
    cfg = LlamaConfig(
        vocab_size=int(vocab), hidden_size=field("llama.embedding_length"), intermediate_size=field("llama.feed_forward_length"),
        num_hidden_layers=field("llama.block_count"), num_attention_heads=heads, num_key_value_heads=kv_heads,
        max_position_embeddings=field("llama.context_length"), rms_norm_eps=field("llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": field("llama.rope.freq_base", 10000.0)},
        tie_word_embeddings="output.weight" not in names, attn_implementation="eager")
    state = {}
    for t in reader.tensors:
        w = dequantize(t.data, t.tensor_type).astype(np.float32)
        stem = t.name.removesuffix(".weight")
        if stem.startswith("blk."):
            _, n, part = stem.split(".", 2)
            if part in ("attn_q", "attn_k"):
                w = half_split_rows(w, heads if part == "attn_q" else kv_heads)
            key = f"model.layers.{n}.{LAYER[part]}.weight"
        elif stem in TOP:
            key = f"{TOP[stem]}.weight"
        else:
            continue  # rope_freqs and the like
        state[key] = torch.from_numpy(np.ascontiguousarray(w))
    with torch.device("meta"):
        model = LlamaForCausalLM(cfg)
    model = model.to_empty(device="cpu")
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or set(missing) - ({"lm_head.weight"} if cfg.tie_word_embeddings else set()):
        raise SystemExit(f"{path}: missing {missing}, unexpected {unexpected}")
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(cfg)  # its buffers are computed, not loaded
    return model.eval()


def load_base(path: str) -> LlamaForCausalLM:
    if Path(path).is_dir():
        return LlamaForCausalLM.from_pretrained(path, attn_implementation="eager", dtype=torch.float32).eval()
    return load_gguf(path)


@torch.no_grad()
def last_logits(model, ids: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([ids])).logits[0, -1].float()


def prompt_ids(args, model) -> list[int]:
    if args.prompt_ids:
        return [int(x) for x in args.prompt_ids.split(",")]
    return torch.randint(3, model.config.vocab_size, (24,), generator=generator(f"prompt/{args.seed}")).tolist()


def write(args) -> Path:
    base, out = load_base(args.model), Path(args.out)
    ids = prompt_ids(args, base)
    plain = last_logits(base, ids)
    model = get_peft_model(base, LoraConfig(r=args.r, lora_alpha=2 * args.r, target_modules=LINEARS, task_type="CAUSAL_LM"))
    for key, p in model.named_parameters():
        if "lora_" in key:
            x = torch.randn(p.shape, generator=generator(f"{args.seed}/{key}"))
            with torch.no_grad():
                p.copy_(x * (p.shape[1] ** -0.5 if "lora_A" in key else args.b_scale))
    got = last_logits(model.eval(), ids)
    model.peft_config["default"].base_model_name_or_path = Path(args.model).stem
    model.save_pretrained(out, save_embedding_layers=False)
    save_file({"last_logits": got, "base_last_logits": plain, "prompt_ids": torch.tensor(ids, dtype=torch.int32)},
              str(out / "expected.safetensors"))
    (out / "prompt_ids.txt").write_text(",".join(map(str, ids)) + "\n")
    print(f"{out}: PEFT adapter, r {args.r}; it moves the logits after {len(ids)} ids by at most {(got - plain).abs().max():.3f}, "
          f"argmax {int(plain.argmax())} → {int(got.argmax())}")
    return out


def fledgling_logits(args, adapter: str, ids: list[int]) -> torch.Tensor:
    if args.logits:
        text = Path(args.logits).read_text()
    else:
        cmd = [args.fledgling, "logits", "--model", args.model, "--adapter", adapter, "--prompt-ids", ",".join(map(str, ids)), "--json"]
        try:
            run = subprocess.run(cmd, capture_output=True, text=True, check=False)
        except OSError as e:
            print(f"cannot run {args.fledgling}: {e}", file=sys.stderr)
            sys.exit(2)
        if run.returncode:
            print(f"{' '.join(cmd[:2])} ended with {run.returncode}:\n{run.stderr}", file=sys.stderr)
            sys.exit(2)
        text = run.stdout
    return torch.tensor(json.loads(text.strip().splitlines()[-1])["last_logits"], dtype=torch.float32)


def compare(args, adapter: str) -> bool:
    base = load_base(args.model)
    ids = prompt_ids(args, base)
    plain = last_logits(base, ids)
    want = last_logits(PeftModel.from_pretrained(base, adapter).eval(), ids)
    got = fledgling_logits(args, adapter, ids)
    if got.shape != want.shape:
        print(f"{adapter}: fledgling gave {tuple(got.shape)} logits, PEFT {tuple(want.shape)}", file=sys.stderr)
        sys.exit(2)
    if not torch.isfinite(got).all():
        print(f"{adapter}: fledgling gave logits that are not finite", file=sys.stderr)
        return False
    worst, effect = (got - want).abs().max().item(), (want - plain).abs().max().item()
    ok = worst <= args.tolerance
    print(f"{adapter}: max |fledgling − PEFT| = {worst:.5f} (allowed {args.tolerance}), the adapter itself moves logits by {effect:.3f}")
    if effect <= 2 * args.tolerance:
        print(f"{adapter}: moves the logits too little for this to mean anything; train it longer", file=sys.stderr)
        return False
    print(f"{adapter}: {'ok' if ok else 'NOT ok'}")
    return ok


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("mode", choices=("write", "compare", "both"))
    p.add_argument("--model", required=True)
    p.add_argument("--adapter", help="adapter folder to compare (both: one trained by fledgling)")
    p.add_argument("--out", help="where PEFT writes its adapter")
    p.add_argument("--fledgling", help="the binary")
    p.add_argument("--logits", help="fledgling's json, instead of running it")
    p.add_argument("--prompt-ids", help="1,2,3 (24 seeded ids unless given)")
    p.add_argument("--seed", default="0")
    p.add_argument("--r", type=int, default=8)
    p.add_argument("--b-scale", type=float, default=0.02)
    p.add_argument("--tolerance", type=float, default=0.02)
    args = p.parse_args()
    if args.mode in ("write", "both") and not args.out:
        p.error(f"{args.mode} needs --out")
    if args.mode != "write" and not (args.fledgling or args.logits):
        p.error(f"{args.mode} needs --fledgling or --logits")
    if args.mode == "compare" and not args.adapter:
        p.error("compare needs --adapter")
    if args.mode == "both" and args.logits:
        p.error("both runs fledgling more than once: give --fledgling")
    folders = [str(write(args))] if args.mode != "compare" else []
    if args.mode != "write":
        results = [compare(args, a) for a in folders + ([args.adapter] if args.adapter else [])]
        sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
