//! A browser's SIMD128.

use super::{KEPT, MOST, REBIAS, Sixteen, Vector};
use std::arch::wasm32::*;

pub type Base = v128;

// SAFETY: the module is compiled for SIMD128.
unsafe impl Vector for v128 {
    const LANES: usize = 4;
    type Bytes = [Sixteen; 2];
    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        f32x4_splat(v)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { v128_load(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { v128_store(to.cast(), self) }
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        f32x4_add(f32x4_mul(self, b), c)
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        f32x4_add(self, b)
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let (a, b) =
            (f32x4_extract_lane::<0>(self) + f32x4_extract_lane::<2>(self), f32x4_extract_lane::<1>(self) + f32x4_extract_lane::<3>(self));
        a + b
    }
    #[inline(always)]
    unsafe fn sums([a, b, c, d]: [Self; 4]) -> Base {
        // Lanes 0 + 2 of both, then lanes 1 + 3.
        let ab = f32x4_add(i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
        let cd = f32x4_add(i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
        f32x4_add(i32x4_shuffle::<0, 1, 4, 5>(ab, cd), i32x4_shuffle::<2, 3, 6, 7>(ab, cd))
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        f32x4_mul(self, b)
    }
    #[inline(always)]
    unsafe fn halves(from: *const u8) -> (Self, Self) {
        unsafe {
            let bits = i32x4_shl(i32x4_extend_low_i16x8(v128_load32_zero(from.cast())), 13);
            let both = f32x4_mul(v128_and(bits, i32x4_splat(KEPT)), f32x4_splat(REBIAS));
            (i32x4_shuffle::<0, 0, 0, 0>(both, both), i32x4_shuffle::<1, 1, 1, 1>(both, both))
        }
    }
    #[inline(always)]
    unsafe fn last_halves(end: *const u8) -> (Self, Self) {
        unsafe { Self::halves(end.sub(4)) }
    }
    #[inline(always)]
    unsafe fn nibbles(from: *const u8, d: Self, m: Self) -> [Self; MOST] {
        unsafe {
            let q = v128_load(from.cast());
            let mut out = [m; MOST];
            for (i, q) in [v128_and(q, u8x16_splat(15)), u8x16_shr(q, 4)].into_iter().enumerate() {
                let (a, b) = (u16x8_extend_low_u8x16(q), u16x8_extend_high_u8x16(q));
                out[4 * i] = f32x4_convert_i32x4(u32x4_extend_low_u16x8(a)).fma(d, m);
                out[4 * i + 1] = f32x4_convert_i32x4(u32x4_extend_high_u16x8(a)).fma(d, m);
                out[4 * i + 2] = f32x4_convert_i32x4(u32x4_extend_low_u16x8(b)).fma(d, m);
                out[4 * i + 3] = f32x4_convert_i32x4(u32x4_extend_high_u16x8(b)).fma(d, m);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn signed_bytes(from: *const u8, d: Self) -> [Self; MOST] {
        unsafe {
            let mut out = [d; MOST];
            for i in 0..2 {
                let q = v128_load(from.add(16 * i).cast());
                let (a, b) = (i16x8_extend_low_i8x16(q), i16x8_extend_high_i8x16(q));
                out[4 * i] = f32x4_convert_i32x4(i32x4_extend_low_i16x8(a)).mul(d);
                out[4 * i + 1] = f32x4_convert_i32x4(i32x4_extend_high_i16x8(a)).mul(d);
                out[4 * i + 2] = f32x4_convert_i32x4(i32x4_extend_low_i16x8(b)).mul(d);
                out[4 * i + 3] = f32x4_convert_i32x4(i32x4_extend_high_i16x8(b)).mul(d);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn signed(bytes: [Sixteen; 2]) -> [Self; MOST] {
        let mut out = [f32x4_splat(0.0); MOST];
        for (i, q) in bytes.into_iter().enumerate() {
            let (a, b) = (i16x8_extend_low_i8x16(q), i16x8_extend_high_i8x16(q));
            out[4 * i] = f32x4_convert_i32x4(i32x4_extend_low_i16x8(a));
            out[4 * i + 1] = f32x4_convert_i32x4(i32x4_extend_high_i16x8(a));
            out[4 * i + 2] = f32x4_convert_i32x4(i32x4_extend_low_i16x8(b));
            out[4 * i + 3] = f32x4_convert_i32x4(i32x4_extend_high_i16x8(b));
        }
        out
    }
    #[inline(always)]
    unsafe fn lookup(table: Sixteen, at: Sixteen) -> Sixteen {
        u8x16_swizzle(table, at)
    }
}
