//! Adapters: small changes to a model that learn while its weights stay as they are, and how PEFT writes them.

mod loaded;
mod lora;
mod prefix;
mod prompt;
mod random;
mod registry;
mod stack;

pub use loaded::LoadedModel;
pub use lora::{LoraSet, SCORE, Whole};
pub use prefix::{ChosenPrefix, PrefixKeys};
pub use prompt::{ChosenPrompt, PromptEmbeddings};
pub use registry::{ActiveAdapter, AdapterChoice, AdapterInfo, Adapters};
pub use stack::{AdapterStack, ChosenAdapters};
