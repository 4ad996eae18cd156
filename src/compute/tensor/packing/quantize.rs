//! From f32 to blocks. For types of 32 values the same bits as ggml's reference (and its `gguf` package) gives.
use super::layout::MAX_BLOCK;
use crate::tensor::dtype::DType;

/// The scale as it will be read back, and its reciprocal for quantizing (0 for a block of zeros).
fn scale(d: f32) -> (half::f16, f32) {
    (half::f16::from_f32(d), if d == 0.0 { 0.0 } else { 1.0 / d })
}

/// The value of largest magnitude, the first of them.
fn extreme(x: &[f32]) -> f32 {
    x.iter().fold(0.0f32, |m, &v| if v.abs() > m.abs() { v } else { m })
}

fn span(x: &[f32]) -> (f32, f32) {
    x.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(lo, hi), &v| (lo.min(v), hi.max(v)))
}

/// Halves of bytes: the first sixteen integers low, the others high.
pub fn put_nibbles(q: &[u8; 32], out: &mut Vec<u8>) {
    out.extend((0..16).map(|i| q[i] & 15 | (q[i + 16] & 15) << 4));
}

/// Fifth bits as four bytes.
fn put_fifths(q: &[u8; 32], out: &mut Vec<u8>) {
    let bits = q.iter().enumerate().fold(0u32, |bits, (i, q)| bits | u32::from(q >> 4 & 1) << i);
    out.extend(bits.to_le_bytes());
}

/// Integers from 0 to `top` so that the value of largest magnitude is at −(top + 1)/2.
fn centred(x: &[f32], top: i32) -> (half::f16, [u8; 32]) {
    let half_way = (top / 2 + 1) as f32;
    let (d, inv) = scale(extreme(x) / -half_way);
    (d, std::array::from_fn(|i| ((x[i] * inv + (half_way + 0.5)) as i32).clamp(0, top) as u8))
}

/// Integers from 0 to `top` that span minimum to maximum.
fn spanned(x: &[f32], top: i32) -> (half::f16, half::f16, [u8; 32]) {
    let (lo, hi) = span(x);
    let (d, inv) = scale((hi - lo) / top as f32);
    (d, half::f16::from_f32(lo), std::array::from_fn(|i| (((x[i] - lo) * inv + 0.5) as i32).clamp(0, top) as u8))
}

pub fn q4_0(x: &[f32], out: &mut Vec<u8>) {
    let (d, q) = centred(x, 15);
    out.extend(d.to_le_bytes());
    put_nibbles(&q, out);
}

pub fn q4_1(x: &[f32], out: &mut Vec<u8>) {
    let (d, m, q) = spanned(x, 15);
    out.extend(d.to_le_bytes());
    out.extend(m.to_le_bytes());
    put_nibbles(&q, out);
}

pub fn q5_0(x: &[f32], out: &mut Vec<u8>) {
    let (d, q) = centred(x, 31);
    out.extend(d.to_le_bytes());
    put_fifths(&q, out);
    put_nibbles(&q, out);
}

pub fn q5_1(x: &[f32], out: &mut Vec<u8>) {
    let (d, m, q) = spanned(x, 31);
    out.extend(d.to_le_bytes());
    out.extend(m.to_le_bytes());
    put_fifths(&q, out);
    put_nibbles(&q, out);
}

pub fn q8_0(x: &[f32], out: &mut Vec<u8>) {
    let (d, inv) = scale(x.iter().fold(0.0f32, |m, v| m.max(v.abs())) / 127.0);
    out.extend(d.to_le_bytes());
    out.extend(x.iter().map(|v| ((v * inv).round() as i32).clamp(-127, 127) as i8 as u8));
}

/// f32 to file bytes of `dtype`, rounding to nearest. A trailing partial block is padded with zeros.
///
/// # Panics
/// For a type that cannot be made from floats (its row of the table has no `quantize`).
pub fn quantize(dtype: DType, values: &[f32]) -> Vec<u8> {
    #[cfg(not(target_arch = "wasm32"))]
    if dtype.is_quantized() && values.len() >= 2 * PIECE {
        return in_threads(dtype, values);
    }
    let mut out = Vec::new();
    quantize_into(dtype, values, &mut out);
    out
}

/// Values that a thread is worth: scales are searched for, some microseconds a block.
#[cfg(not(target_arch = "wasm32"))]
const PIECE: usize = 1 << 14;

/// The same by as many threads as there are cores.
#[cfg(not(target_arch = "wasm32"))]
fn in_threads(dtype: DType, values: &[f32]) -> Vec<u8> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let each = values.len().div_ceil(threads).max(PIECE).next_multiple_of(dtype.block_len());
    let parts: Vec<Vec<u8>> = std::thread::scope(|s| {
        let running: Vec<_> = values
            .chunks(each)
            .map(|part| {
                s.spawn(move || {
                    let mut out = Vec::new();
                    quantize_into(dtype, part, &mut out);
                    out
                })
            })
            .collect();
        running.into_iter().map(|t| t.join().expect("quantizing does not fail")).collect()
    });
    parts.concat()
}

/// As [`quantize`], behind what is there.
///
/// # Panics
/// As [`quantize`].
pub fn quantize_into(dtype: DType, values: &[f32], out: &mut Vec<u8>) {
    let s = dtype.stored();
    let put = s.quantize.unwrap_or_else(|| panic!("{} is not made from floats", s.name));
    out.reserve(values.len().div_ceil(s.block_len) * s.block_bytes);
    let (whole, rest) = values.split_at(values.len() / s.block_len * s.block_len);
    whole.chunks_exact(s.block_len).for_each(|x| put(x, out));
    if !rest.is_empty() {
        let mut padded = [0.0; MAX_BLOCK];
        padded[..rest.len()].copy_from_slice(rest);
        put(&padded[..s.block_len], out);
    }
}
