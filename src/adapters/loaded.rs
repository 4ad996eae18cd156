//! A loaded model with its adapters.

use std::ops::Deref;
use std::rc::Rc;

use super::Adapters;
use crate::models::{Loaded, Model};
use crate::nn::KvCacheDtype;
use crate::tokenizer::Tokenizer;

/// What is generated with and trained: a loaded model and the adapters that have been put on it.
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
    /// A model that came from no file.
    pub fn of(model: Model, tokenizer: Option<Rc<Tokenizer>>, name: &str) -> LoadedModel {
        Loaded::of(model, tokenizer, name).into()
    }

    /// The same with keys and values kept as `dtype`.
    #[must_use]
    pub fn with_kv_cache_dtype(mut self, dtype: KvCacheDtype) -> LoadedModel {
        self.base.kv_cache_dtype = dtype;
        self
    }
}
