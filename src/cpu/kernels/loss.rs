//! Log-probabilities of logits and their gradient; the losses over log-probabilities, which are a few numbers per row and summed in f64.

use super::lanes::{self, put};
use super::math::exp;
use crate::cpu::Pool;

/// Words of a loss's metrics.
const METRICS: usize = 8;

#[inline(always)]
fn lse_body<const FMA: bool>(z: &[f32]) -> f32 {
    let top = lanes::max(z);
    top + lanes::sum_exp::<FMA>(z, top).ln()
}

crate::simd_fn!(
    /// ln Σ eᶻ.
    pub fn log_sum_exp(z: &[f32]) -> f32 = lse_body
);

/// lse of each row of `cols` logits.
pub fn lse(pool: &Pool, lse: &mut [f32], z: &[f32], cols: usize) {
    if cols == 0 {
        return lse.fill(f32::NEG_INFINITY);
    }
    pool.rows(lse, 1, 8192 / cols + 1, |first, lse| {
        for (lse, z) in lse.iter_mut().zip(z[first * cols..].chunks_exact(cols)) {
            *lse = log_sum_exp(z);
        }
    });
}

/// The target's log-probability; 0 where the target is no column.
pub fn logp(z: &[f32], target: u32, lse: f32) -> f32 {
    z.get(target as usize).map_or(0.0, |z| z - lse)
}

#[inline(always)]
fn grad_body<const FMA: bool>(dz: &mut [f32], z: &[f32], lse: f32, g: f32, acc: bool) {
    for (dz, z) in dz.iter_mut().zip(z) {
        put(dz, -g * exp::<FMA>(z - lse), acc);
    }
}

crate::simd_fn!(fn grad_row(dz: &mut [f32], z: &[f32], lse: f32, g: f32, acc: bool) = grad_body);

/// `dz = g·(onehot − softmax z)` row by row, where `g(row)` is the gradient of the row's log-probability.
pub fn logps_bwd(pool: &Pool, dz: &mut [f32], z: &[f32], targets: &[u32], lse: &[f32], g: impl Fn(usize) -> f32 + Sync, acc: bool) {
    if dz.is_empty() {
        return;
    }
    let cols = z.len() / targets.len();
    pool.rows(dz, cols, 8192 / cols + 1, |first, dz| {
        for (i, dz) in dz.chunks_exact_mut(cols).enumerate() {
            let row = first + i;
            let (target, g) = (targets[row] as usize, g(row));
            if target < cols && g != 0.0 {
                grad_row(dz, &z[row * cols..(row + 1) * cols], lse[row], g, acc);
                dz[target] += g;
            } else if !acc {
                dz.fill(0.0);
            }
        }
    });
}

/// SFT: metrics and `dlogp = −w·scale`.
pub fn sft(metrics: &mut [f32], dlogp: &mut [f32], logp: &[f32], weights: &[f32], scale: f32) {
    let mut sums = [0.0f64; 4];
    for ((d, l), w) in dlogp.iter_mut().zip(logp).zip(weights) {
        *d = -w * scale;
        if *w != 0.0 {
            let (l, w) = (f64::from(*l), f64::from(*w));
            sums[0] -= w * l * f64::from(scale);
            sums[1] += w;
            sums[2] += 1.0;
            sums[3] -= l;
        }
    }
    metrics.fill(0.0);
    metrics.iter_mut().zip(sums).for_each(|(m, s)| *m = s as f32);
}

/// The numbers of [`dpo`].
#[derive(Clone, Copy)]
pub struct Dpo {
    pub beta: f32,
    pub smoothing: f32,
    pub scale: f32,
}

/// DPO: metrics per pair and `dlogp`. `seq` is 2·pair for tokens of the chosen answer, 2·pair + 1 for the rejected one.
pub fn dpo(metrics: &mut [f32], dlogp: &mut [f32], logp: &[f32], seq: &[u32], reference: &[f32], weights: &[f32], d: Dpo) {
    let (beta, s) = (f64::from(d.beta), f64::from(d.smoothing));
    // −ln σ(x) without overflow.
    let nlsig = |x: f64| (-x).max(0.0) + (-x.abs()).exp().ln_1p();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let of = |sequence: usize| -> f64 { logp.iter().zip(seq).filter(|(_, q)| **q as usize == sequence).map(|(l, _)| f64::from(*l)).sum() };
    dlogp.fill(0.0);
    for (pair, (m, weight)) in metrics.chunks_exact_mut(METRICS).zip(weights).enumerate() {
        let (chosen, rejected) = (of(2 * pair), of(2 * pair + 1));
        let (rc, rr) = (beta * (chosen - f64::from(reference[2 * pair])), beta * (rejected - f64::from(reference[2 * pair + 1])));
        let delta = rc - rr;
        let loss = (1.0 - s) * nlsig(delta) + s * nlsig(-delta);
        let values = [loss, rc, rr, chosen, rejected, delta, f64::from(u8::from(delta > 0.0)), f64::from(*weight)];
        m.iter_mut().zip(values).for_each(|(m, v)| *m = v as f32);
        let slope = f64::from(*weight) * f64::from(d.scale) * beta * ((s - 1.0) * sigmoid(-delta) + s * sigmoid(delta));
        for (y, q) in dlogp.iter_mut().zip(seq).filter(|(_, q)| **q as usize / 2 == pair) {
            *y = if q.is_multiple_of(2) { slope } else { -slope } as f32;
        }
    }
}
