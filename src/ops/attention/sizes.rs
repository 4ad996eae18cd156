//! What attention inside a batch and over a cache have in common: sizes, choice of a kernel, the reference, dispatches.

use crate::cpu::kernels::attention::{Attend, Spans};
use crate::gpu::{Buf, Gpu, KernelKey};
use crate::graph::{Cost, CpuIo, Desc, HostIo, Lower};
use crate::ops::{ROUNDS, cut, kv};
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
    /// Scores become cap·tanh(score/cap) (Gemma 2).
    pub cap: Option<f32>,
    /// Batch rows B.
    pub batch: usize,
}

impl Attention {
    pub(super) fn sizes(&self, q: &Desc, k: &Desc) -> Sizes {
        let Attention { heads, kv_heads, dim, scale, cap, batch } = *self;
        let per = |n: usize, width: usize| n.checked_div(width * batch).unwrap_or(0);
        let (t, s) = (per(q.len(), heads * dim), per(k.len(), kv_heads * dim));
        Sizes { heads, kv_heads, dim, scale, cap, batch, t, s, cache: None }
    }

    /// What a gradient costs on the processor.
    pub(super) fn gradient_cost(&self, io: &CpuIo<'_>, work: f64) -> Cost {
        let values = (io.moved().bytes / 4.0) as usize;
        self.sizes(io.desc(0), io.desc(1)).gradient_cost(io.u32(3), work, values)
    }
}

/// What both ops have in common, in the kernels' words.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    pub scale: f32,
    pub cap: Option<f32>,
    pub batch: usize,
    /// Queries and keys per batch row.
    pub t: usize,
    pub s: usize,
    /// Type of the cache, where keys and values come from one.
    pub cache: Option<DType>,
}

impl Sizes {
    pub(super) fn cached(&self) -> bool {
        self.cache.is_some()
    }

    pub(super) fn check(&self, op: &str, q: &Desc, spans: &Desc, rows: usize) -> Result<()> {
        let Sizes { heads, kv_heads, dim, .. } = *self;
        if let Some(cap) = self.cap.filter(|c| !(c.is_finite() && *c > 0.0)) {
            return Err(Error::shape(op, format!("scores capped at {cap}, expected a number above 0")));
        }
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

    pub(super) fn share(&self) -> usize {
        self.heads / self.kv_heads
    }

    pub(super) fn vec4(&self) -> bool {
        self.dim.is_multiple_of(4)
    }

    /// What a channel index of the kernels counts: four channels where that is whole.
    pub(super) fn units(&self) -> usize {
        if self.vec4() { self.dim / 4 } else { self.dim }
    }

    /// Blocks that a thread can walk over in one dispatch (see [`ROUNDS`]), `times` loops over the channels for each, `ends` of them before and
    /// behind.
    pub(super) fn blocks(&self, op: &str, ends: usize, times: usize) -> Result<usize> {
        match ROUNDS.saturating_sub(ends * self.units()) / (times * (1 + 2 * self.units())) {
            0 => Err(Error::shape(op, format!("heads of {} channels are too wide", self.dim))),
            n => Ok(n),
        }
    }

    /// Keys (slots) in pieces for as many dispatches as a thread with a tile of (rows, keys) takes: one but on software adapters.
    pub(super) fn key_pieces(&self, gpu: &Gpu, op: &str, (qb, kb): (usize, usize)) -> Result<Vec<(usize, usize)>> {
        if !gpu.caps().is_software {
            return Ok(vec![self.keys()]);
        }
        // A cache is walked over twice, for prefix and own slots.
        let passes = if self.cached() { 2 } else { 1 };
        Ok(cut(self.s, self.blocks(op, 2 * qb, passes)? * kb).collect())
    }

    pub(super) fn keys(&self) -> (usize, usize) {
        (0, self.s)
    }

    /// Query rows of one (batch row, key head).
    pub(super) fn rows(&self) -> usize {
        self.t * self.share()
    }

    /// For `groups` workgroups per (batch row, key head) and ranges of rows and keys.
    pub(super) fn params(&self, groups: usize, (row0, row1): (usize, usize), (key0, key1): (usize, usize)) -> [u32; 14] {
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
            self.cap.unwrap_or(0.0).to_bits(),
        ]
    }

