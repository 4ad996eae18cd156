//! RMSNorm and LayerNorm, row by row, and the gradients of their weights, column by column.

use super::lanes::{self, put};
use crate::cpu::Pool;
use crate::cpu::simd::fma;

/// Rows of `cols` that are worth a piece of work.
fn least(cols: usize) -> usize {
    8192 / cols.max(1) + 1
}

#[inline(always)]
fn rms_body<const FMA: bool>(y: &mut [f32], r: &mut [f32], x: &[f32], w: &[f32], eps: f32) {
    let cols = w.len();
    for ((y, r), x) in y.chunks_exact_mut(cols).zip(r).zip(x.chunks_exact(cols)) {
        let root = 1.0 / (lanes::sum_squares::<FMA>(x, 0.0) / cols as f32 + eps).sqrt();
        *r = root;
        for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
            *y = x * root * w;
        }
    }
}

crate::simd_fn!(fn rms_rows(y: &mut [f32], r: &mut [f32], x: &[f32], w: &[f32], eps: f32) = rms_body);

/// `y = x·r·w`, `r = 1/√(mean x² + eps)` of rows as long as `w`.
pub fn rms(pool: &Pool, y: &mut [f32], r: &mut [f32], x: &[f32], w: &[f32], eps: f32) {
    let cols = w.len();
    pool.rows2((y, cols), (r, 1), least(cols), |first, y, r| rms_rows(y, r, &x[first * cols..][..r.len() * cols], w, eps));
}

#[inline(always)]
fn rms_bwd_body<const FMA: bool>(dx: &mut [f32], x: &[f32], w: &[f32], r: &[f32], dy: &[f32], acc: bool) {
    let cols = w.len();
    for (((dx, r), x), dy) in dx.chunks_exact_mut(cols).zip(r).zip(x.chunks_exact(cols)).zip(dy.chunks_exact(cols)) {
        let k = r * r * (r * lanes::dot3::<FMA>(dy, w, x, 0.0)) / cols as f32;
        for (((dx, x), w), dy) in dx.iter_mut().zip(x).zip(w).zip(dy) {
            put(dx, fma::<FMA>(r * dy, *w, -(x * k)), acc);
        }
    }
}

crate::simd_fn!(fn rms_bwd_rows(dx: &mut [f32], x: &[f32], w: &[f32], r: &[f32], dy: &[f32], acc: bool) = rms_bwd_body);

/// `dx = r·dy·w − x·r³·Σ dy·w·x / C`.
pub fn rms_bwd(pool: &Pool, dx: &mut [f32], x: &[f32], w: &[f32], r: &[f32], dy: &[f32], acc: bool) {
    let cols = w.len();
    pool.rows(dx, cols, least(cols), |first, dx| {
        let (at, end) = (first * cols, first * cols + dx.len());
        rms_bwd_rows(dx, &x[at..end], w, &r[first..end / cols], &dy[at..end], acc);
    });
}

#[inline(always)]
fn layer_body<const FMA: bool>(y: &mut [f32], stats: &mut [f32], x: &[f32], w: &[f32], b: &[f32], eps: f32) {
    let cols = w.len();
    for ((y, stats), x) in y.chunks_exact_mut(cols).zip(stats.chunks_exact_mut(2)).zip(x.chunks_exact(cols)) {
        let mean = lanes::sum(x) / cols as f32;
        let root = 1.0 / (lanes::sum_squares::<FMA>(x, mean) / cols as f32 + eps).sqrt();
        (stats[0], stats[1]) = (mean, root);
        for (((y, x), w), b) in y.iter_mut().zip(x).zip(w).zip(b) {
            *y = fma::<FMA>((x - mean) * root, *w, *b);
        }
    }
}

crate::simd_fn!(fn layer_rows(y: &mut [f32], stats: &mut [f32], x: &[f32], w: &[f32], b: &[f32], eps: f32) = layer_body);

/// `y = (x − mean)·r·w + b`; stats are mean and r of each row.
pub fn layer(pool: &Pool, y: &mut [f32], stats: &mut [f32], x: &[f32], w: &[f32], b: &[f32], eps: f32) {
    let cols = w.len();
    pool.rows2((y, cols), (stats, 2), least(cols), |first, y, stats| {
        let at = first * cols;
        layer_rows(y, stats, &x[at..at + stats.len() / 2 * cols], w, b, eps);
    });
}

