//! Vectors of f32 in registers, one type per instruction set. Kernels whose inner loops must not be left to the compiler's mood are generic over
//! [`Vector`] and instantiated by [`simd_vec!`](crate::simd_vec).

use super::bytes::Sixteen;

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

pub use imp::Base;

/// Rows of a tile four registers wide at the base level: three where there are 32 registers; where there are 16 (a browser's compiler keeps one of
/// them) and a product needs one before it is added, two.
pub const BASE_ROWS: usize = if cfg!(target_arch = "aarch64") { 3 } else { 2 };
