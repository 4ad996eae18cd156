//! An adapter of any kind: `peft_type` says which.

use serde_json::{Map, Value as Json};

use super::config::LoraConfig;
use super::config::{CAUSAL, MASK};
use super::named::NamedTensor;
use super::prompt::{PROMPT_EMBEDDINGS, PromptAdapter, PromptConfig, PromptKind, object};
use super::{CONFIG_NAME, LoraAdapter};
use crate::error::{Error, Result};

/// A configuration of any kind.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "few are ever alive, and most are the large ones")]
pub enum PeftConfig {
    Lora(LoraConfig),
    Prompt(PromptConfig),
}

/// All of PEFT's kinds that there are here.
pub fn peft_types() -> impl Iterator<Item = &'static str> {
    ["LORA"].into_iter().chain(PromptKind::ALL.map(PromptKind::name))
}

impl From<LoraConfig> for PeftConfig {
    fn from(config: LoraConfig) -> PeftConfig {
        PeftConfig::Lora(config)
    }
}

impl From<PromptConfig> for PeftConfig {
    fn from(config: PromptConfig) -> PeftConfig {
        PeftConfig::Prompt(config)
    }
}

impl PeftConfig {
    /// Parses an `adapter_config.json`; `file` is its name for messages.
    ///
    /// # Errors
    /// [`Error::BadFile`] where it is not JSON; [`Error::BadConfig`] that names a field, and all others that are wrong behind it.
    pub fn parse(file: &str, text: &str) -> Result<PeftConfig> {
        let map = object(file, text)?;
        match map.get("peft_type").and_then(Json::as_str) {
            None | Some("LORA") => LoraConfig::parse(file, text).map(PeftConfig::Lora),
            Some(name) => match PromptKind::ALL.into_iter().find(|k| k.name() == name) {
                Some(kind) => PromptConfig::of(kind, map).map(PeftConfig::Prompt),
                None => {
                    let all: Vec<&str> = peft_types().collect();
                    let shown: String = name.chars().take(100).collect();
                    Err(Error::config("peft_type", format!("is {shown:?}, supported are {}", all.join(", "))))
                }
            },
        }
    }

    /// PEFT's `peft_type`.
    pub fn peft_type(&self) -> &'static str {
        match self {
            PeftConfig::Lora(_) => "LORA",
            PeftConfig::Prompt(c) => c.kind.name(),
        }
    }

    pub fn lora(&self) -> Option<&LoraConfig> {
        match self {
            PeftConfig::Lora(c) => Some(c),
            PeftConfig::Prompt(_) => None,
        }
    }

    pub fn prompt(&self) -> Option<&PromptConfig> {
        match self {
            PeftConfig::Lora(_) => None,
            PeftConfig::Prompt(c) => Some(c),
        }
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        match self {
            PeftConfig::Lora(c) => c.to_json(),
            PeftConfig::Prompt(c) => c.to_json(),
        }
    }

    /// Its fields as they are.
    pub fn fields(&self) -> Map<String, Json> {
        match self {
            PeftConfig::Prompt(c) => c.map(),
            PeftConfig::Lora(c) => match serde_json::to_value(c) {
                Ok(Json::Object(map)) => map,
                _ => unreachable!("a struct is an object"),
            },
        }
    }

    /// The mask that it was trained with, by name: a field of ours, which PEFT leaves out with a warning. `causal` where it is not said.
    pub fn mask(&self) -> &str {
        let said = match self {
            PeftConfig::Lora(c) => c.extra.get(MASK),
            PeftConfig::Prompt(c) => c.field(MASK),
        };
        said.and_then(Json::as_str).unwrap_or(CAUSAL)
    }

    /// Says it, unless it is PEFT's own.
    pub fn set_mask(&mut self, mask: &str) {
        let fields = match self {
            PeftConfig::Lora(c) => &mut c.extra,
            PeftConfig::Prompt(c) => c.fields_mut(),
        };
        fields.remove(MASK);
        if mask != CAUSAL {
            fields.insert(MASK.into(), mask.into());
        }
    }

    /// Of which model, where it says so.
    pub fn base(&self) -> Option<&str> {
        match self {
            PeftConfig::Lora(c) => c.base_model_name_or_path.as_deref(),
            PeftConfig::Prompt(c) => c.text("base_model_name_or_path"),
        }
    }
}

