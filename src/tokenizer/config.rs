//! `tokenizer_config.json`.
//!
//! Its `add_bos_token` and `add_eos_token` are for tokenizers without a `tokenizer.json`: beside one, Transformers leaves them out of account, and
//! the post-processor alone says what goes around a text.
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::added::AddedToken;
use super::bert::Bert;
use super::fields;
use crate::error::{Error, Result as Checked};
use crate::text::{not_json, without_bom};

/// The fields that count.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    bos_token: Json,
    eos_token: Json,
    pad_token: Json,
    unk_token: Json,
    sep_token: Json,
    cls_token: Json,
    mask_token: Json,
    additional_special_tokens: Json,
    extra_special_tokens: Json,
    added_tokens_decoder: Map<String, Json>,
    chat_template: Json,
    // For files without a tokenizer.json.
    tokenizer_class: Option<String>,
    do_lower_case: Json,
    strip_accents: Json,
    tokenize_chinese_chars: Json,
    extra_ids: Option<u64>,
    src_lang: Option<String>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
}

/// A token in a config: its text, or an object with it.
fn token_text(v: &Json) -> Option<&str> {
    v.as_str().or_else(|| v["content"].as_str())
}

/// A token with its flags, as an object has them.
pub fn added_token(v: &Json, id: u32) -> Result<AddedToken, String> {
    let special = fields::flag(v, "special", false)?;
    Ok(AddedToken {
        id,
        content: fields::text(v, "content")?.to_string(),
        single_word: fields::flag(v, "single_word", false)?,
        lstrip: fields::flag(v, "lstrip", false)?,
        rstrip: fields::flag(v, "rstrip", false)?,
        normalized: fields::flag(v, "normalized", !special)?,
        special,
    })
}

/// The id that the vocabulary has for a token counts, as in Transformers; that it has another one is said.
pub fn same_id(token: &AddedToken, known: u32) -> u32 {
    if token.id != known {
        log::warn!(
            "the added token {:?} has the id {} in the list of added tokens, and {known} in the vocabulary",
            token.content,
            token.id
        );
    }
    known
}

impl Config {
    /// Reads the text of the file; without one nothing is said.
    ///
    /// # Errors
    /// [`Error::BadFile`] for what is none.
    pub fn read(text: Option<&str>) -> Checked<Config> {
        let Some(text) = text.map(without_bom) else { return Ok(Config::default()) };
        serde_json::from_str(text).map_err(|e| Error::file("tokenizer_config.json", not_json(text, || format!("is not valid: {e}"))))
    }

    /// The class, without the `Fast` that its newer form has.
    pub fn class(&self) -> Option<&str> {
        self.tokenizer_class
            .as_deref()
            .map(|c| c.strip_suffix("Fast").unwrap_or(c))
            .filter(|c| !c.is_empty() && *c != "PreTrainedTokenizer")
    }

    /// T5's tokens for gaps in a text.
    pub fn extra_ids(&self) -> Option<u64> {
        self.extra_ids
    }

    /// mBART's language of the text.
    pub fn source_language(&self) -> Option<&str> {
        self.src_lang.as_deref()
    }

    /// `add_bos_token`, which counts where there is no `tokenizer.json`.
    pub fn adds_bos(&self) -> Option<bool> {
        self.add_bos_token
    }

    /// `add_eos_token`, which counts where there is no `tokenizer.json`.
    pub fn adds_eos(&self) -> Option<bool> {
        self.add_eos_token
    }

    /// BERT's tokens: unknown, between texts, padding, before a text, mask.
    pub fn bert_tokens(&self) -> [&str; 5] {
        let all = [&self.unk_token, &self.sep_token, &self.pad_token, &self.cls_token, &self.mask_token];
        let usual = ["[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"];
        std::array::from_fn(|i| token_text(all[i]).unwrap_or(usual[i]))
    }

    /// What BERT's tokenizer does to a text.
    ///
    /// # Errors
    /// A sentence about a field that is neither true nor false.
    pub fn bert(&self) -> Result<Bert, String> {
        let flag = |name: &str, v: &Json, default: bool| match v {
            Json::Null => Ok(default),
            Json::Bool(b) => Ok(*b),
            other => Err(format!("{name} is {}, expected true or false", fields::shown(other))),
        };
        let lowercase = flag("do_lower_case", &self.do_lower_case, true)?;
        let chinese = flag("tokenize_chinese_chars", &self.tokenize_chinese_chars, true)?;
        Ok(Bert { lowercase, chinese, strip_accents: flag("strip_accents", &self.strip_accents, lowercase)? })
    }

