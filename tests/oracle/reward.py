"""Reward models on the tiny llama: curves of pairs and of whole rankings, an adapter with a score head as PEFT writes it: tests/fixtures/reward/.

The losses are written out here; `--check` runs TRL's RewardTrainer on the rows of pairs and compares. Rankings are in no library: their loss is the
Plackett–Luce likelihood, over all orders that agree with the ranks where there are ties.
"""

import argparse
import itertools
import json
import shutil
import sys

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForSequenceClassification

from common import FIXTURES, generator, write_json_rows, write_tensors
from training import BASE, PAD, PLAIN, VOCAB, ids, padded, save_adapter

OUT = FIXTURES / "reward"


def base_model(labels: int = 1):
    return LlamaForSequenceClassification.from_pretrained(BASE, num_labels=labels, pad_token_id=PAD, attn_implementation="eager", dtype=torch.float32)


def init_reward(name: str, labels: int = 1) -> PeftModel:
    """A, B and the score head random."""
    config = LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj", "down_proj"], task_type="SEQ_CLS")
    model = get_peft_model(base_model(labels), config)
    for key, p in model.named_parameters():
        if not p.requires_grad:
            continue
        scale = p.shape[1] ** -0.5 if "lora_A" in key else 0.3
        with torch.no_grad():
            p.copy_(torch.randn(p.shape, generator=generator(f"{name}/{key}")) * scale)
    return model


def start(folder: str = "init") -> PeftModel:
    return PeftModel.from_pretrained(base_model(), OUT / folder, is_trainable=True)


# ---- rows --------------------------------------------------------------------------------------------------------------

def pair_rows(margin: bool) -> list[dict]:
    rows = []
    for i, (c, r) in enumerate([(9, 7), (7, 14), (6, 6), (15, 9), (11, 5), (10, 14), (7, 8), (8, 13)]):
        row = {"chosen_ids": ids(f"reward/{i}/chosen", c - 1) + [2], "rejected_ids": ids(f"reward/{i}/rejected", r - 1) + [2]}
        rows.append(row | ({"margin": [0.5, 0.0, 1.25, -0.25, 2.0, 0.1, 0.75, 1.0][i]} if margin else {}))
    return rows


RANKS = [[2, 1, 3], [1, 1, 2], [3, 1, 2, 4], [2, 1, 2], [1, 1, 1, 1], [4, 2, 2, 1, 2], [1, 2], [1, 2, 2, 2]]


def ranking_rows() -> list[dict]:
    return [{"ids": [ids(f"ranking/{i}/{k}", 5 + (3 * i + 2 * k) % 7) + [2] for k in range(len(ranks))], "ranks": ranks}
            for i, ranks in enumerate(RANKS)]


# ---- losses ------------------------------------------------------------------------------------------------------------

def scores(model, rows: list[list[int]]) -> torch.Tensor:
    """(N) of the last token of each."""
    return model(input_ids=padded(rows, PAD), attention_mask=padded([[1] * len(r) for r in rows], 0)).logits[:, 0]


def ranking_loss(s: torch.Tensor, ranks: list[int], marginal: bool) -> torch.Tensor:
    """−ln P of the order under Plackett and Luce; of ties the mean over the orders that agree with the ranks, or the sum of their probabilities."""
    best = sorted(range(len(ranks)), key=lambda i: ranks[i])
    groups = [list(g) for _, g in itertools.groupby(best, key=lambda i: ranks[i])]
    nll = []
    for order in itertools.product(*(itertools.permutations(g) for g in groups)):
        z = s[torch.tensor([i for g in order for i in g])]
        nll.append((torch.logcumsumexp(z.flip(0), 0).flip(0) - z).sum())
    nll = torch.stack(nll)
    return -torch.logsumexp(-nll, 0) if marginal else nll.mean()


def reward_step(model, micro: list[list[dict]], cfg) -> dict:
    """Means over the rows of a micro-batch, then over micro-batches; metrics, too, those of pairs over all strict pairs."""
    center, seen = cfg.get("center_rewards_coefficient") or 0.0, []
    for rows in micro:
        if "ids" in rows[0]:
            s = scores(model, [a for r in rows for a in r["ids"]])
            each = s.split([len(r["ids"]) for r in rows])
            losses = torch.stack([ranking_loss(z, r["ranks"], cfg["ties"] == "marginal") for z, r in zip(each, rows)])
            pairs = [z[a] - z[b] for z, r in zip(each, rows) for a, b in itertools.permutations(range(len(z)), 2) if r["ranks"][a] < r["ranks"][b]]
            gaps = torch.stack(pairs) if pairs else None
            middle = torch.stack([z.mean() for z in each])
        else:
            s = scores(model, [r["chosen_ids"] for r in rows] + [r["rejected_ids"] for r in rows])
            c, r = s.chunk(2)
            gaps = c - r
            losses = -F.logsigmoid(gaps - torch.tensor([row.get("margin", 0.0) for row in rows]))
            middle = (c + r) / 2
        loss = losses.mean() + center * ((2 * middle) ** 2).mean()
        (loss / len(micro)).backward()
        m = {"loss": loss, "min_reward": s.min(), "mean_reward": s.mean(), "max_reward": s.max()}
        if gaps is not None:
            m |= {"accuracy": (gaps > 0).float().mean(), "margin": gaps.mean()}
        seen.append({k: v.item() for k, v in m.items()})
    keys = [k for k in ("loss", "min_reward", "mean_reward", "max_reward", "accuracy", "margin") if any(k in m for m in seen)]
    return {k: sum(m[k] for m in seen if k in m) / sum(k in m for m in seen) for k in keys}


