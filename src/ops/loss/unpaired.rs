//! Losses over answers that were judged one by one, from their summed log-probabilities ([`super::SequenceSums`]).

use super::METRICS;
use super::math::sigmoid;
use crate::gpu::KernelKey;
use crate::graph::{CpuIo, Desc, HostIo, Lower, Op};
use crate::{Error, Result};

/// The loss of KTO (Ethayarajh et al. 2024), or with four inputs `apo_zero_unpaired` (D'Oosterlinck et al. 2024), which is the same with KL 0.
///
/// Inputs: sums (N); ref (N), the same under the reference policy; weights (N): above 0 the weight of a desirable row, below 0 minus that of
/// an undesirable one; numbers (2): beta, scale; and the sums (N) of mismatched prompts and answers under the policy and under the reference.
/// Outputs: metrics (N, 8) and dsums (N), the gradient of scale · Σ weight·loss. The mismatched ones carry no gradient.
///
/// metrics per row: loss (not multiplied by the weight), reward, log-probability, KL (of the batch), weight, 0, 0, 0.
#[derive(Clone, Copy, Debug)]
pub struct KtoLoss;

/// A row of KTO in f64: its metrics and the gradient of its sum.
fn kto(sum: f64, reference: f64, weight: f64, kl: f64, [beta, scale]: [f64; 2]) -> ([f64; METRICS], f64) {
    let u = sum - reference;
    let x = if weight > 0.0 { beta * (u - kl) } else { beta * (kl - u) };
    ([sigmoid(-x), beta * u, sum, kl, weight.abs(), 0.0, 0.0, 0.0], -weight * scale * beta * sigmoid(x) * sigmoid(-x))
}

/// max(0, mean of the log ratios).
fn divergence(ratios: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = ratios.len() as f64;
    (ratios.sum::<f64>() / n).max(0.0)
}

impl Op for KtoLoss {
    fn name(&self) -> &'static str {
        "kto_loss"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let n = inputs[0].len();
        let fits = |i: usize| inputs[i].len() == n;
        if ![4, 6].contains(&inputs.len()) || inputs[3].len() != 2 || ![1, 2].into_iter().chain(4..inputs.len()).all(fits) {
            return Err(Error::shape("kto_loss", format!("inputs {:?}", inputs.iter().map(|d| &d.shape).collect::<Vec<_>>())));
        }
        Ok(vec![Desc::f32(&[n, METRICS]), inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let rows = cx.inputs[0].desc.len();
        let grid = cx.gpu().grid(rows, 64);
        let bufs: Vec<_> = (0..cx.inputs.len()).map(|i| cx.input(i)).chain([cx.output(0), cx.output(1)]).collect();
        let key = KernelKey::new("kto_loss").flag("UNPAIRED", cx.inputs.len() == 4);
        cx.dispatch(key, &[rows as u32], &bufs.iter().collect::<Vec<_>>(), grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (sums, reference, weights, n) = (io.input(0), io.input(1), io.input(2), io.input(3));
        let kl = if io.inputs.len() == 6 { divergence(io.inputs[4].iter().zip(io.inputs[5].iter()).map(|(p, r)| p - r)) } else { 0.0 };
        for (row, weight) in weights.iter().enumerate() {
            let (metrics, slope) = kto(sums[row], reference[row], *weight, kl, [n[0], n[1]]);
            metrics.into_iter().enumerate().for_each(|(k, v)| io.add(0, METRICS * row + k, v));
            io.add(1, row, slope);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let f = f64::from;
        let (sums, reference, weights, n) = (io.f32(0), io.f32(1), io.f32(2), io.f32(3));
        let kl = if io.inputs() == 6 { divergence(io.f32(4).iter().zip(io.f32(5)).map(|(p, r)| f(*p) - f(*r))) } else { 0.0 };
        let (metrics, dsums) = (io.out(0), io.out(1));
        for (row, m) in metrics.chunks_exact_mut(METRICS).enumerate() {
            let (values, slope) = kto(f(sums[row]), f(reference[row]), f(weights[row]), kl, [f(n[0]), f(n[1])]);
            m.iter_mut().zip(values).for_each(|(m, v)| *m = v as f32);
            dsums[row] = slope as f32;
        }
        Ok(())
    }
}
