//! x86-64: SSE2, AVX2 and AVX-512.

use super::wide::{both, halves_of_bytes, of_eight, of_four, of_sixteen, unset};
use super::{KEPT, MOST, REBIAS, Sixteen, Vector};
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
    type Bytes = [Sixteen; 2];
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
    unsafe fn last_halves(end: *const u8) -> (Self, Self) {
        unsafe { Self::halves(end.sub(4)) }
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
    #[inline(always)]
    unsafe fn signed(bytes: [Sixteen; 2]) -> [Self; MOST] {
        unsafe {
            let mut out = [_mm_setzero_ps(); MOST];
            for (i, q) in bytes.into_iter().enumerate() {
                let (a, b) = (_mm_unpacklo_epi8(q, q), _mm_unpackhi_epi8(q, q));
                out[4 * i] = _mm_cvtepi32_ps(_mm_srai_epi32::<24>(_mm_unpacklo_epi16(a, a)));
                out[4 * i + 1] = _mm_cvtepi32_ps(_mm_srai_epi32::<24>(_mm_unpackhi_epi16(a, a)));
                out[4 * i + 2] = _mm_cvtepi32_ps(_mm_srai_epi32::<24>(_mm_unpacklo_epi16(b, b)));
                out[4 * i + 3] = _mm_cvtepi32_ps(_mm_srai_epi32::<24>(_mm_unpackhi_epi16(b, b)));
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn lookup(table: Sixteen, at: Sixteen) -> Sixteen {
        // What picks bytes came after SSE2, but to nearly every processor.
        if std::is_x86_feature_detected!("ssse3") {
            let mut out = table;
            // SAFETY: the processor has it.
            unsafe {
                std::arch::asm!("pshufb {}, {}", inout(xmm_reg) out, in(xmm_reg) at, options(pure, nomem, nostack, preserves_flags));
            }
            return out;
        }
        unsafe {
            let (mut from, mut picked) = ([0u8; 16], [0u8; 16]);
            _mm_storeu_si128(from.as_mut_ptr().cast(), table);
            _mm_storeu_si128(picked.as_mut_ptr().cast(), at);
            picked.iter_mut().for_each(|q| *q = from[usize::from(*q & 15)]);
            _mm_loadu_si128(picked.as_ptr().cast())
        }
    }
}

// SAFETY: used under AVX2 and FMA only.
unsafe impl Vector for __m256 {
    const LANES: usize = 8;
    type Bytes = __m256i;
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
    unsafe fn settled<T>(there: *mut T) {
        unsafe { std::arch::asm!("/* {} */", in(reg) there, options(nostack, preserves_flags)) }
    }
    #[inline(always)]
    unsafe fn halves(from: *const u8) -> (Self, Self) {
        unsafe {
            let both = four_halves(from);
            (_mm256_broadcastss_ps(both), _mm256_broadcastss_ps(_mm_movehdup_ps(both)))
        }
    }
    #[inline(always)]
    unsafe fn last_halves(end: *const u8) -> (Self, Self) {
        unsafe {
            let both = four_halves(end.sub(8));
            let both = _mm_movehl_ps(both, both);
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
    #[inline(always)]
    unsafe fn signed([a, b]: [Sixteen; 2]) -> [Self; MOST] {
        unsafe {
            let mut out = [_mm256_setzero_ps(); MOST];
            for (i, q) in [a, _mm_unpackhi_epi64(a, a), b, _mm_unpackhi_epi64(b, b)].into_iter().enumerate() {
                out[i] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q));
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn lookup(table: Sixteen, at: Sixteen) -> Sixteen {
        unsafe { _mm_shuffle_epi8(table, at) }
    }
    #[inline(always)]
    unsafe fn bytes(from: *const u8, d: [Self; 2], m: [Self; 2]) -> [Self; MOST] {
        unsafe {
            let mut out = [d[0]; MOST];
            for (i, out) in out.iter_mut().enumerate().take(4) {
                let q = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.add(8 * i).cast()));
                *out = _mm256_cvtepi32_ps(q).fma(d[i / 2], m[i / 2]);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn halved<const F: usize>(from: *const u8, d: Self, m: Self) -> [Self; MOST] {
        unsafe {
            let mut out = [d; MOST];
            for (i, out) in out.iter_mut().enumerate().take(4) {
                let q = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.add(8 * i).cast()));
                let q = if F == 0 { _mm256_and_si256(q, _mm256_set1_epi32(15)) } else { _mm256_srli_epi32::<4>(q) };
                *out = _mm256_cvtepi32_ps(q).fma(d, m);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn fives(high: *const u8, from: *const u8, d: Self, m: Self) -> [Self; MOST] {
        unsafe {
            let (q, unset) = (halves_of_bytes(from), unset(high));
            let mut out = Self::signed(both(_mm256_or_si256(q, _mm256_andnot_si256(unset, _mm256_set1_epi8(16)))));
            for out in out.iter_mut().take(4) {
                *out = out.fma(d, m);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn centred_fives(high: *const u8, from: *const u8, d: Self) -> [Self; MOST] {
        unsafe {
            let (q, unset) = (halves_of_bytes(from), unset(high));
            let mut out = Self::signed(both(_mm256_or_si256(q, _mm256_and_si256(unset, _mm256_set1_epi8(-16)))));
            for out in out.iter_mut().take(4) {
                *out = out.mul(d);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn quarters<const F: usize>(from: *const u8, d: [Self; 2], m: [Self; 2]) -> [Self; MOST] {
        unsafe {
            // Four lanes hold all that two bits can be, and an index is read by its lowest two.
            let values = _mm256_setr_ps(0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0);
            let values = [values.fma(d[0], m[0]), values.fma(d[1], m[1])];
            let mut out = [d[0]; MOST];
            for (i, out) in out.iter_mut().enumerate().take(4) {
                let q = _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.add(8 * i).cast()));
                let q = match F {
                    0 => q,
                    1 => _mm256_srli_epi32::<2>(q),
                    2 => _mm256_srli_epi32::<4>(q),
                    _ => _mm256_srli_epi32::<6>(q),
                };
                *out = of_four(values[i / 2], q);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn eighths<const F: usize>(from: *const u8, d: [Self; 2]) -> [Self; MOST] {
        unsafe {
            let values = _mm256_setr_ps(-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0);
            let values = [values.mul(d[0]), values.mul(d[1])];
            let mut out = [d[0]; MOST];
            for (i, out) in out.iter_mut().enumerate().take(4) {
                let q = _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.add(8 * i).cast()));
                let q = if F == 0 { q } else { _mm256_srli_epi32::<4>(q) };
                *out = of_eight(values[i / 2], q);
            }
            out
        }
    }
}

// SAFETY: used under AVX-512 only.
unsafe impl Vector for __m512 {
    const LANES: usize = 16;
    type Bytes = __m256i;
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
    unsafe fn settled<T>(there: *mut T) {
        unsafe { std::arch::asm!("/* {} */", in(reg) there, options(nostack, preserves_flags)) }
    }
    #[inline(always)]
    unsafe fn halves(from: *const u8) -> (Self, Self) {
        unsafe {
            let both = four_halves(from);
            (_mm512_broadcastss_ps(both), _mm512_permutexvar_ps(_mm512_set1_epi32(1), _mm512_castps128_ps512(both)))
        }
    }
    #[inline(always)]
    unsafe fn last_halves(end: *const u8) -> (Self, Self) {
        unsafe {
            let all = _mm512_castps128_ps512(four_halves(end.sub(8)));
            (_mm512_permutexvar_ps(_mm512_set1_epi32(2), all), _mm512_permutexvar_ps(_mm512_set1_epi32(3), all))
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
    #[inline(always)]
    unsafe fn signed(bytes: [Sixteen; 2]) -> [Self; MOST] {
        unsafe {
            let mut out = [_mm512_setzero_ps(); MOST];
            for (i, q) in bytes.into_iter().enumerate() {
                out[i] = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn lookup(table: Sixteen, at: Sixteen) -> Sixteen {
        unsafe { _mm_shuffle_epi8(table, at) }
    }
    #[inline(always)]
    unsafe fn bytes(from: *const u8, d: [Self; 2], m: [Self; 2]) -> [Self; MOST] {
        unsafe {
            let mut out = [d[0]; MOST];
            for (i, out) in out.iter_mut().enumerate().take(2) {
                *out = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.add(16 * i).cast()))).fma(d[i], m[i]);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn fives(high: *const u8, from: *const u8, d: Self, m: Self) -> [Self; MOST] {
        unsafe {
            // An index of five bits picks from two registers.
            let values = _mm512_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0);
            let (low, more) = (values.fma(d, m), _mm512_add_ps(values, _mm512_set1_ps(16.0)).fma(d, m));
            let q = _mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()));
            // Turned, so that a lane's own bit is the fifth.
            let bits = _mm512_set1_epi32(high.cast::<i32>().read_unaligned());
            let lane = _mm512_setr_epi32(28, 29, 30, 31, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);
            let turned = [_mm512_rorv_epi32(bits, lane), _mm512_rorv_epi32(bits, _mm512_add_epi32(lane, _mm512_set1_epi32(16)))];
            let mut out = [m; MOST];
            for (i, q) in [q, _mm512_srli_epi32::<4>(q)].into_iter().enumerate() {
                let at = _mm512_ternarylogic_epi32::<0xca>(_mm512_set1_epi32(16), turned[i], q);
                out[i] = _mm512_permutex2var_ps(low, at, more);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn centred_fives(high: *const u8, from: *const u8, d: Self) -> [Self; MOST] {
        unsafe { Self::fives(high, from, d, d.mul(Self::splat(-16.0))) }
    }
    #[inline(always)]
    unsafe fn picked(table: &[i8; 16], from: *const u8, d: Self) -> [Self; MOST] {
        unsafe {
            let values = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(table.as_ptr().cast()))).mul(d);
            let q = _mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()));
            let mut out = [d; MOST];
            out[0] = of_sixteen(values, q);
            out[1] = of_sixteen(values, _mm512_srli_epi32::<4>(q));
            out
        }
    }
    #[inline(always)]
    unsafe fn halved<const F: usize>(from: *const u8, d: Self, m: Self) -> [Self; MOST] {
        unsafe {
            let values = _mm512_setr_ps(0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0).fma(d, m);
            let mut out = [m; MOST];
            for (i, out) in out.iter_mut().enumerate().take(2) {
                let q = _mm512_cvtepi8_epi32(_mm_loadu_si128(from.add(16 * i).cast()));
                *out = of_sixteen(values, if F == 0 { q } else { _mm512_srli_epi32::<4>(q) });
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn quarters<const F: usize>(from: *const u8, d: [Self; 2], m: [Self; 2]) -> [Self; MOST] {
        unsafe {
            // What four bits can be, of which two count.
            let values = if F.is_multiple_of(2) {
                _mm512_setr_ps(0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 3.0)
            } else {
                _mm512_setr_ps(0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0)
            };
            let mut out = [d[0]; MOST];
            for (i, out) in out.iter_mut().enumerate().take(2) {
                let q = _mm512_cvtepi8_epi32(_mm_loadu_si128(from.add(16 * i).cast()));
                *out = of_sixteen(values.fma(d[i], m[i]), if F < 2 { q } else { _mm512_srli_epi32::<4>(q) });
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn eighths<const F: usize>(from: *const u8, d: [Self; 2]) -> [Self; MOST] {
        unsafe {
            let values = _mm512_setr_ps(-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0);
            let mut out = [d[0]; MOST];
            for (i, out) in out.iter_mut().enumerate().take(2) {
                let q = _mm512_cvtepi8_epi32(_mm_loadu_si128(from.add(16 * i).cast()));
                *out = of_sixteen(values.mul(d[i]), if F == 0 { q } else { _mm512_srli_epi32::<4>(q) });
            }
            out
        }
    }
}
