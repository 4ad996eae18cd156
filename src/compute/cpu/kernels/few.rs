//! `y = x·Wᵀ` for a few rows of x over quantized weights, which is what answering is made of. Every weight is used only so many times as x has
//! rows: it goes from the file's block into registers, into the products, and nowhere else.
//!
//! Products are added up in the order of [`gemm`](super::gemm), so that a row's result is the same bits in a batch of any size; but with SSE2 and in a
//! browser [`few_whole`] takes over, whose last bits are others.

use super::blocks::{Block, fields, with_block};
use super::few_whole::ROWS;
use super::packed::DEPTH;
use super::{Packed, few_whole};
use crate::cpu::Pool;
use crate::cpu::pool::Shared;
use crate::cpu::simd::{self, Level};
use crate::cpu::vector::Vector;
use crate::cpu::whole;
use crate::tensor::DType;
use std::mem::MaybeUninit;

/// Up to so many rows of x; with more of them it pays to unpack weights into memory. Measured: the more registers and the wider they are, the less
/// often weights are unpacked again for the next rows of x.
pub fn most() -> usize {
    match simd::level() {
        Level::Avx512 => 8,
        Level::Avx2 => 6,
        Level::Base if in_whole_numbers() => few_whole::MOST,
        Level::Base => 4,
    }
}

/// Bytes from what is worked on to what is fetched: weights are read once and in order, but in rows too short for the processor to see that.
const AHEAD: usize = 4096;

/// Rows of weights: the first one, how many, their blocks and the bytes from one to the next.
#[derive(Clone, Copy)]
struct Rows {
    start: *const u8,
    count: usize,
    blocks: usize,
    stride: usize,
}

/// M rows of x and N rows of weights.
///
/// # Safety
/// As [`Vector`]; the weights are there, rows of x and y are `ldx` and `ldy` apart.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // indices of registers
unsafe fn tile<V: Vector, B: Block, const M: usize, const N: usize>(w: Rows, (x, ldx): (*const f32, usize), (y, ldy): (*mut f32, usize)) {
    unsafe {
        let mut heads = [const { MaybeUninit::<B::Head>::uninit() }; N];
        let mut b0 = 0;
        while b0 < w.blocks {
            let end = w.blocks.min(b0 + DEPTH / B::LEN);
            let mut acc = [[V::splat(0.0); N]; M];
            for b in b0..end {
                for line in (0..N * B::BYTES).step_by(64) {
                    V::soon(w.start.wrapping_add(AHEAD + b * N * B::BYTES + line));
                }
                for j in 0..N {
                    B::head::<V>(w.start.add(j * w.stride + b * B::BYTES), heads[j].as_mut_ptr());
                }
                for group in 0..B::LEN / 32 / B::FIELDS {
                    for j in 0..N {
                        let from = w.start.add(j * w.stride + b * B::BYTES);
                        fields!(B::FIELDS, F => {
                            let values = B::values::<V, F>(from, heads[j].as_ptr(), group);
                            for v in 0..32 / V::LANES {
                                for i in 0..M {
                                    let at = i * ldx + b * B::LEN + (group * B::FIELDS + F) * 32 + v * V::LANES;
                                    acc[i][j] = V::load(x.add(at)).fma(values[v], acc[i][j]);
                                }
                            }
                        });
                    }
                }
            }
            for i in 0..M {
                for j in 0..N {
                    let to = y.add(i * ldy + j);
                    let sum = acc[i][j].sum();
                    *to = if b0 == 0 { sum } else { *to + sum };
                }
            }
            b0 = end;
        }
    }
}

/// All rows of weights for M rows of x, N at a time.
///
/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn strip<V: Vector, B: Block, const M: usize, const N: usize>(w: Rows, x: In, (y, ldy): Out) {
    unsafe {
        let mut j = 0;
        while j + N <= w.count {
            tile::<V, B, M, N>(Rows { start: w.start.add(j * w.stride), ..w }, x, (y.add(j), ldy));
            j += N;
        }
        // The last rows one by one, so that there are fewer forms to compile: a sum does not depend on what is summed beside it.
        while j < w.count {
            for i in 0..M {
                tile::<V, B, 1, 1>(Rows { start: w.start.add(j * w.stride), ..w }, (x.0.add(i * x.1), x.1), (y.add(i * ldy + j), ldy));
            }
            j += 1;
        }
    }
}

