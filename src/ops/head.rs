//! The vocabulary head fused with the log-probability of the targets, in chunks of rows: logits are the largest activation
//! of a language model (rows × vocabulary) and are never kept.

use super::linear::select::{self, Extras};
use super::{row_grid, serial_rows};
use crate::cpu::kernels::{Packed, gemm, head};
use crate::cpu::{Pool, scratch};
use crate::gpu::{Buf, KernelKey};
use crate::graph::{Back, Cost, CpuIo, Desc, Exec, HostIo, Lower, Op};
use crate::{Error, Result};

/// Bytes of logits held at a time, about.
const LOGITS_BYTES: usize = 32 << 20;
/// The same on a real GPU: a chunk's gradient is a sum over the whole vocabulary for its rows, and few rows are too little work for one.
const LOGITS_BYTES_GPU: u64 = 128 << 20;

/// `logp[r] = log softmax(h·Wᵀ)[r, target_r]`. Inputs: h (R, C), W (V, C) of any type, targets (R) u32 (0xffffffff = ignored:
/// logp 0, no gradient). Outputs: logp (R); with `saved`, `∂logp[r]/∂h[r]` (R, C); with `spread`, the entropy of each row's distribution and
/// ln Σ p² (R, 2), both 0 for an ignored target and without a gradient.
///
/// The gradient of a row's log-probability is computed while its logits are at hand; the backward pass only scales it, whatever
/// the loss turns out to be (in DPO it is not known before all sequences are scored). `saved` is for a frozen W; with a
/// trainable W leave it off: the backward pass then computes the logits again, chunk by chunk.
#[derive(Clone, Debug)]
pub struct LinearLogps {
    pub saved: bool,
    pub spread: bool,
    /// Logits become cap·tanh(logit / cap) (Gemma 2).
    pub cap: Option<f32>,
    /// ε of label smoothing: logp is (1 − ε)·logp + ε·(mean over the vocabulary of log p), and so is its gradient.
    pub smoothing: f32,
    /// Bytes of logits to hold at a time, about.
    logits: usize,
}

impl LinearLogps {
    pub fn new(saved: bool) -> Self {
        LinearLogps { saved, spread: false, cap: None, smoothing: 0.0, logits: LOGITS_BYTES }
    }

    /// With as many logits at a time as suit a device.
    pub fn on(exec: &Exec, saved: bool) -> Self {
        let logits = if exec.is_processor() { LOGITS_BYTES } else { LOGITS_BYTES_GPU.min(exec.max_binding()) as usize };
        LinearLogps { saved, spread: false, cap: None, smoothing: 0.0, logits }
    }

    /// With entropies.
    pub fn spread(self, spread: bool) -> Self {
        LinearLogps { spread, ..self }
    }

    /// With capped logits.
    pub fn capped(self, cap: Option<f32>) -> Self {
        LinearLogps { cap, ..self }
    }

    /// With smoothed labels.
    pub fn smoothed(self, smoothing: f32) -> Self {
        LinearLogps { smoothing, ..self }
    }
}

/// Rows of a chunk: a multiple of 64, so that ranges of buffers are aligned.
fn chunk_rows(rows: usize, vocab: usize, bytes: usize) -> usize {
    (bytes / 4 / vocab.max(1) / 64 * 64).max(64).min(rows)
}

/// Logits of rows of h on the processor, a chunk at a time: `each(first row, logits)`.
fn in_chunks(pool: &Pool, h: &[f32], w: Packed<'_>, mut each: impl FnMut(usize, &mut [f32])) {
    let (c, v) = (w.cols, w.rows);
    let total = h.len().checked_div(c).unwrap_or(0);
    let step = chunk_rows(total, v, LOGITS_BYTES).max(1);
    scratch::with(step * v, |logits| {
        for first in (0..total).step_by(step) {
            let n = step.min(total - first);
            gemm::forward(pool, n, &h[first * c..], w, &mut logits[..n * v], (0, v));
            each(first, &mut logits[..n * v]);
        }
    });
}

/// What so many products between the rows of h (input 0) and W (input 1) cost; each chunk reads W anew.
fn chunks_cost(io: &CpuIo<'_>, products: usize) -> Cost {
    let (h, w) = (io.desc(0), io.desc(1));
    let chunks = h.rows().div_ceil(chunk_rows(h.rows(), w.rows(), LOGITS_BYTES).max(1));
    select::product([h.rows(), w.rows(), h.cols()], chunks as u64 * w.file_bytes()) * products as f64
}

