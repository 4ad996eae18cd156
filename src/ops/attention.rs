//! Attention with grouped query heads over whatever keys each query sees: online softmax, scores never stored.

use super::attention_cost::{DKV, DQ};
use super::rope::RopeSplit;
use super::{ROUNDS, cut, kv};
use crate::cpu::kernels::attention::{Attend, Keys, Spans, forward};
use crate::cpu::kernels::attention_bwd::{self, Reads};
use crate::cpu::scratch;
use crate::gpu::{Buf, Gpu, KernelKey};
use crate::graph::{Back, Cost, CpuIo, Desc, HostIo, Lower, Op};
use crate::tensor::DType;
use crate::{Error, Result};

/// Attention inside a batch. Inputs: q (B·T, H·D), k and v (B·S, Hkv·D), spans (B·T, 2) u32: the keys `begin..end` of its batch row that
/// a query sees (which covers causal, prefix, bidirectional, padded, sliding-window, packed and cross attention). Query
/// head h reads key head h / (H/Hkv). Outputs: o (B·T, H·D), zero for a query that sees nothing; statistics (2, B·T, H): lse = ln Σ exp(scale·q·k),
/// and room for what the backward pass adds to them.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    pub heads: usize,
    pub kv_heads: usize,
    /// Channels of a head.
    pub dim: usize,
    /// Multiplies q·k; usually 1/√dim.
    pub scale: f32,
    /// Batch rows B.
    pub batch: usize,
}

/// Attention over a key/value cache. Inputs: q (M, H·D); cache (2, S, Hkv·D) f32 or f16, plane 0 keys, plane 1 values; spans (M, 4) u32 =
/// (prefix_len, own_base, begin, end): position t of `begin..end` lies in slot t when t < prefix_len, otherwise in slot
/// own_base + t − prefix_len. So candidates that continue one prompt share its slots. Output: o (M, H·D). Not differentiable.
#[derive(Clone, Copy, Debug)]
pub struct AttentionCached {
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    pub scale: f32,
}

/// What both ops have in common, in the kernels' words.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    scale: f32,
    pub batch: usize,
    /// Queries and keys per batch row.
    pub t: usize,
    pub s: usize,
    /// Type of the cache, where keys and values come from one.
    pub cache: Option<DType>,
}

impl Sizes {
    fn cached(&self) -> bool {
        self.cache.is_some()
    }

