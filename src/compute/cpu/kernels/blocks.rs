//! The blocks of every quantized type in registers: the integers of 32 values, and their scales as numbers. What
//! [`dequant`](super::dequant), [`few`](super::few) and [`few_whole`](super::few_whole) are generic over.

use crate::cpu::bytes::{self, Bytes, Sixteen};
use crate::cpu::vector::{MOST, Vector};
use crate::tensor::packing::{E2M1, IQ4};

/// A block of `LEN` quantized weights. Its values are taken 32 at a time, of part 0, 1, …; `FIELDS` parts, whose integers are bits of the same bytes,
/// are a group. Which of them it is, is known when a kernel is compiled ([`fields!`]): shifts by a number that is not are dear.
pub trait Block {
    const LEN: usize;
    const BYTES: usize;
    const FIELDS: usize = 1;
    /// Scales of all parts, and integers, where it pays to unpack them once.
    type Head: Copy;
    /// # Safety
    /// As [`Vector`]; `BYTES` can be read, and a head written.
    unsafe fn head<V: Vector>(from: *const u8, to: *mut Self::Head);
    /// 32 values, those of part `group * FIELDS + F`, in the first `32 / V::LANES` registers.
    ///
    /// # Safety
    /// As [`Vector`]; `BYTES` can be read, `head` is the block's, there is such a part.
    unsafe fn values<V: Vector, const F: usize>(from: *const u8, head: *const Self::Head, group: usize) -> [V; MOST];
}

/// Runs a body for each field of a group, whose number it has as a constant.
macro_rules! fields {
    ($fields:expr, $field:ident => $body:expr) => {
        fields!(@ $fields, $field => $body; 0, 1, 2, 3)
    };
    (@ $fields:expr, $field:ident => $body:expr; $($n:literal),*) => {
        $(if $n < $fields {
            const $field: usize = $n;
            $body
        })*
    };
}
pub(crate) use fields;

pub struct Q4_0;
pub struct Q4_1;
pub struct Q5_0;
pub struct Q5_1;
pub struct Q8_0;
pub struct Q2K;
pub struct Q3K;
pub struct Q4K;
pub struct Q5K;
pub struct Q6K;
pub struct Iq4Nl;
pub struct Iq4Xs;
pub struct Mxfp4;

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
pub(crate) use with_block;

/// A block of 32 without anything that is unpacked once.
macro_rules! short {
    ($($kind:ident $bytes:literal |$from:ident, $v:ident| $values:expr;)*) => {$(
        impl Block for $kind {
            const LEN: usize = 32;
            const BYTES: usize = $bytes;
            type Head = ();
            #[inline(always)]
            unsafe fn head<V: Vector>(_: *const u8, _: *mut ()) {}
            #[inline(always)]
            unsafe fn values<$v: Vector, const F: usize>($from: *const u8, _: *const (), _: usize) -> [$v; MOST] {
                unsafe { $values }
            }
        }
    )*};
}

short! {
    Q4_0 18 |from, V| {
        let (d, _) = V::halves(from);
        V::nibbles(from.add(2), d, d.mul(V::splat(-8.0)))
    };
    Q4_1 20 |from, V| {
        let (d, m) = V::halves(from);
        V::nibbles(from.add(4), d, m)
    };
    Q5_0 22 |from, V| V::centred_fives(from.add(2), from.add(6), V::halves(from).0);
    Q5_1 24 |from, V| {
        let (d, m) = V::halves(from);
        V::fives(from.add(4), from.add(8), d, m)
    };
    Q8_0 34 |from, V| V::signed_bytes(from.add(2), V::halves(from).0);
    Iq4Nl 18 |from, V| V::picked(&IQ4, from.add(2), V::halves(from).0);
    Mxfp4 17 |from, V| V::picked(&E2M1, from.add(1), V::splat(half_power(*from)));
}

/// 2^(e − 128).
#[inline(always)]
pub fn half_power(e: u8) -> f32 {
    f32::from_bits(if e < 2 { 0x0020_0000 << e } else { (u32::from(e) - 1) << 23 })
}

/// Factors of every 32 values and what is added to them, and the integers of all.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Eights {
    pub d: [f32; 8],
    pub m: [f32; 8],
    pub q: [u8; 256],
}

/// The same of every sixteen values; integers of three bits are halves of bytes.
#[derive(Clone, Copy)]
pub struct Sixteens {
    pub d: [f32; 16],
    pub m: [f32; 16],
    pub q: [u8; 256],
}

/// Numbers times sixteen small signed integers, which stay far from where anything is rounded.
#[inline(always)]
pub unsafe fn by_scales<V: Vector>(d: V, scales: Sixteen, to: *mut [f32; 16]) {
    unsafe {
        let all = V::signed([scales, scales]);
        for (i, ints) in all.into_iter().enumerate().take(16 / V::LANES) {
            ints.mul(d).store(to.cast::<f32>().add(i * V::LANES));
        }
    }
}

