//! Log-probabilities of the vocabulary head's targets, and their gradient in place of the logits.

use super::loss::{log_sum_exp, logp};
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
/// With `cap` logits become cap·tanh(logit / cap) first; the gradient is that of what came in.
///
/// # Panics
/// When the slices do not fit each other.
pub fn logps(pool: &Pool, logits: &mut [f32], targets: &[u32], out: Option<&mut [f32]>, grad: Option<&[f32]>, cap: Option<f32>) {
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
        let value = logp(z, targets[i], lse);
        if let Some(g) = grad {
            let g = g.get(i).copied().unwrap_or(1.0);
            match cap {
                None => {
                    turn(z, lse, g);
                    z[t] += g;
                }
                Some(cap) => {
                    let bent = z[t] / cap;
                    turn_capped(z, lse, g, 1.0 / cap);
                    z[t] += g * (1.0 - bent * bent);
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