    fn check(&self, op: &str, q: &Desc, spans: &Desc, rows: usize) -> Result<()> {
        let Sizes { heads, kv_heads, dim, .. } = *self;
        if heads == 0 || kv_heads == 0 || dim == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(Error::shape(op, format!("{heads} query heads over {kv_heads} key heads of {dim} channels")));
        }
        if q.len() != rows * heads * dim || q.dtype != DType::F32 {
            return Err(Error::shape(op, format!("q is {:?}, expected ({rows}, {}) f32", q.shape, heads * dim)));
        }
        let words = if self.cached() { 4 } else { 2 };
        if spans.len() != rows * words || spans.dtype != DType::U32 {
            return Err(Error::shape(op, format!("spans are {:?}, expected ({rows}, {words}) u32", spans.shape)));
        }
        // Element indices are u32 in the kernels.
        let keys = self.batch as u128 * self.s as u128 * 2 * (kv_heads * dim) as u128;
        if keys.max(q.len() as u128) > u128::from(u32::MAX) {
            return Err(Error::shape(op, format!("q {:?} with {} × {} keys is too large to index", q.shape, self.batch, self.s)));
        }
        Ok(())
    }

    fn share(&self) -> usize {
        self.heads / self.kv_heads
    }

    fn vec4(&self) -> bool {
        self.dim.is_multiple_of(4)
    }

    /// What a channel index of the kernels counts: four channels where that is whole.
    fn units(&self) -> usize {
        if self.vec4() { self.dim / 4 } else { self.dim }
    }

    /// Blocks that a thread can walk over in one dispatch (see [`ROUNDS`]), `times` loops over the channels for each, `ends` of them before and
    /// behind.
    fn blocks(&self, op: &str, ends: usize, times: usize) -> Result<usize> {
        match ROUNDS.saturating_sub(ends * self.units()) / (times * (1 + 2 * self.units())) {
            0 => Err(Error::shape(op, format!("heads of {} channels are too wide", self.dim))),
            n => Ok(n),
        }
    }

    /// Keys (slots) in pieces for as many dispatches as a thread with a tile of (rows, keys) takes: one but on software adapters.
    fn key_pieces(&self, gpu: &Gpu, op: &str, (qb, kb): (usize, usize)) -> Result<Vec<(usize, usize)>> {
        if !gpu.caps().is_software {
            return Ok(vec![self.keys()]);
        }
        // A cache is walked over twice, for prefix and own slots.
        let passes = if self.cached() { 2 } else { 1 };
        Ok(cut(self.s, self.blocks(op, 2 * qb, passes)? * kb).collect())
    }

    fn keys(&self) -> (usize, usize) {
        (0, self.s)
    }

    /// Query rows of one (batch row, key head).
    fn rows(&self) -> usize {
        self.t * self.share()
    }

    /// For `groups` workgroups per (batch row, key head) and ranges of rows and keys.
    fn params(&self, groups: usize, (row0, row1): (usize, usize), (key0, key1): (usize, usize)) -> [u32; 13] {
        let dim = self.units();
        [
            self.t as u32,
            self.s as u32,
            self.heads as u32,
            self.kv_heads as u32,
            dim as u32,
            self.batch as u32,
            self.scale.to_bits(),
            (self.s * self.kv_heads * dim) as u32,
            groups as u32,
            row0 as u32,
            row1 as u32,
            key0 as u32,
            key1 as u32,
        ]
    }

    /// Grid of `groups` workgroups per (batch row, key head).
    fn grid(&self, gpu: &Gpu, groups: usize) -> [u32; 3] {
        gpu.grid(groups * self.batch * self.kv_heads, 1)
    }

    /// For the kernels of the processor.
    fn attend<'a>(&self, spans: &'a [u32]) -> Attend<'a> {
        let Sizes { heads, kv_heads, dim, scale, t, s, .. } = *self;
        Attend { heads, kv_heads, dim, scale, t, s, spans: if self.cached() { Spans::Slots(spans) } else { Spans::Rows(spans) } }
    }

    /// Notes the cost of a dispatch that does `share` of a forward pass and whose first buffer holds the spans.
    fn note(self, cx: &mut Lower<'_>, spans: &Buf, share: f64) {
        cx.cost_of(spans, self.most() * share, move |words| self.cost(words) * share);
    }

    /// A kernel of the forward pass.
    fn forward_key(&self, name: &'static str) -> KernelKey {
        kv::key(KernelKey::new(name).flag("CACHED", self.cached()), self.cache.unwrap_or(DType::F32))
    }

    fn forward(&self, cx: &mut Lower<'_>) -> Result<()> {
        // Keys and values are one buffer (the cache) or two.
        let spans = if self.cached() { 2 } else { 3 };
        let mut bufs = vec![cx.input(spans)];
        bufs.extend((0..spans).map(|i| cx.input(i)));
        bufs.extend((0..cx.outputs.len()).map(|i| cx.output(i)));
        let bufs: Vec<_> = bufs.iter().collect();
        if self.by_query(cx.gpu()) {
            self.dispatch_by_query(cx, self.forward_key("attention_query"), &self.params(1, (0, self.rows()), self.keys()), &bufs);
            return Ok(());
        }
        if !self.few() && self.tiled(cx.gpu(), "attention", 1) {
            let groups = self.rows().div_ceil(TILE);
            let key = self.tile_key(self.forward_key("attention_tile"));
            cx.dispatch(key, &self.params(groups, (0, self.rows()), self.keys()), &bufs, self.grid(cx.gpu(), groups));
            self.note(cx, bufs[0], 1.0);
            return Ok(());
        }
        let small = self.rows() <= 32;
        let tile = tile(cx.gpu(), if small { "attention_small" } else { "attention" });
        let groups = self.rows().div_ceil(threads(cx.gpu()) * tile.0);
        let pieces = self.key_pieces(cx.gpu(), "attention", tile)?;
        let (carry, part) = (pieces.len() > 1, 1.0 / pieces.len() as f64);
        // What is carried on is lse, which nobody else wants of a cache.
        let carried = (carry && self.cached()).then(|| cx.temp(0));
        let bufs: Vec<&Buf> = bufs.into_iter().chain(&carried).collect();
        let key = self.key(cx.gpu(), self.forward_key("attention").flag("CARRY", carry), tile);
        for keys in pieces {
            cx.dispatch(key.clone(), &self.params(groups, (0, self.rows()), keys), &bufs, self.grid(cx.gpu(), groups));
            self.note(cx, bufs[0], part);
        }
        Ok(())
    }

    /// A workgroup for every query and head.
    fn dispatch_by_query(&self, cx: &mut Lower<'_>, key: KernelKey, params: &[u32], bufs: &[&Buf]) {
        let (wg, per) = query_group(cx.gpu());
        cx.dispatch(key.def("WG", wg).def("PER", per), params, bufs, cx.gpu().grid(self.batch * self.t * self.heads, 1));
        self.note(cx, bufs[0], 1.0);
    }

    /// A workgroup for every query and head? So on real GPUs, where a thread per row would leave most of them idle.
    fn by_query(&self, gpu: &Gpu) -> bool {
        let class = if self.few() { "attention_small" } else { "attention" };
        let fits = self.vec4() && self.units() <= 128 && gpu.caps().max_threads >= 128;
        // What appends where it can is this where it cannot.
        fits && matches!(gpu.tuning().borrow().pick(class, "rows8x8", if self.few() { "append" } else { "tile" }), "query" | "append")
    }

    /// Few queries. Those of a cache may be candidates, each with slots of its own: tiles would walk over what lies between them, too, which may
    /// never have been written. A prefill has at least sixteen rows.
    fn few(&self) -> bool {
        self.t <= if self.cached() { 15 } else { 8 }
    }

    /// Tiles in workgroup memory, with `owned` of them that hold whole heads? So on real GPUs, for the usual widths of heads.
    fn tiled(&self, gpu: &Gpu, class: &str, owned: usize) -> bool {
        let memory = owned * TILE * (self.units() + 1) * 16 + 6 * 1024;
        let fits = self.vec4() && matches!(self.units(), 8 | 16 | 32) && gpu.caps().max_threads >= 128;
        fits && memory <= gpu.caps().workgroup_memory as usize && gpu.tuning().borrow().pick(class, "rows8x8", "tile") == "tile"
    }

    fn tile_key(&self, key: KernelKey) -> KernelKey {
        key.def("UNITS", self.units()).def("EACH", self.units() / 4)
    }

    /// The barrier-free form of a kernel, with a tile of (rows, keys) per thread.
    fn key(&self, gpu: &Gpu, key: KernelKey, tile: (usize, usize)) -> KernelKey {
        key.flag("SCALAR", !self.vec4()).def("WG", threads(gpu)).def("QB", tile.0).def("KB", tile.1)
    }

    /// A gradient kernel, whose last input is o or the statistics, for ranges of rows and keys; `groups` is the number of its workgroups, `work` as in
    /// [`Sizes::gradient_cost`], of which it does `share`.
    fn gradient(self, cx: &mut Lower<'_>, key: KernelKey, groups: usize, (rows, keys): Ranges, (work, share): (f64, f64)) {
        let mut bufs: Vec<Buf> = [3, 0, 1, 2, 4, 5].into_iter().map(|i| cx.input(i)).collect();
        bufs.extend((0..cx.outputs.len()).map(|i| cx.output(i)));
        cx.dispatch(key, &self.params(groups, rows, keys), &bufs.iter().collect::<Vec<_>>(), self.grid(cx.gpu(), groups));
        let values = cx.inputs.iter().chain(&cx.outputs).map(|b| b.desc.len()).sum();
        let most = self.most_of_gradient(work, values) * share;
        cx.cost_of(&bufs[0], most, move |spans| self.gradient_cost(spans, work, values) * share);
    }

    /// Calls `each(io, index of q's head, index of k's head, weight, ds)` for every visible (query, head, key); inputs as in
    /// [`AttentionDq`], delta per query and head.
    fn host_gradients(&self, io: &mut HostIo<'_>, delta: &[f64], mut each: impl FnMut(&mut HostIo<'_>, usize, usize, f64, f64)) {
        let [q, k, v, spans, dout] = [0, 1, 2, 3, 4].map(|i| io.input(i));
        for i in 0..self.batch * self.t {
            for h in 0..self.heads {
                let qat = (i * self.heads + h) * self.dim;
                let delta = delta[i * self.heads + h];
                for (row, w) in self.weights(&q, &k, &spans, i, h).0 {
                    let kat = (row * self.kv_heads + h / self.share()) * self.dim;
                    let dp: f64 = (0..self.dim).map(|d| dout[qat + d] * v[kat + d]).sum();
                    each(io, qat, kat, w, w * (dp - delta) * f64::from(self.scale));
                }
            }
        }
    }

    /// Slots or keys of `row` that query `i` sees, as ranges.
    pub fn ranges(&self, spans: impl Fn(usize) -> usize, i: usize) -> Vec<(usize, usize)> {
        let at = |j: usize| spans(if self.cached() { 4 } else { 2 } * i + j);
        let clip = |a: usize, b: usize| (a.min(self.s), b.min(self.s));
        if !self.cached() {
            return vec![clip(at(0), at(1))];
        }
        let (prefix, own, begin, end) = (at(0), at(1), at(2), at(3));
        let first = begin.max(prefix);
        let behind = if first < end { clip(first - prefix + own, end - prefix + own) } else { (0, 0) };
        vec![clip(begin, end.min(prefix)), behind]
    }

    /// Softmax weights of query `i` (row of the batch) and head `h`: (key row, weight), and lse.
    fn weights(&self, q: &[f64], k: &[f64], spans: &[f64], i: usize, h: usize) -> (Vec<(usize, f64)>, f64) {
        let base = i / self.t * self.s;
        let qat = (i * self.heads + h) * self.dim;
        let kvh = h / self.share();
        let mut scores: Vec<(usize, f64)> = Vec::new();
        for (begin, end) in self.ranges(|j| spans[j] as usize, i) {
            for j in begin..end {
                let kat = ((base + j) * self.kv_heads + kvh) * self.dim;
                let dot: f64 = (0..self.dim).map(|d| q[qat + d] * k[kat + d]).sum();
                scores.push((base + j, dot * f64::from(self.scale)));
            }
        }
        let top = scores.iter().fold(f64::NEG_INFINITY, |m, s| m.max(s.1));
        let sum: f64 = scores.iter().map(|s| (s.1 - top).exp()).sum();
        for s in &mut scores {
            s.1 = (s.1 - top).exp() / sum;
        }
        let lse = if scores.is_empty() { 0.0 } else { top + sum.ln() };
        (scores, lse)
    }

    fn host(&self, io: &mut HostIo<'_>, q: &[f64], k: &[f64], v: &[f64], spans: &[f64]) {
        for i in 0..self.batch * self.t {
            for h in 0..self.heads {
                let (weights, lse) = self.weights(q, k, spans, i, h);
                for (row, w) in weights {
                    let vat = (row * self.kv_heads + h / self.share()) * self.dim;
                    for d in 0..self.dim {
                        io.add(0, (i * self.heads + h) * self.dim + d, w * v[vat + d]);
                    }
                }
                if !self.cached() {
                    io.add(1, i * self.heads + h, lse);
                }
            }
        }
    }
}

