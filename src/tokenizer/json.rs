//! `tokenizer.json` with `tokenizer_config.json`, as Transformers saves them.
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::model::{self as spm, Chars, Kind, MAX_TOKENS, Merges, Prefix, Unspell, Vocab};
use super::{Added, Parts, Splitter, Tokenizer};
use crate::error::{Error, Result};

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Json,
    #[serde(default)]
    pre_tokenizer: Json,
    #[serde(default)]
    post_processor: Json,
    #[serde(default)]
    decoder: Json,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: HashMap<String, u32>,
    #[serde(default)]
    merges: Vec<Merge>,
    unk_token: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

/// Old files write `"a b"`, new ones `["a", "b"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Joined(String),
    Pair(String, String),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    bos_token: Json,
    eos_token: Json,
    pad_token: Json,
    add_bos_token: Option<bool>,
    chat_template: Json,
}

/// A token in a config: its text, or an object with it.
fn token_text(v: &Json) -> Option<&str> {
    v.as_str().or_else(|| v["content"].as_str())
}

/// The config's template: a text, or a list of named ones of which `default` counts.
fn template_text(v: &Json) -> Option<String> {
    let named = |list: &Vec<Json>| {
        let find = |name: &str| list.iter().find(|t| t["name"] == name);
        find("default").or(list.first()).and_then(|t| t["template"].as_str()).map(str::to_string)
    };
    v.as_str().map(str::to_string).or_else(|| v.as_array().and_then(named))
}

/// The steps of a `Sequence`, or the single step there is.
fn steps<'a>(v: &'a Json, list: &str) -> Vec<&'a Json> {
    match (v["type"].as_str(), v[list].as_array()) {
        (Some("Sequence"), Some(all)) => all.iter().collect(),
        (None, _) => vec![],
        _ => vec![v],
    }
}

/// Splitter and `add_prefix_space` of a pre-tokenizer.
fn splitter(pre: &Json) -> Result<(Splitter, bool), String> {
    let mut found = None;
    let mut prefix = false;
    let mut digits = false;
    let mut byte_level = false;
    for step in steps(pre, "pretokenizers") {
        let kind = step["type"].as_str().unwrap_or_default();
        match kind {
            "Digits" if step["individual_digits"] == true && found.is_none() => digits = true,
            "Split" if found.is_none() && !digits => {
                let regex = step["pattern"]["Regex"].as_str().unwrap_or_default();
                let isolated = step["behavior"] == "Isolated" && step["invert"] != true;
                found = Splitter::from_regex(regex).filter(|_| isolated);
                if found.is_none() {
                    return Err(format!("the pre-tokenizer's Split by {:?} is not supported", step["pattern"].to_string()));
                }
            }
            "ByteLevel" => {
                byte_level = true;
                prefix = step["add_prefix_space"] == true;
                let own = step["use_regex"] != false;
                found = match (digits, own, found) {
                    (true, true, None) => Some(Splitter::DigitsGpt2),
                    (false, true, None) => Some(Splitter::Gpt2),
                    (false, false, None) => Some(Splitter::Whole),
                    (false, false, some) => some,
                    _ => return Err("this sequence of pre-tokenizers is not supported".into()),
                };
            }
            _ => return Err(format!("the pre-tokenizer {kind:?} is not supported")),
        }
    }
    match found {
        Some(s) if byte_level => Ok((s, prefix)),
        _ => Err("only byte-level pre-tokenizers are supported".into()),
    }
}

