//! The `model` of a `tokenizer.json`.
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Model;
use super::bpe::{Bpe, Pairs, Ranks, byte_token};
use super::unigram::Unigram;
use super::vocab::{MAX_TOKENS, Vocab};
use super::word_piece::WordPiece;

/// Two tokens each, in the order of their ranks.
type Merges = Vec<(String, String)>;

/// What tells the kinds of models apart.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow)]
    vocab: Option<&'a RawValue>,
    #[serde(borrow)]
    max_input_chars_per_word: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct BpeFields {
    vocab: Tokens,
    #[serde(default)]
    merges: Vec<Merge>,
    unk_token: Option<String>,
    dropout: Option<f64>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

#[derive(Deserialize)]
struct WordPieceFields {
    vocab: Tokens,
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
}

#[derive(Deserialize)]
struct WordLevelFields {
    vocab: Tokens,
    unk_token: String,
}

#[derive(Deserialize)]
struct UnigramFields {
    vocab: Vec<(String, f64)>,
    unk_id: Option<usize>,
    #[serde(default)]
    byte_fallback: bool,
}

/// Tokens with their ids, in the order of the file.
struct Tokens(Vec<(String, u32)>);

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Tokens;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tokens with their ids")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tokens, A::Error> {
                let mut out = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    out.push(entry);
                }
                Ok(Tokens(out))
            }
        }
        d.deserialize_map(V)
    }
}

/// Two tokens. Old files write `"a b"`, new ones `["a", "b"]`.
struct Merge(String, String);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Merge;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a merge of two tokens, \"a b\" or [\"a\", \"b\"]")
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<Merge, E> {
                let pair = s.split_once(' ').filter(|(_, b)| !b.contains(' '));
                let (a, b) = pair.ok_or_else(|| E::custom(format!("the merge {s:?} is not two tokens")))?;
                Ok(Merge(a.to_string(), b.to_string()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Merge, A::Error> {
                let mut next = || seq.next_element::<String>();
                match (next()?, next()?, next()?) {
                    (Some(a), Some(b), None) => Ok(Merge(a, b)),
                    _ => Err(A::Error::custom("a merge is not two tokens")),
                }
            }
        }
        d.deserialize_any(V)
    }
}

impl Tokens {
    fn vocab(&self, may_be_empty: bool) -> Result<Vocab, String> {
        let tokens = &self.0;
        let n = tokens.iter().map(|t| t.1 as usize + 1).max().unwrap_or(0);
        if (n == 0 && !may_be_empty) || n > MAX_TOKENS || n > tokens.len().saturating_mul(4) + 1024 {
            return Err(format!("its highest id is {}, with {} tokens", n.saturating_sub(1), tokens.len()));
        }
        let mut by_id: Vec<&str> = vec![""; n];
        let mut taken = vec![false; n];
        for (text, id) in tokens {
            if std::mem::replace(&mut taken[*id as usize], true) {
                return Err(format!("the id {id} is given twice, once to {text:?}"));
            }
            by_id[*id as usize] = text;
        }
        Vocab::new(by_id.into_iter())
    }
}

/// Reads a model; of a BPE model its merges as well. `has_added`: the file has added tokens, and a vocabulary may be empty.
///
/// # Errors
/// A sentence that names what cannot be used.
pub fn read(text: &str, has_added: bool) -> Result<(Model, Merges), String> {
    fn fields<'a, T: Deserialize<'a>>(text: &'a str, kind: &str) -> Result<T, String> {
        serde_json::from_str(text).map_err(|e| format!("is not a {kind} tokenizer: {e}"))
    }
    let Kind { kind, vocab, max_input_chars_per_word } = fields(text, "BPE")?;
    // Files of the first versions do not say what they are.
    let kind = kind.unwrap_or_else(|| {
        let guess = match (vocab, max_input_chars_per_word) {
            (Some(v), _) if v.get().starts_with('[') => "Unigram",
            (_, Some(_)) => "WordPiece",
            _ => "BPE",
        };
        guess.to_string()
    });
    let model = match kind.as_str() {
        "BPE" => {
            let (bpe, merges) = bpe(fields(text, "BPE")?, has_added)?;
            return Ok((Model::Bpe(bpe), merges));
        }
        "WordPiece" => {
            let f: WordPieceFields = fields(text, "WordPiece")?;
            let vocab = f.vocab.vocab(false)?;
            let unknown = unknown_of(&vocab, &f.unk_token)?;
            Model::WordPiece(WordPiece::new(vocab, unknown, &f.continuing_subword_prefix, f.max_input_chars_per_word))
        }
        "WordLevel" => {
            let f: WordLevelFields = fields(text, "WordLevel")?;
            let vocab = f.vocab.vocab(false)?;
            let unknown = unknown_of(&vocab, &f.unk_token)?;
            Model::WordLevel { vocab, unknown }
        }
        "Unigram" => Model::Unigram(unigram(fields(text, "Unigram")?)?),
        other => return Err(format!("the model {other} is not supported, BPE, Unigram, WordLevel and WordPiece are")),
    };
    Ok((model, Vec::new()))
}

