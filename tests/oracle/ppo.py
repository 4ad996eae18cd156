"""PPO on the tiny llama from rows that bring a response and a score each: tests/fixtures/ppo/.

The loop is written out here so that every formula can be read. `--check` runs the trainer of TRL 1.12, the last that had PPO, on the same rows:
PYTHONPATH must lead to it, before the TRL of requirements.txt.
"""

import argparse
import json
import os
import shutil
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402

from common import FIXTURES, write_json_rows, write_tensors  # noqa: E402
from reward import start as reward_start  # noqa: E402
from training import OUT as TRAINING, PAD, VOCAB, base_model, ids, padded, save_adapter, start as policy_start  # noqa: E402

OUT = FIXTURES / "ppo"
EOS, R = 2, 8
COMMON = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "num_mini_batches": 1, "num_ppo_epochs": 4, "learning_rate": 1e-3,
          "lr_scheduler_type": "constant", "weight_decay": 0.0, "kl_coef": 0.05, "kl_estimator": "k1", "cliprange": 0.2, "vf_coef": 0.1,
          "cliprange_value": 0.2, "gamma": 1.0, "lam": 0.95, "whiten_rewards": False, "temperature": 0.7, "response_length": R, "max_steps": 4}
CURVES = {
    "ppo": {},
    "ppo_whiten": {"whiten_rewards": True},
    "ppo_clip": {"learning_rate": 2e-2},
    "ppo_discount": {"gamma": 0.9, "lam": 0.8, "kl_estimator": "k3", "max_steps": 8},
    "ppo_missing_eos": {"missing_eos_penalty": 1.0},
    "ppo_accumulate": {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "num_ppo_epochs": 2},
    "ppo_mini_batches": {"num_mini_batches": 2, "num_ppo_epochs": 2, "max_steps": 8},
}


def rows() -> list[dict]:
    """Eight responses, of which two fill all of R: one with an end, one without; one more is cut short without an end."""
    out = []
    for i, (q, n, score) in enumerate([(3, 5, 0.7), (5, 8, -0.4), (2, 8, 1.3), (6, 1, 0.1), (4, 6, -1.2), (7, 3, 0.9), (1, 7, 0.3), (5, 4, -0.6)]):
        response = ids(f"ppo/{i}/response", n)
        out.append({"query_ids": ids(f"ppo/{i}/query", q), "response_ids": response if i == 2 else response[:-1] + [EOS], "score": score})
    return out


def masked_mean(x, mask):
    return (x * mask).sum() / mask.sum()


def whitened(x, mask, shift=True):
    mean = masked_mean(x, mask)
    var = masked_mean((x - mean) ** 2, mask)
    var = var * mask.sum() / (mask.sum() - 1)
    out = (x - mean) * torch.rsqrt(var + 1e-8)
    return out if shift else out + mean


def passed(model, some):
    """Logits or scores (N, T, …), responses to the right of their queries."""
    x = padded([r["query_ids"] + r["response_ids"] for r in some], PAD)
    mask = padded([[1] * len(r["query_ids"] + r["response_ids"]) for r in some], 0)
    return x, mask


def logps_of(model, some, temperature):
    """(N, R) log-probabilities and entropies of the responses' tokens, 0 behind them."""
    x, mask = passed(model, some)
    lp = torch.log_softmax(model(input_ids=x, attention_mask=mask).logits / (temperature + 1e-7), -1)
    out, entropies = [], []
    for i, r in enumerate(some):
        q, n = len(r["query_ids"]), len(r["response_ids"])
        at = lp[i, q - 1:q + n - 1]
        fill = (0, R - n)
        out.append(torch.nn.functional.pad(at.gather(-1, torch.tensor(r["response_ids"])[:, None])[:, 0], fill))
        entropies.append(torch.nn.functional.pad(-(at.exp() * at).sum(-1), fill))
    return torch.stack(out), torch.stack(entropies).detach()


