//! Adapters: small changes to a model that learn while its weights stay as they are, and how PEFT writes them.

mod kind;
mod kinds;
mod loaded;
mod lora;
mod network;
mod p_tuning;
mod prefix_tuning;
mod prompt_tuning;
mod random;
mod registry;
mod set;
mod stack;
mod virtual_tokens;

pub use loaded::LoadedModel;
pub use lora::{LoraSet, SCORE, Whole};
pub use registry::{ActiveAdapter, AdapterChoice, AdapterInfo, Adapters};
pub use set::{AdapterSet, FRONT, PlacedAdapter};
pub use stack::{AdapterStack, ChosenAdapters};
