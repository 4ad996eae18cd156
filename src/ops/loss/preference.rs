//! Losses over pairs of answers.

use super::METRICS;
use crate::cpu::kernels::loss as kernels;
use crate::gpu::KernelKey;
use crate::graph::{CpuIo, Desc, HostIo, Lower, Op};
use crate::ops::{pieces, row_grid, serial_rows};
use crate::tensor::DType;
use crate::{Error, Result};

/// The sigmoid loss of DPO (Rafailov et al. 2023) with label smoothing, from per-token log-probabilities.
///
/// Inputs: logp (R); seq (R) u32, 2·pair for tokens of the chosen answer, 2·pair + 1 for the rejected one, [`super::IGNORE`] for others; ref
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