/// d·s and −dmin·m of the eight parts of Q4_K and Q5_K.
#[inline(always)]
unsafe fn six_bits<V: Vector>(from: *const u8, to: *mut Eights) {
    unsafe {
        let [a, b, c] = from.add(4).cast::<[u32; 3]>().read_unaligned();
        const SIX: u32 = 0x3f3f_3f3f;
        const FOUR: u32 = 0x0f0f_0f0f;
        const TWO: u32 = 0x3030_3030;
        let (d, m) = V::halves(from);
        let (scales, minima) = ([a & SIX, c & FOUR | a >> 2 & TWO], [b & SIX, c >> 4 & FOUR | b >> 2 & TWO]);
        let (d, m, to) = (d, m.mul(V::splat(-1.0)), to.cast::<f32>());
        let all = V::signed([bytes::words([scales[0], scales[1], minima[0], minima[1]]), bytes::words([minima[0], minima[1], 0, 0])]);
        if V::LANES <= 8 {
            for i in 0..8 / V::LANES {
                all[i].mul(d).store(to.add(i * V::LANES));
                all[8 / V::LANES + i].mul(m).store(to.add(8 + i * V::LANES));
            }
        } else {
            // Both are eight too many: minima follow, and then what integers are put over.
            all[0].mul(d).store(to);
            all[1].mul(m).store(to.add(8));
        }
    }
}

impl Block for Q4K {
    const LEN: usize = 256;
    const BYTES: usize = 144;
    const FIELDS: usize = 2;
    type Head = Eights;
    #[inline(always)]
    unsafe fn head<V: Vector>(from: *const u8, to: *mut Eights) {
        unsafe { six_bits::<V>(from, to) }
    }
    #[inline(always)]
    unsafe fn values<V: Vector, const F: usize>(from: *const u8, head: *const Eights, group: usize) -> [V; MOST] {
        unsafe { V::halved::<F>(from.add(16 + 32 * group), V::splat((*head).d[2 * group + F]), V::splat((*head).m[2 * group + F])) }
    }
}

impl Block for Q5K {
    const LEN: usize = 256;
    const BYTES: usize = 176;
    type Head = Eights;
    #[inline(always)]
    unsafe fn head<V: Vector>(from: *const u8, to: *mut Eights) {
        unsafe {
            six_bits::<V>(from, to);
            let (four, bit, to) = (V::Bytes::splat(15), V::Bytes::splat(16), (&raw mut (*to).q).cast::<u8>());
            let mut high = V::Bytes::load(from.add(16));
            for i in 0..4 {
                let q = V::Bytes::load(from.add(48 + 32 * i));
                q.and(four).or(high.shl::<4>().and(bit)).store(to.add(64 * i));
                q.shr::<4>().and(four).or(high.shl::<3>().and(bit)).store(to.add(64 * i + 32));
                high = high.shr::<2>();
            }
        }
    }
    #[inline(always)]
    unsafe fn values<V: Vector, const F: usize>(_: *const u8, head: *const Eights, group: usize) -> [V; MOST] {
        unsafe {
            let (d, m) = (V::splat((*head).d[group]), V::splat((*head).m[group]));
            V::bytes((&raw const (*head).q).cast::<u8>().add(32 * group), [d; 2], [m; 2])
        }
    }
}

/// A number of each of two neighbours in all lanes.
#[inline(always)]
unsafe fn two<V: Vector>(of: &[f32; 16], part: usize) -> [V; 2] {
    unsafe { [V::splat(of[2 * part]), V::splat(of[2 * part + 1])] }
}

impl Block for Q6K {
    const LEN: usize = 256;
    const BYTES: usize = 210;
    type Head = Sixteens;
    #[inline(always)]
    unsafe fn head<V: Vector>(from: *const u8, to: *mut Sixteens) {
        unsafe {
            let ((_, d), scales) = (V::last_halves(from.add(210)), bytes::load(from.add(192)));
            by_scales(d, scales, &raw mut (*to).d);
            by_scales(d.mul(V::splat(-32.0)), scales, &raw mut (*to).m);
            let (four, two, to) = (V::Bytes::splat(15), V::Bytes::splat(48), (&raw mut (*to).q).cast::<u8>());
            for i in 0..2 {
                let high = V::Bytes::load(from.add(128 + 32 * i));
                let (from, to) = (from.add(64 * i), to.add(128 * i));
                let (a, b) = (V::Bytes::load(from), V::Bytes::load(from.add(32)));
                a.and(four).or(high.shl::<4>().and(two)).store(to);
                b.and(four).or(high.shl::<2>().and(two)).store(to.add(32));
                a.shr::<4>().and(four).or(high.and(two)).store(to.add(64));
                b.shr::<4>().and(four).or(high.shr::<2>().and(two)).store(to.add(96));
            }
        }
    }
    #[inline(always)]
    unsafe fn values<V: Vector, const F: usize>(_: *const u8, head: *const Sixteens, group: usize) -> [V; MOST] {
        unsafe {
            let q = (&raw const (*head).q).cast::<u8>().add(32 * group);
            V::bytes(q, two(&(*head).d, group), two(&(*head).m, group))
        }
    }
}

