//! Adapters of virtual tokens: prompt tuning, P-tuning and prefix tuning. Their configuration has one table of fields a kind; their file holds one
//! tensor, what the virtual tokens have come to be.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::config::{CAUSAL, MASK, MASKS, is_set, shown};
use super::named::{NamedTensor, tensor};
use super::{CONFIG_NAME, WEIGHTS_NAME};
use crate::error::{Error, Result};
use crate::formats::safetensors::{self, TensorView};
use crate::formats::{Container, Foreign};
use crate::tensor::{DType, quantize};
use crate::text::{not_json, without_bom};

/// The tensor in an adapter's file.
pub const PROMPT_EMBEDDINGS: &str = "prompt_embeddings";

/// Where virtual tokens act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptKind {
    /// Embeddings in front of those of the tokens (Lester et al. 2021).
    PromptTuning,
    /// The same, made by a small network (Liu et al. 2021).
    PTuning,
    /// Keys and values in front of those of every layer (Li & Liang 2021).
    PrefixTuning,
}

/// What a field takes.
enum Takes {
    Whole(u64, u64),
    OptWhole(u64, u64),
    /// From 0 to below 1.
    Share,
    Choice(&'static [&'static str]),
    OptChoice(&'static [&'static str]),
    OptText,
    Switch,
    /// Says nothing about the numbers.
    Free,
    /// Only what asks for nothing.
    Unset,
}

type Table = &'static [(&'static str, Takes, &'static str)];

/// Fields of all three, with PEFT's defaults as JSON.
const COMMON: Table = &[
    ("auto_mapping", Takes::Free, "null"),
    ("base_model_name_or_path", Takes::OptText, "null"),
    ("inference_mode", Takes::Switch, "false"),
    ("modules_to_save", Takes::Unset, "null"),
    ("num_attention_heads", Takes::OptWhole(1, 1 << 20), "null"),
    ("num_layers", Takes::OptWhole(1, 1 << 20), "null"),
    ("num_transformer_submodules", Takes::OptWhole(1, 1), "null"),
    ("num_virtual_tokens", Takes::Whole(1, 4096), "null"),
    ("peft_version", Takes::Free, "null"),
    ("revision", Takes::OptText, "null"),
    ("task_type", Takes::OptText, "null"),
    ("token_dim", Takes::OptWhole(1, 1 << 24), "null"),
];

const PROMPT_TUNING: Table = &[
    ("prompt_tuning_init", Takes::Choice(&["RANDOM", "TEXT", "SAMPLE_VOCAB"]), "\"RANDOM\""),
    ("prompt_tuning_init_text", Takes::OptText, "null"),
    ("tokenizer_kwargs", Takes::Unset, "null"),
    ("tokenizer_name_or_path", Takes::OptText, "null"),
];

const P_TUNING: Table = &[
    ("encoder_dropout", Takes::Share, "0.0"),
    ("encoder_hidden_size", Takes::OptWhole(1, 1 << 16), "null"),
    ("encoder_num_layers", Takes::Whole(1, 16), "2"),
    ("encoder_reparameterization_type", Takes::Choice(&["MLP", "LSTM"]), "\"MLP\""),
];

const PREFIX_TUNING: Table = &[
    ("encoder_hidden_size", Takes::OptWhole(1, 1 << 16), "null"),
    ("init_weights", Takes::OptChoice(&["zero"]), "null"),
    ("prefix_projection", Takes::Switch, "false"),
];

impl PromptKind {
    pub const ALL: [PromptKind; 3] = [PromptKind::PromptTuning, PromptKind::PTuning, PromptKind::PrefixTuning];

    /// PEFT's `peft_type`.
    pub fn name(self) -> &'static str {
        match self {
            PromptKind::PromptTuning => "PROMPT_TUNING",
            PromptKind::PTuning => "P_TUNING",
            PromptKind::PrefixTuning => "PREFIX_TUNING",
        }
    }

    fn own(self) -> Table {
        match self {
            PromptKind::PromptTuning => PROMPT_TUNING,
            PromptKind::PTuning => P_TUNING,
            PromptKind::PrefixTuning => PREFIX_TUNING,
        }
    }

    fn fields(self) -> impl Iterator<Item = &'static (&'static str, Takes, &'static str)> {
        COMMON.iter().chain(self.own())
    }

    /// Names of its fields.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.fields().map(|f| f.0).chain(["peft_type"])
    }
}

