//! What a configuration asks of an adapter: PEFT's fields, read by the table of its kind.

use serde_json::{Map, Value, json};

use super::methods::peft::{KINDS, PEFT_TYPE, every_peft_field, kind_of};
use super::methods::shared;
use super::values::{Wrong, check, shown};
use crate::adapters::Adapters;
use crate::data::RowKind;
use crate::formats::peft::{LoraConfig, PeftConfig, PromptKind, SAVED};
use crate::{Error, Result};

/// PEFT's fields that are not in the table, but may stand in its configuration; what of them is not supported, that says itself.
const PEFT_FIELDS: &[&str] = &["bias", "fan_in_fan_out", "modules_to_save", "task_type"];

/// PEFT's task of an encoder whose head for tokens learns.
pub(super) const FEATURES: &str = "FEATURE_EXTRACTION";

/// PEFT's task of an encoder-decoder.
pub(super) const SEQ_2_SEQ: &str = "SEQ_2_SEQ_LM";

/// Whether a field is PEFT's.
pub(super) fn is_peft_field(name: &str) -> bool {
    PEFT_FIELDS.contains(&name) || every_peft_field().iter().any(|f| f.name == name)
}

/// What was asked of an adapter.
pub(super) struct Asked {
    pub config: PeftConfig,
    /// The fields that somebody set.
    pub given: Vec<String>,
}

/// PEFT's fields with the table's defaults.
fn peft_config(mut peft: Map<String, Value>, base: &str, rows: RowKind, wrong: &mut Wrong) -> PeftConfig {
    let plain = || PeftConfig::Lora(LoraConfig::default());
    let asked = peft.remove("peft_type").filter(|v| !v.is_null()).unwrap_or(PEFT_TYPE.default.json());
    // PEFT also takes its types in small letters.
    let asked = asked.as_str().map_or(asked.clone(), |s| json!(s.to_ascii_uppercase()));
    let kind = match check(&PEFT_TYPE, &asked) {
        Ok(name) => kind_of(name.as_str().unwrap_or_default()).unwrap_or(&KINDS[0]),
        Err(message) => {
            wrong.add("peft_type", message);
            return plain();
        }
    };
    let every = every_peft_field();
    let mut own = Map::new();
    for field in kind.all_fields() {
        let given = peft.remove(field.name).filter(|v| !v.is_null());
        let value = given.map_or_else(|| Ok(field.default.json()), |v| check(field, &v)).unwrap_or_else(|message| {
            wrong.add(field.name, message);
            field.default.json()
        });
        own.insert(field.name.into(), value);
    }
    own.insert("peft_type".into(), json!(kind.peft_type));
    // Everything else that PEFT's configuration of this kind may hold.
    let all = match PromptKind::ALL.into_iter().find(|k| k.name() == kind.peft_type) {
        Some(kind) => kind.names().map(|n| (n.to_string(), Value::Null)).collect(),
        None => serde_json::from_str(&LoraConfig::default().to_json()).unwrap_or_else(|_| unreachable!("its own JSON")),
    };
    let all = Value::Object(all);
    for (name, value) in peft {
        if all.get(name.as_str()).is_some() {
            own.insert(name, value);
        } else if value.is_null() {
        } else if every.iter().any(|f| f.name == name) || PEFT_FIELDS.contains(&name.as_str()) {
            wrong.add(&name, format!("is no field of {}", kind.peft_type));
        } else {
            let names = all.as_object().into_iter().flatten().map(|(k, _)| k.as_str());
            wrong.unknown(&name, "PEFT's configuration", names);
        }
    }
    own.retain(|_, v| !v.is_null());
    for name in ["corda_config", "eva_config", "loftq_config", "lora_ga_config"] {
        if own.get(name).is_some_and(|v| v.as_object().is_none_or(|o| !o.is_empty())) {
            wrong.add(name, "belongs to a start (init_lora_weights) that is not supported for a new adapter");
        }
    }
    // What scores is a classifier of whole sequences, to PEFT as to Transformers.
    let (task, saved): (&str, &[&str]) = if rows == RowKind::Reward { ("SEQ_CLS", &SAVED) } else { ("CAUSAL_LM", &[]) };
    let asked = own.entry("task_type").or_insert(json!(task));
    // The model's shape is not known here.
    if asked != task && !(rows == RowKind::Sft && (asked == FEATURES || asked == SEQ_2_SEQ)) {
        wrong.add("task_type", format!("is {}, expected {task:?}", shown(asked)));
    }
    let asked = own.remove("modules_to_save").unwrap_or_else(|| json!([]));
    if !asked.as_array().is_some_and(|names| names.iter().all(|n| saved.iter().any(|s| n == s))) {
        wrong.add("modules_to_save", format!("is {}, which is not supported for a new adapter", shown(&asked)));
    }
    if !saved.is_empty() {
        if kind.peft_type != "LORA" {
            wrong.add("peft_type", format!("is {}: a reward model is trained with LORA", kind.peft_type));
        }
        let mut names = saved.to_vec();
        names.sort_unstable();
        own.insert("modules_to_save".into(), json!(names));
    }
    own.entry("base_model_name_or_path").or_insert(json!(base));
    let config = PeftConfig::parse("peft_config", &Value::Object(own).to_string());
    let started = |config: PeftConfig| match config.lora().map(LoraConfig::start) {
        Some(Err(e)) => Err(e),
        _ => Ok(config),
    };
    config.and_then(started).unwrap_or_else(|e| {
        match e {
            Error::BadConfig { field, message } => wrong.add(&field, message),
            Error::BadFile { message, .. } => wrong.add("peft_config", message),
            other => wrong.add("peft_config", other.to_string()),
        }
        plain()
    })
}

impl Asked {
    /// Reads PEFT's fields; what is wrong is put to what else is. `base` is the model's name.
    pub fn read(peft: Map<String, Value>, base: &str, rows: RowKind, wrong: &mut Wrong) -> Asked {
        let given = peft.iter().filter(|(_, v)| !v.is_null()).map(|(k, _)| k.clone()).collect();
        Asked { config: peft_config(peft, base, rows, wrong), given }
    }

    /// An adapter that is continued stays what it is: what else is asked of it is told.
    pub fn agrees(&self, adapters: &Adapters, there: &PeftConfig, whose: &str) -> Result<()> {
        let (asked, own) = (self.config.fields(), there.fields());
        let mut wrong = Wrong::default();
        for name in self.given.iter().filter(|n| !["base_model_name_or_path", "inference_mode", "peft_version"].contains(&n.as_str())) {
            let (Some(ask), has) = (asked.get(name), own.get(name).unwrap_or(&Value::Null)) else { continue };
            if ask == has || (ask.as_f64().is_some() && ask.as_f64() == has.as_f64()) {
                continue;
            }
            // Modules, ranks and factors may be said in several ways.
            let mut both = own.clone();
            both.insert(name.clone(), ask.clone());
            let shape = shared::LORA.iter().any(|f| f.name == name) && !["lora_dropout", "init_lora_weights"].contains(&name.as_str());
            let same = || -> Result<bool> {
                let both = LoraConfig::parse("peft_config", &Value::Object(both).to_string())?;
                Ok(there.lora().is_some_and(|there| matches!((adapters.targets(&both), adapters.targets(there)), (Ok(a), Ok(b)) if a == b)))
            };
            if !(shape && same().unwrap_or(false)) {
                wrong.add(name, format!("is {}, {whose} has {}: leave it out, or give a new adapter another name", shown(ask), shown(has)));
            }
        }
        wrong.done()
    }
}
