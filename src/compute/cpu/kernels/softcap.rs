//! Soft caps: cap·tanh(x / cap).

use super::lanes::put;
use super::math::sigmoid;
use crate::cpu::Pool;
use crate::cpu::simd::fma;

/// `x = cap·tanh(x / cap)` in place; tanh u = 2σ(2u) − 1.
#[inline(always)]
pub fn bend<const FMA: bool>(x: &mut [f32], cap: f32) {
    let twice = 2.0 / cap;
    for x in x {
        *x = cap * fma::<FMA>(2.0, sigmoid::<FMA>(*x * twice), -1.0);
    }
}

#[inline(always)]
fn forward_body<const FMA: bool>(y: &mut [f32], x: &[f32], cap: f32) {
    y.copy_from_slice(x);
    bend::<FMA>(y, cap);
}

crate::simd_fn!(fn forward_part(y: &mut [f32], x: &[f32], cap: f32) = forward_body);

/// `y = cap·tanh(x / cap)`.
pub fn forward(pool: &Pool, y: &mut [f32], x: &[f32], cap: f32) {
    pool.rows(y, 1, 4096, |first, y| forward_part(y, &x[first..first + y.len()], cap));
}

#[inline(always)]
fn in_place_body<const FMA: bool>(x: &mut [f32], cap: f32) {
    bend::<FMA>(x, cap);
}

crate::simd_fn!(pub fn in_place(x: &mut [f32], cap: f32) = in_place_body);

#[inline(always)]
fn backward_body<const FMA: bool>(dx: &mut [f32], y: &[f32], dy: &[f32], cap: f32, acc: bool) {
    let inverse = 1.0 / cap;
    for ((dx, y), dy) in dx.iter_mut().zip(y).zip(dy) {
        let t = y * inverse;
        put(dx, dy * fma::<FMA>(-t, t, 1.0), acc);
    }
}

crate::simd_fn!(fn backward_part(dx: &mut [f32], y: &[f32], dy: &[f32], cap: f32, acc: bool) = backward_body);

/// `dx = dy·(1 − (y / cap)²)`.
pub fn backward(pool: &Pool, dx: &mut [f32], y: &[f32], dy: &[f32], cap: f32, acc: bool) {
    pool.rows(dx, 1, 8192, |first, dx| {
        let end = first + dx.len();
        backward_part(dx, &y[first..end], &dy[first..end], cap, acc);
    });
}
