//! fledgling: a Transformer that lives in a browser tab and learns from the person in front of it.
//!
//! [`prelude`] has what answering and training take. The modules behind it, from the top: [`tune`] (trainers), [`generate`] (answers), [`adapters`],
//! [`models`] (families, loading), [`nn`] (layers) and [`device`] (which device, measured), [`ops`], [`graph`] (the tape and its executors), [`gpu`] and
//! [`cpu`], and the files, texts and data sets of [`formats`], [`tokenizer`] and [`data`]. Each knows those below it alone.

pub mod adapters;
/// Seconds, natively and in a browser: for the command line's measurements.
#[doc(hidden)]
pub mod clock;
pub(crate) mod counters;
pub mod cpu;
pub mod data;
pub mod device;
pub mod error;
pub mod formats;
pub mod generate;
pub mod gpu;
pub mod graph;
pub(crate) mod lru;
pub mod models;
pub mod nn;
pub mod ops;
pub mod prelude;
pub mod tensor;
#[doc(hidden)]
pub mod text;
pub mod tokenizer;
pub mod tune;
#[cfg(target_arch = "wasm32")]
pub mod web;

pub use error::{Error, Result};
