//! Vectors of f32 in registers, one type per instruction set. Kernels whose inner loops must not be left to the compiler's mood are generic over
//! [`Vector`] and instantiated by [`simd_vec!`](crate::simd_vec).

use super::bytes::{Bytes, Sixteen, and, load, or, shr, splat, spread};

/// Registers of the narrowest kind that 32 values take.
pub const MOST: usize = 8;

/// Sign, exponent and mantissa of a half whose sign was extended and whose mantissa stands where f32 has its.
pub const KEPT: i32 = 0x8fff_e000_u32.cast_signed();
/// 2¹¹², from the bias of half precision to that of f32. As a multiplication it is exact and takes subnormal numbers along.
pub const REBIAS: f32 = f32::from_bits(0x7780_0000);

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
    /// Integers on their way into lanes.
    type Bytes: Bytes;
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
    /// What was written there is in memory, for the compiler too: from memory a number is in all lanes of a wide register by itself, from another
    /// register at several instructions.
    ///
    /// # Safety
    /// See the trait.
    #[inline(always)]
    unsafe fn settled<T>(_there: *mut T) {}
    /// Two numbers of half precision, each in all lanes of a register. Not for infinities and NaN.
    ///
    /// # Safety
    /// See the trait; 8 bytes can be read.
    unsafe fn halves(from: *const u8) -> (Self, Self);
    /// As [`Vector::halves`] of the last four bytes before `end`.
    ///
    /// # Safety
    /// See the trait; 8 bytes before `end` can be read.
    unsafe fn last_halves(end: *const u8) -> (Self, Self);
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
    /// 32 signed bytes as numbers, in the first `32 / LANES` registers.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn signed(bytes: [Sixteen; 2]) -> [Self; MOST];
    /// The bytes of a table that the bytes of `at`, all below 16, pick.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn lookup(table: Sixteen, at: Sixteen) -> Sixteen;
    /// `d·q + m` for 32 bytes below 128, with numbers of their own for the first sixteen and the others; as [`Vector::nibbles`].
    ///
    /// # Safety
    /// See the trait; 32 bytes can be read.
    #[inline(always)]
    unsafe fn bytes(from: *const u8, d: [Self; 2], m: [Self; 2]) -> [Self; MOST] {
        unsafe { scaled([load(from), load(from.add(16))], d, m) }
    }
    /// [`Vector::nibbles`] with a fifth bit of each.
    ///
    /// # Safety
    /// See the trait; 4 and 16 bytes can be read.
    #[inline(always)]
    unsafe fn fives(high: *const u8, from: *const u8, d: Self, m: Self) -> [Self; MOST] {
        unsafe { scaled(fives(high, from), [d; 2], [m; 2]) }
    }
    /// `d·(q − 16)` of the same.
    ///
    /// # Safety
    /// As [`Vector::fives`].
    #[inline(always)]
    unsafe fn centred_fives(high: *const u8, from: *const u8, d: Self) -> [Self; MOST] {
        unsafe {
            let mut out = Self::signed(centred_fives(high, from));
            for out in out.iter_mut().take(32 / Self::LANES) {
                *out = out.mul(d);
            }
            out
        }
    }
    /// `d·table[q]` for the 32 halves of 16 bytes.
    ///
    /// # Safety
    /// See the trait; 16 bytes can be read.
    #[inline(always)]
    unsafe fn picked(table: &[i8; 16], from: *const u8, d: Self) -> [Self; MOST] {
        unsafe {
            let (table, [a, b]) = (load(table.as_ptr().cast()), nibbles(from));
            let mut out = Self::signed([Self::lookup(table, a), Self::lookup(table, b)]);
            for out in out.iter_mut().take(32 / Self::LANES) {
                *out = out.mul(d);
            }
            out
        }
    }
    /// `d·q + m` for one half of each of 32 bytes.
    ///
    /// # Safety
    /// See the trait; 32 bytes can be read.
    #[inline(always)]
    unsafe fn halved<const F: usize>(from: *const u8, d: Self, m: Self) -> [Self; MOST] {
        unsafe {
            let q = if F == 0 { [load(from), load(from.add(16))] } else { [shr::<4>(load(from)), shr::<4>(load(from.add(16)))] };
            scaled([and(q[0], splat(15)), and(q[1], splat(15))], [d; 2], [m; 2])
        }
    }
    /// As [`Vector::bytes`] for one quarter of each of 32 bytes.
    ///
    /// # Safety
    /// See the trait; 32 bytes can be read.
    #[inline(always)]
    unsafe fn quarters<const F: usize>(from: *const u8, d: [Self; 2], m: [Self; 2]) -> [Self; MOST] {
        unsafe { scaled([quarter::<F>(load(from)), quarter::<F>(load(from.add(16)))], d, m) }
    }
    /// `d·(q − 4)` for the three lowest bits of one half of each of 32 bytes.
    ///
    /// # Safety
    /// See the trait; 32 bytes can be read.
    #[inline(always)]
    unsafe fn eighths<const F: usize>(from: *const u8, d: [Self; 2]) -> [Self; MOST] {
        unsafe {
            let q = if F == 0 { [load(from), load(from.add(16))] } else { [shr::<4>(load(from)), shr::<4>(load(from.add(16)))] };
            let four = Self::splat(-4.0);
            scaled([and(q[0], splat(7)), and(q[1], splat(7))], d, [d[0].mul(four), d[1].mul(four)])
        }
    }
}

