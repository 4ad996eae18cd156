//! From the pieces of a text to ids. Each kind of model is one file, and one variant here.
mod bpe;
mod read;
mod trie;
mod unigram;
mod vocab;
mod word_piece;

pub use bpe::{Bpe, Pairs, Ranks, byte_token};
pub use read::read;
pub use unigram::Unigram;
pub use vocab::{MAX_TOKENS, Vocab};
pub use word_piece::WordPiece;

/// A model: which tokens a piece of text falls into.
#[derive(Debug)]
pub enum Model {
    /// Byte pair encoding, with bytes in GPT-2's spelling or with characters.
    Bpe(Bpe),
    /// The longest token that fits, then the next.
    WordPiece(WordPiece),
    /// The most likely pieces.
    Unigram(Unigram),
    /// Each piece is a token as it is, or unknown.
    WordLevel { vocab: Vocab, unknown: u32 },
}

/// Room that is used again from piece to piece.
#[derive(Debug, Default)]
pub struct Scratch {
    bpe: bpe::Scratch,
    steps: Vec<unigram::Step>,
    found: Vec<(u32, usize)>,
}

impl Model {
    /// Calls `on` for each token of a piece with its id and the bytes of the piece that it stands for.
    pub fn tokenize(&self, piece: &str, scratch: &mut Scratch, on: &mut dyn FnMut(u32, usize, usize)) {
        match self {
            Model::Bpe(bpe) => bpe.tokenize(piece, &mut scratch.bpe, on),
            Model::WordPiece(m) => m.tokenize(piece, &mut scratch.found, on),
            Model::Unigram(m) => m.tokenize(piece, &mut scratch.steps, &mut scratch.found, on),
            Model::WordLevel { vocab, unknown } => on(vocab.find(piece).unwrap_or(*unknown), 0, piece.len()),
        }
    }

    /// Its tokens.
    pub fn vocab(&self) -> &Vocab {
        match self {
            Model::Bpe(bpe) => &bpe.vocab,
            Model::WordPiece(m) => &m.vocab,
            Model::Unigram(m) => &m.vocab,
            Model::WordLevel { vocab, .. } => vocab,
        }
    }

    /// True where a token is the text that it stands for, and not what the vocabulary writes.
    pub fn writes_the_text(&self, id: u32) -> bool {
        matches!(self, Model::Unigram(m) if m.is_unknown(id))
    }
}
