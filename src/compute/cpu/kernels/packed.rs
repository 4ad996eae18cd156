//! A matrix as files have it.

use crate::tensor::DType;

/// Columns of a block of weights. A row's products are added up so many at a time in every kernel, so that a result has the same bits whichever
/// kernel gave it.
pub const DEPTH: usize = 512;

/// Rows of any type, one after another, without padding.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    pub dtype: DType,
    pub rows: usize,
    pub cols: usize,
    pub bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        self.cols / self.dtype.block_len() * self.dtype.block_bytes()
    }

    /// Its values, where they are f32 already.
    pub fn floats(&self) -> Option<&'a [f32]> {
        (self.dtype == DType::F32).then(|| bytemuck::try_cast_slice(self.bytes).ok()).flatten()
    }

    /// The bytes of a row.
    pub fn row(&self, i: usize) -> &'a [u8] {
        let n = self.row_bytes();
        &self.bytes[i * n..(i + 1) * n]
    }
}
