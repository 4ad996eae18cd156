//! Data types, shapes and host tensors. Knows nothing of wgpu.
mod dtype;
pub mod packing;

pub use dtype::DType;
pub use packing::{Stored, dequantize, quantize};

impl DType {
    /// Its row of the table.
    pub fn stored(self) -> &'static Stored {
        &packing::STORED[self as usize]
    }

    /// Elements in one block: 1 for plain types, 32 or 256 for the quantized ones.
    pub fn block_len(self) -> usize {
        self.stored().block_len
    }

    /// Bytes of one block in a file.
    pub fn block_bytes(self) -> usize {
        self.stored().block_bytes
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
    pub fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// The name in file headers and messages.
    pub fn name(self) -> &'static str {
        self.stored().name
    }
}