/// Threads of a barrier-free workgroup: few on software adapters, so that little work still reaches every core.
fn threads(gpu: &Gpu) -> usize {
    if gpu.caps().is_software { 8 } else { 32 }
}

/// Threads of a workgroup of `attention_query`, and keys that a thread looks at at a time. A test holds its memory to these 24 KiB (to WebGPU's
/// 16 KiB for the smaller one).
fn query_group(gpu: &Gpu) -> (usize, usize) {
    if gpu.caps().max_threads >= 512 && gpu.caps().workgroup_memory >= 24 << 10 { (512, 4) } else { (128, 8) }
}

/// Rows or keys of a workgroup of the tiled kernels.
const TILE: usize = 32;

/// First and end of the rows and of the keys that a dispatch sums over.
type Ranges = ((usize, usize), (usize, usize));

/// Rows and keys of a thread's tile in the barrier-free kernels: `rows<rows>x<keys>`.
/// On real GPUs threads are many and small, on software adapters few and large.
fn tile(gpu: &Gpu, class: &str) -> (usize, usize) {
    let default = match (class, gpu.caps().is_software) {
        ("attention_small", _) | ("attention" | "attention_dq", false) => (1, 8),
        ("attention_dkv", false) => (8, 1),
        _ => (8, 8),
    };
    let tuning = gpu.tuning().borrow();
    let parse = || {
        let (q, k) = tuning.pick(class, "", "").strip_prefix("rows")?.split_once('x')?;
        Some((q.parse().ok()?, k.parse().ok()?))
    };
    parse().filter(|(q, k)| (1..=16).contains(q) && (1..=16).contains(k)).unwrap_or(default)
}

