//! Log-probabilities and cross-entropy from logits.

use crate::cpu::kernels::loss as kernels;
use crate::gpu::{Buf, KernelKey};
use crate::graph::{Back, CpuIo, Desc, HostIo, Lower, Op};
use crate::ops::elementwise::{Units, units};
use crate::ops::{head, pieces, row_grid, serial_rows};
use crate::tensor::DType;
use crate::{Error, Result};

fn check_targets(op: &str, inputs: &[&Desc]) -> Result<()> {
    let (z, t) = (inputs[0], inputs[1]);
    if t.dtype != DType::U32 || t.len() != z.rows() {
        return Err(Error::shape(op, format!("targets {t:?} for logits {:?}", z.shape)));
    }
    Ok(())
}

/// `logp[r] = log softmax(logits[r])[target_r]`. Inputs: logits (R, V), targets (R) u32 ([`super::IGNORE`]: logp 0, no gradient). Outputs: logp
/// (R) and lse (R) = log Σ exp, saved for the backward pass and without a gradient of its own; with `spread`, the entropy of each row's
/// distribution and ln Σ p² (R, 2), without a gradient. [`crate::ops::head::LinearLogps`] does the same without the logits of all rows at once.
/// `smoothing` ε: logp is (1 − ε)·logp + ε·(mean over the vocabulary of log p), as label smoothing wants it.
#[derive(Clone, Copy, Debug, Default)]
pub struct GatherLogps {
    pub spread: bool,
    pub smoothing: f32,
}

/// Dispatches log-probabilities, lse and maybe entropies of all rows.
fn lower_logps(cx: &mut Lower<'_>, logp: &Buf, lse: &Buf, spread: Option<&Buf>, smoothing: f32) {
    let (rows, cols) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols());
    let key = KernelKey::new("logps").flag("SERIAL", serial_rows(cx.gpu())).flag("LSE", true).flag("SPREAD", spread.is_some());
    let key = key.flag("SMOOTH", smoothing != 0.0);
    let grid = row_grid(cx.gpu(), rows);
    let (targets, z) = (cx.input(1), cx.input(0));
    let bufs: Vec<&Buf> = [&targets, logp, lse].into_iter().chain(spread).chain([&z]).collect();
    cx.dispatch(key, &[rows as u32, cols as u32, 0, smoothing.to_bits()], &bufs, grid);
}

/// (logp, lse) of a row on the host; logp 0 where the target is no column.
fn logp_host(z: &[f64], target: f64) -> (f64, f64) {
    let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lse = top + z.iter().map(|v| (v - top).exp()).sum::<f64>().ln();
    (z.get(target as usize).map_or(0.0, |v| v - lse), lse)
}

impl Op for GatherLogps {
    fn name(&self) -> &'static str {
        "gather_logps"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        check_targets("gather_logps", inputs)?;
        let mut out = vec![Desc::f32(&[inputs[0].rows()]); 2];
        out.extend(self.spread.then(|| Desc::f32(&[inputs[0].rows(), 2])));
        Ok(out)
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (logp, lse, spread) = (cx.output(0), cx.output(1), self.spread.then(|| cx.output(2)));
        lower_logps(cx, &logp, &lse, spread.as_ref(), self.smoothing);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (z, t) = (io.input(0), io.input(1));
        for (row, z) in z.chunks(io.descs[0].cols()).enumerate() {
            let (logp, lse) = logp_host(z, t[row]);
            let used = self.smoothing != 0.0 && (t[row] as usize) < z.len();
            io.add(0, row, if used { head::smoothed(z, logp, lse, self.smoothing) } else { logp });
            io.add(1, row, lse);
            if self.spread && (t[row] as usize) < z.len() {
                head::spread(z).into_iter().enumerate().for_each(|(i, s)| io.add(2, 2 * row + i, s));
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (z, cols) = (io.f32(0), io.desc(0).cols());
        if self.spread {
            crate::cpu::kernels::head::spread(io.pool(), z, io.u32(1), io.out(2), None);
        }
        let (logp, lse) = (io.out(0), io.out(1));
        kernels::lse(io.pool(), lse, z, cols);
        for (((logp, lse), target), z) in logp.iter_mut().zip(lse).zip(io.u32(1)).zip(z.chunks(cols)) {
            *logp = kernels::smoothed(z, *target, *lse, self.smoothing);
        }
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dlogp) = b.dout(0) else { return Ok(()) };
        let ins = [b.input(0), b.input(1), b.output(1), dlogp];
        let dz = b.sink(0);
        b.emit(GatherLogpsBwd { smoothing: self.smoothing }, &ins, &[dz])
    }
}

