//! Sums, products, scaling, copies, dropout and noise.

use super::lanes::put;
use super::random::{BLOCK, bits};
use crate::cpu::Pool;

/// Elements worth a piece of work: these loops are as fast as memory.
const LEAST: usize = 16_384;

#[inline(always)]
fn add_body<const FMA: bool>(y: &mut [f32], a: &[f32], b: &[f32], acc: bool) {
    for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
        put(y, a + b, acc);
    }
}

crate::simd_fn!(fn add_part(y: &mut [f32], a: &[f32], b: &[f32], acc: bool) = add_body);

/// `y = a + b`.
pub fn add(pool: &Pool, y: &mut [f32], a: &[f32], b: &[f32], acc: bool) {
    pool.rows(y, 1, LEAST, |first, y| {
        let r = first..first + y.len();
        add_part(y, &a[r.clone()], &b[r], acc);
    });
}

#[inline(always)]
fn mul_body<const FMA: bool>(y: &mut [f32], a: &[f32], b: &[f32], acc: bool) {
    for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
        put(y, a * b, acc);
    }
}

crate::simd_fn!(fn mul_part(y: &mut [f32], a: &[f32], b: &[f32], acc: bool) = mul_body);

/// `y = a·b`.
pub fn mul(pool: &Pool, y: &mut [f32], a: &[f32], b: &[f32], acc: bool) {
    pool.rows(y, 1, LEAST, |first, y| {
        let r = first..first + y.len();
        mul_part(y, &a[r.clone()], &b[r], acc);
    });
}

#[inline(always)]
fn scale_body<const FMA: bool>(y: &mut [f32], x: &[f32], factor: f32, acc: bool) {
    for (y, x) in y.iter_mut().zip(x) {
        put(y, factor * x, acc);
    }
}

crate::simd_fn!(fn scale_part(y: &mut [f32], x: &[f32], factor: f32, acc: bool) = scale_body);

/// `y = factor·x`.
pub fn scale(pool: &Pool, y: &mut [f32], x: &[f32], factor: f32, acc: bool) {
    pool.rows(y, 1, LEAST, |first, y| scale_part(y, &x[first..first + y.len()], factor, acc));
}

/// `y = x`.
pub fn copy(pool: &Pool, y: &mut [f32], x: &[f32], acc: bool) {
    if acc {
        return scale(pool, y, x, 1.0, true);
    }
    pool.rows(y, 1, 4 * LEAST, |first, y| y.copy_from_slice(&x[first..first + y.len()]));
}

/// Random stream, threshold below which an element is dropped, and factor of the others.
#[derive(Clone, Copy)]
pub struct Drop {
    pub seed: u32,
    pub counter: u32,
    pub salt: u32,
    pub threshold: u32,
    pub factor: f32,
}

#[inline(always)]
fn dropout_body<const FMA: bool>(y: &mut [f32], x: &[f32], first: usize, d: Drop, acc: bool) {
    let mut at = 0;
    while at < y.len() {
        let i = first + at;
        let n = (BLOCK - i % BLOCK).min(y.len() - at);
        let random = bits(d.seed, d.counter, d.salt, i / BLOCK);
        let kept = random[i % BLOCK..].iter().map(|b| if *b >= d.threshold { d.factor } else { 0.0 });
        for ((y, x), f) in y[at..at + n].iter_mut().zip(&x[at..at + n]).zip(kept) {
            // What is dropped is 0 whatever it was.
            put(y, if f == 0.0 { 0.0 } else { x * f }, acc);
        }
        at += n;
    }
}

crate::simd_fn!(fn dropout_part(y: &mut [f32], x: &[f32], first: usize, d: Drop, acc: bool) = dropout_body);

/// `y = x·factor` where the element's bits are not below the threshold, else 0.
pub fn dropout(pool: &Pool, y: &mut [f32], x: &[f32], d: Drop, acc: bool) {
    pool.rows(y, 1, 4096, |first, y| dropout_part(y, &x[first..first + y.len()], first, d, acc));
}

/// `y = x + size·u` row by row, u uniform in −1…1 from the stream (seed, counter, salt) and the element's number.
pub fn noise(pool: &Pool, y: &mut [f32], x: &[f32], size: &[f32], (seed, counter, salt): (u32, u32, u32)) {
    let cols = x.len() / size.len().max(1);
    pool.rows(y, 1, 4096, |first, y| {
        let mut at = 0;
        while at < y.len() {
            let i = first + at;
            let n = (BLOCK - i % BLOCK).min(y.len() - at);
            let random = bits(seed, counter, salt, i / BLOCK);
            for (k, bits) in random[i % BLOCK..].iter().take(n).enumerate() {
                let u = *bits as f32 * 4.656_613e-10 - 1.0;
                y[at + k] = x[i + k] + size[(i + k) / cols] * u;
            }
            at += n;
        }
    });
}
