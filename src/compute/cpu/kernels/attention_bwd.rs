//! Gradients of attention: weights are computed again from lse, block by block, as in the forward pass.

use super::attention::{Attend, KEYS, LANES, Sees, W, lanes_for, mul, transpose};
use super::lanes::{self, put};
use super::math::exp;
use super::softcap::bend;
use crate::cpu::{Pool, scratch};

/// What the gradients read: q, k, v, the upstream gradient, and of every query and head lse and [`delta`].
#[derive(Clone, Copy)]
pub struct Reads<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    pub dout: &'a [f32],
    pub lse: &'a [f32],
    pub delta: &'a [f32],
}

#[inline(always)]
fn delta_body<const FMA: bool>(delta: &mut [f32], o: &[f32], dout: &[f32]) {
    let dim = o.len() / delta.len();
    for (s, (o, d)) in delta.iter_mut().zip(o.chunks_exact(dim).zip(dout.chunks_exact(dim))) {
        *s = lanes::dot::<FMA>(o, d);
    }
}

crate::simd_fn!(fn delta_rows(delta: &mut [f32], o: &[f32], dout: &[f32]) = delta_body);

/// Σ do·o of every query and head, into the second half of `stats`.
pub fn delta(pool: &Pool, stats: &mut [f32], o: &[f32], dout: &[f32]) {
    let rows = stats.len() / 2;
    let dim = o.len() / rows.max(1);
    if dim == 0 {
        return;
    }
    pool.rows(&mut stats[rows..], 1, 8192 / dim + 1, |first, delta| {
        let end = first + delta.len();
        delta_rows(delta, &o[first * dim..end * dim], &dout[first * dim..end * dim]);
    });
}

/// A block of lanes: queries for dq, keys for dk and dv. `a` and `b` are what the rows meet, `p` and `ds` (rows, lanes).
struct Block<'s> {
    lanes: usize,
    cap: Option<f32>,
    a: &'s [f32],
    b: &'s [f32],
    p: &'s mut [f32],
    ds: &'s mut [f32],
}

/// Queries in the lanes: scores and dp for `n` keys, then `dq += ds·k`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn dq_body<const FMA: bool>(
    b: &mut Block<'_>,
    dq: &mut [f32],
    (k, v): (&[f32], &[f32]),
    stride: usize,
    dim: usize,
    first: usize,
    n: usize,
    sees: &Sees,
    lse: &[f32; LANES],
    delta: &[f32; LANES],
) {
    let lanes = b.lanes;
    mul::<FMA, false>(b.p, k, (stride, 1), b.a, n, dim, lanes);
    mul::<FMA, false>(b.ds, v, (stride, 1), b.b, n, dim, lanes);
    let inverse = b.cap.map_or(0.0, |cap| 1.0 / cap);
    if let Some(cap) = b.cap {
        bend::<FMA>(&mut b.p[..n * lanes], cap);
    }
    for (j, (p, ds)) in b.p[..n * lanes].chunks_exact(lanes).zip(b.ds.chunks_exact_mut(lanes)).enumerate() {
        let key = (first + j) as u32;
        // W at a time, in one piece: see `activation`.
        let queries = lse.as_chunks::<W>().0.iter().zip(delta.as_chunks::<W>().0);
        let spans = sees.begin.as_chunks::<W>().0.iter().zip(sees.len.as_chunks::<W>().0);
        for (((p, ds), (lse, delta)), (begin, len)) in p.as_chunks::<W>().0.iter().zip(ds.as_chunks_mut::<W>().0).zip(queries).zip(spans) {
            for w in 0..W {
                let weight = exp::<FMA>(p[w] - lse[w]);
                let t = p[w] * inverse;
                let d = weight * (ds[w] - delta[w]) * (1.0 - t * t);
                ds[w] = if key.wrapping_sub(begin[w]) < len[w] { d } else { 0.0 };
            }
        }
    }
    mul::<FMA, true>(dq, k, (1, stride), b.ds, dim, n, lanes);
}

crate::simd_fn!(fn dq_block(
    b: &mut Block<'_>,
    dq: &mut [f32],
    kv: (&[f32], &[f32]),
    stride: usize,
    dim: usize,
    first: usize,
    n: usize,
    sees: &Sees,
    lse: &[f32; LANES],
    delta: &[f32; LANES],
) = dq_body);

