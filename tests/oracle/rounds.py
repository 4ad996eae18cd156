"""Methods that learn in rounds (GRPO, RLOO, online DPO) on the tiny llama, from rows that bring completions and rewards: tests/fixtures/rounds/.

The loops are written out here so that every formula can be read; `--check` runs TRL's own trainers on the same rows and compares losses, gradients,
advantages, old and reference log-probabilities. TRL's telemetry is off by HF_HUB_OFFLINE=1.
"""

import argparse
import json
import os
import shutil
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from peft import PeftModel  # noqa: E402

from common import FIXTURES, write_json_rows, write_tensors  # noqa: E402
from training import OUT as TRAINING, VOCAB, base_model, ids, padded  # noqa: E402

OUT = FIXTURES / "rounds"
EOS, LONGEST = 2, 9
COMMON = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "max_steps": 6, "learning_rate": 1e-3, "lr_scheduler_type": "constant",
          "weight_decay": 0.0, "max_grad_norm": 0.0, "num_train_epochs": 1}
GRPO = {**COMMON, "num_generations": 4, "num_iterations": 2, "max_completion_length": LONGEST, "loss_type": "grpo", "beta": 0.0, "epsilon": 0.2,
        "epsilon_high": 0.28, "scale_rewards": "group", "temperature": 1.0, "importance_sampling_level": "token", "use_bias_correction_kl": True,
        "mask_truncated_completions": False}
RLOO = {**COMMON, "num_generations": 4, "num_iterations": 2, "max_completion_length": LONGEST, "beta": 0.05, "epsilon": 0.2, "epsilon_high": 0.28,
        "temperature": 1.0, "normalize_advantages": False}
ONLINE = {**COMMON, "per_device_train_batch_size": 2, "beta": 0.1, "loss_type": "sigmoid", "max_new_tokens": LONGEST, "max_steps": 3}
KL = dict(beta=0.04)
ACCUMULATE = dict(per_device_train_batch_size=4, gradient_accumulation_steps=2)
LOSSES = ["grpo", "dr_grpo", "bnpo", "dapo"]
CURVES = {
    **{f"grpo_{k}": ("grpo", {**GRPO, "loss_type": k}) for k in LOSSES},
    **{f"grpo_{k}_kl": ("grpo", {**GRPO, "loss_type": k, **KL}) for k in LOSSES},
    "grpo_grpo_kl_plain": ("grpo", {**GRPO, **KL, "use_bias_correction_kl": False}),
    "grpo_scale_none": ("grpo", {**GRPO, "scale_rewards": "none"}),
    "grpo_scale_batch": ("grpo", {**GRPO, "scale_rewards": "batch"}),
    "grpo_dr_grpo_scale_none": ("grpo", {**GRPO, "loss_type": "dr_grpo", "scale_rewards": "none"}),
    "grpo_one_iteration": ("grpo", {**GRPO, **KL, "num_iterations": 1, "max_steps": 3}),
    "grpo_masked": ("grpo", {**GRPO, "loss_type": "dapo", "mask_truncated_completions": True}),
    "grpo_masked_mean": ("grpo", {**GRPO, "mask_truncated_completions": True}),
    "grpo_sequence": ("grpo", {**GRPO, **KL, "importance_sampling_level": "sequence"}),
    "grpo_temperature": ("grpo", {**GRPO, **KL, "temperature": 0.7}),
    "grpo_delta": ("grpo", {**GRPO, "delta": 1.5, "learning_rate": 3e-2}),
    "grpo_clip": ("grpo", {**GRPO, "learning_rate": 3e-2}),
    "grpo_dapo_clip": ("grpo", {**GRPO, "loss_type": "dapo", "learning_rate": 3e-2}),
    **{f"grpo_{k}_accumulate": ("grpo", {**GRPO, "loss_type": k, **KL, **ACCUMULATE}) for k in LOSSES},
    "rloo": ("rloo", RLOO),
    "rloo_no_kl": ("rloo", {**RLOO, "beta": 0.0}),
    "rloo_normalized": ("rloo", {**RLOO, "normalize_advantages": True}),
    "rloo_clipped_rewards": ("rloo", {**RLOO, "reward_clip_range": [-0.5, 0.5]}),
    "rloo_clip": ("rloo", {**RLOO, "learning_rate": 3e-2}),
    "rloo_masked": ("rloo", {**RLOO, "mask_truncated_completions": True}),
    "rloo_accumulate": ("rloo", {**RLOO, **ACCUMULATE}),
    "online_dpo": ("online_dpo", ONLINE),
    "online_dpo_ipo": ("online_dpo", {**ONLINE, "loss_type": "ipo"}),
    "online_dpo_accumulate": ("online_dpo", {**ONLINE, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}),
}
# Of the first gradient: the rest of it says the same, and is compared with TRL's by --check.
SHORT = ("layers.0.self_attn.q_proj", "layers.1.mlp.down_proj")


