//! How a folder of sentence-transformers makes one vector of a text: `modules.json`, `1_Pooling/config.json`, `sentence_bert_config.json`.

use std::collections::HashMap;

use serde_json::Value;

use super::reading::json::Json;
use super::registry::parse;
use crate::text::{not_json, without_bom};
use crate::{Error, Result};

/// The files that say it.
pub const SENTENCE_FILES: [&str; 3] = ["modules.json", POOLING, LENGTH];
const POOLING: &str = "1_Pooling/config.json";
const LENGTH: &str = "sentence_bert_config.json";

/// Which states a vector is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The mean of all tokens' states.
    #[default]
    Mean,
    /// The first token's.
    First,
}

impl Pooling {
    /// By its name: mean, cls.
    ///
    /// # Errors
    /// The names there are.
    pub fn parse(name: &str) -> std::result::Result<Pooling, String> {
        match name {
            "mean" => Ok(Pooling::Mean),
            "cls" => Ok(Pooling::First),
            other => Err(format!("{other:?} is no pooling (mean, cls)")),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Pooling::Mean => "mean",
            Pooling::First => "cls",
        }
    }
}

/// What the files ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sentence {
    pub pooling: Pooling,
    /// Vectors have the length 1.
    pub normalize: bool,
    /// Tokens that are read of a text, where that is less than the model's context.
    pub max_length: Option<usize>,
    /// Texts are read in small letters.
    pub lower_case: bool,
}

impl Sentence {
    /// From the texts of a folder; none where it has no `modules.json`.
    ///
    /// # Errors
    /// [`Error::BadFile`], [`Error::BadConfig`] for a module that is not there here.
    pub fn read(texts: &HashMap<String, String>) -> Result<Option<Sentence>> {
        let Some(text) = texts.get("modules.json") else { return Ok(None) };
        let text = without_bom(text);
        let modules: Vec<Value> = serde_json::from_str(text)
            .map_err(|e| Error::file("modules.json", not_json(text, || format!("is no list of modules: {e}"))))?;
        let mut s = Sentence::default();
        for (i, module) in modules.iter().enumerate() {
            let kind = module.get("type").and_then(Value::as_str).unwrap_or_default().rsplit('.').next().unwrap_or_default();
            let path = module.get("path").and_then(Value::as_str).unwrap_or_default();
            match (i, kind) {
                (0, "Transformer") if path.is_empty() => {}
                (_, "Pooling") if format!("{path}/config.json") == POOLING => s.pooling = pooling(texts)?,
                (_, "Normalize") => s.normalize = true,
                _ => {
                    let message = format!("module {i} is {kind:?} in {path:?}, expected Transformer, Pooling in \"1_Pooling\", Normalize");
                    return Err(Error::config("modules.json", message));
                }
            }
        }
        if let Some(text) = texts.get(LENGTH) {
            let value = parse(LENGTH, text)?;
            let j = Json { map: &value };
            s.max_length = j.opt_size("max_seq_length")?.filter(|n| *n > 0);
            s.lower_case = j.flag("do_lower_case", false)?;
        }
        Ok(Some(s))
    }
}

fn pooling(texts: &HashMap<String, String>) -> Result<Pooling> {
    let text = texts.get(POOLING).ok_or_else(|| Error::file(POOLING, "is missing, and modules.json names it"))?;
    let value = parse(POOLING, text)?;
    let j = Json { map: &value };
    // Newer files have one name, older ones a switch for each.
    if let Some(mode) = j.text("pooling_mode") {
        return Pooling::parse(mode).map_err(|message| Error::config("pooling_mode", message));
    }
    for other in ["max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"] {
        j.only(&format!("pooling_mode_{other}"), false)?;
    }
    match (j.flag("pooling_mode_cls_token", false)?, j.flag("pooling_mode_mean_tokens", true)?) {
        (false, true) => Ok(Pooling::Mean),
        (true, false) => Ok(Pooling::First),
        (cls, _) => {
            Err(Error::config("pooling_mode_mean_tokens", format!("and pooling_mode_cls_token are both {cls}, expected one of them")))
        }
    }
}
