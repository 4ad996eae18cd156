//! What x86's wide registers do with integers on their way into lanes.

use super::Sixteen;
use crate::cpu::bytes::Bytes;
use std::arch::x86_64::*;

// SAFETY: used under AVX2 only.
unsafe impl Bytes for __m256i {
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        unsafe { _mm256_storeu_si256(to.cast(), self) }
    }
    #[inline(always)]
    unsafe fn splat(v: u8) -> Self {
        unsafe { _mm256_set1_epi8(v.cast_signed()) }
    }
    #[inline(always)]
    unsafe fn and(self, b: Self) -> Self {
        unsafe { _mm256_and_si256(self, b) }
    }
    #[inline(always)]
    unsafe fn or(self, b: Self) -> Self {
        unsafe { _mm256_or_si256(self, b) }
    }
    #[inline(always)]
    unsafe fn shr<const N: i32>(self) -> Self {
        unsafe { _mm256_srli_epi16::<N>(self) }
    }
    #[inline(always)]
    unsafe fn shl<const N: i32>(self) -> Self {
        unsafe { _mm256_slli_epi16::<N>(self) }
    }
}

/// Permutations that the compiler cannot look into: it would else permute the factors of what is permuted, one by one, and narrow indices whose
/// upper bits nobody reads, at several instructions instead of one.
macro_rules! permuted {
    ($(#[$meta:meta])* $name:ident, $feature:literal, $class:ident, $of:ty, $at:ty, $code:literal) => {
        $(#[$meta])*
        #[inline]
        #[target_feature(enable = $feature)]
        pub fn $name(of: $of, at: $at) -> $of {
            let out;
            // SAFETY: registers only.
            unsafe {
                std::arch::asm!($code, of = in($class) of, at = in($class) at, out = lateout($class) out, options(pure, nomem, nostack, preserves_flags));
            }
            out
        }
    };
}

permuted! {
    /// Of four lanes, by two bits.
    of_four, "avx", ymm_reg, __m256, __m256i, "vpermilps {out}, {of}, {at}"
}
permuted! {
    /// Of eight lanes, by three bits.
    of_eight, "avx2", ymm_reg, __m256, __m256i, "vpermps {out}, {at}, {of}"
}
permuted! {
    /// Of sixteen lanes, by four bits.
    of_sixteen, "avx512f", zmm_reg, __m512, __m512i, "vpermps {out}, {at}, {of}"
}

/// The 32 halves of 16 bytes: the low ones, then the high ones.
///
/// # Safety
/// The processor has AVX2; 16 bytes can be read.
#[inline(always)]
pub unsafe fn halves_of_bytes(from: *const u8) -> __m256i {
    unsafe {
        let q = _mm256_broadcastsi128_si256(_mm_loadu_si128(from.cast()));
        _mm256_and_si256(_mm256_srlv_epi32(q, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4)), _mm256_set1_epi8(15))
    }
}

/// All bits of byte i where bit i of four bytes is not set.
///
/// # Safety
/// The processor has AVX2; 4 bytes can be read.
#[inline(always)]
pub unsafe fn unset(from: *const u8) -> __m256i {
    unsafe {
        let eight_times = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
        let bits = _mm256_shuffle_epi8(_mm256_set1_epi32(from.cast::<i32>().read_unaligned()), eight_times);
        let each = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
        _mm256_cmpeq_epi8(_mm256_and_si256(bits, each), _mm256_setzero_si256())
    }
}

/// A register of 32 bytes as two of sixteen.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
pub unsafe fn both(bytes: __m256i) -> [Sixteen; 2] {
    unsafe { [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256::<1>(bytes)] }
}
