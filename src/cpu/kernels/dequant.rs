//! Rows of packed weights to f32.

use super::Packed;
use crate::cpu::vector::Vector;
use crate::tensor::DType;

/// Half precision to f32 without branches, so that a loop over it becomes vectors. Not for infinities and NaN: files with such weights are refused.
#[inline(always)]
pub fn half(bits: u16) -> f32 {
    let sign = (u32::from(bits) & 0x8000) << 16;
    // The exponent is moved by a multiplication, which is exact and takes subnormal numbers along.
    let magnitude = f32::from_bits((u32::from(bits) & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    f32::from_bits(magnitude.to_bits() | sign)
}

#[inline(always)]
fn word(b: &[u8]) -> u16 {
    u16::from_le_bytes([b[0], b[1]])
}

/// Blocks of 32 as `d·q + m`. Written out in registers: left to itself, the compiler
/// vectorizes across blocks, with gathers.
///
/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn blocks_body<V: Vector, const _MR: usize, const _NR: usize>(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    let size = dtype.block_bytes();
    for (b, o) in bytes.chunks_exact(size).zip(out.as_chunks_mut::<32>().0) {
        let d = half(word(b));
        let m = match dtype {
            DType::Q4_0 => d * -8.0,
            DType::Q4_1 => half(word(&b[2..])),
            _ => 0.0,
        };
        let mut q = [0u8; 32];
        // SAFETY: 16 or 32 bytes of integers end the block; 32 values are written, in whole registers.
        unsafe {
            let from = b.as_ptr().add(size - if dtype == DType::Q8_0 { 32 } else { 16 });
            let (d, m) = (V::splat(d), V::splat(m));
            if dtype == DType::Q8_0 {
                for i in (0..32).step_by(V::LANES) {
                    V::signed_bytes(from.add(i)).fma(d, m).store(o.as_mut_ptr().add(i));
                }
            } else {
                V::split(from, &mut q);
                for i in (0..32).step_by(V::LANES) {
                    V::bytes(q.as_ptr().add(i)).fma(d, m).store(o.as_mut_ptr().add(i));
                }
            }
        }
    }
}

crate::simd_vec!(fn blocks(dtype: DType, bytes: &[u8], out: &mut [f32]) = blocks_body);

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
        DType::Q4_0 | DType::Q4_1 | DType::Q8_0 => {}
    }
}

crate::simd_fn!(fn plain(dtype: DType, bytes: &[u8], out: &mut [f32]) = plain_body);

/// Packed bytes (whole blocks) to f32; `out` has their length.
pub fn values(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    if dtype.is_quantized() { blocks(dtype, bytes, out) } else { plain(dtype, bytes, out) }
}

impl Packed<'_> {
    /// Elements `first..first + out.len()` of row `i`, both multiples of a block (or to the row's end).
    pub fn read(&self, i: usize, first: usize, out: &mut [f32]) {
        let (n, b) = (self.dtype.block_len(), self.dtype.block_bytes());
        let row = self.row(i);
        values(self.dtype, &row[first / n * b..(first + out.len()).div_ceil(n) * b], out);
    }
}

#[cfg(test)]
mod tests {
    use super::{half, values};
    use crate::tensor::{DType, dequantize, quantize};

    #[test]
    fn every_finite_half_is_itself() {
        for bits in 0..=u16::MAX {
            let want = half::f16::from_bits(bits).to_f32();
            if want.is_finite() {
                assert_eq!(super::half(bits).to_bits(), want.to_bits(), "{bits:#06x}");
            }
        }
        assert_eq!(half(0x3c00), 1.0);
    }

    #[test]
    fn packed_rows_are_what_the_files_say() {
        let x: Vec<f32> = (0..96).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
        for dtype in [DType::F32, DType::F16, DType::BF16, DType::Q4_0, DType::Q4_1, DType::Q8_0] {
            let bytes = quantize(dtype, &x);
            let mut got = vec![0.0; 96];
            values(dtype, &bytes, &mut got);
            for (g, w) in got.iter().zip(dequantize(dtype, &bytes)) {
                assert!((g - w).abs() <= 1e-6 * w.abs().max(0.1), "{dtype:?}: {g} instead of {w}");
            }
        }
    }
}
