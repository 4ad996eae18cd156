//! How [`few_whole`](super::few_whole) reads the blocks of each type: weights as registers of whole numbers, scales as floats.

use super::blocks::{
    Block, Eights, Iq4Nl, Iq4Xs, Mxfp4, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Sixteens, by_scales, half_power, q3_scales,
};
use crate::cpu::bytes::{self, Bytes};
use crate::cpu::vector::{Base, Vector, centred_fives, fives, nibbles};
use crate::cpu::whole::{self, Eight, Four};
use crate::tensor::packing::{E2M1, IQ4};

/// Types with blocks of 32.
pub trait Short: Block {
    /// Whether a block says what is added to its weights: in the second lane of its scales, times the sum of x.
    const SHIFTED: bool = false;
    /// # Safety
    /// `BYTES` can be read.
    unsafe fn weights(from: *const u8) -> [Eight; 4];
    /// The block's own scales: in the first lane that of the products.
    ///
    /// # Safety
    /// `BYTES` can be read.
    unsafe fn scales(from: *const u8) -> Base;
    /// Sums of products with both parts of x; `shift` is what −8 on every weight adds to them.
    ///
    /// # Safety
    /// As [`whole::apart`].
    #[inline(always)]
    unsafe fn sums(high: Four, low: Four, _shift: *const i32) -> Base {
        // Eight products of bytes with all 24 bits of x may need more than 32.
        unsafe { whole::apart(high, low) }
    }
}

macro_rules! short {
    ($($kind:ident $shifted:literal |$from:ident| $weights:expr, $scales:expr $(, |$high:ident, $low:ident, $shift:ident| $sums:expr)?;)*) => {$(
        impl Short for $kind {
            const SHIFTED: bool = $shifted;
            #[inline(always)]
            unsafe fn weights($from: *const u8) -> [Eight; 4] {
                unsafe { $weights }
            }
            #[inline(always)]
            unsafe fn scales($from: *const u8) -> Base {
                unsafe { $scales }
            }
            $(
                #[inline(always)]
                unsafe fn sums($high: Four, $low: Four, $shift: *const i32) -> Base {
                    unsafe { $sums }
                }
            )?
        }
    )*};
}

short! {
    Q4_0 false |from| whole::nibbles(from.add(2)), whole::half_everywhere(from), |h, l, shift| whole::together_with(h, l, shift);
    Q4_1 true |from| whole::nibbles(from.add(4)), whole::halves(from), |h, l, _shift| whole::together(h, l);
    Q5_0 false |from| whole::widened(centred_fives(from.add(2), from.add(6))), whole::half_everywhere(from), |h, l, _shift| whole::together(h, l);
    Q5_1 true |from| whole::unsigned(fives(from.add(4), from.add(8))), whole::halves(from);
    Q8_0 false |from| whole::signed_bytes(from.add(2)), whole::half_everywhere(from);
    Iq4Nl false |from| picked(&IQ4, from.add(2)), whole::half_everywhere(from);
    Mxfp4 false |from| picked(&E2M1, from.add(1)), Base::splat(half_power(*from)), |h, l, _shift| whole::together(h, l);
}

/// What the halves of sixteen bytes pick from a table.
#[inline(always)]
unsafe fn picked(table: &[i8; 16], from: *const u8) -> [Eight; 4] {
    unsafe {
        let (table, [a, b]) = (bytes::load(table.as_ptr().cast()), nibbles(from));
        whole::widened([Base::lookup(table, a), Base::lookup(table, b)])
    }
}

/// Types with blocks of 256.
pub trait Long: Block {
    /// Whether minima are added to weights.
    const SHIFTED: bool = false;
    /// Parts whose integers are bits of the same bytes ([`Block::FIELDS`]).
    const PARTS: usize = 1;
    /// # Safety
    /// `BYTES` can be read.
    #[inline(always)]
    unsafe fn all(from: *const u8, to: *mut Self::Head) {
        unsafe { Self::head::<Base>(from, to) }
    }
    /// Scales and minima of every 32 or sixteen weights.
    ///
    /// # Safety
    /// There are some.
    unsafe fn scales(all: *const Self::Head) -> (*const f32, *const f32);
    /// # Safety
    /// `BYTES` can be read, and what `all` has made of them.
    unsafe fn weights<const F: usize>(from: *const u8, all: *const Self::Head, group: usize) -> [Eight; 4];
    /// As [`Short::sums`].
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn sums(high: Four, low: Four) -> Base {
        unsafe { whole::together(high, low) }
    }
}

#[inline(always)]
unsafe fn of_eights(all: *const Eights) -> (*const f32, *const f32) {
    unsafe { ((&raw const (*all).d).cast(), (&raw const (*all).m).cast()) }
}

