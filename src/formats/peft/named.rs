//! Tensors as adapters' files hold them.

use crate::error::{Error, Result};
use crate::formats::Container;
use crate::tensor::{DType, dequantize};

/// The config's file name in an adapter's folder.
pub const CONFIG_NAME: &str = "adapter_config.json";
/// The weights' file name in an adapter's folder.
pub const WEIGHTS_NAME: &str = "adapter_model.safetensors";

/// A tensor under PEFT's name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// A tensor's values, all finite.
pub(super) fn tensor(c: &Container, weights: &[u8], index: usize) -> Result<NamedTensor> {
    let t = &c.tensors[index];
    if t.dtype == DType::U32 {
        return Err(Error::BadAdapter(format!("tensor {:?} has type {}, expected F32, F16 or BF16", t.name, t.dtype.name())));
    }
    let values = dequantize(t.dtype, c.bytes(weights, index)?);
    match values.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(Error::NotFinite(format!("{WEIGHTS_NAME}: tensor {:?} has {} at element {i}", t.name, values[i]))),
        None => Ok(NamedTensor { name: t.name.clone(), shape: t.shape.clone(), values }),
    }
}
