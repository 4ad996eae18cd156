//! SentencePiece's own files: `spiece.model`, `sentencepiece.bpe.model`, `tokenizer.model`, Marian's `source.spm` and `target.spm`.
//!
//! They are protobuf messages. A T5 or XLM-R has its tokens in the order of its class, not of the file: the class in `tokenizer_config.json` counts.
use std::collections::HashMap;

use serde_json::Map;

use super::added::AddedToken;
use super::config::Config;
use super::gguf::GgufVocab;
use super::model::{MAX_TOKENS, Model, Unigram, Vocab, byte_token};
use super::postprocess::Post;
use super::spaces::Spaces;
use super::tokenizer::{Parts, Tokenizer};
use crate::error::{Error, Result};

/// What a piece is, by the numbers of the file.
mod kind {
    pub const NORMAL: i32 = 1;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
}

/// One piece.
#[derive(Clone, Debug)]
struct Piece {
    text: String,
    score: f32,
    kind: i32,
}

/// What a file says.
#[derive(Debug)]
struct File {
    pieces: Vec<Piece>,
    /// 1 Unigram, 2 BPE, 3 words, 4 characters.
    model_type: u64,
    byte_fallback: bool,
    unknown: u64,
    bos: u64,
    eos: u64,
    pad: u64,
    spaces: Spaces,
}

/// A field of a message.
enum Value<'a> {
    Number(u64),
    Float(f32),
    Bytes(&'a [u8]),
    Other,
}

/// Calls `on` for each field of a message; none where it is no message.
fn fields<'a>(mut rest: &'a [u8], on: &mut dyn FnMut(u64, Value<'a>) -> Option<()>) -> Option<()> {
    fn number(rest: &mut &[u8]) -> Option<u64> {
        let mut out = 0u64;
        for shift in (0..64).step_by(7) {
            let (b, after) = rest.split_first()?;
            *rest = after;
            out |= u64::from(b & 0x7f) << shift;
            if *b < 0x80 {
                return Some(out);
            }
        }
        None
    }
    fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
        let (bytes, after) = rest.split_at_checked(n)?;
        *rest = after;
        Some(bytes)
    }
    while !rest.is_empty() {
        let key = number(&mut rest)?;
        let value = match key & 7 {
            0 => Value::Number(number(&mut rest)?),
            1 => take(&mut rest, 8).map(|_| Value::Other)?,
            2 => {
                let n = usize::try_from(number(&mut rest)?).ok()?;
                Value::Bytes(take(&mut rest, n)?)
            }
            5 => Value::Float(f32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?)),
            _ => return None,
        };
        on(key >> 3, value)?;
    }
    Some(())
}

impl File {
    fn read(file: &str, bytes: &[u8]) -> Result<File> {
        let bad = |message: String| Error::file(file, message);
        // What a file leaves out has these values.
        let spaces = Spaces { charsmap: Vec::new(), prefix: true, collapse: true };
        let mut out = File { pieces: Vec::new(), model_type: 1, byte_fallback: false, unknown: 0, bos: 1, eos: 2, pad: u64::MAX, spaces };
        let mut refused = None;
        let whole = fields(bytes, &mut |field, value| {
            match (field, value) {
                (1, Value::Bytes(piece)) if out.pieces.len() < MAX_TOKENS => out.pieces.push(read_piece(piece)?),
                (1, _) => return None,
                (2, Value::Bytes(trainer)) => fields(trainer, &mut |field, value| {
                    match (field, value) {
                        (3, Value::Number(n)) => out.model_type = n,
                        (24, Value::Number(n)) if n != 0 => refused = Some("treat_whitespace_as_suffix is true, which is not supported"),
                        (35, Value::Number(n)) => out.byte_fallback = n != 0,
                        (40, Value::Number(n)) => out.unknown = n,
                        (41, Value::Number(n)) => out.bos = n,
                        (42, Value::Number(n)) => out.eos = n,
                        (43, Value::Number(n)) => out.pad = n,
                        _ => {}
                    }
                    Some(())
                })?,
                (3, Value::Bytes(normalizer)) => fields(normalizer, &mut |field, value| {
                    match (field, value) {
                        (2, Value::Bytes(map)) => out.spaces.charsmap = map.to_vec(),
                        (3, Value::Number(n)) => out.spaces.prefix = n != 0,
                        (4, Value::Number(n)) => out.spaces.collapse = n != 0,
                        (5, Value::Number(0)) => refused = Some("escape_whitespaces is false, which is not supported"),
                        _ => {}
                    }
                    Some(())
                })?,
                _ => {}
            }
            Some(())
        });
        if whole.is_none() || out.pieces.is_empty() {
            return Err(bad("is no SentencePiece model".into()));
        }
        if let Some(words) = refused {
            return Err(bad(words.into()));
        }
        if let Some(i) = out.pieces.iter().position(|p| !p.score.is_finite()) {
            return Err(bad(format!("the score of piece {i} is no number")));
        }
        if out.unknown >= out.pieces.len() as u64 {
            return Err(bad(format!("the unknown piece is {}, there are {}", out.unknown, out.pieces.len())));
        }
        Ok(out)
    }

