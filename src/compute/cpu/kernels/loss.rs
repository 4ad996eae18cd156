//! Log-probabilities of logits and their gradient; the losses over log-probabilities, which are a few numbers per row and summed in f64.

use super::lanes::{self, put};
use super::math::exp;
use crate::cpu::Pool;

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

/// What [`logps_bwd`] is told of the rows' log-probabilities.
#[derive(Clone, Copy)]
pub struct Judged<'a> {
    pub targets: &'a [u32],
    pub lse: &'a [f32],
    /// Label smoothing.
    pub smoothing: f32,
}

/// `dz = g·(hot − softmax z)` row by row, where `g(row)` is the gradient of the row's log-probability and hot is onehot, smoothed.
pub fn logps_bwd(pool: &Pool, dz: &mut [f32], z: &[f32], judged: Judged<'_>, g: impl Fn(usize) -> f32 + Sync, acc: bool) {
    let Judged { targets, lse, smoothing } = judged;
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
                smooth(dz, target, g, smoothing);
            } else if !acc {
                dz.fill(0.0);
            }
        }
    });
}

/// Adds g to the target's place of a row; with label smoothing its share goes to all alike.
pub fn smooth(dz: &mut [f32], target: usize, g: f32, smoothing: f32) {
    if smoothing != 0.0 {
        let share = g * smoothing / dz.len() as f32;
        dz.iter_mut().for_each(|d| *d += share);
    }
    dz[target] += g - g * smoothing;
}

/// (1 − smoothing)·(target's log-probability) + smoothing·(mean of all), of logits that do not overflow.
pub fn smoothed(z: &[f32], target: u32, lse: f32, smoothing: f32) -> f32 {
    let own = logp(z, target, lse);
    if smoothing == 0.0 || target as usize >= z.len() {
        return own;
    }
    let mean = z.iter().map(|z| f64::from(z - lse)).sum::<f64>() / z.len() as f64;
    (1.0 - smoothing) * own + smoothing * mean as f32
}

/// SFT: metrics and `dlogp = −w·scale`; with `dft`, w times the token's own probability.
pub fn sft(metrics: &mut [f32], dlogp: &mut [f32], logp: &[f32], weights: &[f32], scale: f32, dft: bool) {
    let mut sums = [0.0f64; 4];
    for ((d, l), w) in dlogp.iter_mut().zip(logp).zip(weights) {
        let used = *w != 0.0;
        let w = if dft && used { w * l.exp() } else { *w };
        *d = -w * scale;
        if used {
            let (l, w) = (f64::from(*l), f64::from(w));
            sums[0] -= w * l * f64::from(scale);
            sums[1] += w;
            sums[2] += 1.0;
            sums[3] -= l;
        }
    }
    metrics.fill(0.0);
    metrics.iter_mut().zip(sums).for_each(|(m, s)| *m = s as f32);
}

/// Sums of log-probabilities per sequence; tokens of no sequence do not count.
pub fn sequence_sums(sums: &mut [f32], logp: &[f32], seq: &[u32]) {
    let mut exact = vec![0.0f64; sums.len()];
    for (l, s) in logp.iter().zip(seq) {
        if let Some(sum) = exact.get_mut(*s as usize) {
            *sum += f64::from(*l);
        }
    }
    sums.iter_mut().zip(exact).for_each(|(s, e)| *s = e as f32);
}

/// `dlogp[i] = dsums[seq[i]]`, 0 for tokens of no sequence.
pub fn sequence_sums_bwd(dlogp: &mut [f32], dsums: &[f32], seq: &[u32], acc: bool) {
    for (d, s) in dlogp.iter_mut().zip(seq) {
        put(d, dsums.get(*s as usize).copied().unwrap_or(0.0), acc);
    }
}
