"""The tiny llama as a GGUF, packed as published files are, and what PyTorch computes on it dequantized: tests/fixtures/models/llama_gguf/.

Rows of q and k are interleaved as that format has them; everything in expected.safetensors is in Transformers' order.
"""

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
TEMPLATE = "{% for m in messages %}{{ '<s>' + m['role'] + '|' + m['content'] + '</s>' }}{% endfor %}{% if add_generation_prompt %}{{ '<s>assistant|' }}{% endif %}"


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


def main():
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
