//! Attention on the processor. Scores exist only for one block of queries and one block of keys at a time, with a running softmax over the blocks.
//!
//! The blocks are worked *lanes across*: queries (or, for the gradients of keys and values, keys) stand side by side in the vector lanes and
//! everything else is a number broadcast to them. So any head width and any mask runs at full width, softmax needs no sums across lanes, and one
//! small matrix kernel (`mul`) serves the forward pass and all gradients. One or a few queries, as while decoding, would leave most lanes empty:
//! they take the other road, dot products along the head.
//!
//! What a query's result is made of, and in which order, depends neither on the block it stands in nor on the number of threads.

use half::f16;

use super::lanes;
use super::math::exp;
use super::softcap::bend;
use super::stored::{Stored, widen};
use crate::cpu::simd::fma;
use crate::cpu::{Pool, scratch};

/// Lanes of a block, and the width of what the compiler is given to vectorize.
pub const LANES: usize = 32;
pub const W: usize = 16;
/// Keys of a block.
pub const KEYS: usize = 64;
/// Up to so many query rows per key head, the dot products are quicker.
const FEW: usize = 8;

/// Which keys a query sees: words per query, and what they say.
#[derive(Clone, Copy)]
pub enum Spans<'a> {
    /// (begin, end): keys of its batch row.
    Rows(&'a [u32]),
    /// (prefix_len, own_base, begin, end): position t lies in slot t below `prefix_len`, else in slot own_base + t − prefix_len.
    Slots(&'a [u32]),
}

/// Keys and values, each (B·S, Hkv·D): tensors of their own, or the planes of a cache.
#[derive(Clone, Copy)]
pub enum Keys<'a> {
    F32(&'a [f32], &'a [f32]),
    F16(&'a [f16], &'a [f16]),
}

impl<'a> Keys<'a> {
    /// The planes of a cache of floats.
    pub fn of_f32(cache: &'a [f32]) -> Self {
        let (k, v) = cache.split_at(cache.len() / 2);
        Keys::F32(k, v)
    }

    /// The planes of a cache of halves.
    pub fn of_f16(cache: &'a [f16]) -> Self {
        let (k, v) = cache.split_at(cache.len() / 2);
        Keys::F16(k, v)
    }
}

/// Sizes and masks of a call.
#[derive(Clone, Copy)]
pub struct Attend<'a> {
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    pub scale: f32,
    /// Scores become cap·tanh(score/cap).
    pub cap: Option<f32>,
    /// Queries and keys per batch row.
    pub t: usize,
    pub s: usize,
    pub spans: Spans<'a>,
}

impl Attend<'_> {
    /// Query heads per key head.
    pub fn share(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// From one key to the next.
    pub fn key_stride(&self) -> usize {
        self.kv_heads * self.dim
    }

    /// Keys that query `i` sees, as up to two ranges (`part` 0 and 1).
    pub fn range(&self, i: usize, part: usize) -> (usize, usize) {
        let clip = |a: usize, b: usize| {
            let (a, b) = (a.min(self.s), b.min(self.s));
            if a < b { (a, b) } else { (0, 0) }
        };
        match self.spans {
            Spans::Rows(w) if part == 0 => clip(w[2 * i] as usize, w[2 * i + 1] as usize),
            Spans::Rows(_) => (0, 0),
            Spans::Slots(w) => {
                let [prefix, own, begin, end] = [0, 1, 2, 3].map(|j| w[4 * i + j] as usize);
                let first = begin.max(prefix);
                match part {
                    0 => clip(begin, end.min(prefix)),
                    _ if first < end => clip((first - prefix).saturating_add(own), (end - prefix).saturating_add(own)),
                    _ => (0, 0),
                }
            }
        }
    }

    /// Keys seen by query `i`.
    fn seen(&self, i: usize) -> usize {
        (0..2).map(|p| self.range(i, p)).map(|(a, b)| b - a).sum()
    }
}

