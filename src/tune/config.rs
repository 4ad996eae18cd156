//! Configurations with exactly the field names of TRL's `SFTConfig` and `DPOConfig` (and the `TrainingArguments` below them).
//! Every impossible value is an error that names its field.

use serde::Serialize;
use serde_json::{Map, Value};

use super::schedule::{Schedule, SchedulerType};
use crate::data::RowOptions;
use crate::{Error, Result};

/// What `TrainingArguments` calls these; defaults are TRL's, except where a comment says so.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainingArguments {
    pub learning_rate: f64,
    pub num_train_epochs: f64,
    /// Updates in all; not positive = as many as `num_train_epochs` gives.
    pub max_steps: i64,
    pub per_device_train_batch_size: usize,
    pub gradient_accumulation_steps: usize,
    /// Updates; below 1 a fraction of all, as in Transformers 5.
    pub warmup_steps: f64,
    /// Fraction of all updates, where `warmup_steps` is 0.
    pub warmup_ratio: f64,
    pub lr_scheduler_type: SchedulerType,
    pub weight_decay: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    /// 0 = no clipping.
    pub max_grad_norm: f64,
    pub seed: u32,
    /// Seed of the order of rows; `None` = `seed`.
    pub data_seed: Option<u32>,
    /// Not in TRL: rows in a new random order every epoch, or as they come.
    pub shuffle: bool,
    /// `None` = when the activations would exceed `activation_memory` (TRL: always on).
    pub gradient_checkpointing: Option<bool>,
    /// Activations that wait for the backward pass do so in half precision and half the memory. All arithmetic stays f32 (Transformers: f16,
    /// too). What is too large for a half (65,520) ends training with [`crate::Error::NotFinite`].
    pub fp16: bool,
    /// Not in TRL: bytes that activations may take before they are recomputed instead of kept; `None` = what the device suggests (see
    /// [`crate::graph::Exec::activation_memory`]).
    pub activation_memory: Option<u64>,
    /// Not in TRL: report the distance to the base model (`kl`, see [`crate::tune::kl::k3`]). For DPO that starts from the base it costs
    /// nothing, otherwise one more forward pass per row for the whole training.
    pub report_kl: bool,
    /// Longer rows are cut at their end; `None` = never, and rows longer than the model's context are refused.
    pub max_length: Option<usize>,
}

impl Default for TrainingArguments {
    fn default() -> Self {
        TrainingArguments {
            learning_rate: 2e-5,
            num_train_epochs: 3.0,
            max_steps: -1,
            per_device_train_batch_size: 8,
            gradient_accumulation_steps: 1,
            warmup_steps: 0.0,
            warmup_ratio: 0.0,
            lr_scheduler_type: SchedulerType::Linear,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            seed: 42,
            data_seed: None,
            shuffle: true,
            gradient_checkpointing: None,
            fp16: false,
            activation_memory: None,
            report_kl: true,
            max_length: Some(1024),
        }
    }
}

impl TrainingArguments {
    /// What of it rows are read by.
    pub fn row_options(&self) -> RowOptions {
        RowOptions { max_length: self.max_length, ..RowOptions::default() }
    }
}

/// Supervised fine-tuning.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SftConfig {
    #[serde(flatten)]
    pub args: TrainingArguments,
    /// Of rows with `prompt` and `completion`: only the completion counts. `None` = true.
    pub completion_only_loss: Option<bool>,
    /// Of rows with `messages`: only the assistant's messages count.
    pub assistant_only_loss: bool,
}

impl SftConfig {
    /// What of it rows are read by.
    pub fn row_options(&self) -> RowOptions {
        let completion_only = self.completion_only_loss.unwrap_or(true);
        RowOptions { completion_only, assistant_only: self.assistant_only_loss, ..self.args.row_options() }
    }
}

/// Direct preference optimization (Rafailov et al. 2023), `sigmoid` loss.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DpoConfig {
    #[serde(flatten)]
    pub args: TrainingArguments,
    pub beta: f64,
    pub label_smoothing: f64,
    /// Only `sigmoid`.
    pub loss_type: String,
}

impl Default for DpoConfig {
    fn default() -> Self {
        DpoConfig {
            args: TrainingArguments { learning_rate: 1e-6, ..TrainingArguments::default() },
            beta: 0.1,
            label_smoothing: 0.0,
            loss_type: "sigmoid".into(),
        }
    }
}

