//! SSE2.

use crate::cpu::bytes::Sixteen;
use crate::cpu::vector::{Base, KEPT, REBIAS};
use std::arch::x86_64::*;

pub type Eight = __m128i;
pub type Four = __m128i;

/// Integers nearest to `x·factor`, which are at most 2²⁴ away from 0, as `high·2¹² + low` in the [`ORDER`](super::ORDER) of weights.
///
/// # Safety
/// 32 numbers can be read, and written to both.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // indices of registers
pub unsafe fn parts(x: *const f32, factor: f32, high: *mut i16, low: *mut i16) {
    unsafe {
        let factor = _mm_set1_ps(factor);
        for half in 0..2 {
            let mut all = [_mm_setzero_ps(); 4];
            for i in 0..4 {
                let x = _mm_loadu_ps(x.add(16 * half + 4 * i));
                all[i] = _mm_castsi128_ps(_mm_cvtps_epi32(_mm_mul_ps(x, factor)));
            }
            let even = [_mm_shuffle_ps::<0b10_00_10_00>(all[0], all[1]), _mm_shuffle_ps::<0b10_00_10_00>(all[2], all[3])];
            let odd = [_mm_shuffle_ps::<0b11_01_11_01>(all[0], all[1]), _mm_shuffle_ps::<0b11_01_11_01>(all[2], all[3])];
            for (at, [a, b]) in [(8 * half, even), (16 + 8 * half, odd)] {
                let (a, b, kept) = (_mm_castps_si128(a), _mm_castps_si128(b), _mm_set1_epi32(0xfff));
                _mm_storeu_si128(high.add(at).cast(), _mm_packs_epi32(_mm_srai_epi32::<12>(a), _mm_srai_epi32::<12>(b)));
                _mm_storeu_si128(low.add(at).cast(), _mm_packs_epi32(_mm_and_si128(a, kept), _mm_and_si128(b, kept)));
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
    unsafe {
        let (q, low) = (_mm_loadu_si128(from.cast()), _mm_set1_epi16(15));
        let shifted = [_mm_srli_epi16::<4>(q), _mm_srli_epi16::<8>(q)];
        [_mm_and_si128(q, low), _mm_and_si128(shifted[0], low), _mm_and_si128(shifted[1], low), _mm_srli_epi16::<12>(q)]
    }
}

/// 32 signed bytes.
///
/// # Safety
/// 32 bytes can be read.
#[inline(always)]
pub unsafe fn signed_bytes(from: *const u8) -> [Eight; 4] {
    unsafe { widened([_mm_loadu_si128(from.cast()), _mm_loadu_si128(from.add(16).cast())]) }
}

/// 32 signed bytes in registers.
///
/// # Safety
/// The instructions are there.
#[inline(always)]
pub unsafe fn widened([a, b]: [Sixteen; 2]) -> [Eight; 4] {
    unsafe {
        let even = [_mm_srai_epi16::<8>(_mm_slli_epi16::<8>(a)), _mm_srai_epi16::<8>(_mm_slli_epi16::<8>(b))];
        [even[0], even[1], _mm_srai_epi16::<8>(a), _mm_srai_epi16::<8>(b)]
    }
}

/// 32 unsigned bytes in registers.
///
/// # Safety
/// The instructions are there.
#[inline(always)]
pub unsafe fn unsigned([a, b]: [Sixteen; 2]) -> [Eight; 4] {
    unsafe {
        let low = _mm_set1_epi16(255);
        [_mm_and_si128(a, low), _mm_and_si128(b, low), _mm_srli_epi16::<8>(a), _mm_srli_epi16::<8>(b)]
    }
}

/// One half of each of 32 bytes.
///
/// # Safety
/// 32 bytes can be read.
#[inline(always)]
pub unsafe fn halved<const F: usize>(from: *const u8) -> [Eight; 4] {
    unsafe {
        let (a, b, low) = (_mm_loadu_si128(from.cast()), _mm_loadu_si128(from.add(16).cast()), _mm_set1_epi16(15));
        if F == 0 {
            let odd = [_mm_srli_epi16::<8>(a), _mm_srli_epi16::<8>(b)];
            [_mm_and_si128(a, low), _mm_and_si128(b, low), _mm_and_si128(odd[0], low), _mm_and_si128(odd[1], low)]
        } else {
            let even = [_mm_srli_epi16::<4>(a), _mm_srli_epi16::<4>(b)];
            [_mm_and_si128(even[0], low), _mm_and_si128(even[1], low), _mm_srli_epi16::<12>(a), _mm_srli_epi16::<12>(b)]
        }
    }
}

/// The same, with a sign.
///
/// # Safety
/// 32 bytes can be read.
#[inline(always)]
pub unsafe fn signed_halves<const F: usize>(from: *const u8) -> [Eight; 4] {
    unsafe {
        let (a, b) = (_mm_loadu_si128(from.cast()), _mm_loadu_si128(from.add(16).cast()));
        let to_top = if F == 0 {
            [_mm_slli_epi16::<12>(a), _mm_slli_epi16::<12>(b), _mm_slli_epi16::<4>(a), _mm_slli_epi16::<4>(b)]
        } else {
            [_mm_slli_epi16::<8>(a), _mm_slli_epi16::<8>(b), a, b]
        };
        let mut out = to_top;
        for i in 0..4 {
            out[i] = _mm_srai_epi16::<12>(to_top[i]);
        }
        out
    }
}

/// One quarter of each of 32 bytes.
///
/// # Safety
/// 32 bytes can be read.
#[inline(always)]
pub unsafe fn quarters<const F: usize>(from: *const u8) -> [Eight; 4] {
    unsafe {
        let (a, b, low) = (_mm_loadu_si128(from.cast()), _mm_loadu_si128(from.add(16).cast()), _mm_set1_epi16(3));
        let shifted = match F {
            0 => [a, b, _mm_srli_epi16::<8>(a), _mm_srli_epi16::<8>(b)],
            1 => [_mm_srli_epi16::<2>(a), _mm_srli_epi16::<2>(b), _mm_srli_epi16::<10>(a), _mm_srli_epi16::<10>(b)],
            2 => [_mm_srli_epi16::<4>(a), _mm_srli_epi16::<4>(b), _mm_srli_epi16::<12>(a), _mm_srli_epi16::<12>(b)],
            _ => [_mm_srli_epi16::<6>(a), _mm_srli_epi16::<6>(b), _mm_srli_epi16::<14>(a), _mm_srli_epi16::<14>(b)],
        };
        let mut out = shifted;
        for i in 0..4 {
            out[i] = _mm_and_si128(shifted[i], low);
        }
        out
    }
}

/// Weights less `N`.
///
/// # Safety
/// The instructions are there.
#[inline(always)]
pub unsafe fn less<const N: i16>([a, b, c, d]: [Eight; 4]) -> [Eight; 4] {
    unsafe {
        let n = _mm_set1_epi16(N);
        [_mm_sub_epi16(a, n), _mm_sub_epi16(b, n), _mm_sub_epi16(c, n), _mm_sub_epi16(d, n)]
    }
}

/// `q·x` in four sums, each of eight products that fit into 32 bits together.
///
/// # Safety
/// 32 numbers can be read.
#[inline(always)]
pub unsafe fn dots(q: [Eight; 4], x: *const i16) -> Four {
    unsafe {
        let a = _mm_add_epi32(_mm_madd_epi16(q[0], _mm_loadu_si128(x.cast())), _mm_madd_epi16(q[1], _mm_loadu_si128(x.add(8).cast())));
        let b =
            _mm_add_epi32(_mm_madd_epi16(q[2], _mm_loadu_si128(x.add(16).cast())), _mm_madd_epi16(q[3], _mm_loadu_si128(x.add(24).cast())));
        _mm_add_epi32(a, b)
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
            _mm_add_epi32(_mm_madd_epi16(q[0], _mm_loadu_si128(x.cast())), _mm_madd_epi16(q[2], _mm_loadu_si128(x.add(16).cast()))),
            _mm_add_epi32(_mm_madd_epi16(q[1], _mm_loadu_si128(x.add(8).cast())), _mm_madd_epi16(q[3], _mm_loadu_si128(x.add(24).cast()))),
        ]
    }
}

/// `high·2¹² + low` as floats, where it fits into 32 bits.
///
/// # Safety
/// The instructions are there.
#[inline(always)]
pub unsafe fn together(high: Four, low: Four) -> Base {
    unsafe { _mm_cvtepi32_ps(_mm_add_epi32(_mm_slli_epi32::<12>(high), low)) }
}

/// [`together`] with numbers added.
///
/// # Safety
/// Four numbers can be read.
#[inline(always)]
pub unsafe fn together_with(high: Four, low: Four, more: *const i32) -> Base {
    unsafe { _mm_cvtepi32_ps(_mm_add_epi32(_mm_add_epi32(_mm_slli_epi32::<12>(high), low), _mm_loadu_si128(more.cast()))) }
}

/// `high·2¹² + low` as floats, where only its parts fit.
///
/// # Safety
/// The instructions are there.
#[inline(always)]
pub unsafe fn apart(high: Four, low: Four) -> Base {
    unsafe { _mm_add_ps(_mm_mul_ps(_mm_cvtepi32_ps(high), _mm_set1_ps(4096.0)), _mm_cvtepi32_ps(low)) }
}

/// Two numbers of half precision in the first two lanes; what is in the others is a number. Not for infinities and NaN.
///
/// # Safety
/// 4 bytes can be read.
#[inline(always)]
pub unsafe fn halves(from: *const u8) -> Base {
    unsafe {
        let both = _mm_cvtsi32_si128(from.cast::<i32>().read_unaligned());
        let bits = _mm_srai_epi32::<3>(_mm_unpacklo_epi16(_mm_setzero_si128(), both));
        _mm_mul_ps(_mm_castsi128_ps(_mm_and_si128(bits, _mm_set1_epi32(KEPT))), _mm_set1_ps(REBIAS))
    }
}

/// A number of half precision in all lanes. Not for infinities and NaN.
///
/// # Safety
/// 2 bytes can be read.
#[inline(always)]
pub unsafe fn half_everywhere(from: *const u8) -> Base {
    unsafe { _mm_set1_ps(crate::cpu::vector::half(from.cast::<u16>().read_unaligned())) }
}

/// The first lane in all lanes.
///
/// # Safety
/// The instructions are there.
#[inline(always)]
pub unsafe fn first(v: Base) -> Base {
    unsafe { _mm_shuffle_ps::<0>(v, v) }
}
