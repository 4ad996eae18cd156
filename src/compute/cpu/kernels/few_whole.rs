//! As [`few`](super::few), in whole numbers, for SSE2 and a browser's SIMD128: a block of x becomes integers of 24 bits and a sign, and one scale;
//! weights stay the integers that they are, and the processor multiplies and adds those in pairs. That is half the instructions of unpacking weights
//! to four floats at a time without a fused multiply-add ([`whole`]). Of x are lost 2⁻²⁵ of the largest value of its block at most, the products of a
//! block are exact, and what is made of them is rounded as any f32.
//!
//! Sums are others than those of [`gemm`](super::gemm), in the last bits; what a row gives does not depend on how many there are, up to
//! [`MOST`].

use super::blocks::{Iq4Nl, Iq4Xs, Mxfp4, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, fields, with_block};
use super::few_kinds::{Long, Short};
use super::{Packed, blocks::Block};
use crate::cpu::pool::Shared;
use crate::cpu::vector::{Base, Vector};
use crate::cpu::{Pool, scratch, whole};
use std::mem::MaybeUninit;

/// Weight rows of a task.
pub const ROWS: usize = 32;

/// A block of 32 values of x: `scale·(high·2¹² + low)`. Both parts in the [order](whole::ORDER) of weights.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Part {
    high: [i16; 32],
    low: [i16; 32],
    /// Factors of a block's own scales: `scale`, and for what a block adds to its weights the sums of all of x, its first half and its second.
    scales: [f32; 4],
    /// What −8 on every weight makes of each of the sums of products: in integers, because of the large numbers that cancel out little is left.
    shift: [i32; 4],
}

/// Floats that a part takes the place of.
const FLOATS_PER_PART: usize = size_of::<Part>() / 4;

/// Up to so many rows of x. Two share what is done to weights; with eight it is 1.07 times as fast as unpacking them into memory, with one 2 times.
pub const MOST: usize = 8;

/// The exponent of 1, as f32 stores it.
const BIAS: u32 = 127;