/// Fields of TRL that say nothing about the numbers here: accepted and ignored, so that a file written for TRL can be used.
const IGNORED: &[&str] = &[
    "output_dir",
    "run_name",
    "report_to",
    "logging_steps",
    "logging_strategy",
    "logging_dir",
    "logging_first_step",
    "disable_tqdm",
    "save_steps",
    "save_strategy",
    "save_total_limit",
    "eval_steps",
    "eval_strategy",
    "per_device_eval_batch_size",
    "bf16",
    "tf32",
    "use_cpu",
    "dataloader_num_workers",
    "dataloader_pin_memory",
    "remove_unused_columns",
    "gradient_checkpointing_kwargs",
    "push_to_hub",
    "hub_model_id",
    "dataset_num_proc",
    "pad_to_multiple_of",
    "precompute_ref_log_probs",
    "model_init_kwargs",
    "overwrite_output_dir",
    "do_train",
    "log_level",
];

/// Fields whose other values would change the numbers in ways that are not implemented.
const FIXED: &[(&str, &[&str])] = &[
    ("optim", &["adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw"]),
    ("packing", &["false"]),
    ("padding_free", &["false"]),
    ("eval_packing", &["false"]),
    ("group_by_length", &["false"]),
    ("neftune_noise_alpha", &["null"]),
    ("truncation_mode", &["keep_start"]),
    ("sync_ref_model", &["false"]),
    ("use_weighting", &["false"]),
    ("reference_free", &["false"]),
    ("f_divergence_type", &["reverse_kl"]),
    ("loss_weights", &["null"]),
    ("rpo_alpha", &["null"]),
    ("ld_alpha", &["null"]),
    ("dataloader_drop_last", &["false"]),
];

/// Reads fields out of a JSON object; what is left over at the end is unknown.
pub(super) struct Fields {
    map: Map<String, Value>,
}

impl Fields {
    pub(super) fn new(value: &Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Fields { map: map.clone() }),
            Value::Null => Ok(Fields { map: Map::new() }),
            other => Err(Error::config("config", format!("expected a JSON object, found {other}"))),
        }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key)
    }

    pub(super) fn number(&mut self, key: &str, low: f64, high: f64, into: &mut f64) -> Result<()> {
        if let Some(v) = self.take(key) {
            // Python's configs also hold numbers such as "5e-4" that YAML turned into text.
            let n = v.as_f64().or_else(|| v.as_str().and_then(|s| s.parse().ok()));
            match n.filter(|n| n.is_finite() && *n >= low && *n <= high) {
                Some(n) => *into = n,
                None => return Err(Error::config(key, format!("expected a number from {low} to {high}, found {v}"))),
            }
        }
        Ok(())
    }

    pub(super) fn count(&mut self, key: &str, low: i64, high: i64) -> Result<Option<i64>> {
        self.take(key)
            .map(|v| {
                let n = v.as_i64().or_else(|| v.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64));
                n.filter(|n| (low..=high).contains(n))
                    .ok_or_else(|| Error::config(key, format!("expected a whole number from {low} to {high}, found {v}")))
            })
            .transpose()
    }

    /// `None` = absent or null.
    fn opt_count(&mut self, key: &str, low: i64, high: i64) -> Result<Option<i64>> {
        if self.map.get(key).is_some_and(Value::is_null) {
            self.map.remove(key);
        }
        self.count(key, low, high)
    }

    /// `None` = absent or null.
    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        match self.take(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(b)) => Ok(Some(b)),
            Some(v) => Err(Error::config(key, format!("expected true or false, found {v}"))),
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(v) => Err(Error::config(key, format!("expected a text, found {v}"))),
        }
    }

    /// What is left must be harmless.
    pub(super) fn finish(mut self) -> Result<()> {
        for (key, allowed) in FIXED {
            if let Some(v) = self.take(key) {
                let text = v.as_str().map_or_else(|| v.to_string(), String::from);
                if !allowed.contains(&text.as_str()) && !v.is_null() {
                    return Err(Error::config(*key, format!("{v} is not supported (only {})", allowed.join(", "))));
                }
            }
        }
        match self.map.keys().find(|k| !IGNORED.contains(&k.as_str())) {
            None => Ok(()),
            Some(k) => Err(Error::config(k.clone(), "is not a field of this trainer")),
        }
    }
}

