//! Arrays, where there are no vectors that we know.

use super::{MOST, Sixteen, Vector, half};

pub type Base = [f32; 4];

// SAFETY: plain arrays.
unsafe impl Vector for [f32; 4] {
    const LANES: usize = 4;
    type Bytes = [Sixteen; 2];
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
    unsafe fn last_halves(end: *const u8) -> (Self, Self) {
        unsafe { Self::halves(end.sub(4)) }
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
    #[inline(always)]
    unsafe fn signed(bytes: [Sixteen; 2]) -> [Self; MOST] {
        std::array::from_fn(|r| std::array::from_fn(|i| f32::from(bytes[r / 4][r % 4 * 4 + i].cast_signed())))
    }
    #[inline(always)]
    unsafe fn lookup(table: Sixteen, at: Sixteen) -> Sixteen {
        at.map(|at| table[usize::from(at & 15)])
    }
}
