//! RMSNorm (Zhang & Sennrich 2019) and LayerNorm (Ba et al. 2016).

use super::{row_grid, serial_rows};
use crate::gpu::KernelKey;
use crate::graph::{Back, Desc, HostIo, Lower, Op};
use crate::{Error, Result};

/// `y = x / sqrt(mean(x²) + eps) · w` over the last axis. Inputs: x (…, C), w (C). Outputs: y (…, C), r (rows), the
/// reciprocal root the backward pass needs.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    pub eps: f32,
}

impl Op for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (x, w) = (inputs[0], inputs[1]);
        if w.len() != x.cols() {
            return Err(Error::shape("rms_norm", format!("weight {:?} for rows of {}", w.shape, x.cols())));
        }
        Ok(vec![x.clone(), Desc::f32(&[x.rows()])])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (rows, cols) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols());
        let key = KernelKey::new("rms_norm").flag("SERIAL", serial_rows(cx.gpu()));
        let grid = row_grid(cx.gpu(), rows);
        let params = [rows as u32, cols as u32, self.eps.to_bits()];
        cx.dispatch(key, &params, &[&cx.input(0), &cx.input(1), &cx.output(0), &cx.output(1)], grid);
        cx.cost(4.0 * (rows * cols) as f64, 8.0 * (rows * cols) as f64);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (x, w) = (io.input(0), io.input(1));
        let cols = io.descs[0].cols();
        for (row, x) in x.chunks(cols).enumerate() {
            let mean = x.iter().map(|v| v * v).sum::<f64>() / cols as f64;
            let r = 1.0 / (mean + f64::from(self.eps)).sqrt();
            for (i, v) in x.iter().enumerate() {
                io.add(0, row * cols + i, v * r * w[i]);
            }
            io.add(1, row, r);
        }
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dy) = b.dout(0) else { return Ok(()) };
        let (x, w, r) = (b.input(0), b.input(1), b.output(1));
        if b.wants(0) {
            let dx = b.sink(0);
            b.emit(RmsNormBwd, &[x, w, r, dy], &[dx])?;
        }
        if b.wants(1) {
            let dw = b.sink(1);
            b.emit(NormDw { mean: false }, &[x, r, dy], &[dw])?;
        }
        Ok(())
    }
}

/// Gradient of [`RmsNorm`] with respect to x. Inputs: x, w, r, dy. Output: dx.
struct RmsNormBwd;

impl Op for RmsNormBwd {
    fn name(&self) -> &'static str {
        "rms_norm_bwd"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (rows, cols) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols());
        let key = KernelKey::new("rms_norm_bwd").flag("SERIAL", serial_rows(cx.gpu())).flag("ACC", cx.acc[0]);
        let grid = row_grid(cx.gpu(), rows);
        let bufs = [&cx.input(0), &cx.input(1), &cx.input(2), &cx.input(3), &cx.output(0)];
        cx.dispatch(key, &[rows as u32, cols as u32], &bufs, grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (x, w, r, dy) = (io.input(0), io.input(1), io.input(2), io.input(3));
        let cols = io.descs[0].cols();
        for row in 0..io.descs[0].rows() {
            let at = row * cols;
            let dot: f64 = (0..cols).map(|i| dy[at + i] * w[i] * x[at + i]).sum();
            let k = r[row].powi(3) * dot / cols as f64;
            for i in 0..cols {
                io.add(0, at + i, r[row] * dy[at + i] * w[i] - x[at + i] * k);
            }
        }
        Ok(())
    }
}

/// Gradient of a norm's weight (and bias). Inputs: x, stats, dy. Outputs: dw, and db with `mean`.
struct NormDw {
    mean: bool,
}

impl Op for NormDw {
    fn name(&self) -> &'static str {
        "norm_dw"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let c = Desc::f32(&[inputs[0].cols()]);
        Ok(if self.mean { vec![c.clone(), c] } else { vec![c] })
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (rows, cols) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols());
        let key = KernelKey::new("norm_dw").flag("MEAN", self.mean).flag("ACC", cx.acc[0]);
        let grid = cx.gpu().grid(cols, 64);
        let mut bufs = vec![cx.input(0), cx.input(1), cx.input(2), cx.output(0)];
        if self.mean {
            bufs.push(cx.output(1));
        }
        cx.dispatch(key, &[rows as u32, cols as u32], &bufs.iter().collect::<Vec<_>>(), grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (x, stats, dy) = (io.input(0), io.input(1), io.input(2));
        let cols = io.descs[0].cols();
        for row in 0..io.descs[0].rows() {
            let (mean, r) = if self.mean { (stats[2 * row], stats[2 * row + 1]) } else { (0.0, stats[row]) };
            for i in 0..cols {
                let g = dy[row * cols + i];
                io.add(0, i, g * (x[row * cols + i] - mean) * r);
                if self.mean {
                    io.add(1, i, g);
                }
            }
        }
        Ok(())
    }
}
