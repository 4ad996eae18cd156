//! How a text falls into pieces before any merging.
mod split;

pub use split::Splitter;