    /// An id, where it is one.
    fn id(&self, n: u64) -> Option<u32> {
        u32::try_from(n).ok().filter(|id| (*id as usize) < self.pieces.len())
    }

    /// Pieces that texts can have; others are empty here, and never found.
    fn found(&self) -> impl Iterator<Item = (&str, f64)> {
        self.pieces.iter().map(|p| if p.kind == kind::NORMAL { (p.text.as_str(), f64::from(p.score)) } else { ("", 0.0) })
    }
}

fn read_piece(bytes: &[u8]) -> Option<Piece> {
    let mut out = Piece { text: String::new(), score: 0.0, kind: kind::NORMAL };
    fields(bytes, &mut |field, value| {
        match (field, value) {
            (1, Value::Bytes(text)) => out.text = std::str::from_utf8(text).ok()?.to_string(),
            (2, Value::Float(score)) => out.score = score,
            (3, Value::Number(n)) => out.kind = i32::try_from(n).ok()?,
            _ => {}
        }
        Some(())
    })?;
    Some(out)
}

/// mBART's languages, in the order of their ids.
const MBART: &str = "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX ro_RO ru_RU \
    si_LK tr_TR vi_VN zh_CN";

impl Tokenizer {
    /// A tokenizer from a SentencePiece model and, where there is one, the text of the `tokenizer_config.json` beside it, whose class says which ids
    /// the pieces have (T5, XLM-R, mBART) and what goes around a text.
    ///
    /// # Errors
    /// [`Error::BadFile`] for what is no such file, or holds what is not supported; it is named.
    pub fn from_sentencepiece(file: &str, bytes: &[u8], config: Option<&str>) -> Result<Self> {
        let bad = |message: String| Error::file(file, message);
        let spm = File::read(file, bytes)?;
        let config = Config::read(config)?;
        let class = config.class().unwrap_or_default();
        if spm.model_type == 2 {
            return match class {
                "" | "LlamaTokenizer" | "CodeLlamaTokenizer" | "GemmaTokenizer" => spm.bpe(file, &config),
                other => Err(bad(format!("is a BPE model of the class {other}, which is not supported"))),
            };
        }
        if spm.model_type != 1 {
            return Err(bad(format!("model_type is {}, supported are 1 (Unigram) and 2 (BPE)", spm.model_type)));
        }
        let unknown = spm.unknown as u32;
        // The tokens in the order of their ids, which piece each id has, and the ids around a text.
        let own = |p: &Piece| (p.text.clone(), f64::from(p.score), p.kind);
        let control = |text: &str| (text.to_string(), 0.0, kind::CONTROL);
        let mut tokens: Vec<(String, f64, i32)> = spm.pieces.iter().map(own).collect();
        let fairseq = |tail: &[String]| {
            let first = ["<s>", "<pad>", "</s>", "<unk>"].map(control);
            let mut all: Vec<_> = first.into_iter().chain(spm.pieces.iter().skip(3).map(own)).collect();
            all.extend(tail.iter().map(|t| control(t)));
            all
        };
        let (post, unknown, bos, eos, pad): (_, u32, _, _, _) = match class {
            "T5Tokenizer" | "MT5Tokenizer" => {
                let extra = config.extra_ids().unwrap_or(100);
                if extra > 10_000 {
                    return Err(Error::file("tokenizer_config.json", format!("extra_ids is {extra}, expected at most 10000")));
                }
                tokens.extend((0..extra).rev().map(|i| control(&format!("<extra_id_{i}>"))));
                let eos = spm.id(spm.eos).ok_or_else(|| bad("has no eos piece".into()))?;
                (Post::joined(&[], &[eos], &[eos], [0, 0]), unknown, None, Some(eos), spm.id(spm.pad))
            }
            "XLMRobertaTokenizer" => {
                tokens = fairseq(&["<mask>".into()]);
                (Post::joined(&[0], &[2, 2], &[2], [0, 0]), 3, Some(0), Some(2), Some(1))
            }
            "MBartTokenizer" => {
                let tail: Vec<String> = MBART.split_ascii_whitespace().chain(["<mask>"]).map(str::to_string).collect();
                tokens = fairseq(&tail);
                let language = config.source_language().unwrap_or("en_XX");
                let id = tokens
                    .iter()
                    .position(|t| t.0 == language)
                    .ok_or_else(|| Error::file("tokenizer_config.json", format!("src_lang is {language:?}, expected one of {MBART}")))?;
                (Post::joined(&[], &[], &[2, id as u32], [0, 0]), 3, Some(0), Some(2), Some(1))
            }
            "" => (Post::default(), unknown, spm.id(spm.bos), spm.id(spm.eos), spm.id(spm.pad)),
            other => {
                let known = "T5Tokenizer, MT5Tokenizer, XLMRobertaTokenizer and MBartTokenizer";
                return Err(bad(format!("is a Unigram model of the class {other}, supported are {known}")));
            }
        };
        let vocab = Vocab::new(tokens.iter().map(|t| t.0.as_str())).map_err(bad)?;
        let bytes = spm.byte_fallback.then(|| Box::new(std::array::from_fn(|b| vocab.find(&byte_token(b as u8)))));
        let pieces = tokens.iter().map(|(t, score, k)| if *k == kind::NORMAL { (t.as_str(), *score) } else { ("", 0.0) });
        let model = Unigram::new(vocab, pieces, Vec::new(), Some(unknown), bytes);
        let added = tokens
            .iter()
            .zip(0u32..)
            .filter(|((text, _, k), id)| !text.is_empty() && (matches!(*k, kind::CONTROL | kind::USER_DEFINED) || *id == unknown));
        let mut added: Vec<AddedToken> = added.map(|((t, _, k), id)| AddedToken::plain(id, t, *k != kind::USER_DEFINED)).collect();
        added.iter_mut().filter(|a| a.content == "<mask>").for_each(|a| a.lstrip = true);
        let id_of = |text: &str| model.vocab.find(text);
        config.add_tokens(&mut added, &id_of).map_err(|e| Error::file("tokenizer_config.json", e))?;
        let (normalizers, pre, decoder) = spm.spaces.steps(spm.byte_fallback).map_err(bad)?;
        let template = config.chat_template().map_err(|e| Error::file("tokenizer_config.json", e))?;
        let (file, model, named) = (file.to_string(), Model::Unigram(model), config.named());
        Tokenizer::build(Parts { file, added, normalizers, pre, model, post, decoder, bos, eos, pad, template, named })
    }

