//! Registers of sixteen bytes: the integers of quantized blocks on their way from a file's bits to numbers. Part of every target's base level;
//! what a wider instruction set does better is a method of `vector::Vector`.

/// A register of sixteen bytes.
pub type Sixteen = imp::Sixteen;

pub use imp::{and, load, minus, or, shl, shr, splat, spread};

#[cfg(target_arch = "x86_64")]
mod imp {
    use std::arch::x86_64::*;

    pub type Sixteen = __m128i;

    /// # Safety
    /// 16 bytes can be read.
    #[inline(always)]
    pub unsafe fn load(from: *const u8) -> Sixteen {
        unsafe { _mm_loadu_si128(from.cast()) }
    }

    /// A byte everywhere.
    #[inline(always)]
    pub fn splat(v: u8) -> Sixteen {
        // SAFETY: SSE2 is part of x86-64, here and below.
        unsafe { _mm_set1_epi8(v.cast_signed()) }
    }

    #[inline(always)]
    pub fn and(a: Sixteen, b: Sixteen) -> Sixteen {
        unsafe { _mm_and_si128(a, b) }
    }

    #[inline(always)]
    pub fn or(a: Sixteen, b: Sixteen) -> Sixteen {
        unsafe { _mm_or_si128(a, b) }
    }

    /// `a − b`, byte by byte.
    #[inline(always)]
    pub fn minus(a: Sixteen, b: Sixteen) -> Sixteen {
        unsafe { _mm_sub_epi8(a, b) }
    }

    /// Shifted to the right by n; what comes in from a neighbour has to be masked away.
    #[inline(always)]
    pub fn shr(a: Sixteen, n: usize) -> Sixteen {
        unsafe { _mm_srl_epi16(a, _mm_cvtsi32_si128(n as i32)) }
    }

    /// Shifted to the left by N; nothing may leave its byte.
    #[inline(always)]
    pub fn shl<const N: i32>(a: Sixteen) -> Sixteen {
        unsafe { _mm_slli_epi16::<N>(a) }
    }

    /// All bits of byte i where bit i is set.
    #[inline(always)]
    pub fn spread(bits: u32) -> Sixteen {
        unsafe {
            // Two bytes, eight times each.
            let v = _mm_cvtsi32_si128(bits.cast_signed());
            let v = _mm_unpacklo_epi8(v, v);
            let v = _mm_shuffle_epi32::<0b01_01_00_00>(_mm_shufflelo_epi16::<0b01_01_00_00>(v));
            let each = _mm_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
            _mm_cmpeq_epi8(_mm_and_si128(v, each), each)
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod imp {
    use std::arch::aarch64::*;

    pub type Sixteen = uint8x16_t;

    /// # Safety
    /// 16 bytes can be read.
    #[inline(always)]
    pub unsafe fn load(from: *const u8) -> Sixteen {
        unsafe { vld1q_u8(from) }
    }

    /// A byte everywhere.
    #[inline(always)]
    pub fn splat(v: u8) -> Sixteen {
        // SAFETY: NEON is part of AArch64, here and below.
        unsafe { vdupq_n_u8(v) }
    }

    #[inline(always)]
    pub fn and(a: Sixteen, b: Sixteen) -> Sixteen {
        unsafe { vandq_u8(a, b) }
    }

    #[inline(always)]
    pub fn or(a: Sixteen, b: Sixteen) -> Sixteen {
        unsafe { vorrq_u8(a, b) }
    }

    /// `a − b`, byte by byte.
    #[inline(always)]
    pub fn minus(a: Sixteen, b: Sixteen) -> Sixteen {
        unsafe { vsubq_u8(a, b) }
    }

    /// Shifted to the right by n.
    #[inline(always)]
    pub fn shr(a: Sixteen, n: usize) -> Sixteen {
        unsafe { vshlq_u8(a, vdupq_n_s8(-(n as i8))) }
    }

    /// Shifted to the left by N; nothing may leave its byte.
    #[inline(always)]
    pub fn shl<const N: i32>(a: Sixteen) -> Sixteen {
        unsafe { vshlq_n_u8::<N>(a) }
    }

    /// All bits of byte i where bit i is set.
    #[inline(always)]
    pub fn spread(bits: u32) -> Sixteen {
        unsafe {
            let v = vcombine_u8(vdup_n_u8(bits as u8), vdup_n_u8((bits >> 8) as u8));
            vtstq_u8(v, vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201)))
        }
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod imp {
    use std::arch::wasm32::*;

    pub type Sixteen = v128;

    /// # Safety
    /// 16 bytes can be read.
    #[inline(always)]
    pub unsafe fn load(from: *const u8) -> Sixteen {
        unsafe { v128_load(from.cast()) }
    }

    /// A byte everywhere.
    #[inline(always)]
    pub fn splat(v: u8) -> Sixteen {
        u8x16_splat(v)
    }

    #[inline(always)]
    pub fn and(a: Sixteen, b: Sixteen) -> Sixteen {
        v128_and(a, b)
    }

    #[inline(always)]
    pub fn or(a: Sixteen, b: Sixteen) -> Sixteen {
        v128_or(a, b)
    }

    /// `a − b`, byte by byte.
    #[inline(always)]
    pub fn minus(a: Sixteen, b: Sixteen) -> Sixteen {
        i8x16_sub(a, b)
    }

    /// Shifted to the right by n; what comes in from a neighbour has to be masked away.
    #[inline(always)]
    pub fn shr(a: Sixteen, n: usize) -> Sixteen {
        u16x8_shr(a, n as u32)
    }

    /// Shifted to the left by N; nothing may leave its byte.
    #[inline(always)]
    pub fn shl<const N: i32>(a: Sixteen) -> Sixteen {
        u16x8_shl(a, N as u32)
    }

    /// All bits of byte i where bit i is set.
    #[inline(always)]
    pub fn spread(bits: u32) -> Sixteen {
        let v = i8x16_shuffle::<0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1>(u32x4_splat(bits), u32x4_splat(bits));
        let each = u64x2_splat(0x8040_2010_0804_0201);
        i8x16_eq(v128_and(v, each), each)
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", all(target_arch = "wasm32", target_feature = "simd128"))))]
mod imp {
    pub type Sixteen = [u8; 16];

    /// # Safety
    /// 16 bytes can be read.
    pub unsafe fn load(from: *const u8) -> Sixteen {
        unsafe { from.cast::<[u8; 16]>().read_unaligned() }
    }

    /// A byte everywhere.
    pub fn splat(v: u8) -> Sixteen {
        [v; 16]
    }

    pub fn and(a: Sixteen, b: Sixteen) -> Sixteen {
        std::array::from_fn(|i| a[i] & b[i])
    }

    pub fn or(a: Sixteen, b: Sixteen) -> Sixteen {
        std::array::from_fn(|i| a[i] | b[i])
    }

    /// `a − b`, byte by byte.
    pub fn minus(a: Sixteen, b: Sixteen) -> Sixteen {
        std::array::from_fn(|i| a[i].wrapping_sub(b[i]))
    }

    /// Shifted to the right by n.
    pub fn shr(a: Sixteen, n: usize) -> Sixteen {
        a.map(|v| v >> n)
    }

    /// Shifted to the left by N; nothing may leave its byte.
    pub fn shl<const N: i32>(a: Sixteen) -> Sixteen {
        a.map(|v| v << N)
    }

    /// All bits of byte i where bit i is set.
    pub fn spread(bits: u32) -> Sixteen {
        std::array::from_fn(|i| if bits >> i & 1 == 1 { 255 } else { 0 })
    }
}