    pub fn bos(&self) -> Option<&str> {
        token_text(&self.bos_token)
    }

    pub fn eos(&self) -> Option<&str> {
        token_text(&self.eos_token)
    }

    pub fn pad(&self) -> Option<&str> {
        token_text(&self.pad_token)
    }

    /// The special tokens by their names, as templates refer to them; lists and further ones under the names that they have here.
    pub fn named(&self) -> Map<String, Json> {
        let single = [
            ("bos_token", &self.bos_token),
            ("eos_token", &self.eos_token),
            ("unk_token", &self.unk_token),
            ("sep_token", &self.sep_token),
            ("pad_token", &self.pad_token),
            ("cls_token", &self.cls_token),
            ("mask_token", &self.mask_token),
        ];
        let mut out: Map<String, Json> = single.into_iter().filter_map(|(n, v)| Some((n.to_string(), token_text(v)?.into()))).collect();
        if let Json::Object(more) = &self.extra_special_tokens {
            out.extend(more.iter().filter_map(|(n, v)| Some((n.clone(), token_text(v)?.into()))));
        }
        out
    }

    /// Adds the tokens that are named here to those of `tokenizer.json`; where both name one, the flags here count.
    ///
    /// # Errors
    /// A sentence about a token that cannot be.
    pub fn add_tokens(&self, added: &mut Vec<AddedToken>, id_of: &dyn Fn(&str) -> Option<u32>) -> Result<(), String> {
        let mut known: HashMap<String, usize> = added.iter().enumerate().map(|(i, a)| (a.content.clone(), i)).collect();
        for (key, v) in &self.added_tokens_decoder {
            let wrong = |e: String| format!("added_tokens_decoder: {key:?}: {e}");
            let id: u32 = key.parse().map_err(|_| wrong("expected a token id".into()))?;
            let token = added_token(v, id).map_err(wrong)?;
            if token.content.is_empty() {
                continue;
            }
            let place = known.get(&token.content).copied();
            let id = place.map(|i| added[i].id).or_else(|| id_of(&token.content)).unwrap_or(id);
            let token = AddedToken { id: same_id(&token, id), ..token };
            match place {
                Some(i) => added[i] = token,
                None => {
                    known.insert(token.content.clone(), added.len());
                    added.push(token);
                }
            }
        }
        // Named special tokens are looked for in texts, too. One that the vocabulary lacks has no embedding, and is left out.
        let lists = [&self.additional_special_tokens, &self.extra_special_tokens].into_iter().flat_map(|v| match v {
            Json::Array(list) => list.iter().collect::<Vec<_>>(),
            Json::Object(named) => named.values().collect(),
            _ => Vec::new(),
        });
        for v in [&self.bos_token, &self.eos_token, &self.pad_token, &self.unk_token].into_iter().chain(lists) {
            let Some(text) = token_text(v) else { continue };
            if let (false, Some(id)) = (known.contains_key(text), id_of(text)) {
                let mut token = if v.is_object() { added_token(v, id)? } else { AddedToken::plain(id, text, true) };
                token.special = true;
                known.insert(text.to_string(), added.len());
                added.push(token);
            }
        }
        Ok(())
    }

    /// The chat template: a text, or a list of named ones of which `default` counts.
    ///
    /// # Errors
    /// A sentence about a list that cannot be used.
    pub fn chat_template(&self) -> Result<Option<String>, String> {
        let wrong = || {
            format!("chat_template is {}, expected a text or a list of objects with name and template", fields::shown(&self.chat_template))
        };
        let named: Vec<(&str, &str)> = match &self.chat_template {
            Json::Null => return Ok(None),
            Json::String(text) => return Ok(Some(text.clone())),
            Json::Array(list) => {
                list.iter().map(|t| Some((t["name"].as_str()?, t["template"].as_str()?))).collect::<Option<_>>().ok_or_else(wrong)?
            }
            Json::Object(all) => all.iter().map(|(n, t)| Some((n.as_str(), t.as_str()?))).collect::<Option<_>>().ok_or_else(wrong)?,
            _ => return Err(wrong()),
        };
        Ok(named.iter().find(|t| t.0 == "default").or(named.first()).map(|t| t.1.to_string()))
    }
}
