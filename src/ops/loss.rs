//! Losses. [`SftLoss`] and [`DpoLoss`] work on per-token log-probabilities and give their metrics together with the gradient that
//! [`crate::graph::Tape::backward`] is seeded with; [`CrossEntropy`] and [`GatherLogps`] work on logits.

use super::elementwise::{Units, units};
use super::{pieces, row_grid, serial_rows};
use crate::cpu::kernels::loss as kernels;
use crate::gpu::{Buf, KernelKey};
use crate::graph::{Back, CpuIo, Desc, HostIo, Lower, Op};
use crate::tensor::DType;
use crate::{Error, Result};

/// A row without a target, or of no sequence.
pub const IGNORE: u32 = u32::MAX;

/// Words of a loss's metrics (per batch for [`SftLoss`], per pair for [`DpoLoss`]).
pub const METRICS: usize = 8;

/// Supervised fine-tuning: inputs logp (R), weights (R); outputs metrics (8) and dlogp (R).
///
/// metrics: `[0]` Σ −w·logp·`step.loss_scale`, `[1]` Σ w, `[2]` rows with w ≠ 0, `[3]` Σ −logp over those rows.
/// dlogp = −w·`step.loss_scale`. Rows of weight 0 do not count, whatever their logp.
#[derive(Clone, Copy, Debug)]
pub struct SftLoss;

