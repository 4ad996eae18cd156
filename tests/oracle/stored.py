"""Blocks of every stored type and what the gguf package makes of them: tests/fixtures/stored.safetensors.

For each type random blocks, some with the largest, smallest and negative scales, and their values as f32; and where the package quantizes,
random rows of values and the blocks it makes of them.
"""

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES
from gguf import GGMLQuantizationType as Q
from gguf.quants import dequantize, quantize

from common import FIXTURES, write_tensors

# Where a block has numbers of half precision; MXFP4's scale is a byte.
SCALES = {
    Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q8_0: [0], Q.Q2_K: [80, 82], Q.Q3_K: [108], Q.Q4_K: [0, 2],
    Q.Q5_K: [0, 2], Q.Q6_K: [208], Q.IQ4_NL: [0], Q.IQ4_XS: [0], Q.MXFP4: [],
}
MADE = [Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0]
# A scale whose minimum (−8d, −16d) has no place in half precision is refused: no scale above this.
LARGEST = 4000.0


def main():
    rng = np.random.default_rng(14)
    out = {}
    for q, places in SCALES.items():
        _, size = GGML_QUANT_SIZES[q]
        n = 24 if size < 40 else 8
        blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)
        some = np.array([0.0, -0.0, 6e-8, -6e-5, LARGEST, -LARGEST, 1.0, -0.37], dtype=np.float16)
        for i, at in enumerate(places):
            d = rng.normal(0, 0.02, n).astype(np.float16)
            d[: len(some)] = np.roll(some, i)
            blocks[:, at : at + 2] = d.view(np.uint8).reshape(n, 2)
        if q == Q.MXFP4:
            blocks[:, 0] = np.concatenate([[0, 1, 2, 3, 127, 128, 252], rng.integers(100, 140, n - 7)])
        # All integers at their ends.
        for row, byte in ((2, 0), (4, 255)):
            keep = [a + j for a in places for j in range(2)] or [0]
            blocks[row, [j for j in range(size) if j not in keep]] = byte
        out[f"{q.name}.blocks"] = torch.from_numpy(blocks.reshape(-1))
        out[f"{q.name}.values"] = torch.from_numpy(dequantize(blocks, q).reshape(-1))
    for q in MADE:
        x = rng.normal(0, 1, (24, 32)).astype(np.float32)
        x[0] = 0
        x[1] = 3.25
        x[2] *= 1e-6
        x[3] *= 1000
        x[4, 5] = -x[4, 9]
        out[f"{q.name}.floats"] = torch.from_numpy(x.reshape(-1))
        out[f"{q.name}.made"] = torch.from_numpy(quantize(x, q).reshape(-1))
    write_tensors(FIXTURES / "stored.safetensors", out)


if __name__ == "__main__":
    main()