def values_of(model, some):
    """(N, R) values at the places before the tokens and, where there is room, behind the last one; 0 further on."""
    x, mask = passed(model, some)
    inner = model.base_model.model
    hidden = inner.model(input_ids=x, attention_mask=mask).last_hidden_state
    all_values = inner.score(hidden)[..., 0]
    out = []
    for i, r in enumerate(some):
        q, n = len(r["query_ids"]), len(r["response_ids"])
        places = min(n + 1, R)
        out.append(torch.nn.functional.pad(all_values[i, q - 1:q - 1 + places], (0, R - places)))
    return torch.stack(out)


def known(policy, critic, some, cfg):
    """What is computed once per round."""
    n = torch.tensor([len(r["response_ids"]) for r in some])
    at = torch.arange(R)[None]
    tokens, places = (at < n[:, None]).float(), (at < (n[:, None] + 1)).float()
    with torch.no_grad():
        old, _ = logps_of(policy, some, cfg["temperature"])
        with policy.disable_adapter():
            ref, _ = logps_of(policy, some, cfg["temperature"])
        values = values_of(critic, some)
    scores = torch.tensor([r["score"] for r in some])
    ended = torch.tensor([EOS in r["response_ids"] for r in some])
    if cfg.get("missing_eos_penalty") is not None:
        scores = scores - (~ended).float() * cfg["missing_eos_penalty"]
    logr = ref - old
    kl = (-logr if cfg["kl_estimator"] == "k1" else torch.expm1(logr) - logr) * tokens
    non_score = -cfg["kl_coef"] * kl
    rewards = non_score.clone()
    rewards[torch.arange(len(some)), torch.where(n < R, n, n - 1)] += scores
    if cfg["whiten_rewards"]:
        rewards = whitened(rewards, places, shift=False) * places
    last, out = torch.zeros(len(some)), []
    for t in reversed(range(R)):
        following = values[:, t + 1] if t < R - 1 else 0.0
        delta = rewards[:, t] + cfg["gamma"] * following - values[:, t]
        last = delta + cfg["gamma"] * cfg["lam"] * last
        out.append(last)
    advantages = torch.stack(out[::-1], 1)
    returns = advantages + values
    advantages = whitened(advantages, tokens) * tokens
    objective = {"objective/kl": kl.sum(1).mean(), "objective/entropy": (-old * tokens).sum(1).mean(),
                 "objective/non_score_reward": non_score.sum(1).mean(), "objective/rlhf_reward": non_score.sum(1).mean() + scores.mean(),
                 "objective/scores": scores.mean(), "val/num_eos_tokens": torch.tensor(float(sum(r["response_ids"].count(EOS) for r in some)))}
    return dict(old=old, ref=ref, values=values, tokens=tokens, places=places, advantages=advantages, returns=returns), \
        {k: v.item() for k, v in objective.items()}


def step(policy, critic, micro, cfg) -> dict:
    """One update; metrics are means over its micro-batches, of tokens and places that are there."""
    seen, entropy, tokens = [], 0.0, sum(k["tokens"].sum().item() for _, k in micro)
    for some, k in micro:
        new, entropies = logps_of(policy, some, cfg["temperature"])
        v = values_of(critic, some)
        clipped = torch.clamp(v, k["values"] - cfg["cliprange_value"], k["values"] + cfg["cliprange_value"])
        plain, cut = (v - k["returns"]) ** 2, (clipped - k["returns"]) ** 2
        value = 0.5 * masked_mean(torch.max(plain, cut), k["places"])
        diff = (new - k["old"]) * k["tokens"]
        ratio = torch.exp(diff)
        a = k["advantages"]
        one, two = -a * ratio, -a * torch.clamp(ratio, 1 - cfg["cliprange"], 1 + cfg["cliprange"])
        pg = masked_mean(torch.max(one, two), k["tokens"])
        loss = pg + cfg["vf_coef"] * value
        (loss / len(micro)).backward()
        m = {"loss": loss, "loss/policy_avg": pg, "loss/value_avg": value, "policy/approxkl_avg": 0.5 * masked_mean(diff ** 2, k["tokens"]),
             "policy/clipfrac_avg": masked_mean((two > one).float(), k["tokens"]), "val/clipfrac_avg": masked_mean((cut > plain).float(), k["places"]),
             "val/ratio": masked_mean(ratio, k["tokens"])}
        seen.append({name: x.item() for name, x in m.items()})
        entropy += (entropies * k["tokens"]).sum().item()
    # A mean over the update's tokens, as everywhere here.
    return {name: sum(m[name] for m in seen) / len(seen) for name in seen[0]} | {"policy/entropy_avg": entropy / tokens}