impl Part {
    #[inline(always)]
    fn of(x: &[f32; 32]) -> Part {
        let (mut top, mut sums, mut nothing) = ([0.0f32; 4], [[0.0f32; 4]; 2], [0.0f32; 4]);
        for (sum, half) in sums.iter_mut().zip(x.as_chunks::<16>().0) {
            for four in half.as_chunks::<4>().0 {
                for i in 0..4 {
                    top[i] = if four[i].abs() > top[i] { four[i].abs() } else { top[i] };
                    sum[i] += four[i];
                    nothing[i] += four[i] * 0.0;
                }
            }
        }
        let top = top[0].max(top[1]).max(top[2]).max(top[3]);
        let [low, high] = sums.map(|sum| (sum[0] + sum[2]) + (sum[1] + sum[3]));
        // Powers of two, which round nothing: the largest value becomes one of 2²³ to 2²⁴ − 1. Eight of them times halves of bytes fit into 32 bits,
        // eight of their parts times bytes into the 24 of an f32. Blocks that are next to nothing would have a factor without end, and are nothing.
        let exponent = top.to_bits() >> 23;
        let (factor, scale, [sum, low, high]) = if top > 1e-30 {
            (f32::from_bits((2 * BIAS + 23 - exponent) << 23), f32::from_bits((exponent - 23) << 23), [low + high, low, high])
        } else {
            (0.0, 0.0, [0.0; 3])
        };
        // Integers know no infinities: it must be seen that there was one, or no number.
        let scale = if nothing.iter().all(|n| *n == 0.0) { scale } else { f32::NAN };
        let mut part = Part { high: [0; 32], low: [0; 32], scales: [scale, sum, low, high], shift: [0; 4] };
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

/// What eight parts have of their own, one after the other: what [`Part::scales`] has. Where every sixteen weights have scales of their own, each scale
/// stands there twice, and the sums are those of sixteen.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Own {
    scales: [f32; 16],
    sums: [f32; 16],
}

/// Floats that it takes the place of.
const FLOATS_PER_EIGHT: usize = size_of::<Own>() / 4;

impl Own {
    fn of(parts: &[Part; 8], sixteens: bool) -> Own {
        let mut all = Own { scales: [0.0; 16], sums: [0.0; 16] };
        for (i, part) in parts.iter().enumerate() {
            let [scale, sum, low, high] = part.scales;
            if sixteens {
                (all.scales[2 * i], all.scales[2 * i + 1]) = (scale, scale);
                (all.sums[2 * i], all.sums[2 * i + 1]) = (low, high);
            } else {
                (all.scales[i], all.sums[i]) = (scale, sum);
            }
        }
        all
    }
}

/// What a kernel reads of x: rows of parts, and where blocks are eight of them, what those have of their own.
#[derive(Clone, Copy)]
struct In {
    parts: *const Part,
    eights: *const Own,
}

type Out = (*mut f32, usize);

/// How a type's blocks are read.
trait Kind: Block {
    /// Scales of every sixteen weights.
    const SIXTEENS: bool;
    /// M rows of x over all rows of weights, which are read in the order in which they lie in memory: a browser cannot ask for lines ahead, and
    /// the processor sees one stream coming where it does not see four.
    ///
    /// # Safety
    /// The weights are there; x is M rows of them; rows of y are so far apart.
    unsafe fn rows<const M: usize>(w: Rows, x: In, y: Out);
}

/// Rows by the length of a type's blocks.
macro_rules! kinds {
    ($rows:ident, $sixteens:expr; $($kind:ident)*) => {$(
        impl Kind for $kind {
            const SIXTEENS: bool = $sixteens;
            unsafe fn rows<const M: usize>(w: Rows, x: In, y: Out) {
                unsafe { $rows::<$kind, M>(w, x, y) }
            }
        }
    )*};
}

kinds!(short_rows, false; Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Iq4Nl Mxfp4);
kinds!(long_rows, true; Q2K Q3K Q6K);
kinds!(long_rows, false; Q4K Q5K Iq4Xs);

/// As [`Kind::rows`].
///
/// # Safety
/// As there.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // indices of registers
unsafe fn short_rows<K: Short, const M: usize>(w: Rows, x: In, (y, ldy): Out) {
    unsafe {
        let mut from = w.start;
        for j in 0..w.count {
            let mut acc = [[Base::splat(0.0); 2]; M];
            for b in 0..w.blocks {
                let (q, own) = (K::weights(from), K::scales(from));
                for i in 0..M {
                    let x = &*x.parts.add(i * w.blocks + b);
                    let scales = own.mul(Base::load(x.scales.as_ptr()));
                    let sums = K::sums(whole::dots(q, x.high.as_ptr()), whole::dots(q, x.low.as_ptr()), x.shift.as_ptr());
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
                *y.add(i * ldy + j) = acc[i][0].sum() + if K::SHIFTED { shifts[1] } else { 0.0 };
            }
        }
    }
}

/// As [`Kind::rows`].
///
/// # Safety
/// As there.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // indices of registers
unsafe fn long_rows<K: Long + Kind, const M: usize>(w: Rows, x: In, (y, ldy): Out) {
    unsafe {
        let mut from = w.start;
        let mut all = MaybeUninit::<K::Head>::uninit();
        let mut own = [[0.0f32; 16]; M];
        for j in 0..w.count {
            let mut acc = [[Base::splat(0.0); 2]; M];
            for b in 0..w.blocks {
                K::all(from, all.as_mut_ptr());
                let (scales, minima) = K::scales(all.as_ptr());
                for i in 0..M {
                    let x = x.eights.add(i * w.blocks + b);
                    for s in (0..if K::SIXTEENS { 16 } else { 8 }).step_by(4) {
                        let of = Base::load(scales.add(s)).mul(Base::load((&raw const (*x).scales).cast::<f32>().add(s)));
                        of.store(own[i].as_mut_ptr().add(s));
                        if K::SHIFTED {
                            let sums = Base::load((&raw const (*x).sums).cast::<f32>().add(s));
                            acc[i][1] = Base::load(minima.add(s)).fma(sums, acc[i][1]);
                        }
                    }
                }
                for group in 0..8 / K::PARTS {
                    fields!(K::PARTS, F => {
                        let part = group * K::PARTS + F;
                        let q = K::weights::<F>(from, all.as_ptr(), group);
                        for i in 0..M {
                            let x = &*x.parts.add((i * w.blocks + b) * 8 + part);
                            if K::SIXTEENS {
                                let (high, low) = (whole::two_dots(q, x.high.as_ptr()), whole::two_dots(q, x.low.as_ptr()));
                                let second = K::sums(high[1], low[1]).fma(Base::splat(own[i][2 * part + 1]), acc[i][0]);
                                acc[i][0] = K::sums(high[0], low[0]).fma(Base::splat(own[i][2 * part]), second);
                            } else {
                                let sums = K::sums(whole::dots(q, x.high.as_ptr()), whole::dots(q, x.low.as_ptr()));
                                acc[i][0] = sums.fma(Base::splat(own[i][part]), acc[i][0]);
                            }
                        }
                    });
                }
                from = from.add(K::BYTES);
            }
            for i in 0..M {
                *y.add(i * ldy + j) = acc[i][0].sum() + if K::SHIFTED { acc[i][1].sum() } else { 0.0 };
            }
        }
    }
}

/// Rows of weights: the first one, how many, and their blocks.
#[derive(Clone, Copy)]
struct Rows {
    start: *const u8,
    count: usize,
    blocks: usize,
}

/// # Safety
/// As [`Kind::rows`].
unsafe fn all<K: Kind>(m: usize, w: Rows, x: In, (y, ldy): Out) {
    unsafe {
        let mut i = 0;
        while i < m {
            let x = In { parts: x.parts.add(i * w.blocks * (K::LEN / 32)), eights: x.eights.wrapping_add(i * w.blocks) };
            let y = (y.add(i * ldy), ldy);
            i += match m - i {
                1 => {
                    K::rows::<1>(w, x, y);
                    1
                }
                _ => {
                    K::rows::<2>(w, x, y);
                    2
                }
            };
        }
    }
}

/// As [`few::forward`](super::few::forward).
pub fn forward(pool: &Pool, m: usize, x: &[f32], w: Packed<'_>, y: &mut [f32], (y0, ldy): (usize, usize)) {
    let (n, k, stride) = (w.rows, w.cols, w.row_bytes());
    let (parts, blocks) = (k / 32, k / w.dtype.block_len());
    debug_assert!(k.is_multiple_of(w.dtype.block_len()), "{k} columns are no whole blocks");
    let y = Shared::new(y);
    let (mut sixteens, mut long) = (false, false);
    with_block!(w.dtype, B => (sixteens, long) = (B::SIXTEENS, B::LEN > 32));
    let eights = if long { m * blocks } else { 0 };
    scratch::with(m * parts * FLOATS_PER_PART + eights * FLOATS_PER_EIGHT, |all_of_x| {
        let (parts, eights) = all_of_x.split_at_mut(m * parts * FLOATS_PER_PART);
        let (parts, eights): (&mut [Part], &mut [Own]) = (bytemuck::cast_slice_mut(parts), bytemuck::cast_slice_mut(eights));
        for (part, x) in parts.iter_mut().zip(x.as_chunks::<32>().0) {
            *part = Part::of(x);
        }
        for (all, parts) in eights.iter_mut().zip(parts.as_chunks::<8>().0) {
            *all = Own::of(parts, sixteens);
        }
        let (parts, eights) = (Shared::new(parts), Shared::new(eights));
        pool.run(n.div_ceil(ROWS), |task| {
            let first = task * ROWS;
            let count = ROWS.min(n - first);
            let start = w.bytes[first * stride..(first + count) * stride].as_ptr();
            let (dtype, w) = (w.dtype, Rows { start, count, blocks });
            // SAFETY: x is m rows of k; tasks write disjoint columns of y, which is long enough; the slice above holds the weights.
            unsafe {
                let x = In { parts: parts.at(0).cast_const(), eights: eights.at(0).cast_const() };
                let y = (y.at(y0 + first), ldy);
                with_block!(dtype, B => all::<B>(m, w, x, y));
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::super::few::tests::values;
    use super::*;
    use crate::tensor::packing::{STORED, noise};
    use crate::tensor::{DType, dequantize};

    fn types() -> impl Iterator<Item = (DType, usize)> {
        STORED.iter().filter(|s| s.block_len > 1).map(|s| (s.dtype, s.block_len))
    }

    fn product(dtype: DType, (m, n, k): (usize, usize, usize), x: &[f32], bytes: &[u8], y0: usize, ldy: usize) -> Vec<f32> {
        let mut y = vec![9.0; m * ldy];
        forward(&Pool::new(Some(2)), m, x, Packed { dtype, rows: n, cols: k, bytes }, &mut y, (y0, ldy));
        y
    }

    /// Every type and count of rows, rows that are no multiple of a task; values of x of one size, and some much larger or smaller than the rest.
    #[test]
    fn against_sums_in_f64() {
        for (dtype, block) in types() {
            for (n, k) in [(1, 32), (3, 96), (33, 512), (5, 1120)] {
                let k = if block > 32 { (k / 256 + 1) * block } else { k };
                let bytes = noise(dtype, n * k / block, 1, 1.0);
                let plain = dequantize(dtype, &bytes);
                for (m, peak) in [(1, 1.0), (2, 1000.0), (3, 1.0), (8, 1e30), (2, 1e-28)] {
                    let mut x = values(m * k, 2);
                    x.iter_mut().step_by(37).for_each(|x| *x *= peak);
                    let (y0, ldy) = (2, n + 3);
                    for (i, row) in product(dtype, (m, n, k), &x, &bytes, y0, ldy).chunks_exact(ldy).enumerate() {
                        assert_eq!((row[0], row[1], row[ldy - 1]), (9.0, 9.0, 9.0));
                        for (j, got) in row[y0..y0 + n].iter().enumerate() {
                            let terms = || x[i * k..][..k].iter().zip(&plain[j * k..][..k]).map(|(x, w)| f64::from(*x) * f64::from(*w));
                            // Of x is lost a part of the largest value of its block, whatever weight that meets; and what a minimum adds to weights
                            // cancels out with what their integers make of it: where one value of x is nearly all of the sum, it is the largest
                            // weights that say how exact it can be.
                            let peaked = peak > 1.0;
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
                .into_iter()
                .chain(types().flat_map(|(dtype, _)| [(dtype, 0, 0xff), (dtype, 0, 0)]))
        {
            let k = 2 * dtype.block_len();
            let mut block: Vec<u8> = (0..dtype.block_bytes()).map(|i| if i < head { [0x00, 0x3c][i % 2] } else { weight }).collect();
            if head == 0 {
                // Whatever the scales are, all integers are at their ends.
                (dtype.stored().blocks().expect("quantized").loud)(&mut block, 1.0);
            }
            let bytes = block.repeat(2);
            let plain = dequantize(dtype, &bytes);
            for x in [1.0f32, -1.0] {
                let x = vec![x; k];
                let want = plain.iter().zip(&x).map(|(w, x)| f64::from(w * x)).sum::<f64>() as f32;
                let size: f32 = plain.iter().map(|w| w.abs()).sum();
                let got = product(dtype, (1, 1, k), &x, &bytes, 0, 1)[0];
                // Scales of a block that differ are added up one after the other.
                let bound = if head > 0 { 1e-6 } else { 2e-6 };
                assert!((got - want).abs() <= bound * size, "{} {weight}: {got} instead of {want}", dtype.name());
            }
        }
    }

    /// What is not finite is seen in every result of its row, and in no other row's.
    #[test]
    fn infinities_and_nan_are_passed_on() {
        for (dtype, block) in types() {
            let one = |k: usize| noise(dtype, 2 * k / block, 3, 1.0);
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let (n, k) = (5, 3 * block);
                let bytes = noise(dtype, n * k / block, 1, 1.0);
                let mut x = values(2 * k, 2);
                x[40] = bad;
                let y = product(dtype, (2, n, k), &x, &bytes, 0, n);
                assert!(y[..n].iter().all(|y| !y.is_finite()), "{} {bad}: {:?}", dtype.name(), &y[..n]);
                assert!(y[n..].iter().all(|y| y.is_finite()), "{} {bad}: {:?}", dtype.name(), &y[n..]);
            }
            let zeros = product(dtype, (1, 2, block), &vec![0.0; block], &one(block), 0, 2);
            assert_eq!(zeros, [0.0, 0.0]);
            // The largest numbers are numbers, the smallest are nothing.
            let bytes = one(block);
            let large = product(dtype, (1, 2, block), &vec![f32::MAX / 1024.0; block], &bytes, 0, 2);
            assert!(large.iter().all(|y| y.is_finite() && y.abs() > 1e30), "{}: {large:?}", dtype.name());
            let small = product(dtype, (1, 2, block), &vec![1e-31; block], &bytes, 0, 2);
            assert_eq!(small, [0.0, 0.0], "{}", dtype.name());
        }
    }
}