impl TrainingArguments {
    fn read(&mut self, f: &mut Fields) -> Result<()> {
        let big = i64::from(u32::MAX);
        f.number("learning_rate", 0.0, 1e3, &mut self.learning_rate)?;
        f.number("num_train_epochs", 0.0, 1e9, &mut self.num_train_epochs)?;
        if let Some(n) = f.count("max_steps", -1, 1 << 40)? {
            self.max_steps = n;
        }
        if let Some(n) = f.count("per_device_train_batch_size", 1, 4096)? {
            self.per_device_train_batch_size = n as usize;
        }
        if let Some(n) = f.count("gradient_accumulation_steps", 1, 1 << 20)? {
            self.gradient_accumulation_steps = n as usize;
        }
        f.number("warmup_steps", 0.0, 1e12, &mut self.warmup_steps)?;
        f.number("warmup_ratio", 0.0, 1.0, &mut self.warmup_ratio)?;
        if let Some(name) = f.text("lr_scheduler_type")? {
            self.lr_scheduler_type = SchedulerType::from_name(&name)
                .ok_or_else(|| Error::config("lr_scheduler_type", format!("{name:?} is not supported ({})", SchedulerType::NAMES)))?;
        }
        f.number("weight_decay", 0.0, 1e3, &mut self.weight_decay)?;
        f.number("adam_beta1", 0.0, 0.999_999_9, &mut self.adam_beta1)?;
        f.number("adam_beta2", 0.0, 0.999_999_9, &mut self.adam_beta2)?;
        f.number("adam_epsilon", 0.0, 1.0, &mut self.adam_epsilon)?;
        f.number("max_grad_norm", 0.0, 1e9, &mut self.max_grad_norm)?;
        if let Some(n) = f.count("seed", 0, big)? {
            self.seed = n as u32;
        }
        self.data_seed = f.opt_count("data_seed", 0, big)?.map(|n| n as u32);
        if let Some(b) = f.flag("shuffle")? {
            self.shuffle = b;
        }
        if let Some(b) = f.flag("gradient_checkpointing")? {
            self.gradient_checkpointing = Some(b);
        }
        if let Some(b) = f.flag("fp16")? {
            self.fp16 = b;
        }
        self.activation_memory = f.opt_count("activation_memory", 1, 1 << 50)?.map(|n| n as u64);
        if let Some(b) = f.flag("report_kl")? {
            self.report_kl = b;
        }
        match f.take("max_length") {
            None => {}
            Some(Value::Null) => self.max_length = None,
            Some(v) => {
                f.map.insert("max_length".into(), v);
                self.max_length = f.count("max_length", 2, 1 << 24)?.map(|n| n as usize);
            }
        }
        Ok(())
    }

    /// Updates in all for a dataset of `rows`, as Transformers counts them: an epoch's last update may hold fewer rows.
    pub fn total_steps(&self, rows: usize) -> u64 {
        if self.max_steps > 0 {
            return self.max_steps as u64;
        }
        let per_epoch = self.steps_per_epoch(rows);
        (self.num_train_epochs * per_epoch as f64).ceil() as u64
    }

    /// Updates of one pass over `rows`.
    pub fn steps_per_epoch(&self, rows: usize) -> u64 {
        (rows.div_ceil(self.per_device_train_batch_size).div_ceil(self.gradient_accumulation_steps) as u64).max(1)
    }

    /// The schedule over `total_steps` updates.
    pub fn schedule(&self, total_steps: u64) -> Schedule {
        let fraction = if self.warmup_steps > 0.0 && self.warmup_steps < 1.0 { self.warmup_steps } else { self.warmup_ratio };
        let warmup_steps = if self.warmup_steps >= 1.0 { self.warmup_steps as u64 } else { (total_steps as f64 * fraction).ceil() as u64 };
        Schedule { kind: self.lr_scheduler_type, learning_rate: self.learning_rate, warmup_steps, total_steps }
    }
}