/// The sixteen scales of Q3_K, less 32.
#[inline(always)]
pub unsafe fn q3_scales(from: *const u8) -> Sixteen {
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
        // Bytes below 64 less 32: the sixth bit says which of them are negative, and no byte borrows from its neighbour.
        let words = words.map(|w| ((w | 0x8080_8080) - 0x2020_2020) ^ 0x8080_8080);
        bytes::words(words)
    }
}

impl Block for Q3K {
    const LEN: usize = 256;
    const BYTES: usize = 110;
    const FIELDS: usize = 4;
    type Head = Sixteens;
    #[inline(always)]
    unsafe fn head<V: Vector>(from: *const u8, to: *mut Sixteens) {
        unsafe {
            by_scales(V::last_halves(from.add(110)).1, q3_scales(from), &raw mut (*to).d);
            // All bits of an integer side by side: fields 0 and 2 in the halves of a byte, then fields 1 and 3.
            let (low, first, second) = (V::Bytes::splat(0x33), V::Bytes::splat(4), V::Bytes::splat(64));
            let (mut high, to) = (V::Bytes::load(from), (&raw mut (*to).q).cast::<u8>());
            for i in 0..2 {
                let q = V::Bytes::load(from.add(32 + 32 * i));
                q.and(low).or(high.shl::<2>().and(first)).or(high.shl::<4>().and(second)).store(to.add(64 * i));
                q.shr::<2>().and(low).or(high.shl::<1>().and(first)).or(high.shl::<3>().and(second)).store(to.add(64 * i + 32));
                high = high.shr::<4>();
            }
        }
    }
    #[inline(always)]
    unsafe fn values<V: Vector, const F: usize>(_: *const u8, head: *const Sixteens, group: usize) -> [V; MOST] {
        unsafe {
            let q = (&raw const (*head).q).cast::<u8>().add(64 * group + 32 * (F % 2));
            let d = two(&(*head).d, 4 * group + F);
            if F < 2 { V::eighths::<0>(q, d) } else { V::eighths::<1>(q, d) }
        }
    }
}

impl Block for Q2K {
    const LEN: usize = 256;
    const BYTES: usize = 84;
    const FIELDS: usize = 4;
    type Head = Sixteens;
    #[inline(always)]
    unsafe fn head<V: Vector>(from: *const u8, to: *mut Sixteens) {
        unsafe {
            let (d, m) = V::last_halves(from.add(84));
            let both = bytes::load(from);
            by_scales(d, bytes::and(both, bytes::splat(15)), &raw mut (*to).d);
            by_scales(m.mul(V::splat(-1.0)), bytes::and(bytes::shr::<4>(both), bytes::splat(15)), &raw mut (*to).m);
        }
    }
    #[inline(always)]
    unsafe fn values<V: Vector, const F: usize>(from: *const u8, head: *const Sixteens, group: usize) -> [V; MOST] {
        unsafe { V::quarters::<F>(from.add(16 + 32 * group), two(&(*head).d, 4 * group + F), two(&(*head).m, 4 * group + F)) }
    }
}

impl Block for Iq4Xs {
    const LEN: usize = 256;
    const BYTES: usize = 136;
    /// As many again are written, too.
    type Head = [f32; 16];
    #[inline(always)]
    unsafe fn head<V: Vector>(from: *const u8, to: *mut [f32; 16]) {
        unsafe {
            let (low, high) =
                (u64::from(from.add(4).cast::<u32>().read_unaligned()), u64::from(from.add(2).cast::<u16>().read_unaligned()));
            // Four bits to a byte, two bits to a byte, and 32 less.
            let low = (low | low << 16) & 0x0000_ffff_0000_ffff;
            let low = (low | low << 8) & 0x00ff_00ff_00ff_00ff;
            let low = (low | low << 4) & 0x0f0f_0f0f_0f0f_0f0f;
            let high = (high | high << 24) & 0x0000_00ff_0000_00ff;
            let high = (high | high << 12) & 0x000f_000f_000f_000f;
            let high = (high | high << 6) & 0x0303_0303_0303_0303;
            const TOP: u64 = 0x8080_8080_8080_8080;
            let scales = ((low | high << 4 | TOP) - 0x2020_2020_2020_2020) ^ TOP;
            by_scales(V::halves(from).0, bytes::words([scales as u32, (scales >> 32) as u32, 0, 0]), to.cast());
        }
    }
    #[inline(always)]
    unsafe fn values<V: Vector, const F: usize>(from: *const u8, head: *const [f32; 16], group: usize) -> [V; MOST] {
        unsafe { V::picked(&IQ4, from.add(8 + 16 * group), V::splat((*head)[group])) }
    }
}