fn rows_of(buf: &Buf, first: usize, rows: usize, cols: usize) -> Buf {
    buf.range((first * cols * 4) as u64, (rows * cols * 4) as u64)
}

impl Op for LinearLogps {
    fn name(&self) -> &'static str {
        "linear_logps"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (h, w, t) = (inputs[0], inputs[1], inputs[2]);
        select::check_weight("linear_logps", h, w)?;
        if t.len() != h.rows() {
            return Err(Error::shape("linear_logps", format!("{} targets for {} rows", t.len(), h.rows())));
        }
        let mut out = vec![Desc::f32(&[h.rows()])];
        out.extend(self.saved.then(|| Desc::f32(&[h.rows(), h.cols()])));
        out.extend(self.spread.then(|| Desc::f32(&[h.rows(), 2])));
        Ok(out)
    }

    fn scratch(&self, inputs: &[&Desc], _outputs: &[&Desc]) -> Vec<Desc> {
        let v = inputs[1].shape[0];
        vec![Desc::f32(&[chunk_rows(inputs[0].rows(), v, self.logits), v])]
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (h, w, t, logp, logits) = (cx.input(0), cx.inputs[1].clone(), cx.input(2), cx.output(0), cx.temp(0));
        let (rows, c, v) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols(), w.desc.shape[0]);
        let step = chunk_rows(rows, v, self.logits);
        let key = KernelKey::new("logps")
            .flag("SERIAL", serial_rows(cx.gpu()))
            .flag("GRAD", self.saved)
            .flag("SPREAD", self.spread)
            .flag("CAP", self.cap.is_some())
            .flag("SMOOTH", self.smoothing != 0.0);
        let spread = self.spread.then(|| cx.output(1 + usize::from(self.saved)));
        for first in (0..rows).step_by(step.max(1)) {
            let n = step.min(rows - first);
            select::forward(cx, n, &rows_of(&h, first, n, c), &w, &logits, &Extras::default())?;
            let grid = row_grid(cx.gpu(), n);
            let mut bufs = vec![rows_of(&t, first, n, 1), rows_of(&logp, first, n, 1)];
            bufs.extend(spread.as_ref().map(|s| rows_of(s, first, n, 2)));
            bufs.push(logits.clone());
            let params = [n as u32, v as u32, self.cap.unwrap_or(0.0).to_bits(), self.smoothing.to_bits()];
            cx.dispatch(key.clone(), &params, &bufs.iter().collect::<Vec<_>>(), grid);
            if self.saved {
                let dh = rows_of(&cx.output(1), first, n, c);
                select::dx(cx, n, &logits, &w, &dh, false, None)?;
            }
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (h, w, t) = (io.input(0), io.input(1), io.input(2));
        let (c, v) = (io.descs[0].cols(), io.descs[1].shape[0]);
        for r in 0..io.descs[0].rows() {
            let Some((logp, dz, spread)) = row(&h[r * c..(r + 1) * c], &w, v, t[r], (self.cap, self.smoothing)) else { continue };
            io.add(0, r, logp);
            if self.spread {
                let at = 1 + usize::from(self.saved);
                spread.into_iter().enumerate().for_each(|(i, s)| io.add(at, 2 * r + i, s));
            }
            if self.saved {
                for (j, d) in dz.iter().enumerate() {
                    for i in 0..c {
                        io.add(1, r * c + i, d * w[j * c + i]);
                    }
                }
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (h, w, targets, logp) = (io.f32(0), io.weight(1), io.u32(2), io.out(0));
        let mut dh = self.saved.then(|| io.out(1));
        let mut spread = self.spread.then(|| io.out(1 + usize::from(self.saved)));
        let c = w.cols;
        in_chunks(io.pool(), h, w, |first, logits| {
            let n = logits.len() / w.rows;
            let grad = self.saved.then_some(&[][..]);
            if let Some(spread) = &mut spread {
                head::spread(io.pool(), logits, &targets[first..first + n], &mut spread[2 * first..2 * (first + n)], self.cap);
            }
            let how = (self.cap, self.smoothing);
            head::logps(io.pool(), logits, &targets[first..first + n], Some(&mut logp[first..first + n]), grad, how);
            if let Some(dh) = &mut dh {
                gemm::dx(io.pool(), n, logits, w, &mut dh[first * c..(first + n) * c], false);
            }
        });
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        chunks_cost(io, 1 + usize::from(self.saved))
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dlogp) = b.dout(0) else { return Ok(()) };
        let (h, w, t) = (b.input(0), b.input(1), b.input(2));
        if self.saved {
            if b.wants(1) {
                return Err(Error::shape("linear_logps", "the head is trainable: record it with saved = false"));
            }
            let saved = b.output(1);
            let dh = b.sink(0);
            return b.emit(RowScale, &[saved, dlogp], &[dh]);
        }
        let dh = if b.wants(0) {
            b.sink(0)
        } else {
            let d = b.desc(h);
            (b.temp(d), false)
        };
        if b.wants(1) {
            let dw = b.sink(1);
            b.emit(LinearLogpsBwd { dw: true, head: self.clone() }, &[h, w, t, dlogp], &[dh, dw])
        } else {
            b.emit(LinearLogpsBwd { dw: false, head: self.clone() }, &[h, w, t, dlogp], &[dh])
        }
    }
}

