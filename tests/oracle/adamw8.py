"""AdamW with 8-bit moments, transcribed from the paper (Dettmers et al. 2022, block-wise dynamic quantization): tests/fixtures/adamw8.safetensors.

The map is bitsandbytes' create_dynamic_map, written out. `--check` compares with bitsandbytes, where it is installed.
"""

import argparse
import json

import numpy as np
import torch

from common import FIXTURES, generator, write_tensors

BLOCK, STEPS = 256, 4
PARTS = [300, 20]  # two tensors: no block holds values of both
LR, DECAY, EPS, BETAS = 1e-2, 0.01, 1e-8, tuple(float(np.float32(b)) for b in (0.9, 0.999))


def dynamic_map(signed: bool) -> torch.Tensor:
    data = [0.0, 1.0]
    for i in range(7):
        n = 2 ** i if signed else 2 ** (i + 1)
        bounds = torch.linspace(0.1, 1, n + 1, dtype=torch.float64)
        means = (bounds[:-1] + bounds[1:]) / 2 * 10.0 ** (i - 6)
        data += means.tolist() + ((-means).tolist() if signed else [])
    assert len(data) == 256
    return torch.tensor(sorted(data), dtype=torch.float32)


def quantize(x: torch.Tensor, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and largest magnitudes of blocks of one tensor."""
    codes, tops = [], []
    middles = (values[:-1] + values[1:]) * 0.5
    for block in x.split(BLOCK):
        top = block.abs().max()
        c = torch.bucketize(block / top if top > 0 else torch.zeros_like(block), middles)
        if values[0] == 0:
            c = torch.where(block > 0, c.clamp_min(1), c)  # ours: what is not 0 does not become 0
        codes.append(c)
        tops.append(top)
    return torch.cat(codes), torch.stack(tops)


def dequantize(codes: torch.Tensor, tops: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.cat([values[c] * t for c, t in zip(codes.split(BLOCK), tops)])


def main():
    maps = [dynamic_map(True), dynamic_map(False)]
    out = {"map": torch.cat(maps)}
    g = generator("adamw8")
    params = [torch.randn(n, generator=g) for n in PARTS]
    out["p0"] = torch.cat(params)
    state = [None] * len(PARTS)
    for step in range(1, STEPS + 1):
        # Over seven powers of ten, as gradients of one tensor are.
        grads = [torch.randn(n, generator=g) * 10 ** (torch.rand(n, generator=g) * 6 - 6) for n in PARTS]
        out[f"g{step}"] = torch.cat(grads)
        moments = [[], []]
        for i, (p, grad) in enumerate(zip(params, grads)):
            old = [dequantize(*s, m) for s, m in zip(state[i], maps)] if state[i] else [torch.zeros_like(p)] * 2
            m = BETAS[0] * old[0] + (1 - BETAS[0]) * grad
            v = BETAS[1] * old[1] + (1 - BETAS[1]) * grad * grad
            corrections = [1 - b ** step for b in BETAS]
            p.mul_(1 - LR * DECAY).sub_(LR / corrections[0] * m / (v.sqrt() / corrections[1] ** 0.5 + EPS))
            state[i] = [quantize(m, maps[0]), quantize(v, maps[1])]
            for k in range(2):
                moments[k].append(state[i][k][0])
        out[f"p{step}"] = torch.cat(params).clone()
        if step in (1, STEPS):
            out[f"codes_m{step}"], out[f"codes_v{step}"] = (torch.cat(c).to(torch.float32) for c in moments)
    out["absmax"] = torch.cat([torch.stack([s[0][1], s[1][1]], 1) for s in state])
    write_tensors(FIXTURES / "adamw8.safetensors", out)
    (FIXTURES / "adamw8.json").write_text(json.dumps(
        {"parts": PARTS, "steps": STEPS, "lr": LR, "weight_decay": DECAY, "eps": EPS, "betas": BETAS, "torch": torch.__version__}) + "\n")


def check():
    from bitsandbytes.functional import create_dynamic_map
    for signed in (True, False):
        off = (create_dynamic_map(signed) - dynamic_map(signed)).abs().max().item()
        print(f"map, signed={signed}: off by {off:.1e}")
        assert off < 1e-6


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    check() if parser.parse_args().check else main()
