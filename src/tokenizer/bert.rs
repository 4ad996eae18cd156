//! What stands around BERT's vocabulary.
use super::decode::{self, Decoder};
use super::normalize::{self, Normalizer};
use super::pretokenize::Step;

/// What BERT's tokenizer does around its vocabulary.
#[derive(Debug)]
pub struct Bert {
    pub lowercase: bool,
    pub strip_accents: bool,
    pub chinese: bool,
}

impl Bert {
    /// Normalizers, pre-tokenizer and decoder.
    pub fn steps(&self) -> (Vec<Normalizer>, Vec<Step>, Decoder) {
        let mut normalizers = Vec::new();
        normalize::bert(true, self.chinese, self.strip_accents, self.lowercase, &mut normalizers);
        let decoder = Decoder::new(vec![decode::Step::WordPiece { prefix: "##".into(), cleanup: true }]).expect("one step");
        (normalizers, Step::bert(), decoder)
    }
}

/// Longer words are unknown.
pub const LONGEST_WORD: usize = 100;
