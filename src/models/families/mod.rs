//! One file per family, top to bottom: configuration, checkpoint keys, GGUF names and order of rows, recipe of a block. The registry has a
//! line for each.

pub mod bart;
pub mod bert;
pub mod cohere;
pub mod cohere2;
pub mod distilbert;
pub mod gemma;
pub mod gemma2;
pub mod gemma3;
pub mod glm4;
pub mod gpt2;
pub mod gpt_neox;
pub mod granite;
pub mod llama;
pub mod marian;
pub mod mbart;
pub mod mistral;
pub mod modernbert;
pub mod olmo2;
pub mod phi3;
pub mod qwen2;
pub mod qwen3;
pub mod roberta;
pub mod smollm3;
pub mod stablelm;
pub mod starcoder2;
