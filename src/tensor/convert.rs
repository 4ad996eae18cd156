//! Between file bytes and f32, block by block.
use super::DType;

fn f16(b: &[u8]) -> f32 {
    half::f16::from_le_bytes([b[0], b[1]]).to_f32()
}

/// One block of `dtype` (`block_bytes()` bytes) into `out` (`block_len()` values).
///
/// Low nibbles are the first half of a 4-bit block, high nibbles the second.
pub fn dequantize_block(dtype: DType, b: &[u8], out: &mut [f32]) {
    match dtype {
        DType::F32 => out[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
        DType::U32 => out[0] = u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32,
        DType::F16 => out[0] = f16(b),
        DType::BF16 => out[0] = half::bf16::from_le_bytes([b[0], b[1]]).to_f32(),
        DType::Q4_0 => {
            let d = f16(b);
            for (i, q) in b[2..18].iter().enumerate() {
                out[i] = (f32::from(q & 15) - 8.0) * d;
                out[i + 16] = (f32::from(q >> 4) - 8.0) * d;
            }
        }
        DType::Q4_1 => {
            let (d, m) = (f16(b), f16(&b[2..]));
            for (i, q) in b[4..20].iter().enumerate() {
                out[i] = f32::from(q & 15) * d + m;
                out[i + 16] = f32::from(q >> 4) * d + m;
            }
        }
        DType::Q8_0 => {
            let d = f16(b);
            for (o, q) in out.iter_mut().zip(&b[2..34]) {
                *o = f32::from(q.cast_signed()) * d;
            }
        }
    }
}

/// File bytes of `dtype` to f32 (whole blocks; a trailing partial block is ignored).
pub fn dequantize(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let blocks = bytes.chunks_exact(dtype.block_bytes());
    let mut out = vec![0.0; blocks.len() * dtype.block_len()];
    for (b, o) in blocks.zip(out.chunks_exact_mut(dtype.block_len())) {
        dequantize_block(dtype, b, o);
    }
    out
}

/// The scale as it will be read back, and its reciprocal for quantizing (0 for a block of zeros).
fn scale(d: f32) -> (half::f16, f32) {
    (half::f16::from_f32(d), if d == 0.0 { 0.0 } else { 1.0 / d })
}

/// f32 to file bytes of `dtype`, rounding to nearest. A trailing partial block is padded with zeros.
///
/// Q4_0 puts the value of largest magnitude at −8, Q4_1 spans minimum to maximum, Q8_0 is symmetric.
pub fn quantize(dtype: DType, values: &[f32]) -> Vec<u8> {
    let n = dtype.block_len();
    let mut out = Vec::with_capacity(values.len().div_ceil(n) * dtype.block_bytes());
    let mut padded: [f32; 32];
    for block in values.chunks(n) {
        let x: &[f32] = if block.len() == n {
            block
        } else {
            padded = [0.0; 32];
            padded[..block.len()].copy_from_slice(block);
            &padded
        };
        match dtype {
            DType::F32 => out.extend(x[0].to_le_bytes()),
            DType::U32 => out.extend((x[0] as u32).to_le_bytes()),
            DType::F16 => out.extend(half::f16::from_f32(x[0]).to_le_bytes()),
            DType::BF16 => out.extend(half::bf16::from_f32(x[0]).to_le_bytes()),
            DType::Q4_0 => {
                let extreme = x.iter().fold(0.0f32, |m, &v| if v.abs() > m.abs() { v } else { m });
                let (d, inv) = scale(extreme / -8.0);
                out.extend(d.to_le_bytes());
                let q = |v: f32| ((v * inv + 8.5) as i32).clamp(0, 15) as u8;
                out.extend((0..16).map(|i| q(x[i]) | q(x[i + 16]) << 4));
            }
            DType::Q4_1 => {
                let lo = x.iter().copied().fold(f32::INFINITY, f32::min);
                let hi = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let (d, inv) = scale((hi - lo) / 15.0);
                out.extend(d.to_le_bytes());
                out.extend(half::f16::from_f32(lo).to_le_bytes());
                let q = |v: f32| (((v - lo) * inv + 0.5) as i32).clamp(0, 15) as u8;
                out.extend((0..16).map(|i| q(x[i]) | q(x[i + 16]) << 4));
            }
            DType::Q8_0 => {
                let amax = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
                let (d, inv) = scale(amax / 127.0);
                out.extend(d.to_le_bytes());
                out.extend(x.iter().map(|v| ((v * inv).round() as i32).clamp(-127, 127) as i8 as u8));
            }
        }
    }
    out
}
