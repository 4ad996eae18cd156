//! A model's tokenizer, from the metadata of its GGUF or from the texts of its folder.

use std::collections::HashMap;

use crate::formats::{Array, Container, Value};
use crate::text::without_bom;
use crate::tokenizer::{GgufVocab, Tokenizer};
use crate::{Error, Result};

/// The side files of a folder that a tokenizer is made of.
pub const TOKENIZER_FILES: [&str; 4] = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "vocab.txt"];

/// The tokenizer of a folder's texts (by the names of [`TOKENIZER_FILES`]); none where there is neither a `tokenizer.json` nor a BERT's `vocab.txt`.
///
/// # Errors
/// [`BadFile`](crate::Error::BadFile) for one that cannot be used.
pub fn folder_tokenizer(texts: &HashMap<String, String>) -> Result<Option<Tokenizer>> {
    let config = texts.get("tokenizer_config.json").map(String::as_str);
    let mut t = match (texts.get("tokenizer.json"), texts.get("vocab.txt")) {
        (Some(text), _) => Tokenizer::from_json("tokenizer.json", text, config)?,
        (None, Some(text)) => Tokenizer::from_vocab_txt("vocab.txt", text, config)?,
        (None, None) => return Ok(None),
    };
    if let Some(template) = texts.get("chat_template.jinja") {
        t.set_chat_template(without_bom(template));
    }
    Ok(Some(t))
}

/// The tokenizer in a GGUF's metadata; none where it has no `tokenizer.ggml.model`.
///
/// # Errors
/// [`BadFile`](crate::Error::BadFile) for one that cannot be used.
pub fn gguf_tokenizer(c: &Container) -> Result<Option<Tokenizer>> {
    let m = &c.metadata;
    let Some(model) = m.opt_str("tokenizer.ggml.model")? else { return Ok(None) };
    let vocab = GgufVocab {
        file: &c.file,
        model,
        pre: m.opt_str("tokenizer.ggml.pre")?,
        scores: m.opt_f32s("tokenizer.ggml.scores")?.unwrap_or_default(),
        unknown: m.opt_token_id("tokenizer.ggml.unknown_token_id")?,
        tokens: m.strs("tokenizer.ggml.tokens")?.iter().collect(),
        token_types: m.opt_i32s("tokenizer.ggml.token_type")?.unwrap_or_default(),
        merges: m.opt_strs("tokenizer.ggml.merges")?.map(|a| a.iter().collect()).unwrap_or_default(),
        bos: m.opt_token_id("tokenizer.ggml.bos_token_id")?,
        eos: m.opt_token_id("tokenizer.ggml.eos_token_id")?,
        pad: m.opt_token_id("tokenizer.ggml.padding_token_id")?,
        add_bos: m.opt_bool("tokenizer.ggml.add_bos_token")?,
        add_eos: m.opt_bool("tokenizer.ggml.add_eos_token")?,
        add_space_prefix: m.opt_bool("tokenizer.ggml.add_space_prefix")?,
        remove_extra_whitespaces: m.opt_bool("tokenizer.ggml.remove_extra_whitespaces")?,
        charsmap: charsmap(c)?,
        lowercase: m.opt_bool("tokenizer.ggml.normalizer.lowercase")?,
        cls: m.opt_token_id("tokenizer.ggml.cls_token_id")?,
        sep: m.opt_token_id("tokenizer.ggml.seperator_token_id")?,
        chat_template: m.opt_str("tokenizer.chat_template")?,
    };
    Ok(Some(Tokenizer::from_gguf(vocab)?))
}

/// The bytes of SentencePiece's map of characters; some converters write them with a sign.
fn charsmap(c: &Container) -> Result<Vec<u8>> {
    let key = "tokenizer.ggml.precompiled_charsmap";
    match c.metadata.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(Array::U8(bytes))) => Ok(bytes.clone()),
        Some(Value::Array(Array::I8(bytes))) => Ok(bytes.iter().map(|b| *b as u8).collect()),
        Some(Value::Array(a)) if a.is_empty() => Ok(Vec::new()),
        Some(_) => Err(Error::file(&c.file, format!("{key} is no array of bytes"))),
    }
}
