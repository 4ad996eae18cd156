//! Registers of sixteen bytes: the integers of quantized blocks on their way from a file's bits to numbers. Part of every target's base level;
//! what a wider instruction set does better is a method of `vector::Vector`.

/// A register of sixteen bytes.
pub type Sixteen = imp::Sixteen;

pub use imp::{and, load, or, shl, shr, splat, spread, store, words, xor};

/// 32 bytes: two registers, or a wide one.
///
/// # Safety
/// The methods may be called only where the instruction set is there. What a shift brings into a byte from its neighbour has to be masked away.
pub unsafe trait Bytes: Copy {
    /// # Safety
    /// See the trait; 32 bytes can be read.
    unsafe fn load(from: *const u8) -> Self;
    /// # Safety
    /// See the trait; 32 bytes can be written.
    unsafe fn store(self, to: *mut u8);
    /// # Safety
    /// See the trait.
    unsafe fn splat(v: u8) -> Self;
    /// # Safety
    /// See the trait.
    unsafe fn and(self, b: Self) -> Self;
    /// # Safety
    /// See the trait.
    unsafe fn or(self, b: Self) -> Self;
    /// # Safety
    /// See the trait.
    unsafe fn shr<const N: i32>(self) -> Self;
    /// # Safety
    /// See the trait.
    unsafe fn shl<const N: i32>(self) -> Self;
}

