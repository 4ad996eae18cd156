//! The blocks of every quantized type in registers: the integers of 32 values as bytes, and their scales as numbers. What
//! [`dequant`](super::dequant), [`few`](super::few) and [`few_whole`](super::few_whole) are generic over.

use crate::cpu::bytes::{Sixteen, and, load, minus, or, shl, shr, splat, spread};
use crate::cpu::vector::{MOST, Vector, half};
use crate::tensor::packing::{E2M1, IQ4};

/// A block of `LEN` quantized weights. Its values are taken 32 at a time, of part 0, 1, ….
pub(super) trait Block {
    const LEN: usize;
    const BYTES: usize;
    /// Scales of all parts, where it pays to unpack them once.
    type Head: Copy;
    /// # Safety
    /// `BYTES` can be read.
    unsafe fn head(from: *const u8) -> Self::Head;
    /// 32 values, in the first `32 / V::LANES` registers.
    ///
    /// # Safety
    /// As [`Vector`]; `BYTES` can be read, `head` is the block's, `part` is below `LEN / 32`.
    unsafe fn values<V: Vector>(from: *const u8, head: &Self::Head, part: usize) -> [V; MOST];
}

/// Integers of a type whose bytes are put together in registers.
pub(super) trait Ints: Block {
    /// The integers of a part as signed bytes, what is subtracted from all of them subtracted.
    ///
    /// # Safety
    /// As [`Block::values`].
    unsafe fn ints<V: Vector>(from: *const u8, part: usize) -> [Sixteen; 2];
}

pub(super) struct Q4_0;
pub(super) struct Q4_1;
pub(super) struct Q5_0;
pub(super) struct Q5_1;
pub(super) struct Q8_0;
pub(super) struct Q2K;
pub(super) struct Q3K;
pub(super) struct Q4K;
pub(super) struct Q5K;
pub(super) struct Q6K;
pub(super) struct Iq4Nl;
pub(super) struct Iq4Xs;
pub(super) struct Mxfp4;

/// Runs a body for the block of a quantized type, whose name it has inside; nothing for plain types.
macro_rules! with_block {
    ($dtype:expr, $block:ident => $body:expr) => {
        with_block!(@ $dtype, $block => $body; Q4_0: Q4_0, Q4_1: Q4_1, Q5_0: Q5_0, Q5_1: Q5_1, Q8_0: Q8_0, Q2_K: Q2K, Q3_K: Q3K, Q4_K: Q4K,
            Q5_K: Q5K, Q6_K: Q6K, IQ4_NL: Iq4Nl, IQ4_XS: Iq4Xs, MXFP4: Mxfp4)
    };
    (@ $dtype:expr, $block:ident => $body:expr; $($name:ident: $type:ident),*) => {
        match $dtype {
            $($crate::tensor::DType::$name => {
                type $block = $crate::cpu::kernels::blocks::$type;
                $body
            })*
            $crate::tensor::DType::F32 | $crate::tensor::DType::F16 | $crate::tensor::DType::BF16 | $crate::tensor::DType::U32 => {}
        }
    };
}
pub(super) use with_block;

/// `d·q` for two registers of integers.
#[inline(always)]
unsafe fn scaled<V: Vector>(ints: [Sixteen; 2], d: V) -> [V; MOST] {
    unsafe {
        let mut out = V::signed(ints);
        for out in out.iter_mut().take(32 / V::LANES) {
            *out = out.mul(d);
        }
        out
    }
}

/// `d·q + m` for two registers of integers.
#[inline(always)]
unsafe fn shifted<V: Vector>(ints: [Sixteen; 2], d: V, m: V) -> [V; MOST] {
    unsafe {
        let mut out = V::signed(ints);
        for out in out.iter_mut().take(32 / V::LANES) {
            *out = out.fma(d, m);
        }
        out
    }
}

/// Sixteen bytes of halves: the low ones, then the high ones.
#[inline(always)]
unsafe fn nibbles(from: *const u8) -> [Sixteen; 2] {
    let q = unsafe { load(from) };
    [and(q, splat(15)), and(shr(q, 4), splat(15))]
}

/// As [`nibbles`] with 32 fifth bits.
#[inline(always)]
unsafe fn fives(high: *const u8, from: *const u8) -> [Sixteen; 2] {
    let bits = unsafe { high.cast::<u32>().read_unaligned() };
    let [a, b] = unsafe { nibbles(from) };
    [or(a, and(spread(bits), splat(16))), or(b, and(spread(bits >> 16), splat(16)))]
}

/// Half of each of 32 bytes: the low ones of an even part, the high ones of an odd one.
#[inline(always)]
unsafe fn half_bytes(from: *const u8, part: usize) -> [Sixteen; 2] {
    unsafe { fields(from, 4 * (part % 2), 15) }
}