/// # Safety
/// As [`tile`].
#[inline(always)]
unsafe fn strips<V: Vector, B: Block>(m: usize, w: Rows, (x, ldx): In, (y, ldy): Out) {
    unsafe {
        let mut i = 0;
        while i < m {
            let (xi, yi) = ((x.add(i * ldx), ldx), (y.add(i * ldy), ldy));
            // Sums for as many weight rows as the register file holds: 32 registers, or 16.
            i += match (m - i, V::LANES) {
                (8.., 16) => {
                    strip::<V, B, 8, 2>(w, xi, yi);
                    8
                }
                (4.., 16) => {
                    strip::<V, B, 4, 4>(w, xi, yi);
                    4
                }
                (4.., _) => {
                    strip::<V, B, 4, 2>(w, xi, yi);
                    4
                }
                (2.., _) => {
                    strip::<V, B, 2, 4>(w, xi, yi);
                    2
                }
                _ if B::FIELDS == 4 => {
                    // A value's work is so little that four sums are waited for.
                    strip::<V, B, 1, 8>(w, xi, yi);
                    1
                }
                _ => {
                    strip::<V, B, 1, 4>(w, xi, yi);
                    1
                }
            };
        }
    }
}

#[inline(always)]
unsafe fn rows_body<V: Vector, const _MR: usize, const _NR: usize>(dtype: DType, m: usize, w: Rows, x: In, y: Out) {
    unsafe {
        with_block!(dtype, B => strips::<V, B>(m, w, x, y));
    }
}

type In = (*const f32, usize);
type Out = (*mut f32, usize);

crate::simd_vec!(fn rows(dtype: DType, m: usize, w: Rows, x: In, y: Out) = rows_body);

/// Whether [`few_whole`] is quicker: where registers are narrow and nothing multiplies and adds in one step.
pub fn in_whole_numbers() -> bool {
    whole::HERE && simd::level() == Level::Base
}

/// Whether [`forward`] is for it.
pub fn fits(m: usize, w: &Packed<'_>) -> bool {
    m <= most() && w.dtype.is_quantized() && w.cols > 0
}

/// As [`gemm::forward`](super::gemm::forward), which has looked at the lengths and asked [`fits`].
pub fn forward(pool: &Pool, m: usize, x: &[f32], w: Packed<'_>, y: &mut [f32], (y0, ldy): (usize, usize)) {
    if in_whole_numbers() {
        return few_whole::forward(pool, m, x, w, y, (y0, ldy));
    }
    let (n, k, stride) = (w.rows, w.cols, w.row_bytes());
    let y = Shared::new(y);
    pool.run(n.div_ceil(ROWS), |task| {
        let first = task * ROWS;
        let count = ROWS.min(n - first);
        let from = w.bytes[first * stride..(first + count) * stride].as_ptr();
        // SAFETY: x is m rows of k; tasks write disjoint columns of y, which is long enough; the slice above holds the weights.
        let to = unsafe { y.at(y0 + first) };
        rows(w.dtype, m, Rows { start: from, count, blocks: k / w.dtype.block_len(), stride }, (x.as_ptr(), k), (to, ldy));
    });
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::tensor::dequantize;
    use crate::tensor::packing::{STORED, noise};

    pub fn values(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32).map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0).collect()
    }

    /// All counts of x's rows, weight rows that are no multiple of a tile or task, rows shorter and longer than a block of sums.
    #[test]
    fn against_sums_in_f64() {
        let pool = Pool::new(Some(3));
        for s in STORED.iter().filter(|s| s.block_len > 1) {
            let (dtype, long) = (s.dtype, s.block_len / 32);
            for (n, k) in [(1, 32), (3, 96), (33, 512), (70, 576), (5, 1120)] {
                let (n, k) = (n, if long > 1 { (k / 96 + 1) * s.block_len } else { k });
                let bytes = noise(dtype, n * k / dtype.block_len(), 1, 1.0);
                let plain = dequantize(dtype, &bytes);
                let w = Packed { dtype, rows: n, cols: k, bytes: &bytes };
                for m in 1..=9 {
                    let x = values(m * k, 2);
                    // Into the middle of longer rows, whose other values stay.
                    let (y0, ldy) = (2, n + 3);
                    let mut y = vec![9.0; m * ldy];
                    forward(&pool, m, &x, w, &mut y, (y0, ldy));
                    for (i, row) in y.chunks_exact(ldy).enumerate() {
                        assert_eq!((row[0], row[1], row[ldy - 1]), (9.0, 9.0, 9.0));
                        for (j, got) in row[y0..y0 + n].iter().enumerate() {
                            let terms = || x[i * k..][..k].iter().zip(&plain[j * k..][..k]).map(|(x, w)| f64::from(*x) * f64::from(*w));
                            let (want, size): (f64, f64) = (terms().sum(), terms().map(f64::abs).sum());
                            let off = (f64::from(*got) - want).abs();
                            assert!(off <= 1e-6 * size.max(1e-3), "{} {m}×{n}×{k} ({i}, {j}): {got} instead of {want}", dtype.name());
                        }
                    }
                }
            }
        }
    }
}
