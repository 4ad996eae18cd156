//! Softmax, sums and maxima.

use super::lanes::{self, put};
use super::math::exp;
use crate::cpu::{Pool, scratch};

/// Rows of `cols` worth a piece of work.
fn least(cols: usize) -> usize {
    4096 / cols.max(1) + 1
}

#[inline(always)]
fn softmax_body<const FMA: bool>(y: &mut [f32], x: &[f32]) {
    let top = lanes::max(x);
    for (y, x) in y.iter_mut().zip(x) {
        *y = exp::<FMA>(x - top);
    }
    let inverse = 1.0 / lanes::sum(y);
    for y in y {
        *y *= inverse;
    }
}

crate::simd_fn!(fn softmax_row(y: &mut [f32], x: &[f32]) = softmax_body);

/// `y = softmax(x)` over rows of `cols`, of which the first `lengths[row]` count.
pub fn softmax(pool: &Pool, y: &mut [f32], x: &[f32], lengths: Option<&[u32]>, cols: usize) {
    if y.is_empty() {
        return;
    }
    pool.rows(y, cols, least(cols), |first, y| {
        for (i, y) in y.chunks_exact_mut(cols).enumerate() {
            let row = first + i;
            let n = lengths.map_or(cols, |l| (l[row] as usize).min(cols));
            let (y, behind) = y.split_at_mut(n);
            behind.fill(0.0);
            if n > 0 {
                softmax_row(y, &x[row * cols..row * cols + n]);
            }
        }
    });
}

#[inline(always)]
fn softmax_bwd_body<const FMA: bool>(dx: &mut [f32], y: &[f32], dy: &[f32], cols: usize, acc: bool) {
    for ((dx, y), dy) in dx.chunks_exact_mut(cols).zip(y.chunks_exact(cols)).zip(dy.chunks_exact(cols)) {
        let dot = lanes::dot::<FMA>(y, dy);
        for ((dx, y), dy) in dx.iter_mut().zip(y).zip(dy) {
            put(dx, y * (dy - dot), acc);
        }
    }
}

crate::simd_fn!(fn softmax_bwd_rows(dx: &mut [f32], y: &[f32], dy: &[f32], cols: usize, acc: bool) = softmax_bwd_body);

/// `dx = y·(dy − Σ dy·y)`.
pub fn softmax_bwd(pool: &Pool, dx: &mut [f32], y: &[f32], dy: &[f32], cols: usize, acc: bool) {
    if dx.is_empty() {
        return;
    }
    pool.rows(dx, cols, least(cols), |first, dx| {
        let r = first * cols..first * cols + dx.len();
        softmax_bwd_rows(dx, &y[r.clone()], &dy[r], cols, acc);
    });
}

#[inline(always)]
fn sum_body<const FMA: bool>(y: &mut [f32], x: &[f32], cols: usize, scale: f32) {
    for (y, x) in y.iter_mut().zip(x.chunks(cols)) {
        *y = lanes::sum(x) * scale;
    }
}

crate::simd_fn!(fn sum_rows(y: &mut [f32], x: &[f32], cols: usize, scale: f32) = sum_body);

#[inline(always)]
fn max_body<const FMA: bool>(y: &mut [f32], count: &mut [f32], x: &[f32], cols: usize) {
    for ((y, count), x) in y.iter_mut().zip(count).zip(x.chunks(cols)) {
        let top = lanes::max(x);
        (*y, *count) = (top, x.iter().filter(|v| **v == top).count() as f32);
    }
}

crate::simd_fn!(fn max_rows(y: &mut [f32], count: &mut [f32], x: &[f32], cols: usize) = max_body);

/// Elements of a part of a long row.
const PART: usize = 4096;

/// `y = scale·Σ x` of rows of `cols`. One long row is summed in parts, the same ones on any number of threads.
pub fn sum(pool: &Pool, y: &mut [f32], x: &[f32], cols: usize, scale: f64) {
    if let [y] = y {
        *y = scratch::with(x.len().div_ceil(PART), |parts| {
            pool.rows(parts, 1, 4, |first, parts| sum_rows(parts, &x[first * PART..], PART, 1.0));
            (parts.iter().map(|p| f64::from(*p)).sum::<f64>() * scale) as f32
        });
        return;
    }
    pool.rows(y, 1, least(cols), |first, y| sum_rows(y, &x[first * cols..], cols, scale as f32));
}

/// The largest of each row, and how often it occurs.
pub fn max(pool: &Pool, y: &mut [f32], count: &mut [f32], x: &[f32], cols: usize) {
    if let ([y], [count]) = (&mut *y, &mut *count) {
        let n = x.len().div_ceil(PART);
        return scratch::with(2 * n, |parts| {
            let (tops, counts) = parts.split_at_mut(n);
            pool.rows2((tops, 1), (counts, 1), 4, |first, y, count| max_rows(y, count, &x[first * PART..], PART));
            *y = lanes::max(tops);
            *count = tops.iter().zip(counts).filter(|(t, _)| **t == *y).map(|(_, c)| *c).sum();
        });
    }
    pool.rows2((y, 1), (count, 1), least(cols), |first, y, count| max_rows(y, count, &x[first * cols..], cols));
}

/// `dx[i] = scale·dy[row]`.
pub fn sum_bwd(pool: &Pool, dx: &mut [f32], dy: &[f32], cols: usize, scale: f32, acc: bool) {
    if dx.is_empty() {
        return;
    }
    pool.rows(dx, 1, 4 * PART, |first, dx| {
        each_row(first, dx, cols, |row, _, dx| {
            let g = dy[row] * scale;
            dx.iter_mut().for_each(|dx| put(dx, g, acc));
        });
    });
}

/// What [`max_bwd`] reads.
#[derive(Clone, Copy)]
pub struct Maxima<'a> {
    pub x: &'a [f32],
    pub y: &'a [f32],
    pub count: &'a [f32],
}

/// `dx[i] = dy[row] / count[row]` where x is the largest of its row, else 0.
pub fn max_bwd(pool: &Pool, dx: &mut [f32], dy: &[f32], m: Maxima<'_>, cols: usize, acc: bool) {
    if dx.is_empty() {
        return;
    }
    pool.rows(dx, 1, 4 * PART, |first, dx| {
        each_row(first, dx, cols, |row, at, dx| {
            let (top, g) = (m.y[row], dy[row] / m.count[row]);
            for (dx, x) in dx.iter_mut().zip(&m.x[at..]) {
                put(dx, if *x == top { g } else { 0.0 }, acc);
            }
        });
    });
}

/// Cuts elements `first..` at the ends of rows: `f(row, first element, elements)`.
fn each_row(first: usize, mut part: &mut [f32], cols: usize, mut f: impl FnMut(usize, usize, &mut [f32])) {
    let mut at = first;
    while !part.is_empty() {
        let n = (cols - at % cols).min(part.len());
        let (head, rest) = part.split_at_mut(n);
        f(at / cols, at, head);
        (part, at) = (rest, at + n);
    }
}