impl Takes {
    /// What is wrong with a value.
    fn check(&self, v: &Json) -> std::result::Result<(), String> {
        let within = |low: u64, high: u64| v.as_u64().is_some_and(|n| (low..=high).contains(&n));
        let one_of = |list: &[&str]| v.as_str().is_some_and(|s| list.contains(&s));
        let (ok, wanted) = match self {
            Takes::Whole(low, high) => (within(*low, *high), format!("a whole number from {low} to {high}")),
            Takes::OptWhole(low, high) => (v.is_null() || within(*low, *high), format!("a whole number from {low} to {high} or null")),
            Takes::Share => (v.as_f64().is_some_and(|p| (0.0..1.0).contains(&p)), "a number from 0 to below 1".into()),
            Takes::Choice(list) => (one_of(list), format!("one of {}", list.join(", "))),
            Takes::OptChoice(list) => (v.is_null() || one_of(list), format!("one of {} or null", list.join(", "))),
            Takes::OptText => (v.is_null() || v.is_string(), "a text or null".into()),
            Takes::Switch => (v.is_boolean(), "true or false".into()),
            Takes::Free => (true, String::new()),
            Takes::Unset if is_set(v) => return Err(format!("is {}, which is not supported", shown(v))),
            Takes::Unset => (true, String::new()),
        };
        if ok { Ok(()) } else { Err(format!("is {}, expected {wanted}", shown(v))) }
    }
}

/// PEFT's PromptTuningConfig, PromptEncoderConfig or PrefixTuningConfig.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptConfig {
    pub kind: PromptKind,
    /// Every field of the kind, and what of others asks for nothing.
    fields: Map<String, Json>,
}

impl PromptConfig {
    /// Reads the fields of a kind; those that are missing have PEFT's defaults.
    ///
    /// # Errors
    /// [`Error::BadConfig`] that names a field, and all others that are wrong behind it.
    pub fn of(kind: PromptKind, mut map: Map<String, Json>) -> Result<PromptConfig> {
        map.remove("peft_type");
        let mut wrong: Vec<(String, String)> = Vec::new();
        let mut fields = Map::new();
        for (name, takes, default) in kind.fields() {
            let mut value =
                map.remove(*name).filter(|v| !v.is_null()).unwrap_or_else(|| serde_json::from_str(default).expect("JSON of the table"));
            if let Some(f) =
                value.as_f64().filter(|f| !value.is_u64() && f.fract() == 0.0 && (0.0..9e15).contains(f) && *name != "encoder_dropout")
            {
                value = json!(f as u64);
            }
            if let Err(message) = takes.check(&value) {
                wrong.push((name.to_string(), message));
            }
            fields.insert(name.to_string(), value);
        }
        // Ours: not there where it is PEFT's own.
        if let Some(v) = map.remove(MASK).filter(|v| !v.is_null() && v != CAUSAL) {
            match Takes::Choice(&MASKS).check(&v) {
                Ok(()) => drop(fields.insert(MASK.into(), v)),
                Err(message) => wrong.push((MASK.into(), message)),
            }
        }
        for (name, v) in map {
            if is_set(&v) {
                wrong.push((name, format!("is {}, which is no field of {}", shown(&v), kind.name())));
            } else {
                fields.insert(name, v);
            }
        }
        let config = PromptConfig { kind, fields };
        if wrong.is_empty()
            && config.text("prompt_tuning_init") == Some("TEXT")
            && config.text("prompt_tuning_init_text").is_none_or(str::is_empty)
        {
            wrong.push(("prompt_tuning_init_text".into(), "is missing: prompt_tuning_init is TEXT".into()));
        }
        let mut wrong = wrong.into_iter();
        let Some((field, mut message)) = wrong.next() else { return Ok(config) };
        for (other, more) in wrong {
            message += &format!("; {other}: {more}");
        }
        Err(Error::config(field, message))
    }

    /// The file's text: keys sorted, indented by two, every field that PEFT knows.
    pub fn to_json(&self) -> String {
        let sorted: BTreeMap<String, Json> = self.map().into_iter().collect();
        serde_json::to_string_pretty(&sorted).expect("plain JSON")
    }

    /// A field that it may have.
    pub(super) fn field(&self, name: &str) -> Option<&Json> {
        self.fields.get(name)
    }

    pub(super) fn fields_mut(&mut self) -> &mut Map<String, Json> {
        &mut self.fields
    }

    /// Its fields, with `peft_type`.
    pub fn map(&self) -> Map<String, Json> {
        let mut all = self.fields.clone();
        all.insert("peft_type".into(), json!(self.kind.name()));
        all
    }

    /// A field's value where it is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// A field's value where it is a whole number.
    pub fn whole(&self, name: &str) -> Option<usize> {
        self.fields.get(name)?.as_u64().map(|n| n as usize)
    }

    /// A field's value where it is a number; 0 where it is none.
    pub fn number(&self, name: &str) -> f64 {
        self.fields.get(name).and_then(Json::as_f64).unwrap_or(0.0)
    }

