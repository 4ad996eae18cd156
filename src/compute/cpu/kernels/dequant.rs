//! Rows of packed weights to f32.

use super::Packed;
use super::blocks::{Block, fields, with_block};
use crate::cpu::vector::{Vector, half};
use crate::tensor::DType;
use crate::tensor::packing::MAX_BLOCK;
use std::mem::MaybeUninit;

/// `n` blocks.
///
/// # Safety
/// As [`Vector`]; there are so many blocks and room for their values.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // indices of registers
unsafe fn unpack<V: Vector, B: Block>(n: usize, mut from: *const u8, mut to: *mut f32) {
    unsafe {
        let mut head = MaybeUninit::<B::Head>::uninit();
        for _ in 0..n {
            B::head::<V>(from, head.as_mut_ptr());
            if size_of::<B::Head>() > 64 {
                V::settled(head.as_mut_ptr());
            }
            for group in 0..B::LEN / 32 / B::FIELDS {
                fields!(B::FIELDS, F => {
                    let values = B::values::<V, F>(from, head.as_ptr(), group);
                    for i in 0..32 / V::LANES {
                        values[i].store(to.add(i * V::LANES));
                    }
                    to = to.add(32);
                });
            }
            from = from.add(B::BYTES);
        }
    }
}

/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn blocks_body<V: Vector, const _MR: usize, const _NR: usize>(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    // SAFETY: so many blocks are in both.
    unsafe {
        with_block!(dtype, B => unpack::<V, B>((bytes.len() / B::BYTES).min(out.len() / B::LEN), bytes.as_ptr(), out.as_mut_ptr()));
    }
}

crate::simd_vec!(fn blocks(dtype: DType, bytes: &[u8], out: &mut [f32]) = blocks_body);

/// Values `first..first + out.len()` of one block.
fn part(dtype: DType, first: usize, block: &[u8], out: &mut [f32]) {
    let mut all = [0.0; MAX_BLOCK];
    blocks(dtype, block, &mut all);
    out.copy_from_slice(&all[first..first + out.len()]);
}

#[inline(always)]
fn plain_body<const FMA: bool>(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    match dtype {
        DType::F32 | DType::U32 => {
            for (b, o) in bytes.as_chunks::<4>().0.iter().zip(out) {
                *o = f32::from_le_bytes(*b);
            }
        }
        DType::F16 => {
            for (b, o) in bytes.as_chunks::<2>().0.iter().zip(out) {
                *o = half(u16::from_le_bytes(*b));
            }
        }
        DType::BF16 => {
            for (b, o) in bytes.as_chunks::<2>().0.iter().zip(out) {
                *o = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
            }
        }
        _ => {}
    }
}

crate::simd_fn!(fn plain(dtype: DType, bytes: &[u8], out: &mut [f32]) = plain_body);

/// Packed bytes (whole blocks) to f32, from value `first` of the first block on; `out` has the length of what is wanted.
fn values(dtype: DType, first: usize, mut bytes: &[u8], mut out: &mut [f32]) {
    if !dtype.is_quantized() {
        return plain(dtype, bytes, out);
    }
    let (len, size) = (dtype.block_len(), dtype.block_bytes());
    // Blocks are as good as always taken whole.
    if first > 0 {
        let (beginning, rest) = out.split_at_mut(out.len().min(len - first));
        part(dtype, first, &bytes[..size], beginning);
        (bytes, out) = (&bytes[size..], rest);
    }
    let (whole, end) = out.split_at_mut(out.len() / len * len);
    let (bytes, last) = bytes.split_at(whole.len() / len * size);
    blocks(dtype, bytes, whole);
    if !end.is_empty() {
        part(dtype, 0, last, end);
    }
}

impl Packed<'_> {
    /// Elements `first..first + out.len()` of row `i`; of quantized rows both are multiples of 32.
    pub fn read(&self, i: usize, first: usize, out: &mut [f32]) {
        let (n, b) = (self.dtype.block_len(), self.dtype.block_bytes());
        let row = self.row(i);
        values(self.dtype, first % n, &row[first / n * b..(first + out.len()).div_ceil(n) * b], out);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Packed;
    use crate::cpu::vector::half;
    use crate::tensor::packing::STORED;
    use crate::tensor::{DType, dequantize};

    #[test]
    fn every_finite_half_is_itself() {
        for bits in 0..=u16::MAX {
            let want = half::f16::from_bits(bits).to_f32();
            if want.is_finite() {
                assert_eq!(half(bits).to_bits(), want.to_bits(), "{bits:#06x}");
            }
        }
        assert_eq!(half(0x3c00), 1.0);
    }

    /// Blocks of random bytes, as far as their scales are numbers.
    fn random_blocks(dtype: DType, n: usize, mut seed: u64) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < n * dtype.block_bytes() {
            let block: Vec<u8> = (0..dtype.block_bytes())
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (seed >> 56) as u8
                })
                .collect();
            if dtype.stored().finite(&block) {
                out.extend(block);
            }
        }
        out
    }

    #[test]
    fn packed_rows_are_what_the_files_say() {
        for s in STORED.iter().filter(|s| s.dtype != DType::U32) {
            let cols = 3 * s.block_len.max(32);
            let bytes = random_blocks(s.dtype, 2 * cols / s.block_len, 5);
            let w = Packed { dtype: s.dtype, rows: 2, cols, bytes: &bytes };
            let all = dequantize(s.dtype, &bytes);
            for (first, n) in [(0, cols), (32, cols - 32), (64, 32), (cols - 32, 32)] {
                for row in 0..2 {
                    let mut got = vec![0.0; n];
                    w.read(row, first, &mut got);
                    // The same numbers: bits, but for the sign of a zero.
                    assert_eq!(got, all[row * cols + first..][..n], "{} {row} {first}", s.name);
                }
            }
        }
    }
}
