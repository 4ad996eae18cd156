//! One file per family, top to bottom: configuration, checkpoint keys, GGUF names and order of rows, recipe of a block. The registry has a
//! line for each.

pub mod gpt2;
pub mod llama;
pub mod mistral;
pub mod qwen2;
pub mod qwen3;
