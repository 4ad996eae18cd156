//! A model's tokenizer, from the metadata of its GGUF or from the texts of its folder.

use std::collections::HashMap;

use crate::Result;
use crate::formats::{Container, Value};
use crate::text::without_bom;
use crate::tokenizer::{GgufVocab, Tokenizer};

/// The side files of a folder that a tokenizer is made of.
pub const TOKENIZER_FILES: [&str; 3] = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];

/// The tokenizer of a folder's texts (by the names of [`TOKENIZER_FILES`]); none where there is no `tokenizer.json`.
///
/// # Errors
/// [`BadFile`](crate::Error::BadFile) for one that cannot be used.
pub fn folder_tokenizer(texts: &HashMap<String, String>) -> Result<Option<Tokenizer>> {
    let Some(text) = texts.get("tokenizer.json") else { return Ok(None) };
    let mut t = Tokenizer::from_json("tokenizer.json", text, texts.get("tokenizer_config.json").map(String::as_str))?;
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
        has_charsmap: m.get("tokenizer.ggml.precompiled_charsmap").is_some_and(|v| !matches!(v, Value::Array(a) if a.is_empty())),
        chat_template: m.opt_str("tokenizer.chat_template")?,
    };
    Ok(Some(Tokenizer::from_gguf(vocab)?))
}