/// Some bits of each of 32 bytes.
#[inline(always)]
unsafe fn fields(from: *const u8, shift: usize, mask: u8) -> [Sixteen; 2] {
    unsafe { [and(shr(load(from), shift), splat(mask)), and(shr(load(from.add(16)), shift), splat(mask))] }
}

#[inline(always)]
unsafe fn half_at(from: *const u8) -> f32 {
    half(unsafe { from.cast::<u16>().read_unaligned() })
}

/// Scale and minimum of each part, and of x's sums nothing else: as [`few_whole`](super::few_whole) reads them.
pub(super) type Pairs = [[f32; 4]; 8];

/// Scales of every sixteen values.
pub(super) type Sixteenths = [f32; 16];

impl Block for Q4_0 {
    const LEN: usize = 32;
    const BYTES: usize = 18;
    type Head = ();
    #[inline(always)]
    unsafe fn head(_: *const u8) {}
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8, _: &(), _: usize) -> [V; MOST] {
        unsafe {
            let (d, _) = V::halves(from);
            V::nibbles(from.add(2), d, d.mul(V::splat(-8.0)))
        }
    }
}

impl Block for Q4_1 {
    const LEN: usize = 32;
    const BYTES: usize = 20;
    type Head = ();
    #[inline(always)]
    unsafe fn head(_: *const u8) {}
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8, _: &(), _: usize) -> [V; MOST] {
        unsafe {
            let (d, m) = V::halves(from);
            V::nibbles(from.add(4), d, m)
        }
    }
}

impl Block for Q8_0 {
    const LEN: usize = 32;
    const BYTES: usize = 34;
    type Head = ();
    #[inline(always)]
    unsafe fn head(_: *const u8) {}
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8, _: &(), _: usize) -> [V; MOST] {
        unsafe { V::signed_bytes(from.add(2), V::halves(from).0) }
    }
}

impl Block for Q5_0 {
    const LEN: usize = 32;
    const BYTES: usize = 22;
    type Head = ();
    #[inline(always)]
    unsafe fn head(_: *const u8) {}
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8, _: &(), part: usize) -> [V; MOST] {
        unsafe { scaled(Self::ints::<V>(from, part), V::halves(from).0) }
    }
}

impl Ints for Q5_0 {
    #[inline(always)]
    unsafe fn ints<V: Vector>(from: *const u8, _: usize) -> [Sixteen; 2] {
        let [a, b] = unsafe { fives(from.add(2), from.add(6)) };
        [minus(a, splat(16)), minus(b, splat(16))]
    }
}

impl Block for Q5_1 {
    const LEN: usize = 32;
    const BYTES: usize = 24;
    type Head = ();
    #[inline(always)]
    unsafe fn head(_: *const u8) {}
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8, _: &(), part: usize) -> [V; MOST] {
        unsafe {
            let (d, m) = V::halves(from);
            shifted(Self::ints::<V>(from, part), d, m)
        }
    }
}

impl Ints for Q5_1 {
    #[inline(always)]
    unsafe fn ints<V: Vector>(from: *const u8, _: usize) -> [Sixteen; 2] {
        unsafe { fives(from.add(4), from.add(8)) }
    }
}

impl Block for Iq4Nl {
    const LEN: usize = 32;
    const BYTES: usize = 18;
    type Head = ();
    #[inline(always)]
    unsafe fn head(_: *const u8) {}
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8, _: &(), part: usize) -> [V; MOST] {
        unsafe { scaled(Self::ints::<V>(from, part), V::halves(from).0) }
    }
}

/// What sixteen bytes of halves pick from a table.
#[inline(always)]
unsafe fn picked<V: Vector>(table: &[i8; 16], from: *const u8) -> [Sixteen; 2] {
    unsafe {
        let table = load(table.as_ptr().cast());
        nibbles(from).map(|at| V::lookup(table, at))
    }
}

impl Ints for Iq4Nl {
    #[inline(always)]
    unsafe fn ints<V: Vector>(from: *const u8, _: usize) -> [Sixteen; 2] {
        unsafe { picked::<V>(&IQ4, from.add(2)) }
    }
}

impl Block for Mxfp4 {
    const LEN: usize = 32;
    const BYTES: usize = 17;
    type Head = ();
    #[inline(always)]
    unsafe fn head(_: *const u8) {}
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8, _: &(), part: usize) -> [V; MOST] {
        unsafe { scaled(Self::ints::<V>(from, part), V::splat(half_power(*from))) }
    }
}

/// 2^(e − 128).
#[inline(always)]
pub(super) fn half_power(e: u8) -> f32 {
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { (u32::from(e) - 1) << 23 })
}

