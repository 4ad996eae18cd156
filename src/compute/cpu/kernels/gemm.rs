//! The three products of training, `y = x·Wᵀ`, `dx = dy·W` and `dw = dyᵀ·x`, over f32 activations and weights of any type.
//!
//! A task takes a block of W small enough for the cache, turns it into f32 once, and passes all rows of x over it. Two register tiles do the
//! arithmetic: `dot_tile` for sums along the rows of both operands, `axpy_tile` for sums across the rows of one. What a tile reads again and
//! again is copied together first, in the order in which it is read: rows a power of two apart share a few lines of the cache, and
//! one pointer in place of six is what a browser's compiler needs. Every output is summed in an order that depends on its own shape alone, not on
//! the number of threads or of other rows; where a few rows are computed in whole numbers, their last bits are others than those of many.

use super::packed::DEPTH;
use super::{Packed, few};
use crate::cpu::pool::Shared;
use crate::cpu::vector::{Base, Vector};
use crate::cpu::{Pool, scratch};

/// Weight rows of a block; with [`DEPTH`] columns 64 KiB of f32.
const ROWS: usize = 32;
/// Columns and weight rows of a block where sums run across rows.
const WIDTH: usize = 64;
const STRIPE: usize = 256;
/// Values of a block's columns, copied together in panels as wide as a tile: no tile is wider than WIDTH.
const PANELS: usize = STRIPE * WIDTH;

/// A matrix and how far its rows are apart.
type In = (*const f32, usize);
type Out = (*mut f32, usize);

/// From so many rows of x on it pays to copy rows of w together.
const TIGHT_FROM: usize = 16;
/// Steps of a tile's inner loop that are written out: pointers move and are compared once for all of them.
const UNROLLED: usize = 4;
/// Rows of x that a few rows of W pass over before the next ones do: they stay in the second cache. A multiple of every tile.
const CHUNK: usize = 48;

/// Pointers to N rows.
///
/// # Safety
/// They are there.
#[inline(always)]
unsafe fn pointers<const N: usize>(first: *const f32, ld: usize) -> [*const f32; N] {
    let mut all = [first; N];
    for (i, p) in all.iter_mut().enumerate() {
        *p = unsafe { first.add(i * ld) };
    }
    all
}

/// # Safety
/// There are `by` more values behind each, or it is not read any more.
#[inline(always)]
unsafe fn advance<const N: usize>(all: &mut [*const f32; N], by: usize) {
    for p in all {
        *p = unsafe { p.add(by) };
    }
}

/// One register of columns of [`dot_tile`]: MR·NR sums, MR values of x and one of w, which fill the register file and no more.
///
/// # Safety
/// As [`dot_tile`].
#[inline(always)]
#[allow(clippy::needless_range_loop)] // indices of registers
unsafe fn dot_step<V: Vector, const MR: usize, const NR: usize>(
    acc: &mut [[V; NR]; MR],
    (x, at): (&[*const f32; MR], usize),
    (w, wat): (&[*const f32; NR], usize),
) {
    unsafe {
        let mut a = [V::splat(0.0); MR];
        for i in 0..MR {
            a[i] = V::load(x[i].add(at));
        }
        for j in 0..NR {
            let b = V::load(w[j].add(wat));
            for i in 0..MR {
                acc[i][j] = a[i].fma(b, acc[i][j]);
            }
        }
    }
}