def key(name: str) -> str:
    """As PEFT calls it in a file."""
    return name.replace("modules_to_save.default.", "").replace(".default", "")


def train(policy, critic, all_rows, cfg):
    named = {"policy": policy, "critic": critic}
    params = {f"{who}/{key(k)}": p for who, m in named.items() for k, p in m.named_parameters() if p.requires_grad}
    opt = torch.optim.AdamW(params.values(), lr=cfg["learning_rate"], weight_decay=0.0)
    # A round has per_device_train_batch_size · gradient_accumulation_steps rows, an update a mini-batch of it.
    mini = len(all_rows) // cfg["num_mini_batches"]
    size = min(cfg["per_device_train_batch_size"], mini)
    accumulation = mini // size
    log, first, batch = [], {}, None
    while len(log) < cfg["max_steps"]:
        k, objective = known(policy, critic, all_rows, cfg)
        if batch is None:
            batch = {name: k[name].tolist() for name in ("old", "ref", "values", "advantages", "returns")}
        for _ in range(cfg["num_ppo_epochs"]):
            for at in range(0, len(all_rows), size * accumulation):
                places = [slice(i, i + size) for i in range(at, at + size * accumulation, size)]
                opt.zero_grad()
                m = step(policy, critic, [(all_rows[s], {name: v[s] for name, v in k.items()}) for s in places], cfg)
                if not log:
                    first = {f"grad/{name}": p.grad.clone() for name, p in params.items()}
                norm = torch.sqrt(sum((p.grad ** 2).sum() for p in params.values())).item()
                opt.step()
                log.append({"step": len(log) + 1, **m, **objective, "grad_norm": norm, "learning_rate": cfg["learning_rate"]})
    return log[:cfg["max_steps"]], first, batch


def config(name: str) -> dict:
    return {**COMMON, **CURVES[name]}


def write():
    shutil.rmtree(OUT, ignore_errors=True)
    for name in CURVES:
        cfg = config(name)
        policy, critic = policy_start("dpo_hinge"), reward_start()
        log, first, batch = train(policy, critic, rows(), cfg)
        head = {"method": "ppo", "base": "../models/llama", "init_adapter": "../training/adapters/default", "init_critic": "../reward/init",
                "config": cfg, "rows": rows(), "batch": {k: [[round(v, 7) for v in r] for r in b] for k, b in batch.items()}}
        write_json_rows(OUT / f"{name}.json", head, "steps", log)
        if name == "ppo":
            short = ("layers.0.self_attn.q_proj", "layers.1.mlp.down_proj", "score")
            write_tensors(OUT / f"{name}_grad_step0.safetensors", {k: g for k, g in first.items() if any(s in k for s in short)})
        print(f"{name}: loss {log[0]['loss']:.5f} → {log[-1]['loss']:.5f}, clipfrac {log[-1]['policy/clipfrac_avg']:.3f} {log[-1]['val/clipfrac_avg']:.3f}")