/// Two bits of each byte.
#[inline(always)]
pub fn quarter<const F: usize>(q: Sixteen) -> Sixteen {
    let q = match F {
        0 => q,
        1 => shr::<2>(q),
        2 => shr::<4>(q),
        _ => shr::<6>(q),
    };
    and(q, splat(3))
}

/// Sixteen bytes of halves: the low ones, then the high ones.
///
/// # Safety
/// 16 bytes can be read.
#[inline(always)]
pub unsafe fn nibbles(from: *const u8) -> [Sixteen; 2] {
    let q = unsafe { load(from) };
    [and(q, splat(15)), and(shr::<4>(q), splat(15))]
}

/// As [`nibbles`] with 32 fifth bits.
///
/// # Safety
/// 4 and 16 bytes can be read.
#[inline(always)]
pub unsafe fn fives(high: *const u8, from: *const u8) -> [Sixteen; 2] {
    let ([a, b], [x, y]) = unsafe { (nibbles(from), spread::<true>(high)) };
    [or(a, and(x, splat(16))), or(b, and(y, splat(16)))]
}

/// As [`fives`], less 16.
///
/// # Safety
/// 4 and 16 bytes can be read.
#[inline(always)]
pub unsafe fn centred_fives(high: *const u8, from: *const u8) -> [Sixteen; 2] {
    let ([a, b], [x, y]) = unsafe { (nibbles(from), spread::<false>(high)) };
    [or(a, and(x, splat(0xf0))), or(b, and(y, splat(0xf0)))]
}

/// `d·q + m`, with numbers of their own for each sixteen.
#[inline(always)]
unsafe fn scaled<V: Vector>(ints: [Sixteen; 2], d: [V; 2], m: [V; 2]) -> [V; MOST] {
    unsafe {
        let mut out = V::signed(ints);
        let half = 16 / V::LANES;
        for (i, out) in out.iter_mut().enumerate().take(2 * half) {
            *out = out.fma(d[i / half], m[i / half]);
        }
        out
    }
}

#[cfg(target_arch = "x86_64")]
#[path = "x86.rs"]
mod imp;
#[cfg(target_arch = "aarch64")]
#[path = "neon.rs"]
mod imp;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[path = "wasm.rs"]
mod imp;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", all(target_arch = "wasm32", target_feature = "simd128"))))]
#[path = "plain.rs"]
mod imp;
#[cfg(target_arch = "x86_64")]
mod wide;

pub use imp::Base;

/// Rows of a tile four registers wide at the base level: three where there are 32 registers; where there are 16 (a browser's compiler keeps one of
/// them) and a product needs one before it is added, two.
pub const BASE_ROWS: usize = if cfg!(target_arch = "aarch64") { 3 } else { 2 };