/// Sums of `k` products for MR rows of `x` and NR rows of `w`, along the rows. `y[i·ldy + j]` is added to, or set where `first`. With TIGHT
/// the rows of `w` are copied together in `panel`, a register of each in turn, as far as there are whole registers.
///
/// # Safety
/// As [`Vector`]; all rows are `k` long, `y` may be written.
#[inline(always)]
unsafe fn dot_tile<V: Vector, const MR: usize, const NR: usize, const TIGHT: bool>(
    k: usize,
    (x, ldx): In,
    (w, ldw): In,
    panel: *const f32,
    (y, ldy): Out,
    first: bool,
) {
    unsafe {
        let mut acc = [[V::splat(0.0); NR]; MR];
        let mut xs = pointers::<MR>(x, ldx);
        let mut ws = if TIGHT { pointers::<NR>(panel, V::LANES) } else { pointers::<NR>(w, ldw) };
        // From one register of a row of w to its next.
        let step = if TIGHT { NR * V::LANES } else { V::LANES };
        for _ in 0..k / V::LANES / UNROLLED {
            for u in 0..UNROLLED {
                dot_step(&mut acc, (&xs, u * V::LANES), (&ws, u * step));
            }
            advance(&mut xs, UNROLLED * V::LANES);
            advance(&mut ws, UNROLLED * step);
        }
        for u in 0..k / V::LANES % UNROLLED {
            dot_step(&mut acc, (&xs, u * V::LANES), (&ws, u * step));
        }
        let done = k / V::LANES * V::LANES;
        for (i, acc) in acc.iter().enumerate() {
            let to = y.add(i * ldy);
            if NR == 4 && done == k {
                let sums = V::sums([acc[0], acc[1 % NR], acc[2 % NR], acc[3 % NR]]);
                (if first { sums } else { Base::load(to).add(sums) }).store(to);
                continue;
            }
            for (j, acc) in acc.iter().enumerate() {
                let (mut sum, to) = (acc.sum(), to.add(j));
                for p in done..k {
                    sum += *x.add(i * ldx + p) * *w.add(j * ldw + p);
                }
                *to = if first { sum } else { *to + sum };
            }
        }
    }
}

/// The factors of [`axpys`]: of row i and term p.
#[derive(Clone, Copy)]
pub enum Factors {
    /// Element (i, p) is at `i·ld + p`.
    Rows(*const f32, usize),
    /// Element (i, p) is at `p·ld + i`.
    Columns(*const f32, usize),
    /// Copied together tile by tile, which [`axpys`] does with columns: that of MR rows from i on begins at `i·ld`, and there row i + r is at `p·MR + r`.
    Tiles(*const f32, usize),
}

impl Factors {
    /// From row i and term p on; of tiles from the one that begins with row i.
    ///
    /// # Safety
    /// There is one.
    #[inline(always)]
    unsafe fn at(self, i: usize, p: usize) -> Factors {
        unsafe {
            match self {
                Factors::Rows(start, ld) => Factors::Rows(start.add(i * ld + p), ld),
                Factors::Columns(start, ld) => Factors::Columns(start.add(p * ld + i), ld),
                Factors::Tiles(start, ld) => Factors::Tiles(start.add(i * ld), ld),
            }
        }
    }

    /// Element (i, p) of what is not copied together.
    ///
    /// # Safety
    /// There is one.
    #[inline(always)]
    unsafe fn one(self, i: usize, p: usize) -> *const f32 {
        match unsafe { self.at(i, p) } {
            Factors::Rows(at, _) | Factors::Columns(at, _) | Factors::Tiles(at, _) => at,
        }
    }
}

/// One term of [`axpy_tile`]'s sums: the factors `a[i]`, `at` values on.
///
/// # Safety
/// As [`axpy_tile`].
#[inline(always)]
#[allow(clippy::needless_range_loop)] // indices of registers
unsafe fn axpy_step<V: Vector, const MR: usize, const NV: usize>(acc: &mut [[V; NV]; MR], a: &[*const f32; MR], at: usize, b: *const f32) {
    unsafe {
        let mut s = [V::splat(0.0); MR];
        for i in 0..MR {
            s[i] = V::splat(*a[i].add(at));
        }
        for j in 0..NV {
            let v = V::load(b.add(j * V::LANES));
            for i in 0..MR {
                acc[i][j] = s[i].fma(v, acc[i][j]);
            }
        }
    }
}

