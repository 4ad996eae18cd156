//! Data types, shapes and host tensors. Knows nothing of wgpu.

/// Element type of a tensor, on disk and on the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    F32,
    F16,
    BF16,
    /// 32-bit unsigned integers: token ids, positions, row tables.
    U32,
    /// GGUF block of 32: f16 scale, 16 bytes of nibbles; `w = d·(q − 8)`.
    Q4_0,
    /// GGUF block of 32: f16 scale, f16 minimum, 16 bytes of nibbles; `w = d·q + m`.
    Q4_1,
    /// GGUF block of 32: f16 scale, 32 signed bytes; `w = d·q`.
    Q8_0,
}

impl DType {
    /// Elements in one block (1 for plain types, 32 for the quantized ones).
    pub const fn block_len(self) -> usize {
        match self {
            DType::Q4_0 | DType::Q4_1 | DType::Q8_0 => 32,
            _ => 1,
        }
    }

    /// Bytes of one block in a file.
    pub const fn block_bytes(self) -> usize {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F16 | DType::BF16 => 2,
            DType::Q4_0 => 18,
            DType::Q4_1 => 20,
            DType::Q8_0 => 34,
        }
    }

    /// True for block-quantized types.
    pub const fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// The name in file headers and messages.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "F32",
            DType::F16 => "F16",
            DType::BF16 => "BF16",
            DType::U32 => "U32",
            DType::Q4_0 => "Q4_0",
            DType::Q4_1 => "Q4_1",
            DType::Q8_0 => "Q8_0",
        }
    }
}

/// File bytes of `dtype` to f32 (whole blocks; a trailing partial block is ignored).
pub fn dequantize(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let f16 = |b: &[u8]| half::f16::from_le_bytes([b[0], b[1]]).to_f32();
    let blocks = bytes.chunks_exact(dtype.block_bytes());
    let mut out = Vec::with_capacity(blocks.len() * dtype.block_len());
    for b in blocks {
        match dtype {
            DType::F32 => out.push(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            DType::U32 => out.push(u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32),
            DType::F16 => out.push(f16(b)),
            DType::BF16 => out.push(half::bf16::from_le_bytes([b[0], b[1]]).to_f32()),
            DType::Q4_0 => {
                let d = f16(b);
                out.extend(b[2..18].iter().map(|q| (f32::from(q & 15) - 8.0) * d));
                out.extend(b[2..18].iter().map(|q| (f32::from(q >> 4) - 8.0) * d));
            }
            DType::Q4_1 => {
                let (d, m) = (f16(b), f16(&b[2..]));
                out.extend(b[4..20].iter().map(|q| f32::from(q & 15) * d + m));
                out.extend(b[4..20].iter().map(|q| f32::from(q >> 4) * d + m));
            }
            DType::Q8_0 => {
                let d = f16(b);
                out.extend(b[2..34].iter().map(|q| f32::from(q.cast_signed()) * d));
            }
        }
    }
    out
}