    /// One side of a Marian model: `source.spm` or `target.spm`, with the ids of `vocab.json`, which both sides share.
    ///
    /// Pieces that the vocabulary lacks are unknown; languages such as `>>fr<<` are control tokens; `</s>` ends a text.
    ///
    /// # Errors
    /// [`Error::BadFile`] for what is no such file, or holds what is not supported; it is named.
    pub fn from_marian(file: &str, bytes: &[u8], vocab_json: &str) -> Result<Self> {
        let bad = |message: String| Error::file(file, message);
        let bad_vocab = |message: String| Error::file("vocab.json", message);
        let spm = File::read(file, bytes)?;
        if spm.model_type != 1 {
            return Err(bad(format!("model_type is {}, of Marian's only 1 (Unigram) is supported", spm.model_type)));
        }
        let map: HashMap<String, u32> = serde_json::from_str(vocab_json).map_err(|e| bad_vocab(format!("is no vocabulary: {e}")))?;
        let n = map.values().max().map_or(0, |id| *id as usize + 1);
        if n == 0 || n > MAX_TOKENS || n > map.len().saturating_mul(4) + 1024 {
            return Err(bad_vocab(format!("its highest id is {}, with {} tokens", n.saturating_sub(1), map.len())));
        }
        let mut by_id = vec![""; n];
        map.iter().for_each(|(text, id)| by_id[*id as usize] = text);
        let vocab = Vocab::new(by_id.iter().copied()).map_err(bad_vocab)?;
        let need = |text: &str| vocab.find(text).ok_or_else(|| bad_vocab(format!("has no {text:?}")));
        let (unknown, eos, pad) = (need("<unk>")?, need("</s>")?, vocab.find("<pad>"));
        let ids = spm.pieces.iter().map(|p| vocab.find(&p.text).unwrap_or(unknown)).collect();
        let special = |t: &str| ["<unk>", "</s>", "<pad>"].contains(&t) || (t.starts_with(">>") && t.ends_with("<<"));
        let added = by_id.iter().zip(0u32..).filter(|(t, _)| special(t)).map(|(t, id)| AddedToken::plain(id, t, true)).collect();
        let model = Model::Unigram(Unigram::new(vocab, spm.found(), ids, Some(spm.unknown as u32), None));
        let (normalizers, pre, decoder) = spm.spaces.steps(false).map_err(bad)?;
        let post = Post::joined(&[], &[], &[eos], [0, 0]);
        let (file, named) = (file.to_string(), Map::new());
        Tokenizer::build(Parts {
            file,
            added,
            normalizers,
            pre,
            model,
            post,
            decoder,
            bos: None,
            eos: Some(eos),
            pad,
            template: None,
            named,
        })
    }
}

