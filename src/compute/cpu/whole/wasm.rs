//! A browser's SIMD128.

use crate::cpu::bytes::Sixteen;
use crate::cpu::vector::{Base, KEPT, REBIAS};
use std::arch::wasm32::*;

pub type Eight = v128;
pub type Four = v128;

/// Integers nearest to `x·factor`, which are at most 2²⁴ away from 0, as `high·2¹² + low` in the [`ORDER`](super::ORDER) of weights.
///
/// # Safety
/// 32 numbers can be read, and written to both.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // indices of registers
pub unsafe fn parts(x: *const f32, factor: f32, high: *mut i16, low: *mut i16) {
    unsafe {
        let factor = f32x4_splat(factor);
        for half in 0..2 {
            let mut all = [factor; 4];
            for i in 0..4 {
                let x = v128_load(x.add(16 * half + 4 * i).cast());
                all[i] = i32x4_trunc_sat_f32x4(f32x4_nearest(f32x4_mul(x, factor)));
            }
            let even = [i32x4_shuffle::<0, 2, 4, 6>(all[0], all[1]), i32x4_shuffle::<0, 2, 4, 6>(all[2], all[3])];
            let odd = [i32x4_shuffle::<1, 3, 5, 7>(all[0], all[1]), i32x4_shuffle::<1, 3, 5, 7>(all[2], all[3])];
            for (at, [a, b]) in [(8 * half, even), (16 + 8 * half, odd)] {
                v128_store(high.add(at).cast(), i16x8_narrow_i32x4(i32x4_shr(a, 12), i32x4_shr(b, 12)));
                let kept = i32x4_splat(0xfff);
                v128_store(low.add(at).cast(), i16x8_narrow_i32x4(v128_and(a, kept), v128_and(b, kept)));
            }
        }
    }
}

/// The 32 halves of 16 bytes.
///
/// # Safety
/// 16 bytes can be read.
#[inline(always)]
pub unsafe fn nibbles(from: *const u8) -> [Eight; 4] {
    let (q, low) = (unsafe { v128_load(from.cast()) }, i16x8_splat(15));
    [v128_and(q, low), v128_and(u16x8_shr(q, 4), low), v128_and(u16x8_shr(q, 8), low), u16x8_shr(q, 12)]
}

/// 32 signed bytes.
///
/// # Safety
/// 32 bytes can be read.
#[inline(always)]
pub unsafe fn signed_bytes(from: *const u8) -> [Eight; 4] {
    unsafe { widened([v128_load(from.cast()), v128_load(from.add(16).cast())]) }
}

/// 32 signed bytes in registers.
///
/// # Safety
/// The instructions are there.
#[inline(always)]
pub unsafe fn widened([a, b]: [Sixteen; 2]) -> [Eight; 4] {
    [i16x8_shr(i16x8_shl(a, 8), 8), i16x8_shr(i16x8_shl(b, 8), 8), i16x8_shr(a, 8), i16x8_shr(b, 8)]
}

/// 32 unsigned bytes in registers.
///
/// # Safety
/// The instructions are there.
#[inline(always)]
pub unsafe fn unsigned([a, b]: [Sixteen; 2]) -> [Eight; 4] {
    let low = i16x8_splat(255);
    [v128_and(a, low), v128_and(b, low), u16x8_shr(a, 8), u16x8_shr(b, 8)]
}

/// One half of each of 32 bytes.
///
/// # Safety
/// 32 bytes can be read.
#[inline(always)]
pub unsafe fn halved<const F: usize>(from: *const u8) -> [Eight; 4] {
    let (a, b, low) = unsafe { (v128_load(from.cast()), v128_load(from.add(16).cast()), i16x8_splat(15)) };
    if F == 0 {
        [v128_and(a, low), v128_and(b, low), v128_and(u16x8_shr(a, 8), low), v128_and(u16x8_shr(b, 8), low)]
    } else {
        [v128_and(u16x8_shr(a, 4), low), v128_and(u16x8_shr(b, 4), low), u16x8_shr(a, 12), u16x8_shr(b, 12)]
    }
}

/// The same, with a sign.
///
/// # Safety
/// 32 bytes can be read.
#[inline(always)]
pub unsafe fn signed_halves<const F: usize>(from: *const u8) -> [Eight; 4] {
    let (a, b) = unsafe { (v128_load(from.cast()), v128_load(from.add(16).cast())) };
    let top = |v: v128| i16x8_shr(v, 12);
    if F == 0 {
        [top(i16x8_shl(a, 12)), top(i16x8_shl(b, 12)), top(i16x8_shl(a, 4)), top(i16x8_shl(b, 4))]
    } else {
        [top(i16x8_shl(a, 8)), top(i16x8_shl(b, 8)), top(a), top(b)]
    }
}

