"""Tiny random checkpoints of more families, what Transformers computes on them, and the same weights as a GGUF written as llama.cpp's
converter writes it: tests/fixtures/models/<name>/.

Each folder: config.json, model.safetensors, model.gguf and expected.safetensors (the batch of models.py; logits, loss, every gradient, the
losses of ten steps of AdamW, greedy tokens). Names in a GGUF are those of the `gguf` package's tensor map.
"""

import json
import shutil
import sys

import numpy as np
import torch
import transformers as tf
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGUFWriter, RopeScalingType, get_tensor_name_map
from safetensors.torch import load_file

from common import FIXTURES, write_tensors
from gguf_tiny import interleaved_rows
from models import VOCAB, batch, fill

SMALL = dict(vocab_size=VOCAB, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0, attn_implementation="eager")
WINDOWS = dict(sliding_window=5, layer_types=["sliding_attention", "full_attention"])


def rope(theta=10000.0, **kw):
    return {"rope_parameters": {"rope_type": "default", "rope_theta": theta, **kw}}


def small(**kw):
    return {**SMALL, **kw}


# A GGUF does not hold query_pre_attn_scalar: it is the width of a head, but in two published models.
GEMMA = dict(head_dim=6, rms_norm_eps=1e-6)

# name: (class, configuration, architecture of its GGUF)
FAMILIES = {
    "gemma": (tf.GemmaForCausalLM, tf.GemmaConfig(**small(num_key_value_heads=1), **GEMMA, **rope()), MODEL_ARCH.GEMMA),
    "gemma2": (tf.Gemma2ForCausalLM, tf.Gemma2Config(**SMALL, **GEMMA, **WINDOWS, **rope(), query_pre_attn_scalar=6,
                                                     attn_logit_softcapping=2.0, final_logit_softcapping=3.0), MODEL_ARCH.GEMMA2),
    "gemma3": (tf.Gemma3ForCausalLM, tf.Gemma3TextConfig(**small(num_hidden_layers=6), **GEMMA, sliding_window=5, query_pre_attn_scalar=6, rope_parameters={
        "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}), MODEL_ARCH.GEMMA3),
    "phi3": (tf.Phi3ForCausalLM, tf.Phi3Config(**SMALL, **rope(), sliding_window=5), MODEL_ARCH.PHI3),
    "gpt_neox": (tf.GPTNeoXForCausalLM, tf.GPTNeoXConfig(**{k: v for k, v in SMALL.items() if k != "num_key_value_heads"},
                                                         **rope(partial_rotary_factor=0.5)), MODEL_ARCH.GPTNEOX),
    "gpt_neox_sequential": (tf.GPTNeoXForCausalLM, tf.GPTNeoXConfig(**{k: v for k, v in SMALL.items() if k != "num_key_value_heads"},
                                                                    use_parallel_residual=False,
                                                                    **rope(partial_rotary_factor=0.5)), MODEL_ARCH.GPTNEOX),
    "mistral": (tf.MistralForCausalLM, tf.MistralConfig(**SMALL, head_dim=6, sliding_window=5, rms_norm_eps=1e-5, **rope(1e6)), None),
    "qwen3_windows": (tf.Qwen3ForCausalLM, tf.Qwen3Config(**small(num_hidden_layers=3), head_dim=6, sliding_window=5, use_sliding_window=True,
                                                          max_window_layers=1, tie_word_embeddings=True, **rope(1e6)), None),
    "smollm3": (tf.SmolLM3ForCausalLM, tf.SmolLM3Config(**small(num_hidden_layers=4), no_rope_layers=[1, 1, 1, 0], **rope(5e6)),
                MODEL_ARCH.SMOLLM3),
    "olmo2": (tf.Olmo2ForCausalLM, tf.Olmo2Config(**SMALL, **rope(5e5)), MODEL_ARCH.OLMO2),
    "granite": (tf.GraniteForCausalLM, tf.GraniteConfig(**SMALL, **rope(), embedding_multiplier=3.0, logits_scaling=2.0,
                                                        residual_multiplier=0.5, attention_multiplier=0.3, tie_word_embeddings=True),
                MODEL_ARCH.GRANITE),
    "stablelm": (tf.StableLmForCausalLM, tf.StableLmConfig(**SMALL, use_qkv_bias=True, **rope(partial_rotary_factor=0.5)), MODEL_ARCH.STABLELM),
    "stablelm_parallel": (tf.StableLmForCausalLM, tf.StableLmConfig(**SMALL, use_parallel_residual=True, qk_layernorm=True,
                                                                    **rope(partial_rotary_factor=0.5)), MODEL_ARCH.STABLELM),
    "starcoder2": (tf.Starcoder2ForCausalLM, tf.Starcoder2Config(**SMALL, sliding_window=None, **rope(1e5)), MODEL_ARCH.STARCODER2),
    "cohere": (tf.CohereForCausalLM, tf.CohereConfig(**SMALL, logit_scale=0.25, use_qk_norm=True, **rope()), MODEL_ARCH.COMMAND_R),
    "cohere2": (tf.Cohere2ForCausalLM, tf.Cohere2Config(**small(num_hidden_layers=4), logit_scale=0.25, sliding_window=5, **rope(5e4)),
                MODEL_ARCH.COHERE2),
    "glm4": (tf.Glm4ForCausalLM, tf.Glm4Config(**SMALL, head_dim=8, attention_bias=True, **rope(partial_rotary_factor=0.5)), MODEL_ARCH.GLM4),
}

# A config.json as Transformers 4 wrote it: most published files look so.
OLD = {
    "gemma3": lambda c: c.update(rope_theta=1e6, rope_local_base_freq=1e4, rope_scaling={"rope_type": "linear", "factor": 4.0},
                                 sliding_window_pattern=6),
    "gemma2": lambda c: c.update(rope_theta=1e4, cache_implementation="hybrid"),
    "gpt_neox": lambda c: c.update(rotary_pct=0.5, rotary_emb_base=10000),
    "phi3": lambda c: c.update(rope_theta=1e4, rope_scaling=None, original_max_position_embeddings=128),
    "stablelm": lambda c: c.update(rope_theta=10000, partial_rotary_factor=0.5),
    "cohere2": lambda c: c.update(rope_theta=5e4, sliding_window_pattern=4),
    "granite": lambda c: c.update(rope_theta=10000.0, rope_scaling=None),
}
REPLACED = ("rope_parameters", "layer_types")


def metadata(w: GGUFWriter, name: str, c: tf.PreTrainedConfig, arch: MODEL_ARCH) -> None:
    """What llama.cpp's converter writes for the architecture."""
    heads, a = c.num_attention_heads, MODEL_ARCH
    kv = getattr(c, "num_key_value_heads", heads)
    dim = getattr(c, "head_dim", None) or c.hidden_size // heads
    par = c.rope_parameters
    full = par.get("full_attention", par)
    w.add_name(name)
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(heads)
    if arch != a.GPTNEOX:
        w.add_head_count_kv(kv)
        w.add_rope_freq_base(full["rope_theta"])
    if hasattr(c, "rms_norm_eps"):
        w.add_layer_norm_rms_eps(c.rms_norm_eps)
    else:
        w.add_layer_norm_eps(getattr(c, "layer_norm_eps", None) or c.norm_epsilon)
    if arch in (a.GEMMA, a.GEMMA2, a.GEMMA3, a.GLM4, a.QWEN3):
        w.add_key_length(dim)
        w.add_value_length(dim)
    if arch == a.GEMMA2:
        w.add_attn_logit_softcapping(c.attn_logit_softcapping)
        w.add_final_logit_softcapping(c.final_logit_softcapping)
    if arch in (a.GEMMA2, a.GEMMA3, a.COHERE2):
        w.add_sliding_window(c.sliding_window)
    if arch == a.GEMMA3:
        w.add_rope_scaling_type(RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(full["factor"])
    if arch == a.PHI3:
        w.add_rope_scaling_orig_ctx_len(c.original_max_position_embeddings)
        w.add_sliding_window(c.sliding_window or 0)
    if arch in (a.GPTNEOX, a.STABLELM):
        w.add_parallel_residual(c.use_parallel_residual)
    if arch in (a.PHI3, a.GPTNEOX, a.STABLELM, a.COHERE2, a.GLM4, a.SMOLLM3):
        w.add_rope_dimension_count(int(full.get("partial_rotary_factor", 1.0) * dim))
    if arch == a.GRANITE:
        w.add_attention_scale(c.attention_multiplier)
        w.add_embedding_scale(c.embedding_multiplier)
        w.add_residual_scale(c.residual_multiplier)
        w.add_logit_scale(c.logits_scaling)
    if arch in (a.COMMAND_R, a.COHERE2):
        w.add_logit_scale(c.logit_scale)
        w.add_rope_scaling_type(RopeScalingType.NONE)


def gguf(name: str, folder, c: tf.PreTrainedConfig, arch: MODEL_ARCH) -> None:
    a, heads = MODEL_ARCH, c.num_attention_heads
    w = GGUFWriter(str(folder / "model.gguf"), MODEL_ARCH_NAMES[arch])
    metadata(w, name, c, arch)
    names = get_tensor_name_map(arch, c.num_hidden_layers)
    stacked: dict[str, list] = {}
    for key, t in load_file(folder / "model.safetensors").items():
        x = t.numpy()
        if ".norms." in key:
            # StableLM's norms of heads: one tensor.
            part, index = key.removesuffix(".weight").split(".norms.")
            stacked.setdefault(part, [None] * (heads if "q_layernorm" in part else c.num_key_value_heads))[int(index)] = x
            continue
        if arch in (a.GRANITE, a.SMOLLM3) and key.endswith(("q_proj.weight", "k_proj.weight")):
            x = interleaved_rows(x, heads if "q_proj" in key else c.num_key_value_heads)
        if arch in (a.GEMMA, a.GEMMA2, a.GEMMA3) and key.endswith("norm.weight"):
            x = x + 1
        if arch == a.GPTNEOX and "query_key_value" in key:
            x = x.reshape(heads, 3, -1, *x.shape[1:]).swapaxes(0, 1).reshape(x.shape)
        new = names.get_name(key, try_suffixes=(".weight", ".bias"))
        assert new, f"{name}: {key}"
        w.add_tensor(new, np.ascontiguousarray(x))
    for part, xs in stacked.items():
        new = names.get_name(part + ".weight", try_suffixes=(".weight",))
        assert new, f"{name}: {part}"
        w.add_tensor(new, np.stack(xs))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    (folder / "model.gguf").chmod(0o644)


def main():
    for name, (cls, cfg, arch) in FAMILIES.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        folder = FIXTURES / "models" / name
        shutil.rmtree(folder, ignore_errors=True)
        torch.manual_seed(0)
        model = cls(cfg).eval()
        fill(model, name)
        if "gemma" in name:
            # Their norms multiply by 1 + w.
            with torch.no_grad():
                for key, p in model.named_parameters():
                    if p.ndim == 1:
                        p.sub_(1.0)
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        (folder / "model.safetensors").chmod(0o644)
        config = json.loads((folder / "config.json").read_text())
        config.pop("transformers_version", None)
        if name in OLD:
            for key in REPLACED:
                config.pop(key, None)
            OLD[name](config)
            config["torch_dtype"] = config.pop("dtype")
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
        if arch:
            gguf(name, folder, model.config, arch)

        ids, mask, labels = batch(name)
        feed = dict(input_ids=ids, attention_mask=mask, labels=labels)
        out = model(**feed)
        out.loss.backward()
        expected = {"input_ids": ids, "attention_mask": mask, "labels": labels, "logits": out.logits, "loss": out.loss.reshape(1)}
        for key, p in model.named_parameters():
            assert p.grad is not None and p.grad.abs().max() > 0, key
            # Transformers 5 calls GPT-NeoX's head so in memory, but not on disk.
            key = key.replace("lm_head", "embed_out") if name.startswith("gpt_neox") else key
            expected[f"grad/{key}"] = p.grad.clone()
        with torch.no_grad():
            row = ids[:1, :4]
            for _ in range(8):
                row = torch.cat([row, model(input_ids=row).logits[:, -1:].argmax(-1)], dim=1)
        expected["greedy"] = row
        adamw, losses = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01), []
        for _ in range(10):
            model.zero_grad()
            loss = model(**feed).loss
            loss.backward()
            adamw.step()
            losses.append(loss.detach())
        expected["curve"] = torch.stack(losses)
        write_tensors(folder / "expected.safetensors", expected)
        n = sum(p.numel() for p in model.parameters())
        size = sum(f.stat().st_size for f in folder.iterdir())
        print(f"{name}: {n} parameters, loss {out.loss.item():.4f} → {losses[-1].item():.4f}, logits std {out.logits.std().item():.2f}, {size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
