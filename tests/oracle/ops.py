"""Expected values and gradients of every op, by PyTorch autograd in f64: tests/fixtures/ops.safetensors and ops.json.

Inputs are drawn as f32 and widened, so what a reader loads is exactly what was computed on. Conventions are in README.md.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from gguf import GGMLQuantizationType as Q
from gguf import quants
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

import preference
from common import FIXTURES, as_bytes, generator, write_json_rows, write_tensors

tensors: dict[str, torch.Tensor] = {}
cases: list[dict] = []


class Case:
    """One case: draws inputs, then `finish` runs the backward pass and stores everything under op/case/."""

    def __init__(self, op: str, case: str, **params):
        self.op, self.case, self.params = op, case, params
        self.g = generator(f"{op}/{case}")
        self.leaves: dict[str, torch.Tensor] = {}
        self.plain: dict[str, torch.Tensor] = {}

    def randn(self, *shape, scale=1.0, shift=0.0):
        t = torch.randn(*shape, generator=self.g, dtype=torch.float32) * scale + shift
        return t.to(torch.float32).double()

    def leaf(self, name, *shape, scale=1.0, shift=0.0, values=None):
        """A differentiable input."""
        t = self.randn(*shape, scale=scale, shift=shift) if values is None else values.to(torch.float32).double()
        self.leaves[name] = t.requires_grad_(True)
        return t

    def const(self, name, t):
        """An input without gradient: ids, lengths, frozen or packed weights."""
        self.plain[name] = t
        return t

    def ints(self, name, high, *shape):
        return self.const(name, torch.randint(0, high, shape, generator=self.g))

    def finish(self, outputs: dict[str, torch.Tensor], upstream: dict[str, torch.Tensor] | None = None):
        """Outputs that need gradients get an upstream gradient d<name> (random unless given); inputs get d<input>."""
        upstream = dict(upstream or {})
        total = torch.zeros((), dtype=torch.float64)
        for name, y in outputs.items():
            if y.requires_grad and self.leaves:
                if upstream.get(name, 0) is None:
                    continue  # reported only, nothing flows back from it
                if name not in upstream:
                    upstream[name] = self.randn(*y.shape)
                total = total + (y * upstream[name]).sum()
        grads = {}
        if total.requires_grad:
            got = torch.autograd.grad(total, list(self.leaves.values()), allow_unused=True)
            grads = {f"d{n}": g for n, g in zip(self.leaves, got) if g is not None}
        ups = {f"d{n}": g for n, g in upstream.items() if g is not None}
        every = {**self.leaves, **self.plain, **outputs, **ups, **grads}
        if total.requires_grad:
            assert set(self.leaves) == {n[1:] for n in grads}, (self.op, self.case)
        assert len(every) == sum(map(len, (self.leaves, self.plain, outputs, ups, grads))), (self.op, self.case)
        for n, t in every.items():
            assert not t.is_floating_point() or torch.isfinite(t).all(), (self.op, self.case, n)
            tensors[f"{self.op}/{self.case}/{n}"] = t
        cases.append({
            "op": self.op, "case": self.case, "params": self.params,
            "inputs": {n: list(t.shape) for n, t in {**self.leaves, **self.plain}.items()},
            "outputs": {n: list(t.shape) for n, t in outputs.items()},
            "upstream": sorted(ups), "grads": sorted(grads),
        })


# ---- matmul and linear -------------------------------------------------------------------------------------------------

def matmul():
    for m, k, n in [(1, 1, 1), (3, 5, 1), (5, 33, 17), (65, 9, 3)]:
        for form in ("nn", "nt", "tn"):
            c = Case("matmul", f"{form}_{m}x{k}x{n}", form=form, m=m, k=k, n=n)
            a = c.leaf("a", *((k, m) if form[0] == "t" else (m, k)))
            b = c.leaf("b", *((n, k) if form[1] == "t" else (k, n)))
            y = (a.T if form[0] == "t" else a) @ (b.T if form[1] == "t" else b)
            c.finish({"y": y})


PACKED = {"q4_0": Q.Q4_0, "q4_1": Q.Q4_1, "q8_0": Q.Q8_0}


def pack(w: torch.Tensor, dtype: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of w in `dtype` as a GGUF stores them, and the f32 values they stand for."""
    if dtype == "f16":
        raw = w.to(torch.float16)
        return as_bytes(raw.numpy()), raw.double()
    if dtype == "bf16":
        raw = w.to(torch.bfloat16)
        return as_bytes(raw.view(torch.int16).numpy()), raw.double()
    raw = quants.quantize(w.to(torch.float32).numpy(), PACKED[dtype])
    return as_bytes(raw), torch.from_numpy(quants.dequantize(raw, PACKED[dtype]).astype(np.float64))


