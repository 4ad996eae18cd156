//! The tokenizer in a GGUF's metadata.
use super::model::{self as spm, Chars, Kind, MAX_TOKENS, Merges, Prefix, Unspell, Vocab};
use super::{Added, Parts, Splitter, Tokenizer};
use crate::error::{Error, Result};

/// GGUF's `tokenizer.*` keys. The caller takes them from the file's metadata, which this module does not know.
#[derive(Clone, Debug, Default)]
pub struct GgufVocab<'a> {
    /// The file's name, for messages.
    pub file: &'a str,
    /// `tokenizer.ggml.model`: `gpt2` (byte-level BPE) or `llama` (SentencePiece BPE).
    pub model: &'a str,
    /// `tokenizer.ggml.pre`; files without it are taken for GPT-2's.
    pub pre: Option<&'a str>,
    /// `tokenizer.ggml.tokens`, in the byte-level spelling.
    pub tokens: Vec<&'a str>,
    /// `tokenizer.ggml.token_type` (1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte); may be empty.
    pub token_types: Vec<i32>,
    /// `tokenizer.ggml.merges`: two spelled tokens with a space between them.
    pub merges: Vec<&'a str>,
    /// `tokenizer.ggml.scores`, for `llama`: pieces with higher ones merge first.
    pub scores: Vec<f32>,
    /// `tokenizer.ggml.unknown_token_id`
    pub unknown: Option<u32>,
    /// `tokenizer.ggml.bos_token_id`
    pub bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`
    pub eos: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`
    pub pad: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.chat_template`
    pub chat_template: Option<&'a str>,
}

impl Tokenizer {
    /// A tokenizer from a GGUF's metadata.
    pub fn from_gguf(v: GgufVocab) -> Result<Self> {
        let bad = |message: String| Error::file(v.file, message);
        if v.model == "llama" {
            return Self::sentencepiece(v);
        }
        if v.model != "gpt2" {
            let message = "supported are \"gpt2\" (byte-level BPE) and \"llama\" (SentencePiece BPE)";
            return Err(bad(format!("tokenizer.ggml.model is {:?}, {message}", v.model)));
        }
        let pre = v.pre.unwrap_or("gpt-2");
        let splitter = Splitter::from_gguf(pre)
            .ok_or_else(|| bad(format!("tokenizer.ggml.pre is {pre:?}, supported are {}", Splitter::GGUF_NAMES)))?;
        v.check_lengths()?;
        let unspell = Unspell::new();
        let mut vocab = Vocab::default();
        let mut added = Vec::new();
        for (id, text) in v.tokens.iter().enumerate() {
            let ty = v.token_types.get(id).copied().unwrap_or(1);
            if matches!(ty, 2..=4) {
                vocab.push(text.as_bytes());
                let special = ty != 4;
                added.push(Added { id: id as u32, text: text.to_string(), special, lstrip: false, rstrip: false });
            } else {
                // What is not in the byte-level spelling is meant as it stands.
                vocab.push(&unspell.bytes(text).unwrap_or_else(|| text.as_bytes().to_vec()));
            }
        }
        vocab.index();
        let merges = v.merges.iter().enumerate().map(|(rank, merge)| {
            // The separator is the first space after the first character: a spelled token contains none.
            let pair = merge.split_once(' ').and_then(|(a, b)| Some((unspell.bytes(a)?, unspell.bytes(b)?)));
            pair.ok_or_else(|| bad(format!("tokenizer.ggml.merges[{rank}] is {merge:?}, expected two tokens")))
        });
        let merges = Merges::new(v.file, &vocab, merges)?;
        let llama3 = splitter == Splitter::Llama3;
        Tokenizer::build(Parts {
            file: v.file.to_string(),
            vocab,
            merges,
            chars: None,
            splitter,
            ignore_merges: llama3,
            add_prefix_space: v.add_space_prefix.unwrap_or(false),
            added,
            bos: v.bos,
            eos: v.eos,
            pad: v.pad,
            unknown: None,
            add_bos: v.add_bos.unwrap_or(llama3 && v.bos.is_some()),
            add_eos: v.add_eos.unwrap_or(false) && v.eos.is_some(),
            template: v.chat_template.map(str::to_string),
        })
    }

    /// The kind that Llama 2 and Mistral have.
    fn sentencepiece(v: GgufVocab) -> Result<Self> {
        v.check_lengths()?;
        let kinds: Vec<Kind> = (v.tokens.iter().enumerate())
            .map(|(id, text)| match v.token_types.get(id).copied().unwrap_or(if spm::byte_of(text).is_some() { 6 } else { 1 }) {
                6 => spm::byte_of(text).map_or(Kind::Text, Kind::Byte),
                2..=4 => Kind::Control,
                _ => Kind::Text,
            })
            .collect();
        let added = (v.tokens.iter().zip(&kinds).enumerate())
            .filter(|(_, (_, kind))| **kind == Kind::Control)
            .map(|(id, (text, _))| {
                let special = v.token_types.get(id) != Some(&4);
                Added { id: id as u32, text: text.to_string(), special, lstrip: false, rstrip: false }
            })
            .collect();
        let ids = || v.tokens.iter().zip(&kinds).zip(0u32..);
        let mut chars = Chars::new(
            ids().filter(|((_, kind), _)| **kind == Kind::Text).map(|((text, _), id)| (spm::text_of(text), id)),
            ids().filter_map(|((_, kind), id)| if let Kind::Byte(b) = kind { Some((*b, id)) } else { None }),
        );
        let prefix = v.add_space_prefix.unwrap_or(true);
        chars.prefix = if prefix { Prefix::Always } else { Prefix::Never };
        chars.strip = prefix;
        let merges = chars.merges(&v.scores);
        let unknown = v.unknown.or_else(|| v.token_types.iter().position(|t| *t == 2).map(|i| i as u32));
        Tokenizer::build(Parts {
            file: v.file.to_string(),
            vocab: spm::vocab(v.tokens.iter().copied().zip(kinds.iter().copied())),
            merges,
            chars: Some(chars),
            splitter: Splitter::Whole,
            ignore_merges: false,
            add_prefix_space: false,
            added,
            bos: v.bos,
            eos: v.eos,
            pad: v.pad,
            unknown,
            add_bos: v.add_bos.unwrap_or(true) && v.bos.is_some(),
            add_eos: v.add_eos.unwrap_or(false) && v.eos.is_some(),
            template: v.chat_template.map(str::to_string),
        })
    }
}

impl GgufVocab<'_> {
    fn check_lengths(&self) -> Result<()> {
        let bad = |message: String| Error::file(self.file, message);
        let n = self.tokens.len();
        if n == 0 || n > MAX_TOKENS {
            return Err(bad(format!("tokenizer.ggml.tokens has {n} entries, expected 1 to {MAX_TOKENS}")));
        }
        if !self.token_types.is_empty() && self.token_types.len() != n {
            return Err(bad(format!("tokenizer.ggml.token_type has {} entries for {n} tokens", self.token_types.len())));
        }
        if self.model == "llama" && self.scores.len() != n {
            return Err(bad(format!("tokenizer.ggml.scores has {} entries for {n} tokens", self.scores.len())));
        }
        if self.scores.iter().any(|s| !s.is_finite()) {
            return Err(bad("tokenizer.ggml.scores holds what is no number".into()));
        }
        Ok(())
    }
}
