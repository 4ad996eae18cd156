//! From a Hugging Face folder to another one, and to a GGUF: the metadata that llama.cpp's converter writes, the tensors under its names and in its
//! order of rows.
//!
//! What is written is read again before any weight is: a configuration or a tokenizer that a GGUF cannot hold is an error that names the field,
//! and never a file that answers otherwise.

mod export;
mod fields;
mod folder;

pub use export::{GgufExport, Planned};
pub use fields::{Fields, ToGguf};
pub use folder::FolderExport;
