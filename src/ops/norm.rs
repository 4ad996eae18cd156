//! RMSNorm (Zhang & Sennrich 2019) and LayerNorm (Ba et al. 2016).

use super::{pieces, row_grid, serial_rows};
use crate::cpu::kernels::norm as kernels;
use crate::cpu::scratch;
use crate::gpu::{Buf, KernelKey};
use crate::graph::{Back, Cost, CpuIo, Desc, HostIo, Lower, Op};
use crate::{Error, Result};

/// `y = x / sqrt(mean(x²) + eps) · (offset + w)` over the last axis, or over groups of it (heads) as long as w. Inputs: x (…, G·C), w (C).
/// Outputs: y (…, G·C), r (groups), the reciprocal root the backward pass needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmsNorm {
    pub eps: f32,
    /// 0, or what the weights are told from (Gemma: 1).
    pub offset: f32,
}

impl RmsNorm {
    /// The usual one: no offset.
    pub fn new(eps: f32) -> Self {
        RmsNorm { eps, offset: 0.0 }
    }
}

/// The dispatch of [`RmsNorm`] for (rows, cols); buffers are x, w, y and r.
pub(super) fn rms(cx: &mut Lower<'_>, (rows, cols): (usize, usize), norm: RmsNorm, bufs: [&Buf; 4]) {
    let serial = serial_rows(cx.gpu());
    let key = KernelKey::new("rms_norm").flag("SERIAL", serial);
    // Long rows are few: more threads on each.
    let wide = !serial && cols >= 1024 && cx.caps().max_threads >= 256;
    let key = if wide { key.def("WG", 256) } else { key };
    let grid = row_grid(cx.gpu(), rows);
    cx.dispatch(key, &[rows as u32, cols as u32, norm.eps.to_bits(), norm.offset.to_bits()], &bufs, grid);
    cx.cost(rms_cost(rows * cols));
}

/// What [`RmsNorm`] of `n` values costs.
pub(super) fn rms_cost(n: usize) -> Cost {
    Cost { flops: 4.0 * n as f64, bytes: 8.0 * n as f64 }
}

/// What [`LayerNorm`] of `n` values costs.
fn layer_cost(n: usize) -> Cost {
    Cost { flops: 7.0 * n as f64, ..rms_cost(n) }
}

/// The host's [`RmsNorm`] of rows as long as `w`: calls `put(row, 1/root, normed row)`.
pub(super) fn host_rms(x: &[f64], w: &[f64], norm: RmsNorm, mut put: impl FnMut(usize, f64, Vec<f64>)) {
    for (row, x) in x.chunks(w.len()).enumerate() {
        let mean = x.iter().map(|v| v * v).sum::<f64>() / w.len() as f64;
        let r = 1.0 / (mean + f64::from(norm.eps)).sqrt();
        put(row, r, x.iter().zip(w).map(|(v, w)| v * r * (w + f64::from(norm.offset))).collect());
    }
}

impl Op for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (x, w) = (inputs[0], inputs[1]);
        if w.is_empty() || !x.cols().is_multiple_of(w.len()) {
            return Err(Error::shape("rms_norm", format!("weight {:?} for rows of {}", w.shape, x.cols())));
        }
        Ok(vec![x.clone(), Desc::f32(&[x.len() / w.len()])])
    }

    fn halves(&self, i: usize) -> bool {
        i == 0
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let cols = cx.inputs[1].desc.len();
        let rows = cx.inputs[0].desc.len() / cols;
        let bufs = [cx.input(0), cx.input(1), cx.output(0), cx.output(1)];
        rms(cx, (rows, cols), *self, bufs.each_ref());
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (x, w) = (io.input(0), io.input(1));
        let cols = w.len();
        host_rms(&x, &w, *self, |row, r, y| {
            y.iter().enumerate().for_each(|(i, v)| io.add(0, row * cols + i, *v));
            io.add(1, row, r);
        });
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::rms(io.pool(), io.out(0), io.out(1), io.f32(0), io.f32(1), (self.eps, self.offset));
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        rms_cost(io.desc(0).len())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        let (x, w, r) = (b.input(0), b.input(1), b.output(1));
        if b.wants(0) {
            let dx = b.sink(0);
            b.emit(RmsNormBwd { offset: self.offset }, &[x, w, r, dy], &[dx])?;
        }
        if b.wants(1) {
            let dw = b.sink(1);
            b.emit(NormDw { mean: false, heads: 1, bias: false }, &[x, r, dy], &[dw])?;
        }
        Ok(())
    }
}

/// Gradient of [`RmsNorm`] with respect to x. Inputs: x, w, r, dy. Output: dx.
struct RmsNormBwd {
    offset: f32,
}

