//! A model with what came along with it.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;

use crate::models::{Model, Sentence};
use crate::nn::KvCacheDtype;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// What is known of a loaded model.
#[derive(Clone, Debug, Serialize)]
pub struct ModelInfo {
    pub name: String,
    pub architecture: String,
    pub parameters: u64,
    pub layers: usize,
    pub hidden_size: usize,
    pub context_length: usize,
    pub vocab_size: usize,
    /// Type of most of the weights.
    pub quantization: String,
    pub file_bytes: u64,
    /// Bytes of the weights on the device.
    pub gpu_bytes: u64,
    pub sha256: Option<String>,
    /// Last parts of the paths of all linears.
    pub target_modules: Vec<String>,
}

/// A model with what came along with it; a copy is another handle of it. [`crate::adapters::LoadedModel`] is made from it.
#[derive(Clone)]
pub struct Loaded {
    pub model: Rc<Model>,
    /// With its chat template; `None` where the files have no tokenizer.
    pub tokenizer: Option<Rc<Tokenizer>>,
    /// Why there is none although the files have one: where and what. Token ids can still be used.
    pub tokenizer_error: Option<(String, String)>,
    /// How vectors of texts are made, where the files say it.
    pub sentence: Option<Sentence>,
    /// Why they cannot be used although they say it: where and what.
    pub sentence_error: Option<(String, String)>,
    /// What generators keep keys and values as.
    pub kv_cache_dtype: KvCacheDtype,
    pub info: ModelInfo,
}

impl Loaded {
    /// A model that came from no file.
    pub fn of(model: Model, tokenizer: Option<Rc<Tokenizer>>, name: &str) -> Loaded {
        let model = Rc::new(model);
        let context = model.config().max_position_embeddings;
        let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
        for desc in model.params().paths().filter_map(|p| Some(model.params().tensor(model.params().find(p)?.id).desc().clone())) {
            *bytes.entry(desc.dtype.name()).or_default() += desc.gpu_bytes();
        }
        let most = bytes.into_iter().max_by_key(|b| b.1).map_or("F32", |b| b.0).to_string();
        let info = info(&model, name.to_string(), context, 0, None, most);
        Loaded {
            tokenizer,
            tokenizer_error: None,
            sentence: None,
            sentence_error: None,
            kv_cache_dtype: KvCacheDtype::default(),
            info,
            model,
        }
    }

    /// How vectors of texts are made.
    ///
    /// # Errors
    /// [`Error::BadConfig`] where the files ask for what is not supported.
    pub fn sentence(&self) -> Result<Sentence> {
        match &self.sentence_error {
            Some((file, message)) => Err(Error::config(file, message)),
            None => Ok(self.sentence.unwrap_or_default()),
        }
    }

    /// The tokenizer.
    ///
    /// # Errors
    /// [`Error::BadConfig`] where the files have none, [`Error::BadFile`] where they have one that cannot be used.
    pub fn tokenizer(&self) -> Result<&Rc<Tokenizer>> {
        if let Some((file, message)) = &self.tokenizer_error {
            return Err(Error::file(file, message));
        }
        self.tokenizer.as_ref().ok_or_else(|| Error::config("tokenizer", "the model's files have none: only token ids can be used"))
    }
}

/// What is said of a model that was loaded.
pub fn info(model: &Model, name: String, context: usize, file_bytes: u64, sha256: Option<String>, quantization: String) -> ModelInfo {
    let c = model.config();
    let mut target_modules: Vec<String> = Vec::new();
    for path in model.linear_paths() {
        let last = path.rsplit('.').next().unwrap_or(path);
        if !target_modules.iter().any(|t| t == last) {
            target_modules.push(last.to_string());
        }
    }
    ModelInfo {
        name,
        architecture: c.model_type.clone(),
        parameters: model.params().parameters(),
        layers: c.num_hidden_layers,
        hidden_size: c.hidden_size,
        context_length: context,
        vocab_size: c.vocab_size,
        quantization,
        file_bytes,
        gpu_bytes: model.params().bytes(),
        sha256,
        target_modules,
    }
}
