//! What families read their configurations with: the fields of a `config.json`, the metadata of a GGUF, and what most of them share.

pub mod decoder;
pub mod encoder;
pub mod gguf;
pub mod json;
pub mod rope;
pub mod translator;