#[inline(always)]
fn layer_bwd_body<const FMA: bool>(dx: &mut [f32], x: &[f32], w: &[f32], stats: &[f32], dy: &[f32], acc: bool) {
    let cols = w.len();
    let n = cols as f32;
    for (((dx, s), x), dy) in dx.chunks_exact_mut(cols).zip(stats.chunks_exact(2)).zip(x.chunks_exact(cols)).zip(dy.chunks_exact(cols)) {
        let (mean, r) = (s[0], s[1]);
        let a = lanes::dot::<FMA>(dy, w) / n;
        let b = lanes::dot3::<FMA>(dy, w, x, mean) * r / n;
        for (((dx, x), w), dy) in dx.iter_mut().zip(x).zip(w).zip(dy) {
            // Not fused: with one column both sides are the same product, and the difference is exactly 0.
            put(dx, r * (dy * w - a - (x - mean) * r * b), acc);
        }
    }
}

crate::simd_fn!(fn layer_bwd_rows(dx: &mut [f32], x: &[f32], w: &[f32], stats: &[f32], dy: &[f32], acc: bool) = layer_bwd_body);

/// Gradient of [`layer`] with respect to x.
pub fn layer_bwd(pool: &Pool, dx: &mut [f32], x: &[f32], w: &[f32], stats: &[f32], dy: &[f32], acc: bool) {
    let cols = w.len();
    pool.rows(dx, cols, least(cols), |first, dx| {
        let (at, end) = (first * cols, first * cols + dx.len());
        layer_bwd_rows(dx, &x[at..end], w, &stats[2 * first..2 * (end / cols)], &dy[at..end], acc);
    });
}

/// Columns that are summed together.
const COLUMNS: usize = 64;

/// What [`dw`] reads.
#[derive(Clone, Copy)]
struct Rows<'a> {
    x: &'a [f32],
    stats: &'a [f32],
    dy: &'a [f32],
    cols: usize,
}

#[inline(always)]
fn dw_body<const FMA: bool>(dw: &mut [f32], rows: &Rows<'_>, first: usize, acc: bool) {
    for (i, dw) in dw.chunks_mut(COLUMNS).enumerate() {
        let (mut sum, at, n) = ([0.0; COLUMNS], first + i * COLUMNS, dw.len());
        for ((x, dy), r) in rows.x.chunks_exact(rows.cols).zip(rows.dy.chunks_exact(rows.cols)).zip(rows.stats) {
            for ((s, x), dy) in sum[..n].iter_mut().zip(&x[at..at + n]).zip(&dy[at..at + n]) {
                *s = fma::<FMA>(dy * x, *r, *s);
            }
        }
        dw.iter_mut().zip(&sum).for_each(|(y, s)| put(y, *s, acc));
    }
}

crate::simd_fn!(fn dw_columns(dw: &mut [f32], rows: &Rows<'_>, first: usize, acc: bool) = dw_body);

#[inline(always)]
fn dwb_body<const FMA: bool>(dw: &mut [f32], db: &mut [f32], rows: &Rows<'_>, first: usize, acc: (bool, bool)) {
    for (i, (dw, db)) in dw.chunks_mut(COLUMNS).zip(db.chunks_mut(COLUMNS)).enumerate() {
        let (mut w, mut b, at, n) = ([0.0; COLUMNS], [0.0; COLUMNS], first + i * COLUMNS, dw.len());
        let all = rows.x.chunks_exact(rows.cols).zip(rows.dy.chunks_exact(rows.cols)).zip(rows.stats.chunks_exact(2));
        for ((x, dy), s) in all {
            let (mean, r) = (s[0], s[1]);
            for (((w, b), x), dy) in w[..n].iter_mut().zip(&mut b[..n]).zip(&x[at..at + n]).zip(&dy[at..at + n]) {
                *w = fma::<FMA>(dy * r, x - mean, *w);
                *b += dy;
            }
        }
        dw.iter_mut().zip(&w).for_each(|(y, s)| put(y, *s, acc.0));
        db.iter_mut().zip(&b).for_each(|(y, s)| put(y, *s, acc.1));
    }
}

crate::simd_fn!(fn dwb_columns(dw: &mut [f32], db: &mut [f32], rows: &Rows<'_>, first: usize, acc: (bool, bool)) = dwb_body);

/// `dw = Σ dy·x·r` over the rows; `stats` is r.
pub fn dw(pool: &Pool, dw: &mut [f32], acc: bool, x: &[f32], stats: &[f32], dy: &[f32]) {
    let rows = Rows { x, stats, dy, cols: dw.len() };
    pool.rows(dw, 1, COLUMNS, |first, dw| dw_columns(dw, &rows, first, acc));
}

/// `dw = Σ dy·(x − mean)·r` and `db = Σ dy`; `stats` are (mean, r).
pub fn dw_db(pool: &Pool, dw: (&mut [f32], bool), db: (&mut [f32], bool), x: &[f32], stats: &[f32], dy: &[f32]) {
    let rows = Rows { x, stats, dy, cols: dw.0.len() };
    let acc = (dw.1, db.1);
    pool.rows2((dw.0, 1), (db.0, 1), COLUMNS, |first, dw, db| dwb_columns(dw, db, &rows, first, acc));
}
