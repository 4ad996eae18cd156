//! Vectors of f32 in registers, one type per instruction set. Kernels whose inner loops must not be left to the compiler's mood are generic over
//! [`Vector`] and instantiated by [`simd_vec!`](crate::simd_vec).

/// Registers of the narrowest kind that 32 values take.
pub const MOST: usize = 8;

/// Sign, exponent and mantissa of a half whose sign was extended and whose mantissa stands where f32 has its.
pub(crate) const KEPT: i32 = 0x8fff_e000_u32.cast_signed();
/// 2¹¹², from the bias of half precision to that of f32. As a multiplication it is exact and takes subnormal numbers along.
pub(crate) const REBIAS: f32 = f32::from_bits(0x7780_0000);

/// Half precision to f32 without branches, so that a loop over it becomes vectors. Not for infinities and NaN: files with such weights are refused.
#[inline(always)]
pub fn half(bits: u16) -> f32 {
    let bits = (i32::from(bits.cast_signed()) << 13) & KEPT;
    f32::from_bits(bits.cast_unsigned()) * REBIAS
}

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
    /// [`Vector::sum`] of four registers, the same bits at a third of the instructions.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn sums(four: [Self; 4]) -> Base;
    /// # Safety
    /// See the trait.
    unsafe fn mul(self, b: Self) -> Self;
    /// Asks for the cache line of an address that is needed soon; it need not be a valid one.
    ///
    /// # Safety
    /// See the trait.
    #[inline(always)]
    unsafe fn soon(_from: *const u8) {}
    /// Two numbers of half precision, each in all lanes of a register. Not for infinities and NaN.
    ///
    /// # Safety
    /// See the trait; 8 bytes can be read.
    unsafe fn halves(from: *const u8) -> (Self, Self);
    /// `d·q + m` for the 32 halves of 16 bytes: first the low halves, then the high ones, in the first `32 / LANES` registers.
    ///
    /// # Safety
    /// See the trait; 16 bytes can be read.
    unsafe fn nibbles(from: *const u8, d: Self, m: Self) -> [Self; MOST];
    /// `d·q` for 32 signed bytes, in the first `32 / LANES` registers.
    ///
    /// # Safety
    /// See the trait; 32 bytes can be read.
    unsafe fn signed_bytes(from: *const u8, d: Self) -> [Self; MOST];
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use super::{KEPT, MOST, REBIAS, Vector};
    use std::arch::x86_64::*;

    /// Four numbers of half precision. In assembly, because the compiler would else do first what comes after: it spreads the bits over
    /// the widest register and converts all of it, which takes several times as long.
    ///
    /// # Safety
    /// The processor has F16C; 8 bytes can be read.
    #[inline(always)]
    unsafe fn four_halves(from: *const u8) -> __m128 {
        let out;
        unsafe {
            std::arch::asm!("vcvtph2ps {}, qword ptr [{}]", out(xmm_reg) out, in(reg) from, options(pure, readonly, nostack, preserves_flags));
        }
        out
    }

    /// The upper half added to the lower one.
    ///
    /// # Safety
    /// The processor has AVX.
    #[inline(always)]
    unsafe fn folded(v: __m256) -> __m128 {
        unsafe { _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v)) }
    }

    /// As [`folded`].
    ///
    /// # Safety
    /// The processor has AVX-512.
    #[inline(always)]
    unsafe fn folded_wide(v: __m512) -> __m256 {
        unsafe { _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v)) }
    }

    /// What every x86-64 processor has: four lanes, multiplication and addition in two steps.
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
        unsafe fn sums([a, b, c, d]: [Self; 4]) -> Base {
            unsafe {
                // Lanes 0 + 2 of both, then lanes 1 + 3.
                let ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
                let cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
                _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab))
            }
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            unsafe { _mm_mul_ps(self, b) }
        }
        #[inline(always)]
        unsafe fn soon(from: *const u8) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }
        #[inline(always)]
        unsafe fn halves(from: *const u8) -> (Self, Self) {
            unsafe {
                let bits = _mm_cvtsi32_si128(from.cast::<i32>().read_unaligned());
                // Doubled, a half is the upper part of its word; shifting that copies the sign, and all but one copy goes.
                let bits = _mm_and_si128(_mm_srai_epi32::<3>(_mm_unpacklo_epi16(bits, bits)), _mm_set1_epi32(KEPT));
                let both = _mm_mul_ps(_mm_castsi128_ps(bits), _mm_set1_ps(REBIAS));
                (_mm_shuffle_ps::<0>(both, both), _mm_shuffle_ps::<0x55>(both, both))
            }
        }
        #[inline(always)]
        unsafe fn nibbles(from: *const u8, d: Self, m: Self) -> [Self; MOST] {
            unsafe {
                let (q, mask, zero) = (_mm_loadu_si128(from.cast()), _mm_set1_epi8(15), _mm_setzero_si128());
                let (low, high) = (_mm_and_si128(q, mask), _mm_and_si128(_mm_srli_epi16::<4>(q), mask));
                let mut out = [m; MOST];
                for (i, q) in [low, high].into_iter().enumerate() {
                    let (a, b) = (_mm_unpacklo_epi8(q, zero), _mm_unpackhi_epi8(q, zero));
                    out[4 * i] = _mm_cvtepi32_ps(_mm_unpacklo_epi16(a, zero)).fma(d, m);
                    out[4 * i + 1] = _mm_cvtepi32_ps(_mm_unpackhi_epi16(a, zero)).fma(d, m);
                    out[4 * i + 2] = _mm_cvtepi32_ps(_mm_unpacklo_epi16(b, zero)).fma(d, m);
                    out[4 * i + 3] = _mm_cvtepi32_ps(_mm_unpackhi_epi16(b, zero)).fma(d, m);
                }
                out
            }
        }
        #[inline(always)]
        unsafe fn signed_bytes(from: *const u8, d: Self) -> [Self; MOST] {
            unsafe {
                let mut out = [d; MOST];
                for i in 0..2 {
                    let q = _mm_loadu_si128(from.add(16 * i).cast());
                    let (a, b) = (_mm_unpacklo_epi8(q, q), _mm_unpackhi_epi8(q, q));
                    out[4 * i] = _mm_cvtepi32_ps(_mm_srai_epi32::<24>(_mm_unpacklo_epi16(a, a))).mul(d);
                    out[4 * i + 1] = _mm_cvtepi32_ps(_mm_srai_epi32::<24>(_mm_unpackhi_epi16(a, a))).mul(d);
                    out[4 * i + 2] = _mm_cvtepi32_ps(_mm_srai_epi32::<24>(_mm_unpacklo_epi16(b, b))).mul(d);
                    out[4 * i + 3] = _mm_cvtepi32_ps(_mm_srai_epi32::<24>(_mm_unpackhi_epi16(b, b))).mul(d);
                }
                out
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
            unsafe { folded(self).sum() }
        }
        #[inline(always)]
        unsafe fn sums([a, b, c, d]: [Self; 4]) -> Base {
            unsafe { __m128::sums([folded(a), folded(b), folded(c), folded(d)]) }
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            unsafe { _mm256_mul_ps(self, b) }
        }
        #[inline(always)]
        unsafe fn soon(from: *const u8) {
            unsafe { __m128::soon(from) }
        }
        #[inline(always)]
        unsafe fn halves(from: *const u8) -> (Self, Self) {
            unsafe {
                let both = four_halves(from);
                (_mm256_broadcastss_ps(both), _mm256_broadcastss_ps(_mm_movehdup_ps(both)))
            }
        }
        #[inline(always)]
        unsafe fn nibbles(from: *const u8, d: Self, m: Self) -> [Self; MOST] {
            unsafe {
                let mask = _mm256_set1_epi32(15);
                let mut out = [m; MOST];
                for i in 0..2 {
                    let q = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.add(8 * i).cast()));
                    out[i] = _mm256_cvtepi32_ps(_mm256_and_si256(q, mask)).fma(d, m);
                    out[2 + i] = _mm256_cvtepi32_ps(_mm256_srli_epi32::<4>(q)).fma(d, m);
                }
                out
            }
        }
        #[inline(always)]
        unsafe fn signed_bytes(from: *const u8, d: Self) -> [Self; MOST] {
            unsafe {
                let mut out = [d; MOST];
                for (i, out) in out.iter_mut().enumerate().take(4) {
                    *out = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.add(8 * i).cast()))).mul(d);
                }
                out
            }
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
            unsafe { folded_wide(self).sum() }
        }
        #[inline(always)]
        unsafe fn sums([a, b, c, d]: [Self; 4]) -> Base {
            unsafe { __m256::sums([folded_wide(a), folded_wide(b), folded_wide(c), folded_wide(d)]) }
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            unsafe { _mm512_mul_ps(self, b) }
        }
        #[inline(always)]
        unsafe fn soon(from: *const u8) {
            unsafe { __m128::soon(from) }
        }
        #[inline(always)]
        unsafe fn halves(from: *const u8) -> (Self, Self) {
            unsafe {
                let both = four_halves(from);
                (_mm512_broadcastss_ps(both), _mm512_permutexvar_ps(_mm512_set1_epi32(1), _mm512_castps128_ps512(both)))
            }
        }
        #[inline(always)]
        unsafe fn nibbles(from: *const u8, d: Self, m: Self) -> [Self; MOST] {
            unsafe {
                // A register holds all sixteen values that a block can take, and an index is read by its lowest four bits.
                let values = _mm512_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0).fma(d, m);
                let q = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()));
                let mut out = [m; MOST];
                out[0] = _mm512_permutexvar_ps(q, values);
                out[1] = _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(q), values);
                out
            }
        }
        #[inline(always)]
        unsafe fn signed_bytes(from: *const u8, d: Self) -> [Self; MOST] {
            unsafe {
                let mut out = [d; MOST];
                for (i, out) in out.iter_mut().enumerate().take(2) {
                    *out = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.add(16 * i).cast()))).mul(d);
                }
                out
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod imp {
    use super::{KEPT, MOST, REBIAS, Vector};
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
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod imp {
    use super::{KEPT, MOST, REBIAS, Vector};
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
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", all(target_arch = "wasm32", target_feature = "simd128"))))]
mod imp {
    use super::{MOST, Vector, half};

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
        unsafe fn sums([a, b, c, d]: [Self; 4]) -> Base {
            unsafe { [a.sum(), b.sum(), c.sum(), d.sum()] }
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            std::array::from_fn(|i| self[i] * b[i])
        }
        #[inline(always)]
        unsafe fn halves(from: *const u8) -> (Self, Self) {
            let [d, m] = unsafe { from.cast::<[u16; 2]>().read_unaligned() };
            ([half(d); 4], [half(m); 4])
        }
        #[inline(always)]
        unsafe fn nibbles(from: *const u8, d: Self, m: Self) -> [Self; MOST] {
            let q = unsafe { from.cast::<[u8; 16]>().read_unaligned() };
            std::array::from_fn(|r| {
                std::array::from_fn(|i| {
                    let q = q[r % 4 * 4 + i];
                    f32::from(if r < 4 { q & 15 } else { q >> 4 }) * d[i] + m[i]
                })
            })
        }
        #[inline(always)]
        unsafe fn signed_bytes(from: *const u8, d: Self) -> [Self; MOST] {
            let q = unsafe { from.cast::<[i8; 32]>().read_unaligned() };
            std::array::from_fn(|r| std::array::from_fn(|i| f32::from(q[4 * r + i]) * d[i]))
        }
    }
}

pub use imp::Base;

/// Rows of a tile four registers wide at the base level: three where there are 32 registers; where there are 16 (a browser's compiler keeps one of
/// them) and a product needs one before it is added, two.
pub const BASE_ROWS: usize = if cfg!(target_arch = "aarch64") { 3 } else { 2 };
