//! Pre-tokenizers: how a text falls into pieces before anything is merged inside each of them.
mod named;
mod step;

pub use named::{known, named, names};
pub use step::{Behavior, Prepend, Step};
