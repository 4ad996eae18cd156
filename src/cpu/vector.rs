//! Vectors of f32 in registers, one type per instruction set. Kernels whose inner loops must not be left to the compiler's mood are generic over
//! [`Vector`] and instantiated by [`simd_vec!`](crate::simd_vec).

/// A register of f32 lanes.
///
/// # Safety
/// `LANES` is what the methods read and write; they may be called only where the instruction set is there, that is inside functions that
/// [`simd_vec!`](crate::simd_vec) makes.
pub unsafe trait Vector: Copy {
    const LANES: usize;
    /// # Safety
    /// See the trait.
    unsafe fn splat(v: f32) -> Self;
    /// # Safety
    /// See the trait; `LANES` values can be read.
    unsafe fn load(from: *const f32) -> Self;
    /// # Safety
    /// See the trait; `LANES` values can be written.
    unsafe fn store(self, to: *mut f32);
    /// `self·b + c`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn fma(self, b: Self, c: Self) -> Self;
    /// # Safety
    /// See the trait.
    unsafe fn add(self, b: Self) -> Self;
    /// The sum of the lanes.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn sum(self) -> f32;
    /// As many bytes as there are lanes, 0…255.
    ///
    /// # Safety
    /// See the trait; the bytes can be read.
    unsafe fn bytes(from: *const u8) -> Self;
    /// As many bytes as there are lanes, −128…127.
    ///
    /// # Safety
    /// See the trait; the bytes can be read.
    unsafe fn signed_bytes(from: *const u8) -> Self;
    /// The low halves of 16 bytes, then the high halves.
    ///
    /// # Safety
    /// See the trait; 16 bytes can be read.
    unsafe fn split(from: *const u8, to: &mut [u8; 32]);
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use super::Vector;
    use std::arch::x86_64::*;

    /// What every x86-64 processor has: four lanes, multiplication and addition apart.
    pub type Base = __m128;

