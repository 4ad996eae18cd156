//! Rotary position embedding (RoFormer, Su et al. 2021), together with the split of a fused projection into heads and, while
//! generating, with the write into the key/value cache.

use super::kv;
use crate::cpu::kernels::rope as kernels;
use crate::cpu::kernels::stored::Stored;
use crate::cpu::scratch;
use crate::gpu::{Buf, KernelKey};
use crate::graph::{Back, Cost, CpuIo, Desc, HostIo, Lower, Op};
use crate::tensor::DType;
use crate::{Error, Result};

/// Splits projections into q, k, v and turns q and k by position. Inputs: qkv (M, (H+2·Hkv)·D), or q (M, H·D), k and v
/// (M, Hkv·D); positions (M) u32; inv_freq (rotary/2) f32. Outputs: q (M, H·D), k (M, Hkv·D), v (M, Hkv·D).
///
/// With `rotary` 0 it only splits (learned positions); inv_freq may then be anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeSplit {
    pub heads: usize,
    pub kv_heads: usize,
    /// Channels of a head.
    pub dim: usize,
    /// Channels of a head that turn, from the first on.
    pub rotary: usize,
    /// Pairs are (2i, 2i+1), not (i, i + rotary/2).
    pub interleaved: bool,
    /// Multiplies cos and sin (yarn's attention factor; 1 otherwise).
    pub mscale: f32,
    /// A fused row is q, k and v of one head after the other (GPT-NeoX), not all of q, of k and of v. As many key heads as heads.
    pub by_head: bool,
}

impl RopeSplit {
    /// Checks everything but the outputs; gives (rows, inputs are fused).
    fn check(&self, op: &str, inputs: &[&Desc], extra: usize) -> Result<(usize, bool)> {
        let RopeSplit { heads, kv_heads, dim, rotary, .. } = *self;
        let fused = match inputs.len() - extra.min(inputs.len()) {
            3 => true,
            5 => false,
            n => return Err(Error::shape(op, format!("{n} inputs: expected qkv or q, k, v, then positions and inv_freq"))),
        };
        if heads == 0 || dim == 0 || rotary > dim || rotary % 2 == 1 {
            return Err(Error::shape(op, format!("{heads} heads of {dim} channels, {rotary} of them rotary (must be even)")));
        }
        if self.by_head && !(fused && heads == kv_heads) {
            return Err(Error::shape(
                op,
                format!("q, k and v by head want one input and as many key heads ({kv_heads}) as heads ({heads})"),
            ));
        }
        let tensors = if fused { 1 } else { 3 };
        let (positions, inv_freq) = (inputs[tensors], inputs[tensors + 1]);
        let rows = positions.len();
        let widths = if fused { vec![heads + 2 * kv_heads] } else { vec![heads, kv_heads, kv_heads] };
        for (i, n) in widths.iter().enumerate() {
            if inputs[i].len() != rows * n * dim || inputs[i].dtype != DType::F32 {
                let want = n * dim;
                return Err(Error::shape(
                    op,
                    format!("input {i} is {:?}, expected ({rows}, {want}) f32 for {rows} positions", inputs[i].shape),
                ));
            }
        }
        if positions.dtype != DType::U32 || (rotary > 0 && inv_freq.len() != rotary / 2) || inv_freq.dtype != DType::F32 {
            let shapes = (&positions.shape, &inv_freq.shape);
            return Err(Error::shape(op, format!("positions and inv_freq are {shapes:?}, expected ({rows}) u32 and ({}) f32", rotary / 2)));
        }
        // Element indices are u32 in the kernels.
        if rows as u128 * (heads + 2 * kv_heads) as u128 * dim as u128 > u128::from(u32::MAX) {
            return Err(Error::shape(op, format!("{rows} rows of {} channels are too many for one call", (heads + 2 * kv_heads) * dim)));
        }
        Ok((rows, fused))
    }

    /// What `rows` rows cost whose keys and values are kept as `kept`: six operations for each pair that turns.
    pub(super) fn turning(&self, rows: usize, kept: DType) -> Cost {
        let (queries, keys) = (self.heads * self.dim, 2 * self.kv_heads * self.dim);
        let pairs = rows * (self.heads + self.kv_heads) * self.rotary / 2;
        Cost { flops: 6.0 * pairs as f64, bytes: (rows * (8 * queries + keys * (4 + kept.block_bytes()))) as f64 }
    }