def linear():
    for m, k, n, bias in [(1, 1, 1, True), (3, 5, 1, False), (1, 33, 65, True), (5, 65, 17, True), (33, 48, 65, False)]:
        c = Case("linear", f"f32_{m}x{k}x{n}{'_bias' if bias else ''}", dtype="f32", m=m, k=k, n=n, bias=bias)
        x, w = c.leaf("x", m, k), c.leaf("w", n, k, scale=k**-0.5)
        b = c.leaf("b", n) if bias else None
        c.finish({"y": F.linear(x, w, b)})
    for dtype in (*PACKED, "f16", "bf16"):
        for m, k, n, bias in [(1, 32, 1, False), (3, 64, 9, True), (5, 64, 17, False)]:
            if dtype in ("f16", "bf16") and m == 3:
                k = 34  # not a multiple of a block, as these types allow
            c = Case("linear", f"{dtype}_{m}x{k}x{n}{'_bias' if bias else ''}", dtype=dtype, m=m, k=k, n=n, bias=bias)
            x = c.leaf("x", m, k)
            raw, w = pack(c.randn(n, k, scale=k**-0.5), dtype)
            c.const("w_raw", raw), c.const("w", w)
            b = c.leaf("b", n) if bias else None
            c.finish({"y": F.linear(x, w, b)})


def lora_linear():
    for dtype, m, k, n, r, s in [("f32", 1, 1, 1, 1, 2.0), ("f32", 5, 33, 17, 3, 0.5), ("f32", 33, 32, 65, 8, 2.0),
                                 ("q4_1", 3, 64, 33, 4, 2.0), ("q8_0", 5, 32, 33, 8, 0.25)]:
        c = Case("lora_linear", f"{dtype}_{m}x{k}x{n}_r{r}", dtype=dtype, m=m, k=k, n=n, r=r, scale=s)
        x = c.leaf("x", m, k)
        w = c.randn(n, k, scale=k**-0.5)
        if dtype != "f32":
            raw, w = pack(w, dtype)
            c.const("w_raw", raw)
        c.const("w", w)
        a, b = c.leaf("a", r, k, scale=k**-0.5), c.leaf("b", n, r)
        c.finish({"y": x @ w.T + s * (x @ a.T) @ b.T})


def several_adapters():
    """The choice of an adapter for every row (-1: none), and A or B of several side by side."""
    for m, ranks in [(1, (1,)), (5, (2, 3)), (9, (4, 1, 8))]:
        c = Case("adapter_rows", f"{m}_r{'_'.join(map(str, ranks))}")
        h = c.leaf("h", m, sum(ranks))
        rows = c.const("rows", torch.randint(-1, len(ranks), (m,), generator=c.g))
        owners = c.const("owners", torch.cat([torch.full((r,), i) for i, r in enumerate(ranks)]))
        scales = c.const("scales", c.randn(sum(ranks)))
        c.finish({"y": torch.where(rows[:, None] == owners[None, :], scales * h, 0.0)})
    for n, ranks in [(1, (1, 2)), (7, (4, 1)), (3, (8, 3, 5))]:
        c = Case("stack", f"{n}_r{'_'.join(map(str, ranks))}", rows=n, ranks=list(ranks))
        c.finish({"y": torch.cat([c.leaf(f"x{i}", n, r) for i, r in enumerate(ranks)], dim=1)})


