//! The integration suite: one binary, run natively (`cargo test --no-default-features --test suite`) and in headless
//! Chromium (`wasm-pack test`). It fails, never skips, when there is no WebGPU adapter.
#[macro_use]
mod harness;

// The leaves.
mod formats;
mod peft;
mod templates;
mod tokenizer;
mod tokenizer_encoders;
mod tokenizer_files;
mod tokenizer_shapes;
mod tokenizer_spm;

mod adapter;
mod adapters;
mod beams;
mod context;
mod data;
mod declared;
mod encoders;
mod evaluation;
mod families;
mod fixture;
mod generate;
mod hostile;
mod hostile_templates;
mod legal;
mod long;
mod memory;
mod methods;
mod models;
mod opcase;
mod ops_adapter;
mod ops_attention;
mod ops_elementwise;
mod ops_embedding;
mod ops_half;
mod ops_head;
mod ops_linear;
mod ops_loss;
mod ops_norm;
mod ops_optim;
mod ops_optim8;
mod ops_peak;
mod ops_reduce;
mod ops_rope;
mod ops_sample;
mod pace;
mod plan;
mod ppo;
mod prefix;
mod profile;
mod resume;
mod reward;
mod rollouts;
mod rope_tables;
mod rounds;
mod split;
mod stored;
mod supervised;
mod training;
mod translators;
mod tuning;
mod writing;
// Reads the sources from disk: native only.
#[cfg(not(target_arch = "wasm32"))]
mod coverage;
#[cfg(not(target_arch = "wasm32"))]
mod cycles;
#[cfg(not(target_arch = "wasm32"))]
mod kinds;
mod layering;
#[cfg(all(not(target_arch = "wasm32"), feature = "cli"))]
mod pipe;
#[cfg(not(target_arch = "wasm32"))]
mod readme;
#[cfg(not(target_arch = "wasm32"))]
mod shaders;
#[cfg(not(target_arch = "wasm32"))]
mod support;

// Minutes on a software adapter in a browser, where nothing of it is another.
#[cfg(not(target_arch = "wasm32"))]
mod planning;

// WebGPU is there in a dedicated worker, and that is where the engine lives on the page.
#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_dedicated_worker);
