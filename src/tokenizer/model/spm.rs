//! SentencePiece's BPE, as Llama 2 and Mistral have it: pieces of characters in place of bytes, a space written `▁`, one put before the
//! text, and characters that are no piece spelled out in byte tokens `<0x00>` … `<0xFF>`.
//!
//! Pieces are kept with a plain space for `▁`. A GGUF gives scores and no merges: as Transformers does when it converts such a model, every
//! split of a piece into two others becomes a merge, ranked by the score of the piece.
use std::collections::HashMap;

use super::bpe::{Merges, Vocab};

/// The sign that SentencePiece writes for a space (U+2581).
const SPACE: char = '▁';

/// Where a space is put before a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tokenizer) enum Prefix {
    Never,
    /// Only at the very beginning.
    First,
    /// After every special token too.
    Always,
}

/// What a tokenizer of characters has besides its merges.
#[derive(Debug)]
pub(in crate::tokenizer) struct Chars {
    pub prefix: Prefix,
    /// No second space where the text already begins with one.
    pub once: bool,
    /// Pieces may not reach over the space before a word.
    pub words: bool,
    /// The space before a text is taken away again in decoding.
    pub strip: bool,
    /// Ids of text pieces: neither control nor byte tokens.
    pieces: HashMap<Vec<u8>, u32>,
    bytes: Box<[Option<u32>; 256]>,
}

/// The byte of a token `<0x41>`.
pub(in crate::tokenizer) fn byte_of(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (hex.len() == 2).then(|| u8::from_str_radix(hex, 16).ok()).flatten()
}

/// The text that a piece stands for.
pub(in crate::tokenizer) fn text_of(piece: &str) -> String {
    piece.replace(SPACE, " ")
}

impl Chars {
    /// `pieces` are the text pieces with their ids, `bytes` the byte tokens.
    pub fn new(pieces: impl Iterator<Item = (String, u32)>, bytes: impl Iterator<Item = (u8, u32)>) -> Self {
        let mut table = HashMap::new();
        for (text, id) in pieces {
            table.entry(text.into_bytes()).or_insert(id);
        }
        let mut by_byte = Box::new([None; 256]);
        bytes.for_each(|(b, id)| by_byte[b as usize] = Some(id));
        Chars { prefix: Prefix::Always, once: false, words: false, strip: true, pieces: table, bytes: by_byte }
    }

    /// The id of a text piece.
    pub fn find(&self, text: &[u8]) -> Option<u32> {
        self.pieces.get(text).copied()
    }

    /// The merges that the scores of the pieces amount to; a higher score merges first.
    pub fn merges(&self, scores: &[f32]) -> Merges {
        let score = |id: u32| scores.get(id as usize).copied().unwrap_or(0.0);
        let mut order: Vec<(&[u8], u32)> = self.pieces.iter().map(|(t, id)| (t.as_slice(), *id)).collect();
        order.sort_by(|a, b| score(b.1).total_cmp(&score(a.1)).then(a.1.cmp(&b.1)));
        let mut table = HashMap::new();
        let mut rank = 0;
        for (i, (text, id)) in order.iter().enumerate() {
            // Pieces of one score are merged from left to right.
            if i > 0 && score(order[i - 1].1) != score(*id) {
                rank += 1;
            }
            for cut in 1..text.len() {
                if let (Some(a), Some(b)) = (self.find(&text[..cut]), self.find(&text[cut..])) {
                    table.entry((a, b)).or_insert((rank, *id));
                }
            }
        }
        Merges::of_table(table)
    }

    /// The ids of a text; `first`: nothing came before it.
    pub fn encode(&self, merges: &Merges, text: &str, first: bool, unknown: Option<u32>, out: &mut Vec<u32>) {
        let mut spaced = text_of(text);
        let wanted = match self.prefix {
            Prefix::Never => false,
            Prefix::First => first,
            Prefix::Always => true,
        };
        if wanted && !(self.once && spaced.starts_with(' ')) {
            spaced.insert(0, ' ');
        }
        let mut rest = spaced.as_str();
        while !rest.is_empty() {
            let next = rest.char_indices().skip(1).find(|(_, c)| *c == ' ').map(|(at, _)| at);
            let end = next.filter(|_| self.words).unwrap_or(rest.len());
            self.encode_piece(merges, &rest[..end], unknown, out);
            rest = &rest[end..];
        }
    }

    fn encode_piece(&self, merges: &Merges, text: &str, unknown: Option<u32>, out: &mut Vec<u32>) {
        let mut ids = Vec::with_capacity(text.len());
        let mut unknown_before = false;
        for c in text.chars() {
            let mut buffer = [0; 4];
            let bytes = c.encode_utf8(&mut buffer).as_bytes();
            let known = self.find(bytes).map(|id| vec![id]).or_else(|| bytes.iter().map(|b| self.bytes[*b as usize]).collect());
            match known {
                Some(found) => ids.extend(found),
                // Several in a row are one.
                None if !unknown_before => ids.extend(unknown),
                None => {}
            }
            unknown_before = self.find(bytes).is_none() && bytes.iter().any(|b| self.bytes[*b as usize].is_none());
        }
        merges.merge(ids, out);
    }
}

/// The bytes of all tokens: text with spaces, single bytes, control tokens as they are written.
pub(in crate::tokenizer) fn vocab<'a>(tokens: impl Iterator<Item = (&'a str, Kind)>) -> Vocab {
    let mut vocab = Vocab::default();
    for (text, kind) in tokens {
        match kind {
            Kind::Byte(b) => vocab.push(&[b]),
            Kind::Text => vocab.push(text_of(text).as_bytes()),
            Kind::Control => vocab.push(text.as_bytes()),
        }
    }
    vocab.index();
    vocab
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tokenizer) enum Kind {
    Text,
    Byte(u8),
    Control,
}