impl Ints for Mxfp4 {
    #[inline(always)]
    unsafe fn ints<V: Vector>(from: *const u8, _: usize) -> [Sixteen; 2] {
        unsafe { picked::<V>(&E2M1, from.add(1)) }
    }
}

/// d·s and −dmin·m of the eight parts of Q4_K and Q5_K.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // a closure may be compiled for another instruction set
unsafe fn six_bit_pairs(from: *const u8) -> Pairs {
    unsafe {
        let (d, min) = (half_at(from), -half_at(from.add(2)));
        let [a, b, c] = from.add(4).cast::<[u32; 3]>().read_unaligned();
        const SIX: u32 = 0x3f3f_3f3f;
        const FOUR: u32 = 0x0f0f_0f0f;
        const TWO: u32 = 0x3030_3030;
        let scales = u64::from(a & SIX) | u64::from(c & FOUR | a >> 2 & TWO) << 32;
        let minima = u64::from(b & SIX) | u64::from(c >> 4 & FOUR | b >> 2 & TWO) << 32;
        let (scales, minima) = (scales.to_le_bytes(), minima.to_le_bytes());
        let mut out = [[0.0; 4]; 8];
        for i in 0..8 {
            out[i] = [d * f32::from(scales[i]), min * f32::from(minima[i]), 0.0, 0.0];
        }
        out
    }
}

impl Block for Q4K {
    const LEN: usize = 256;
    const BYTES: usize = 144;
    type Head = Pairs;
    #[inline(always)]
    unsafe fn head(from: *const u8) -> Pairs {
        unsafe { six_bit_pairs(from) }
    }
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8, head: &Pairs, part: usize) -> [V; MOST] {
        unsafe { shifted(Self::ints::<V>(from, part), V::splat(head[part][0]), V::splat(head[part][1])) }
    }
}

impl Ints for Q4K {
    #[inline(always)]
    unsafe fn ints<V: Vector>(from: *const u8, part: usize) -> [Sixteen; 2] {
        unsafe { half_bytes(from.add(16 + part / 2 * 32), part) }
    }
}

impl Block for Q5K {
    const LEN: usize = 256;
    const BYTES: usize = 176;
    type Head = Pairs;
    #[inline(always)]
    unsafe fn head(from: *const u8) -> Pairs {
        unsafe { six_bit_pairs(from) }
    }
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8, head: &Pairs, part: usize) -> [V; MOST] {
        unsafe { shifted(Self::ints::<V>(from, part), V::splat(head[part][0]), V::splat(head[part][1])) }
    }
}

impl Ints for Q5K {
    #[inline(always)]
    unsafe fn ints<V: Vector>(from: *const u8, part: usize) -> [Sixteen; 2] {
        unsafe {
            let ([a, b], [x, y]) = (half_bytes(from.add(48 + part / 2 * 32), part), fields(from.add(16), part, 1));
            [or(a, shl::<4>(x)), or(b, shl::<4>(y))]
        }
    }
}

/// `d·q` where every sixteen values have their own d, and an m added to it.
#[inline(always)]
unsafe fn by_sixteen<V: Vector>(ints: [Sixteen; 2], d: &[f32], m: Option<&[f32]>) -> [V; MOST] {
    unsafe {
        let mut out = V::signed(ints);
        let half = 16 / V::LANES;
        for (i, out) in out.iter_mut().enumerate().take(2 * half) {
            let d = V::splat(d[i / half]);
            *out = match m {
                Some(m) => out.fma(d, V::splat(m[i / half])),
                None => out.mul(d),
            };
        }
        out
    }
}

/// An f16 times sixteen signed bytes.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // a closure may be compiled for another instruction set
unsafe fn sixteenths(d: f32, scales: *const i8) -> Sixteenths {
    let scales = unsafe { scales.cast::<[i8; 16]>().read_unaligned() };
    let mut out = [0.0; 16];
    for i in 0..16 {
        out[i] = d * f32::from(scales[i]);
    }
    out
}

impl Block for Q6K {
    const LEN: usize = 256;
    const BYTES: usize = 210;
    type Head = Sixteenths;
    #[inline(always)]
    unsafe fn head(from: *const u8) -> Sixteenths {
        unsafe { sixteenths(half_at(from.add(208)), from.add(192).cast()) }
    }
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8, head: &Sixteenths, part: usize) -> [V; MOST] {
        unsafe { by_sixteen(Self::ints::<V>(from, part), &head[2 * part..2 * part + 2], None) }
    }
}