def check():
    """The same updates from TRL's own trainer."""
    import numpy as np
    import trl
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast
    from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

    assert trl.__version__.startswith("1.12."), f"PPO is in TRL 1.12, this is {trl.__version__}"
    tok = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCAB)}, unk_token="w1")),
                                  pad_token="w0", eos_token="w2", padding_side="left")

    for name in CURVES:
        cfg = config(name)
        all_rows = rows()
        by_query = {tuple(r["query_ids"]): r for r in all_rows}

        def plain(ids_):
            return tuple(i for i in ids_.tolist() if i != PAD)

        def generation(model, queries, size, pad, config_):
            """The recorded responses in place of new ones, and what the policy says of them."""
            context = queries.shape[1]
            answers = [by_query[plain(q)]["response_ids"] for q in queries]
            full = torch.stack([torch.cat([q, torch.tensor(a + [PAD] * (R - len(a)))]) for q, a in zip(queries, answers)])
            out = ppo_trainer.forward(model, full, pad)
            return full, out.logits[:, context - 1:-1] / (cfg["temperature"] + 1e-7)

        def reward_of(model, full, pad, context):
            if model != "recorded":
                return real_reward(model, full, pad, context)
            scores = torch.tensor([by_query[plain(q[:context])]["score"] for q in full])
            return None, scores, None

        class Recorded(torch.nn.Module):
            def __eq__(self, other):
                return other == "recorded"

            __hash__ = torch.nn.Module.__hash__

        real_reward = ppo_trainer.get_reward
        shown, seen = [], []
        ppo_trainer.batch_generation, ppo_trainer.get_reward = generation, lambda m, *a: reward_of("recorded" if isinstance(m, Recorded) else m, *a)
        real_permutation = np.random.permutation
        np.random.permutation = lambda n: np.arange(n)
        args = dict(cfg)
        rounds = -(-args.pop("max_steps") // (cfg["num_ppo_epochs"] * cfg["num_mini_batches"]))
        args |= dict(output_dir=str(OUT / "trl"), use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[], save_strategy="no", disable_tqdm=True,
                     num_sample_generations=0, total_episodes=len(all_rows) * rounds, stop_token="eos", logging_steps=1)
        policy, critic = policy_start("dpo_hinge"), reward_start()
        t = PPOTrainer(args=PPOConfig(**args), processing_class=tok, model=policy, ref_model=None, reward_model=Recorded(),
                       train_dataset=Dataset.from_list([{"input_ids": r["query_ids"]} for r in all_rows]), value_model=critic, peft_config=None)
        t.dataloader = t.accelerator.prepare(torch.utils.data.DataLoader(
            # One batch more than is used: accelerate makes an update of every micro-batch of the last one.
            [{"input_ids": r["query_ids"]} for r in all_rows] * (rounds + 1), batch_size=t.args.local_batch_size, collate_fn=t.data_collator, shuffle=False))
        t.log = lambda m, *a: shown.append(m)
        t.train()
        ppo_trainer.get_reward, np.random.permutation = real_reward, real_permutation
        ours = json.loads((OUT / f"{name}.json").read_text())["steps"]
        per = cfg["num_ppo_epochs"] * cfg["num_mini_batches"]
        worst = (0.0, "")
        for i, theirs in enumerate(shown):
            some = ours[i * per:(i + 1) * per]
            for k in some[0]:
                # Three of TRL's are means over padding, too.
                if k in theirs and k not in ("policy/approxkl_avg", "policy/entropy_avg", "val/ratio"):
                    mine = sum(m[k] for m in some) / len(some)
                    worst = max(worst, (abs(mine - theirs[k]) / max(1e-2, abs(theirs[k])), k))
        print(f"TRL {name}: worst relative difference {worst[0]:.1e} ({worst[1]}) over {', '.join(sorted(k for k in ours[0] if k in shown[0]))}")
        assert worst[0] < 1e-3, name
    shutil.rmtree(OUT / "trl", ignore_errors=True)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--check", action="store_true", help="compare the committed curves with TRL's trainer and write nothing")
    if p.parse_args().check:
        check()
        sys.exit()
    write()