impl File {
    /// SentencePiece's BPE, as a GGUF has it.
    fn bpe(&self, file: &str, config: &Config) -> Result<Tokenizer> {
        let mut tokenizer = Tokenizer::from_gguf(GgufVocab {
            file,
            model: "llama",
            tokens: self.pieces.iter().map(|p| p.text.as_str()).collect(),
            token_types: self.pieces.iter().map(|p| p.kind).collect(),
            scores: self.pieces.iter().map(|p| p.score).collect(),
            unknown: self.id(self.unknown),
            bos: self.id(self.bos),
            eos: self.id(self.eos),
            pad: self.id(self.pad),
            // By itself, SentencePiece puts nothing around a text.
            add_bos: Some(config.adds_bos().unwrap_or(config.class().is_some())),
            add_eos: Some(config.adds_eos().unwrap_or(false)),
            add_space_prefix: Some(self.spaces.prefix),
            remove_extra_whitespaces: Some(self.spaces.collapse),
            charsmap: self.spaces.charsmap.clone(),
            ..GgufVocab::default()
        })?;
        let mut told = Vec::new();
        config.add_tokens(&mut told, &|t| tokenizer.token_id(t)).map_err(|e| Error::file("tokenizer_config.json", e))?;
        if let Some(other) = told.iter().find(|t| tokenizer.id_to_token(t.id) != Some(t.content.as_str())) {
            let message = format!("adds the token {:?}, which {file} has not: such a folder needs its tokenizer.json", other.content);
            return Err(Error::file("tokenizer_config.json", message));
        }
        if let Some(template) = config.chat_template().map_err(|e| Error::file("tokenizer_config.json", e))? {
            tokenizer.set_chat_template(&template);
        }
        Ok(tokenizer)
    }
}
