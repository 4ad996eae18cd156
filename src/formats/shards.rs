//! `model.safetensors.index.json`: which file holds which tensor.
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::text::{not_json, without_bom};

/// The index of a model in several files.
#[derive(Clone, Debug)]
pub struct ShardIndex {
    /// Bytes of all tensors, where the index says so.
    pub total_size: Option<u64>,
    /// Tensor name to file name.
    pub weight_map: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    metadata: serde_json::Map<String, serde_json::Value>,
    weight_map: BTreeMap<String, String>,
}

impl ShardIndex {
    /// Parses the index; `file` is its name for messages. Shards must lie beside it: names with a path are refused.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let File { metadata, weight_map } = serde_json::from_str(without_bom(text))
            .map_err(|e| Error::file(file, not_json(text, || format!("is not an index of shards: {e}"))))?;
        if weight_map.is_empty() {
            return Err(Error::file(file, "its weight_map is empty"));
        }
        for (tensor, shard) in &weight_map {
            let plain = !shard.is_empty() && !shard.starts_with('.') && !shard.contains(['/', '\\', ':', '\0']);
            if !plain {
                return Err(Error::file(file, format!("tensor {tensor:?} is in {shard:?}, expected a plain file name")));
            }
        }
        let total_size = metadata.get("total_size").and_then(|v| v.as_u64());
        Ok(ShardIndex { total_size, weight_map })
    }

    /// The files, each once, in order.
    pub fn files(&self) -> Vec<&str> {
        let set: std::collections::BTreeSet<&str> = self.weight_map.values().map(String::as_str).collect();
        set.into_iter().collect()
    }

    /// Checks that a shard holds what the index says it holds.
    pub fn check(&self, shard: &str, container: &super::Container) -> Result<()> {
        for (tensor, file) in &self.weight_map {
            if file == shard && container.tensor(tensor).is_none() && !container.skipped.iter().any(|s| &s.name == tensor) {
                return Err(Error::file(shard, format!("tensor {tensor:?} is missing, the index says it is here")));
            }
        }
        Ok(())
    }
}
