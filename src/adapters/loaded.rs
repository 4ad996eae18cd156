//! A loaded model with its adapters.

use std::ops::Deref;
#[cfg(not(target_arch = "wasm32"))]
use std::path::Path;
use std::rc::Rc;

use super::{AdapterChoice, Adapters};
use crate::models::{Classifier, Loaded, Model, Scope};
use crate::nn::KvCacheDtype;
use crate::tokenizer::Tokenizer;
#[cfg(not(target_arch = "wasm32"))]
use crate::{
    Result,
    graph::Exec,
    models::{LoadOptions, load_path},
};

/// What is generated with and trained: a loaded model and the adapters that have been put on it. A copy is another handle of both.
#[derive(Clone)]
pub struct LoadedModel {
    base: Loaded,
    pub adapters: Rc<Adapters>,
}

impl From<Loaded> for LoadedModel {
    fn from(base: Loaded) -> LoadedModel {
        LoadedModel { adapters: Rc::new(Adapters::new(base.model.clone())), base }
    }
}

impl Deref for LoadedModel {
    type Target = Loaded;

    fn deref(&self) -> &Loaded {
        &self.base
    }
}

impl LoadedModel {
    /// The classifier that a call with an adapter uses: the adapter's own, else the model's.
    ///
    /// # Errors
    /// [`crate::Error::BadConfig`] where there is none, [`crate::Error::BadAdapter`] for an unknown name.
    pub fn classifier(&self, choice: &AdapterChoice) -> crate::Result<Classifier> {
        let e = self.base.model.encoder("classification")?;
        let set = self.adapters.resolve(choice)?.map(|a| a.set);
        let of = |scope: Scope| {
            let parts = self.base.model.classifier_parts(scope, 1).ok()?;
            let held = set.as_ref()?.whole(&parts.last()?.0)?.desc().len();
            Some(if held == e.classifier.labels.len() { e.classifier.clone() } else { Classifier::of(scope, held) })
        };
        let found = of(e.classifier.scope).or_else(|| e.classifies.then(|| e.classifier.clone()));
        match found {
            Some(Classifier { refused: Some((field, why)), .. }) => Err(crate::Error::config(field, why)),
            Some(own) => Ok(own),
            None => Err(crate::Error::config("model", "neither its files nor the adapter have a classifier")),
        }
    }

    /// A model that came from no file.
    pub fn of(model: Model, tokenizer: Option<Rc<Tokenizer>>, name: &str) -> LoadedModel {
        Loaded::of(model, tokenizer, name).into()
    }

    /// Loads a model file (GGUF), or a folder with safetensors and what lies beside them. `progress` hears of bytes read and of all of them.
    ///
    /// # Errors
    /// As [`ModelLoader`](crate::models::ModelLoader); [`Error::BadFile`](crate::Error::BadFile) for what cannot be read.
    #[cfg(not(target_arch = "wasm32"))]
    pub async fn load(
        exec: &Exec,
        path: impl AsRef<Path>,
        options: LoadOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<LoadedModel> {
        Ok(load_path(exec, path.as_ref(), options, progress).await?.into())
    }

    /// The same with keys and values kept as `dtype`.
    #[must_use]
    pub fn with_kv_cache_dtype(mut self, dtype: KvCacheDtype) -> LoadedModel {
        self.base.kv_cache_dtype = dtype;
        self
    }
}
