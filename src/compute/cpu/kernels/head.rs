//! Log-probabilities of the vocabulary head's targets, and their gradient in place of the logits.

use super::loss::{log_sum_exp, smooth, smoothed};
use super::math::exp;
use super::softcap;
use crate::cpu::Pool;

#[inline(always)]
fn turn_body<const FMA: bool>(z: &mut [f32], lse: f32, g: f32) {
    for z in z.iter_mut() {
        *z = -g * exp::<FMA>(*z - lse);
    }
}

crate::simd_fn!(fn turn(z: &mut [f32], lse: f32, g: f32) = turn_body);

/// The same for capped logits, whose slope by what came in is 1 − (z / cap)².
#[inline(always)]
fn turn_capped_body<const FMA: bool>(z: &mut [f32], lse: f32, g: f32, inverse: f32) {
    for z in z.iter_mut() {
        let t = *z * inverse;
        *z = -g * exp::<FMA>(*z - lse) * (1.0 - t * t);
    }
}

crate::simd_fn!(fn turn_capped(z: &mut [f32], lse: f32, g: f32, inverse: f32) = turn_capped_body);

/// For every row of `logits` and its target: `ln softmax(row)[target]` into `out`, and with `grad` the row becomes the gradient of it with
/// respect to the logits, times the row's entry of `grad` (1 where that is empty). A target outside the row is ignored: 0, and no gradient.
/// With a cap (the first of `how`) logits become cap·tanh(logit / cap) first; the gradient is that of what came in. The second is label smoothing ε:
/// (1 − ε) times that log-probability and ε times the mean of all.
///
/// # Panics
/// When the slices do not fit each other.
pub fn logps(
    pool: &Pool,
    logits: &mut [f32],
    targets: &[u32],
    out: Option<&mut [f32]>,
    grad: Option<&[f32]>,
    (cap, smoothing): (Option<f32>, f32),
) {
    let v = logits.len() / targets.len().max(1);
    if v == 0 {
        return;
    }
    let one = |i: usize, z: &mut [f32]| -> f32 {
        let t = targets[i] as usize;
        if t >= v {
            if grad.is_some() {
                z.fill(0.0);
            }
            return 0.0;
        }
        if let Some(cap) = cap {
            softcap::in_place(z, cap);
        }
        let lse = log_sum_exp(z);
        let value = smoothed(z, targets[i], lse, smoothing);
        if let Some(g) = grad {
            let g = g.get(i).copied().unwrap_or(1.0);
            match cap {
                None => {
                    turn(z, lse, g);
                    smooth(z, t, g, smoothing);
                }
                Some(cap) => {
                    let slope = |z: f32| 1.0 - (z / cap) * (z / cap);
                    let (own, share) = (slope(z[t]), g * smoothing / v as f32);
                    let shares = (smoothing != 0.0).then(|| z.iter().map(|z| share * slope(*z)).collect::<Vec<f32>>());
                    turn_capped(z, lse, g, 1.0 / cap);
                    for (z, share) in z.iter_mut().zip(shares.unwrap_or_default()) {
                        *z += share;
                    }
                    z[t] += (g - g * smoothing) * own;
                }
            }
        }
        value
    };
    match out {
        Some(out) => pool.rows2((logits, v), (out, 1), 1, |first, z, out| {
            for (i, (z, out)) in z.chunks_exact_mut(v).zip(out).enumerate() {
                *out = one(first + i, z);
            }
        }),
        None => pool.rows(logits, v, 1, |first, z| {
            for (i, z) in z.chunks_exact_mut(v).enumerate() {
                one(first + i, z);
            }
        }),
    }
}

/// Σ e·d and Σ e² of e = exp(d), d = z − lse.
#[inline(always)]
fn moments_body<const FMA: bool>(z: &[f32], lse: f32, out: &mut [f32; 2]) {
    const LANES: usize = 16;
    let (mut mean, mut square) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (whole, rest) = z.as_chunks::<LANES>();
    let mut add = |i: usize, z: f32| {
        let d = z - lse;
        let e = exp::<FMA>(d);
        mean[i] += e * d;
        square[i] += e * e;
    };
    for z in whole {
        z.iter().enumerate().for_each(|(i, z)| add(i, *z));
    }
    rest.iter().enumerate().for_each(|(i, z)| add(i, *z));
    *out = [mean.iter().sum(), square.iter().sum()];
}

crate::simd_fn!(fn moments(z: &[f32], lse: f32, out: &mut [f32; 2]) = moments_body);

/// Entropy −Σ p·ln p and ln Σ p² of the distribution in every row of `logits`, as pairs into `out`; 0 where the target is outside the row. With `cap`
/// they are those of cap·tanh(logit / cap). The logits stay what they are.
///
/// # Panics
/// When the slices do not fit each other.
pub fn spread(pool: &Pool, logits: &[f32], targets: &[u32], out: &mut [f32], cap: Option<f32>) {
    let v = logits.len() / targets.len().max(1);
    if v == 0 {
        return;
    }
    pool.rows(out, 2, 1, |first, out| {
        let mut bent = Vec::new();
        for (i, out) in out.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let row = first + i;
            let mut z = &logits[row * v..(row + 1) * v];
            if targets[row] as usize >= v {
                *out = [0.0; 2];
                continue;
            }
            if let Some(cap) = cap {
                bent.clear();
                bent.extend_from_slice(z);
                softcap::in_place(&mut bent, cap);
                z = &bent;
            }
            moments(z, log_sum_exp(z), out);
            *out = [-out[0], out[1].ln()];
        }
    });
}