    /// Grid of `groups` workgroups per (batch row, key head).
    pub(super) fn grid(&self, gpu: &Gpu, groups: usize) -> [u32; 3] {
        gpu.grid(groups * self.batch * self.kv_heads, 1)
    }

    /// For the kernels of the processor.
    pub(super) fn attend<'a>(&self, spans: &'a [u32]) -> Attend<'a> {
        let Sizes { heads, kv_heads, dim, scale, cap, t, s, .. } = *self;
        Attend { heads, kv_heads, dim, scale, cap, t, s, spans: if self.cached() { Spans::Slots(spans) } else { Spans::Rows(spans) } }
    }

    /// Notes the cost of a dispatch that does `share` of a forward pass and whose first buffer holds the spans.
    pub(super) fn note(self, cx: &mut Lower<'_>, spans: &Buf, share: f64) {
        cx.cost_of(spans, self.most() * share, move |words| self.cost(words) * share);
    }

    /// A kernel of the forward pass.
    pub(super) fn forward_key(&self, name: &'static str) -> KernelKey {
        kv::key(KernelKey::new(name).flag("CACHED", self.cached()).flag("CAP", self.cap.is_some()), self.cache.unwrap_or(DType::F32))
    }

    pub(super) fn forward(&self, cx: &mut Lower<'_>) -> Result<()> {
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
    pub(super) fn dispatch_by_query(&self, cx: &mut Lower<'_>, key: KernelKey, params: &[u32], bufs: &[&Buf]) {
        let (wg, per) = query_group(cx.gpu());
        cx.dispatch(key.def("WG", wg).def("PER", per), params, bufs, cx.gpu().grid(self.batch * self.t * self.heads, 1));
        self.note(cx, bufs[0], 1.0);
    }

    /// A workgroup for every query and head? So on real GPUs, where a thread per row would leave most of them idle.
    pub(super) fn by_query(&self, gpu: &Gpu) -> bool {
        let class = if self.few() { "attention_small" } else { "attention" };
        let fits = self.vec4() && self.units() <= 128 && gpu.caps().max_threads >= 128;
        // What appends where it can is this where it cannot.
        fits && matches!(gpu.tuning().borrow().pick(class, "rows8x8", if self.few() { "append" } else { "tile" }), "query" | "append")
    }

    /// Few queries. Those of a cache may be candidates, each with slots of its own: tiles would walk over what lies between them, too, which may
    /// never have been written. A prefill has at least sixteen rows.
    pub(super) fn few(&self) -> bool {
        self.t <= if self.cached() { 15 } else { 8 }
    }

    /// Tiles in workgroup memory, with `owned` of them that hold whole heads? So on real GPUs, for the usual widths of heads.
    pub(super) fn tiled(&self, gpu: &Gpu, class: &str, owned: usize) -> bool {
        let memory = owned * TILE * (self.units() + 1) * 16 + 6 * 1024;
        let fits = self.vec4() && matches!(self.units(), 8 | 16 | 32) && gpu.caps().max_threads >= 128;
        fits && memory <= gpu.caps().workgroup_memory as usize && gpu.tuning().borrow().pick(class, "rows8x8", "tile") == "tile"
    }

    pub(super) fn tile_key(&self, key: KernelKey) -> KernelKey {
        key.def("UNITS", self.units()).def("EACH", self.units() / 4)
    }

    /// The barrier-free form of a kernel, with a tile of (rows, keys) per thread.
    pub(super) fn key(&self, gpu: &Gpu, key: KernelKey, tile: (usize, usize)) -> KernelKey {
        key.flag("SCALAR", !self.vec4()).def("WG", threads(gpu)).def("QB", tile.0).def("KB", tile.1)
    }

    /// A gradient kernel, whose last input is o or the statistics, for ranges of rows and keys; `groups` is the number of its workgroups, `work` as in
    /// [`Sizes::gradient_cost`], of which it does `share`.
    pub(super) fn gradient(self, cx: &mut Lower<'_>, key: KernelKey, groups: usize, (rows, keys): Ranges, (work, share): (f64, f64)) {
        let mut bufs: Vec<Buf> = [3, 0, 1, 2, 4, 5].into_iter().map(|i| cx.input(i)).collect();
        bufs.extend((0..cx.outputs.len()).map(|i| cx.output(i)));
        let key = key.flag("CAP", self.cap.is_some());
        cx.dispatch(key, &self.params(groups, rows, keys), &bufs.iter().collect::<Vec<_>>(), self.grid(cx.gpu(), groups));
        let values = cx.inputs.iter().chain(&cx.outputs).map(|b| b.desc.len()).sum();
        let most = self.most_of_gradient(work, values) * share;
        cx.cost_of(&bufs[0], most, move |spans| self.gradient_cost(spans, work, values) * share);
    }

    /// Calls `each(io, index of q's head, index of k's head, weight, ds)` for every visible (query, head, key); inputs as in
    /// [`super::gradients::AttentionDq`], delta per query and head.
    pub(super) fn host_gradients(&self, io: &mut HostIo<'_>, delta: &[f64], mut each: impl FnMut(&mut HostIo<'_>, usize, usize, f64, f64)) {
        let [q, k, v, spans, dout] = [0, 1, 2, 3, 4].map(|i| io.input(i));
        for i in 0..self.batch * self.t {
            for h in 0..self.heads {
                let qat = (i * self.heads + h) * self.dim;
                let delta = delta[i * self.heads + h];
                for (row, w) in self.weights(&q, &k, &spans, i, h).0 {
                    let kat = (row * self.kv_heads + h / self.share()) * self.dim;
                    let dp: f64 = (0..self.dim).map(|d| dout[qat + d] * v[kat + d]).sum();
                    let product: f64 = (0..self.dim).map(|d| q[qat + d] * k[kat + d]).sum();
                    each(io, qat, kat, w, w * (dp - delta) * self.score(product).1);
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

    /// The score of a product q·k, and its slope.
    fn score(&self, product: f64) -> (f64, f64) {
        let scale = f64::from(self.scale);
        match self.cap.map(f64::from) {
            None => (product * scale, scale),
            Some(cap) => {
                let t = (product * scale / cap).tanh();
                (cap * t, scale * (1.0 - t * t))
            }
        }
    }

    /// Softmax weights of query `i` (row of the batch) and head `h`: (key row, weight), and lse.
    pub(super) fn weights(&self, q: &[f64], k: &[f64], spans: &[f64], i: usize, h: usize) -> (Vec<(usize, f64)>, f64) {
        let base = i / self.t * self.s;
        let qat = (i * self.heads + h) * self.dim;
        let kvh = h / self.share();
        let mut scores: Vec<(usize, f64)> = Vec::new();
        for (begin, end) in self.ranges(|j| spans[j] as usize, i) {
            for j in begin..end {
                let kat = ((base + j) * self.kv_heads + kvh) * self.dim;
                let dot: f64 = (0..self.dim).map(|d| q[qat + d] * k[kat + d]).sum();
                scores.push((base + j, self.score(dot).0));
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

    pub(super) fn host(&self, io: &mut HostIo<'_>, q: &[f64], k: &[f64], v: &[f64], spans: &[f64]) {
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
pub(super) fn threads(gpu: &Gpu) -> usize {
    if gpu.caps().is_software { 8 } else { 32 }
}

/// Threads of a workgroup of `attention_query`, and keys that a thread looks at at a time. A test holds its memory to these 24 KiB (to WebGPU's
/// 16 KiB for the smaller one).
pub(super) fn query_group(gpu: &Gpu) -> (usize, usize) {
    if gpu.caps().max_threads >= 512 && gpu.caps().workgroup_memory >= 24 << 10 { (512, 4) } else { (128, 8) }
}

/// Rows or keys of a workgroup of the tiled kernels.
pub(super) const TILE: usize = 32;

/// First and end of the rows and of the keys that a dispatch sums over.
pub(super) type Ranges = ((usize, usize), (usize, usize));

/// Rows and keys of a thread's tile in the barrier-free kernels: `rows<rows>x<keys>`.
/// On real GPUs threads are many and small, on software adapters few and large.
pub(super) fn tile(gpu: &Gpu, class: &str) -> (usize, usize) {
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