fn unknown_of(vocab: &Vocab, text: &str) -> Result<u32, String> {
    vocab.find(text).ok_or_else(|| format!("the unk_token {text:?} is not in the vocabulary"))
}

fn unigram(f: UnigramFields) -> Result<Unigram, String> {
    let n = f.vocab.len();
    if n == 0 || n > MAX_TOKENS {
        return Err(format!("its vocabulary has {n} tokens, expected 1 to {MAX_TOKENS}"));
    }
    let unknown = f.unk_id.filter(|id| *id < n).map(|id| id as u32);
    if let (Some(id), None) = (f.unk_id, unknown) {
        return Err(format!("unk_id is {id}, the vocabulary has {n} tokens"));
    }
    let vocab = Vocab::new(f.vocab.iter().map(|t| t.0.as_str()))?;
    let bytes = f.byte_fallback.then(|| Box::new(std::array::from_fn(|b| vocab.find(&byte_token(b as u8)))));
    Ok(Unigram::new(vocab, f.vocab.iter().map(|(t, score)| (t.as_str(), *score)), Vec::new(), unknown, bytes))
}

/// A BPE model, and its merges as texts.
fn bpe(fields: BpeFields, has_added: bool) -> Result<(Bpe, Merges), String> {
    if let Some(dropout) = fields.dropout.filter(|d| *d != 0.0) {
        return Err(format!("dropout is {dropout}, expected null: tokens would be left to chance"));
    }
    let vocab = fields.vocab.vocab(has_added)?;
    let prefix = fields.continuing_subword_prefix.unwrap_or_default();
    let mut merges = Vec::with_capacity(fields.merges.len());
    let mut both = String::new();
    for (rank, Merge(a, b)) in fields.merges.iter().enumerate() {
        if rank == 0 && a == "#version:" {
            continue;
        }
        let find = |text: &str| {
            vocab.find(text).ok_or_else(|| format!("merge number {rank} needs the token {text:?}, which the vocabulary lacks"))
        };
        let (left, right) = (find(a)?, find(b)?);
        let rest = b.get(prefix.len()..).ok_or_else(|| format!("merge number {rank}: {b:?} is shorter than the prefix {prefix:?}"))?;
        both.clear();
        both.push_str(a);
        both.push_str(rest);
        merges.push((left, right, find(&both)?));
    }
    let unknown = match &fields.unk_token {
        Some(text) => Some(vocab.find(text).ok_or_else(|| format!("the unk_token {text:?} is not in the vocabulary"))?),
        None => None,
    };
    let bytes = (fields.byte_fallback == Some(true)).then(|| Box::new(std::array::from_fn(|b| vocab.find(&byte_token(b as u8)))));
    let texts = fields.merges.into_iter().map(|Merge(a, b)| (a, b)).collect();
    let bpe = Bpe {
        ranks: Ranks::Pairs(Pairs::new(vocab.len(), merges)),
        unknown,
        fuse_unknown: fields.fuse_unk.unwrap_or(false),
        bytes,
        prefix,
        suffix: fields.end_of_word_suffix.unwrap_or_default(),
        ignore_merges: fields.ignore_merges.unwrap_or(false),
        vocab,
    };
    Ok((bpe, texts))
}