    /// Units (pairs and single channels) of a head: threads per row.
    fn units(&self) -> usize {
        self.dim - self.rotary / 2
    }

    fn params(&self, rows: usize, slots: usize) -> [u32; 10] {
        let plane = slots * self.kv_heads * self.dim;
        let (pairs, by_head) = (usize::from(self.interleaved), usize::from(self.by_head));
        let words = [rows, self.heads, self.kv_heads, self.dim, self.rotary, pairs, 0, plane, slots, by_head];
        let mut words = words.map(|w| w as u32);
        words[6] = self.mscale.to_bits();
        words
    }

    /// One thread per unit; heads are spread over z where there are few rows for many threads. On a processor the angle is
    /// worth sharing.
    fn grid(&self, cx: &Lower<'_>, rows: usize) -> [u32; 3] {
        let mut grid = cx.gpu().grid(rows * self.units(), 64);
        if !cx.caps().is_software {
            let groups = grid[0] * grid[1];
            grid[2] = (1024 / groups.max(1)).clamp(1, (self.heads + 2 * self.kv_heads) as u32);
        }
        grid
    }

    /// Channels (a, b) and (cos, sin)·mscale of unit `u` at `position`; a == b: not turned.
    fn unit(&self, u: usize, position: f64, inv_freq: &[f64]) -> (usize, usize, f64, f64) {
        let half = self.rotary / 2;
        if u >= half {
            return (u + half, u + half, 1.0, 0.0);
        }
        let angle = position * inv_freq[u];
        let m = f64::from(self.mscale);
        let (a, b) = if self.interleaved { (2 * u, 2 * u + 1) } else { (u, u + half) };
        (a, b, angle.cos() * m, angle.sin() * m)
    }

    /// Calls `put(row, head, channel, value)` for every element of q (heads 0…H), k and v after rotation by `sign`·angle, where
    /// `get(row, head, channel)` reads before it.
    fn turn(
        &self,
        positions: &[f64],
        inv_freq: &[f64],
        sign: f64,
        get: impl Fn(usize, usize, usize) -> f64,
        mut put: impl FnMut(usize, usize, usize, f64),
    ) {
        for (row, position) in positions.iter().enumerate() {
            for u in 0..self.units() {
                let (a, b, c, s) = self.unit(u, *position, inv_freq);
                for head in 0..self.heads + 2 * self.kv_heads {
                    let (c, s) = if head < self.heads + self.kv_heads { (c, s * sign) } else { (1.0, 0.0) };
                    let x = get(row, head, a);
                    if a == b {
                        put(row, head, a, x);
                        continue;
                    }
                    let y = get(row, head, b);
                    put(row, head, a, x * c - y * s);
                    put(row, head, b, y * c + x * s);
                }
            }
        }
    }

    /// Where element (row, head, channel) of the joint heads lies: (which of q, k, v; index in it).
    fn place(&self, row: usize, head: usize, c: usize) -> (usize, usize) {
        let (h, kv) = (self.heads, self.kv_heads);
        match head {
            head if head < h => (0, (row * h + head) * self.dim + c),
            head if head < h + kv => (1, (row * kv + head - h) * self.dim + c),
            head => (2, (row * kv + head - h - kv) * self.dim + c),
        }
    }

    /// Where one of the joint heads (of q, then k, then v) lies in a fused row.
    fn joint(&self, head: usize) -> usize {
        if self.by_head { head % self.heads * 3 + head / self.heads } else { head }
    }

    /// Copies the heads of fused rows into the order q, k, v (`back`: into the order of the rows; `acc` adds).
    fn reorder(&self, to: &mut [f32], from: &[f32], back: bool, acc: bool) {
        let (all, dim) = (self.heads + 2 * self.kv_heads, self.dim);
        for (to, from) in to.chunks_exact_mut(all * dim).zip(from.chunks_exact(all * dim)) {
            for head in 0..all {
                let (a, b) = if back { (self.joint(head), head) } else { (head, self.joint(head)) };
                for (y, x) in to[a * dim..(a + 1) * dim].iter_mut().zip(&from[b * dim..(b + 1) * dim]) {
                    *y = if acc { *y + x } else { *x };
                }
            }
        }
    }

