//! Layers: a parameter store, linear with its LoRA hook, norms, embedding, attention, mlp, block, key/value cache.

mod adapter;
mod attention;
mod block;
mod cross;
mod embedding;
mod kv_cache;
mod linear;
mod mlp;
mod norm;
mod params;

pub use adapter::{Adapter, LowRank, Magnitude, Prefix, Prompt};
pub use attention::{Attention, Keys, Pass, Projections, RopeTable};
pub use block::Block;
pub use cross::{CrossAttention, Source};
pub use embedding::Embedding;
pub use kv_cache::{KvCache, KvCacheDtype, Move};
pub use linear::{Extra, Linear, Part};
pub use mlp::{Mlp, Up};
pub use norm::{Branch, Norm, NormOp};
pub use params::{Param, ParamId, ParamSpec, ParamStore, PartSpec, transpose};

/// What a forward pass is recorded with.
#[derive(Clone, Copy)]
pub struct Forward<'a> {
    pub params: &'a ParamStore,
    /// The adapter that changes it; low-rank products are added times `step.lora`.
    pub adapter: Option<&'a dyn Adapter>,
    /// Training: dropout is on and nothing is fused that has no backward pass.
    pub train: bool,
}
