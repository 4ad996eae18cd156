//! All families, one line each. What can be run, and how a file says which family it is of, is read from here.

use serde_json::Value;

use super::config::Config;
use super::families;
use super::family::Family;
use super::reading::gguf::Gguf;
use super::reading::json::Json;
use super::reading::translator;
use super::shape::Shape;
use crate::formats::Container;
use crate::text::{not_json, without_bom};
use crate::{Error, Result};

/// Every family.
pub const FAMILIES: &[&Family] = &[
    &families::llama::FAMILY,
    &families::mistral::FAMILY,
    &families::qwen2::FAMILY,
    &families::qwen3::FAMILY,
    &families::gpt2::FAMILY,
    &families::gemma::FAMILY,
    &families::gemma2::FAMILY,
    &families::gemma3::FAMILY,
    &families::phi3::FAMILY,
    &families::gpt_neox::FAMILY,
    &families::smollm3::FAMILY,
    &families::olmo2::FAMILY,
    &families::granite::FAMILY,
    &families::stablelm::FAMILY,
    &families::starcoder2::FAMILY,
    &families::cohere::FAMILY,
    &families::cohere2::FAMILY,
    &families::glm4::FAMILY,
    &families::bert::FAMILY,
    &families::roberta::FAMILY,
    &families::distilbert::FAMILY,
    &families::modernbert::FAMILY,
    &families::bart::FAMILY,
    &families::mbart::FAMILY,
    &families::marian::FAMILY,
];

/// What the loader can run, in a `config.json`'s words.
pub fn supported() -> String {
    FAMILIES.iter().flat_map(|f| f.model_types).copied().collect::<Vec<_>>().join(", ")
}

/// The same in a GGUF's.
fn supported_gguf() -> String {
    format!("in a GGUF: {}", FAMILIES.iter().flat_map(|f| f.gguf).copied().collect::<Vec<_>>().join(", "))
}

/// What can be written as a GGUF.
pub(super) fn written() -> String {
    FAMILIES.iter().filter(|f| f.to_gguf.is_some()).flat_map(|f| f.model_types).copied().collect::<Vec<_>>().join(", ")
}

/// The family that a `config.json` names.
pub(super) fn of_json(file: &str, j: &Json<'_>) -> Result<&'static Family> {
    let found = j.text("model_type").ok_or_else(|| Error::config("model_type", format!("is missing in {file}")))?;
    let family = FAMILIES.iter().find(|f| f.model_types.contains(&found));
    family.copied().ok_or_else(|| Error::UnsupportedArchitecture { found: found.to_string(), supported: supported() })
}

/// The object of a configuration file.
pub(super) fn parse(file: &str, text: &str) -> Result<Value> {
    let text = without_bom(text);
    let value: Value = serde_json::from_str(text).map_err(|e| Error::file(file, not_json(text, || format!("is not JSON: {e}"))))?;
    if value.is_object() { Ok(value) } else { Err(Error::file(file, "is not a JSON object")) }
}

impl Config {
    /// From the text of a `config.json`.
    ///
    /// # Errors
    /// [`Error::BadFile`] when it is not JSON, [`Error::UnsupportedArchitecture`], [`Error::BadConfig`] with the field's name.
    pub fn from_json(file: &str, text: &str) -> Result<Config> {
        let value = parse(file, text)?;
        let j = Json { map: &value };
        (of_json(file, &j)?.from_json)(&j)?.checked()
    }

    /// From the metadata of a GGUF and the names of its tensors (biases and an untied head are known by their presence).
    ///
    /// # Errors
    /// As [`Config::from_json`].
    pub fn from_gguf(file: &Container) -> Result<Config> {
        let arch = file.metadata.str("general.architecture")?;
        let family = (FAMILIES.iter().find(|f| f.gguf.contains(&arch)))
            .ok_or_else(|| Error::UnsupportedArchitecture { found: arch.to_string(), supported: supported_gguf() })?;
        (family.from_gguf)(&Gguf { file, arch })?.checked()
    }

    /// Adds the end-of-answer ids of a `generation_config.json`, which knows more of them than `config.json`. What it says of the tokens of an
    /// encoder-decoder's answers holds in place of what that says.
    ///
    /// # Errors
    /// [`Error::BadFile`] or [`Error::BadConfig`].
    pub fn add_generation_config(&mut self, file: &str, text: &str) -> Result<()> {
        let value = parse(file, text)?;
        let j = Json { map: &value };
        if let Shape::EncoderDecoder(e) = &mut self.shape {
            e.rules = translator::rules(&j)?;
        }
        for id in j.ids("eos_token_id")? {
            if !self.eos_token_ids.contains(&id) {
                self.eos_token_ids.push(id);
            }
        }
        self.drop_ids_outside();
        self.check_rules()
    }
}
