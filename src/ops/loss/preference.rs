//! Losses over pairs of answers, from the answers' summed log-probabilities ([`super::SequenceSums`]).

use super::METRICS;
use super::math::{log_one_minus_exp, nlsig, sigmoid};
use crate::gpu::KernelKey;
use crate::graph::{CpuIo, Desc, HostIo, Lower, Op};
use crate::{Error, Result};

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
