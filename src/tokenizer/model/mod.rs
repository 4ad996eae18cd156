//! From the pieces of a text to ids. Each kind of model is one file, and one variant here.
mod bpe;
mod vocab;

pub use bpe::{Bpe, Pairs, Ranks, Scratch, byte_token};
pub use vocab::{MAX_TOKENS, Vocab};

/// A model: which tokens a piece of text falls into.
#[derive(Debug)]
pub enum Model {
    /// Byte pair encoding, with bytes in GPT-2's spelling or with characters.
    Bpe(Bpe),
}

impl Model {
    /// Calls `on` for each token of a piece with its id and the bytes of the piece that it stands for.
    pub fn tokenize(&self, piece: &str, scratch: &mut Scratch, on: &mut dyn FnMut(u32, usize, usize)) {
        match self {
            Model::Bpe(bpe) => bpe.tokenize(piece, scratch, on),
        }
    }

    /// Its tokens.
    pub fn vocab(&self) -> &Vocab {
        match self {
            Model::Bpe(bpe) => &bpe.vocab,
        }
    }
}