/// Cross-entropy with a weight per row: `loss = Σ −w·log softmax(logits)[target]`. Inputs: logits (R, V), targets (R) u32 ([`super::IGNORE`] does
/// not count), weights (R), which carry no gradient: 1/count for the mean. Outputs: loss (1) and lse (R), saved.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy;

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        check_targets("cross_entropy", inputs)?;
        if inputs[2].len() != inputs[0].rows() {
            return Err(Error::shape("cross_entropy", format!("weights {:?} for logits {:?}", inputs[2].shape, inputs[0].shape)));
        }
        Ok(vec![Desc::f32(&[1]), Desc::f32(&[inputs[0].rows()])])
    }

    fn scratch(&self, inputs: &[&Desc], _outputs: &[&Desc]) -> Vec<Desc> {
        vec![Desc::f32(&[inputs[0].rows()])]
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (logp, lse) = (cx.temp(0), cx.output(1));
        lower_logps(cx, &logp, &lse, None, 0.0);
        let key = KernelKey::new("cross_entropy").flag("SERIAL", serial_rows(cx.gpu()));
        for (first, end) in pieces(cx.inputs[0].desc.rows(), 1) {
            cx.dispatch(key.clone(), &[end as u32, first as u32], &[&logp, &cx.input(2), &cx.output(0)], [1, 1, 1]);
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (z, t, w) = (io.input(0), io.input(1), io.input(2));
        for (row, z) in z.chunks(io.descs[0].cols()).enumerate() {
            let (logp, lse) = logp_host(z, t[row]);
            if w[row] != 0.0 {
                io.add(0, 0, -w[row] * logp);
            }
            io.add(1, row, lse);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (z, cols) = (io.f32(0), io.desc(0).cols());
        let lse = io.out(1);
        kernels::lse(io.pool(), lse, z, cols);
        let rows = lse.iter().zip(io.u32(1)).zip(io.f32(2)).zip(z.chunks(cols));
        let of = |w: f32, logp: f32| if w == 0.0 { 0.0 } else { -f64::from(w) * f64::from(logp) };
        io.out(0)[0] = rows.map(|(((lse, target), w), z)| of(*w, kernels::logp(z, *target, *lse))).sum::<f64>() as f32;
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        let Some(dloss) = b.dout(0) else { return Ok(()) };
        let ins = [b.input(0), b.input(1), b.output(1), b.input(2), dloss];
        let dz = b.sink(0);
        b.emit(GatherLogpsBwd { smoothing: 0.0 }, &ins, &[dz])
    }
}

/// `dz = g·(hot − softmax)`, hot = onehot, smoothed. Inputs: logits, targets, lse, and either dlogp, or weights and dloss.
struct GatherLogpsBwd {
    smoothing: f32,
}

impl Op for GatherLogpsBwd {
    fn name(&self) -> &'static str {
        "gather_logps_bwd"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let cols = cx.inputs[0].desc.cols();
        let Units { vec, n, grid } = units(cx.gpu(), cx.inputs[0].desc.len(), cols);
        let key = KernelKey::new("gather_logps_bwd").flag("VEC", vec).flag("ACC", cx.acc[0]).flag("WEIGHTED", cx.inputs.len() == 5);
        let mut bufs: Vec<Buf> = (0..cx.inputs.len()).map(|i| cx.input(i)).collect();
        bufs.push(cx.output(0));
        let params = [n, cols as u32 / if vec { 4 } else { 1 }, self.smoothing.to_bits()];
        cx.dispatch(key, &params, &bufs.iter().collect::<Vec<_>>(), grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (z, t, lse, last) = (io.input(0), io.input(1), io.input(2), io.input(io.inputs.len() - 1));
        let weights = (io.inputs.len() == 5).then(|| io.input(3));
        let cols = io.descs[0].cols();
        for (row, z) in z.chunks(cols).enumerate() {
            let target = t[row] as usize;
            let g = weights.as_ref().map_or_else(|| last[row], |w| -last[0] * w[row]);
            if target < cols && g != 0.0 {
                for (i, v) in z.iter().enumerate() {
                    let hot = head::hot(i, target, cols, self.smoothing);
                    io.add(0, row * cols + i, g * (hot - (v - lse[row]).exp()));
                }
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (last, lse) = (io.f32(io.inputs() - 1), io.f32(2));
        let weights = (io.inputs() == 5).then(|| io.f32(3));
        let g = |row: usize| weights.map_or_else(|| last[row], |w| -last[0] * w[row]);
        let judged = kernels::Judged { targets: io.u32(1), lse, smoothing: self.smoothing };
        kernels::logps_bwd(io.pool(), io.out(0), io.f32(0), judged, g, io.acc(0));
        Ok(())
    }
}