/// logp, its gradient with respect to the logits, and entropy and ln Σ p², for one row; `None` for an ignored target.
fn row(h: &[f64], w: &[f64], v: usize, target: f64, (cap, smoothing): (Option<f32>, f32)) -> Option<(f64, Vec<f64>, [f64; 2])> {
    if target >= v as f64 {
        return None;
    }
    let c = h.len();
    let capped = |z: f64| cap.map_or(z, |cap| f64::from(cap) * (z / f64::from(cap)).tanh());
    let slope = |z: f64| cap.map_or(1.0, |cap| 1.0 - (z / f64::from(cap)).powi(2));
    let z: Vec<f64> = (0..v).map(|j| capped((0..c).map(|i| h[i] * w[j * c + i]).sum())).collect();
    let top = z.iter().fold(f64::NEG_INFINITY, |m: f64, x| m.max(*x));
    let sum: f64 = z.iter().map(|x| (x - top).exp()).sum();
    let lse = top + sum.ln();
    let logp = smoothed(&z, z[target as usize] - lse, lse, smoothing);
    let dz = z.iter().enumerate().map(|(j, x)| (hot(j, target as usize, v, smoothing) - (x - top).exp() / sum) * slope(*x)).collect();
    Some((logp, dz, spread(&z)))
}

/// A log-probability with label smoothing, in f64.
pub(super) fn smoothed(z: &[f64], logp: f64, lse: f64, smoothing: f32) -> f64 {
    let e = f64::from(smoothing);
    (1.0 - e) * logp + e * (z.iter().sum::<f64>() / z.len() as f64 - lse)
}

/// What the target's distribution has at place `j` of `v`.
pub(super) fn hot(j: usize, target: usize, v: usize, smoothing: f32) -> f64 {
    let e = f64::from(smoothing);
    (1.0 - e) * f64::from(u8::from(j == target)) + e / v as f64
}

/// Entropy and ln Σ p² of softmax(z), in f64.
pub(super) fn spread(z: &[f64]) -> [f64; 2] {
    let top = z.iter().fold(f64::NEG_INFINITY, |m: f64, x| m.max(*x));
    let log_sum = z.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
    let logp = || z.iter().map(|x| x - top - log_sum);
    [-logp().map(|l| l.exp() * l).sum::<f64>(), logp().map(|l| (2.0 * l).exp()).sum::<f64>().ln()]
}

/// Backward of [`LinearLogps`] with the logits computed again. Inputs: h, W, targets, dlogp. Outputs: dh, and dW with `dw`.
struct LinearLogpsBwd {
    dw: bool,
    head: LinearLogps,
}

