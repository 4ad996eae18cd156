//! fledgling: a Transformer that lives in a browser tab and learns from the person in front of it.
//!
//! [`prelude`] has what answering and training take. The modules behind it, from the top: [`tune`] (trainers), [`generate`] (answers) and [`encode`]
//! (vectors, classes), [`adapters`], [`models`] (families, loading), [`nn`] (layers) and [`device`] (which device, measured), [`ops`], [`graph`] (the
//! tape and its executors), [`gpu`] and [`cpu`], and the files, texts and data sets of [`formats`], [`tokenizer`] and [`data`]. Each knows those below
//! it alone.
//!
//! ```no_run
//! use std::rc::Rc;
//!
//! use fledgling::prelude::*;
//!
//! fn main() -> Result<()> {
//!     pollster::block_on(async {
//!         let exec = Exec::Gpu(Gpu::new().await?); // or Exec::Cpu(Cpu::new(CpuOptions::default()))
//!         let model = Rc::new(LoadedModel::load(&exec, "model.gguf", LoadOptions::default(), &mut |_, _| ()).await?);
//!         let ask = [serde_json::json!({"role": "user", "content": "Hello!"})];
//!         let prompt = model.tokenizer()?.encode_chat(&ask, true)?;
//!         let mut generator = Generator::new(model)?;
//!         let options = GenerateOptions { max_new_tokens: 64, ..GenerateOptions::default() };
//!         let answers = generator.run(&prompt, options, &mut |_| ()).await?;
//!         println!("{}", answers[0].text);
//!         Ok(())
//!     })
//! }
//! ```
//!
//! A browser's processor is used by SIMD128 where the build switches it on (`-C target-feature=+simd128`), else by scalar kernels.

pub mod adapters;
/// Seconds, natively and in a browser: for the command line's measurements.
#[doc(hidden)]
pub mod clock;
pub mod data;
pub mod device;
pub mod encode;
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
#[doc(hidden)]
pub mod text;
pub mod tokenizer;
pub mod tune;
#[cfg(target_arch = "wasm32")]
pub mod web;

pub use error::{Error, Result};
pub(crate) use fledgling_compute::{counters, simd_vec};
#[doc(inline)]
pub use fledgling_compute::{cpu, tensor};