/// `c (m × lanes) = or += a (m × k) · b (k × lanes)`; element (i, j) of `a` is at `i·rs + j·cs`. Sums run over k in order.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub fn mul<const FMA: bool, const ADD: bool>(
    c: &mut [f32],
    a: &[f32],
    (rs, cs): (usize, usize),
    b: &[f32],
    m: usize,
    k: usize,
    lanes: usize,
) {
    if m == 0 || k == 0 {
        return;
    }
    assert!(lanes.is_multiple_of(W) && c.len() >= m * lanes && b.len() >= k * lanes && a.len() > (m - 1) * rs + (k - 1) * cs);
    for at in (0..lanes).step_by(W) {
        let mut i = 0;
        // SAFETY: rows i.. of the tile are below m, and the assertion covers all that is reached from there.
        unsafe {
            // As many rows as the registers hold: 6·16 lanes in 12 of 16 AVX registers, 2·16 lanes in 8 of 16 SSE or SIMD128 ones.
            if FMA {
                while i + 6 <= m {
                    tile::<FMA, ADD, 6>(&mut c[i * lanes + at..], &a[i * rs..], rs, cs, &b[at..], k, lanes);
                    i += 6;
                }
            }
            while i + 2 <= m {
                tile::<FMA, ADD, 2>(&mut c[i * lanes + at..], &a[i * rs..], rs, cs, &b[at..], k, lanes);
                i += 2;
            }
            if i < m {
                tile::<FMA, ADD, 1>(&mut c[i * lanes + at..], &a[i * rs..], rs, cs, &b[at..], k, lanes);
            }
        }
    }
}

/// `M` rows and `W` lanes of [`mul`].
///
/// # Safety
/// `c` holds `M` rows, `b` k rows (each `lanes` apart, `W` long), `a` element (M − 1, k − 1).
#[inline(always)]
unsafe fn tile<const FMA: bool, const ADD: bool, const M: usize>(
    c: &mut [f32],
    a: &[f32],
    rs: usize,
    cs: usize,
    b: &[f32],
    k: usize,
    lanes: usize,
) {
    let (c, a, b) = (c.as_mut_ptr(), a.as_ptr(), b.as_ptr());
    let mut acc = [[0.0f32; W]; M];
    if ADD {
        for (i, acc) in acc.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *acc = unsafe { c.add(i * lanes).cast::<[f32; W]>().read() };
        }
    }
    for j in 0..k {
        // SAFETY: the caller's promise.
        let row = unsafe { b.add(j * lanes).cast::<[f32; W]>().read() };
        for (i, acc) in acc.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            let x = unsafe { *a.add(i * rs + j * cs) };
            for w in 0..W {
                acc[w] = fma::<FMA>(x, row[w], acc[w]);
            }
        }
    }
    for (i, acc) in acc.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { c.add(i * lanes).cast::<[f32; W]>().write(*acc) };
    }
}

/// The lanes of a block as far as `n` needs them.
pub fn lanes_for(n: usize) -> usize {
    n.next_multiple_of(W)
}

/// Rows `at(0)…at(n − 1)` of `x`, `dim` long, as columns: `out[d·lanes + r] = factor·x[at(r) + d]`, 0 in the lanes behind.
#[inline(always)]
pub fn transpose(out: &mut [f32], x: &[f32], dim: usize, n: usize, lanes: usize, factor: f32, at: impl Fn(usize) -> usize) {
    if n < lanes {
        out[..dim * lanes].fill(0.0);
    }
    for r in 0..n {
        let from = at(r);
        for (column, v) in out[..dim * lanes].chunks_exact_mut(lanes).zip(&x[from..from + dim]) {
            column[r] = factor * v;
        }
    }
}

/// Keys per lane: the first one and how many.
pub struct Sees {
    pub begin: [u32; LANES],
    pub len: [u32; LANES],
    /// All keys that any lane sees.
    pub all: (usize, usize),
    /// Keys that every lane of the block sees.
    pub common: (usize, usize),
}