// SAFETY: of every target's base level.
unsafe impl Bytes for [Sixteen; 2] {
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        unsafe { [load(from), load(from.add(16))] }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        unsafe {
            store(self[0], to);
            store(self[1], to.add(16));
        }
    }
    #[inline(always)]
    unsafe fn splat(v: u8) -> Self {
        [splat(v); 2]
    }
    #[inline(always)]
    unsafe fn and(self, b: Self) -> Self {
        [and(self[0], b[0]), and(self[1], b[1])]
    }
    #[inline(always)]
    unsafe fn or(self, b: Self) -> Self {
        [or(self[0], b[0]), or(self[1], b[1])]
    }
    #[inline(always)]
    unsafe fn shr<const N: i32>(self) -> Self {
        [shr::<N>(self[0]), shr::<N>(self[1])]
    }
    #[inline(always)]
    unsafe fn shl<const N: i32>(self) -> Self {
        [shl::<N>(self[0]), shl::<N>(self[1])]
    }
}

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

    /// # Safety
    /// 16 bytes can be written.
    #[inline(always)]
    pub unsafe fn store(a: Sixteen, to: *mut u8) {
        unsafe { _mm_storeu_si128(to.cast(), a) }
    }

    /// Words, lowest byte first.
    #[inline(always)]
    pub fn words([a, b, c, d]: [u32; 4]) -> Sixteen {
        unsafe { _mm_setr_epi32(a.cast_signed(), b.cast_signed(), c.cast_signed(), d.cast_signed()) }
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

    #[inline(always)]
    pub fn xor(a: Sixteen, b: Sixteen) -> Sixteen {
        unsafe { _mm_xor_si128(a, b) }
    }

    /// Shifted to the right by N; what comes in from a neighbour has to be masked away.
    #[inline(always)]
    pub fn shr<const N: i32>(a: Sixteen) -> Sixteen {
        unsafe { _mm_srli_epi16::<N>(a) }
    }

    /// Shifted to the left by N; nothing may leave its byte.
    #[inline(always)]
    pub fn shl<const N: i32>(a: Sixteen) -> Sixteen {
        unsafe { _mm_slli_epi16::<N>(a) }
    }

    /// All bits of byte i of 32 where bit i is set, or where it is not.
    ///
    /// # Safety
    /// 4 bytes can be read.
    #[inline(always)]
    pub unsafe fn spread<const SET: bool>(from: *const u8) -> [Sixteen; 2] {
        unsafe {
            // Each byte eight times.
            let v = _mm_cvtsi32_si128(from.cast::<i32>().read_unaligned());
            let v = _mm_unpacklo_epi8(v, v);
            let low = _mm_shuffle_epi32::<0b01_01_00_00>(_mm_shufflelo_epi16::<0b01_01_00_00>(v));
            let high = _mm_shuffle_epi32::<0b01_01_00_00>(_mm_shufflelo_epi16::<0b11_11_10_10>(v));
            let each = _mm_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
            let than = if SET { each } else { _mm_setzero_si128() };
            [_mm_cmpeq_epi8(_mm_and_si128(low, each), than), _mm_cmpeq_epi8(_mm_and_si128(high, each), than)]
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

    /// # Safety
    /// 16 bytes can be written.
    #[inline(always)]
    pub unsafe fn store(a: Sixteen, to: *mut u8) {
        unsafe { vst1q_u8(to, a) }
    }

    /// Words, lowest byte first.
    #[inline(always)]
    pub fn words([a, b, c, d]: [u32; 4]) -> Sixteen {
        unsafe { std::mem::transmute([a, b, c, d]) }
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

    #[inline(always)]
    pub fn xor(a: Sixteen, b: Sixteen) -> Sixteen {
        unsafe { veorq_u8(a, b) }
    }

    /// Shifted to the right by N.
    #[inline(always)]
    pub fn shr<const N: i32>(a: Sixteen) -> Sixteen {
        unsafe { vshrq_n_u8::<N>(a) }
    }

    /// Shifted to the left by N; nothing may leave its byte.
    #[inline(always)]
    pub fn shl<const N: i32>(a: Sixteen) -> Sixteen {
        unsafe { vshlq_n_u8::<N>(a) }
    }

    /// All bits of byte i of 32 where bit i is set, or where it is not.
    ///
    /// # Safety
    /// 4 bytes can be read.
    #[inline(always)]
    pub unsafe fn spread<const SET: bool>(from: *const u8) -> [Sixteen; 2] {
        unsafe {
            let [a, b, c, d] = from.cast::<[u8; 4]>().read_unaligned();
            let each = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
            let set = [vtstq_u8(vcombine_u8(vdup_n_u8(a), vdup_n_u8(b)), each), vtstq_u8(vcombine_u8(vdup_n_u8(c), vdup_n_u8(d)), each)];
            if SET { set } else { [vmvnq_u8(set[0]), vmvnq_u8(set[1])] }
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

    /// # Safety
    /// 16 bytes can be written.
    #[inline(always)]
    pub unsafe fn store(a: Sixteen, to: *mut u8) {
        unsafe { v128_store(to.cast(), a) }
    }

    /// Words, lowest byte first.
    #[inline(always)]
    pub fn words([a, b, c, d]: [u32; 4]) -> Sixteen {
        u32x4(a, b, c, d)
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

    #[inline(always)]
    pub fn xor(a: Sixteen, b: Sixteen) -> Sixteen {
        v128_xor(a, b)
    }

    /// Shifted to the right by N; what comes in from a neighbour has to be masked away.
    #[inline(always)]
    pub fn shr<const N: i32>(a: Sixteen) -> Sixteen {
        u16x8_shr(a, N as u32)
    }

    /// Shifted to the left by N; nothing may leave its byte.
    #[inline(always)]
    pub fn shl<const N: i32>(a: Sixteen) -> Sixteen {
        u16x8_shl(a, N as u32)
    }

    /// All bits of byte i of 32 where bit i is set, or where it is not.
    ///
    /// # Safety
    /// 4 bytes can be read.
    #[inline(always)]
    pub unsafe fn spread<const SET: bool>(from: *const u8) -> [Sixteen; 2] {
        let v = unsafe { v128_load32_splat(from.cast()) };
        let low = i8x16_shuffle::<0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1>(v, v);
        let high = i8x16_shuffle::<2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3>(v, v);
        let each = u64x2_splat(0x8040_2010_0804_0201);
        let than = if SET { each } else { u64x2_splat(0) };
        [i8x16_eq(v128_and(low, each), than), i8x16_eq(v128_and(high, each), than)]
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

    /// # Safety
    /// 16 bytes can be written.
    pub unsafe fn store(a: Sixteen, to: *mut u8) {
        unsafe { to.cast::<[u8; 16]>().write_unaligned(a) }
    }

    /// Words, lowest byte first.
    pub fn words([a, b, c, d]: [u32; 4]) -> Sixteen {
        unsafe { std::mem::transmute([a.to_le(), b.to_le(), c.to_le(), d.to_le()]) }
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

    pub fn xor(a: Sixteen, b: Sixteen) -> Sixteen {
        std::array::from_fn(|i| a[i] ^ b[i])
    }

    /// Shifted to the right by N.
    pub fn shr<const N: i32>(a: Sixteen) -> Sixteen {
        a.map(|v| v >> N)
    }

    /// Shifted to the left by N; nothing may leave its byte.
    pub fn shl<const N: i32>(a: Sixteen) -> Sixteen {
        a.map(|v| v << N)
    }

    /// All bits of byte i of 32 where bit i is set, or where it is not.
    ///
    /// # Safety
    /// 4 bytes can be read.
    pub unsafe fn spread<const SET: bool>(from: *const u8) -> [Sixteen; 2] {
        let bits = u32::from_le_bytes(unsafe { from.cast::<[u8; 4]>().read_unaligned() });
        let half = |bits: u32| std::array::from_fn(|i| if (bits >> i & 1 == 1) == SET { 255 } else { 0 });
        [half(bits), half(bits >> 16)]
    }
}