impl Op for RmsNormBwd {
    fn name(&self) -> &'static str {
        "rms_norm_bwd"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let cols = cx.inputs[1].desc.len();
        let rows = cx.inputs[0].desc.len() / cols;
        let key = KernelKey::new("rms_norm_bwd").flag("SERIAL", serial_rows(cx.gpu())).flag("ACC", cx.acc[0]);
        let grid = row_grid(cx.gpu(), rows);
        let bufs = [&cx.input(0), &cx.input(1), &cx.input(2), &cx.input(3), &cx.output(0)];
        cx.dispatch(key, &[rows as u32, cols as u32, self.offset.to_bits()], &bufs, grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (x, w, r, dy) = (io.input(0), io.input(1), io.input(2), io.input(3));
        let cols = io.descs[1].len();
        let gain: Vec<f64> = w.iter().map(|w| w + f64::from(self.offset)).collect();
        for row in 0..io.descs[0].len() / cols {
            let at = row * cols;
            let dot: f64 = (0..cols).map(|i| dy[at + i] * gain[i] * x[at + i]).sum();
            let k = r[row].powi(3) * dot / cols as f64;
            for i in 0..cols {
                io.add(0, at + i, r[row] * dy[at + i] * gain[i] - x[at + i] * k);
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::rms_bwd(io.pool(), io.out(0), io.f32(0), (io.f32(1), self.offset), io.f32(2), io.f32(3), io.acc(0));
        Ok(())
    }
}

/// `y = (x − mean) / sqrt(var + eps) · w (+ b)` over the last axis, with the biased variance, or over each of `heads` equal parts of it, which have
/// weights of their own. Inputs: x (…, C), w (C), b (C) if any. Outputs: y (…, C), stats (rows·heads, 2): mean and reciprocal root.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    pub eps: f32,
    pub heads: usize,
}

impl LayerNorm {
    /// Over whole rows.
    pub fn new(eps: f32) -> Self {
        LayerNorm { eps, heads: 1 }
    }
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (x, w, bias) = (inputs[0], inputs[1], inputs.get(2));
        if w.len() != x.cols() || bias.is_some_and(|b| b.len() != x.cols()) {
            let bias = bias.map(|b| &b.shape);
            return Err(Error::shape("layer_norm", format!("weight {:?} and bias {bias:?} for rows of {}", w.shape, x.cols())));
        }
        if self.heads == 0 || !x.cols().is_multiple_of(self.heads) {
            return Err(Error::shape("layer_norm", format!("rows of {} in {} heads", x.cols(), self.heads)));
        }
        Ok(vec![x.clone(), Desc::f32(&[x.rows() * self.heads, 2])])
    }

    fn halves(&self, i: usize) -> bool {
        i == 0
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (rows, cols) = (cx.inputs[0].desc.rows() * self.heads, cx.inputs[0].desc.cols() / self.heads);
        let bias = cx.inputs.len() > 2;
        let key = KernelKey::new("layer_norm").flag("SERIAL", serial_rows(cx.gpu())).flag("BIAS", bias);
        let grid = row_grid(cx.gpu(), rows);
        let params = [rows as u32, cols as u32, self.eps.to_bits(), self.heads as u32];
        let mut bufs: Vec<Buf> = (0..cx.inputs.len()).map(|i| cx.input(i)).collect();
        bufs.extend([cx.output(0), cx.output(1)]);
        cx.dispatch(key, &params, &bufs.iter().collect::<Vec<_>>(), grid);
        cx.cost(layer_cost(rows * cols));
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (x, w) = (io.input(0), io.input(1));
        let bias = (io.descs.len() > 2).then(|| io.input(2));
        let cols = w.len() / self.heads;
        for (row, x) in x.chunks(cols).enumerate() {
            let own = row % self.heads * cols;
            let mean = x.iter().sum::<f64>() / cols as f64;
            let var = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / cols as f64;
            let r = 1.0 / (var + f64::from(self.eps)).sqrt();
            for (i, v) in x.iter().enumerate() {
                io.add(0, row * cols + i, (v - mean) * r * w[own + i] + bias.as_ref().map_or(0.0, |b| b[own + i]));
            }
            io.add(1, 2 * row, mean);
            io.add(1, 2 * row + 1, r);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let bias = (io.inputs() > 2).then(|| io.f32(2));
        kernels::layer(io.pool(), io.out(0), io.out(1), io.f32(0), (io.f32(1), bias), self.heads, self.eps);
        Ok(())
    }

    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        layer_cost(io.desc(0).len())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        let (x, w, stats) = (b.input(0), b.input(1), b.output(1));
        if b.wants(0) {
            let dx = b.sink(0);
            b.emit(LayerNormBwd { heads: self.heads }, &[x, w, stats, dy], &[dx])?;
        }
        let (heads, bias) = (self.heads, b.inputs() > 2);
        if !bias {
            if b.wants(1) {
                let dw = b.sink(1);
                b.emit(NormDw { mean: true, heads, bias }, &[x, stats, dy], &[dw])?;
            }
            return Ok(());
        }
        match (b.wants(1), b.wants(2)) {
            (false, false) => Ok(()),
            (dw, db) => {
                // One kernel makes both; what is not wanted goes to a temporary.
                let mut place = |wanted: bool, i: usize| {
                    if wanted {
                        return b.sink(i);
                    }
                    let d = b.desc(w);
                    (b.temp(d), true)
                };
                let (dw, db) = (place(dw, 1), place(db, 2));
                b.emit(NormDw { mean: true, heads, bias }, &[x, stats, dy], &[dw, db])
            }
        }
    }
}

