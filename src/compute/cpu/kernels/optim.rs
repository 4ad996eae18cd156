//! Gradient norm and AdamW: as fast as memory.

use super::lanes;
use crate::cpu::{Pool, scratch};

/// Elements of a partial sum.
const PART: usize = 8192;

#[inline(always)]
fn squares_body<const FMA: bool>(parts: &mut [f32], x: &[f32]) {
    for (p, x) in parts.iter_mut().zip(x.chunks(PART)) {
        *p = lanes::sum_squares::<FMA>(x, 0.0);
    }
}

crate::simd_fn!(fn squares(parts: &mut [f32], x: &[f32]) = squares_body);

/// Σ x². The parts are the same ones on any number of threads.
pub fn sum_squares(pool: &Pool, x: &[f32]) -> f64 {
    scratch::with(x.len().div_ceil(PART), |parts| {
        pool.rows(parts, 1, 4, |first, parts| squares(parts, &x[first * PART..]));
        parts.iter().map(|p| f64::from(*p)).sum()
    })
}

/// The numbers of a step.
#[derive(Clone, Copy)]
pub struct Step {
    /// Multiplies gradients: accumulation and clipping.
    pub scale: f32,
    pub beta1: f32,
    pub beta2: f32,
    /// 1 − β, computed in f64.
    pub rest1: f32,
    pub rest2: f32,
    /// Multiplies parameters: the decoupled weight decay.
    pub keep: f32,
    /// Learning rate / bias correction of m.
    pub rate: f32,
    /// 1 / √ bias correction of v.
    pub root: f32,
    pub epsilon: f32,
}

#[inline(always)]
fn adamw_body<const FMA: bool>(p: &mut [f32], g: &mut [f32], m: &mut [f32], v: &mut [f32], s: &Step) {
    for (((p, g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
        let grad = *g * s.scale;
        *g = 0.0;
        *m = s.beta1 * *m + s.rest1 * grad;
        *v = s.beta2 * *v + s.rest2 * grad * grad;
        *p = *p * s.keep - s.rate * *m / (v.sqrt() * s.root + s.epsilon);
    }
}

crate::simd_fn!(fn adamw_part(p: &mut [f32], g: &mut [f32], m: &mut [f32], v: &mut [f32], s: &Step) = adamw_body);

/// One step on parameters, gradients (zeroed), m and v.
pub fn adamw(pool: &Pool, flats: [&mut [f32]; 4], s: &Step) {
    pool.all(flats, 8192, |_, [p, g, m, v]| adamw_part(p, g, m, v, s));
}