impl Op for SftLoss {
    fn name(&self) -> &'static str {
        "sft_loss"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        if inputs[0].len() != inputs[1].len() {
            return Err(Error::shape("sft_loss", format!("logp {:?}, weights {:?}", inputs[0].shape, inputs[1].shape)));
        }
        Ok(vec![Desc::f32(&[METRICS]), inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let key = KernelKey::new("sft_loss").flag("SERIAL", serial_rows(cx.gpu()));
        let bufs = [&cx.input(0), &cx.input(1), &cx.output(0), &cx.output(1)];
        for (first, end) in pieces(cx.inputs[0].desc.len(), 1) {
            cx.dispatch(key.clone(), &[end as u32, first as u32], &bufs, [1, 1, 1]);
        }
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (logp, w) = (io.input(0), io.input(1));
        let scale = f64::from(io.step.loss_scale);
        for i in 0..logp.len() {
            io.add(1, i, -w[i] * scale);
            if w[i] != 0.0 {
                io.add(0, 0, -w[i] * logp[i] * scale);
                io.add(0, 1, w[i]);
                io.add(0, 2, 1.0);
                io.add(0, 3, -logp[i]);
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        kernels::sft(io.out(0), io.out(1), io.f32(0), io.f32(1), io.step().loss_scale);
        Ok(())
    }
}

/// The sigmoid loss of DPO (Rafailov et al. 2023) with label smoothing, from per-token log-probabilities.
///
/// Inputs: logp (R); seq (R) u32, 2·pair for tokens of the chosen answer, 2·pair + 1 for the rejected one, [`IGNORE`] for others; ref
/// (2P), sums under the reference policy in the same order; pair weights (P). Outputs: metrics (P, 8) and dlogp (R), the gradient
/// of `step.loss_scale` · Σ weight·loss.
///
/// metrics per pair: loss, rewards/chosen, rewards/rejected, logps/chosen, logps/rejected, rewards/margins, rewards/accuracies, weight.
/// They are not multiplied by the weight. The reference sums are the logps of the same program replayed with `step.lora` 0.
#[derive(Clone, Copy, Debug)]
pub struct DpoLoss;

impl Op for DpoLoss {
    fn name(&self) -> &'static str {
        "dpo_loss"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (logp, seq, reference, weights) = (inputs[0], inputs[1], inputs[2], inputs[3]);
        if seq.dtype != DType::U32 || seq.len() != logp.len() || reference.len() != 2 * weights.len() {
            return Err(Error::shape(
                "dpo_loss",
                format!("logp {:?}, sequences {seq:?}, reference {:?}, weights {:?}", logp.shape, reference.shape, weights.shape),
            ));
        }
        Ok(vec![Desc::f32(&[weights.len(), METRICS]), logp.clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (rows, pairs) = (cx.inputs[0].desc.len(), cx.inputs[3].desc.len());
        let params = [rows as u32, pairs as u32];
        let key = KernelKey::new("dpo_loss").flag("SERIAL", serial_rows(cx.gpu()));
        let grid = row_grid(cx.gpu(), pairs);
        let bufs = [&cx.input(0), &cx.input(1), &cx.input(2), &cx.input(3), &cx.output(0)];
        for (first, end) in pieces(rows, 1) {
            cx.dispatch(key.clone(), &[end as u32, pairs as u32, first as u32], &bufs, grid);
        }
        let grid = cx.gpu().grid(rows, 64);
        cx.dispatch(KernelKey::new("dpo_dlogp"), &params, &[&cx.input(1), &cx.output(0), &cx.output(1)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (logp, seq, reference, weights) = (io.input(0), io.input(1), io.input(2), io.input(3));
        let (beta, s, scale) = (f64::from(io.step.beta), f64::from(io.step.label_smoothing), f64::from(io.step.loss_scale));
        let mut sums = vec![0.0; 2 * weights.len()];
        for (l, q) in logp.iter().zip(seq.iter()) {
            if let Some(sum) = sums.get_mut(*q as usize) {
                *sum += l;
            }
        }
        // −ln σ(x) without overflow.
        let nlsig = |x: f64| (-x).max(0.0) + (-x.abs()).exp().ln_1p();
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut slopes = Vec::with_capacity(weights.len());
        for (pair, weight) in weights.iter().enumerate() {
            let (chosen, rejected) = (sums[2 * pair], sums[2 * pair + 1]);
            let (rc, rr) = (beta * (chosen - reference[2 * pair]), beta * (rejected - reference[2 * pair + 1]));
            let delta = rc - rr;
            let loss = (1.0 - s) * nlsig(delta) + s * nlsig(-delta);
            let values = [loss, rc, rr, chosen, rejected, delta, f64::from(u8::from(delta > 0.0)), *weight];
            for (k, v) in values.into_iter().enumerate() {
                io.add(0, METRICS * pair + k, v);
            }
            slopes.push(weight * scale * beta * ((s - 1.0) * sigmoid(-delta) + s * sigmoid(delta)));
        }
        for (i, q) in seq.iter().enumerate() {
            let q = *q as usize;
            if let Some(d) = slopes.get(q / 2) {
                io.add(1, i, if q.is_multiple_of(2) { *d } else { -d });
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let s = io.step();
        let numbers = kernels::Dpo { beta: s.beta, smoothing: s.label_smoothing, scale: s.loss_scale };
        kernels::dpo(io.out(0), io.out(1), io.f32(0), io.u32(1), io.f32(2), io.f32(3), numbers);
        Ok(())
    }
}

fn check_targets(op: &str, inputs: &[&Desc]) -> Result<()> {
    let (z, t) = (inputs[0], inputs[1]);
    if t.dtype != DType::U32 || t.len() != z.rows() {
        return Err(Error::shape(op, format!("targets {t:?} for logits {:?}", z.shape)));
    }
    Ok(())
}

/// `logp[r] = log softmax(logits[r])[target_r]`. Inputs: logits (R, V), targets (R) u32 ([`IGNORE`]: logp 0, no gradient). Outputs: logp
/// (R) and lse (R) = log Σ exp, saved for the backward pass and without a gradient of its own. [`super::head::LinearLogps`] does the
/// same without the logits of all rows at once.
#[derive(Clone, Copy, Debug)]
pub struct GatherLogps;

/// Dispatches log-probabilities and lse of all rows.
fn lower_logps(cx: &mut Lower<'_>, logp: &Buf, lse: &Buf) {
    let (rows, cols) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols());
    let key = KernelKey::new("logps").flag("SERIAL", serial_rows(cx.gpu())).flag("LSE", true);
    let grid = row_grid(cx.gpu(), rows);
    cx.dispatch(key, &[rows as u32, cols as u32], &[&cx.input(1), logp, lse, &cx.input(0)], grid);
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
        Ok(vec![Desc::f32(&[inputs[0].rows()]); 2])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (logp, lse) = (cx.output(0), cx.output(1));
        lower_logps(cx, &logp, &lse);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (z, t) = (io.input(0), io.input(1));
        for (row, z) in z.chunks(io.descs[0].cols()).enumerate() {
            let (logp, lse) = logp_host(z, t[row]);
            io.add(0, row, logp);
            io.add(1, row, lse);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (z, cols) = (io.f32(0), io.desc(0).cols());
        let (logp, lse) = (io.out(0), io.out(1));
        kernels::lse(io.pool(), lse, z, cols);
        for (((logp, lse), target), z) in logp.iter_mut().zip(lse).zip(io.u32(1)).zip(z.chunks(cols)) {
            *logp = kernels::logp(z, *target, *lse);
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
        b.emit(GatherLogpsBwd, &ins, &[dz])
    }
}

/// Cross-entropy with a weight per row: `loss = Σ −w·log softmax(logits)[target]`. Inputs: logits (R, V), targets (R) u32 ([`IGNORE`] does
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
        lower_logps(cx, &logp, &lse);
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
        b.emit(GatherLogpsBwd, &ins, &[dz])
    }
}

/// `dz = g·(onehot − softmax)`. Inputs: logits, targets, lse, and either dlogp, or weights and dloss.
struct GatherLogpsBwd;

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
        let params = [n, cols as u32 / if vec { 4 } else { 1 }];
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
                    let hot = f64::from(u8::from(i == target));
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
        kernels::logps_bwd(io.pool(), io.out(0), io.f32(0), io.u32(1), lse, g, io.acc(0));
        Ok(())
    }
}
