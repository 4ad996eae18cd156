//! From ids to a text, as they come.
mod stream;

pub use stream::{DecodeStream, StopMatcher};
