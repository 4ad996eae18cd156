//! What it takes to load a model, to let it answer and to train it: `use fledgling::prelude::*`.

pub use crate::adapters::{AdapterChoice, AdapterInfo, Adapters, LoadedModel};
pub use crate::cpu::{Cpu, CpuOptions};
pub use crate::error::{Error, Result};
pub use crate::formats::peft::{LoraAdapter, LoraConfig, PeftAdapter, PeftConfig};
pub use crate::generate::{Candidate, Event, GenerateOptions, Generator};
pub use crate::gpu::{Gpu, GpuOptions};
pub use crate::graph::Exec;
pub use crate::models::{LoadOptions, ModelInfo, ModelLoader};
pub use crate::tune::Training;
