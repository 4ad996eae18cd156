//! Losses over pairs of answers, from the answers' summed log-probabilities ([`super::SequenceSums`]).

use super::METRICS;
use super::math::{log_one_minus_exp, nlsig, sigmoid};
use crate::gpu::KernelKey;
use crate::graph::{CpuIo, Desc, HostIo, Lower, Op};
use crate::{Error, Result};

/// The sigmoid loss of DPO (Rafailov et al. 2023) with label smoothing.
///
/// Inputs: sums (2P), all chosen answers, then all rejected ones; ref (2P), the same under the reference policy; pair weights (P); numbers (3):
/// beta, label smoothing, scale. Outputs: metrics (P, 8) and dsums (2P), the gradient of scale · Σ weight·loss.
///
/// metrics per pair: loss, rewards/chosen, rewards/rejected, logps/chosen, logps/rejected, rewards/margins, rewards/accuracies, weight.
/// They are not multiplied by the weight.
#[derive(Clone, Copy, Debug)]
pub struct DpoLoss;

/// A pair of DPO in f64: its metrics and the gradient of its chosen sum (that of the rejected one is the opposite).
fn dpo(sums: [f64; 2], reference: [f64; 2], weight: f64, numbers: [f64; 3]) -> ([f64; METRICS], f64) {
    let [beta, s, scale] = numbers;
    let (rc, rr) = (beta * (sums[0] - reference[0]), beta * (sums[1] - reference[1]));
    let delta = rc - rr;
    let loss = (1.0 - s) * nlsig(delta) + s * nlsig(-delta);
    let slope = weight * scale * beta * ((s - 1.0) * sigmoid(-delta) + s * sigmoid(delta));
    ([loss, rc, rr, sums[0], sums[1], delta, f64::from(u8::from(delta > 0.0)), weight], slope)
}