    // SAFETY: SSE2 is part of x86-64.
    unsafe impl Vector for __m128 {
        const LANES: usize = 4;
        #[inline(always)]
        unsafe fn splat(v: f32) -> Self {
            unsafe { _mm_set1_ps(v) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { _mm_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn fma(self, b: Self, c: Self) -> Self {
            unsafe { _mm_add_ps(_mm_mul_ps(self, b), c) }
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            unsafe { _mm_add_ps(self, b) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe {
                let s = _mm_add_ps(self, _mm_movehl_ps(self, self));
                _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps::<1>(s, s)))
            }
        }
        #[inline(always)]
        unsafe fn bytes(from: *const u8) -> Self {
            unsafe {
                let (q, zero) = (_mm_cvtsi32_si128(from.cast::<i32>().read_unaligned()), _mm_setzero_si128());
                _mm_cvtepi32_ps(_mm_unpacklo_epi16(_mm_unpacklo_epi8(q, zero), zero))
            }
        }
        #[inline(always)]
        unsafe fn signed_bytes(from: *const u8) -> Self {
            unsafe {
                let q = _mm_cvtsi32_si128(from.cast::<i32>().read_unaligned());
                let q = _mm_unpacklo_epi8(q, q);
                _mm_cvtepi32_ps(_mm_srai_epi32::<24>(_mm_unpacklo_epi16(q, q)))
            }
        }
        #[inline(always)]
        unsafe fn split(from: *const u8, to: &mut [u8; 32]) {
            unsafe {
                let (q, mask) = (_mm_loadu_si128(from.cast()), _mm_set1_epi8(15));
                _mm_storeu_si128(to.as_mut_ptr().cast(), _mm_and_si128(q, mask));
                _mm_storeu_si128(to.as_mut_ptr().add(16).cast(), _mm_and_si128(_mm_srli_epi16::<4>(q), mask));
            }
        }
    }

    // SAFETY: used under AVX2 and FMA only.
    unsafe impl Vector for __m256 {
        const LANES: usize = 8;
        #[inline(always)]
        unsafe fn splat(v: f32) -> Self {
            unsafe { _mm256_set1_ps(v) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn fma(self, b: Self, c: Self) -> Self {
            unsafe { _mm256_fmadd_ps(self, b, c) }
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            unsafe { _mm256_add_ps(self, b) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe { _mm_add_ps(_mm256_castps256_ps128(self), _mm256_extractf128_ps::<1>(self)).sum() }
        }
        #[inline(always)]
        unsafe fn bytes(from: *const u8) -> Self {
            unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) }
        }
        #[inline(always)]
        unsafe fn signed_bytes(from: *const u8) -> Self {
            unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))) }
        }
        #[inline(always)]
        unsafe fn split(from: *const u8, to: &mut [u8; 32]) {
            unsafe { __m128::split(from, to) }
        }
    }

    // SAFETY: used under AVX-512 only.
    unsafe impl Vector for __m512 {
        const LANES: usize = 16;
        #[inline(always)]
        unsafe fn splat(v: f32) -> Self {
            unsafe { _mm512_set1_ps(v) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn fma(self, b: Self, c: Self) -> Self {
            unsafe { _mm512_fmadd_ps(self, b, c) }
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            unsafe { _mm512_add_ps(self, b) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe { _mm256_add_ps(_mm512_castps512_ps256(self), _mm512_extractf32x8_ps::<1>(self)).sum() }
        }
        #[inline(always)]
        unsafe fn bytes(from: *const u8) -> Self {
            unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) }
        }
        #[inline(always)]
        unsafe fn signed_bytes(from: *const u8) -> Self {
            unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) }
        }
        #[inline(always)]
        unsafe fn split(from: *const u8, to: &mut [u8; 32]) {
            unsafe { __m128::split(from, to) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod imp {
    use super::Vector;
    use std::arch::aarch64::*;

    pub type Base = float32x4_t;

    // SAFETY: NEON is part of AArch64.
    unsafe impl Vector for float32x4_t {
        const LANES: usize = 4;
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
        unsafe fn bytes(from: *const u8) -> Self {
            unsafe {
                let q = vmovl_u8(vcreate_u8(u64::from(from.cast::<u32>().read_unaligned())));
                vcvtq_f32_u32(vmovl_u16(vget_low_u16(q)))
            }
        }
        #[inline(always)]
        unsafe fn signed_bytes(from: *const u8) -> Self {
            unsafe {
                let q = vmovl_s8(vcreate_s8(u64::from(from.cast::<u32>().read_unaligned())));
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(q)))
            }
        }
        #[inline(always)]
        unsafe fn split(from: *const u8, to: &mut [u8; 32]) {
            unsafe {
                let q = vld1q_u8(from);
                vst1q_u8(to.as_mut_ptr(), vandq_u8(q, vdupq_n_u8(15)));
                vst1q_u8(to.as_mut_ptr().add(16), vshrq_n_u8::<4>(q));
            }
        }
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod imp {
    use super::Vector;
    use std::arch::wasm32::*;

    pub type Base = v128;

    // SAFETY: the module is compiled for SIMD128.
    unsafe impl Vector for v128 {
        const LANES: usize = 4;
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
            let (a, b) = (
                f32x4_extract_lane::<0>(self) + f32x4_extract_lane::<2>(self),
                f32x4_extract_lane::<1>(self) + f32x4_extract_lane::<3>(self),
            );
            a + b
        }
        #[inline(always)]
        unsafe fn bytes(from: *const u8) -> Self {
            unsafe { f32x4_convert_i32x4(u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(v128_load32_zero(from.cast())))) }
        }
        #[inline(always)]
        unsafe fn signed_bytes(from: *const u8) -> Self {
            unsafe { f32x4_convert_i32x4(i32x4_extend_low_i16x8(i16x8_extend_low_i8x16(v128_load32_zero(from.cast())))) }
        }
        #[inline(always)]
        unsafe fn split(from: *const u8, to: &mut [u8; 32]) {
            unsafe {
                let q = v128_load(from.cast());
                v128_store(to.as_mut_ptr().cast(), v128_and(q, u8x16_splat(15)));
                v128_store(to.as_mut_ptr().add(16).cast(), u8x16_shr(q, 4));
            }
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", all(target_arch = "wasm32", target_feature = "simd128"))))]
mod imp {
    use super::Vector;

    pub type Base = [f32; 4];

    // SAFETY: plain arrays.
    unsafe impl Vector for [f32; 4] {
        const LANES: usize = 4;
        #[inline(always)]
        unsafe fn splat(v: f32) -> Self {
            [v; 4]
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { from.cast::<[f32; 4]>().read_unaligned() }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { to.cast::<[f32; 4]>().write_unaligned(self) }
        }
        #[inline(always)]
        unsafe fn fma(self, b: Self, c: Self) -> Self {
            std::array::from_fn(|i| self[i] * b[i] + c[i])
        }
        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            std::array::from_fn(|i| self[i] + b[i])
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            (self[0] + self[2]) + (self[1] + self[3])
        }
        #[inline(always)]
        unsafe fn bytes(from: *const u8) -> Self {
            std::array::from_fn(|i| unsafe { f32::from(*from.add(i)) })
        }
        #[inline(always)]
        unsafe fn signed_bytes(from: *const u8) -> Self {
            std::array::from_fn(|i| unsafe { f32::from((*from.add(i)).cast_signed()) })
        }
        #[inline(always)]
        unsafe fn split(from: *const u8, to: &mut [u8; 32]) {
            for i in 0..16 {
                let q = unsafe { *from.add(i) };
                (to[i], to[16 + i]) = (q & 15, q >> 4);
            }
        }
    }
}

pub use imp::Base;

/// As [`simd_fn!`](crate::simd_fn) for an `#[inline(always)]` function whose first type parameter is a [`Vector`] and whose const
/// parameters are the rows and columns (in registers) of the tile that fits the instruction set's register file.
#[macro_export]
macro_rules! simd_vec {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,f16c")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx2($($arg: $ty),*) {
                    // SAFETY: this function has the instructions.
                    unsafe { $body::<std::arch::x86_64::__m256, 3, 4>($($arg),*) }
                }
                #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
                #[allow(clippy::too_many_arguments)]
                unsafe fn avx512($($arg: $ty),*) {
                    // SAFETY: as above.
                    unsafe { $body::<std::arch::x86_64::__m512, 6, 4>($($arg),*) }
                }
                match $crate::cpu::simd::level() {
                    // SAFETY: the level says that the processor has these instructions.
                    $crate::cpu::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::cpu::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::cpu::simd::Level::Base => {}
                }
            }
            // SAFETY: the base is always there.
            unsafe { $body::<$crate::cpu::vector::Base, 3, 4>($($arg),*) }
        }
    };
}
