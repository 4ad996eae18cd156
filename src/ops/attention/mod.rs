//! Attention: inside a batch with its gradients, over a cache, and over a cache with what comes before it.

mod append;
mod cached;
mod cost;
mod gradients;
mod op;
mod sizes;

pub use append::AttentionAppend;
pub use cached::AttentionCached;
pub use sizes::Attention;