impl Attention {
    fn sizes(&self, q: &Desc, k: &Desc) -> Sizes {
        let Attention { heads, kv_heads, dim, scale, batch } = *self;
        let per = |n: usize, width: usize| n.checked_div(width * batch).unwrap_or(0);
        let (t, s) = (per(q.len(), heads * dim), per(k.len(), kv_heads * dim));
        Sizes { heads, kv_heads, dim, scale, batch, t, s, cache: None }
    }

    /// What a gradient costs on the processor.
    fn gradient_cost(&self, io: &CpuIo<'_>, work: f64) -> Cost {
        let values = (io.moved().bytes / 4.0) as usize;
        self.sizes(io.desc(0), io.desc(1)).gradient_cost(io.u32(3), work, values)
    }
}

impl Op for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (q, k, v, spans) = (inputs[0], inputs[1], inputs[2], inputs[3]);
        let s = self.sizes(q, k);
        let rows = s.batch * s.t;
        s.check("attention", q, spans, rows)?;
        if k.len() != v.len() || k.len() != s.batch * s.s * s.kv_heads * s.dim || k.dtype != DType::F32 || v.dtype != DType::F32 {
            let width = s.kv_heads * s.dim;
            return Err(Error::shape(
                "attention",
                format!("k {:?} and v {:?}, expected ({}·keys, {width}) f32", k.shape, v.shape, s.batch),
            ));
        }
        Ok(vec![Desc::f32(&[rows, s.heads * s.dim]), Desc::f32(&[2, rows, s.heads])])
    }

    fn halves(&self, i: usize) -> bool {
        i == 0
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        self.sizes(&cx.inputs[0].desc, &cx.inputs[1].desc).forward(cx)
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (q, k, v, spans) = (io.input(0), io.input(1), io.input(2), io.input(3));
        self.sizes(&io.descs[0], &io.descs[1]).host(io, &q, &k, &v, &spans);
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let sizes = self.sizes(io.desc(0), io.desc(1));
        let stats = io.out(1);
        let (lse, _) = stats.split_at_mut(stats.len() / 2);
        forward(io.pool(), &sizes.attend(io.u32(3)), io.f32(0), Keys::F32(io.f32(1), io.f32(2)), io.out(0), lse);
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        self.sizes(io.desc(0), io.desc(1)).cost(io.u32(3))
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dout) = b.dout(0) else { return Ok(()) };
        let [q, k, v, spans] = [0, 1, 2, 3].map(|i| b.input(i));
        let (o, stats) = (b.output(0), b.output(1));
        // The gradient of q comes first, and always: it completes the statistics that those of k and v read.
        let dq = b.sink_or_temp(0);
        b.emit(AttentionDq(*self), &[q, k, v, spans, dout, o], &[dq, (stats, true)])?;
        if b.wants(1) || b.wants(2) {
            let (dk, dv) = (b.sink_or_temp(1), b.sink_or_temp(2));
            b.emit(AttentionDkv(*self), &[q, k, v, spans, dout, stats], &[dk, dv])?;
        }
        Ok(())
    }
}

