//! The three products of training, `y = x·Wᵀ`, `dx = dy·W` and `dw = dyᵀ·x`, over f32 activations and weights of any type.
//!
//! Nothing is transposed or packed beforehand. A task takes a block of W small enough for the cache, turns it into f32 once, and passes all rows of x
//! over it. Two register tiles do the arithmetic: [`dot_tile`] for sums along the rows of both operands, [`axpy_tile`] for sums across
//! the rows of one. Every output is summed in an order that depends on its own shape alone, not on the number of threads or of other rows.

use super::{Packed, few};
use crate::cpu::pool::Shared;
use crate::cpu::vector::Vector;
use crate::cpu::{Pool, scratch};

/// Weight rows and columns of a block: 64 KiB of f32.
const ROWS: usize = 32;
pub(super) const DEPTH: usize = 512;
/// Columns and weight rows of a block where sums run across rows.
const WIDTH: usize = 64;
const STRIPE: usize = 256;

/// Sums of `k` products for MR rows of `x` and NR rows of `w`, along the rows. `y[i·ldy + j]` is added to, or set where `first`.
///
/// # Safety
/// As [`Vector`]; all rows are `k` long, `y` may be written.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // indices of registers
unsafe fn dot_tile<V: Vector, const MR: usize, const NR: usize>(
    k: usize,
    (x, ldx): (*const f32, usize),
    (w, ldw): (*const f32, usize),
    (y, ldy): (*mut f32, usize),
    first: bool,
) {
    unsafe {
        let mut acc = [[V::splat(0.0); NR]; MR];
        let mut p = 0;
        while p + V::LANES <= k {
            // MR·NR sums, MR values of x and one of w: they fill the register file and no more.
            let mut a = [V::splat(0.0); MR];
            for (i, a) in a.iter_mut().enumerate() {
                *a = V::load(x.add(i * ldx + p));
            }
            for j in 0..NR {
                let b = V::load(w.add(j * ldw + p));
                for i in 0..MR {
                    acc[i][j] = a[i].fma(b, acc[i][j]);
                }
            }
            p += V::LANES;
        }
        for (i, acc) in acc.iter().enumerate() {
            for (j, acc) in acc.iter().enumerate() {
                let mut sum = acc.sum();
                for c in p..k {
                    sum += *x.add(i * ldx + c) * *w.add(j * ldw + c);
                }
                let to = y.add(i * ldy + j);
                *to = if first { sum } else { *to + sum };
            }
        }
    }
}

/// A strided operand: element (i, p) is at `start + i·row + p·col`.
#[derive(Clone, Copy)]
pub(super) struct Strided {
    pub start: *const f32,
    pub row: usize,
    pub col: usize,
}

/// `c[i, :] (+)= Σ_p a(i, p)·b[p, :]` for MR rows and NV registers of columns.
///
/// # Safety
/// As [`Vector`]; the operands have `n` terms, `c` may be written.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // indices of registers
unsafe fn axpy_tile<V: Vector, const MR: usize, const NV: usize>(
    n: usize,
    a: Strided,
    (b, ldb): (*const f32, usize),
    (c, ldc): (*mut f32, usize),
    first: bool,
) {
    unsafe {
        let mut acc = [[V::splat(0.0); NV]; MR];
        if !first {
            for (i, acc) in acc.iter_mut().enumerate() {
                for (j, acc) in acc.iter_mut().enumerate() {
                    *acc = V::load(c.add(i * ldc + j * V::LANES));
                }
            }
        }
        for p in 0..n {
            let mut s = [V::splat(0.0); MR];
            for (i, s) in s.iter_mut().enumerate() {
                *s = V::splat(*a.start.add(i * a.row + p * a.col));
            }
            for j in 0..NV {
                let v = V::load(b.add(p * ldb + j * V::LANES));
                for i in 0..MR {
                    acc[i][j] = s[i].fma(v, acc[i][j]);
                }
            }
        }
        for (i, acc) in acc.iter().enumerate() {
            for (j, acc) in acc.iter().enumerate() {
                acc.store(c.add(i * ldc + j * V::LANES));
            }
        }
    }
}