    /// For the kernels of the processor; positions are input `at`, frequencies the next.
    fn kernel<'a>(&self, io: &CpuIo<'a>, at: usize, inverse: bool) -> kernels::Rope<'a> {
        let RopeSplit { dim, rotary, interleaved, mscale, .. } = *self;
        kernels::Rope { dim, rotary, interleaved, mscale, positions: io.u32(at), inv_freq: io.f32(at + 1), inverse }
    }

    /// Runs `body` with q, k and v, as parts of one input or as inputs of their own.
    fn with_columns(&self, io: &CpuIo<'_>, fused: bool, body: impl FnOnce([kernels::Columns<'_>; 3])) {
        let x = io.f32(0);
        if self.by_head {
            return scratch::with(x.len(), |joint| {
                self.reorder(joint, x, false, false);
                body(self.columns(io, Some(joint)));
            });
        }
        body(self.columns(io, fused.then_some(x)));
    }

    fn columns<'a>(&self, io: &CpuIo<'a>, joint: Option<&'a [f32]>) -> [kernels::Columns<'a>; 3] {
        let widths = [self.heads, self.kv_heads, self.kv_heads].map(|n| n * self.dim);
        let (stride, mut first) = (widths.iter().sum(), 0);
        [0, 1, 2].map(|i| {
            let width = widths[i];
            first += width;
            match joint {
                Some(data) => kernels::Columns { data, first: first - width, width, stride },
                None => kernels::Columns::all(io.f32(i), width),
            }
        })
    }

    /// Runs the host's forward pass and hands each element to `put(io, tensor, row, index in the tensor, value)`.
    fn host_split(&self, io: &mut HostIo<'_>, extra: usize, mut put: impl FnMut(&mut HostIo<'_>, usize, usize, usize, f64)) {
        let fused = io.descs.len() - extra == 3;
        let tensors = if fused { 1 } else { 3 };
        let x: Vec<_> = (0..tensors).map(|i| io.input(i)).collect();
        let (positions, inv_freq) = (io.input(tensors), io.input(tensors + 1));
        let all = self.heads + 2 * self.kv_heads;
        let get = |row: usize, head: usize, c: usize| {
            if fused {
                x[0][(row * all + self.joint(head)) * self.dim + c]
            } else {
                let (t, at) = self.place(row, head, c);
                x[t][at]
            }
        };
        self.turn(&positions, &inv_freq, 1.0, get, |row, head, c, v| {
            let (t, at) = self.place(row, head, c);
            put(io, t, row, at, v);
        });
    }
}

impl Op for RopeSplit {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (rows, _) = self.check("rope", inputs, 0)?;
        let q = Desc::f32(&[rows, self.heads * self.dim]);
        let kv = Desc::f32(&[rows, self.kv_heads * self.dim]);
        Ok(vec![q, kv.clone(), kv])
    }

    fn halves(&self, _i: usize) -> bool {
        true
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let n = cx.inputs.len();
        let rows = cx.inputs[n - 2].desc.len();
        let mut bufs = vec![cx.input(n - 2), cx.input(n - 1)];
        bufs.extend((0..n - 2).map(|i| cx.input(i)));
        bufs.extend((0..3).map(|i| cx.output(i)));
        let key = KernelKey::new("rope").flag("FUSED", n == 3);
        cx.dispatch(key, &self.params(rows, 0), &bufs.iter().collect::<Vec<_>>(), self.grid(cx, rows));
        cx.cost(self.turning(rows, DType::F32));
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        self.host_split(io, 0, |io, t, _, at, v| io.add(t, at, v));
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let n = io.inputs();
        let rope = self.kernel(io, n - 2, false);
        self.with_columns(io, n == 3, |[q, k, v]| {
            kernels::pair(io.pool(), &rope, (io.out(0), io.out(1)), q, k);
            kernels::copy(io.pool(), io.out(2), v);
        });
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        self.turning(io.desc(io.inputs() - 2).len(), DType::F32)
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let n = b.inputs();
        let (positions, inv_freq) = (b.input(n - 2), b.input(n - 1));
        let douts = [b.dout(0), b.dout(1), b.dout(2)];
        if n == 3 {
            if b.wants(0) {
                let mut inputs = vec![positions, inv_freq];
                inputs.extend(douts.iter().flatten());
                let dx = b.sink(0);
                b.emit(RopeBwd { same: *self, has: douts.map(|d| d.is_some()) }, &inputs, &[dx])?;
            }
            return Ok(());
        }
        for (i, heads) in [(0, self.heads), (1, self.kv_heads)] {
            if let Some(dy) = douts[i].filter(|_| b.wants(i)) {
                let dx = b.sink(i);
                let same = RopeSplit { heads, kv_heads: 0, by_head: false, ..*self };
                b.emit(RopeBwd { same, has: [true, false, false] }, &[positions, inv_freq, dy], &[dx])?;
            }
        }
        if let Some(dv) = douts[2].filter(|_| b.wants(2)) {
            b.alias(2, dv)?;
        }
        Ok(())
    }
}