/// All `n` terms, factors `step` apart.
///
/// # Safety
/// As [`axpy_tile`].
#[inline(always)]
unsafe fn axpy_terms<V: Vector, const MR: usize, const NV: usize>(
    acc: &mut [[V; NV]; MR],
    n: usize,
    mut a: [*const f32; MR],
    step: usize,
    mut b: *const f32,
) {
    unsafe {
        let wide = NV * V::LANES;
        // Registers that a tile of wide vectors fills do not last for several terms.
        let unrolled = if V::LANES > 4 { 1 } else { UNROLLED };
        for _ in 0..n / unrolled {
            for u in 0..unrolled {
                axpy_step(acc, &a, u * step, b.add(u * wide));
            }
            advance(&mut a, unrolled * step);
            b = b.add(unrolled * wide);
        }
        for u in 0..n % unrolled {
            axpy_step(acc, &a, u * step, b.add(u * wide));
        }
    }
}

/// `c[i, :] (+)= Σ_p a(i, p)·b[p, :]` for MR rows and NV registers of columns; rows of b follow each other.
///
/// # Safety
/// As [`Vector`]; the operands have `n` terms, `c` may be written.
#[inline(always)]
unsafe fn axpy_tile<V: Vector, const MR: usize, const NV: usize>(n: usize, a: Factors, b: *const f32, (c, ldc): Out, first: bool) {
    unsafe {
        let mut acc = [[V::splat(0.0); NV]; MR];
        if !first {
            for (i, acc) in acc.iter_mut().enumerate() {
                for (j, acc) in acc.iter_mut().enumerate() {
                    *acc = V::load(c.add(i * ldc + j * V::LANES));
                }
            }
        }
        match a {
            Factors::Rows(a, ld) => axpy_terms(&mut acc, n, pointers(a, ld), 1, b),
            Factors::Columns(a, ld) => axpy_terms(&mut acc, n, pointers(a, 1), ld, b),
            Factors::Tiles(a, _) => axpy_terms(&mut acc, n, pointers(a, 1), MR, b),
        }
        for (i, acc) in acc.iter().enumerate() {
            for (j, acc) in acc.iter().enumerate() {
                acc.store(c.add(i * ldc + j * V::LANES));
            }
        }
    }
}

/// Calls a tile function for the next MR rows of `left`, or for 2, or for 1, and gives that number.
macro_rules! rows_of {
    ($left:expr, $mr:ident, $tile:ident::<V, _, $($n:tt),+>($($arg:expr),*)) => {
        match $left {
            1 => {
                $tile::<V, 1, $($n),+>($($arg),*);
                1
            }
            left if left < $mr => {
                $tile::<V, 2, $($n),+>($($arg),*);
                2
            }
            _ => {
                $tile::<V, $mr, $($n),+>($($arg),*);
                $mr
            }
        }
    };
}

/// Copies the factors of a tile together.
///
/// # Safety
/// As [`axpy_tile`]; there is room for MR·n of them.
#[inline(always)]
#[allow(clippy::extra_unused_type_parameters)] // what `rows_of` gives
unsafe fn pack_tile<V: Vector, const MR: usize, const _NV: usize>(n: usize, (from, ld): In, to: *mut f32) {
    unsafe {
        for p in 0..n {
            for i in 0..MR {
                *to.add(p * MR + i) = *from.add(p * ld + i);
            }
        }
    }
}

/// Copies NV registers of columns of `n` rows together.
///
/// # Safety
/// As [`axpy_tile`]; there is room.
#[inline(always)]
unsafe fn pack_panel<V: Vector, const NV: usize>(n: usize, (from, ld): In, to: *mut f32) {
    unsafe {
        for p in 0..n {
            for v in 0..NV {
                V::load(from.add(p * ld + v * V::LANES)).store(to.add((p * NV + v) * V::LANES));
            }
        }
    }
}