/// Rows of the next tile when `left` are left.
#[inline(always)]
fn step<const MR: usize>(left: usize) -> usize {
    if left >= MR { MR } else { left.min(2) }
}

/// `c (m, cols) (+)= a (m, n)·b (n, cols)`, tile by tile.
///
/// # Safety
/// As [`axpy_tile`].
#[inline(always)]
unsafe fn axpy_block<V: Vector, const MR: usize, const NV: usize>(
    [m, n, cols]: [usize; 3],
    a: Strided,
    (b, ldb): (*const f32, usize),
    (c, ldc): (*mut f32, usize),
    first: bool,
) {
    unsafe {
        let wide = NV * V::LANES;
        let mut i = 0;
        while i < m {
            let rows = step::<MR>(m - i);
            let ai = Strided { start: a.start.add(i * a.row), ..a };
            let ci = c.add(i * ldc);
            let mut j = 0;
            while j + wide <= cols {
                match rows {
                    1 => axpy_tile::<V, 1, NV>(n, ai, (b.add(j), ldb), (ci.add(j), ldc), first),
                    2 => axpy_tile::<V, 2, NV>(n, ai, (b.add(j), ldb), (ci.add(j), ldc), first),
                    _ => axpy_tile::<V, MR, NV>(n, ai, (b.add(j), ldb), (ci.add(j), ldc), first),
                }
                j += wide;
            }
            while j + V::LANES <= cols {
                match rows {
                    1 => axpy_tile::<V, 1, 1>(n, ai, (b.add(j), ldb), (ci.add(j), ldc), first),
                    2 => axpy_tile::<V, 2, 1>(n, ai, (b.add(j), ldb), (ci.add(j), ldc), first),
                    _ => axpy_tile::<V, MR, 1>(n, ai, (b.add(j), ldb), (ci.add(j), ldc), first),
                }
                j += V::LANES;
            }
            for j in j..cols {
                for r in 0..rows {
                    let to = ci.add(r * ldc + j);
                    let mut sum = if first { 0.0 } else { *to };
                    for p in 0..n {
                        sum += *ai.start.add(r * ai.row + p * ai.col) * *b.add(p * ldb + j);
                    }
                    *to = sum;
                }
            }
            i += rows;
        }
    }
}

/// Rows `rows` of W, columns `c0..c0 + depth`, against all `m` rows of x. `w` holds them as f32, `depth` apart.
///
/// # Safety
/// As [`dot_tile`].
#[inline(always)]
unsafe fn dot_block<V: Vector, const MR: usize, const NR: usize>(
    [m, n, k]: [usize; 3],
    (x, ldx): (*const f32, usize),
    (w, ldw): (*const f32, usize),
    (y, ldy): (*mut f32, usize),
    first: bool,
) {
    unsafe {
        let mut i = 0;
        while i < m {
            let rows = step::<MR>(m - i);
            let xi = (x.add(i * ldx), ldx);
            let yi = y.add(i * ldy);
            let mut j = 0;
            while j + NR <= n {
                let wj = (w.add(j * ldw), ldw);
                match rows {
                    1 => dot_tile::<V, 1, NR>(k, xi, wj, (yi.add(j), ldy), first),
                    2 => dot_tile::<V, 2, NR>(k, xi, wj, (yi.add(j), ldy), first),
                    _ => dot_tile::<V, MR, NR>(k, xi, wj, (yi.add(j), ldy), first),
                }
                j += NR;
            }
            while j < n {
                let wj = (w.add(j * ldw), ldw);
                match rows {
                    1 => dot_tile::<V, 1, 1>(k, xi, wj, (yi.add(j), ldy), first),
                    2 => dot_tile::<V, 2, 1>(k, xi, wj, (yi.add(j), ldy), first),
                    _ => dot_tile::<V, MR, 1>(k, xi, wj, (yi.add(j), ldy), first),
                }
                j += 1;
            }
            i += rows;
        }
    }
}

type In = (*const f32, usize);
type Out = (*mut f32, usize);

crate::simd_vec!(pub(super) fn dots(shape: [usize; 3], x: In, w: In, y: Out, first: bool) = dot_block);
crate::simd_vec!(pub(super) fn axpys(shape: [usize; 3], a: Strided, b: In, c: Out, first: bool) = axpy_block);