/// Gradient of [`LayerNorm`] with respect to x. Inputs: x, w, stats, dy. Output: dx.
struct LayerNormBwd {
    heads: usize,
}

impl Op for LayerNormBwd {
    fn name(&self) -> &'static str {
        "layer_norm_bwd"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (rows, cols) = (cx.inputs[0].desc.rows() * self.heads, cx.inputs[0].desc.cols() / self.heads);
        let key = KernelKey::new("layer_norm_bwd").flag("SERIAL", serial_rows(cx.gpu())).flag("ACC", cx.acc[0]);
        let grid = row_grid(cx.gpu(), rows);
        let bufs = [&cx.input(0), &cx.input(1), &cx.input(2), &cx.input(3), &cx.output(0)];
        cx.dispatch(key, &[rows as u32, cols as u32, self.heads as u32], &bufs, grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (x, w, stats, dy) = (io.input(0), io.input(1), io.input(2), io.input(3));
        let cols = w.len() / self.heads;
        for row in 0..x.len() / cols {
            let (at, mean, r) = (row * cols, stats[2 * row], stats[2 * row + 1]);
            let own = row % self.heads * cols;
            let g: Vec<f64> = (0..cols).map(|i| dy[at + i] * w[own + i]).collect();
            let a = g.iter().sum::<f64>() / cols as f64;
            let b = (0..cols).map(|i| g[i] * (x[at + i] - mean) * r).sum::<f64>() / cols as f64;
            for i in 0..cols {
                io.add(0, at + i, r * (g[i] - a - (x[at + i] - mean) * r * b));
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::layer_bwd(io.pool(), io.out(0), io.f32(0), (io.f32(1), self.heads), io.f32(2), io.f32(3), io.acc(0));
        Ok(())
    }
}

/// Gradient of a norm's weight (and bias). Inputs: x, stats, dy. Outputs: dw, and db with `bias`.
struct NormDw {
    mean: bool,
    /// Parts of a row that have statistics of their own.
    heads: usize,
    bias: bool,
}

impl Op for NormDw {
    fn name(&self) -> &'static str {
        "norm_dw"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let groups = inputs[1].len() / if self.mean { 2 } else { 1 } / self.heads;
        let c = Desc::f32(&[inputs[0].len() / groups.max(1)]);
        Ok(if self.bias { vec![c.clone(), c] } else { vec![c] })
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let rows = cx.inputs[1].desc.len() / if self.mean { 2 } else { 1 } / self.heads;
        let cols = cx.inputs[0].desc.len() / rows.max(1);
        let grid = cx.gpu().grid(cols, 64);
        let mut bufs = vec![cx.input(0), cx.input(1), cx.input(2), cx.output(0)];
        if self.bias {
            bufs.push(cx.output(1));
        }
        for (first, end) in pieces(rows, 1) {
            let key = KernelKey::new("norm_dw").flag("MEAN", self.mean).flag("BIAS", self.bias).flag("ACC", cx.acc[0] || first > 0);
            cx.dispatch(key, &[end, cols, first, self.heads].map(|v| v as u32), &bufs.iter().collect::<Vec<_>>(), grid);
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (x, stats, dy) = (io.input(0), io.input(1), io.input(2));
        let rows = stats.len() / if self.mean { 2 } else { 1 } / self.heads;
        let cols = x.len() / rows.max(1);
        for row in 0..rows {
            for i in 0..cols {
                let at = row * self.heads + i / (cols / self.heads);
                let (mean, r) = if self.mean { (stats[2 * at], stats[2 * at + 1]) } else { (0.0, stats[at]) };
                let g = dy[row * cols + i];
                io.add(0, i, g * (x[row * cols + i] - mean) * r);
                if self.bias {
                    io.add(1, i, g);
                }
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (x, stats, dy) = (io.f32(0), io.f32(1), io.f32(2));
        if self.bias {
            kernels::dw_db(io.pool(), (io.out(0), io.acc(0)), (io.out(1), io.acc(1)), x, stats, dy, self.heads);
        } else if self.mean {
            let dw = (io.out(0), io.acc(0));
            scratch::with(dw.0.len(), |db| kernels::dw_db(io.pool(), dw, (db, false), x, stats, dy, self.heads));
        } else {
            kernels::dw(io.pool(), io.out(0), io.acc(0), x, stats, dy);
        }
        Ok(())
    }
}
