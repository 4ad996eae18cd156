"""Supervised tuning in all its variants on the tiny llama, from an adapter that changes it: tests/fixtures/sft/.

The loops are written out here; `--check` runs TRL's SFTTrainer on the same rows and compares. Packs are those that TRL made.
"""

import argparse
import json
import shutil
import sys

import torch

import training
from common import FIXTURES, write_json_rows, write_tensors
from training import PLAIN, ids, padded

OUT = FIXTURES / "sft"
LENGTHS = [5, 17, 9, 3, 24, 12, 7, 20, 4, 15, 8, 11, 6, 2]


def completions() -> list[dict]:
    rows = []
    for i, (p, c) in enumerate([(3, 8), (5, 4), (1, 12), (7, 7), (2, 3), (6, 10), (4, 1), (9, 6), (3, 3), (8, 2), (2, 9), (5, 5)]):
        row = {"input_ids": ids(f"sft16/{i}", p + c - 1) + [2]}
        row["labels"] = [-100] * p + row["input_ids"][p:]
        rows.append(row)
    return rows


def turns() -> list[dict]:
    """Several turns: labels on the assistant's tokens only."""
    rows = []
    for i, parts in enumerate([(3, 4, 2, 5), (6, 2, 3, 3, 1, 4), (2, 7), (4, 1, 4, 6), (1, 3, 5, 2), (5, 5), (2, 2, 2, 2), (7, 4, 1, 1)]):
        row = {"input_ids": ids(f"sft16/turns/{i}", sum(parts)), "labels": []}
        for k, n in enumerate(parts):
            at = len(row["labels"])
            row["labels"] += row["input_ids"][at:at + n] if k % 2 else [-100] * n
        rows.append(row)
    return rows