def embedding():
    for v, d, n in [(1, 1, 3), (5, 3, 33), (33, 9, 5)]:
        c = Case("embedding", f"f32_{v}x{d}_{n}", dtype="f32", vocab=v, dim=d)
        w, ids = c.leaf("w", v, d), c.ints("ids", v, n)
        c.finish({"y": w[ids]})
    for dtype in ("q8_0", "q4_1", "f16"):
        c = Case("embedding", f"{dtype}_33x64_5", dtype=dtype, vocab=33, dim=64)
        raw, w = pack(c.randn(33, 64), dtype)
        c.const("w_raw", raw), c.const("w", w)
        c.finish({"y": w[c.ints("ids", 33, 5)]})


# ---- normalisation, softmax, activations -------------------------------------------------------------------------------

def norms():
    for rows, d in [(1, 1), (3, 5), (5, 33), (9, 65), (2, 260)]:
        c = Case("layer_norm", f"{rows}x{d}", eps=1e-5)
        x, w, b = c.leaf("x", rows, d, shift=0.3), c.leaf("w", d, shift=1.0), c.leaf("b", d)
        c.finish({"y": F.layer_norm(x, (d,), w, b, 1e-5)})
        for eps, tag in [(1e-5, "eps5"), (1e-6, "eps6")]:
            if tag == "eps6" and rows not in (1, 5):
                continue
            c = Case("rms_norm", f"{rows}x{d}_{tag}", eps=eps)
            # Small x, so that a wrong eps shows.
            x, w = c.leaf("x", rows, d, scale=1.0 if tag == "eps5" else 2e-3), c.leaf("w", d, shift=1.0)
            c.finish({"y": x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w})


def softmax():
    for rows, n in [(1, 1), (3, 5), (5, 33), (3, 300)]:
        c = Case("softmax", f"{rows}x{n}", masked=False)
        x = c.leaf("x", rows, n, scale=3.0)
        c.finish({"y": torch.softmax(x, -1)})
    c = Case("softmax", "large_logits_3x33", masked=False)
    x = c.leaf("x", 3, 33, scale=40.0, shift=200.0)
    c.finish({"y": torch.softmax(x, -1)})
    c = Case("softmax", "masked_5x33", masked=True)
    x, n = c.leaf("x", 5, 33, scale=3.0), c.const("lengths", torch.tensor([33, 1, 17, 0, 32]))
    seen = torch.arange(33)[None] < n[:, None]
    c.finish({"y": masked_softmax(x, seen)})


def masked_softmax(s, seen):
    """Softmax over visible entries; a row that sees nothing is all zeros (not NaN)."""
    s = s.masked_fill(~seen, -1e300)
    e = torch.exp(s - s.amax(-1, keepdim=True).detach()) * seen
    return e / e.sum(-1, keepdim=True).clamp_min(1e-300)


UNARY = {
    "gelu_erf": lambda x: F.gelu(x), "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": torch.relu, "silu": F.silu,
}


def activations():
    for op, f in UNARY.items():
        for shape in [(1, 1), (5, 33)]:
            c = Case(op, f"{shape[0]}x{shape[1]}")
            x = c.leaf("x", *shape, scale=3.0)
            c.finish({"y": f(x)})
        c = Case(op, "wide")
        x = c.leaf("x", values=torch.tensor([-100.0, -20.0, -6.0, -1e-4, 1e-4, 6.0, 20.0, 100.0]))
        c.finish({"y": f(x)})
    for op, f in [("swiglu", F.silu), ("geglu_erf", UNARY["gelu_erf"]), ("geglu_tanh", UNARY["gelu_tanh"])]:
        for rows, n in [(1, 1), (3, 65)]:
            c = Case(op, f"{rows}x{n}")
            g, u = c.leaf("g", rows, n, scale=2.0), c.leaf("u", rows, n)
            c.finish({"y": f(g) * u})


