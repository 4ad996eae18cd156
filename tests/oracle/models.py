"""Tiny random checkpoints and what Transformers computes on them: tests/fixtures/models/<name>/.

Each folder: config.json, model.safetensors, expected.safetensors (batch of 2 × 12, second row padded on the right).
"""

import json
import shutil

import torch
from transformers import (GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM)

from common import FIXTURES, generator, write_tensors

VOCAB, SMALL = 96, dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                        num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0,
                        attn_implementation="eager")


def rope(**kw):
    return {"rope_parameters": kw}


MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SMALL, tie_word_embeddings=False, rms_norm_eps=1e-5,
                                            **rope(rope_type="default", rope_theta=10000.0))),
    "llama_tied": (LlamaForCausalLM, LlamaConfig(**{**SMALL, "num_key_value_heads": 1}, tie_word_embeddings=True, rms_norm_eps=1e-6,
                                                 **rope(rope_type="default", rope_theta=100000.0))),
    "llama3_rope": (LlamaForCausalLM, LlamaConfig(**SMALL, tie_word_embeddings=True, rms_norm_eps=1e-5,
                                                  **rope(rope_type="llama3", rope_theta=500000.0, factor=4.0, low_freq_factor=1.0,
                                                         high_freq_factor=4.0, original_max_position_embeddings=32))),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SMALL, tie_word_embeddings=True, rms_norm_eps=1e-6, use_sliding_window=False,
                                            **rope(rope_type="default", rope_theta=1000000.0))),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**SMALL, head_dim=12, tie_word_embeddings=False, rms_norm_eps=1e-6,
                                            **rope(rope_type="default", rope_theta=1000000.0))),
    "gpt2": (GPT2LMHeadModel, GPT2Config(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_inner=64, n_positions=16, bos_token_id=1,
                                         eos_token_id=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
                                         attn_implementation="eager")),
}

# These two get a config.json as Transformers 4 wrote it (rope_theta, rope_scaling, torch_dtype): most published files look so.
OLD_CONFIG = ("llama_tied", "llama3_rope")


def fill(model: torch.nn.Module, name: str) -> None:
    """Weights large enough that every part matters: norms off 1, biases off 0, attention far from uniform."""
    for key, p in model.named_parameters():
        g = generator(f"{name}/{key}")
        x = torch.randn(p.shape, generator=g)
        if p.ndim == 1:
            x = x * 0.2 + (0.0 if key.endswith("bias") else 1.0)
        elif "embed" in key or "wte" in key or "wpe" in key:
            x = x * 0.5
        else:
            x = x * 1.2 / p.shape[0 if "transformer.h" in key else 1] ** 0.5  # GPT-2 stores (in, out)
        with torch.no_grad():
            p.copy_(x)


def batch(name: str, rows=2, t=12, short=9):
    ids = torch.randint(3, VOCAB, (rows, t), generator=generator(f"{name}/ids"))
    mask = torch.ones_like(ids)
    ids[1, short:], mask[1, short:] = 0, 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[0, :3] = -100  # as a prompt would be
    return ids, mask, labels


def build(name: str) -> torch.nn.Module:
    cls, cfg = MODELS[name]
    torch.manual_seed(0)
    model = cls(cfg).eval()
    fill(model, name)
    return model


def main():
    total = 0
    for name in MODELS:
        folder = FIXTURES / "models" / name
        shutil.rmtree(folder, ignore_errors=True)
        model = build(name)
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        (folder / "model.safetensors").chmod(0o644)
        config = json.loads((folder / "config.json").read_text())
        config.pop("transformers_version", None)
        if name in OLD_CONFIG:
            par = config.pop("rope_parameters")
            config["rope_theta"] = par.pop("rope_theta")
            config["rope_scaling"] = None if par["rope_type"] == "default" else par
            config["torch_dtype"] = config.pop("dtype")
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

        ids, mask, labels = batch(name)
        out = model(input_ids=ids, attention_mask=mask, labels=labels)
        # The same by hand: position t is judged by label t+1, mean over counted targets of the whole batch.
        by_hand = torch.nn.functional.cross_entropy(out.logits[:, :-1].flatten(0, 1).double(), labels[:, 1:].flatten())
        assert abs(by_hand - out.loss) < 1e-5
        out.loss.backward()
        expected = {"input_ids": ids, "attention_mask": mask, "labels": labels, "logits": out.logits, "loss": out.loss.reshape(1)}
        for key, p in model.named_parameters():
            assert p.grad is not None and p.grad.abs().max() > 0, key
            expected[f"grad/{key}"] = p.grad.clone()
        torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01).step()
        for key, p in model.named_parameters():
            expected[f"after/{key}"] = p.detach().clone()
        write_tensors(folder / "expected.safetensors", expected)
        n = sum(p.numel() for p in model.parameters())
        size = sum(f.stat().st_size for f in folder.iterdir())
        total += size
        grads = [p.grad.abs().max().item() for p in model.parameters()]
        print(f"{name}: {n} parameters, loss {out.loss.item():.4f}, logits std {out.logits.std().item():.2f}, "
              f"smallest gradient max {min(grads):.1e}, {size / 1e3:.0f} kB")
    assert total < 2_000_000


if __name__ == "__main__":
    main()
