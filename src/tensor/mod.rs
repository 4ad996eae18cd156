//! Data types, shapes and host tensors. Knows nothing of wgpu.
mod convert;

pub use convert::{dequantize, dequantize_block, quantize};

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

    /// Bytes of `elements` elements, if they are whole blocks and the product fits.
    pub fn bytes_of(self, elements: u64) -> Option<u64> {
        let block = self.block_len() as u64;
        if !elements.is_multiple_of(block) {
            return None;
        }
        (elements / block).checked_mul(self.block_bytes() as u64)
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