def elementwise():
    for shape in [(1, 1), (5, 33)]:
        c = Case("add", f"{shape[0]}x{shape[1]}")
        c.finish({"y": c.leaf("a", *shape) + c.leaf("b", *shape)})
    c = Case("mul", "5x33")
    c.finish({"y": c.leaf("a", 5, 33) * c.leaf("b", 5, 33)})
    c = Case("scale", "5x33", factor=-0.375)
    c.finish({"y": c.leaf("x", 5, 33) * -0.375})
    for n in [1, 33, 300]:
        for op in ("sum", "mean", "max"):
            c = Case(f"reduce_{op}", f"all_{n}", axis="all")
            x = c.leaf("x", n)
            c.finish({"y": getattr(torch, op)(x).reshape(1)})
    for op in ("sum", "mean", "max"):
        c = Case(f"reduce_{op}", "rows_5x65", axis="last")
        x = c.leaf("x", 5, 65)
        c.finish({"y": x.amax(-1) if op == "max" else getattr(torch, op)(x, -1)})


# ---- attention and rope ------------------------------------------------------------------------------------------------

def attention_case(case, b, t, s, h, hkv, d, *, causal, window=0, prefix=None, starts=None, lengths=None):
    """Key j is visible to query i (absolute position p = i + s − t when causal, for a query block at the end of a cache) when
    start ≤ j < start+length, and, if causal, j ≤ p or j < prefix, and, with a window w > 0, p − j < w."""
    c = Case("attention", case, causal=causal, window=window, heads=h, kv_heads=hkv, head_dim=d, scale=d**-0.5)
    q, k, v = c.leaf("q", b, t, h, d), c.leaf("k", b, s, hkv, d), c.leaf("v", b, s, hkv, d)
    st = c.const("starts", torch.tensor(starts or [0] * b))
    ln = c.const("lengths", torch.tensor(lengths or [s] * b))
    pf = c.const("prefix", torch.tensor(prefix or [0] * b))
    i, j = torch.arange(t)[None, :, None] + (s - t if causal else 0), torch.arange(s)[None, None, :]
    seen = (j >= st[:, None, None]) & (j < (st + ln)[:, None, None])
    if causal:
        seen = seen & ((j <= i) | (j < pf[:, None, None]))
    if window:
        seen = seen & (i - j < window)
    seen = seen.expand(b, t, s)
    rep = h // hkv  # query head n reads key/value head n // rep
    kk, vv = k.repeat_interleave(rep, 2), v.repeat_interleave(rep, 2)
    scores = torch.einsum("bthd,bshd->bhts", q, kk) * d**-0.5
    y = torch.einsum("bhts,bshd->bthd", masked_softmax(scores, seen[:, None]), vv)
    # A query row that is padding itself gets no upstream gradient; its output is not to be compared.
    valid = torch.ones(b, t, dtype=torch.bool)
    if (starts or lengths) and s == t:
        p = torch.arange(t)[None]
        valid = (p >= st[:, None]) & (p < (st + ln)[:, None])
    c.const("q_valid", valid)
    c.finish({"y": y * valid[:, :, None, None]}, {"y": c.randn(b, t, h, d) * valid[:, :, None, None]})


def attention():
    A = attention_case
    A("causal_1x1", 1, 1, 1, 1, 1, 1, causal=True)
    A("causal_3_mha", 1, 3, 3, 2, 2, 4, causal=True)
    A("causal_5_gqa", 2, 5, 5, 6, 2, 8, causal=True)
    A("causal_17_gqa_d5", 1, 17, 17, 3, 1, 5, causal=True)
    A("causal_65_gqa_d8", 1, 65, 65, 4, 2, 8, causal=True)
    A("causal_3_d64", 1, 3, 3, 3, 1, 64, causal=True)
    A("decode_1_of_33", 2, 1, 33, 4, 2, 4, causal=True)
    A("chunk_5_of_33", 1, 5, 33, 4, 2, 8, causal=True)
    A("prefix_9", 2, 9, 9, 2, 1, 8, causal=True, prefix=[4, 0])
    A("prefix_padded_9", 2, 9, 9, 2, 1, 8, causal=True, prefix=[3, 5], lengths=[9, 6])
    A("bidirectional_5", 2, 5, 5, 2, 2, 8, causal=False)
    A("bidirectional_padded_33", 2, 33, 33, 2, 1, 4, causal=False, lengths=[33, 7])
    A("causal_padded_right_9", 3, 9, 9, 4, 2, 8, causal=True, lengths=[9, 5, 1])
    A("causal_padded_left_9", 2, 9, 9, 4, 2, 8, causal=True, starts=[0, 4], lengths=[9, 5])
    A("window_4_of_33", 1, 33, 33, 2, 1, 8, causal=True, window=4)
    A("window_1_of_5", 1, 5, 5, 1, 1, 4, causal=True, window=1)
    A("window_3_prefix_9", 1, 9, 9, 2, 2, 4, causal=True, window=3, prefix=[4])
    A("cross_3_of_5", 2, 3, 5, 2, 2, 8, causal=False)
    A("cross_33_of_5_padded", 2, 33, 5, 2, 1, 4, causal=False, lengths=[5, 2])


