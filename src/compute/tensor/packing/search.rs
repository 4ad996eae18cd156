//! From f32 to the types whose scales are themselves quantized, and to those with a table: scales are searched. A few steps of a grid are tried;
//! for each the integers are what is nearest, and scale and minimum what least squares make of these integers. Then the scales of a
//! super-block are rounded, and the integers chosen once more for what the scales have become.
use super::layout::{E2M1, IQ4, MAX_BLOCK, half_power};
use super::quantize::put_nibbles;
use half::f16;

/// Steps that are tried: how many more (or fewer) of them the range of values is made to span than there are integers.
const STEPS: [f32; 9] = [-1.0, -0.7, -0.4, -0.2, 0.0, 0.2, 0.4, 0.7, 1.0];

/// To the nearest integer; of numbers that a type of few bits can have.
#[inline(always)]
fn nearest(v: f32) -> f32 {
    const LARGE: f32 = 12_582_912.0; // 1.5·2²³
    (v + LARGE) - LARGE
}

/// d and m, neither negative, for the least Σ(d·q − m − x)² with q from 0 to `top`.
fn affine<const N: usize>(x: &[f32; N], top: f32) -> (f32, f32) {
    let (mut lo, mut hi, mut sx, mut sxx) = (0.0f32, f32::NEG_INFINITY, 0.0f32, 0.0f32);
    for v in x {
        lo = lo.min(*v);
        hi = hi.max(*v);
        sx += v;
        sxx += v * v;
    }
    if hi <= lo {
        return (0.0, -lo);
    }
    let n = N as f32;
    let (mut best, mut found) = (f32::INFINITY, ((hi - lo) / top, -lo));
    for step in STEPS {
        let inv = (top + step) / (hi - lo);
        let (mut sq, mut sqq, mut sxq) = (0.0f32, 0.0f32, 0.0f32);
        for v in x {
            let q = nearest((v - lo) * inv).clamp(0.0, top);
            sq += q;
            sqq += q * q;
            sxq += q * v;
        }
        let across = n * sqq - sq * sq;
        if across <= 0.0 {
            continue;
        }
        let mut d = (n * sxq - sx * sq) / across;
        let mut b = (sx - d * sq) / n;
        if b > 0.0 {
            (d, b) = (sxq / sqq, 0.0);
        }
        let error = d * d * sqq + 2.0 * d * b * sq + n * b * b - 2.0 * (d * sxq + b * sx) + sxx;
        if d > 0.0 && error < best {
            (best, found) = (error, (d, -b));
        }
    }
    found
}

/// The scale for the least Σ(d·value(x/d) − x)², `value` being what is nearest among the values of a type, whose largest size is `top`.
fn symmetric<const N: usize>(x: &[f32; N], top: f32, value: impl Fn(f32) -> f32) -> f32 {
    let extreme = x.iter().fold(0.0f32, |m, v| if v.abs() > m.abs() { *v } else { m });
    if extreme == 0.0 {
        return 0.0;
    }
    let (mut best, mut found) = (0.0, -extreme / top);
    for step in STEPS {
        // The value of largest size is where there is one more integer: among the negative ones.
        let inv = -(top + step) / extreme;
        let (mut sqq, mut sxq) = (0.0f32, 0.0f32);
        for v in x {
            let q = value(v * inv);
            sqq += q * q;
            sxq += q * v;
        }
        if sqq > 0.0 && sxq * sxq > best * sqq {
            (best, found) = (sxq * sxq / sqq, sxq / sqq);
        }
    }
    found
}

/// A scale in half precision for factors up to `top`, the largest of which is `most`.
fn outer(most: f32, top: f32) -> (f16, f32) {
    let d = f16::from_f32(most / top);
    (d, d.to_f32())
}

/// `v / d` as an integer from `lo` to `hi`.
fn factor(v: f32, d: f32, lo: f32, hi: f32) -> f32 {
    if d == 0.0 { 0.0 } else { nearest((v / d).clamp(lo, hi)) }
}

fn part<const N: usize>(x: &[f32], i: usize) -> &[f32; N] {
    x[i * N..(i + 1) * N].try_into().expect("N values")
}