/// A panel of columns against `m` rows of factors.
///
/// # Safety
/// As [`axpy_tile`].
#[inline(always)]
unsafe fn axpy_panel<V: Vector, const MR: usize, const NV: usize>(
    [m, n]: [usize; 2],
    a: Factors,
    b: *const f32,
    (c, ldc): Out,
    first: bool,
) {
    unsafe {
        let mut i = 0;
        while i < m {
            i += rows_of!(m - i, MR, axpy_tile::<V, _, NV>(n, a.at(i, 0), b, (c.add(i * ldc), ldc), first));
        }
    }
}

/// # Safety
/// As [`axpy_tile`]; `room` is what [`axpys`] gives.
#[inline(always)]
unsafe fn axpy_body<V: Vector, const MR: usize, const NV: usize>(
    [m, n, cols]: [usize; 3],
    a: Factors,
    (b, ldb): In,
    (c, ldc): Out,
    first: bool,
    room: *mut f32,
) {
    unsafe {
        let wide = NV * V::LANES;
        for p0 in (0..n).step_by(STRIPE) {
            let depth = STRIPE.min(n - p0);
            let (factors, b, first) = (a.at(0, p0), b.add(p0 * ldb), first && p0 == 0);
            let mut a = factors;
            // Not for wide vectors: they meet a factor too seldom for it to be copied.
            if let Factors::Columns(from, ld) = a
                && V::LANES == 4
            {
                let to = room.add(PANELS);
                let mut i = 0;
                while i < m {
                    i += rows_of!(m - i, MR, pack_tile::<V, _, 1>(depth, (from.add(i), ld), to.add(i * depth)));
                }
                a = Factors::Tiles(to, depth);
            }
            for j0 in (0..cols).step_by(WIDTH) {
                let cols = WIDTH.min(cols - j0);
                let (many, all) = (cols / wide * wide, cols / V::LANES * V::LANES);
                let (b, c) = (b.add(j0), c.add(j0));
                for j in (0..many).step_by(wide) {
                    pack_panel::<V, NV>(depth, (b.add(j), ldb), room.add(j * depth));
                }
                for j in (many..all).step_by(V::LANES) {
                    pack_panel::<V, 1>(depth, (b.add(j), ldb), room.add(j * depth));
                }
                for i in (0..m).step_by(CHUNK) {
                    let (rows, a, c) = (CHUNK.min(m - i), a.at(i, 0), c.add(i * ldc));
                    for j in (0..many).step_by(wide) {
                        axpy_panel::<V, MR, NV>([rows, depth], a, room.add(j * depth), (c.add(j), ldc), first);
                    }
                    for j in (many..all).step_by(V::LANES) {
                        axpy_panel::<V, MR, 1>([rows, depth], a, room.add(j * depth), (c.add(j), ldc), first);
                    }
                }
                for i in 0..m {
                    for j in all..cols {
                        let to = c.add(i * ldc + j);
                        let mut sum = if first { 0.0 } else { *to };
                        for p in 0..depth {
                            sum += *factors.one(i, p) * *b.add(p * ldb + j);
                        }
                        *to = sum;
                    }
                }
            }
        }
    }
}