def inv_freq_default(theta, d):
    return 1.0 / theta ** (torch.arange(0, d, 2, dtype=torch.float64) / d)


def rotate(x, pos, inv_freq, order):
    """x (B,T,H,D), pos (B,T). neox pairs channel i with i+D/2, norm pairs 2i with 2i+1; pair i turns by pos·inv_freq[i]."""
    a = pos.double()[..., None] * inv_freq.double()
    cos, sin = a.cos()[:, :, None], a.sin()[:, :, None]
    if order == "neox":
        u, w = x.chunk(2, -1)
        return torch.cat([u * cos - w * sin, w * cos + u * sin], -1)
    u, w = x[..., 0::2], x[..., 1::2]
    return torch.stack([u * cos - w * sin, w * cos + u * sin], -1).flatten(-2)


def rope():
    for order in ("neox", "norm"):
        for b, t, h, d, theta, offset in [(1, 1, 1, 2, 10000.0, 3), (2, 5, 3, 8, 100000.0, 0), (1, 33, 2, 16, 10000.0, 65)]:
            c = Case("rope", f"{order}_{b}x{t}x{h}x{d}", order=order, theta=theta)
            x = c.leaf("x", b, t, h, d)
            pos = c.const("positions", torch.arange(t)[None].repeat(b, 1) + offset + 7 * torch.arange(b)[:, None])
            f = c.const("inv_freq", inv_freq_default(theta, d).float().double())
            c.finish({"y": rotate(x, pos, f, order)})
    scaled = {
        "llama3": (dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                        original_max_position_embeddings=64), 512),
        "linear": (dict(rope_type="linear", rope_theta=10000.0, factor=4.0), 256),
        "yarn": (dict(rope_type="yarn", rope_theta=1000000.0, factor=4.0, original_max_position_embeddings=64), 256),
        "yarn_betas": (dict(rope_type="yarn", rope_theta=10000.0, factor=8.0, original_max_position_embeddings=128,
                            beta_fast=16.0, beta_slow=2.0, attention_factor=1.25), 1024),
        # attention_factor from mscale and mscale_all_dim, and a range that is not rounded.
        "yarn_mscale": (dict(rope_type="yarn", rope_theta=10000.0, factor=16.0, original_max_position_embeddings=64,
                             mscale=0.707, mscale_all_dim=1.0, truncate=False), 1024),
        # By the length at hand: for every sequence up to max_position_embeddings the plain table.
        "dynamic": (dict(rope_type="dynamic", rope_theta=10000.0, factor=4.0), 256),
        # Short factors up to original_max_position_embeddings, which is where our context ends.
        "longrope": (dict(rope_type="longrope", rope_theta=10000.0, original_max_position_embeddings=64,
                          short_factor=[1.0 + 0.05 * i for i in range(16)], long_factor=[2.0 + 0.5 * i for i in range(16)]), 256),
        "default": (dict(rope_type="default", rope_theta=100000.0), 2048),
    }
    for name, (par, longest) in scaled.items():
        d = 32
        cfg = LlamaConfig(hidden_size=2 * d, num_attention_heads=2, num_key_value_heads=2, head_dim=d, num_hidden_layers=1,
                          max_position_embeddings=longest, rope_parameters=dict(par))
        if name == "default":
            f, factor = inv_freq_default(par["rope_theta"], d).float(), 1.0
        else:
            f, factor = ROPE_INIT_FUNCTIONS[par["rope_type"]](cfg, torch.device("cpu"))
        c = Case("rope_table", name, head_dim=d, max_position_embeddings=longest, rope_scaling=par,
                 attention_factor=float(factor))
        c.finish({"inv_freq": f.double()})
        # cos and sin are multiplied by the attention factor (yarn); so is its backward.
        c = Case("rope", f"neox_{name}", order="neox", rope_scaling=par, attention_factor=float(factor),
                 max_position_embeddings=longest)
        x, fr = c.leaf("x", 1, 5, 2, d), c.const("inv_freq", f.double())
        pos = c.const("positions", torch.tensor([[0, 1, 17, 63, 200]]))
        c.finish({"y": rotate(x, pos, fr, "neox") * factor})