/// d, dmin, their factors in 12 bytes, and the integers.
fn six_bits(x: &[f32], top: f32, out: &mut Vec<u8>) -> [u8; MAX_BLOCK] {
    let found: [(f32, f32); 8] = std::array::from_fn(|i| affine::<32>(part(x, i), top));
    let (dh, d) = outer(found.iter().fold(0.0, |m, f| f.0.max(m)), 63.0);
    let (mh, min) = outer(found.iter().fold(0.0, |m, f| f.1.max(m)), 63.0);
    let mut q = [0; MAX_BLOCK];
    let (mut scales, mut minima) = ([0u8; 8], [0u8; 8]);
    for (i, f) in found.iter().enumerate() {
        let (s, m) = (factor(f.0, d, 0.0, 63.0), factor(f.1, min, 0.0, 63.0));
        (scales[i], minima[i]) = (s as u8, m as u8);
        let (d, m) = (d * s, min * m);
        for (q, v) in q[i * 32..][..32].iter_mut().zip(part::<32>(x, i)) {
            *q = factor(v + m, d, 0.0, top) as u8;
        }
    }
    out.extend(dh.to_le_bytes());
    out.extend(mh.to_le_bytes());
    out.extend((0..4).map(|i| scales[i] | scales[4 + i] >> 4 << 6));
    out.extend((0..4).map(|i| minima[i] | minima[4 + i] >> 4 << 6));
    out.extend((0..4).map(|i| scales[4 + i] & 15 | minima[4 + i] << 4));
    q
}

/// Halves of bytes: of every 64 integers the first 32 low, the others high.
fn put_halves(q: &[u8; MAX_BLOCK], out: &mut Vec<u8>) {
    for q in q.as_chunks::<64>().0 {
        out.extend((0..32).map(|i| q[i] & 15 | (q[32 + i] & 15) << 4));
    }
}

/// Two bits of each integer: of every 128 four fields of 32.
fn put_twos(q: &[u8; MAX_BLOCK], shift: u32, out: &mut Vec<u8>) {
    for q in q.as_chunks::<128>().0 {
        out.extend((0..32).map(|i| (0..4).fold(0, |b, f| b | (q[32 * f + i] >> shift & 3) << (2 * f))));
    }
}

/// One bit of each integer: bit f of byte i is that of integer 32f + i.
fn put_ones(q: &[u8; MAX_BLOCK], shift: u32, out: &mut Vec<u8>) {
    out.extend((0..32).map(|i| (0..8).fold(0, |b, f| b | (q[32 * f + i] >> shift & 1) << f)));
}

pub fn q4_k(x: &[f32], out: &mut Vec<u8>) {
    let q = six_bits(x, 15.0, out);
    put_halves(&q, out);
}

pub fn q5_k(x: &[f32], out: &mut Vec<u8>) {
    let q = six_bits(x, 31.0, out);
    put_ones(&q, 4, out);
    put_halves(&q, out);
}

pub fn q2_k(x: &[f32], out: &mut Vec<u8>) {
    let found: [(f32, f32); 16] = std::array::from_fn(|i| affine::<16>(part(x, i), 3.0));
    let (dh, d) = outer(found.iter().fold(0.0, |m, f| f.0.max(m)), 15.0);
    let (mh, min) = outer(found.iter().fold(0.0, |m, f| f.1.max(m)), 15.0);
    let mut q = [0; MAX_BLOCK];
    for (i, f) in found.iter().enumerate() {
        let (s, m) = (factor(f.0, d, 0.0, 15.0), factor(f.1, min, 0.0, 15.0));
        out.push(s as u8 | (m as u8) << 4);
        let (d, m) = (d * s, min * m);
        for (q, v) in q[i * 16..][..16].iter_mut().zip(part::<16>(x, i)) {
            *q = factor(v + m, d, 0.0, 3.0) as u8;
        }
    }
    put_twos(&q, 0, out);
    out.extend(dh.to_le_bytes());
    out.extend(mh.to_le_bytes());
}