/// Rows of W, `k` columns of them, against all `m` rows of x.
///
/// # Safety
/// As [`dot_tile`]; `room` is what [`dots`] gives.
#[inline(always)]
unsafe fn dot_body<V: Vector, const MR: usize, const NR: usize>(
    [m, n, k]: [usize; 3],
    (x, ldx): In,
    (w, ldw): In,
    (y, ldy): Out,
    first: bool,
    room: *mut f32,
) {
    unsafe {
        // Wide vectors gain nothing by it, and lose where W was copied once already.
        let tight = m >= TIGHT_FROM && V::LANES == 4;
        let many = n / NR * NR;
        let whole = k / V::LANES;
        for j in (0..if tight { many } else { 0 }).step_by(NR) {
            for p in 0..whole {
                for r in 0..NR {
                    V::load(w.add((j + r) * ldw + p * V::LANES)).store(room.add((j * whole + p * NR + r) * V::LANES));
                }
            }
        }
        for i0 in (0..m).step_by(CHUNK) {
            let end = m.min(i0 + CHUNK);
            let mut j = 0;
            while j < n {
                let (wj, panel) = ((w.add(j * ldw), ldw), room.add(j * whole * V::LANES));
                let mut i = i0;
                while i < end {
                    let (xi, yi) = ((x.add(i * ldx), ldx), (y.add(i * ldy + j), ldy));
                    i += if j >= many {
                        rows_of!(end - i, MR, dot_tile::<V, _, 1, false>(k, xi, wj, panel, yi, first))
                    } else if tight {
                        rows_of!(end - i, MR, dot_tile::<V, _, NR, true>(k, xi, wj, panel, yi, first))
                    } else {
                        rows_of!(end - i, MR, dot_tile::<V, _, NR, false>(k, xi, wj, panel, yi, first))
                    };
                }
                j += if j < many { NR } else { 1 };
            }
        }
    }
}

crate::simd_vec!(fn dot_blocks(shape: [usize; 3], x: In, w: In, y: Out, first: bool, room: *mut f32) = dot_body);

/// `y (m, n) (+)= x (m, k)·wᵀ` for a `shape` of [m, n, k]: sums along the rows of both.
pub fn dots(shape: [usize; 3], x: In, w: In, y: Out, first: bool) {
    let [m, n, k] = shape;
    let room = if m >= TIGHT_FROM { n * k } else { 0 };
    scratch::with(room, |room| dot_blocks(shape, x, w, y, first, room.as_mut_ptr()));
}

crate::simd_vec!(fn axpy_blocks(shape: [usize; 3], a: Factors, b: In, c: Out, first: bool, room: *mut f32) = axpy_body);

/// `c (m, cols) (+)= a (m, n)·b (n, cols)` for a `shape` of [m, n, cols]: sums across the rows of b.
pub fn axpys(shape: [usize; 3], a: Factors, b: In, c: Out, first: bool) {
    let turned = if matches!(a, Factors::Columns(..)) { shape[0] * STRIPE.min(shape[1]) } else { 0 };
    scratch::with(PANELS + turned, |room| axpy_blocks(shape, a, b, c, first, room.as_mut_ptr()));
}