impl Tokenizer {
    /// A tokenizer from the text of a `tokenizer.json` and, where there is one, of a `tokenizer_config.json`.
    ///
    /// An NFC normalizer is accepted and not applied: text as people type it is in that form.
    pub fn from_json(file: &str, text: &str, config: Option<&str>) -> Result<Self> {
        let bad = |message: String| Error::file(file, message);
        let File { mut added_tokens, normalizer, pre_tokenizer, post_processor, decoder, model } =
            serde_json::from_str(text).map_err(|e| bad(format!("is not a BPE tokenizer: {e}")))?;
        let config: Config = match config {
            Some(text) => serde_json::from_str(text).map_err(|e| Error::file("tokenizer_config.json", format!("is not valid: {e}")))?,
            None => Config::default(),
        };
        let require = |ok: bool, what: &str| if ok { Ok(()) } else { Err(bad(format!("{what} is not supported"))) };
        let plain = |s: &Option<String>| s.as_deref().unwrap_or("").is_empty();
        require(model.kind.as_deref().is_none_or(|k| k == "BPE"), "a model other than BPE")?;
        require(plain(&model.continuing_subword_prefix) && plain(&model.end_of_word_suffix), "a subword prefix or suffix")?;
        // SentencePiece's kind, as Llama 2 and Mistral have it.
        let style = sentencepiece(&normalizer, &pre_tokenizer, &decoder).map_err(bad)?;
        require(style.is_some() || !model.byte_fallback, "byte_fallback without a space written ▁")?;
        let nfc = steps(&normalizer, "normalizers").iter().all(|n| n["type"] == "NFC");
        require(style.is_some() || nfc, &format!("the normalizer {normalizer}"))?;
        let (splitter, add_prefix_space) = match style {
            Some(_) => (Splitter::Whole, false),
            None => splitter(&pre_tokenizer).map_err(bad)?,
        };

        let ids = model.vocab.values().copied().chain(added_tokens.iter().map(|a| a.id));
        let n = ids.max().map_or(0, |id| id as usize + 1);
        let known = model.vocab.len() + added_tokens.len();
        if n == 0 || n > MAX_TOKENS || n > known.saturating_mul(4) + 1024 {
            return Err(bad(format!("its highest id is {}, with {known} tokens", n.saturating_sub(1))));
        }
        let unspell = Unspell::new();
        let mut tokens: Vec<Vec<u8>> = vec![Vec::new(); n];
        let mut taken: Vec<bool> = vec![false; n];
        for (text, &id) in &model.vocab {
            if std::mem::replace(&mut taken[id as usize], true) {
                return Err(bad(format!("the id {id} is given twice, once to {text:?}")));
            }
            tokens[id as usize] = match (&style, spm::byte_of(text).filter(|_| model.byte_fallback)) {
                (Some(_), Some(byte)) => vec![byte],
                (Some(_), None) => spm::text_of(text).into_bytes(),
                (None, _) => unspell.bytes(text).unwrap_or_else(|| text.as_bytes().to_vec()),
            };
        }
        added_tokens.iter().for_each(|a| tokens[a.id as usize] = a.content.as_bytes().to_vec());
        let mut vocab = Vocab::default();
        tokens.iter().for_each(|t| vocab.push(t));
        vocab.index();
        let pairs = model.merges.iter().map(|merge| match merge {
            Merge::Joined(s) => s.split_once(' '),
            Merge::Pair(a, b) => Some((a.as_str(), b.as_str())),
        });
        let (merges, chars) = match style {
            None => {
                let merges = pairs.enumerate().map(|(rank, pair)| {
                    let bytes = pair.and_then(|(a, b)| Some((unspell.bytes(a)?, unspell.bytes(b)?)));
                    bytes.ok_or_else(|| bad(format!("merge number {rank} is not two tokens")))
                });
                (Merges::new(file, &vocab, merges)?, None)
            }
            Some(style) => {
                let mut table = HashMap::new();
                for (rank, pair) in pairs.enumerate() {
                    let ids = pair.and_then(|(a, b)| {
                        let find = |t: &str| model.vocab.get(t).copied();
                        Some(((find(a)?, find(b)?), find(&format!("{a}{b}"))?))
                    });
                    let (pair, both) = ids.ok_or_else(|| bad(format!("merge number {rank} is not two tokens of the vocabulary")))?;
                    table.entry(pair).or_insert((rank as u32, both));
                }
                (Merges::of_table(table), Some(style.chars(&model, &added_tokens)))
            }
        };

        let id_of = |text: Option<&str>| {
            let text = text?;
            added_tokens.iter().find(|a| a.content == text).map(|a| a.id).or_else(|| model.vocab.get(text).copied())
        };
        let (before, after) = around(&post_processor);
        let first = id_of(before.as_deref());
        let bos = id_of(token_text(&config.bos_token)).or(first);
        let eos = id_of(token_text(&config.eos_token)).or_else(|| id_of(after.as_deref()));
        let (pad, unknown) = (id_of(token_text(&config.pad_token)), id_of(model.unk_token.as_deref()));
        let add_bos = bos.is_some() && (first == bos || config.add_bos_token == Some(true));
        let add_eos = eos.is_some() && id_of(after.as_deref()) == eos;
        let template = template_text(&config.chat_template);
        let added = std::mem::take(&mut added_tokens)
            .into_iter()
            .map(|a| Added { id: a.id, text: a.content, special: a.special, lstrip: a.lstrip, rstrip: a.rstrip })
            .collect();
        Tokenizer::build(Parts {
            file: file.to_string(),
            vocab,
            merges,
            chars,
            splitter,
            ignore_merges: model.ignore_merges,
            add_prefix_space,
            added,
            bos,
            eos,
            pad,
            unknown,
            add_bos,
            add_eos,
            template,
        })
    }
}