/// Gradient of [`RopeSplit`] with respect to the fused projection; with `kv_heads` 0, to one tensor. Inputs: positions,
/// inv_freq, then those of dq, dk, dv that `has` names (a missing one is zero). Output: dx (M, (H+2·Hkv)·D).
struct RopeBwd {
    same: RopeSplit,
    has: [bool; 3],
}

impl Op for RopeBwd {
    fn name(&self) -> &'static str {
        "rope_bwd"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let RopeSplit { heads, kv_heads, dim, .. } = self.same;
        Ok(vec![Desc::f32(&[inputs[0].len(), (heads + 2 * kv_heads) * dim])])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let rows = cx.inputs[0].desc.len();
        let mut key = KernelKey::new("rope_bwd").flag("ACC", cx.acc[0]);
        for (name, has) in ["HAS_Q", "HAS_K", "HAS_V"].into_iter().zip(self.has) {
            key = key.flag(name, has);
        }
        let mut bufs: Vec<Buf> = (0..cx.inputs.len()).map(|i| cx.input(i)).collect();
        bufs.push(cx.output(0));
        cx.dispatch(key, &self.same.params(rows, 0), &bufs.iter().collect::<Vec<_>>(), self.same.grid(cx, rows));
        cx.cost(self.same.turning(rows, DType::F32));
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let s = &self.same;
        let (positions, inv_freq) = (io.input(0), io.input(1));
        let mut next = 2;
        let grads = self.has.map(|has| {
            next += usize::from(has);
            has.then(|| io.input(next - 1))
        });
        let get = |row: usize, head: usize, c: usize| {
            let (t, at) = s.place(row, head, c);
            grads[t].as_ref().map_or(0.0, |g| g[at])
        };
        let all = s.heads + 2 * s.kv_heads;
        s.turn(&positions, &inv_freq, -1.0, get, |row, head, c, v| io.add(0, (row * all + s.joint(head)) * s.dim + c, v));
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let s = &self.same;
        let mut next = 2;
        let widths = [s.heads, s.kv_heads, s.kv_heads].map(|n| n * s.dim);
        let parts = [0, 1, 2].map(|i| {
            next += usize::from(self.has[i]);
            (widths[i], self.has[i].then(|| io.f32(next - 1)))
        });
        let (rope, dx) = (s.kernel(io, 0, true), io.out(0));
        if s.by_head {
            scratch::with(dx.len(), |joint| {
                kernels::backward(io.pool(), &rope, joint, parts, false);
                s.reorder(dx, joint, true, io.acc(0));
            });
        } else {
            kernels::backward(io.pool(), &rope, dx, parts, io.acc(0));
        }
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        self.same.turning(io.desc(0).len(), DType::F32)
    }
}

/// As [`RopeSplit`], with keys and values written to a cache. Inputs: those of [`RopeSplit`], then slots (M) u32.
/// Outputs (by [`crate::graph::Tape::push_into`]): q (M, H·D), fresh; cache (2, S, Hkv·D) f32 or f16, changed in place: k at row `slots[m]` of
/// plane 0, v of plane 1. A slot outside the cache (`0xffffffff`) is not written. Not differentiable.
#[derive(Clone, Copy, Debug)]
pub struct RopeAppend {
    pub same: RopeSplit,
}