/// Whether larger blocks are better: one thread reads the other operand and writes to the pages of the result less often, several need something
/// to share. Sums are the same.
fn alone(pool: &Pool) -> bool {
    pool.threads() == 1
}

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
    let high = if alone(pool) { (2 * ROWS * DEPTH / DEPTH.min(k.max(1))).min(4 * ROWS) } else { ROWS };
    pool.run(n.div_ceil(high), |task| {
        let (j0, rows) = (task * high, high.min(n - task * high));
        scratch::with(high * DEPTH.min(k), |block| {
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
    let wide = if alone(pool) { 2 * WIDTH } else { WIDTH };
    pool.run(k.div_ceil(wide), |task| {
        let (c0, cols) = (task * wide, wide.min(k - task * wide));
        scratch::with(STRIPE * wide, |block| {
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
                let (a, to) = unsafe { (Factors::Rows(dy.as_ptr().add(p0), n), out.at(c0)) };
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
    let wide = if alone(pool) { 2 * WIDTH } else { WIDTH };
    let across = k.div_ceil(wide);
    // The more rows, the less often x is copied; some blocks for every thread.
    let enough = |high: &usize| alone(pool) || n.div_ceil(*high) * across >= 4 * pool.threads();
    let high = [4 * ROWS, 2 * ROWS].into_iter().find(enough).unwrap_or(ROWS);
    pool.run(n.div_ceil(high) * across, |task| {
        let (j0, c0) = (task / across * high, task % across * wide);
        let (rows, cols) = (high.min(n - j0), wide.min(k - c0));
        // SAFETY: dy is m rows of n, x m rows of k; tasks write disjoint blocks of dw.
        let (a, b, to) = unsafe { (Factors::Columns(dy.as_ptr().add(j0), n), x.as_ptr().add(c0), out.at(j0 * k + c0)) };
        axpys([rows, m, cols], a, (b, k), (to, k), !add);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::packing::{STORED, noise};
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
        // Blocks of one thread are larger, sums the same.
        let (pool, alone) = (Pool::new(Some(3)), Pool::new(Some(1)));
        for (m, n, k) in
            [(1, 1, 1), (1, 5, 3), (2, 33, 7), (4, 70, 65), (7, 31, 100), (13, 40, 1030), (1, 300, 33), (99, 139, 137), (300, 37, 530)]
        {
            let (x, w, dy) = (values(m * k, 1), values(n * k, 2), values(m * n, 3));
            let packed = Packed { dtype: DType::F32, rows: n, cols: k, bytes: bytemuck::cast_slice(&w) };
            let at = |a: &[f32], i: usize| f64::from(a[i]);
            let mut y = vec![9.0; m * n];
            forward(&pool, m, &x, packed, &mut y, (0, n));
            let want: Vec<f64> = (0..m * n).map(|i| (0..k).map(|c| at(&x, i / n * k + c) * at(&w, i % n * k + c)).sum()).collect();
            close(&format!("y {m}×{n}×{k}"), &y, &want);
            let mut same = vec![9.0; m * n];
            forward(&alone, m, &x, packed, &mut same, (0, n));
            assert_eq!(y, same, "y {m}×{n}×{k}");
            for add in [false, true] {
                let before = if add { 0.5 } else { 0.0 };
                let mut d = vec![0.5; m * k];
                dx(&pool, m, &dy, packed, &mut d, add);
                let want: Vec<f64> =
                    (0..m * k).map(|i| before + (0..n).map(|j| at(&dy, i / k * n + j) * at(&w, j * k + i % k)).sum::<f64>()).collect();
                close(&format!("dx {m}×{n}×{k}"), &d, &want);
                let mut same = vec![0.5; m * k];
                super::dx(&alone, m, &dy, packed, &mut same, add);
                assert_eq!(d, same, "dx {m}×{n}×{k}");
                let mut d = vec![0.5; n * k];
                dw(&pool, [m, n, k], &dy, &x, &mut d, add);
                let want: Vec<f64> =
                    (0..n * k).map(|i| before + (0..m).map(|r| at(&dy, r * n + i / k) * at(&x, r * k + i % k)).sum::<f64>()).collect();
                close(&format!("dw {m}×{n}×{k}"), &d, &want);
                let mut same = vec![0.5; n * k];
                super::dw(&alone, [m, n, k], &dy, &x, &mut same, add);
                assert_eq!(d, same, "dw {m}×{n}×{k}");
            }
        }
    }

    #[test]
    fn packed_weights_and_any_number_of_threads_or_rows_give_the_same_bits() {
        let (m, n, k) = (TIGHT_FROM + 3, 70, 1056);
        for s in STORED.iter().filter(|s| s.dtype != DType::U32) {
            let dtype = s.dtype;
            // Of large blocks rows of 1024 + 256.
            let k = if s.block_len > 32 { 5 * s.block_len } else { k };
            let x = values(m * k, 4);
            let bytes = if s.block_len > 1 { noise(dtype, n * k / s.block_len, 5, 1.0) } else { quantize(dtype, &values(n * k, 5)) };
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
            let whole = if few::in_whole_numbers() && dtype.is_quantized() { few::most() } else { 0 };
            let y_few = run(1, whole.max(1));
            for rows in 1..m {
                let same = if rows <= whole { &y_few } else { &y };
                assert_eq!(same[..rows * n], run(2, rows)[..], "{}: {rows} rows", dtype.name());
            }
        }
    }
}
