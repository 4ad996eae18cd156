//! As [`few`](super::few), in whole numbers, for SSE2 and a browser's SIMD128: a block of x becomes integers of 24 bits and a sign, and one scale;
//! weights stay the integers that they are, and the processor multiplies and adds those in pairs. That is half the instructions of unpacking weights
//! to four floats at a time without a fused multiply-add ([`whole`]). Of x are lost 2⁻²⁵ of the largest value of its block at most, the products of a
//! block are exact, and what is made of them is rounded as any f32.
//!
//! Sums are others than those of [`gemm`](super::gemm), in the last bits; what a row gives does not depend on how many there are, up to
//! [`MOST`].

use super::Packed;
use super::dequant::{Block, Q4_0, Q4_1, Q8_0};
use crate::cpu::pool::Shared;
use crate::cpu::vector::{Base, Vector};
use crate::cpu::whole::{self, Eight, Four};
use crate::cpu::{Pool, scratch};
use crate::tensor::DType;

/// Weight rows of a task.
pub(super) const ROWS: usize = 32;

/// A block of 32 values of x: `scale·(high·2¹² + low)`. Both parts in the [order](whole::ORDER) of weights.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Part {
    high: [i16; 32],
    low: [i16; 32],
    /// Factors of a block's own scales: `scale`, and for what a block adds to its weights the sum of x.
    scales: [f32; 4],
    /// What −8 on every weight makes of each of the sums of products: in integers, because of the large numbers that cancel out little is left.
    shift: [i32; 4],
}

/// Floats that a part takes the place of.
const FLOATS_PER_PART: usize = size_of::<Part>() / 4;

/// Up to so many rows of x. Two share what is done to weights; with eight it is 1.07 times as fast as unpacking them into memory, with one 2 times.
pub(super) const MOST: usize = 8;

/// The exponent of 1, as f32 stores it.
const BIAS: u32 = 127;

impl Part {
    #[inline(always)]
    fn of(x: &[f32; 32]) -> Part {
        let (mut top, mut sum, mut nothing) = ([0.0f32; 4], [0.0f32; 4], [0.0f32; 4]);
        for four in x.as_chunks::<4>().0 {
            for i in 0..4 {
                top[i] = if four[i].abs() > top[i] { four[i].abs() } else { top[i] };
                sum[i] += four[i];
                nothing[i] += four[i] * 0.0;
            }
        }
        let top = top[0].max(top[1]).max(top[2]).max(top[3]);
        let sum = (sum[0] + sum[2]) + (sum[1] + sum[3]);
        // Powers of two, which round nothing: the largest value becomes one of 2²³ to 2²⁴ − 1. Eight of them times halves of bytes fit into 32 bits,
        // eight of their parts times bytes into the 24 of an f32. Blocks that are next to nothing would have a factor without end, and are nothing.
        let exponent = top.to_bits() >> 23;
        let (factor, scale, sum) = if top > 1e-30 {
            (f32::from_bits((2 * BIAS + 23 - exponent) << 23), f32::from_bits((exponent - 23) << 23), sum)
        } else {
            (0.0, 0.0, 0.0)
        };
        // Integers know no infinities: it must be seen that there was one, or no number.
        let scale = if nothing.iter().all(|n| *n == 0.0) { scale } else { f32::NAN };
        let mut part = Part { high: [0; 32], low: [0; 32], scales: [scale, sum, 0.0, 0.0], shift: [0; 4] };
        // SAFETY: so many numbers are there.
        unsafe { whole::parts(x.as_ptr(), factor, part.high.as_mut_ptr(), part.low.as_mut_ptr()) };
        for (two, (high, low)) in part.high.as_chunks::<2>().0.iter().zip(part.low.as_chunks::<2>().0).enumerate() {
            for i in 0..2 {
                let x = (i32::from(high[i]) << 12) + i32::from(low[i]);
                part.shift[two % 4] = part.shift[two % 4].wrapping_sub(x.wrapping_mul(8));
            }
        }
        part
    }
}

