//! Numbers as a key/value cache stores them, and activations that wait for the backward pass: f32, or half precision to save memory. What is
//! computed with them is f32 either way.

use half::f16;

use crate::cpu::{Pool, vector};

/// See the module.
pub trait Stored: Copy + Send + Sync {
    /// Its value, exactly.
    fn get(self) -> f32;
    /// Stores values, rounded to the nearest.
    fn put(to: &mut [Self], from: &[f32]);
}

impl Stored for f32 {
    #[inline(always)]
    fn get(self) -> f32 {
        self
    }

    fn put(to: &mut [f32], from: &[f32]) {
        to.copy_from_slice(from);
    }
}

impl Stored for f16 {
    #[inline(always)]
    fn get(self) -> f32 {
        let bits = self.to_bits();
        // Weights are never infinite or NaN, and `vector::half` does not look; what a model computes may be, and must stay it.
        let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
        f32::from_bits(vector::half(bits).to_bits() | special)
    }

    fn put(to: &mut [f16], from: &[f32]) {
        narrow(to, from);
    }
}

/// The nearest half, of two equally near ones the even one; NaN for NaN and for what is too large, so that an overflow is found where the results
/// are looked at, and not taken for a key that nobody needs. In `shaders/common/half.wgsl` the same.
#[inline(always)]
fn nearest(v: f32) -> f16 {
    let bits = v.to_bits();
    let a = bits & 0x7fff_ffff;
    let normal = a.wrapping_add(0xfff + ((a >> 13) & 1)).wrapping_sub(0x3800_0000) >> 13;
    // Below 2⁻¹⁴ halves are multiples of 2⁻²⁴, and so are the floats from ½ to 1.
    let small = (f32::from_bits(a) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let h = if a < 0x3880_0000 { small } else { normal };
    let h = if a >= 0x477f_f000 { 0x7e00 } else { h };
    f16::from_bits((h | ((bits >> 16) & 0x8000)) as u16)
}

#[inline(always)]
fn narrow_body<const FMA: bool>(to: &mut [f16], from: &[f32]) {
    for (y, x) in to.iter_mut().zip(from) {
        *y = nearest(*x);
    }
}

crate::simd_fn!(fn narrow(to: &mut [f16], from: &[f32]) = narrow_body);

#[inline(always)]
fn widen_body<const FMA: bool>(to: &mut [f32], from: &[f16], dim: usize, stride: usize) {
    for (to, from) in to.chunks_exact_mut(dim).zip(from.chunks(stride)) {
        for (y, x) in to.iter_mut().zip(from) {
            *y = x.get();
        }
    }
}

crate::simd_fn!(
    /// Rows of `dim` numbers, `stride` apart, to rows of f32 without gaps.
    pub fn widen(to: &mut [f32], from: &[f16], dim: usize, stride: usize) = widen_body
);

/// Numbers worth a piece of work.
const LEAST: usize = 16_384;

/// Numbers as halves, rounded to the nearest.
pub fn narrow_all(pool: &Pool, to: &mut [f16], from: &[f32]) {
    pool.rows(to, 1, LEAST, |first, to| narrow(to, &from[first..first + to.len()]));
}

/// Halves as numbers, exactly.
pub fn widen_all(pool: &Pool, to: &mut [f32], from: &[f16]) {
    pool.rows(to, 1, LEAST, |first, to| widen(to, &from[first..first + to.len()], to.len(), to.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_comes_back() {
        let halves: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        let mut wide = vec![0.0; halves.len()];
        widen(&mut wide, &halves, halves.len(), halves.len());
        let mut back = vec![f16::ZERO; halves.len()];
        f16::put(&mut back, &wide);
        for ((h, w), b) in halves.iter().zip(&wide).zip(&back) {
            assert_eq!(w.to_bits() & 0x7f80_0000 == 0x7f80_0000, !h.is_finite(), "{h:?}: {w}");
            if h.is_finite() {
                assert_eq!((w.to_bits(), b.to_bits()), (h.to_f32().to_bits(), h.to_bits()), "{h:?}");
            } else {
                assert!((w.is_nan() == h.is_nan()) & b.is_nan(), "{h:?}: {w}, {b:?}");
            }
        }
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest() {
        // Steps through all exponents; and around halves and the middles between them.
        let mut x: Vec<f32> = (0..1 << 20).map(|i: u32| f32::from_bits(i.wrapping_mul(4099))).collect();
        x.extend((0..0x7c00u16).flat_map(|h| {
            let (a, b) = (f16::from_bits(h).to_f32(), f16::from_bits(h + 1).to_f32());
            let middle = if b.is_finite() { (a + b) / 2.0 } else { 65520.0 };
            [middle, middle.next_down(), -middle.next_up(), a.next_up()]
        }));
        let mut got = vec![f16::ZERO; x.len()];
        f16::put(&mut got, &x);
        for (x, g) in x.iter().zip(got) {
            let want = f16::from_f32(*x);
            assert!(if want.is_finite() { g.to_bits() == want.to_bits() } else { g.is_nan() }, "{x}: {g:?} instead of {want:?}");
        }
    }
}