/// `y[i, y0 + j] = Σ_k x[i, k]·w[j, k]` for x (m, k) and all rows of w; `y` has rows of `ldy`.
///
/// # Panics
/// When the slices are too short.
pub fn forward(pool: &Pool, m: usize, x: &[f32], w: Packed<'_>, y: &mut [f32], (y0, ldy): (usize, usize)) {
    let (n, k) = (w.rows, w.cols);
    assert!(x.len() >= m * k && (m == 0 || y.len() >= (m - 1) * ldy + y0 + n), "x {}, y {} for {m}×{n}×{k}", x.len(), y.len());
    if m == 0 || n == 0 {
        return;
    }
    if few::fits(m, &w) {
        return few::forward(pool, m, x, w, y, (y0, ldy));
    }
    let y = Shared::new(y);
    pool.run(n.div_ceil(ROWS), |task| {
        let (j0, rows) = (task * ROWS, ROWS.min(n - task * ROWS));
        scratch::with(ROWS * DEPTH, |block| {
            for c0 in (0..k.max(1)).step_by(DEPTH) {
                let depth = DEPTH.min(k - c0);
                let weights = match w.floats() {
                    Some(w) => (w[(j0 * k + c0).min(w.len())..].as_ptr(), k),
                    None => {
                        for j in 0..rows {
                            w.read(j0 + j, c0, &mut block[j * depth..(j + 1) * depth]);
                        }
                        (block.as_ptr(), depth)
                    }
                };
                // SAFETY: x is m rows of k; tasks write disjoint columns of y, which is long enough.
                let (from, to) = unsafe { (x.as_ptr().add(c0), y.at(y0 + j0)) };
                dots([m, rows, depth], (from, k), weights, (to, ldy), c0 == 0);
            }
        });
    });
}

/// `dx (m, k) (+)= dy·W` for dy (m, n).
///
/// # Panics
/// When the slices are too short.
pub fn dx(pool: &Pool, m: usize, dy: &[f32], w: Packed<'_>, dx: &mut [f32], add: bool) {
    let (n, k) = (w.rows, w.cols);
    assert!(dy.len() >= m * n && dx.len() >= m * k, "dy {}, dx {} for {m}×{n}×{k}", dy.len(), dx.len());
    if n == 0 && !add {
        dx.fill(0.0);
    }
    let out = Shared::new(dx);
    pool.run(k.div_ceil(WIDTH), |task| {
        let (c0, cols) = (task * WIDTH, WIDTH.min(k - task * WIDTH));
        scratch::with(STRIPE * WIDTH, |block| {
            for p0 in (0..n).step_by(STRIPE) {
                let depth = STRIPE.min(n - p0);
                let weights = match w.floats() {
                    Some(w) => (w[p0 * k + c0..].as_ptr(), k),
                    None => {
                        for p in 0..depth {
                            w.read(p0 + p, c0, &mut block[p * cols..(p + 1) * cols]);
                        }
                        (block.as_ptr(), cols)
                    }
                };
                // SAFETY: dy is m rows of n; tasks write disjoint columns of dx.
                let (a, to) = unsafe { (Strided { start: dy.as_ptr().add(p0), row: n, col: 1 }, out.at(c0)) };
                axpys([m, depth, cols], a, weights, (to, k), p0 == 0 && !add);
            }
        });
    });
}

