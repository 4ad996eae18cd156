//! RMSNorm and LayerNorm, row by row, and the gradients of their weights, column by column.

use super::lanes::{self, put};
use crate::cpu::Pool;
use crate::cpu::simd::fma;

/// Rows of `cols` that are worth a piece of work.
fn least(cols: usize) -> usize {
    8192 / cols.max(1) + 1
}

#[inline(always)]
fn rms_body<const FMA: bool>(y: &mut [f32], r: &mut [f32], x: &[f32], w: &[f32], (eps, offset): (f32, f32)) {
    let cols = w.len();
    for ((y, r), x) in y.chunks_exact_mut(cols).zip(r).zip(x.chunks_exact(cols)) {
        let root = 1.0 / (lanes::sum_squares::<FMA>(x, 0.0) / cols as f32 + eps).sqrt();
        *r = root;
        for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
            *y = x * root * (w + offset);
        }
    }
}

crate::simd_fn!(fn rms_rows(y: &mut [f32], r: &mut [f32], x: &[f32], w: &[f32], numbers: (f32, f32)) = rms_body);

/// `y = x·r·(offset + w)`, `r = 1/√(mean x² + eps)` of rows as long as `w`; `numbers` are eps and offset.
pub fn rms(pool: &Pool, y: &mut [f32], r: &mut [f32], x: &[f32], w: &[f32], numbers: (f32, f32)) {
    let cols = w.len();
    pool.rows2((y, cols), (r, 1), least(cols), |first, y, r| rms_rows(y, r, &x[first * cols..][..r.len() * cols], w, numbers));
}

#[inline(always)]
fn rms_bwd_body<const FMA: bool>(dx: &mut [f32], x: &[f32], (w, offset): (&[f32], f32), r: &[f32], dy: &[f32], acc: bool) {
    let cols = w.len();
    for (((dx, r), x), dy) in dx.chunks_exact_mut(cols).zip(r).zip(x.chunks_exact(cols)).zip(dy.chunks_exact(cols)) {
        let mut dot = lanes::dot3::<FMA>(dy, w, x, 0.0);
        if offset != 0.0 {
            dot += offset * lanes::dot::<FMA>(dy, x);
        }
        let k = r * r * (r * dot) / cols as f32;
        for (((dx, x), w), dy) in dx.iter_mut().zip(x).zip(w).zip(dy) {
            put(dx, fma::<FMA>(r * dy, w + offset, -(x * k)), acc);
        }
    }
}

crate::simd_fn!(fn rms_bwd_rows(dx: &mut [f32], x: &[f32], w: (&[f32], f32), r: &[f32], dy: &[f32], acc: bool) = rms_bwd_body);

/// `dx = r·dy·g − x·r³·Σ dy·g·x / C` with g = offset + w; `w` comes with the offset.
pub fn rms_bwd(pool: &Pool, dx: &mut [f32], x: &[f32], w: (&[f32], f32), r: &[f32], dy: &[f32], acc: bool) {
    let cols = w.0.len();
    pool.rows(dx, cols, least(cols), |first, dx| {
        let (at, end) = (first * cols, first * cols + dx.len());
        rms_bwd_rows(dx, &x[at..end], w, &r[first..end / cols], &dy[at..end], acc);
    });
}

/// Weights of a LayerNorm: w, b if any, and the number of heads, which take turns; `first` is the number of the first row.
#[derive(Clone, Copy)]
struct Gains<'a> {
    w: &'a [f32],
    b: Option<&'a [f32]>,
    heads: usize,
    first: usize,
}

impl<'a> Gains<'a> {
    fn cols(&self) -> usize {
        self.w.len() / self.heads
    }