# ---- the loop ----------------------------------------------------------------------------------------------------------

def train(model: PeftModel, rows: list[dict], cfg: dict) -> tuple[list[dict], dict]:
    params = {k: p for k, p in model.named_parameters() if p.requires_grad}
    opt = torch.optim.AdamW(params.values(), lr=cfg["learning_rate"], weight_decay=0.0)
    size, at, log, first = cfg["per_device_train_batch_size"], 0, [], {}
    for step in range(cfg["max_steps"]):
        micro = []
        for _ in range(cfg["gradient_accumulation_steps"]):
            micro.append(rows[at:at + size])
            at = (at + size) % len(rows)
        opt.zero_grad()
        metrics = reward_step(model, micro, cfg)
        if step == 0:
            first = {f"grad/{key(k)}": p.grad.clone() for k, p in params.items()}
        norm = torch.nn.utils.clip_grad_norm_(params.values(), 1e9).item()
        opt.step()
        log.append({"step": step + 1, **metrics, "grad_norm": norm, "learning_rate": cfg["learning_rate"]})
    return log, first


def key(name: str) -> str:
    """As PEFT calls it in a file."""
    return name.replace("modules_to_save.default.", "").replace(".default", "")


CURVES = {  # name: (config, rows)
    "reward": ({}, pair_rows(False)),
    "reward_center": ({"center_rewards_coefficient": 0.01}, pair_rows(False)),
    "reward_margin": ({}, pair_rows(True)),
    "reward_margin_center": ({"center_rewards_coefficient": 0.01}, pair_rows(True)),
    "reward_accumulate": ({"gradient_accumulation_steps": 2, "max_steps": 4}, pair_rows(True)),
    "reward_ranking": ({"ties": "mean"}, ranking_rows()),
    "reward_ranking_marginal": ({"ties": "marginal"}, ranking_rows()),
    "reward_ranking_center": ({"ties": "mean", "center_rewards_coefficient": 0.01, "max_steps": 4}, ranking_rows()),
}


def config(more: dict) -> dict:
    return {**PLAIN, **more}


def write():
    shutil.rmtree(OUT, ignore_errors=True)
    save_adapter(init_reward("reward/init"), OUT / "init")
    for name, (more, rows) in CURVES.items():
        model, cfg = start(), config(more)
        log, first = train(model, rows, cfg)
        write_json_rows(OUT / f"{name}.json", {"method": "reward", "base": "../models/llama", "init_adapter": "init", "config": cfg, "rows": rows},
                        "steps", log)
        if name in ("reward", "reward_ranking", "reward_ranking_marginal"):
            write_tensors(OUT / f"{name}_grad_step0.safetensors", first)
        print(f"{name}: loss {log[0]['loss']:.4f} → {log[-1]['loss']:.4f}, grad_norm {log[0]['grad_norm']:.2f}")
    # What the adapter says of whole sequences, and one with a head for three criteria.
    rows = [r["chosen_ids"] for r in pair_rows(False)]
    several = init_reward("reward/several", 3)
    save_adapter(several, OUT / "several")
    with torch.no_grad():
        x, mask = padded(rows, PAD), padded([[1] * len(r) for r in rows], 0)
        one, three = scores(start(), rows).tolist(), several(input_ids=x, attention_mask=mask).logits.tolist()
    (OUT / "scores.json").write_text(json.dumps({"ids": rows, "init": one, "several": three}) + "\n")


def check():
    """The same curves from TRL's own trainer."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from torch.utils.data import SequentialSampler
    from transformers import PreTrainedTokenizerFast
    from trl import RewardConfig, RewardTrainer

    tok = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w1")),
                                  pad_token="w0", eos_token="w2")

    class Reward(RewardTrainer):
        def _get_train_sampler(self, *a, **k):
            return SequentialSampler(self.train_dataset)

    for name, (more, rows) in CURVES.items():
        if "ids" in rows[0]:
            continue
        args = RewardConfig(output_dir=str(OUT / "trl"), use_cpu=True, bf16=False, logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True,
                            gradient_checkpointing=False, max_length=None, **config(more))
        t = Reward(model=start(), args=args, train_dataset=Dataset.from_list(rows), processing_class=tok)
        t.train()
        ours = json.loads((OUT / f"{name}.json").read_text())["steps"]
        theirs = [r for r in t.state.log_history if "grad_norm" in r]
        assert len(ours) == len(theirs), name
        worst = max((abs(a[k] - b[k]) / max(1e-2, abs(b[k])), k) for a, b in zip(ours, theirs) for k in a if k in b and k != "step")
        print(f"TRL {name}: worst relative difference {worst[0]:.1e} ({worst[1]}) over {', '.join(sorted(k for k in ours[0] if k in theirs[0]))}")
        assert worst[0] < 1e-3, name
    shutil.rmtree(OUT / "trl", ignore_errors=True)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--check", action="store_true", help="compare the committed curves with TRL's trainer and write nothing")
    if p.parse_args().check:
        check()
        sys.exit()
    write()