/// `dw (n, k) (+)= dyᵀ·x` for dy (m, n) and x (m, k).
///
/// # Panics
/// When the slices are too short.
pub fn dw(pool: &Pool, [m, n, k]: [usize; 3], dy: &[f32], x: &[f32], dw: &mut [f32], add: bool) {
    assert!(dy.len() >= m * n && x.len() >= m * k && dw.len() >= n * k, "dy {}, x {}, dw {} for {m}×{n}×{k}", dy.len(), x.len(), dw.len());
    if m == 0 && !add {
        dw.fill(0.0);
    }
    let out = Shared::new(dw);
    let across = k.div_ceil(WIDTH);
    pool.run(n.div_ceil(ROWS) * across, |task| {
        let (j0, c0) = (task / across * ROWS, task % across * WIDTH);
        let (rows, cols) = (ROWS.min(n - j0), WIDTH.min(k - c0));
        for p0 in (0..m).step_by(STRIPE) {
            let depth = STRIPE.min(m - p0);
            // SAFETY: dy is m rows of n, x m rows of k; tasks write disjoint blocks of dw.
            let (a, b, to) = unsafe {
                (Strided { start: dy.as_ptr().add(p0 * n + j0), row: 1, col: n }, x.as_ptr().add(p0 * k + c0), out.at(j0 * k + c0))
            };
            axpys([rows, depth, cols], a, (b, k), (to, k), p0 == 0 && !add);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DType, dequantize, quantize};

    fn values(n: usize, salt: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + salt * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    fn close(what: &str, got: &[f32], want: &[f64]) {
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            assert!((f64::from(*g) - w).abs() <= 2e-5 * w.abs().max(1.0), "{what}[{i}]: {g} instead of {w}");
        }
    }

    #[test]
    fn products_of_odd_shapes() {
        let pool = Pool::new(Some(3));
        for (m, n, k) in [(1, 1, 1), (1, 5, 3), (2, 33, 7), (4, 70, 65), (7, 31, 100), (13, 40, 1030), (1, 300, 33)] {
            let (x, w, dy) = (values(m * k, 1), values(n * k, 2), values(m * n, 3));
            let packed = Packed { dtype: DType::F32, rows: n, cols: k, bytes: bytemuck::cast_slice(&w) };
            let at = |a: &[f32], i: usize| f64::from(a[i]);
            let mut y = vec![9.0; m * n];
            forward(&pool, m, &x, packed, &mut y, (0, n));
            let want: Vec<f64> = (0..m * n).map(|i| (0..k).map(|c| at(&x, i / n * k + c) * at(&w, i % n * k + c)).sum()).collect();
            close(&format!("y {m}×{n}×{k}"), &y, &want);
            for add in [false, true] {
                let before = if add { 0.5 } else { 0.0 };
                let mut d = vec![0.5; m * k];
                dx(&pool, m, &dy, packed, &mut d, add);
                let want: Vec<f64> =
                    (0..m * k).map(|i| before + (0..n).map(|j| at(&dy, i / k * n + j) * at(&w, j * k + i % k)).sum::<f64>()).collect();
                close(&format!("dx {m}×{n}×{k}"), &d, &want);
                let mut d = vec![0.5; n * k];
                dw(&pool, [m, n, k], &dy, &x, &mut d, add);
                let want: Vec<f64> =
                    (0..n * k).map(|i| before + (0..m).map(|r| at(&dy, r * n + i / k) * at(&x, r * k + i % k)).sum::<f64>()).collect();
                close(&format!("dw {m}×{n}×{k}"), &d, &want);
            }
        }
    }

    #[test]
    fn packed_weights_and_any_number_of_threads_or_rows_give_the_same_bits() {
        let (m, n, k) = (9, 70, 1056);
        let x = values(m * k, 4);
        for dtype in [DType::Q4_0, DType::Q4_1, DType::Q8_0, DType::F16, DType::BF16] {
            let bytes = quantize(dtype, &values(n * k, 5));
            let w = Packed { dtype, rows: n, cols: k, bytes: &bytes };
            let plain = dequantize(dtype, &bytes);
            let run = |threads: usize, m: usize| {
                let mut y = vec![0.0; m * n];
                forward(&Pool::new(Some(threads)), m, &x, w, &mut y, (0, n));
                y
            };
            let y = run(1, m);
            let want: Vec<f64> =
                (0..m * n).map(|i| (0..k).map(|c| f64::from(x[i / n * k + c]) * f64::from(plain[i % n * k + c])).sum()).collect();
            close(dtype.name(), &y, &want);
            assert_eq!(y, run(4, m), "{}: threads", dtype.name());
            // From one row to those that a kernel of their own is for, and beyond.
            for rows in 1..m {
                assert_eq!(y[..rows * n], run(2, rows)[..], "{}: {rows} rows", dtype.name());
            }
        }
    }
}