/// How a type's blocks are read.
trait Kind: Block {
    /// Bytes of scales in front of the weights.
    const HEAD: usize;
    /// Whether a block says what is added to its weights: times the sum of x in the second lane of [`Kind::scales`].
    const SHIFTED: bool;
    /// # Safety
    /// `BYTES − HEAD` bytes can be read.
    unsafe fn weights(from: *const u8) -> [Eight; 4];
    /// The block's own scales times those of x ([`Part::scales`]): in the first lane that of the products.
    ///
    /// # Safety
    /// `BYTES` bytes can be read.
    unsafe fn scales(from: *const u8, x: Base) -> Base;
    /// Sums of products with both parts of x.
    ///
    /// # Safety
    /// As [`whole::together`].
    unsafe fn sums(high: Four, low: Four, x: &Part) -> Base;
}

impl Kind for Q4_0 {
    const HEAD: usize = 2;
    const SHIFTED: bool = false;
    #[inline(always)]
    unsafe fn weights(from: *const u8) -> [Eight; 4] {
        unsafe { whole::nibbles(from) }
    }
    #[inline(always)]
    unsafe fn scales(from: *const u8, x: Base) -> Base {
        unsafe { whole::half_everywhere(from).mul(x) }
    }
    #[inline(always)]
    unsafe fn sums(high: Four, low: Four, x: &Part) -> Base {
        unsafe { whole::together_with(high, low, x.shift.as_ptr()) }
    }
}

impl Kind for Q4_1 {
    const HEAD: usize = 4;
    const SHIFTED: bool = true;
    #[inline(always)]
    unsafe fn weights(from: *const u8) -> [Eight; 4] {
        unsafe { whole::nibbles(from) }
    }
    #[inline(always)]
    unsafe fn scales(from: *const u8, x: Base) -> Base {
        unsafe { whole::halves(from).mul(x) }
    }
    #[inline(always)]
    unsafe fn sums(high: Four, low: Four, _x: &Part) -> Base {
        unsafe { whole::together(high, low) }
    }
}

impl Kind for Q8_0 {
    const HEAD: usize = 2;
    const SHIFTED: bool = false;
    #[inline(always)]
    unsafe fn weights(from: *const u8) -> [Eight; 4] {
        unsafe { whole::signed_bytes(from) }
    }
    #[inline(always)]
    unsafe fn scales(from: *const u8, x: Base) -> Base {
        unsafe { whole::half_everywhere(from).mul(x) }
    }
    #[inline(always)]
    unsafe fn sums(high: Four, low: Four, _x: &Part) -> Base {
        // Eight products with all 24 bits of x may need more than 32.
        unsafe { whole::apart(high, low) }
    }
}

/// Rows of weights: the first one, how many, and their blocks.
#[derive(Clone, Copy)]
struct Rows {
    start: *const u8,
    count: usize,
    blocks: usize,
}

/// M rows of x over all rows of weights, which are read in the order in which they lie in memory: a browser cannot ask for lines ahead, and
/// the processor sees one stream coming where it does not see four.
///
/// # Safety
/// The weights are there; x is M rows of `blocks` parts; rows of y are `ldy` apart.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // indices of registers
unsafe fn rows<K: Kind, const M: usize>(w: Rows, x: *const Part, (y, ldy): (*mut f32, usize)) {
    unsafe {
        let mut from = w.start;
        for j in 0..w.count {
            let mut acc = [[Base::splat(0.0); 2]; M];
            for b in 0..w.blocks {
                let q = K::weights(from.add(K::HEAD));
                for i in 0..M {
                    let x = &*x.add(i * w.blocks + b);
                    let scales = K::scales(from, Base::load(x.scales.as_ptr()));
                    let sums = K::sums(whole::dots(q, x.high.as_ptr()), whole::dots(q, x.low.as_ptr()), x);
                    acc[i][0] = sums.fma(whole::first(scales), acc[i][0]);
                    if K::SHIFTED {
                        acc[i][1] = acc[i][1].add(scales);
                    }
                }
                from = from.add(K::BYTES);
            }
            for i in 0..M {
                let mut shifts = [0.0; 4];
                acc[i][1].store(shifts.as_mut_ptr());
                *y.add(i * ldy + j) = acc[i][0].sum() + shifts[1];
            }
        }
    }
}

