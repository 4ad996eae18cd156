//! The arguments that all methods share.

use serde::Serialize;

use super::methods::shared;
use super::schedule::{Schedule, SchedulerType};
use super::values::Values;

/// What the moments of AdamW are kept in, by Transformers' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Optim {
    #[serde(rename = "adamw_torch_fused")]
    AdamW,
    /// See [`crate::ops::optim8`].
    #[serde(rename = "adamw_8bit")]
    AdamW8bit,
}

/// What `TrainingArguments` calls these: the fields that all methods share. What each means stands in [`shared::FIELDS`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainingArguments {
    pub learning_rate: f64,
    pub num_train_epochs: f64,
    /// Not positive = as many as `num_train_epochs` gives.
    pub max_steps: i64,
    pub per_device_train_batch_size: usize,
    pub gradient_accumulation_steps: usize,
    pub warmup_steps: f64,
    pub warmup_ratio: f64,
    pub lr_scheduler_type: SchedulerType,
    pub optim: Optim,
    pub weight_decay: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    pub max_grad_norm: f64,
    pub seed: u32,
    pub data_seed: Option<u32>,
    pub shuffle: bool,
    /// `None` = when the activations would exceed `activation_memory` (TRL: always on).
    pub gradient_checkpointing: Option<bool>,
    /// What is too large for a half (65,520) ends training with [`crate::Error::NotFinite`].
    pub fp16: bool,
    /// `None` = what the device suggests (see [`crate::graph::Exec::activation_memory`]).
    pub activation_memory: Option<u64>,
    /// See [`crate::tune::kl`]. One more forward pass per row for the whole training, unless the method's own reference is that pass.
    pub report_kl: bool,
    pub max_length: Option<usize>,
}

impl Default for TrainingArguments {
    fn default() -> Self {
        let map = shared::FIELDS.iter().map(|f| (f.name.to_string(), f.default.json())).collect();
        TrainingArguments::of(&Values { map })
    }
}

impl TrainingArguments {
    /// The shared fields of a method's configuration.
    pub fn of(v: &Values) -> TrainingArguments {
        let size = |name: &str| v.opt_whole(name).map(|n| n as usize);
        TrainingArguments {
            learning_rate: v.number("learning_rate"),
            num_train_epochs: v.number("num_train_epochs"),
            max_steps: v.whole("max_steps"),
            per_device_train_batch_size: v.whole("per_device_train_batch_size") as usize,
            gradient_accumulation_steps: v.whole("gradient_accumulation_steps") as usize,
            warmup_steps: v.number("warmup_steps"),
            warmup_ratio: v.map["warmup_ratio"].as_f64().unwrap_or(0.0),
            lr_scheduler_type: SchedulerType::from_name(v.text("lr_scheduler_type")).expect("one of the table's"),
            optim: if v.text("optim").ends_with("8bit") { Optim::AdamW8bit } else { Optim::AdamW },
            weight_decay: v.number("weight_decay"),
            adam_beta1: v.number("adam_beta1"),
            adam_beta2: v.number("adam_beta2"),
            adam_epsilon: v.number("adam_epsilon"),
            max_grad_norm: v.number("max_grad_norm"),
            seed: v.whole("seed") as u32,
            data_seed: v.opt_whole("data_seed").map(|n| n as u32),
            shuffle: v.switch("shuffle") && v.map.get("shuffle_dataset").is_none_or(|b| *b != false),
            gradient_checkpointing: v.opt_switch("gradient_checkpointing"),
            fp16: v.switch("fp16"),
            activation_memory: v.opt_whole("activation_memory").map(|n| n as u64),
            report_kl: v.map.get("report_kl").is_some_and(|b| b == true),
            max_length: size("max_length"),
        }
    }

    /// Updates in all for a dataset of `rows`, as Transformers counts them: an epoch's last update may hold fewer rows.
    pub fn total_steps(&self, rows: usize) -> u64 {
        self.total_steps_of(self.steps_per_epoch(rows))
    }

