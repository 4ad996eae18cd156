//! `tokenizer_config.json`.
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::added::AddedToken;
use super::fields;
use super::postprocess::Post;

/// The fields that count.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    bos_token: Json,
    eos_token: Json,
    pad_token: Json,
    unk_token: Json,
    additional_special_tokens: Json,
    extra_special_tokens: Json,
    added_tokens_decoder: Map<String, Json>,
    /// Present, even as `null`: it decides in place of the post-processor.
    #[serde(deserialize_with = "present")]
    add_bos_token: Option<Json>,
    #[serde(deserialize_with = "present")]
    add_eos_token: Option<Json>,
    chat_template: Json,
}

fn present<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(d).map(Some)
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

impl Config {
    pub fn bos(&self) -> Option<&str> {
        token_text(&self.bos_token)
    }

    pub fn eos(&self) -> Option<&str> {
        token_text(&self.eos_token)
    }

    pub fn pad(&self) -> Option<&str> {
        token_text(&self.pad_token)
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
            let other = place.map(|i| added[i].id).or_else(|| id_of(&token.content)).filter(|other| *other != id);
            match (other, place) {
                (Some(other), _) => return Err(wrong(format!("{:?} is {other} in tokenizer.json", token.content))),
                (None, Some(i)) => added[i] = token,
                (None, None) => {
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

    /// The tokens around a text, where the config says something about them.
    ///
    /// # Errors
    /// A sentence about a field that is neither true nor false.
    pub fn around(&self, bos: Option<u32>, eos: Option<u32>) -> Result<Option<Post>, String> {
        if self.add_bos_token.is_none() && self.add_eos_token.is_none() {
            return Ok(None);
        }
        let wanted = |name: &str, v: &Option<Json>| match v {
            None | Some(Json::Null) => Ok(false),
            Some(Json::Bool(b)) => Ok(*b),
            Some(other) => Err(format!("{name} is {}, expected true or false", fields::shown(other))),
        };
        let (before, after) = (wanted("add_bos_token", &self.add_bos_token)?, wanted("add_eos_token", &self.add_eos_token)?);
        Ok(Some(Post::Around { before: bos.filter(|_| before).into_iter().collect(), after: eos.filter(|_| after).into_iter().collect() }))
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