def rows_of(method: str) -> list[dict]:
    """Six prompts with four completions (online DPO: two). Some completions are cut; one group's rewards are all the same; one pair is a tie."""
    rows, per = [], 2 if method == "online_dpo" else 4
    lengths = [(3, [5, 9, 2, 7]), (5, [9, 3, 6, 4]), (2, [4, 4, 9, 8]), (7, [1, 6, 9, 3]), (4, [8, 2, 5, 9]), (6, [3, 7, 4, 6])]
    rewards = [[0.7, -0.4, 1.3, 0.1], [0.2, 0.9, -1.1, 0.5], [1.0, 0.0, 0.3, -0.6], [0.4, 0.4, 0.4, 0.4], [-0.2, 1.6, 0.8, 0.3], [0.5, -0.9, 0.6, 1.2]]
    for i, ((p, ns), rs) in enumerate(zip(lengths, rewards)):
        completions = []
        for k, n in enumerate(ns[:per]):
            tokens = ids(f"rounds/{i}/{k}", n)
            completions.append(tokens if n == LONGEST else tokens[:-1] + [EOS])
        rows.append({"prompt_ids": ids(f"rounds/{i}/prompt", p), "completion_ids": completions, "rewards": rs[:per]})
    return rows


def logps_of(model, samples: list[dict], temperature: float = 1.0):
    """(N, longest) log-probabilities and entropies of the completions' tokens, their mask."""
    x = padded([s["prompt"] + s["completion"] for s in samples], 0)
    mask = padded([[1] * len(s["prompt"] + s["completion"]) for s in samples], 0)
    lp = torch.log_softmax(model(input_ids=x, attention_mask=mask).logits / temperature, -1)
    longest = max(len(s["completion"]) for s in samples)
    out, entropies, seen = [], [], []
    for i, s in enumerate(samples):
        p, n = len(s["prompt"]), len(s["completion"])
        at = lp[i, p - 1:p + n - 1]
        fill = (0, longest - n)
        out.append(F.pad(at.gather(-1, torch.tensor(s["completion"])[:, None])[:, 0], fill))
        entropies.append(F.pad(-(at.exp() * at).sum(-1), fill))
        seen.append(F.pad(torch.full((n,), 0.0 if s["masked"] else 1.0), fill))
    return torch.stack(out), torch.stack(entropies).detach(), torch.stack(seen)


def known(model, samples, temperature, size):
    """The same without a gradient, as lists of the completions' tokens, micro-batch by micro-batch."""
    with torch.no_grad():
        found = []
        for first in range(0, len(samples), size):
            part = samples[first:first + size]
            lp = logps_of(model, part, temperature)[0]
            found += [lp[i, :len(s["completion"])].tolist() for i, s in enumerate(part)]
    return found


def completions_of(rows):
    return [{"prompt": r["prompt_ids"], "completion": c, "reward": w, "cut": c[-1] != EOS, "masked": False}
            for r in rows for c, w in zip(r["completion_ids"], r["rewards"])]


def stats(samples):
    """What a round reports of its completions and rewards."""
    lengths = torch.tensor([float(len(s["completion"])) for s in samples])
    cut = torch.tensor([s["cut"] for s in samples])
    ended = lengths[~cut] if (~cut).any() else torch.zeros(1)
    rewards = torch.tensor([s["reward"] for s in samples], dtype=torch.float64)
    out = {"completions/clipped_ratio": cut.float().mean().item(), "reward": rewards.mean().item(), "reward_std": rewards.std().item(),
           "rewards/reward/mean": rewards.mean().item(), "rewards/reward/std": rewards.std().item()}
    for name, of in (("length", lengths), ("terminated_length", ended)):
        out |= {f"completions/mean_{name}": of.mean().item(), f"completions/min_{name}": of.min().item(), f"completions/max_{name}": of.max().item()}
    return out


def groups(samples, n):
    return torch.tensor([s["reward"] for s in samples], dtype=torch.float64).view(-1, n)


def grpo_round(samples, cfg):
    """Advantages: reward less the group's mean, over the standard deviation (n − 1) of the group or of all."""
    n = cfg["num_generations"]
    r = groups(samples, n)
    std = r.std(1, keepdim=True).expand(-1, n) if cfg["scale_rewards"] != "batch" else r.std().expand(r.shape)
    a = r - r.mean(1, keepdim=True)
    if cfg["scale_rewards"] != "none":
        a = a / (std + 1e-4)
    return a.flatten().tolist(), {"frac_reward_zero_std": torch.isclose(std, torch.zeros_like(std)).double().mean().item()}


