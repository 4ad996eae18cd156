//! fledgling: a Transformer that lives in a browser tab and learns from the person in front of it.
pub mod adapters;
pub mod clock;
pub mod counters;
pub mod cpu;
pub mod data;
pub mod device;
pub mod error;
pub mod formats;
pub mod generate;
pub mod gpu;
pub mod graph;
pub mod lru;
pub mod models;
pub mod nn;
pub mod ops;
pub mod tensor;
pub mod tokenizer;
pub mod tune;
#[cfg(target_arch = "wasm32")]
pub mod web;

pub use error::{Error, Result};