    /// True where a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.fields.get(name) == Some(&Json::Bool(true))
    }

    pub fn virtual_tokens(&self) -> usize {
        self.whole("num_virtual_tokens").unwrap_or_default()
    }

    /// True where a network makes what is saved, which is lost in the file.
    pub fn has_encoder(&self) -> bool {
        self.kind == PromptKind::PTuning || self.is_on("prefix_projection")
    }

    /// Says what follows from the model, as PEFT does; what was said before must agree.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] that names the field: the adapter is another model's.
    pub fn fill(&mut self, name: &str, value: usize) -> Result<()> {
        match self.whole(name) {
            Some(had) if had != value => {
                Err(Error::BadAdapter(format!("{name} is {had}, this model has {value}: the adapter belongs to another one")))
            }
            _ => {
                self.fields.insert(name.into(), json!(value));
                Ok(())
            }
        }
    }

    /// The same, where nothing was said before.
    pub fn default_to(&mut self, name: &str, value: usize) {
        if self.whole(name).is_none() {
            self.fields.insert(name.into(), json!(value));
        }
    }
}

/// The text of an `adapter_config.json` as an object.
///
/// # Errors
/// [`Error::BadFile`].
pub(super) fn object(file: &str, text: &str) -> Result<Map<String, Json>> {
    match serde_json::from_str(without_bom(text)) {
        Ok(Json::Object(map)) => Ok(map),
        Ok(_) => Err(Error::file(file, "is not a PEFT config: expected an object")),
        Err(e) => Err(Error::file(file, not_json(text, || format!("is not a PEFT config: {e}")))),
    }
}

/// What PEFT's names of trained parameters begin with.
const TRAINED: &str = "prompt_encoder.";

/// Virtual tokens in host memory: their embeddings (n, C), or keys and values of all layers (n, 2·L·Hkv·D): block 2l keys, 2l + 1 values of layer l.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptAdapter {
    pub config: PromptConfig,
    pub width: usize,
    /// (n, width)
    pub values: Vec<f32>,
    /// In place of those, all that is trained, the network's weights included, under PEFT's names of parameters: what PEFT writes no file of.
    pub parts: Vec<NamedTensor>,
}

impl PromptAdapter {
    /// Reads the weights that belong to a configuration.
    ///
    /// # Errors
    /// [`Error::BadFile`], [`Error::BadAdapter`], [`Error::NotFinite`].
    pub fn read(config: PromptConfig, weights: &[u8]) -> Result<PromptAdapter> {
        let c = Container::parse(WEIGHTS_NAME, weights)?;
        let bad = |message: String| Error::BadAdapter(message);
        if let Some(Foreign { name, dtype, .. }) = c.skipped.first() {
            return Err(bad(format!("tensor {name:?} has type {dtype}, expected F32, F16 or BF16")));
        }
        if c.tensors.iter().all(|t| t.name.starts_with(TRAINED)) && !c.tensors.is_empty() {
            let parts = (0..c.tensors.len()).map(|i| tensor(&c, weights, i)).collect::<Result<_>>()?;
            return Ok(PromptAdapter { config, width: 0, values: Vec::new(), parts });
        }
        if let Some(t) = c.tensors.iter().find(|t| t.name != PROMPT_EMBEDDINGS) {
            return Err(bad(format!("tensor {:?} is none of {}; expected {PROMPT_EMBEDDINGS}", t.name, config.kind.name())));
        }
        let index = c.index_of(PROMPT_EMBEDDINGS).ok_or_else(|| bad(format!("tensor {PROMPT_EMBEDDINGS:?} is missing")))?;
        let t = tensor(&c, weights, index)?;
        let n = config.virtual_tokens();
        let &[rows, width] = t.shape.as_slice() else {
            return Err(bad(format!("tensor {:?} has shape {:?}, expected two dimensions", t.name, t.shape)));
        };
        if rows != n || width == 0 {
            return Err(bad(format!("tensor {:?} is ({rows}, {width}), {CONFIG_NAME} says num_virtual_tokens = {n}", t.name)));
        }
        Ok(PromptAdapter { config, width, values: t.values, parts: Vec::new() })
    }

    /// The two files, weights in f32: what PEFT reads.
    ///
    /// # Errors
    /// [`Error::BadFile`].
    pub fn write(&self) -> Result<(String, Vec<u8>)> {
        let (shape, bytes) = ([self.values.len() / self.width.max(1), self.width], quantize(DType::F32, &self.values));
        let view = TensorView { name: PROMPT_EMBEDDINGS, dtype: DType::F32, shape: &shape, bytes: &bytes };
        let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
        Ok((self.config.to_json(), safetensors::write(WEIGHTS_NAME, &[view], &metadata)?))
    }
}