def rloo_round(samples, cfg):
    """Rewards, clipped, less β times the summed log ratio of old and reference; less the mean of the others."""
    n, r, said = cfg["num_generations"], torch.tensor([s["reward"] for s in samples], dtype=torch.float64), {}
    if cfg.get("reward_clip_range"):
        r = r.clamp(*cfg["reward_clip_range"])
    if cfg["beta"]:
        kl = torch.tensor([0.0 if s["masked"] else sum(s["old"]) - sum(s["reference"]) for s in samples], dtype=torch.float64)
        r = r - cfg["beta"] * kl
        said["kl"] = (kl.sum() / sum(len(s["completion"]) for s in samples if not s["masked"])).item()
    g = r.view(-1, n)
    a = r - ((g.sum(1, keepdim=True) - g) / (n - 1)).flatten()
    if cfg["normalize_advantages"]:
        a = (a - a.mean()) / (a.std() + 1e-4)
    said["frac_reward_zero_std"] = torch.isclose(g.std(1), torch.zeros(len(g), dtype=torch.float64)).double().mean().item()
    return a.tolist(), said


def policy_loss(model, samples, cfg, method, share):
    """−min(ρA, clip(ρ)A) of tokens (RLOO, and the ratio of `sequence`: of completions) + β·k; how they are added is the variants' own."""
    lp, entropies, mask = logps_of(model, samples, cfg["temperature"])
    fit = lambda name: torch.stack([F.pad(torch.tensor(s[name]), (0, lp.shape[1] - len(s[name]))) for s in samples])
    a = torch.tensor([s["advantage"] for s in samples], dtype=torch.float32)[:, None]
    old = fit("old") if "old" in samples[0] else lp.detach()
    log_ratio, low, high = (lp - old) * mask, 1 - cfg["epsilon"], 1 + cfg["epsilon_high"]
    if method == "rloo":
        log_ratio = log_ratio.sum(1, keepdim=True)
    elif cfg["importance_sampling_level"] == "sequence":
        log_ratio = log_ratio.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)
    ratio = log_ratio.exp()
    cut = ratio.clamp(max=cfg["delta"]) if cfg.get("delta") else ratio
    loss = -torch.min(cut * a, ratio.clamp(low, high) * a)
    per_token = lambda x: x.expand(mask.shape) * mask
    mean = lambda x: (per_token(x).sum() / mask.sum().clamp(min=1)).item() if x.shape[1] > 1 else x.mean().item()
    own = lambda x: (per_token(x).sum(1) / mask.sum(1) if x.shape[1] > 1 else x[:, 0])
    below, above = ((cut < low) & (a < 0)).float(), ((cut > high) & (a > 0)).float()
    finite = lambda x: x[~x.isnan()]
    said = {"clip_ratio/low_mean": mean(below), "clip_ratio/high_mean": mean(above), "clip_ratio/region_mean": mean(below) + mean(above),
            "clip_ratio/low_min": finite(own(below)).min().item(), "clip_ratio/high_max": finite(own(above)).max().item()}
    if method == "rloo":
        return loss.mean() / share["micros"], entropies[mask > 0], said
    if cfg["beta"]:
        d = fit("reference") - lp
        k = d.exp() - d - 1
        k = k * ratio if cfg["use_bias_correction_kl"] else k
        loss = loss + cfg["beta"] * k
        said["kl"] = (per_token(k).sum() / mask.sum().clamp(min=1)).item()
    loss, kind = per_token(loss), cfg["loss_type"]
    if kind == "grpo":
        total = (loss.sum(1) / mask.sum(1).clamp(min=1)).mean() / share["micros"]
    elif kind == "bnpo":
        total = loss.sum() / mask.sum().clamp(min=1) / share["micros"]
    elif kind == "dr_grpo":
        total = loss.sum() / (len(samples) * cfg["max_completion_length"]) / share["micros"]
    else:
        total = loss.sum() / share["tokens"]
    return total, entropies[mask > 0], said


def online_loss(model, pairs, cfg, share):
    """−ln σ(β·Δ), or (Δ − 1/(2β))², Δ the difference of the summed log ratios of the better and the worse completion; a tie goes to the first."""
    sides = []
    for which in (0, 1):
        side = [p[which] for p in pairs]
        lp, entropies, mask = logps_of(model, side)
        sides.append((lp.sum(1), torch.tensor([sum(s["reference"]) for s in side]), entropies[mask > 0], side))
    (c, rc, ec, chosen), (r, rr, er, rejected) = sides
    beta, delta = cfg["beta"], (c - rc) - (r - rr)
    losses = -F.logsigmoid(beta * delta) if cfg["loss_type"] == "sigmoid" else (delta - 1 / (2 * beta)) ** 2
    scores = torch.tensor([[a["reward"], b["reward"]] for a, b in pairs])
    said = {"rewards/chosen": beta * (c - rc), "rewards/rejected": beta * (r - rr), "rewards/margins": beta * delta,
            "rewards/accuracies": (delta > 0).float(), "logps/chosen": c, "logps/rejected": r, "objective/scores": scores,
            "objective/scores_margin": scores[:, 0] - scores[:, 1],
            "val/contain_eos_token": torch.tensor([float(not s["cut"]) for p in pairs for s in p])}
    return losses.mean() / share["micros"], torch.cat([ec, er]), {k: v.mean().item() for k, v in said.items()}


