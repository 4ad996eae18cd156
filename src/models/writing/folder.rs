//! A folder as Transformers writes it, of a model whose weights have changed.

use std::collections::BTreeMap;

use crate::formats::{Container, safetensors};
use crate::models::model::Model;
use crate::tensor::DType;
use crate::{Error, Result};

/// The file of weights in such a folder.
const WEIGHTS: &str = "model.safetensors";

/// Writes a model under the names of the files that it came from, all of it F32 and in one file.
pub struct FolderExport {
    /// (name in the file, checkpoint key, shape)
    tensors: Vec<(String, String, Vec<usize>)>,
}

impl FolderExport {
    /// From the headers of the folder's safetensors files.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for weights that the files hold otherwise than one by one.
    pub fn new(model: &Model, files: &[Container]) -> Result<FolderExport> {
        let mut left: Vec<&str> = model.params().paths().collect();
        let mut tensors = Vec::new();
        for t in files.iter().flat_map(|c| &c.tensors) {
            let key = model.config().names.key_of_safetensors(&t.name);
            let Some(p) = model.params().find(&key).filter(|p| p.shape.iter().product::<usize>() == t.shape.iter().product::<usize>())
            else {
                continue;
            };
            if let Some(i) = left.iter().position(|path| *path == key) {
                left.swap_remove(i);
                tensors.push((t.name.clone(), key, p.shape.clone()));
            }
        }
        match left.iter().min() {
            None => Ok(FolderExport { tensors }),
            Some(path) => {
                let message = format!("{path} is kept in another form in this family's files, to which nothing is written back");
                Err(Error::config("full", message))
            }
        }
    }

    /// The bytes of `model.safetensors`, one tensor after the other.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub async fn weights(&self, model: &Model) -> Result<Vec<u8>> {
        let described: Vec<_> = self.tensors.iter().map(|(name, _, shape)| (name.as_str(), DType::F32, shape.as_slice())).collect();
        let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
        let (mut out, order) = safetensors::begin(WEIGHTS, &described, &metadata)?;
        for (_, key, _) in order.iter().map(|i| &self.tensors[*i]) {
            out.extend_from_slice(bytemuck::cast_slice(&model.params().read(key).await?));
        }
        Ok(out)
    }

    /// `config.json` of the new folder.
    ///
    /// # Errors
    /// [`Error::BadFile`].
    pub fn config(text: &str) -> Result<String> {
        let bad = |e: serde_json::Error| Error::file("config.json", e.to_string());
        let mut config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(bad)?;
        for name in ["torch_dtype", "dtype"].into_iter().filter(|name| config.contains_key(*name)).collect::<Vec<_>>() {
            config.insert(name.into(), "float32".into());
        }
        serde_json::to_string_pretty(&config).map_err(bad)
    }
}