/// An adapter of any kind in host memory.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "few are ever alive, and most are the large ones")]
pub enum PeftAdapter {
    Lora(LoraAdapter),
    Prompt(PromptAdapter),
}

impl From<LoraAdapter> for PeftAdapter {
    fn from(adapter: LoraAdapter) -> PeftAdapter {
        PeftAdapter::Lora(adapter)
    }
}

impl From<PromptAdapter> for PeftAdapter {
    fn from(adapter: PromptAdapter) -> PeftAdapter {
        PeftAdapter::Prompt(adapter)
    }
}

impl LoraAdapter {
    /// # Errors
    /// [`Error::BadAdapter`] where it was trained with another mask than the causal one: `what` could not say so.
    pub fn need_causal(&self, what: &str) -> Result<()> {
        match PeftConfig::from(self.config.clone()).mask() {
            CAUSAL => Ok(()),
            mask => Err(Error::BadAdapter(format!("it was trained with the mask {mask}, which {what} cannot say"))),
        }
    }
}

impl PeftAdapter {
    /// Reads an adapter from its two files and checks one against the other.
    ///
    /// # Errors
    /// [`Error::BadFile`], [`Error::BadConfig`], [`Error::BadAdapter`], [`Error::NotFinite`].
    pub fn read(config: &str, weights: &[u8]) -> Result<PeftAdapter> {
        match PeftConfig::parse(CONFIG_NAME, config)? {
            PeftConfig::Lora(_) => LoraAdapter::read(config, weights).map(PeftAdapter::Lora),
            PeftConfig::Prompt(c) => PromptAdapter::read(c, weights).map(PeftAdapter::Prompt),
        }
    }

    /// The two files, weights in f32.
    ///
    /// # Errors
    /// [`Error::BadFile`].
    pub fn write(&self) -> Result<(String, Vec<u8>)> {
        match self {
            PeftAdapter::Lora(a) => a.write(),
            PeftAdapter::Prompt(a) => a.write(),
        }
    }

    pub fn config(&self) -> PeftConfig {
        match self {
            PeftAdapter::Lora(a) => a.config.clone().into(),
            PeftAdapter::Prompt(a) => a.config.clone().into(),
        }
    }

    /// # Errors
    /// [`Error::BadAdapter`] that says what `what` is done with alone.
    pub fn into_lora(self, what: &str) -> Result<LoraAdapter> {
        match self {
            PeftAdapter::Lora(a) => Ok(a),
            PeftAdapter::Prompt(a) => Err(not_lora(a.config.kind.name(), what)),
        }
    }

    /// Number of trained values in the file.
    pub fn parameters(&self) -> usize {
        match self {
            PeftAdapter::Lora(a) => a.parameters(),
            PeftAdapter::Prompt(a) => a.values.len() + a.parts.iter().map(|t| t.values.len()).sum::<usize>(),
        }
    }

    /// The tensors of the file.
    pub fn tensors(&self) -> Vec<NamedTensor> {
        match self {
            PeftAdapter::Lora(a) => a.tensors(),
            PeftAdapter::Prompt(a) => {
                let shape = vec![a.values.len() / a.width.max(1), a.width];
                vec![NamedTensor { name: PROMPT_EMBEDDINGS.into(), shape, values: a.values.clone() }]
            }
        }
    }
}

/// What is done with LoRA alone.
pub fn not_lora(peft_type: &str, what: &str) -> Error {
    Error::BadAdapter(format!("a {peft_type} adapter cannot be {what}: only LORA can"))
}
