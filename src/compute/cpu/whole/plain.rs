//! Elsewhere there are better ways ([`HERE`](super::HERE)); this one is plain, and right.

use super::ORDER;
use crate::cpu::bytes::{self, Sixteen};
use crate::cpu::vector::{Base, Vector, half};

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

/// 32 unsigned bytes in registers.
///
/// # Safety
/// The instructions are there.
pub unsafe fn unsigned(q: [Sixteen; 2]) -> [Eight; 4] {
    // SAFETY: a register has as many bits everywhere.
    let q: [u8; 32] = unsafe { std::mem::transmute(q) };
    ordered(|i| i16::from(q[i]))
}

/// One half of each of 32 bytes.
///
/// # Safety
/// 32 bytes can be read.
pub unsafe fn halved<const F: usize>(from: *const u8) -> [Eight; 4] {
    let q = unsafe { from.cast::<[u8; 32]>().read_unaligned() };
    ordered(|i| i16::from(q[i] >> (4 * F) & 15))
}

/// The same, with a sign.
///
/// # Safety
/// 32 bytes can be read.
pub unsafe fn signed_halves<const F: usize>(from: *const u8) -> [Eight; 4] {
    let q = unsafe { from.cast::<[u8; 32]>().read_unaligned() };
    ordered(|i| i16::from((q[i] << (4 - 4 * F)).cast_signed() >> 4))
}

/// One quarter of each of 32 bytes.
///
/// # Safety
/// 32 bytes can be read.
pub unsafe fn quarters<const F: usize>(from: *const u8) -> [Eight; 4] {
    let q = unsafe { from.cast::<[u8; 32]>().read_unaligned() };
    ordered(|i| i16::from(q[i] >> (2 * F) & 3))
}

/// Weights less `N`.
///
/// # Safety
/// The instructions are there.
pub unsafe fn less<const N: i16>(q: [Eight; 4]) -> [Eight; 4] {
    q.map(|q| q.map(|q| q - N))
}

/// `q·x` in four sums, each of eight products that fit into 32 bits together.
///
/// # Safety
/// 32 numbers can be read.
pub unsafe fn dots(q: [Eight; 4], x: *const i16) -> Four {
    let x = unsafe { x.cast::<[i16; 32]>().read_unaligned() };
    std::array::from_fn(|lane| (0..8).map(|i| i32::from(q[i / 2][2 * lane + i % 2]) * i32::from(x[i / 2 * 8 + 2 * lane + i % 2])).sum())
}

/// [`dots`] of the first sixteen weights and of the others.
///
/// # Safety
/// 32 numbers can be read.
pub unsafe fn two_dots(q: [Eight; 4], x: *const i16) -> [Four; 2] {
    let none = [0; 8];
    unsafe { [dots([q[0], none, q[2], none], x), dots([none, q[1], none, q[3]], x)] }
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