def documents() -> list[dict]:
    rows = []
    for i, n in enumerate(LENGTHS):
        row = {"input_ids": ids(f"sft16/documents/{i}", n)}
        row["labels"] = [-100] + row["input_ids"][1:] if i % 3 else [-100] * (n // 2) + row["input_ids"][n // 2:]
        rows.append(row)
    return rows


SMOOTH, PACKED = {"label_smoothing_factor": 0.1}, {"packing": True, "max_length": 24, "packing_strategy": "bfd"}
CURVES = {
    "sft_completion": (completions, {}),
    "sft_accumulate": (completions, {"gradient_accumulation_steps": 2, "max_steps": 3}),
    "sft_assistant": (turns, {}),
    "sft_packed": (documents, PACKED),
    "sft_packed_one": (documents, {**PACKED, "per_device_train_batch_size": 1}),
    "sft_label_smoothing": (completions, SMOOTH),
    "sft_packed_smoothing": (documents, {**PACKED, **SMOOTH}),
    "sft_smoothing_accumulate": (completions, {**SMOOTH, "gradient_accumulation_steps": 2, "max_steps": 3}),
    "sft_dft": (completions, {"loss_type": "dft"}),
    "sft_packed_split": (documents, {**PACKED, "max_length": 10, "packing_strategy": "bfd_split"}),
    "sft_packed_wrapped": (documents, {**PACKED, "max_length": 16, "packing_strategy": "wrapped"}),
    "sft_keep_end": (completions, {"max_length": 9, "truncation_mode": "keep_end"}),
}
GRADIENTS = ["sft_completion", "sft_packed", "sft_label_smoothing", "sft_packed_smoothing", "sft_dft"]


def config(name: str) -> dict:
    return {**PLAIN, **CURVES[name][1]}


def packs(rows: list[dict], cfg: dict) -> list[dict]:
    """TRL's own."""
    from datasets import Dataset
    from trl.data_utils import pack_dataset
    made = pack_dataset(Dataset.from_list(rows), cfg["max_length"], cfg["packing_strategy"])
    return [{k: v for k, v in p.items() if k in ("input_ids", "labels", "seq_lengths")} for p in made.to_list()]


def split(pack: dict) -> list[dict]:
    out, at = [], 0
    for n in pack.get("seq_lengths") or [len(pack["input_ids"])]:
        out.append({k: pack[k][at:at + n] for k in ("input_ids", "labels")})
        at += n
    return out


def step(model, micro: list[list[dict]], cfg) -> dict:
    """Documents one by one: the mean over the counted tokens of all micro-batches of the update."""
    documents = [d for rows in micro for pack in rows for d in split(pack)]
    count = sum(t != -100 for d in documents for t in d["labels"][1:])
    total, eps = 0.0, cfg.get("label_smoothing_factor", 0.0)
    for d in documents:
        y = torch.tensor(d["labels"][1:])
        lp = torch.log_softmax(model(input_ids=padded([d["input_ids"]], 0)).logits[0, :-1], -1)[y != -100]
        if not len(lp):
            continue
        training.ENTROPIES.append(-(lp.exp() * lp).sum(-1).detach())
        own = lp.gather(-1, y[y != -100][:, None])[:, 0]
        nll = -own * own.exp().detach() if cfg.get("loss_type") == "dft" else -own
        loss = ((1 - eps) * nll - eps * lp.mean(-1)).sum() / count
        loss.backward()
        total += loss.item()
    return {"loss": total, "counted_tokens": count}


def rows_of(name: str) -> tuple[list[dict], list[dict]]:
    """What the trainer is given, and what an update takes."""
    rows, cfg = CURVES[name][0](), config(name)
    if cfg.get("packing"):
        return rows, [p for p in packs(rows, cfg)]
    if cfg.get("truncation_mode") == "keep_end":
        cut = [{k: v[-cfg["max_length"]:] for k, v in r.items()} for r in rows]
        return rows, [r for r in cut if any(t != -100 for t in r["labels"][1:])]
    return rows, rows


def curves():
    shutil.rmtree(OUT, ignore_errors=True)
    for name in CURVES:
        cfg = config(name)
        rows, taken = rows_of(name)
        log, first = training.train(training.start("adapters/default"), taken, step, cfg)
        head = {"method": "sft", "base": "../models/llama", "init_adapter": "adapters/default", "config": cfg, "rows": rows}
        if cfg.get("packing"):
            head["packed"] = taken
        write_json_rows(OUT / f"{name}.json", head, "steps", log)
        if name in GRADIENTS:
            write_tensors(OUT / f"{name}_grad_step0.safetensors", {k.replace(".default", ""): g for k, g in first.items()})
        print(f"{name}: loss {log[0]['loss']:.4f} → {log[-1]['loss']:.4f}, {len(taken)} rows of an update's")


def check():
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from torch.utils.data import SequentialSampler
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    tok = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({f"w{i}": i for i in range(training.VOCAB)}, unk_token="w1")),
                                  pad_token="w0", eos_token="w2")

    class Sft(SFTTrainer):
        def _get_train_sampler(self, *a, **k):
            return SequentialSampler(self.train_dataset)

    for name in CURVES:
        cfg = config(name)
        args = SFTConfig(output_dir=str(OUT / "trl"), use_cpu=True, bf16=False, logging_steps=1, report_to=[], save_strategy="no",
                         disable_tqdm=True, gradient_checkpointing=False, **cfg)
        t = Sft(model=training.start("adapters/default"), args=args, train_dataset=Dataset.from_list(CURVES[name][0]()), processing_class=tok)
        gradients = {}

        class Watch(__import__("transformers").TrainerCallback):
            def on_pre_optimizer_step(self, args, state, control, model=None, **k):
                gradients.update({} if gradients else {k: p.grad.clone() for k, p in model.named_parameters() if p.requires_grad})
        t.add_callback(Watch())
        t.train()
        ours = json.loads((OUT / f"{name}.json").read_text())["steps"]
        theirs = [r for r in t.state.log_history if "grad_norm" in r]
        assert len(ours) == len(theirs), (name, len(theirs))
        off = [max(abs(a[k] - b[k]) / max(1e-2, abs(b[k])) for k in ("loss", "grad_norm", "learning_rate")) for a, b in zip(ours, theirs)]
        _, first = training.train(training.start("adapters/default"), rows_of(name)[1], step, {**cfg, "max_steps": 1})
        cosine = min(torch.cosine_similarity(g.flatten(), first[f"grad/{k}"].flatten(), 0).item() for k, g in gradients.items())
        print(f"TRL {name}: losses off by {off[0]:.1e} at step 1, {max(off):.1e} over {len(off)}; least cosine of gradients {cosine:.7f}")
        assert off[0] < 1e-4 and max(off) < 1e-3 and cosine > 0.99999, name
    shutil.rmtree(OUT / "trl", ignore_errors=True)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--check", action="store_true", help="compare the committed curves with TRL's trainer and write nothing")
    if p.parse_args().check:
        check()
        sys.exit()
    curves()
