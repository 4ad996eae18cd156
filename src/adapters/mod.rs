//! Adapters: small changes to a model that learn while its weights stay as they are, and how PEFT writes them.

mod loaded;
mod lora;
mod registry;

pub use loaded::LoadedModel;
pub use lora::LoraSet;
pub use registry::{ActiveAdapter, AdapterChoice, AdapterInfo, Adapters};
