//! What encoders are asked for: vectors of texts, masked tokens, classes. Sequences are read many at a time, and what is said of one does not
//! depend on those beside it.

mod pass;
mod text;
mod tops;

pub use pass::{Encoded, Encodings};
pub use text::sentence_ids;
pub use tops::{softmax, top};