/// Gradient of [`Attention`] with respect to q. Inputs: q, k, v, spans, do, o. Outputs: dq; the forward pass's statistics, to which it adds what all
/// scores of a query share of the softmax's gradient, delta = Σ do·o (plane 1).
struct AttentionDq(Attention);

impl Op for AttentionDq {
    fn name(&self) -> &'static str {
        "attention_dq"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let stats = [2, inputs[0].len() / self.0.dim.max(1)];
        Ok(vec![inputs[0].clone(), Desc::f32(&stats)])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let s = self.0.sizes(&cx.inputs[0].desc, &cx.inputs[1].desc);
        if s.tiled(cx.gpu(), "attention_dq", 2) {
            let key = s.tile_key(KernelKey::new("attention_dq_tile").flag("ACC", cx.acc[0]));
            s.gradient(cx, key, s.rows().div_ceil(TILE), ((0, s.rows()), s.keys()), (DQ, 1.0));
            return Ok(());
        }
        let tile = tile(cx.gpu(), "attention_dq");
        let groups = s.rows().div_ceil(threads(cx.gpu()) * tile.0);
        let pieces = s.key_pieces(cx.gpu(), "attention_dq", tile)?;
        let part = (DQ, 1.0 / pieces.len() as f64);
        for keys in pieces {
            let key = KernelKey::new("attention_dq").flag("ACC", cx.acc[0] || keys.0 > 0);
            s.gradient(cx, s.key(cx.gpu(), key, tile), groups, ((0, s.rows()), keys), part);
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let s = self.0.sizes(&io.descs[0], &io.descs[1]);
        let (k, dout, o) = (io.input(1), io.input(4), io.input(5));
        let delta: Vec<f64> = o.chunks(s.dim).zip(dout.chunks(s.dim)).map(|(o, d)| o.iter().zip(d).map(|(o, d)| o * d).sum()).collect();
        delta.iter().enumerate().for_each(|(i, v)| io.add(1, delta.len() + i, *v));
        s.host_gradients(io, &delta, |io, qat, kat, _, ds| {
            for d in 0..s.dim {
                io.add(0, qat + d, ds * k[kat + d]);
            }
        });
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let s = self.0.sizes(io.desc(0), io.desc(1));
        let stats = io.out(1);
        attention_bwd::delta(io.pool(), stats, io.f32(5), io.f32(4));
        attention_bwd::dq(io.pool(), &s.attend(io.u32(3)), reads(io, stats), io.out(0), io.acc(0));
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        self.0.gradient_cost(io, DQ)
    }
}