#[inline(always)]
unsafe fn of_sixteens(all: *const Sixteens) -> (*const f32, *const f32) {
    unsafe { ((&raw const (*all).d).cast(), (&raw const (*all).m).cast()) }
}

impl Long for Q4K {
    const SHIFTED: bool = true;
    const PARTS: usize = 2;
    #[inline(always)]
    unsafe fn scales(all: *const Eights) -> (*const f32, *const f32) {
        unsafe { of_eights(all) }
    }
    #[inline(always)]
    unsafe fn weights<const F: usize>(from: *const u8, _: *const Eights, group: usize) -> [Eight; 4] {
        unsafe { whole::halved::<F>(from.add(16 + 32 * group)) }
    }
}

impl Long for Q5K {
    const SHIFTED: bool = true;
    #[inline(always)]
    unsafe fn scales(all: *const Eights) -> (*const f32, *const f32) {
        unsafe { of_eights(all) }
    }
    #[inline(always)]
    unsafe fn weights<const F: usize>(_: *const u8, all: *const Eights, group: usize) -> [Eight; 4] {
        unsafe { whole::unsigned(Bytes::load((*all).q.as_ptr().add(32 * group))) }
    }
    #[inline(always)]
    unsafe fn sums(high: Four, low: Four) -> Base {
        unsafe { whole::apart(high, low) }
    }
}

impl Long for Iq4Xs {
    #[inline(always)]
    unsafe fn scales(all: *const [f32; 16]) -> (*const f32, *const f32) {
        (all.cast(), all.cast())
    }
    #[inline(always)]
    unsafe fn weights<const F: usize>(from: *const u8, _: *const [f32; 16], group: usize) -> [Eight; 4] {
        unsafe { picked(&IQ4, from.add(8 + 16 * group)) }
    }
    #[inline(always)]
    unsafe fn sums(high: Four, low: Four) -> Base {
        unsafe { whole::apart(high, low) }
    }
}

impl Long for Q3K {
    const PARTS: usize = 4;
    #[inline(always)]
    unsafe fn all(from: *const u8, to: *mut Sixteens) {
        unsafe {
            // Integers less 4 are the upper three bits of halves of bytes, which have a sign: twice what they stand for.
            let d = Base::last_halves(from.add(110)).1;
            by_scales(d.mul(Base::splat(0.5)), q3_scales(from), &raw mut (*to).d);
            type Two = [bytes::Sixteen; 2];
            let (low, first, second) = (Two::splat(0x66), Two::splat(8), Two::splat(128));
            let (mut high, to) = (Two::load(from), (&raw mut (*to).q).cast::<u8>());
            high = [bytes::xor(high[0], bytes::splat(255)), bytes::xor(high[1], bytes::splat(255))];
            for i in 0..2 {
                let q = Two::load(from.add(32 + 32 * i));
                q.shl::<1>().and(low).or(high.shl::<3>().and(first)).or(high.shl::<5>().and(second)).store(to.add(64 * i));
                q.shr::<1>().and(low).or(high.shl::<2>().and(first)).or(high.shl::<4>().and(second)).store(to.add(64 * i + 32));
                high = high.shr::<4>();
            }
        }
    }
    #[inline(always)]
    unsafe fn scales(all: *const Sixteens) -> (*const f32, *const f32) {
        unsafe { of_sixteens(all) }
    }
    #[inline(always)]
    unsafe fn weights<const F: usize>(_: *const u8, all: *const Sixteens, group: usize) -> [Eight; 4] {
        unsafe {
            let q = (*all).q.as_ptr().add(64 * group + 32 * (F % 2));
            if F < 2 { whole::signed_halves::<0>(q) } else { whole::signed_halves::<1>(q) }
        }
    }
}

impl Long for Q6K {
    #[inline(always)]
    unsafe fn scales(all: *const Sixteens) -> (*const f32, *const f32) {
        unsafe { of_sixteens(all) }
    }
    #[inline(always)]
    unsafe fn weights<const F: usize>(_: *const u8, all: *const Sixteens, group: usize) -> [Eight; 4] {
        unsafe { whole::less::<32>(whole::unsigned(Bytes::load((*all).q.as_ptr().add(32 * group)))) }
    }
}

impl Long for Q2K {
    const SHIFTED: bool = true;
    const PARTS: usize = 4;
    #[inline(always)]
    unsafe fn scales(all: *const Sixteens) -> (*const f32, *const f32) {
        unsafe { of_sixteens(all) }
    }
    #[inline(always)]
    unsafe fn weights<const F: usize>(from: *const u8, _: *const Sixteens, group: usize) -> [Eight; 4] {
        unsafe { whole::quarters::<F>(from.add(16 + 32 * group)) }
    }
}