    /// w of row `i` from the first.
    #[inline(always)]
    fn of(&self, x: &'a [f32], i: usize) -> &'a [f32] {
        let cols = self.cols();
        &x[(self.first + i) % self.heads * cols..][..cols]
    }
}

#[inline(always)]
fn layer_body<const FMA: bool>(y: &mut [f32], stats: &mut [f32], x: &[f32], gains: Gains<'_>, eps: f32) {
    let cols = gains.cols();
    for (i, ((y, stats), x)) in y.chunks_exact_mut(cols).zip(stats.chunks_exact_mut(2)).zip(x.chunks_exact(cols)).enumerate() {
        let mean = lanes::sum(x) / cols as f32;
        let root = 1.0 / (lanes::sum_squares::<FMA>(x, mean) / cols as f32 + eps).sqrt();
        (stats[0], stats[1]) = (mean, root);
        let w = gains.of(gains.w, i);
        match gains.b {
            Some(b) => {
                for (((y, x), w), b) in y.iter_mut().zip(x).zip(w).zip(gains.of(b, i)) {
                    *y = fma::<FMA>((x - mean) * root, *w, *b);
                }
            }
            None => y.iter_mut().zip(x).zip(w).for_each(|((y, x), w)| *y = (x - mean) * root * w),
        }
    }
}

crate::simd_fn!(fn layer_rows(y: &mut [f32], stats: &mut [f32], x: &[f32], gains: Gains<'_>, eps: f32) = layer_body);

/// `y = (x − mean)·r·w (+ b)` of rows in `heads` parts; stats are mean and r of each.
pub fn layer(pool: &Pool, y: &mut [f32], stats: &mut [f32], x: &[f32], (w, b): (&[f32], Option<&[f32]>), heads: usize, eps: f32) {
    let cols = w.len() / heads;
    pool.rows2((y, cols), (stats, 2), least(cols), |first, y, stats| {
        let at = first * cols;
        layer_rows(y, stats, &x[at..at + stats.len() / 2 * cols], Gains { w, b, heads, first }, eps);
    });
}

#[inline(always)]
fn layer_bwd_body<const FMA: bool>(dx: &mut [f32], x: &[f32], gains: Gains<'_>, stats: &[f32], dy: &[f32], acc: bool) {
    let cols = gains.cols();
    let n = cols as f32;
    let rows = dx.chunks_exact_mut(cols).zip(stats.chunks_exact(2)).zip(x.chunks_exact(cols)).zip(dy.chunks_exact(cols));
    for (i, (((dx, s), x), dy)) in rows.enumerate() {
        let (mean, r) = (s[0], s[1]);
        let w = gains.of(gains.w, i);
        let a = lanes::dot::<FMA>(dy, w) / n;
        let b = lanes::dot3::<FMA>(dy, w, x, mean) * r / n;
        for (((dx, x), w), dy) in dx.iter_mut().zip(x).zip(w).zip(dy) {
            // Not fused: with one column both sides are the same product, and the difference is exactly 0.
            put(dx, r * (dy * w - a - (x - mean) * r * b), acc);
        }
    }
}

crate::simd_fn!(fn layer_bwd_rows(dx: &mut [f32], x: &[f32], gains: Gains<'_>, stats: &[f32], dy: &[f32], acc: bool) = layer_bwd_body);

/// Gradient of [`layer`] with respect to x; `w` comes with the number of heads.
pub fn layer_bwd(pool: &Pool, dx: &mut [f32], x: &[f32], (w, heads): (&[f32], usize), stats: &[f32], dy: &[f32], acc: bool) {
    let cols = w.len() / heads;
    pool.rows(dx, cols, least(cols), |first, dx| {
        let (at, end) = (first * cols, first * cols + dx.len());
        let gains = Gains { w, b: None, heads, first };
        layer_bwd_rows(dx, &x[at..end], gains, &stats[2 * first..2 * (end / cols)], &dy[at..end], acc);
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

/// `dw = Σ dy·(x − mean)·r` and `db = Σ dy`; `stats` are (mean, r) of each of `heads` parts of a row.
pub fn dw_db(pool: &Pool, dw: (&mut [f32], bool), db: (&mut [f32], bool), x: &[f32], stats: &[f32], dy: &[f32], heads: usize) {
    let cols = dw.0.len();
    let rows = Rows { x, stats, dy, cols };
    let acc = (dw.1, db.1);
    pool.rows2((dw.0, 1), (db.0, 1), COLUMNS, |first, dw, db| {
        if heads == 1 {
            return dwb_columns(dw, db, &rows, first, acc);
        }
        // Only norms of heads while all weights are trained: not worth more.
        for (c, (dw, db)) in (first..).zip(dw.iter_mut().zip(db)) {
            let (mut w, mut b, head) = (0.0, 0.0, c / (cols / heads));
            for (row, s) in stats.chunks_exact(2 * heads).enumerate() {
                let (mean, r, g) = (s[2 * head], s[2 * head + 1], dy[row * cols + c]);
                w += g * r * (x[row * cols + c] - mean);
                b += g;
            }
            put(dw, w, acc.0);
            put(db, b, acc.1);
        }
    });
}
