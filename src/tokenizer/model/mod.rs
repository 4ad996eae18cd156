//! From the pieces of a text to ids: byte pairs, with bytes or with characters as the smallest piece.
mod bpe;
mod spm;

pub use bpe::MAX_TOKENS;
pub(super) use bpe::{Merges, Unspell, Vocab};
pub(super) use spm::{Chars, Kind, Prefix, byte_of, text_of, vocab};
