//! Sums, products and maxima of slices. Always in the same order, whatever the instruction set's width: [`N`] running values, then halves.

use super::math::exp;
use crate::cpu::simd::fma;

/// Running values of a sum: two of the widest vectors, eight of the narrowest.
pub const N: usize = 32;

/// The sum of the lanes, halves added to halves.
#[inline(always)]
pub fn total<const M: usize>(mut v: [f32; M]) -> f32 {
    let mut n = M / 2;
    while n > 0 {
        for i in 0..n {
            v[i] += v[i + n];
        }
        n /= 2;
    }
    v[0]
}

/// Lane i takes the elements i, i + M, … of both slices.
#[inline(always)]
fn walk<const M: usize>(a: &[f32], b: &[f32], mut step: impl FnMut(f32, f32, f32) -> f32) -> [f32; M] {
    let mut acc = [0.0; M];
    let (a_all, a_rest) = a.as_chunks::<M>();
    let (b_all, b_rest) = b.as_chunks::<M>();
    for (a, b) in a_all.iter().zip(b_all) {
        for i in 0..M {
            acc[i] = step(acc[i], a[i], b[i]);
        }
    }
    for ((v, a), b) in acc.iter_mut().zip(a_rest).zip(b_rest) {
        *v = step(*v, *a, *b);
    }
    acc
}

/// Σ a·b.
#[inline(always)]
pub fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    total(walk::<N>(a, b, |s, a, b| fma::<FMA>(a, b, s)))
}

/// Σ a.
#[inline(always)]
pub fn sum(a: &[f32]) -> f32 {
    total(walk::<N>(a, a, |s, a, _| s + a))
}

/// Σ (a − mean)².
#[inline(always)]
pub fn sum_squares<const FMA: bool>(a: &[f32], mean: f32) -> f32 {
    total(walk::<N>(a, a, |s, a, _| fma::<FMA>(a - mean, a - mean, s)))
}

/// Σ exp(a − top).
#[inline(always)]
pub fn sum_exp<const FMA: bool>(a: &[f32], top: f32) -> f32 {
    total(walk::<N>(a, a, |s, a, _| s + exp::<FMA>(a - top)))
}

/// Σ a·b·(c − shift).
#[inline(always)]
pub fn dot3<const FMA: bool>(a: &[f32], b: &[f32], c: &[f32], shift: f32) -> f32 {
    let mut acc = [0.0; N];
    let (a_all, a_rest) = a.as_chunks::<N>();
    let (b_all, b_rest) = b.as_chunks::<N>();
    let (c_all, c_rest) = c.as_chunks::<N>();
    for ((a, b), c) in a_all.iter().zip(b_all).zip(c_all) {
        for i in 0..N {
            acc[i] = fma::<FMA>(a[i] * b[i], c[i] - shift, acc[i]);
        }
    }
    for (((v, a), b), c) in acc.iter_mut().zip(a_rest).zip(b_rest).zip(c_rest) {
        *v = fma::<FMA>(a * b, c - shift, *v);
    }
    total(acc)
}

/// Replaces `a` by exp(a − top) and gives the sum.
#[inline(always)]
pub fn exp_in_place<const FMA: bool>(a: &mut [f32], top: f32) -> f32 {
    for v in a.iter_mut() {
        *v = exp::<FMA>(*v - top);
    }
    sum(a)
}

/// The largest value; −∞ of nothing. NaN is passed over.
#[inline(always)]
pub fn max(a: &[f32]) -> f32 {
    let mut acc = [f32::NEG_INFINITY; N];
    let (all, rest) = a.as_chunks::<N>();
    for a in all {
        for i in 0..N {
            acc[i] = if a[i] > acc[i] { a[i] } else { acc[i] };
        }
    }
    for (m, a) in acc.iter_mut().zip(rest) {
        *m = if *a > *m { *a } else { *m };
    }
    acc.into_iter().fold(f32::NEG_INFINITY, |m, v| if v > m { v } else { m })
}

/// Puts `v` into `y`, or adds it.
#[inline(always)]
pub fn put(y: &mut f32, v: f32, acc: bool) {
    *y = if acc { *y + v } else { v };
}
