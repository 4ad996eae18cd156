//! The losses of CPO's family: preferences without a reference, and imitation beside them.

use super::METRICS;
use super::math::{nlsig, sigmoid};
use crate::gpu::KernelKey;
use crate::graph::{CpuIo, Desc, HostIo, Lower, Op};
use crate::{Error, Result};

/// TRL's `loss_type`, by number.
pub const CPO_LOSSES: [&str; 4] = ["sigmoid", "hinge", "ipo", "simpo"];

/// Words of the input of numbers: β, label smoothing, scale of the preference, scale of the imitation per token, place of the loss in
/// [`CPO_LOSSES`], SimPO's γ, AlphaPO's α.
pub const CPO_NUMBERS: usize = 7;

/// The losses of CPO (Xu et al. 2024), SimPO (Meng et al. 2024) and AlphaPO (Gupta et al. 2025), as TRL 1.16 computes them.
///
/// With x the answers' summed log-probabilities (ipo and simpo: their means over tokens), or with α ≠ 0 (1 − exp(−α·x))/α, and z = x_c − x_r:
/// sigmoid −(1−ε)·ln σ(βz) − ε·ln σ(−βz); hinge max(0, 1 − βz); ipo (z − 1/(2β))²; simpo as sigmoid with βz − γ.
///
/// Inputs: sums (2P), all chosen answers, then all rejected ones; counts (2P), tokens of the answers; numbers ([`CPO_NUMBERS`]).
/// Outputs: metrics (P, 8) and dsums (2P), the gradient of Σ scale·loss − nll_scale·(sum of the chosen answer).
///
/// metrics per pair: loss, rewards/chosen and rewards/rejected (β·x), logps/chosen, logps/rejected (x before α), nll of the chosen answer, 0, 0.
#[derive(Clone, Copy, Debug)]
pub struct CpoLoss;

/// A pair in f64: its metrics and the gradients of its two sums.
fn cpo(sums: [f64; 2], counts: [f64; 2], n: &[f64]) -> ([f64; METRICS], [f64; 2]) {
    let (beta, s, scale, nll_scale, kind, gamma, alpha) = (n[0], n[1], n[2], n[3], n[4] as usize, n[5], n[6]);
    let per = if kind >= 2 { counts.map(|c| c.max(1.0)) } else { [1.0; 2] };
    let x = [sums[0] / per[0], sums[1] / per[1]];
    let shaped = |x: f64| if alpha == 0.0 { (x, 1.0) } else { ((1.0 - (-alpha * x).exp()) / alpha, (-alpha * x).exp()) };
    let ((c, dc), (r, dr)) = (shaped(x[0]), shaped(x[1]));
    let z = c - r;
    let smoothed = |d: f64| ((1.0 - s) * nlsig(d) + s * nlsig(-d), beta * ((s - 1.0) * sigmoid(-d) + s * sigmoid(d)));
    let (loss, slope) = match kind {
        1 => ((1.0 - beta * z).max(0.0), if beta * z < 1.0 { -beta } else { 0.0 }),
        2 => {
            let off = z - 0.5 / beta;
            (off * off, 2.0 * off)
        }
        3 => smoothed(beta * z - gamma),
        _ => smoothed(beta * z),
    };
    let slopes = [scale * slope * dc / per[0] - nll_scale, -scale * slope * dr / per[1]];
    ([loss, beta * c, beta * r, x[0], x[1], -sums[0], 0.0, 0.0], slopes)
}

impl Op for CpoLoss {
    fn name(&self) -> &'static str {
        "cpo_loss"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (sums, counts, numbers) = (inputs[0], inputs[1], inputs[2]);
        if sums.len() != counts.len() || !sums.len().is_multiple_of(2) || numbers.len() != CPO_NUMBERS {
            return Err(Error::shape("cpo_loss", format!("sums, counts and numbers {:?}", (&sums.shape, &counts.shape, &numbers.shape))));
        }
        Ok(vec![Desc::f32(&[sums.len() / 2, METRICS]), sums.clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let pairs = cx.inputs[0].desc.len() / 2;
        let grid = cx.gpu().grid(pairs, 64);
        let bufs = [&cx.input(0), &cx.input(1), &cx.input(2), &cx.output(0), &cx.output(1)];
        cx.dispatch(KernelKey::new("cpo_loss"), &[pairs as u32], &bufs, grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let [sums, counts, numbers] = [0, 1, 2].map(|i| io.input(i).to_vec());
        let pairs = sums.len() / 2;
        for pair in 0..pairs {
            let two = |v: &[f64]| [v[pair], v[pairs + pair]];
            let (metrics, slopes) = cpo(two(&sums), two(&counts), &numbers);
            metrics.into_iter().enumerate().for_each(|(k, v)| io.add(0, METRICS * pair + k, v));
            slopes.into_iter().enumerate().for_each(|(side, v)| io.add(1, side * pairs + pair, v));
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let [sums, counts, numbers] = [0, 1, 2].map(|i| io.f32(i).iter().map(|v| f64::from(*v)).collect::<Vec<f64>>());
        let (metrics, dsums) = (io.out(0), io.out(1));
        let pairs = sums.len() / 2;
        for (pair, m) in metrics.chunks_exact_mut(METRICS).enumerate() {
            let two = |v: &[f64]| [v[pair], v[pairs + pair]];
            let (values, slopes) = cpo(two(&sums), two(&counts), &numbers);
            m.iter_mut().zip(values).for_each(|(m, v)| *m = v as f32);
            slopes.into_iter().enumerate().for_each(|(side, v)| dsums[side * pairs + pair] = v as f32);
        }
        Ok(())
    }
}