/// Gradients of [`Attention`] with respect to k and v. Inputs as for [`AttentionDq`]. Outputs: dk, dv.
struct AttentionDkv(Attention);

impl Op for AttentionDkv {
    fn name(&self) -> &'static str {
        "attention_dkv"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[1].clone(), inputs[2].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let s = self.0.sizes(&cx.inputs[0].desc, &cx.inputs[1].desc);
        if s.tiled(cx.gpu(), "attention_dkv", 2) {
            let key = KernelKey::new("attention_dkv_tile").flag("ACC_K", cx.acc[0]).flag("ACC_V", cx.acc[1]);
            s.gradient(cx, s.tile_key(key), s.s.div_ceil(TILE), ((0, s.rows()), s.keys()), (DKV, 1.0));
            return Ok(());
        }
        let (qb, kb) = tile(cx.gpu(), "attention_dkv");
        // A thread clears its keys and then walks over all rows, QB at a time.
        let pieces: Vec<_> = cut(s.rows(), s.blocks("attention_dkv", 2 * kb, 1)? * qb).collect();
        let (groups, part) = (s.s.div_ceil(threads(cx.gpu()) * kb), (DKV, 1.0 / pieces.len() as f64));
        for rows in pieces {
            let more = rows.0 > 0;
            let key = KernelKey::new("attention_dkv").flag("ACC_K", cx.acc[0] || more).flag("ACC_V", cx.acc[1] || more);
            s.gradient(cx, s.key(cx.gpu(), key, (qb, kb)), groups, (rows, s.keys()), part);
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let s = self.0.sizes(&io.descs[0], &io.descs[1]);
        let (q, dout, stats) = (io.input(0), io.input(4), io.input(5));
        s.host_gradients(io, &stats[stats.len() / 2..], |io, qat, kat, w, ds| {
            for d in 0..s.dim {
                io.add(0, kat + d, ds * q[qat + d]);
                io.add(1, kat + d, w * dout[qat + d]);
            }
        });
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let s = self.0.sizes(io.desc(0), io.desc(1));
        let (dk, dv) = ((io.out(0), io.acc(0)), (io.out(1), io.acc(1)));
        attention_bwd::dkv(io.pool(), &s.attend(io.u32(3)), reads(io, io.f32(5)), dk, dv);
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        self.0.gradient_cost(io, DKV)
    }
}

/// The inputs of both gradients.
fn reads<'a>(io: &CpuIo<'a>, stats: &'a [f32]) -> Reads<'a> {
    let (lse, delta) = stats.split_at(stats.len() / 2);
    Reads { q: io.f32(0), k: io.f32(1), v: io.f32(2), dout: io.f32(4), lse, delta }
}