    /// The same for so many updates of one pass.
    pub fn total_steps_of(&self, per_epoch: u64) -> u64 {
        if self.max_steps > 0 {
            return self.max_steps as u64;
        }
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

#[cfg(test)]
mod tests {
    use super::super::methods::by_name;
    use super::*;
    use crate::{Error, Result};
    use serde_json::{Value as Json, json};

    fn read(method: &str, v: &Json) -> Result<Values> {
        by_name(method)?.read(v.as_object().expect("an object"))
    }

    #[test]
    fn names_and_defaults() {
        let c = read("sft", &json!({"learning_rate": 1e-3, "max_steps": 10.0, "max_length": null, "output_dir": "x", "packing": false}))
            .unwrap();
        let args = TrainingArguments::of(&c);
        assert_eq!((args.learning_rate, args.max_steps, args.max_length), (1e-3, 10, None));
        let d = read("dpo", &json!({"beta": "0.2", "loss_type": ["sigmoid"], "lr_scheduler_type": "cosine"})).unwrap();
        assert_eq!((d.number("beta"), TrainingArguments::of(&d).lr_scheduler_type), (0.2, SchedulerType::Cosine));
        assert_eq!(TrainingArguments::of(&read("sft", &json!({})).unwrap()), TrainingArguments::default());
        // What is written can be read back.
        let written = serde_json::to_value(&args).unwrap();
        assert_eq!(TrainingArguments::of(&read("sft", &written).unwrap()), args);
        // What TRL itself writes asks for nothing that is not there.
        let written = json!({
            "optim": "adamw_torch_fused", "lr_scheduler_kwargs": null, "label_smoothing_factor": 0.0, "bf16": true, "gradient_checkpointing": true,
            "accelerator_config": {"even_batches": true}, "max_completion_length": null, "warmup_ratio": null, "data_seed": null,
        });
        let with = |own: Json| {
            let mut all = written.clone();
            all.as_object_mut().expect("an object").extend(own.as_object().expect("an object").clone());
            all
        };
        let sft = with(
            json!({"completion_only_loss": null, "eos_token": "<EOS_TOKEN>", "loss_type": "nll", "train_sampling_strategy": "random"}),
        );
        assert!(read("sft", &sft).is_ok(), "{:?}", read("sft", &sft));
        assert!(read("kto", &with(json!({"loss_type": "kto", "train_sampling_strategy": "sequential", "sync_ref_model": false}))).is_ok());
        assert!(read("dpo", &with(json!({"loss_type": ["sigmoid"], "f_divergence_type": "reverse_kl", "ld_alpha": null}))).is_ok());
        assert!(read("orpo", &with(json!({"is_encoder_decoder": null, "padding_value": null}))).is_ok());
        let kto = read("kto", &json!({"loss_type": "apo_zero_unpaired"})).unwrap();
        assert_eq!((kto.text("loss_type"), kto.switch("shuffle"), kto.opt_text("reference")), ("apo_zero_unpaired", false, None));
    }

    #[test]
    fn impossible_values_name_their_field() {
        for (field, value) in [
            ("learning_rate", json!(-1)),
            ("learning_rate", json!("fast")),
            // NaN is not JSON: it arrives as null.
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
            ("loss_type", json!("kto_pair")),
            ("loss_type", json!(["sigmoid", "best"])),
            ("loss_weights", json!("1,2")),
            ("reference", json!("best")),
            ("max_seq_length", json!(512)),
            ("completion_only_loss", json!(true)),
        ] {
            match read("dpo", &json!({ field: value.clone() })) {
                Err(Error::BadConfig { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{field} {value}: {other:?}"),
            }
        }
        let said = read("dpo", &json!({"lerning_rate": 1, "max_seq_length": 3, "beta": -1})).unwrap_err().to_string();
        assert!(said.contains("did you mean learning_rate?") && said.contains("max_length") && said.contains("beta"), "{said}");
        assert!(read("kto", &json!({"report_kl": true})).unwrap_err().to_string().contains("mismatched"));
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
