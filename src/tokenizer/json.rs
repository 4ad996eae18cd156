//! `tokenizer.json` with `tokenizer_config.json`, as Transformers saves them.
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

use super::added::AddedToken;
use super::config::{Config, added_token, same_id};
use super::decode::Decoder;
use super::model::{Bpe, MAX_TOKENS, Model, Pairs, Ranks, Vocab, byte_token};
use super::normalize::Normalizer;
use super::postprocess::Post;
use super::pretokenize::Step;
use super::tokenizer::{Parts, Tokenizer};
use crate::error::{Error, Result};
use crate::text::{not_json, without_bom};

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Json>,
    #[serde(default)]
    normalizer: Json,
    #[serde(default)]
    pre_tokenizer: Json,
    #[serde(default)]
    post_processor: Json,
    #[serde(default)]
    decoder: Json,
    model: BpeFields,
}

#[derive(Deserialize)]
struct BpeFields {
    #[serde(rename = "type")]
    kind: Option<String>,
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

/// Only the model's kind, for a model whose fields are others.
#[derive(Deserialize)]
struct Kind {
    model: KindOfModel,
}

#[derive(Deserialize)]
struct KindOfModel {
    #[serde(rename = "type")]
    kind: Option<String>,
}

/// Tokens with their ids, in the order of the file.
struct Tokens(Vec<(String, u32)>);

impl<'de> Deserialize<'de> for Tokens {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Tokens;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tokens with their ids")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Tokens, A::Error> {
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
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Merge;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a merge of two tokens, \"a b\" or [\"a\", \"b\"]")
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> std::result::Result<Merge, E> {
                let pair = s.split_once(' ').filter(|(_, b)| !b.contains(' '));
                let (a, b) = pair.ok_or_else(|| E::custom(format!("the merge {s:?} is not two tokens")))?;
                Ok(Merge(a.to_string(), b.to_string()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Merge, A::Error> {
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

/// What a `tokenizer.json` and its `tokenizer_config.json` say together.
pub(super) struct Folder {
    pub added: Vec<AddedToken>,
    pub model: Bpe,
    /// In the order of their ranks.
    pub merges: Vec<(String, String)>,
    pub normalizers: Vec<Normalizer>,
    pub pre: Vec<Step>,
    pub post: Vec<Post>,
    pub decoder: Decoder,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub pad: Option<u32>,
    pub template: Option<String>,
    /// Special tokens by the names under which templates refer to them.
    pub special: Map<String, Json>,
}

impl Folder {
    /// Ids before and behind every text.
    pub fn around(&self) -> (&[u32], &[u32]) {
        let sides = self.post.iter().find_map(|p| match p {
            Post::Around { before, after } => Some((before.as_slice(), after.as_slice())),
            Post::TrimOffsets { .. } => None,
        });
        sides.unwrap_or_default()
    }

    /// # Errors
    /// As [`Tokenizer::from_json`].
    pub fn read(file: &str, text: &str, config: Option<&str>) -> Result<Folder> {
        let bad = |message: String| Error::file(file, message);
        // Some editors write a byte order mark.
        let text = without_bom(text);
        let file_of: File = serde_json::from_str(text).map_err(|e| match serde_json::from_str(text) {
            Ok(Kind { model: KindOfModel { kind: Some(kind) } }) if kind != "BPE" => bad(only_bpe(&kind)),
            _ => bad(not_json(text, || format!("is not a BPE tokenizer: {e}"))),
        })?;
        let config_bad = |message: String| Error::file("tokenizer_config.json", message);
        let config: Config = match config.map(without_bom) {
            Some(text) => serde_json::from_str(text).map_err(|e| config_bad(not_json(text, || format!("is not valid: {e}"))))?,
            None => Config::default(),
        };
        let added = file_of.added_tokens.iter().map(|v| {
            let id = v["id"].as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| bad(format!("added_tokens: {v} has no id")))?;
            added_token(v, id).map_err(|e| bad(format!("added_tokens: {e}")))
        });
        let mut added: Vec<AddedToken> = added.collect::<Result<_>>()?;
        added.retain(|a| !a.content.is_empty());
        let (model, merges) = model(file_of.model, &added).map_err(bad)?;
        let in_vocab = |text: &str| model.vocab.find(text);
        for a in &mut added {
            if let Some(known) = in_vocab(&a.content) {
                a.id = same_id(a, known);
            }
        }
        config.add_tokens(&mut added, &in_vocab).map_err(config_bad)?;
        check_ids(&added, model.vocab.len()).map_err(bad)?;

        let id_of = |text: &str| added.iter().find(|a| a.content == text).map(|a| a.id).or_else(|| in_vocab(text));
        let within = |part: &'static str| move |e: String| bad(format!("the {part}: {e}"));
        let post = Post::read(&file_of.post_processor, &id_of).map_err(within("post-processor"))?;
        let named = [config.bos(), config.eos(), config.pad()].map(|t| t.and_then(id_of));
        let template = config.chat_template().map_err(config_bad)?;
        let mut folder = Folder {
            normalizers: Normalizer::read(&file_of.normalizer).map_err(within("normalizer"))?,
            pre: Step::read(&file_of.pre_tokenizer).map_err(within("pre-tokenizer"))?,
            decoder: Decoder::read(&file_of.decoder).map_err(within("decoder"))?,
            bos: named[0],
            eos: named[1],
            pad: named[2],
            model,
            merges,
            added,
            post,
            template,
            special: config.named(),
        };
        let (first, last) = (folder.around().0.first().copied(), folder.around().1.last().copied());
        folder.bos = folder.bos.or(first);
        folder.eos = folder.eos.or(last);
        Ok(folder)
    }
}

impl Tokenizer {
    /// A tokenizer from the text of a `tokenizer.json` and, where there is one, of a `tokenizer_config.json`.
    ///
    /// Its `truncation` and `padding` are left out of account, as Transformers does unless it is asked for them.
    ///
    /// # Errors
    /// [`Error::BadFile`] where the file is not one, or holds what is not supported; it is named.
    pub fn from_json(file: &str, text: &str, config: Option<&str>) -> Result<Self> {
        let Folder { added, model, merges: _, normalizers, pre, post, decoder, bos, eos, pad, template, special: named } =
            Folder::read(file, text, config)?;
        let (file, model) = (file.to_string(), Model::Bpe(model));
        Tokenizer::build(Parts { file, normalizers, pre, decoder, model, added, post, bos, eos, pad, template, named })
    }
}

fn only_bpe(kind: &str) -> String {
    format!("the model {kind} is not supported, only BPE is")
}

/// No id may be far from the number of tokens: tables are as long as the highest.
fn check_ids(added: &[AddedToken], known: usize) -> std::result::Result<(), String> {
    let highest = added.iter().map(|a| a.id as usize).max().unwrap_or(0);
    let known = known + added.len();
    if highest >= MAX_TOKENS || highest > known.saturating_mul(4) + 1024 {
        return Err(format!("its highest id is {highest}, with {known} tokens"));
    }
    Ok(())
}

/// The model, and its merges as texts.
fn model(fields: BpeFields, added: &[AddedToken]) -> std::result::Result<(Bpe, Vec<(String, String)>), String> {
    if let Some(kind) = fields.kind.filter(|k| k != "BPE") {
        return Err(only_bpe(&kind));
    }
    if let Some(dropout) = fields.dropout.filter(|d| *d != 0.0) {
        return Err(format!("dropout is {dropout}, expected null: tokens would be left to chance"));
    }
    let Tokens(tokens) = fields.vocab;
    let n = tokens.iter().map(|t| t.1 as usize + 1).max().unwrap_or(0);
    if (n == 0 && added.is_empty()) || n > MAX_TOKENS || n > tokens.len().saturating_mul(4) + 1024 {
        return Err(format!("its highest id is {}, with {} tokens", n.saturating_sub(1), tokens.len()));
    }
    let mut by_id: Vec<&str> = vec![""; n];
    let mut taken = vec![false; n];
    for (text, id) in &tokens {
        if std::mem::replace(&mut taken[*id as usize], true) {
            return Err(format!("the id {id} is given twice, once to {text:?}"));
        }
        by_id[*id as usize] = text;
    }
    let vocab = Vocab::new(by_id.into_iter())?;
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