/// Gradient with respect to q (B·T, H·D).
pub fn dq(pool: &Pool, a: &Attend<'_>, x: Reads<'_>, dq: &mut [f32], acc: bool) {
    if dq.is_empty() {
        return;
    }
    pool.rows(dq, a.heads * a.dim, LANES.div_ceil(a.share()), |first, part| {
        let width = a.heads * a.dim;
        let end = first + part.len() / width;
        let mut at = first;
        while at < end {
            let next = end.min((at / a.t + 1) * a.t);
            queries(a, at, x, &mut part[(at - first) * width..(next - first) * width], acc);
            at = next;
        }
    });
}

/// Queries `first..` of one batch row, as many as `dq` has.
fn queries(a: &Attend<'_>, first: usize, x: Reads<'_>, dq: &mut [f32], acc: bool) {
    let Attend { heads, dim, .. } = *a;
    let (share, stride) = (a.share(), a.key_stride());
    let rows = dq.len() / (heads * dim) * share;
    let base = first / a.t * a.s;
    scratch::with((3 * dim + 2 * KEYS) * LANES, |mem| {
        let (qt, mem) = mem.split_at_mut(dim * LANES);
        let (dt, mem) = mem.split_at_mut(dim * LANES);
        let (out, mem) = mem.split_at_mut(dim * LANES);
        let (p, ds) = mem.split_at_mut(KEYS * LANES);
        for kv in 0..a.kv_heads {
            let place = |r: usize| (r / share) * heads + kv * share + r % share;
            for r0 in (0..rows).step_by(LANES) {
                let n = LANES.min(rows - r0);
                let lanes = lanes_for(n);
                let sees = Sees::new(lanes, n, |r| a.range(first + (r0 + r) / share, 0));
                let at = |r: usize| (first * heads + place(r0 + r)) * dim;
                transpose(qt, x.q, dim, n, lanes, a.scale, at);
                transpose(dt, x.dout, dim, n, lanes, 1.0, at);
                let (mut lse, mut delta) = ([0.0; LANES], [0.0; LANES]);
                for r in 0..n {
                    let i = first * heads + place(r0 + r);
                    (lse[r], delta[r]) = (x.lse[i], x.delta[i]);
                }
                out[..dim * lanes].fill(0.0);
                let mut block = Block { lanes, cap: a.cap, a: qt, b: dt, p, ds };
                for (j, z) in sees.blocks() {
                    let at = (base + j) * stride + kv * dim;
                    dq_block(&mut block, out, (&x.k[at..], &x.v[at..]), stride, dim, j, z - j, &sees, &lse, &delta);
                }
                for r in 0..n {
                    let row = place(r0 + r);
                    for (y, column) in dq[row * dim..(row + 1) * dim].iter_mut().zip(out.chunks_exact(lanes)) {
                        put(y, column[r] * a.scale, acc);
                    }
                }
            }
        }
    });
}

/// Keys in the lanes: scores and dp of `n` queries of one head, then `dv += p·do` and `dk += ds·q`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn dkv_body<const FMA: bool>(
    b: &mut Block<'_>,
    (dk, dv): (&mut [f32], &mut [f32]),
    (q, dout): (&[f32], &[f32]),
    (width, heads): (usize, usize),
    dim: usize,
    key: usize,
    ranges: &[(usize, usize)],
    (lse, delta): (&[f32], &[f32]),
) {
    let (lanes, n) = (b.lanes, ranges.len());
    mul::<FMA, false>(b.p, q, (width, 1), b.a, n, dim, lanes);
    mul::<FMA, false>(b.ds, dout, (width, 1), b.b, n, dim, lanes);
    let inverse = b.cap.map_or(0.0, |cap| 1.0 / cap);
    if let Some(cap) = b.cap {
        bend::<FMA>(&mut b.p[..n * lanes], cap);
    }
    for (r, (p, ds)) in b.p[..n * lanes].chunks_exact_mut(lanes).zip(b.ds.chunks_exact_mut(lanes)).enumerate() {
        let (lse, delta) = (lse[r * heads], delta[r * heads]);
        let (begin, end) = ranges[r];
        let (begin, len) = (begin as u32, (end - begin) as u32);
        for (at, (p, ds)) in p.as_chunks_mut::<W>().0.iter_mut().zip(ds.as_chunks_mut::<W>().0).enumerate() {
            let key = (key + at * W) as u32;
            for w in 0..W {
                let seen = (key + w as u32).wrapping_sub(begin) < len;
                let weight = exp::<FMA>(p[w] - lse);
                let t = p[w] * inverse;
                let d = weight * (ds[w] - delta) * (1.0 - t * t);
                p[w] = if seen { weight } else { 0.0 };
                ds[w] = if seen { d } else { 0.0 };
            }
        }
    }
    mul::<FMA, true>(dv, dout, (1, width), b.p, dim, n, lanes);
    mul::<FMA, true>(dk, q, (1, width), b.ds, dim, n, lanes);
}

