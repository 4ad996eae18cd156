"""Tiny random encoder-decoders and what Transformers computes on them: tests/fixtures/models/<name>/.

Each folder: config.json, model.safetensors, expected.safetensors: two sources of 12 tokens and two targets of 9, the second of each padded on the right;
the logits of every decoder token, the loss over the labels (-100 where nothing is asked), the gradient of every parameter and every parameter after a step
of AdamW; what greedy search writes for each source, and beam search.
"""

import json
import shutil
import sys

import torch
import transformers as tf

from common import FIXTURES, generator, write_tensors
from models import fill

VOCAB, ROWS, S, T, SHORT_S, SHORT_T, MOST = 48, 2, 12, 9, 8, 6, 12
PLAIN = dict(dropout=0.0, attention_dropout=0.0, activation_dropout=0.0, attn_implementation="eager")
SMALL = dict(PLAIN, vocab_size=VOCAB, d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=2,
             encoder_ffn_dim=24, decoder_ffn_dim=20, max_position_embeddings=20)

# name: (class, configuration)
TRANSLATORS = {
    "bart": (tf.BartForConditionalGeneration,
             tf.BartConfig(**SMALL, pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=None)),
    "mbart": (tf.MBartForConditionalGeneration,
              tf.MBartConfig(**SMALL, pad_token_id=1, bos_token_id=0, eos_token_id=2, scale_embedding=True, activation_function="gelu",
                             decoder_start_token_id=3, forced_eos_token_id=None)),
    "marian": (tf.MarianMTModel,
               tf.MarianConfig(**SMALL, pad_token_id=47, eos_token_id=0, decoder_start_token_id=47, scale_embedding=True,
                               activation_function="swish", forced_eos_token_id=None)),
}


def main():
    for name, (cls, cfg) in TRANSLATORS.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        folder = FIXTURES / "models" / name
        shutil.rmtree(folder, ignore_errors=True)
        torch.manual_seed(0)
        model = cls(cfg).eval()
        fill(model, name)
        if name == "marian":
            with torch.no_grad():
                for stack in (model.model.encoder, model.model.decoder):
                    stack.embed_positions.weight.copy_(stack.embed_positions.create_weight())
        if hasattr(model, "final_logits_bias"):
            model.final_logits_bias.copy_(torch.randn(model.final_logits_bias.shape, generator=generator(f"{name}/bias")) * 0.5)
        model.save_pretrained(folder)
        (folder / "model.safetensors").chmod(0o644)
        (folder / "generation_config.json").unlink(missing_ok=True)
        config = json.loads((folder / "config.json").read_text())
        config.pop("transformers_version", None)
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

        ids = torch.randint(4, VOCAB - 1, (ROWS, S), generator=generator(f"{name}/ids"))
        mask = torch.ones_like(ids)
        ids[1, SHORT_S:], mask[1, SHORT_S:] = cfg.pad_token_id, 0
        labels = torch.randint(4, VOCAB - 1, (ROWS, T), generator=generator(f"{name}/labels"))
        labels[1, SHORT_T:] = -100
        out = model(input_ids=ids, attention_mask=mask, labels=labels)
        shift = sys.modules[cls.__module__].shift_tokens_right
        args = (cfg.pad_token_id,) if name == "mbart" else (cfg.pad_token_id, cfg.decoder_start_token_id)
        decoder = shift(labels, *args)
        masked = labels.clone()
        masked[0, 2], masked[1, 1] = -100, -100
        model.zero_grad()
        logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=decoder).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), masked.flatten())
        loss.backward()
        # As a training reads rows: what is not asked for is padding to the decoder.
        trained = model(input_ids=ids, attention_mask=mask, labels=masked).loss
        expected = {"input_ids": ids, "attention_mask": mask, "labels": masked, "target": labels, "decoder_input_ids": decoder, "logits": out.logits,
                    "loss": loss.reshape(1),
                    "trained": trained.reshape(1)}
        for key, p in model.named_parameters():
            if p.grad is None:
                print(f"  {name}: {key} has no gradient")
                continue
            expected[f"grad/{key}"] = p.grad.clone()
        with torch.no_grad():
            for beams in (1, 3):
                for i, n in enumerate((S, SHORT_S)):
                    made = model.generate(input_ids=ids[i:i + 1, :n], attention_mask=mask[i:i + 1, :n], max_new_tokens=MOST, num_beams=beams,
                                          do_sample=False, early_stopping=False)
                    expected[f"beams{beams}/{i}"] = made[0, 1:]
        torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01).step()
        for key, p in model.named_parameters():
            if p.grad is not None:
                expected[f"after/{key}"] = p.detach().clone()
        write_tensors(folder / "expected.safetensors", expected)
        print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, loss {loss.item():.4f}, std {out.logits.std().item():.2f}",
              [expected[f"beams{b}/{i}"].tolist() for b in (1, 3) for i in (0, 1)])


if __name__ == "__main__":
    main()