/// # Safety
/// As [`rows`].
unsafe fn all<K: Kind>(m: usize, w: Rows, x: *const Part, (y, ldy): (*mut f32, usize)) {
    unsafe {
        let mut i = 0;
        while i < m {
            let (xi, yi) = (x.add(i * w.blocks), (y.add(i * ldy), ldy));
            i += match m - i {
                1 => {
                    rows::<K, 1>(w, xi, yi);
                    1
                }
                _ => {
                    rows::<K, 2>(w, xi, yi);
                    2
                }
            };
        }
    }
}

/// As [`few::forward`](super::few::forward).
pub(super) fn forward(pool: &Pool, m: usize, x: &[f32], w: Packed<'_>, y: &mut [f32], (y0, ldy): (usize, usize)) {
    let (n, k, stride) = (w.rows, w.cols, w.row_bytes());
    let blocks = k / 32;
    debug_assert!(k.is_multiple_of(32), "{k} columns are no whole blocks");
    let y = Shared::new(y);
    scratch::with(m * blocks * FLOATS_PER_PART, |parts| {
        let parts: &mut [Part] = bytemuck::cast_slice_mut(parts);
        for (part, x) in parts.iter_mut().zip(x.as_chunks::<32>().0) {
            *part = Part::of(x);
        }
        let parts = Shared::new(parts);
        pool.run(n.div_ceil(ROWS), |task| {
            let first = task * ROWS;
            let count = ROWS.min(n - first);
            let start = w.bytes[first * stride..(first + count) * stride].as_ptr();
            let (dtype, w) = (w.dtype, Rows { start, count, blocks });
            // SAFETY: x is m rows of k; tasks write disjoint columns of y, which is long enough; the slice above holds the weights.
            unsafe {
                let (x, y) = (parts.at(0).cast_const(), (y.at(y0 + first), ldy));
                match dtype {
                    DType::Q4_0 => all::<Q4_0>(m, w, x, y),
                    DType::Q4_1 => all::<Q4_1>(m, w, x, y),
                    DType::Q8_0 => all::<Q8_0>(m, w, x, y),
                    _ => {}
                }
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::super::few::tests::values;
    use super::*;
    use crate::tensor::{dequantize, quantize};

    const TYPES: [DType; 3] = [DType::Q4_0, DType::Q4_1, DType::Q8_0];

    fn product(dtype: DType, (m, n, k): (usize, usize, usize), x: &[f32], bytes: &[u8], y0: usize, ldy: usize) -> Vec<f32> {
        let mut y = vec![9.0; m * ldy];
        forward(&Pool::new(Some(2)), m, x, Packed { dtype, rows: n, cols: k, bytes }, &mut y, (y0, ldy));
        y
    }

    /// Every type and count of rows, rows that are no multiple of a task; values of x of one size, and some much larger or smaller than the rest.
    #[test]
    fn against_sums_in_f64() {
        for dtype in TYPES {
            for (n, k) in [(1, 32), (3, 96), (33, 512), (5, 1120)] {
                let bytes = quantize(dtype, &values(n * k, 1));
                let plain = dequantize(dtype, &bytes);
                for (m, peak) in [(1, 1.0), (2, 1000.0), (3, 1.0), (8, 1e30), (2, 1e-28)] {
                    let mut x = values(m * k, 2);
                    x.iter_mut().step_by(37).for_each(|x| *x *= peak);
                    let (y0, ldy) = (2, n + 3);
                    for (i, row) in product(dtype, (m, n, k), &x, &bytes, y0, ldy).chunks_exact(ldy).enumerate() {
                        assert_eq!((row[0], row[1], row[ldy - 1]), (9.0, 9.0, 9.0));
                        for (j, got) in row[y0..y0 + n].iter().enumerate() {
                            let terms = || x[i * k..][..k].iter().zip(&plain[j * k..][..k]).map(|(x, w)| f64::from(*x) * f64::from(*w));
                            // What Q4_1 adds to weights and what their integers make of it cancel out, in the file's own numbers: where one value of
                            // x is nearly all of the sum, it is the largest weights that say how exact it can be.
                            let peaked = peak > 1.0 && dtype == DType::Q4_1;
                            let most = if peaked { x[i * k..][..k].iter().map(|x| f64::from(x.abs())).sum() } else { 0.0 };
                            let (want, size): (f64, f64) = (terms().sum(), terms().map(f64::abs).sum::<f64>().max(most));
                            let off = (f64::from(*got) - want).abs();
                            assert!(off <= 1e-6 * size.max(1e-3), "{} {m}×{n}×{k} ({i}, {j}): {got} instead of {want}", dtype.name());
                        }
                    }
                }
            }
        }
    }

    /// The largest weights and values, all of one sign: no sum may wrap.
    #[test]
    fn nothing_overflows() {
        for (dtype, head, weight) in
            [(DType::Q4_0, 2, 0xff), (DType::Q4_0, 2, 0), (DType::Q4_1, 4, 0xff), (DType::Q8_0, 2, 0x80), (DType::Q8_0, 2, 0x7f)]
        {
            let k = 64;
            let block: Vec<u8> = (0..dtype.block_bytes()).map(|i| if i < head { [0x00, 0x3c][i % 2] } else { weight }).collect();
            let bytes = block.repeat(2);
            let plain = dequantize(dtype, &bytes);
            for x in [1.0f32, -1.0] {
                let x = vec![x; k];
                let want: f32 = plain.iter().zip(&x).map(|(w, x)| w * x).sum();
                let got = product(dtype, (1, 1, k), &x, &bytes, 0, 1)[0];
                assert!((got - want).abs() <= 1e-6 * want.abs(), "{}: {got} instead of {want}", dtype.name());
            }
        }
    }

    /// What is not finite is seen in every result of its row, and in no other row's.
    #[test]
    fn infinities_and_nan_are_passed_on() {
        for dtype in TYPES {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let (n, k) = (5, 96);
                let bytes = quantize(dtype, &values(n * k, 1));
                let mut x = values(2 * k, 2);
                x[40] = bad;
                let y = product(dtype, (2, n, k), &x, &bytes, 0, n);
                assert!(y[..n].iter().all(|y| !y.is_finite()), "{} {bad}: {:?}", dtype.name(), &y[..n]);
                assert!(y[n..].iter().all(|y| y.is_finite()), "{} {bad}: {:?}", dtype.name(), &y[n..]);
            }
            let zeros = product(dtype, (1, 2, 32), &[0.0; 32], &quantize(dtype, &values(64, 3)), 0, 2);
            assert_eq!(zeros, [0.0, 0.0]);
            // The largest numbers are numbers, the smallest are nothing.
            let bytes = quantize(dtype, &values(64, 3));
            let large = product(dtype, (1, 2, 32), &[f32::MAX / 64.0; 32], &bytes, 0, 2);
            assert!(large.iter().all(|y| y.is_finite() && y.abs() > 1e30), "{}: {large:?}", dtype.name());
            let small = product(dtype, (1, 2, 32), &[1e-31; 32], &bytes, 0, 2);
            assert_eq!(small, [0.0, 0.0], "{}", dtype.name());
        }
    }
}