impl Op for RopeAppend {
    fn name(&self) -> &'static str {
        "rope_append"
    }

    fn infer(&self, _: &[&Desc]) -> Result<Vec<Desc>> {
        Err(Error::shape("rope_append", "writes into a cache: record it with push_into"))
    }

    fn infer_into(&self, inputs: &[&Desc], outputs: &[&Desc]) -> Result<Vec<Desc>> {
        self.checked("rope_append", inputs, outputs)
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let n = cx.inputs.len();
        let rows = cx.inputs[n - 3].desc.len();
        let Desc { shape, dtype } = &cx.outputs[1].desc;
        let (slots, dtype) = (shape[1], *dtype);
        let mut bufs = vec![cx.input(n - 3), cx.input(n - 2)];
        bufs.extend((0..n - 3).map(|i| cx.input(i)));
        bufs.extend([cx.input(n - 1), cx.output(0), cx.output(1)]);
        let key = kv::key(KernelKey::new("rope").flag("FUSED", n == 4).flag("CACHE", true), dtype);
        cx.dispatch(key, &self.same.params(rows, slots), &bufs.iter().collect::<Vec<_>>(), self.same.grid(cx, rows));
        cx.cost(self.same.turning(rows, dtype));
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        self.host_append(io, io.descs.len() - 1, |io, at, v| io.add(0, at, v));
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let slots = io.inputs() - 1;
        match io.out_desc(1).dtype {
            DType::F16 => self.cpu_append(io, slots, io.out(0), io.out_f16(1)),
            _ => self.cpu_append(io, slots, io.out(0), io.out(1)),
        }
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        self.same.turning(io.desc(io.inputs() - 3).len(), io.out_desc(1).dtype)
    }
}

/// For ops that append and go on: `slots` is the number of that input, those of [`RopeSplit`] come before it; the cache is output 1.
impl RopeAppend {
    /// As [`Op::infer_into`] of the op that is called `op`, whose inputs end in slots.
    pub(super) fn checked(&self, op: &str, inputs: &[&Desc], outputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (rows, _) = self.same.check(op, inputs, 1)?;
        let slots = inputs[inputs.len() - 1];
        if slots.len() != rows || slots.dtype != DType::U32 {
            return Err(Error::shape(op, format!("slots {:?}, expected ({rows}) u32", slots.shape)));
        }
        let width = self.same.kv_heads * self.same.dim;
        let Some(cache) = outputs.get(1) else {
            return Err(Error::shape(op, "writes rows and a cache: one of them is missing"));
        };
        kv::check(op, cache, width)?;
        if cache.len() > u32::MAX as usize {
            return Err(Error::shape(op, format!("a cache of {:?} is too large to index", cache.shape)));
        }
        Ok(vec![Desc::f32(&[rows, self.same.heads * self.same.dim]), (*cache).clone()])
    }

    /// The reference; `put_q(io, index, value)` gets the queries.
    pub(super) fn host_append(&self, io: &mut HostIo<'_>, slots: usize, mut put_q: impl FnMut(&mut HostIo<'_>, usize, f64)) {
        let (extra, slots) = (io.descs.len() - slots, io.input(slots));
        let (count, dtype) = (io.out_descs[1].shape[1], io.out_descs[1].dtype);
        let width = self.same.kv_heads * self.same.dim;
        self.same.host_split(io, extra, |io, t, row, at, v| {
            let slot = slots[row] as usize;
            match t {
                0 => put_q(io, at, v),
                t if slot < count => io.outputs[1][((t - 1) * count + slot) * width + at % width] = kv::kept(dtype, v),
                _ => {}
            }
        });
    }

    /// On the processor.
    pub(super) fn cpu_append<E: Stored>(&self, io: &CpuIo<'_>, slots: usize, q: &mut [f32], cache: &mut [E]) {
        let rope = self.same.kernel(io, slots - 2, false);
        self.same.with_columns(io, slots == 3, |[from_q, k, v]| {
            kernels::heads(io.pool(), &rope, q, from_q);
            kernels::append(io.pool(), &rope, cache, io.u32(slots), k, v);
        });
    }
}