impl AttentionCached {
    fn sizes(&self, q: usize, cache: &Desc) -> Sizes {
        let AttentionCached { heads, kv_heads, dim, scale } = *self;
        let t = q.checked_div(heads * dim).unwrap_or(0);
        Sizes { heads, kv_heads, dim, scale, batch: 1, t, s: cache.shape.get(1).copied().unwrap_or(0), cache: Some(cache.dtype) }
    }

    /// As [`Op::infer`] of the op that is called `op`.
    pub(super) fn checked(&self, op: &str, q: &Desc, cache: &Desc, spans: &Desc) -> Result<Vec<Desc>> {
        let s = self.sizes(q.len(), cache);
        s.check(op, q, spans, s.t)?;
        kv::check(op, cache, s.kv_heads * s.dim)?;
        Ok(vec![Desc::f32(&[s.t, s.heads * s.dim])])
    }

    /// Can rows be turned, kept and attended to by one kernel (see `AttentionAppend`)?
    pub(super) fn appends(&self, gpu: &Gpu, q: &Desc, cache: &Desc) -> bool {
        let s = self.sizes(q.len(), cache);
        s.few() && s.by_query(gpu) && gpu.tuning().borrow().pick("attention_small", "", "append") == "append"
    }

    /// Emits that kernel; `bufs` in the order of its bindings.
    pub(super) fn append(&self, cx: &mut Lower<'_>, rope: &RopeSplit, bufs: &[&Buf]) {
        let s = self.sizes(cx.outputs[0].desc.len(), &cx.outputs[1].desc);
        let turn = [rope.rotary as u32, u32::from(rope.interleaved), rope.mscale.to_bits()];
        let params: Vec<u32> = s.params(1, (0, s.rows()), s.keys()).into_iter().chain(turn).collect();
        s.dispatch_by_query(cx, s.forward_key("attention_query").flag("APPEND", true), &params, bufs);
        let turning = rope.turning(s.t, cx.outputs[1].desc.dtype);
        cx.cost_of(bufs[0], turning + s.most(), move |spans| turning + s.cost(spans));
    }

    /// The reference, for queries and a cache from anywhere.
    pub(super) fn host_over(&self, io: &mut HostIo<'_>, q: &[f64], (desc, cache): (&Desc, &[f64]), spans: &[f64]) {
        let (k, v) = cache.split_at(cache.len() / 2);
        self.sizes(q.len(), desc).host(io, q, k, v, spans);
    }

    /// What `q` values of queries cost over a cache.
    pub(super) fn cost_over(&self, q: usize, cache: &Desc, spans: &[u32]) -> Cost {
        self.sizes(q, cache).cost(spans)
    }

    /// On the processor, likewise.
    pub(super) fn cpu_over(&self, io: &CpuIo<'_>, q: &[f32], (desc, keys): (&Desc, Keys<'_>), spans: &[u32]) {
        let sizes = self.sizes(q.len(), desc);
        scratch::with(sizes.t * sizes.heads, |lse| forward(io.pool(), &sizes.attend(spans), q, keys, io.out(0), lse));
    }
}

impl Op for AttentionCached {
    fn name(&self) -> &'static str {
        "attention_cached"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        self.checked("attention_cached", inputs[0], inputs[1], inputs[2])
    }

    /// lse (M, H), to be carried on where a software adapter takes several dispatches.
    fn scratch(&self, inputs: &[&Desc], _: &[&Desc]) -> Vec<Desc> {
        vec![Desc::f32(&[inputs[0].len() / self.dim.max(1)])]
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        self.sizes(cx.inputs[0].desc.len(), &cx.inputs[1].desc).forward(cx)
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (q, cache, spans) = (io.input(0), io.input(1), io.input(2));
        let desc = io.descs[1].clone();
        self.host_over(io, &q, (&desc, &cache), &spans);
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let keys = match io.desc(1).dtype {
            DType::F16 => Keys::of_f16(io.f16(1)),
            _ => Keys::of_f32(io.f32(1)),
        };
        self.cpu_over(io, io.f32(0), (io.desc(1), keys), io.u32(2));
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        self.cost_over(io.desc(0).len(), io.desc(1), io.u32(2))
    }
}