def train(model, rows, method, cfg):
    params = {k: p for k, p in model.named_parameters() if p.requires_grad}
    opt = torch.optim.AdamW(params.values(), lr=cfg["learning_rate"], betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    size, steps = cfg["per_device_train_batch_size"], cfg["gradient_accumulation_steps"]
    per = cfg.get("num_generations", 2)
    asked = size * steps if method == "online_dpo" else size * steps // per
    iterations, temperature = cfg.get("num_iterations", 1), cfg.get("temperature", 1.0)
    log, batches, first = [], [], {}
    at = 0
    while len(log) < cfg["max_steps"]:
        batch = rows[at:at + asked]
        at = (at + asked) % len(rows)
        samples = completions_of(batch)
        for s in samples:
            s["masked"] = s["cut"] and cfg.get("mask_truncated_completions", False)
        whole = size * 2 if method == "online_dpo" else size
        if iterations > 1 or method == "rloo":
            for s, values in zip(samples, known(model, samples, temperature, whole)):
                s["old"] = values
        if cfg["beta"]:
            with model.disable_adapter():
                for s, values in zip(samples, known(model, samples, temperature, whole)):
                    s["reference"] = values
        said = stats(samples) if method != "online_dpo" else {}
        if method != "online_dpo":
            advantages, more = (grpo_round if method == "grpo" else rloo_round)(samples, cfg)
            said |= more
            for s, a in zip(samples, advantages):
                s["advantage"] = a
            units = samples
        else:
            units = [(a, b) if a["reward"] >= b["reward"] else (b, a) for a, b in zip(samples[::2], samples[1::2])]
        record = {k: [s[n] for s in samples] for k, n in (("advantages", "advantage"), ("old_logps", "old"), ("ref_logps", "reference")) if n in samples[0]}
        batches.append({"rows": [rows.index(r) for r in batch], **record})
        micros = [units[i:i + size] for i in range(0, len(units), size)]
        share = {"micros": len(micros), "tokens": sum(len(s["completion"]) for s in samples if not s["masked"])}
        for _ in range(iterations):
            opt.zero_grad()
            loss, seen, entropies = 0.0, [], []
            for micro in micros:
                if method == "online_dpo":
                    part, entropy, m = online_loss(model, micro, cfg, share)
                else:
                    part, entropy, m = policy_loss(model, micro, cfg, method, share)
                part.backward()
                loss += part.item()
                seen.append(m)
                entropies.append(entropy)
            if not log:
                first = {f"grad/{k}": p.grad.clone() for k, p in params.items()}
            norm = torch.nn.utils.clip_grad_norm_(params.values(), 1e9).item()
            opt.step()
            means = {k: sum(m[k] for m in seen) / len(seen) for k in seen[0]}
            log.append({"step": len(log) + 1, "loss": loss, "entropy": torch.cat(entropies).mean().item(), "grad_norm": norm,
                        "learning_rate": cfg["learning_rate"], **said, **means})
            if len(log) == cfg["max_steps"]:
                break
    return log, batches, first


def start():
    return PeftModel.from_pretrained(base_model(), TRAINING / "adapters" / "default", is_trainable=True)


def curves(names):
    for name in names:
        method, cfg = CURVES[name]
        rows = rows_of(method)
        log, batches, first = train(start(), rows, method, cfg)
        head = {"method": method, "base": "../models/llama", "init_adapter": "../training/adapters/default", "config": cfg, "rows": rows,
                "batches": batches}
        write_json_rows(OUT / f"{name}.json", head, "steps", log)
        write_tensors(OUT / f"{name}_grad_step0.safetensors", {k.replace(".default", ""): g for k, g in first.items() if any(s in k for s in SHORT)})
        print(f"{name}: loss {log[0]['loss']:.5f} → {log[-1]['loss']:.5f}, grad_norm {log[0]['grad_norm']:.3f}, clipped "
              f"{[round(r.get('clip_ratio/region_mean', 0), 2) for r in log]}")


def check(names):
    from rounds_check import run
    run(names, CURVES, OUT, rows_of, start)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--check", action="store_true", help="compare the committed curves with TRL's trainers and write nothing")
    p.add_argument("names", nargs="*", help="only these curves")
    a = p.parse_args()
    if a.check:
        check(a.names or list(CURVES))
        sys.exit()
    if not a.names:
        shutil.rmtree(OUT, ignore_errors=True)
    curves(a.names or list(CURVES))
