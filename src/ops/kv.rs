//! What the ops over a key/value cache agree on: (2, S, Hkv·D) f32 or f16, keys in plane 0, values in plane 1.

use super::half;
use crate::gpu::KernelKey;
use crate::graph::Desc;
use crate::tensor::DType;
use crate::{Error, Result};

/// Checks a cache of rows of `width` numbers. Rows of halves are whole words: kernels find a half by the number of its element.
pub(super) fn check(op: &str, cache: &Desc, width: usize) -> Result<()> {
    let fits = matches!(cache.shape[..], [2, _, w] if w == width);
    if fits && (cache.dtype == DType::F32 || (cache.dtype == DType::F16 && width.is_multiple_of(2))) {
        return Ok(());
    }
    let have = (&cache.shape, cache.dtype.name());
    Err(Error::shape(op, format!("cache {have:?}, expected (2, slots, {width}) F32, or F16 where rows are even")))
}

/// Names the cache's type to a kernel.
pub(super) fn key(key: KernelKey, dtype: DType) -> KernelKey {
    if dtype == DType::F16 { key.def("KV", "F16") } else { key }
}

/// A number as a cache keeps it; what is too large for a half is NaN (see `cpu::kernels::stored`).
pub(super) fn kept(dtype: DType, v: f64) -> f64 {
    if dtype == DType::F16 { half::nearest(v) } else { v }
}
