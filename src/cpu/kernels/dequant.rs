//! Rows of packed weights to f32.

use super::Packed;
use crate::cpu::vector::{MOST, Vector, half};
use crate::tensor::DType;

/// A block of 32 quantized weights.
pub(super) trait Block {
    const BYTES: usize;
    /// Its values, in the first `32 / V::LANES` registers.
    ///
    /// # Safety
    /// As [`Vector`]; `BYTES` can be read.
    unsafe fn values<V: Vector>(from: *const u8) -> [V; MOST];
}

pub(super) struct Q4_0;
pub(super) struct Q4_1;
pub(super) struct Q8_0;

impl Block for Q4_0 {
    const BYTES: usize = 18;
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8) -> [V; MOST] {
        unsafe {
            let (d, _) = V::halves(from);
            V::nibbles(from.add(2), d, d.mul(V::splat(-8.0)))
        }
    }
}

impl Block for Q4_1 {
    const BYTES: usize = 20;
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8) -> [V; MOST] {
        unsafe {
            let (d, m) = V::halves(from);
            V::nibbles(from.add(4), d, m)
        }
    }
}

impl Block for Q8_0 {
    const BYTES: usize = 34;
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8) -> [V; MOST] {
        unsafe { V::signed_bytes(from.add(2), V::halves(from).0) }
    }
}

/// # Safety
/// As [`Vector`]; there are `n` blocks and room for their values.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // indices of registers
unsafe fn unpack<V: Vector, B: Block>(n: usize, from: *const u8, to: *mut f32) {
    for b in 0..n {
        unsafe {
            let values = B::values::<V>(from.add(b * B::BYTES));
            for i in 0..32 / V::LANES {
                values[i].store(to.add(b * 32 + i * V::LANES));
            }
        }
    }
}

/// # Safety
/// As [`Vector`].
#[inline(always)]
unsafe fn blocks_body<V: Vector, const _MR: usize, const _NR: usize>(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    let n = (bytes.len() / dtype.block_bytes()).min(out.len() / 32);
    // SAFETY: so many blocks are in both.
    unsafe {
        match dtype {
            DType::Q4_0 => unpack::<V, Q4_0>(n, bytes.as_ptr(), out.as_mut_ptr()),
            DType::Q4_1 => unpack::<V, Q4_1>(n, bytes.as_ptr(), out.as_mut_ptr()),
            DType::Q8_0 => unpack::<V, Q8_0>(n, bytes.as_ptr(), out.as_mut_ptr()),
            _ => {}
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
    use super::values;
    use crate::cpu::vector::half;
    use crate::tensor::{DType, dequantize, quantize};

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