impl Op for DpoLoss {
    fn name(&self) -> &'static str {
        "dpo_loss"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (sums, reference, weights, numbers) = (inputs[0], inputs[1], inputs[2], inputs[3]);
        if sums.len() != 2 * weights.len() || reference.len() != sums.len() || numbers.len() != 3 {
            let shapes = (&sums.shape, &reference.shape, &weights.shape, &numbers.shape);
            return Err(Error::shape("dpo_loss", format!("sums, reference, weights and numbers {shapes:?}")));
        }
        Ok(vec![Desc::f32(&[weights.len(), METRICS]), sums.clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let pairs = cx.inputs[2].desc.len();
        let grid = cx.gpu().grid(pairs, 64);
        let bufs = [&cx.input(0), &cx.input(1), &cx.input(2), &cx.input(3), &cx.output(0), &cx.output(1)];
        cx.dispatch(KernelKey::new("dpo_loss"), &[pairs as u32], &bufs, grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (sums, reference, weights, n) = (io.input(0), io.input(1), io.input(2), io.input(3));
        let pairs = weights.len();
        for (pair, weight) in weights.iter().enumerate() {
            let two = |v: &[f64]| [v[pair], v[pairs + pair]];
            let (metrics, slope) = dpo(two(&sums), two(&reference), *weight, [n[0], n[1], n[2]]);
            metrics.into_iter().enumerate().for_each(|(k, v)| io.add(0, METRICS * pair + k, v));
            io.add(1, pair, slope);
            io.add(1, pairs + pair, -slope);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (sums, reference, n) = (io.f32(0), io.f32(1), io.f32(3));
        let (metrics, dsums) = (io.out(0), io.out(1));
        let pairs = dsums.len() / 2;
        for (pair, weight) in io.f32(2).iter().enumerate() {
            let two = |v: &[f32]| [f64::from(v[pair]), f64::from(v[pairs + pair])];
            let (values, slope) = dpo(two(sums), two(reference), f64::from(*weight), [n[0], n[1], n[2]].map(f64::from));
            metrics[METRICS * pair..].iter_mut().zip(values).for_each(|(m, v)| *m = v as f32);
            dsums[pair] = slope as f32;
            dsums[pairs + pair] = -slope as f32;
        }
        Ok(())
    }
}

/// The loss of ORPO (Hong et al. 2024): the negative log-likelihood of the chosen sequences, and −β·ln σ of the log odds ratio of the answers'
/// mean log-probabilities.
///
/// Inputs: sums (3P): all chosen answers, all rejected ones, the prompts of the chosen sequences; counts (2P): tokens of the answers;
/// numbers (3): beta, scale of the second term, scale of the first. Outputs: metrics (P, 8) and dsums (3P), the gradient of
/// Σ nll_scale·nll − scale·beta·ln σ(z).
///
/// metrics per pair: nll (sum over prompt and answer), mean log-probabilities of chosen and rejected, log odds z, ln σ(z), 0, 0, 0.
#[derive(Clone, Copy, Debug)]
pub struct OrpoLoss;

/// A pair of ORPO in f64: its metrics and the gradients of its three sums.
fn orpo(sums: [f64; 3], counts: [f64; 2], [beta, scale, nll_scale]: [f64; 3]) -> ([f64; METRICS], [f64; 3]) {
    let (chosen, rejected) = (sums[0] / counts[0], sums[1] / counts[1]);
    let z = (chosen - rejected) - (log_one_minus_exp(chosen) - log_one_minus_exp(rejected));
    let d = -beta * scale * sigmoid(-z);
    let slopes = [d / -chosen.exp_m1() / counts[0] - nll_scale, -d / -rejected.exp_m1() / counts[1], -nll_scale];
    ([-(sums[0] + sums[2]), chosen, rejected, z, -nlsig(z), 0.0, 0.0, 0.0], slopes)
}

impl Op for OrpoLoss {
    fn name(&self) -> &'static str {
        "orpo_loss"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (sums, counts, numbers) = (inputs[0], inputs[1], inputs[2]);
        if sums.len() * 2 != counts.len() * 3 || numbers.len() != 3 {
            return Err(Error::shape("orpo_loss", format!("sums, counts and numbers {:?}", (&sums.shape, &counts.shape, &numbers.shape))));
        }
        Ok(vec![Desc::f32(&[counts.len() / 2, METRICS]), sums.clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let pairs = cx.inputs[1].desc.len() / 2;
        let grid = cx.gpu().grid(pairs, 64);
        let bufs = [&cx.input(0), &cx.input(1), &cx.input(2), &cx.output(0), &cx.output(1)];
        cx.dispatch(KernelKey::new("orpo_loss"), &[pairs as u32], &bufs, grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let (sums, counts, n) = (io.input(0), io.input(1), io.input(2));
        let pairs = counts.len() / 2;
        for pair in 0..pairs {
            let at = |v: &[f64], k: usize| v[k * pairs + pair];
            let (metrics, slopes) = orpo([0, 1, 2].map(|k| at(&sums, k)), [0, 1].map(|k| at(&counts, k)), [n[0], n[1], n[2]]);
            metrics.into_iter().enumerate().for_each(|(k, v)| io.add(0, METRICS * pair + k, v));
            slopes.into_iter().enumerate().for_each(|(k, v)| io.add(1, k * pairs + pair, v));
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let (sums, counts, n) = (io.f32(0), io.f32(1), io.f32(2));
        let (metrics, dsums) = (io.out(0), io.out(1));
        let pairs = counts.len() / 2;
        for (pair, m) in metrics.chunks_exact_mut(METRICS).enumerate() {
            let at = |v: &[f32], k: usize| f64::from(v[k * pairs + pair]);
            let (values, slopes) = orpo([0, 1, 2].map(|k| at(sums, k)), [0, 1].map(|k| at(counts, k)), [n[0], n[1], n[2]].map(f64::from));
            m.iter_mut().zip(values).for_each(|(m, v)| *m = v as f32);
            slopes.into_iter().enumerate().for_each(|(k, v)| dsums[k * pairs + pair] = v as f32);
        }
        Ok(())
    }
}
