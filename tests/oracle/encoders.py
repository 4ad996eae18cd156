"""Tiny random encoders and what Transformers computes on them: tests/fixtures/models/<name>/.

Each folder: config.json, model.safetensors, expected.safetensors (a batch of 2 × 12, the second row padded on the right, two segments; what the head
gives, loss, every gradient, every weight after a step of AdamW; of a bare encoder its states, their mean as sentence-transformers takes it, the pooler's).
"""

import json
import shutil
import sys

import torch
import transformers as tf
from safetensors.torch import load_file

from common import FIXTURES, generator, write_tensors
from models import fill

VOCAB, ROWS, T, SHORT = 64, 2, 12, 9
SMALL = dict(vocab_size=VOCAB, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=20,
             hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager")
BERT = dict(SMALL, type_vocab_size=2, pad_token_id=0)
ROBERTA = dict(SMALL, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2)
DISTIL = dict(vocab_size=VOCAB, dim=16, hidden_dim=24, n_layers=2, n_heads=4, max_position_embeddings=20, dropout=0.0, attention_dropout=0.0,
              seq_classif_dropout=0.0, pad_token_id=0, attn_implementation="eager")
MODERN = dict(vocab_size=VOCAB, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=32,
              global_attn_every_n_layers=3, local_attention=6, pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2,
              attn_implementation="eager")
THREE = dict(num_labels=3)
NAMED = dict(id2label={0: "no", 1: "perhaps", 2: "yes"}, label2id={"no": 0, "perhaps": 1, "yes": 2})

# name: (class, configuration)
ENCODERS = {
    "bert": (tf.BertForMaskedLM, tf.BertConfig(**BERT)),
    "bert_sequence": (tf.BertForSequenceClassification, tf.BertConfig(**BERT, **NAMED)),
    "bert_tokens": (tf.BertForTokenClassification, tf.BertConfig(**BERT, **THREE)),
    "minilm": (tf.BertModel, tf.BertConfig(**BERT)),
    "roberta": (tf.RobertaForMaskedLM, tf.RobertaConfig(**ROBERTA)),
    "roberta_sequence": (tf.RobertaForSequenceClassification, tf.RobertaConfig(**ROBERTA, num_labels=1)),
    "distilbert": (tf.DistilBertForMaskedLM, tf.DistilBertConfig(**DISTIL)),
    "distilbert_sequence": (tf.DistilBertForSequenceClassification, tf.DistilBertConfig(**DISTIL, **THREE)),
    "modernbert": (tf.ModernBertForMaskedLM, tf.ModernBertConfig(**MODERN)),
    "modernbert_sequence": (tf.ModernBertForSequenceClassification, tf.ModernBertConfig(**MODERN, **THREE)),
}


def rows(name: str, classes: int, whole: bool):
    ids = torch.randint(3, VOCAB, (ROWS, T), generator=generator(f"{name}/ids"))
    mask = torch.ones_like(ids)
    ids[1, SHORT:], mask[1, SHORT:] = (1 if "roberta" in name else 0), 0
    types = torch.zeros_like(ids)
    types[0, 7:], types[1, 4:SHORT] = 1, 1
    if whole:
        labels = torch.tensor([1.0, -0.5]) if classes == 1 else torch.tensor([2, 0])
    else:
        labels = torch.randint(0, classes, (ROWS, T), generator=generator(f"{name}/labels"))
        asked = torch.rand((ROWS, T), generator=generator(f"{name}/asked")) < 0.5
        labels = labels.masked_fill((mask == 0) | ~asked, -100)
    return ids, mask, types, labels


def main():
    for name, (cls, cfg) in ENCODERS.items():
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        folder = FIXTURES / "models" / name
        shutil.rmtree(folder, ignore_errors=True)
        torch.manual_seed(0)
        model = cls(cfg).eval()
        fill(model, name)
        model.save_pretrained(folder)
        (folder / "model.safetensors").chmod(0o644)
        config = json.loads((folder / "config.json").read_text())
        config.pop("transformers_version", None)
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")

        whole = name.endswith("sequence")
        classes = cfg.num_labels if whole or name.endswith("tokens") else VOCAB
        ids, mask, types, labels = rows(name, classes, whole)
        feed = dict(input_ids=ids, attention_mask=mask)
        if getattr(cfg, "type_vocab_size", 1) > 1:
            feed["token_type_ids"] = types
        else:
            types = torch.zeros_like(types)
        expected = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        if name == "minilm":
            out = model(**feed)
            m = mask[:, :, None].float()
            mean = (out.last_hidden_state * m).sum(1) / m.sum(1).clamp(min=1e-9)
            expected |= {"hidden": out.last_hidden_state, "pooler": out.pooler_output, "mean": torch.nn.functional.normalize(mean, dim=1)}
        else:
            if classes == 1:
                model.config.problem_type = "regression"
            out = model(**feed, labels=labels)
            out.loss.backward()
            expected |= {"labels": labels, "logits": out.logits, "loss": out.loss.reshape(1)}
            for key, p in model.named_parameters():
                if p.grad is None or p.grad.abs().max() == 0:
                    print(f"  {name}: {key} has no gradient")
                    p.grad = torch.zeros_like(p)
                expected[f"grad/{key}"] = p.grad.clone()
            torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01).step()
            for key, p in model.named_parameters():
                expected[f"after/{key}"] = p.detach().clone()
        write_tensors(folder / "expected.safetensors", expected)
        kept = set(load_file(folder / "model.safetensors"))
        named = {k for k, _ in model.named_parameters()}
        count = sum(p.numel() for p in model.parameters())
        said = "" if name == "minilm" else f"loss {out.loss.item():.4f}, std {out.logits.std().item():.2f}"
        print(f"{name}: {count} parameters; in the file alone: {sorted(kept - named)}, in memory alone: {sorted(named - kept)}", said)


if __name__ == "__main__":
    main()
