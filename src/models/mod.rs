//! Architectures: configuration, parameter layout, what is recorded, loading.

mod blueprint;
pub mod config;
pub mod gpt2;
mod loader;
mod merge;
mod model;
mod names;
mod random;
mod rope;
mod tokenizer;

pub use blueprint::{Blueprint, Footprint};
pub use config::Config;
pub use gpt2::Gpt2Config;
#[cfg(not(target_arch = "wasm32"))]
pub use loader::load_path;
pub use loader::{LoadOptions, Loaded, ModelInfo, ModelLoader};
pub use merge::GgufMerge;
pub use model::{CachedInputs, Model, TrainInputs};
pub use rope::{Rope, RopeScaling};
pub use tokenizer::{TOKENIZER_FILES, folder_tokenizer, gguf_tokenizer};