# ---- losses ------------------------------------------------------------------------------------------------------------

def losses():
    for rows, v in [(1, 1), (3, 5), (33, 65), (5, 300)]:
        for kind in ("plain", "ignore", "weighted", "all_ignored"):
            if (kind != "plain" and rows < 5) or (kind == "all_ignored" and rows != 5):
                continue
            c = Case("cross_entropy", f"{kind}_{rows}x{v}", ignore_index=-100)
            x, t = c.leaf("logits", rows, v, scale=2.0), torch.randint(0, v, (rows,), generator=c.g)
            if kind in ("ignore", "weighted"):
                t[torch.rand(rows, generator=c.g) < 0.4] = -100
                t[0], t[-1] = 0, -100
            if kind == "all_ignored":
                t[:] = -100
            c.const("labels", t)
            w = c.const("weights", c.randn(rows).abs()) if kind == "weighted" else torch.ones(rows, dtype=torch.float64)
            nll = F.cross_entropy(x, t, reduction="none", ignore_index=-100)
            w = w * (t != -100)
            # mean over counted rows; 0 when none counts
            loss = (nll * w).sum() / (w.sum() if w.sum() > 0 else 1.0)
            c.finish({"loss": loss.reshape(1), "nll": nll}, {"loss": torch.tensor([1.0 if kind == "plain" else 0.625]).double(), "nll": None})
    # The language-model head and the loss in one op, so that logits exist only a chunk of rows at a time.
    for dtype, rows, k, v in [("f32", 5, 17, 65), ("q8_0", 9, 32, 65)]:
        for op in ("linear_cross_entropy", "linear_gather_logps"):
            c = Case(op, f"{dtype}_{rows}x{k}x{v}", dtype=dtype, ignore_index=-100)
            x, w = c.leaf("x", rows, k), c.randn(v, k, scale=2 * k**-0.5)
            if dtype == "f32":
                w = c.leaf("w", values=w)
            else:
                raw, w = pack(w, dtype)
                c.const("w_raw", raw), c.const("w", w)
            t = torch.randint(0, v, (rows,), generator=c.g)
            t[1::4] = -100
            c.const("labels", t)
            logits = x @ w.T
            if op == "linear_cross_entropy":
                c.finish({"loss": F.cross_entropy(logits, t).reshape(1)}, {"loss": torch.tensor([1.0]).double()})
            else:
                c.finish({"logps": logps(logits, t)})
    for rows, v in [(1, 1), (5, 33), (33, 65)]:
        c = Case("gather_logps", f"{rows}x{v}", ignore_index=-100)
        x, t = c.leaf("logits", rows, v, scale=2.0), torch.randint(0, v, (rows,), generator=c.g)
        if rows > 1:
            t[2::5] = -100
        c.const("labels", t)
        c.finish({"logps": logps(x, t)})
    variants = [(kind, dict(loss_type=kind)) for kind in preference.LOSSES]
    variants += [(f"sigmoid_{d}", dict(loss_type="sigmoid", f_divergence_type=d)) for d in preference.DIVERGENCES[1:]]
    variants += [("mpo", dict(loss_type=["sigmoid", "bco_pair", "sft"], loss_weights=[0.8, 0.2, 1.0])),
                 ("ipo_js", dict(loss_type="ipo", f_divergence_type="js_divergence"))]
    for name, cfg in variants:
        n, cfg = 6, {"beta": 0.3, "label_smoothing": 0.1, "discopop_tau": 0.5, "f_alpha_divergence_coef": 0.5} | cfg
        c = Case("dpo_loss", name, **cfg)
        spread = 1.0 if "f_divergence_type" in cfg else 4.0
        pc, pr = c.leaf("chosen_logps", n, scale=spread, shift=-40.0), c.leaf("rejected_logps", n, scale=spread, shift=-40.0)
        rc, rr = (c.const(f"ref_{side}_logps", c.randn(n, scale=spread, shift=-40.0)) for side in ("chosen", "rejected"))
        counts = [c.const(f"{side}_tokens", torch.randint(1, 9, (n,), generator=c.g)) for side in ("chosen", "rejected")]
        # Losses that sort give a pair's in the order of the sorted ones: only their mean is stored.
        per = preference.losses(cfg, pc, pr, rc, rr, *counts) + 0 * pr  # sft has no rejected answers
        c.finish({"loss": per.mean().reshape(1), "chosen_rewards": cfg["beta"] * (pc - rc), "rejected_rewards": cfg["beta"] * (pr - rr)},
                 {"loss": torch.tensor([1.0]).double(), "chosen_rewards": None, "rejected_rewards": None})
    # KTO: a row is desirable (1) or not (0); mismatched pairs estimate the KL, which has no gradient. `none`: apo_zero_unpaired.
    for n, beta, kind, shift in [(1, 0.1, "kto", 9.0), (4, 0.1, "kto", 6.0), (5, 0.5, "kto", -6.0), (6, 0.2, "apo_zero_unpaired", 0.0)]:
        c = Case("kto_loss", f"{kind}_n{n}_shift{shift:g}", beta=beta, loss_type=kind)
        x, ref = c.leaf("logps", n, scale=9.0, shift=-40.0), c.const("ref_logps", c.randn(n, scale=9.0, shift=-40.0))
        mis, ref_mis = c.const("kl_logps", c.randn(n, scale=3.0, shift=-40.0 + shift)), c.const("ref_kl_logps", c.randn(n, scale=3.0, shift=-40.0))
        label = c.const("labels", torch.randint(0, 2, (n,), generator=c.g))
        kl = (mis - ref_mis).mean().clamp(min=0) if kind == "kto" else torch.zeros(()).double()
        u, good = x - ref, label == 1
        per = torch.where(good, 1 - F.sigmoid(beta * (u - kl)), 1 - F.sigmoid(beta * (kl - u)))
        weight = torch.where(good, 1.0, 1.33).to(torch.float32).double()
        c.finish({"loss": (weight * per).mean().reshape(1), "losses": per, "rewards": beta * u, "kl": kl.reshape(1)},
                 {"loss": torch.tensor([1.0]).double(), "losses": None, "rewards": None, "kl": None})
    # ORPO: per-token means of the answers, nll over prompt and answer of the chosen sequences.
    for n, beta, shift in [(1, 0.1, -20.0), (5, 0.1, -12.0), (4, 1.0, -0.5)]:
        c = Case("orpo_loss", f"n{n}_beta{beta}_shift{shift:g}", beta=beta)
        counts = [c.const(name, torch.randint(1, 9, (n,), generator=c.g)) for name in ("chosen_tokens", "rejected_tokens", "prompt_tokens")]
        # Log-probabilities are below 0, some of them barely.
        below = lambda: torch.minimum(c.randn(n, scale=abs(shift) / 3, shift=shift), torch.tensor(-0.01)).to(torch.float32)
        pc, pr, pp = (c.leaf(name, n, values=below()) for name in ("chosen_logps", "rejected_logps", "prompt_logps"))
        ac, ar = pc / counts[0], pr / counts[1]
        odds = (ac - ar) - (torch.log1p(-torch.exp(ac)) - torch.log1p(-torch.exp(ar)))
        nll = -(pc + pp).sum() / (counts[0] + counts[2]).sum()
        c.finish({"loss": (nll - beta * F.logsigmoid(odds).mean()).reshape(1), "nll": nll.reshape(1), "log_odds": odds},
                 {"loss": torch.tensor([1.0]).double(), "nll": None, "log_odds": None})
    # (B,T) SFT: position t predicts label t+1; positions whose label is −100 do not count.
    c = Case("sft_nll", "2x5x33", ignore_index=-100)
    x, t = c.leaf("logits", 2, 5, 33, scale=2.0), torch.randint(0, 33, (2, 5), generator=c.g)
    t[0, :2], t[1, 3:] = -100, -100
    c.const("labels", t)
    nll = F.cross_entropy(x[:, :-1].flatten(0, 1), t[:, 1:].flatten())
    c.finish({"loss": nll.reshape(1)}, {"loss": torch.tensor([1.0]).double()})


