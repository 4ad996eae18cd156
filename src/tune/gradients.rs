//! The next update's gradients as a file, for those who compare them with another engine's.

use std::collections::BTreeMap;

use super::trainer::{Target, Trainer};
use crate::Result;
use crate::formats::safetensors::{self, TensorView};
use crate::tensor::{DType, quantize};

/// The name used in errors.
const FILE: &str = "gradients.safetensors";

impl Trainer {
    /// The next update's gradients as safetensors, and no update. They are summed over its micro-batches, and neither clipped nor scaled: what PyTorch
    /// has in `.grad` before the optimizer. Names and shapes are PEFT's for an adapter and the checkpoint's for all weights; what a method trains
    /// beside them has its own name.
    ///
    /// # Errors
    /// As [`Trainer::gradients`]; [`crate::Error::NotFinite`] that names a tensor.
    pub async fn write_gradients(&mut self) -> Result<Vec<u8>> {
        self.gradients().await?;
        let exec = self.exec().clone();
        let mut parts: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        match self.target() {
            Target::Adapter { set, .. } => {
                let named = set.export_grads().await?.into_iter();
                parts.extend(named.map(|t| (t.name, t.shape, quantize(DType::F32, &t.values))));
            }
            Target::Full => {
                let params = self.model().params();
                for path in params.paths() {
                    let shape = params.find(path).map(|p| p.shape.clone()).unwrap_or_default();
                    parts.push((path.to_string(), shape, quantize(DType::F32, &params.read_grad(path).await?)));
                }
            }
        }
        for (name, grads) in self.own_gradients() {
            let values = grads.read_rows(&exec, 0, grads.desc().rows()).await?;
            parts.push((name.to_string(), grads.desc().shape.clone(), quantize(DType::F32, &values)));
        }
        let views: Vec<TensorView> =
            parts.iter().map(|(name, shape, bytes)| TensorView { name, dtype: DType::F32, shape, bytes }).collect();
        safetensors::write(FILE, &views, &BTreeMap::from([("format".to_string(), "pt".to_string())]))
    }
}