crate::simd_fn!(fn dkv_block(
    b: &mut Block<'_>,
    out: (&mut [f32], &mut [f32]),
    x: (&[f32], &[f32]),
    strides: (usize, usize),
    dim: usize,
    key: usize,
    ranges: &[(usize, usize)],
    stats: (&[f32], &[f32]),
) = dkv_body);

/// Gradients with respect to k and v (B·S, Hkv·D).
pub fn dkv(pool: &Pool, a: &Attend<'_>, x: Reads<'_>, dk: (&mut [f32], bool), dv: (&mut [f32], bool)) {
    let stride = a.key_stride();
    let (acc_k, acc_v) = (dk.1, dv.1);
    pool.rows2((dk.0, stride), (dv.0, stride), LANES, |first, dk, dv| {
        let end = first + dk.len() / stride;
        let mut at = first;
        while at < end {
            // Keys of one batch row, as many as there are lanes.
            let next = end.min((at / a.s + 1) * a.s).min(at + LANES);
            let part = (at - first) * stride..(next - first) * stride;
            keys(a, at, x, (&mut dk[part.clone()], acc_k), (&mut dv[part], acc_v));
            at = next;
        }
    });
}

/// Keys `first..` of one batch row, at most [`LANES`].
fn keys(a: &Attend<'_>, first: usize, x: Reads<'_>, dk: (&mut [f32], bool), dv: (&mut [f32], bool)) {
    let Attend { heads, dim, t, .. } = *a;
    let (share, stride, width) = (a.share(), a.key_stride(), heads * dim);
    let n = dk.0.len() / stride;
    let lanes = lanes_for(n);
    let (batch, key) = (first / a.s, first % a.s);
    scratch::with((4 * dim + 2 * KEYS) * LANES, |mem| {
        let (kt, mem) = mem.split_at_mut(dim * LANES);
        let (vt, mem) = mem.split_at_mut(dim * LANES);
        let (dkt, mem) = mem.split_at_mut(dim * LANES);
        let (dvt, mem) = mem.split_at_mut(dim * LANES);
        let (p, ds) = mem.split_at_mut(KEYS * LANES);
        for kv in 0..a.kv_heads {
            transpose(kt, x.k, dim, n, lanes, a.scale, |r| (first + r) * stride + kv * dim);
            transpose(vt, x.v, dim, n, lanes, 1.0, |r| (first + r) * stride + kv * dim);
            dkt[..dim * lanes].fill(0.0);
            dvt[..dim * lanes].fill(0.0);
            let mut block = Block { lanes, cap: a.cap, a: kt, b: vt, p, ds };
            for t0 in (0..t).step_by(KEYS) {
                let mut ranges = [(0, 0); KEYS];
                let m = KEYS.min(t - t0);
                for (r, range) in ranges[..m].iter_mut().enumerate() {
                    *range = a.range(batch * t + t0 + r, 0);
                }
                // Queries that see none of these keys at the ends of the block are left out.
                let meets = |(b, e): &(usize, usize)| b < e && *b < key + n && *e > key;
                let Some(r0) = ranges[..m].iter().position(meets) else { continue };
                let r1 = ranges[..m].iter().rposition(meets).map_or(m, |r| r + 1);
                for h in kv * share..(kv + 1) * share {
                    let row = batch * t + t0 + r0;
                    let at = row * width + h * dim;
                    let io = (&x.q[at..], &x.dout[at..]);
                    let stats = (&x.lse[row * heads + h..], &x.delta[row * heads + h..]);
                    dkv_block(&mut block, (dkt, dvt), io, (width, heads), dim, key, &ranges[r0..r1], stats);
                }
            }
            for r in 0..n {
                let at = r * stride + kv * dim;
                for d in 0..dim {
                    put(&mut dk.0[at + d], dkt[d * lanes + r] * a.scale, dk.1);
                    put(&mut dv.0[at + d], dvt[d * lanes + r], dv.1);
                }
            }
        }
    });
}
