"""DPO's losses per pair, written out from the papers as TRL 1.16 computes them (`training.py --check` compares with TRL itself)."""

import math

import torch
import torch.nn.functional as F

LOSSES = ["sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down",
          "discopop", "sft", "sigmoid_norm"]
DIVERGENCES = ["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"]


def score(u: torch.Tensor, cfg: dict) -> torch.Tensor:
    """f′ of the divergence at a log ratio."""
    kind, alpha = cfg.get("f_divergence_type", "reverse_kl"), cfg.get("f_alpha_divergence_coef", 0.5)
    if kind == "forward_kl":
        return 1 - torch.exp(-u)
    if kind == "js_divergence":
        return math.log(2) + F.logsigmoid(u)
    if kind == "alpha_divergence":
        return (torch.exp((alpha - 1) * u) - 1) / (alpha - 1)
    return u


def losses(cfg: dict, chosen, rejected, ref_chosen, ref_rejected, chosen_tokens, rejected_tokens) -> torch.Tensor:
    """Weighted sum of the losses of every pair; the arguments are sums over the answers' tokens, and their numbers."""
    beta, eps, tau = cfg["beta"], cfg.get("label_smoothing", 0.0), cfg.get("discopop_tau", 0.05)
    c, r = chosen - ref_chosen, rejected - ref_rejected
    fc, fr = score(c, cfg), score(r, cfg)
    delta = beta * (fc - fr)

    def of_sorted(d):
        return -F.logsigmoid(beta * d) * (1 - eps) - F.logsigmoid(-beta * d) * eps

    def one(kind):
        if kind == "sigmoid":
            return -F.logsigmoid(delta)
        if kind == "hinge":
            return torch.relu(1 - delta)
        if kind == "ipo":
            return (fc / chosen_tokens - fr / rejected_tokens - 1 / (2 * beta)) ** 2
        if kind == "exo_pair":
            q, o = F.sigmoid(delta), F.sigmoid(-delta)
            return q * (F.logsigmoid(delta) - math.log1p(-eps)) + o * (F.logsigmoid(-delta) - math.log(eps))
        if kind == "nca_pair":
            return -F.logsigmoid(beta * c) - 0.5 * F.logsigmoid(-beta * c) - 0.5 * F.logsigmoid(-beta * r)
        if kind == "robust":
            return (-(1 - eps) * F.logsigmoid(delta) + eps * F.logsigmoid(-delta)) / (1 - 2 * eps)
        if kind == "bco_pair":
            return -F.logsigmoid(beta * c) - F.logsigmoid(-beta * r)
        if kind == "sppo_hard":
            return (c - 0.5 / beta) ** 2 + (r + 0.5 / beta) ** 2
        if kind == "aot":
            return of_sorted((chosen - rejected).sort().values - (ref_chosen - ref_rejected).sort().values)
        if kind == "aot_unpaired":
            return of_sorted(c.sort().values - r.sort().values)
        if kind == "apo_zero":
            return 1 - F.sigmoid(beta * c) + F.sigmoid(beta * r)
        if kind == "apo_down":
            return F.sigmoid(beta * c) + 1 - F.sigmoid(beta * (c - r))
        if kind == "discopop":
            m = F.sigmoid(delta / tau)
            return -F.logsigmoid(delta) * (1 - m) + torch.exp(-delta) * m
        if kind == "sft":
            # A mean over all tokens: the pairs' shares add up to it.
            return -chosen * (len(chosen) / chosen_tokens.sum())
        assert kind == "sigmoid_norm", kind
        return -F.logsigmoid(beta * (fc / chosen_tokens - fr / rejected_tokens))

    kinds = cfg.get("loss_type", "sigmoid")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return sum(w * one(k) for k, w in zip(kinds, cfg.get("loss_weights") or [1.0] * len(kinds)))