/// How a tokenizer in SentencePiece's manner treats spaces.
struct Style {
    prefix: Prefix,
    once: bool,
    words: bool,
    strip: bool,
}

impl Style {
    fn chars(self, model: &Model, added: &[AddedToken]) -> Chars {
        let kind = |text: &str, id: u32| match spm::byte_of(text).filter(|_| model.byte_fallback) {
            Some(b) => Kind::Byte(b),
            None if added.iter().any(|a| a.id == id && a.special) => Kind::Control,
            None => Kind::Text,
        };
        let tokens = || model.vocab.iter().map(|(text, id)| (text, *id, kind(text, *id)));
        let mut chars = Chars::new(
            tokens().filter(|t| t.2 == Kind::Text).map(|(text, id, _)| (spm::text_of(text), id)),
            tokens().filter_map(|(_, id, kind)| if let Kind::Byte(b) = kind { Some((b, id)) } else { None }),
        );
        let Style { prefix, once, words, strip } = self;
        (chars.prefix, chars.once, chars.words, chars.strip) = (prefix, once, words, strip);
        chars
    }
}

/// Recognizes `▁` for spaces, by a normalizer (Prepend, Replace) or by a Metaspace pre-tokenizer; none for a byte-level tokenizer.
fn sentencepiece(normalizer: &Json, pre: &Json, decoder: &Json) -> Result<Option<Style>, String> {
    let mut style: Option<Style> = None;
    for step in steps(normalizer, "normalizers") {
        match step["type"].as_str().unwrap_or_default() {
            "Prepend" if step["prepend"] == "▁" => {
                style = Some(Style { prefix: Prefix::Always, once: false, words: false, strip: false });
            }
            "Replace" if step["pattern"]["String"] == " " && step["content"] == "▁" => {
                style = style.or(Some(Style { prefix: Prefix::Never, once: false, words: false, strip: false }));
            }
            _ => {}
        }
    }
    for step in steps(pre, "pretokenizers") {
        if step["type"] != "Metaspace" || step["replacement"] != "▁" {
            if style.is_some() {
                return Err(format!("the pre-tokenizer {} after a space written ▁ is not supported", step["type"]));
            }
            return Ok(None);
        }
        let prefix = match step["prepend_scheme"].as_str() {
            Some("first") => Prefix::First,
            Some("never") => Prefix::Never,
            None if step["add_prefix_space"] == false => Prefix::Never,
            _ => Prefix::Always,
        };
        style = Some(Style { prefix, once: true, words: step["split"] != false, strip: false });
    }
    let known = |n: &&Json| ["NFC", "Prepend", "Replace"].iter().any(|k| n["type"] == *k);
    if let (Some(_), Some(other)) = (&style, steps(normalizer, "normalizers").iter().find(|n| !known(n))) {
        return Err(format!("the normalizer {other} is not supported"));
    }
    if let Some(style) = &mut style {
        style.strip = steps(decoder, "decoders").iter().any(|d| {
            let metaspace = d["type"] == "Metaspace" && d["prepend_scheme"] != "never" && d["add_prefix_space"] != false;
            metaspace || (d["type"] == "Strip" && d["content"] == " " && d["start"].as_u64().unwrap_or(0) > 0)
        });
    }
    Ok(style)
}

/// The special tokens that a `TemplateProcessing` puts before and after a single text.
fn around(post: &Json) -> (Option<String>, Option<String>) {
    let (mut before, mut after) = (None, None);
    for step in steps(post, "processors") {
        let Some(single) = step["single"].as_array() else { continue };
        let mut text_seen = false;
        for part in single {
            text_seen |= part.get("Sequence").is_some();
            if let Some(id) = part["SpecialToken"]["id"].as_str() {
                *(if text_seen { &mut after } else { &mut before }) = Some(id.to_string());
            }
        }
    }
    (before, after)
}