impl Sees {
    pub fn new(lanes: usize, n: usize, range: impl Fn(usize) -> (usize, usize)) -> Sees {
        let mut sees = Sees { begin: [0; LANES], len: [0; LANES], all: (usize::MAX, 0), common: (0, usize::MAX) };
        for r in 0..n {
            let (a, b) = range(r);
            (sees.begin[r], sees.len[r]) = (a as u32, (b - a) as u32);
            sees.common = (sees.common.0.max(a), sees.common.1.min(b));
            if a < b {
                sees.all = (sees.all.0.min(a), sees.all.1.max(b));
            }
        }
        if n < lanes {
            sees.common = (0, 0);
        }
        sees
    }

    /// Blocks of keys that some lane sees, cut at multiples of [`KEYS`].
    pub fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let (a, z) = self.all;
        let first = if a < z { a / KEYS } else { 0 };
        let last = if a < z { z.div_ceil(KEYS) } else { 0 };
        (first..last).map(move |b| ((b * KEYS).max(a), ((b + 1) * KEYS).min(z))).filter(|(a, z)| {
            // Between the ranges of candidates that share a prompt there may be keys of others only.
            self.begin.iter().zip(&self.len).any(|(b, n)| *n > 0 && (*b as usize) < *z && *b as usize + *n as usize > *a)
        })
    }

    /// True when some lane does not see all of keys `a..z`.
    pub fn partial(&self, (a, z): (usize, usize)) -> bool {
        a < self.common.0 || z > self.common.1
    }
}

/// A block of query rows of one key head on its way through the keys.
struct Block<'s> {
    lanes: usize,
    cap: Option<f32>,
    /// scale·q and o: (dim, lanes). Scores, then weights: (keys, lanes).
    q: &'s mut [f32],
    o: &'s mut [f32],
    p: &'s mut [f32],
    top: [f32; LANES],
    sum: [f32; LANES],
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn advance_body<const FMA: bool>(b: &mut Block<'_>, k: &[f32], v: &[f32], stride: usize, dim: usize, first: usize, n: usize, sees: &Sees) {
    let lanes = b.lanes;
    mul::<FMA, false>(b.p, k, (stride, 1), b.q, n, dim, lanes);
    let p = &mut b.p[..n * lanes];
    if let Some(cap) = b.cap {
        bend::<FMA>(p, cap);
    }
    let partial = sees.partial((first, first + n));
    for at in (0..lanes).step_by(W) {
        let mut top: [f32; W] = b.top[at..at + W].try_into().unwrap_or([0.0; W]);
        let old = top;
        for (j, row) in p.chunks_exact_mut(lanes).enumerate() {
            let row = &mut row[at..at + W];
            if partial {
                let key = (first + j) as u32;
                for (s, (begin, len)) in row.iter_mut().zip(sees.begin[at..].iter().zip(&sees.len[at..])) {
                    *s = if key.wrapping_sub(*begin) < *len { *s } else { f32::NEG_INFINITY };
                }
            }
            for w in 0..W {
                top[w] = if row[w] > top[w] { row[w] } else { top[w] };
            }
        }
        // A lane that has seen nothing yet: its weights are exp(−∞), whatever is subtracted.
        let base = top.map(|t| if t == f32::NEG_INFINITY { 0.0 } else { t });
        let mut factor = [0.0; W];
        let mut sum = [0.0; W];
        for w in 0..W {
            factor[w] = exp::<FMA>(old[w] - base[w]);
            sum[w] = b.sum[at + w] * factor[w];
        }
        for row in p.chunks_exact_mut(lanes) {
            let row = &mut row[at..at + W];
            for w in 0..W {
                row[w] = exp::<FMA>(row[w] - base[w]);
                sum[w] += row[w];
            }
        }
        b.top[at..at + W].copy_from_slice(&top);
        b.sum[at..at + W].copy_from_slice(&sum);
        for row in b.o[..dim * lanes].chunks_exact_mut(lanes) {
            for (o, f) in row[at..at + W].iter_mut().zip(&factor) {
                *o *= f;
            }
        }
    }
    mul::<FMA, true>(b.o, v, (1, stride), b.p, dim, n, lanes);
}