/// d, its factors of sixteen values, and the integers less `half`: from −half to half − 1.
fn sixteens(x: &[f32], half: f32, most: f32) -> (f16, [i8; 16], [u8; MAX_BLOCK]) {
    let found: [f32; 16] = std::array::from_fn(|i| symmetric::<16>(part(x, i), half, |v| nearest(v.clamp(-half, half - 1.0))));
    let extreme = found.iter().fold(0.0f32, |m, f| if f.abs() > m.abs() { *f } else { m });
    let (dh, d) = outer(extreme, -most);
    let mut q = [0; MAX_BLOCK];
    let mut scales = [0; 16];
    for (i, f) in found.iter().enumerate() {
        let s = factor(*f, d, -most, most - 1.0);
        scales[i] = s as i8;
        for (q, v) in q[i * 16..][..16].iter_mut().zip(part::<16>(x, i)) {
            *q = (factor(*v, d * s, -half, half - 1.0) + half) as u8;
        }
    }
    (dh, scales, q)
}

pub fn q6_k(x: &[f32], out: &mut Vec<u8>) {
    let (d, scales, q) = sixteens(x, 32.0, 128.0);
    for q in q.as_chunks::<128>().0 {
        out.extend((0..64).map(|i| q[i] & 15 | (q[64 + i] & 15) << 4));
    }
    put_twos(&q, 4, out);
    out.extend(scales.map(i8::cast_unsigned));
    out.extend(d.to_le_bytes());
}

pub fn q3_k(x: &[f32], out: &mut Vec<u8>) {
    let (d, scales, q) = sixteens(x, 4.0, 32.0);
    put_ones(&q, 2, out);
    put_twos(&q, 0, out);
    let s = scales.map(|s| (s + 32) as u8);
    out.extend((0..8).map(|i| s[i] & 15 | (s[8 + i] & 15) << 4));
    out.extend((0..4).map(|i| (0..4).fold(0, |b, f| b | s[4 * f + i] >> 4 << (2 * f))));
    out.extend(d.to_le_bytes());
}

/// Which value of a table in ascending order is nearest.
fn picked(v: f32) -> usize {
    (0..15).filter(|i| v > (f32::from(IQ4[*i]) + f32::from(IQ4[i + 1])) * 0.5).count()
}

fn table_scale(x: &[f32; 32]) -> f32 {
    symmetric(x, 127.0, |v| f32::from(IQ4[picked(v)]))
}

fn table_ints(x: &[f32; 32], d: f32) -> [u8; 32] {
    x.map(|v| if d == 0.0 { 8 } else { picked(v / d) as u8 })
}

pub fn iq4_nl(x: &[f32], out: &mut Vec<u8>) {
    let x = part::<32>(x, 0);
    let d = f16::from_f32(table_scale(x));
    out.extend(d.to_le_bytes());
    put_nibbles(&table_ints(x, d.to_f32()), out);
}

pub fn iq4_xs(x: &[f32], out: &mut Vec<u8>) {
    let found: [f32; 8] = std::array::from_fn(|i| table_scale(part(x, i)));
    let extreme = found.iter().fold(0.0f32, |m, f| if f.abs() > m.abs() { *f } else { m });
    let (dh, d) = outer(extreme, -32.0);
    let scales = found.map(|f| factor(f, d, -32.0, 31.0));
    let bits = scales.map(|s| (s + 32.0) as u8);
    out.extend(dh.to_le_bytes());
    out.extend(bits.iter().enumerate().fold(0u16, |b, (i, s)| b | u16::from(s >> 4) << (2 * i)).to_le_bytes());
    out.extend((0..4).map(|i| bits[2 * i] & 15 | (bits[2 * i + 1] & 15) << 4));
    for (i, s) in scales.iter().enumerate() {
        put_nibbles(&table_ints(part(x, i), d * s), out);
    }
}

/// As ggml: the scale is the power of two under the largest value, and each value the nearest, the first of two.
pub fn mxfp4(x: &[f32], out: &mut Vec<u8>) {
    let top = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let e = if top > 0.0 { (i32::from((top.to_bits() >> 23) as u8) - 2).clamp(0, 252) as u8 } else { 0 };
    let d = f32::from_bits(half_power(e));
    let q = part::<32>(x, 0).map(|v| {
        let error = |i: &u8| (d * f32::from(E2M1[usize::from(*i)]) - v).abs();
        (0..16u8).reduce(|best, i| if error(&i) < error(&best) { i } else { best }).unwrap_or(0)
    });
    out.push(e);
    put_nibbles(&q, out);
}