impl Op for LinearLogpsBwd {
    fn name(&self) -> &'static str {
        "linear_logps_bwd"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let dh = inputs[0].clone();
        Ok(if self.dw { vec![dh, Desc::f32(&inputs[1].shape)] } else { vec![dh] })
    }

    fn scratch(&self, inputs: &[&Desc], outputs: &[&Desc]) -> Vec<Desc> {
        self.head.scratch(inputs, outputs)
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (h, w, t, dlogp, logits) = (cx.input(0), cx.inputs[1].clone(), cx.input(2), cx.input(3), cx.temp(0));
        let (rows, c, v) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols(), w.desc.shape[0]);
        let (dh, acc) = (cx.output(0), cx.acc.clone());
        let LinearLogps { cap, smoothing, .. } = self.head;
        let step = chunk_rows(rows, v, self.head.logits);
        let key = KernelKey::new("logps")
            .flag("SERIAL", serial_rows(cx.gpu()))
            .flag("GRAD", true)
            .flag("SCALED", true)
            .flag("CAP", cap.is_some())
            .flag("SMOOTH", smoothing != 0.0);
        for first in (0..rows).step_by(step.max(1)) {
            let n = step.min(rows - first);
            let hr = rows_of(&h, first, n, c);
            select::forward(cx, n, &hr, &w, &logits, &Extras::default())?;
            let grid = row_grid(cx.gpu(), n);
            let bufs = [&rows_of(&t, first, n, 1), &rows_of(&dlogp, first, n, 1), &logits];
            cx.dispatch(key.clone(), &[n as u32, v as u32, cap.unwrap_or(0.0).to_bits(), smoothing.to_bits()], &bufs, grid);
            select::dx(cx, n, &logits, &w, &rows_of(&dh, first, n, c), acc[0], None)?;
            if self.dw {
                let dw = cx.output(1);
                select::dw(cx, [n, v, c], &logits, &hr, &dw, acc[1] || first > 0);
            }
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (h, w, t, dlogp) = (io.input(0), io.input(1), io.input(2), io.input(3));
        let (c, v) = (io.descs[0].cols(), io.descs[1].shape[0]);
        for r in 0..io.descs[0].rows() {
            let Some((_, dz, _)) = row(&h[r * c..(r + 1) * c], &w, v, t[r], (self.head.cap, self.head.smoothing)) else { continue };
            for (j, d) in dz.iter().enumerate() {
                for i in 0..c {
                    io.add(0, r * c + i, dlogp[r] * d * w[j * c + i]);
                    if self.dw {
                        io.add(1, j * c + i, dlogp[r] * d * h[r * c + i]);
                    }
                }
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (h, w, targets, dlogp, dh) = (io.f32(0), io.weight(1), io.u32(2), io.f32(3), io.out(0));
        let mut dw = self.dw.then(|| io.out(1));
        let c = w.cols;
        in_chunks(io.pool(), h, w, |first, logits| {
            let n = logits.len() / w.rows;
            let how = (self.head.cap, self.head.smoothing);
            head::logps(io.pool(), logits, &targets[first..first + n], None, Some(&dlogp[first..first + n]), how);
            gemm::dx(io.pool(), n, logits, w, &mut dh[first * c..(first + n) * c], io.acc(0));
            if let Some(dw) = &mut dw {
                gemm::dw(io.pool(), [n, w.rows, c], logits, &h[first * c..(first + n) * c], dw, io.acc(1) || first > 0);
            }
        });
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        chunks_cost(io, 2 + usize::from(self.dw))
    }
}

/// `y[r, :] = s[r]·x[r, :]`. Inputs: x (R, C), s (R).
struct RowScale;

impl Op for RowScale {
    fn name(&self) -> &'static str {
        "row_scale"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let d = &cx.inputs[0].desc;
        let (rows, cols) = (d.rows(), d.cols());
        let grid = cx.gpu().grid(rows * cols, 64);
        let key = KernelKey::new("row_scale").flag("ACC", cx.acc[0]);
        cx.dispatch(key, &[rows as u32, cols as u32], &[&cx.input(0), &cx.input(1), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (x, s) = (io.input(0), io.input(1));
        let cols = io.descs[0].cols();
        for (i, v) in x.iter().enumerate() {
            io.add(0, i, v * s[i / cols]);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (x, s, add, cols) = (io.f32(0), io.f32(1), io.acc(0), io.desc(0).cols());
        io.pool().rows(io.out(0), cols, 32, |first, y| {
            for ((y, x), s) in y.chunks_exact_mut(cols).zip(x[first * cols..].chunks_exact(cols)).zip(&s[first..]) {
                y.iter_mut().zip(x).for_each(|(y, x)| *y = if add { *y + s * x } else { s * x });
            }
        });
        Ok(())
    }
}