crate::simd_fn!(fn advance(b: &mut Block<'_>, k: &[f32], v: &[f32], stride: usize, dim: usize, first: usize, n: usize, sees: &Sees) = advance_body);

/// `o = softmax(scale·q·kᵀ)·v` and lse, the logarithm of the sum. q and o are (B·T, H·D), lse (B·T, H). A query that sees nothing gives 0 and 0.
pub fn forward(pool: &Pool, a: &Attend<'_>, q: &[f32], kv: Keys<'_>, o: &mut [f32], lse: &mut [f32]) {
    if lse.is_empty() {
        return;
    }
    if a.t * a.share() <= FEW {
        return few(pool, a, q, kv, o, lse);
    }
    let width = a.heads * a.dim;
    let least = LANES.div_ceil(a.share());
    pool.rows2((o, width), (lse, a.heads), least, |first, o, lse| {
        let end = first + lse.len() / a.heads;
        let mut at = first;
        while at < end {
            // Queries of one batch row.
            let next = end.min((at / a.t + 1) * a.t);
            let (o, lse) =
                (&mut o[(at - first) * width..(next - first) * width], &mut lse[(at - first) * a.heads..(next - first) * a.heads]);
            queries(a, at, q, kv, o, lse);
            at = next;
        }
    });
}

/// Queries `first..` of one batch row, as many as `lse` has.
fn queries(a: &Attend<'_>, first: usize, q: &[f32], kv: Keys<'_>, o: &mut [f32], lse: &mut [f32]) {
    let Attend { heads, dim, .. } = *a;
    let (share, stride) = (a.share(), a.key_stride());
    let rows = lse.len() / heads * share;
    let base = first / a.t * a.s;
    // Halves are widened a block of keys at a time.
    let wide = if matches!(kv, Keys::F16(..)) { KEYS * dim } else { 0 };
    scratch::with((2 * dim + KEYS) * LANES + 2 * wide, |mem| {
        let (qt, mem) = mem.split_at_mut(dim * LANES);
        let (ot, mem) = mem.split_at_mut(dim * LANES);
        let (p, mem) = mem.split_at_mut(KEYS * LANES);
        let (wide_k, wide_v) = mem.split_at_mut(wide);
        for head in 0..a.kv_heads {
            // Element of a (query, head) row in q and, less `first`, in o.
            let place = |r: usize| (r / share) * heads + head * share + r % share;
            for r0 in (0..rows).step_by(LANES) {
                let n = LANES.min(rows - r0);
                let lanes = lanes_for(n);
                transpose(qt, q, dim, n, lanes, a.scale, |r| (first * heads + place(r0 + r)) * dim);
                ot[..dim * lanes].fill(0.0);
                let mut block = Block { lanes, cap: a.cap, q: qt, o: ot, p, top: [f32::NEG_INFINITY; LANES], sum: [0.0; LANES] };
                for part in 0..2 {
                    let sees = Sees::new(lanes, n, |r| a.range(first + (r0 + r) / share, part));
                    for (j, z) in sees.blocks() {
                        let (at, keys) = ((base + j) * stride + head * dim, z - j);
                        match kv {
                            Keys::F32(k, v) => advance(&mut block, &k[at..], &v[at..], stride, dim, j, keys, &sees),
                            Keys::F16(k, v) => {
                                widen(&mut wide_k[..keys * dim], &k[at..], dim, stride);
                                widen(&mut wide_v[..keys * dim], &v[at..], dim, stride);
                                advance(&mut block, wide_k, wide_v, dim, dim, j, keys, &sees);
                            }
                        }
                    }
                }
                for r in 0..n {
                    let (sum, row) = (block.sum[r], place(r0 + r));
                    let inverse = if sum > 0.0 || sum.is_nan() { 1.0 / sum } else { 0.0 };
                    for (o, column) in o[row * dim..(row + 1) * dim].iter_mut().zip(block.o.chunks_exact(lanes)) {
                        *o = column[r] * inverse;
                    }
                    lse[row] = if inverse == 0.0 { 0.0 } else { block.top[r] + sum.ln() };
                }
            }
        }
    });
}

/// Query heads that [`few`] takes through the keys together.
const GROUP: usize = 4;

/// Few queries: each head's scores as one row, dot products along the head.
fn few(pool: &Pool, a: &Attend<'_>, q: &[f32], kv: Keys<'_>, o: &mut [f32], lse: &mut [f32]) {
    let Attend { heads, dim, .. } = *a;
    let share = a.share();
    let most = (0..lse.len() / heads).map(|i| a.seen(i)).max().unwrap_or(0);
    // Some microseconds of work per piece.
    let least = (16_384 / (most * dim).max(1)).max(1);
    pool.rows2((o, dim), (lse, 1), least, |first, o, lse| {
        scratch::with(GROUP * most, |p| {
            let mut at = 0;
            while at < lse.len() {
                let (i, h) = ((first + at) / heads, (first + at) % heads);
                // Heads of one query that read the same keys.
                let n = GROUP.min(share - h % share).min(lse.len() - at);
                let job = Few {
                    ranges: [a.range(i, 0), a.range(i, 1)],
                    from: i / a.t * a.s * a.key_stride() + h / share * dim,
                    stride: a.key_stride(),
                    dim,
                    scale: a.scale,
                    cap: a.cap,
                };
                let q = &q[(first + at) * dim..(first + at + n) * dim];
                let (o, lse) = (&mut o[at * dim..(at + n) * dim], &mut lse[at..at + n]);
                match kv {
                    Keys::F32(k, v) => heads_of_one(&job, q, k, v, p, o, lse),
                    Keys::F16(k, v) => heads_of_one_f16(&job, q, k, v, p, o, lse),
                }
                at += n;
            }
        });
    });
}

struct Few {
    ranges: [(usize, usize); 2],
    /// Where key 0 of the head lies, and how far it is to the next.
    from: usize,
    stride: usize,
    dim: usize,
    scale: f32,
    cap: Option<f32>,
}

crate::simd_fn!(fn heads_of_one(job: &Few, q: &[f32], k: &[f32], v: &[f32], p: &mut [f32], o: &mut [f32], lse: &mut [f32]) = heads_body);
crate::simd_fn!(fn heads_of_one_f16(job: &Few, q: &[f32], k: &[f16], v: &[f16], p: &mut [f32], o: &mut [f32], lse: &mut [f32]) = heads_body);

#[inline(always)]
fn heads_body<const FMA: bool>(job: &Few, q: &[f32], k: &[impl Stored], v: &[impl Stored], p: &mut [f32], o: &mut [f32], lse: &mut [f32]) {
    match lse.len() {
        1 => heads_n::<FMA, 1>(job, q, k, v, p, o, lse),
        2 => heads_n::<FMA, 2>(job, q, k, v, p, o, lse),
        3 => heads_n::<FMA, 3>(job, q, k, v, p, o, lse),
        _ => heads_n::<FMA, 4>(job, q, k, v, p, o, lse),
    }
}

/// W numbers as f32.
#[inline(always)]
fn wide(from: &[impl Stored; W]) -> [f32; W] {
    let mut out = [0.0; W];
    for (y, x) in out.iter_mut().zip(from) {
        *y = x.get();
    }
    out
}

#[inline(always)]
fn heads_n<const FMA: bool, const G: usize>(
    job: &Few,
    q: &[f32],
    k: &[impl Stored],
    v: &[impl Stored],
    p: &mut [f32],
    o: &mut [f32],
    lse: &mut [f32],
) {
    let dim = job.dim;
    let n: usize = job.ranges.iter().map(|(a, z)| z - a).sum();
    let whole = dim / W * W;
    let mut j = 0;
    for (a, z) in job.ranges {
        for key in a..z {
            let key = &k[job.from + key * job.stride..][..dim];
            let mut acc = [[0.0f32; W]; G];
            for (d, key) in key.as_chunks::<W>().0.iter().enumerate() {
                let key = wide(key);
                for (g, acc) in acc.iter_mut().enumerate() {
                    let q = &q[g * dim + d * W..][..W];
                    for w in 0..W {
                        acc[w] = fma::<FMA>(q[w], key[w], acc[w]);
                    }
                }
            }
            for (g, acc) in acc.iter().enumerate() {
                let mut s = lanes::total(*acc);
                for d in whole..dim {
                    s = fma::<FMA>(q[g * dim + d], key[d].get(), s);
                }
                p[g * n + j] = s * job.scale;
            }
            j += 1;
        }
    }
    let mut inverse = [0.0; G];
    for g in 0..G {
        let p = &mut p[g * n..(g + 1) * n];
        if let Some(cap) = job.cap {
            bend::<FMA>(p, cap);
        }
        let top = lanes::max(p);
        let sum = lanes::exp_in_place::<FMA>(p, if top == f32::NEG_INFINITY { 0.0 } else { top });
        inverse[g] = if sum > 0.0 || sum.is_nan() { 1.0 / sum } else { 0.0 };
        lse[g] = if inverse[g] == 0.0 { 0.0 } else { top + sum.ln() };
    }
    for d in (0..dim).step_by(W) {
        let width = W.min(dim - d);
        let mut acc = [[0.0f32; W]; G];
        let mut j = 0;
        for (a, z) in job.ranges {
            for key in a..z {
                let value = &v[job.from + key * job.stride + d..][..width];
                if let Some(value) = value.first_chunk() {
                    let value = wide(value);
                    for (g, acc) in acc.iter_mut().enumerate() {
                        let weight = p[g * n + j];
                        for w in 0..W {
                            acc[w] = fma::<FMA>(weight, value[w], acc[w]);
                        }
                    }
                } else {
                    for (g, acc) in acc.iter_mut().enumerate() {
                        let weight = p[g * n + j];
                        for (s, v) in acc.iter_mut().zip(value) {
                            *s = fma::<FMA>(weight, v.get(), *s);
                        }
                    }
                }
                j += 1;
            }
        }
        for g in 0..G {
            for (o, s) in o[g * dim + d..][..width].iter_mut().zip(&acc[g]) {
                *o = s * inverse[g];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::kernels::attention_bwd::{Reads, delta, dkv, dq};

    fn values(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32).map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    /// Outputs and gradients for rows of `t` positions in two batch rows.
    fn run(threads: usize, t: usize, heads: usize, kv_heads: usize, dim: usize) -> [Vec<f32>; 5] {
        let pool = Pool::new(Some(threads));
        let spans: Vec<u32> = (0..2 * t as u32).flat_map(|i| [(i % t as u32).saturating_sub(70), i % t as u32 + 1]).collect();
        let a = Attend { heads, kv_heads, dim, scale: 0.3, cap: (dim == 16).then_some(0.4), t, s: t, spans: Spans::Rows(&spans) };
        let (q, g) = (values(2 * t * heads * dim, 1), values(2 * t * heads * dim, 2));
        let (k, v) = (values(2 * t * kv_heads * dim, 3), values(2 * t * kv_heads * dim, 4));
        let mut out = [q.len(), 4 * t * heads, q.len(), k.len(), v.len()].map(|n| vec![f32::NAN; n]);
        let [o, stats, gq, gk, gv] = &mut out;
        let rows = 2 * t * heads;
        forward(&pool, &a, &q, Keys::F32(&k, &v), o, &mut stats[..rows]);
        delta(&pool, stats, o, &g);
        let x = Reads { q: &q, k: &k, v: &v, dout: &g, lse: &stats[..rows], delta: &stats[rows..] };
        dq(&pool, &a, x, gq, false);
        dkv(&pool, &a, x, (gk, false), (gv, false));
        out
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        for (t, heads, kv_heads, dim) in [(150, 3, 1, 20), (97, 4, 4, 16), (2, 6, 3, 33)] {
            let one = run(1, t, heads, kv_heads, dim);
            assert!(one.iter().flatten().all(|v| v.is_finite()));
            for threads in [2, 5] {
                assert_eq!(run(threads, t, heads, kv_heads, dim), one, "{threads} threads, {t} × {heads} heads");
            }
        }
    }
}
