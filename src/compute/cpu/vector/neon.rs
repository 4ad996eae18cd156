//! AArch64: NEON.

use super::{KEPT, MOST, REBIAS, Sixteen, Vector};
use std::arch::aarch64::*;

pub type Base = float32x4_t;

// SAFETY: NEON is part of AArch64.
unsafe impl Vector for float32x4_t {
    const LANES: usize = 4;
    type Bytes = [Sixteen; 2];
    #[inline(always)]
    unsafe fn splat(v: f32) -> Self {
        unsafe { vdupq_n_f32(v) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { vld1q_f32(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { vst1q_f32(to, self) }
    }
    #[inline(always)]
    unsafe fn fma(self, b: Self, c: Self) -> Self {
        unsafe { vfmaq_f32(c, self, b) }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        unsafe { vaddq_f32(self, b) }
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        unsafe { vaddvq_f32(self) }
    }
    #[inline(always)]
    unsafe fn sums([a, b, c, d]: [Self; 4]) -> Base {
        // Neighbours, then the two sums, as `vaddvq_f32` does.
        unsafe { vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)) }
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        unsafe { vmulq_f32(self, b) }
    }
    #[inline(always)]
    unsafe fn soon(from: *const u8) {
        // The intrinsic is not stable yet.
        unsafe { std::arch::asm!("prfm pldl1keep, [{}]", in(reg) from, options(nostack, preserves_flags, readonly)) }
    }
    #[inline(always)]
    unsafe fn halves(from: *const u8) -> (Self, Self) {
        unsafe {
            let bits = vmovl_s16(vcreate_s16(u64::from(from.cast::<u32>().read_unaligned())));
            let bits = vandq_s32(vshlq_n_s32::<13>(bits), vdupq_n_s32(KEPT));
            let both = vmulq_f32(vreinterpretq_f32_s32(bits), vdupq_n_f32(REBIAS));
            (vdupq_laneq_f32::<0>(both), vdupq_laneq_f32::<1>(both))
        }
    }
    #[inline(always)]
    unsafe fn last_halves(end: *const u8) -> (Self, Self) {
        unsafe { Self::halves(end.sub(4)) }
    }
    #[inline(always)]
    unsafe fn nibbles(from: *const u8, d: Self, m: Self) -> [Self; MOST] {
        unsafe {
            let q = vld1q_u8(from);
            let mut out = [m; MOST];
            for (i, q) in [vandq_u8(q, vdupq_n_u8(15)), vshrq_n_u8::<4>(q)].into_iter().enumerate() {
                let (a, b) = (vmovl_u8(vget_low_u8(q)), vmovl_high_u8(q));
                out[4 * i] = vcvtq_f32_u32(vmovl_u16(vget_low_u16(a))).fma(d, m);
                out[4 * i + 1] = vcvtq_f32_u32(vmovl_high_u16(a)).fma(d, m);
                out[4 * i + 2] = vcvtq_f32_u32(vmovl_u16(vget_low_u16(b))).fma(d, m);
                out[4 * i + 3] = vcvtq_f32_u32(vmovl_high_u16(b)).fma(d, m);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn signed_bytes(from: *const u8, d: Self) -> [Self; MOST] {
        unsafe {
            let mut out = [d; MOST];
            for i in 0..2 {
                let q = vld1q_s8(from.add(16 * i).cast());
                let (a, b) = (vmovl_s8(vget_low_s8(q)), vmovl_high_s8(q));
                out[4 * i] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(a))).mul(d);
                out[4 * i + 1] = vcvtq_f32_s32(vmovl_high_s16(a)).mul(d);
                out[4 * i + 2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(b))).mul(d);
                out[4 * i + 3] = vcvtq_f32_s32(vmovl_high_s16(b)).mul(d);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn signed(bytes: [Sixteen; 2]) -> [Self; MOST] {
        unsafe {
            let mut out = [vdupq_n_f32(0.0); MOST];
            for (i, q) in bytes.into_iter().enumerate() {
                let q = vreinterpretq_s8_u8(q);
                let (a, b) = (vmovl_s8(vget_low_s8(q)), vmovl_high_s8(q));
                out[4 * i] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(a)));
                out[4 * i + 1] = vcvtq_f32_s32(vmovl_high_s16(a));
                out[4 * i + 2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(b)));
                out[4 * i + 3] = vcvtq_f32_s32(vmovl_high_s16(b));
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn lookup(table: Sixteen, at: Sixteen) -> Sixteen {
        unsafe { vqtbl1q_u8(table, at) }
    }
}