def logps(logits, t):
    """log-softmax at the target; 0 where the label is −100."""
    lp = torch.log_softmax(logits, -1).gather(-1, t.clamp_min(0)[:, None])[:, 0]
    return torch.where(t == -100, torch.zeros_like(lp), lp)


# ---- optimizer ---------------------------------------------------------------------------------------------------------

def optimizer():
    shapes = [(5, 33), (1,), (65,)]
    for name, scale, max_norm in [("clipped", 1.0, 1.0), ("below", 0.01, 1.0), ("half", 3.0, 0.5)]:
        c = Case("grad_norm", name, max_norm=max_norm, tensors=len(shapes))
        gs = [c.const(f"g{i}", c.randn(*s, scale=scale)) for i, s in enumerate(shapes)]
        norm = torch.sqrt(sum(g.pow(2).sum() for g in gs))
        coef = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
        c.finish({"norm": norm.reshape(1), "coef": coef.reshape(1), **{f"clipped{i}": g * coef for i, g in enumerate(gs)}})
    for name, shape, lr, wd, betas, eps in [("wd0", (33,), 1e-3, 0.0, (0.9, 0.999), 1e-8), ("wd0.01", (5, 33), 1e-2, 0.01, (0.9, 0.999), 1e-8),
                                            ("betas", (3, 5), 5e-2, 0.1, (0.8, 0.95), 1e-6), ("one", (1,), 1e-3, 0.0, (0.9, 0.999), 1e-8)]:
        c = Case("adamw", name, lr=lr, weight_decay=wd, betas=list(betas), eps=eps, steps=3)
        p = c.const("p0", c.randn(*shape)).clone().requires_grad_(True)
        opt = torch.optim.AdamW([p], lr=lr, betas=betas, eps=eps, weight_decay=wd)
        out = {}
        for step in (1, 2, 3):
            g = c.const(f"g{step}", c.randn(*shape, scale=10.0 ** (step - 3)))
            p.grad = g.clone()
            opt.step()
            st = opt.state[p]
            out |= {f"p{step}": p.detach().clone(), f"m{step}": st["exp_avg"].clone(), f"v{step}": st["exp_avg_sq"].clone()}
        c.finish(out)


def main():
    for f in (matmul, linear, lora_linear, several_adapters, embedding, norms, softmax, activations, elementwise, attention, rope, losses, optimizer):
        f()
    write_tensors(FIXTURES / "ops.safetensors", tensors)
    write_json_rows(FIXTURES / "ops.json", {"file": "ops.safetensors", "naming": "op/case/tensor"}, "cases", cases)
    size = (FIXTURES / "ops.safetensors").stat().st_size
    print(f"{len(cases)} cases, {len(tensors)} tensors, {size / 1e6:.2f} MB")
    assert size < 1_100_000 and math.isfinite(size)


if __name__ == "__main__":
    main()
