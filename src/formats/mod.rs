//! File formats: safetensors, GGUF, PEFT adapters. A leaf.
//!
//! Every file is treated as hostile: counts, lengths, products, offsets and overlaps are checked before anything
//! is allocated for them, and whatever is wrong is an [`Error::BadFile`](crate::Error::BadFile) that names the
//! file, the key or tensor, what was found and what was expected.
//!
//! One reader serves disk, `fetch` and `File`: [`StreamReader`] is pushed bytes as they arrive, first yields the
//! [`Container`] (names, types, shapes, places) and then tensor bytes, never holding more than about 1 MiB of them.
mod container;
pub mod gguf;
mod header;
mod metadata;
pub mod peft;
pub mod safetensors;
mod shards;
mod stream;

pub use container::{Container, ContainerKind, Foreign, Split, TensorInfo};
pub use header::HeaderParser;
pub use metadata::{Array, Metadata, Nested, StrArray, Value};
pub use shards::ShardIndex;
pub use stream::{Event, StreamReader, Summary};

/// No header may be larger (the tokenizer's tables live in a GGUF's header: 20 MB for the largest vocabularies).
pub const MAX_HEADER_BYTES: u64 = 64 << 20;
/// No file may claim more tensors.
pub const MAX_TENSORS: u64 = 100_000;
/// No file may claim more metadata keys.
pub const MAX_KEYS: u64 = 100_000;
/// Longest tensor name or metadata key, in bytes.
pub const MAX_NAME_BYTES: u64 = 1024;
/// Longest single metadata string, in bytes.
pub const MAX_STRING_BYTES: u64 = 16 << 20;
/// Most dimensions of a tensor.
pub const MAX_DIMS: usize = 8;