/// One quarter of each of 32 bytes.
///
/// # Safety
/// 32 bytes can be read.
#[inline(always)]
pub unsafe fn quarters<const F: usize>(from: *const u8) -> [Eight; 4] {
    let (a, b, low) = unsafe { (v128_load(from.cast()), v128_load(from.add(16).cast()), i16x8_splat(3)) };
    let (even, odd) = (2 * F as u32, 8 + 2 * F as u32);
    [
        v128_and(u16x8_shr(a, even), low),
        v128_and(u16x8_shr(b, even), low),
        v128_and(u16x8_shr(a, odd), low),
        v128_and(u16x8_shr(b, odd), low),
    ]
}

/// Weights less `N`.
///
/// # Safety
/// The instructions are there.
#[inline(always)]
pub unsafe fn less<const N: i16>([a, b, c, d]: [Eight; 4]) -> [Eight; 4] {
    let n = i16x8_splat(N);
    [i16x8_sub(a, n), i16x8_sub(b, n), i16x8_sub(c, n), i16x8_sub(d, n)]
}

/// `q·x` in four sums, each of eight products that fit into 32 bits together.
///
/// # Safety
/// 32 numbers can be read.
#[inline(always)]
pub unsafe fn dots(q: [Eight; 4], x: *const i16) -> Four {
    unsafe {
        let a = i32x4_add(i32x4_dot_i16x8(q[0], v128_load(x.cast())), i32x4_dot_i16x8(q[1], v128_load(x.add(8).cast())));
        let b = i32x4_add(i32x4_dot_i16x8(q[2], v128_load(x.add(16).cast())), i32x4_dot_i16x8(q[3], v128_load(x.add(24).cast())));
        i32x4_add(a, b)
    }
}

/// [`dots`] of the first sixteen weights and of the others.
///
/// # Safety
/// 32 numbers can be read.
#[inline(always)]
pub unsafe fn two_dots(q: [Eight; 4], x: *const i16) -> [Four; 2] {
    unsafe {
        [
            i32x4_add(i32x4_dot_i16x8(q[0], v128_load(x.cast())), i32x4_dot_i16x8(q[2], v128_load(x.add(16).cast()))),
            i32x4_add(i32x4_dot_i16x8(q[1], v128_load(x.add(8).cast())), i32x4_dot_i16x8(q[3], v128_load(x.add(24).cast()))),
        ]
    }
}

/// `high·2¹² + low` as floats, where it fits into 32 bits.
///
/// # Safety
/// The instructions are there.
#[inline(always)]
pub unsafe fn together(high: Four, low: Four) -> Base {
    f32x4_convert_i32x4(i32x4_add(i32x4_shl(high, 12), low))
}

/// [`together`] with numbers added.
///
/// # Safety
/// Four numbers can be read.
#[inline(always)]
pub unsafe fn together_with(high: Four, low: Four, more: *const i32) -> Base {
    f32x4_convert_i32x4(i32x4_add(i32x4_add(i32x4_shl(high, 12), low), unsafe { v128_load(more.cast()) }))
}

/// `high·2¹² + low` as floats, where only its parts fit.
///
/// # Safety
/// The instructions are there.
#[inline(always)]
pub unsafe fn apart(high: Four, low: Four) -> Base {
    f32x4_add(f32x4_mul(f32x4_convert_i32x4(high), f32x4_splat(4096.0)), f32x4_convert_i32x4(low))
}

/// Two numbers of half precision in the first two lanes; what is in the others is a number. Not for infinities and NaN.
///
/// # Safety
/// 4 bytes can be read.
#[inline(always)]
pub unsafe fn halves(from: *const u8) -> Base {
    let bits = i32x4_shl(i32x4_extend_low_i16x8(unsafe { v128_load32_zero(from.cast()) }), 13);
    f32x4_mul(v128_and(bits, i32x4_splat(KEPT)), f32x4_splat(REBIAS))
}

/// A number of half precision in all lanes. Not for infinities and NaN.
///
/// # Safety
/// 2 bytes can be read.
#[inline(always)]
pub unsafe fn half_everywhere(from: *const u8) -> Base {
    let bits = i32x4_shr(i32x4_shl(unsafe { v128_load16_splat(from.cast()) }, 16), 3);
    f32x4_mul(v128_and(bits, i32x4_splat(KEPT)), f32x4_splat(REBIAS))
}

/// The first lane in all lanes.
///
/// # Safety
/// The instructions are there.
#[inline(always)]
pub unsafe fn first(v: Base) -> Base {
    i32x4_shuffle::<0, 0, 0, 0>(v, v)
}
