"""The tiny llama as a GGUF, packed as published files are, and what PyTorch computes on it dequantized: tests/fixtures/models/llama_gguf/.

Rows of q and k are interleaved as that format has them; everything in expected.safetensors is in Transformers' order.

And qwen2 (biases), qwen3 (norms on q and k) and llama3_rope (its scaling as a tensor of factors) as GGUFs of F32 beside their
safetensors, whose expected.safetensors is theirs too: tests/fixtures/models/<name>/model.gguf.
"""

import json
import math

import shutil

import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from gguf import GGUFWriter, TokenType
from gguf.quants import quantize
from peft import PeftModel
from safetensors.torch import load_file

from common import FIXTURES, write_tensors
from models import batch
from peft_parity import LAYER, TOP, load_gguf

BASE, OUT = FIXTURES / "models" / "llama", FIXTURES / "models" / "llama_gguf"
HEADS, KV_HEADS = 4, 2
TEMPLATE = (
    "{% for m in messages %}{{ '<s>' + m['role'] + '|' + m['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant|' }}{% endif %}"
)


def interleaved_rows(w: np.ndarray, heads: int) -> np.ndarray:
    out, inner = w.shape
    d = out // heads
    return w.reshape(heads, 2, d // 2, inner).swapaxes(1, 2).reshape(out, inner)


def packing(stem: str) -> Q:
    if "norm" in stem:
        return Q.F32
    if stem in ("token_embd", "output"):
        return Q.Q8_0
    # ffn_down has 48 inputs, which blocks of 32 do not divide.
    part = stem.split(".")[-1]
    return {"ffn_down": Q.F16, "attn_v": Q.BF16, "attn_output": Q.Q4_0}.get(part, Q.Q4_1)


def rope_factors(par: dict, dim: int) -> np.ndarray:
    """Divisors of the frequencies, as llama.cpp's converter computes them from Llama 3's scaling."""
    low, high, old = par["low_freq_factor"], par["high_freq_factor"], par["original_max_position_embeddings"]
    out = []
    for i in range(0, dim, 2):
        wavelength = 2 * math.pi * par["rope_theta"] ** (i / dim)
        if wavelength < old / high:
            out.append(1.0)
        elif wavelength > old / low:
            out.append(par["factor"])
        else:
            smooth = (old / wavelength - low) / (high - low)
            out.append(1.0 / ((1.0 - smooth) / par["factor"] + smooth))
    return np.array(out, dtype=np.float32)


def plain(name: str, arch: str) -> None:
    """A tiny model in F32: what it computes is what its safetensors compute."""
    folder = FIXTURES / "models" / name
    c = json.loads((folder / "config.json").read_text())
    par = c.get("rope_parameters") or (c.get("rope_scaling") or {}) | {"rope_theta": c["rope_theta"]}
    heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
    dim = c.get("head_dim") or c["hidden_size"] // heads
    w = GGUFWriter(str(folder / "model.gguf"), arch)
    w.add_name(name)
    w.add_block_count(c["num_hidden_layers"])
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_rope_freq_base(par["rope_theta"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    if dim * heads != c["hidden_size"]:
        w.add_key_length(dim)
        w.add_value_length(dim)
    if par.get("rope_type") == "llama3":
        w.add_tensor("rope_freqs.weight", rope_factors(par, dim))
    paths = {v: k for k, v in TOP.items()}
    parts = {v: k for k, v in (LAYER | {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}).items()}
    for key, t in load_file(folder / "model.safetensors").items():
        (path, end), a = key.rsplit(".", 1), t.numpy()
        if path in paths:
            stem = paths[path]
        else:
            n, rest = path.removeprefix("model.layers.").split(".", 1)
            stem = f"blk.{n}.{parts[rest]}"
            if arch == "llama" and rest.endswith(("q_proj", "k_proj")):
                a = interleaved_rows(a, heads if rest.endswith("q_proj") else kv_heads)
        w.add_tensor(f"{stem}.{end}", np.ascontiguousarray(a))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    (folder / "model.gguf").chmod(0o644)
    print(f"{name}: {(folder / 'model.gguf').stat().st_size / 1e3:.0f} kB")


def main():
    for name, arch in [("qwen2", "qwen2"), ("qwen3", "qwen3"), ("llama3_rope", "llama")]:
        plain(name, arch)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    w = GGUFWriter(str(OUT / "model.gguf"), "llama")
    w.add_name("fledgling tiny llama")
    w.add_block_count(2)
    w.add_context_length(128)
    w.add_embedding_length(32)
    w.add_feed_forward_length(48)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_rope_freq_base(10000.0)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(8)
    w.add_vocab_size(96)
    # One symbol a token: three specials, then 92 printable characters and the byte-level space.
    tokens = ["<unk>", "<s>", "</s>"] + [chr(0x21 + i) for i in range(92)] + ["Ġ"]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([TokenType.CONTROL] * 3 + [TokenType.NORMAL] * 93)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.add_add_bos_token(False)
    w.add_chat_template(TEMPLATE)

    paths = {v: k for k, v in TOP.items()}
    parts = {v: k for k, v in LAYER.items()}
    for key, t in load_file(BASE / "model.safetensors").items():
        path, a = key.removesuffix(".weight"), t.numpy()
        if path in paths:
            stem = paths[path]
        else:
            n, rest = path.removeprefix("model.layers.").split(".", 1)
            stem = f"blk.{n}.{parts[rest]}"
            if rest.endswith(("q_proj", "k_proj")):
                a = interleaved_rows(a, HEADS if rest.endswith("q_proj") else KV_HEADS)
        kind = packing(stem)
        w.add_tensor(f"{stem}.weight", a if kind == Q.F32 else quantize(a, kind), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    (OUT / "model.gguf").chmod(0o644)

    base = load_gguf(str(OUT / "model.gguf"))
    ids, mask, labels = batch("llama")
    feed = dict(input_ids=ids, attention_mask=mask, labels=labels)
    with torch.no_grad():
        plain = base(**feed)
    expected = {"input_ids": ids, "attention_mask": mask, "labels": labels, "logits": plain.logits, "loss": plain.loss.reshape(1)}
    tuned = PeftModel.from_pretrained(base, FIXTURES / "training" / "adapters" / "default", is_trainable=True).eval()
    out = tuned(**feed)
    out.loss.backward()
    expected |= {"adapter/logits": out.logits, "adapter/loss": out.loss.reshape(1)}
    for key, p in tuned.named_parameters():
        if "lora_" in key:
            expected["grad/" + key.replace(".default", "")] = p.grad
    write_tensors(OUT / "expected.safetensors", expected)
    was = load_file(BASE / "expected.safetensors")["logits"]
    print(f"llama_gguf: {(OUT / 'model.gguf').stat().st_size / 1e3:.0f} kB, loss {plain.loss:.4f}, with adapter {out.loss:.4f}, "
          f"packing moves logits by {(plain.logits - was)[mask.bool()].abs().max():.3f}")


if __name__ == "__main__":
    main()