impl SftConfig {
    /// From a JSON object with TRL's names; unknown fields are refused.
    ///
    /// # Errors
    /// [`Error::BadConfig`] with the field's name.
    pub fn from_json(value: &Value) -> Result<SftConfig> {
        let mut f = Fields::new(value)?;
        let mut c = SftConfig::default();
        c.args.read(&mut f)?;
        c.completion_only_loss = f.flag("completion_only_loss")?;
        c.assistant_only_loss = f.flag("assistant_only_loss")?.unwrap_or(false);
        if let Some(t) = f.text("loss_type")?
            && t != "nll"
        {
            return Err(Error::config("loss_type", format!("{t:?} is not supported (only nll)")));
        }
        f.finish()?;
        Ok(c)
    }
}

impl DpoConfig {
    /// From a JSON object with TRL's names; unknown fields are refused.
    ///
    /// # Errors
    /// [`Error::BadConfig`] with the field's name.
    pub fn from_json(value: &Value) -> Result<DpoConfig> {
        let mut f = Fields::new(value)?;
        let mut c = DpoConfig::default();
        c.args.read(&mut f)?;
        // Of SFT's fields; the same object may configure either trainer.
        f.flag("completion_only_loss")?;
        f.flag("assistant_only_loss")?;
        f.number("beta", 0.0, 1e6, &mut c.beta)?;
        f.number("label_smoothing", 0.0, 0.5, &mut c.label_smoothing)?;
        match f.take("loss_type") {
            None => {}
            Some(v) if v == "sigmoid" || v == serde_json::json!(["sigmoid"]) => {}
            Some(v) => return Err(Error::config("loss_type", format!("{v} is not supported (only sigmoid)"))),
        }
        f.finish()?;
        Ok(c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_defaults() {
        let c =
            SftConfig::from_json(&json!({"learning_rate": 1e-3, "max_steps": 10, "max_length": null, "output_dir": "x", "packing": false}))
                .unwrap();
        assert_eq!((c.args.learning_rate, c.args.max_steps, c.args.max_length), (1e-3, 10, None));
        let d = DpoConfig::from_json(&json!({"beta": 0.2, "loss_type": ["sigmoid"], "lr_scheduler_type": "cosine"})).unwrap();
        assert_eq!((d.beta, d.args.lr_scheduler_type), (0.2, SchedulerType::Cosine));
        // What is written can be read back.
        assert_eq!(DpoConfig::from_json(&serde_json::to_value(&d).unwrap()).unwrap(), d);
        assert_eq!(SftConfig::from_json(&serde_json::to_value(&c).unwrap()).unwrap(), c);
    }

    #[test]
    fn impossible_values_name_their_field() {
        for (field, value) in [
            ("learning_rate", json!(-1)),
            ("learning_rate", json!("fast")),
            ("num_train_epochs", json!(f64::NAN)),
            ("per_device_train_batch_size", json!(0)),
            ("gradient_accumulation_steps", json!(1.5)),
            ("adam_beta1", json!(1.0)),
            ("lr_scheduler_type", json!("polynomial")),
            ("max_length", json!(1)),
            ("seed", json!(-3)),
            ("shuffle", json!("yes")),
            ("packing", json!(true)),
            ("optim", json!("sgd")),
            ("lerning_rate", json!(1e-3)),
            ("label_smoothing", json!(0.9)),
            ("loss_type", json!("ipo")),
        ] {
            match DpoConfig::from_json(&json!({ field: value.clone() })) {
                // NaN is not JSON: it arrives as null.
                Err(Error::BadConfig { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field} {value}: {other:?}"),
            }
        }
        assert_eq!(DpoConfig::from_json(&json!([1])).unwrap_err().code(), "bad-config");
    }

    #[test]
    fn steps() {
        let args = TrainingArguments { per_device_train_batch_size: 2, gradient_accumulation_steps: 2, ..TrainingArguments::default() };
        assert_eq!((args.steps_per_epoch(8), args.steps_per_epoch(9), args.steps_per_epoch(1)), (2, 3, 1));
        assert_eq!(args.total_steps(9), 9);
        assert_eq!(TrainingArguments { max_steps: 5, ..args.clone() }.total_steps(9), 5);
        assert_eq!(TrainingArguments { warmup_steps: 0.1, ..args.clone() }.schedule(15).warmup_steps, 2);
        assert_eq!(TrainingArguments { warmup_steps: 3.0, ..args }.schedule(15).warmup_steps, 3);
    }
}
