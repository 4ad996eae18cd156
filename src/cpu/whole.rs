//! Registers of whole numbers, for products of quantized weights where unpacking to f32 is what takes the time: instruction sets without wide
//! registers and without a fused multiply-add, which have to multiply and add sixteen-bit numbers in one instruction all the same.

use super::vector::Base;

/// A register of eight numbers of 16 bits. Four are the weights of a block, in the order of [`ORDER`].
pub type Eight = imp::Eight;

/// A register of four sums.
pub type Four = imp::Four;

/// Which weight of a block stands where in four registers of eight: bytes, and halves of bytes, are unpacked where they stand.
#[allow(dead_code)] // where there are registers for it, the order is in the instructions
pub const ORDER: [usize; 32] = {
    let mut order = [0; 32];
    let mut i = 0;
    while i < 32 {
        // Even places of both halves, then odd ones.
        order[i] = (i / 8 % 2) * 16 + i / 16 + i % 8 * 2;
        i += 1;
    }
    order
};

/// Whether this target has it. What it has is part of the base level.
pub const HERE: bool = cfg!(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")));

pub use imp::{apart, by_sixteen, dots, first, half_everywhere, halves, nibbles, parts, signed_bytes, together, together_with, widened};

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod imp {
    use super::Base;
    use crate::cpu::bytes::Sixteen;
    use crate::cpu::vector::{KEPT, REBIAS};
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

    /// The first sixteen weights times `low`, the others times `high`; the products fit.
    ///
    /// # Safety
    /// The instructions are there.
    #[inline(always)]
    pub unsafe fn by_sixteen([a, b, c, d]: [Eight; 4], low: i16, high: i16) -> [Eight; 4] {
        let (low, high) = (i16x8_splat(low), i16x8_splat(high));
        [i16x8_mul(a, low), i16x8_mul(b, high), i16x8_mul(c, low), i16x8_mul(d, high)]
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
}

#[cfg(target_arch = "x86_64")]
mod imp {
    use super::Base;
    use crate::cpu::bytes::Sixteen;
    use crate::cpu::vector::{KEPT, REBIAS};
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

    /// The first sixteen weights times `low`, the others times `high`; the products fit.
    ///
    /// # Safety
    /// The instructions are there.
    #[inline(always)]
    pub unsafe fn by_sixteen([a, b, c, d]: [Eight; 4], low: i16, high: i16) -> [Eight; 4] {
        unsafe {
            let (low, high) = (_mm_set1_epi16(low), _mm_set1_epi16(high));
            [_mm_mullo_epi16(a, low), _mm_mullo_epi16(b, high), _mm_mullo_epi16(c, low), _mm_mullo_epi16(d, high)]
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
            let b = _mm_add_epi32(
                _mm_madd_epi16(q[2], _mm_loadu_si128(x.add(16).cast())),
                _mm_madd_epi16(q[3], _mm_loadu_si128(x.add(24).cast())),
            );
            _mm_add_epi32(a, b)
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
}

/// Elsewhere there are better ways ([`HERE`]); this one is plain, and right.
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
mod imp {
    use super::{Base, ORDER};
    use crate::cpu::bytes::{self, Sixteen};
    use crate::cpu::vector::{Vector, half};

    pub type Eight = [i16; 8];
    pub type Four = [i32; 4];

    fn ordered(value: impl Fn(usize) -> i16) -> [Eight; 4] {
        std::array::from_fn(|r| std::array::from_fn(|i| value(ORDER[8 * r + i])))
    }

    fn base(v: [f32; 4]) -> Base {
        // SAFETY: four lanes; this is the target's own instruction set.
        unsafe { Base::load(v.as_ptr()) }
    }

    /// Integers nearest to `x·factor`, which are at most 2²⁴ away from 0, as `high·2¹² + low` in the [`ORDER`] of weights.
    ///
    /// # Safety
    /// 32 numbers can be read, and written to both.
    pub unsafe fn parts(x: *const f32, factor: f32, high: *mut i16, low: *mut i16) {
        let x = unsafe { x.cast::<[f32; 32]>().read_unaligned() };
        for (i, from) in ORDER.into_iter().enumerate() {
            let whole = (x[from] * factor).round_ties_even() as i32;
            unsafe {
                high.add(i).write((whole >> 12) as i16);
                low.add(i).write((whole & 0xfff) as i16);
            }
        }
    }

    /// The 32 halves of 16 bytes.
    ///
    /// # Safety
    /// 16 bytes can be read.
    pub unsafe fn nibbles(from: *const u8) -> [Eight; 4] {
        let q = unsafe { from.cast::<[u8; 16]>().read_unaligned() };
        ordered(|i| i16::from(if i < 16 { q[i] & 15 } else { q[i - 16] >> 4 }))
    }

    /// 32 signed bytes.
    ///
    /// # Safety
    /// 32 bytes can be read.
    pub unsafe fn signed_bytes(from: *const u8) -> [Eight; 4] {
        unsafe { widened([bytes::load(from), bytes::load(from.add(16))]) }
    }

    /// 32 signed bytes in registers.
    ///
    /// # Safety
    /// The instructions are there.
    pub unsafe fn widened(q: [Sixteen; 2]) -> [Eight; 4] {
        // SAFETY: a register has as many bits everywhere.
        let q: [i8; 32] = unsafe { std::mem::transmute(q) };
        ordered(|i| i16::from(q[i]))
    }

    /// The first sixteen weights times `low`, the others times `high`; the products fit.
    ///
    /// # Safety
    /// The instructions are there.
    pub unsafe fn by_sixteen(q: [Eight; 4], low: i16, high: i16) -> [Eight; 4] {
        [(q[0], low), (q[1], high), (q[2], low), (q[3], high)].map(|(q, s)| q.map(|q| q * s))
    }

    /// `q·x` in four sums, each of eight products that fit into 32 bits together.
    ///
    /// # Safety
    /// 32 numbers can be read.
    pub unsafe fn dots(q: [Eight; 4], x: *const i16) -> Four {
        let x = unsafe { x.cast::<[i16; 32]>().read_unaligned() };
        std::array::from_fn(|lane| (0..8).map(|i| i32::from(q[i / 2][2 * lane + i % 2]) * i32::from(x[i / 2 * 8 + 2 * lane + i % 2])).sum())
    }

    /// `high·2¹² + low` as floats, where it fits into 32 bits.
    ///
    /// # Safety
    /// The instructions are there.
    pub unsafe fn together(high: Four, low: Four) -> Base {
        base(std::array::from_fn(|i| ((high[i] << 12) + low[i]) as f32))
    }

    /// [`together`] with numbers added.
    ///
    /// # Safety
    /// Four numbers can be read.
    pub unsafe fn together_with(high: Four, low: Four, more: *const i32) -> Base {
        let more = unsafe { more.cast::<[i32; 4]>().read_unaligned() };
        base(std::array::from_fn(|i| (high[i] << 12).wrapping_add(low[i]).wrapping_add(more[i]) as f32))
    }

    /// `high·2¹² + low` as floats, where only its parts fit.
    ///
    /// # Safety
    /// The instructions are there.
    pub unsafe fn apart(high: Four, low: Four) -> Base {
        base(std::array::from_fn(|i| high[i] as f32 * 4096.0 + low[i] as f32))
    }

    /// Two numbers of half precision in the first two lanes; what is in the others is a number. Not for infinities and NaN.
    ///
    /// # Safety
    /// 4 bytes can be read.
    pub unsafe fn halves(from: *const u8) -> Base {
        let [a, b] = unsafe { from.cast::<[u16; 2]>().read_unaligned() };
        base([half(a), half(b), 0.0, 0.0])
    }

    /// A number of half precision in all lanes. Not for infinities and NaN.
    ///
    /// # Safety
    /// 2 bytes can be read.
    pub unsafe fn half_everywhere(from: *const u8) -> Base {
        base([half(unsafe { from.cast::<u16>().read_unaligned() }); 4])
    }

    /// The first lane in all lanes.
    ///
    /// # Safety
    /// The instructions are there.
    pub unsafe fn first(v: Base) -> Base {
        let mut all = [0.0; 4];
        unsafe { v.store(all.as_mut_ptr()) };
        base([all[0]; 4])
    }
}