impl Ints for Q6K {
    #[inline(always)]
    unsafe fn ints<V: Vector>(from: *const u8, part: usize) -> [Sixteen; 2] {
        unsafe {
            let (half, field) = (part / 4, part % 4);
            let [a, b] = fields(from.add(64 * half + 32 * (field % 2)), 4 * (field / 2), 15);
            let [x, y] = fields(from.add(128 + 32 * half), 2 * field, 3);
            [minus(or(a, shl::<4>(x)), splat(32)), minus(or(b, shl::<4>(y)), splat(32))]
        }
    }
}

/// The sixteen scales of Q3_K, less 32.
#[inline(always)]
pub(super) unsafe fn q3_scales(from: *const u8) -> [i8; 16] {
    unsafe {
        let [a, b, c] = from.add(96).cast::<[u32; 3]>().read_unaligned();
        const FOUR: u32 = 0x0f0f_0f0f;
        const TWO: u32 = 0x0303_0303;
        let words = [
            a & FOUR | (c & TWO) << 4,
            b & FOUR | (c >> 2 & TWO) << 4,
            a >> 4 & FOUR | (c >> 4 & TWO) << 4,
            b >> 4 & FOUR | (c >> 6 & TWO) << 4,
        ];
        let mut out = [0; 16];
        for (i, out) in out.iter_mut().enumerate() {
            *out = (words[i / 4] >> (8 * (i % 4))) as u8 as i8 - 32;
        }
        out
    }
}

impl Block for Q3K {
    const LEN: usize = 256;
    const BYTES: usize = 110;
    type Head = Sixteenths;
    #[inline(always)]
    unsafe fn head(from: *const u8) -> Sixteenths {
        unsafe { sixteenths(half_at(from.add(108)), q3_scales(from).as_ptr()) }
    }
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8, head: &Sixteenths, part: usize) -> [V; MOST] {
        unsafe { by_sixteen(Self::ints::<V>(from, part), &head[2 * part..2 * part + 2], None) }
    }
}

impl Ints for Q3K {
    #[inline(always)]
    unsafe fn ints<V: Vector>(from: *const u8, part: usize) -> [Sixteen; 2] {
        unsafe {
            let [a, b] = fields(from.add(32 + 32 * (part / 4)), 2 * (part % 4), 3);
            let [x, y] = fields(from, part, 1);
            [minus(or(a, shl::<2>(x)), splat(4)), minus(or(b, shl::<2>(y)), splat(4))]
        }
    }
}

impl Block for Q2K {
    const LEN: usize = 256;
    const BYTES: usize = 84;
    /// d·s and −dmin·m.
    type Head = [Sixteenths; 2];
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // a closure may be compiled for another instruction set
    unsafe fn head(from: *const u8) -> [Sixteenths; 2] {
        unsafe {
            let (d, min) = (half_at(from.add(80)), -half_at(from.add(82)));
            let both = from.cast::<[u8; 16]>().read_unaligned();
            let mut out = [[0.0; 16]; 2];
            for i in 0..16 {
                out[0][i] = d * f32::from(both[i] & 15);
                out[1][i] = min * f32::from(both[i] >> 4);
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8, [d, m]: &[Sixteenths; 2], part: usize) -> [V; MOST] {
        unsafe { by_sixteen(Self::ints::<V>(from, part), &d[2 * part..2 * part + 2], Some(&m[2 * part..2 * part + 2])) }
    }
}

impl Ints for Q2K {
    #[inline(always)]
    unsafe fn ints<V: Vector>(from: *const u8, part: usize) -> [Sixteen; 2] {
        unsafe { fields(from.add(16 + 32 * (part / 4)), 2 * (part % 4), 3) }
    }
}

impl Block for Iq4Xs {
    const LEN: usize = 256;
    const BYTES: usize = 136;
    type Head = [f32; 8];
    #[inline(always)]
    unsafe fn head(from: *const u8) -> [f32; 8] {
        unsafe {
            let (d, high) = (half_at(from), u32::from(from.add(2).cast::<u16>().read_unaligned()));
            let low = from.add(4).cast::<u32>().read_unaligned();
            let mut out = [0.0; 8];
            for (i, out) in out.iter_mut().enumerate() {
                let scale = low >> (4 * i) & 15 | (high >> (2 * i) & 3) << 4;
                *out = d * (scale as i32 - 32) as f32;
            }
            out
        }
    }
    #[inline(always)]
    unsafe fn values<V: Vector>(from: *const u8, head: &[f32; 8], part: usize) -> [V; MOST] {
        unsafe { scaled(Self::ints::<V>(from, part), V::splat(head[part])) }
    }
}

impl Ints for Iq4Xs {
    #[inline(always)]
    unsafe fn ints<V: Vector>(from: *const u8, part: usize) -> [Sixteen; 2] {
        unsafe { picked::<V>(&IQ4, from.add(8 + 16 * part)) }
    }
}
