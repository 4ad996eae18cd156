//! From a loaded model, a configuration and rows to a training: what the command line and the browser call.

use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::checkpoint::Checkpoint;
use super::config::{DpoConfig, SftConfig};
use super::dpo::Dpo;
use super::objective::{Objective, StepMetrics};
use super::sft::Sft;
use super::trainer::{Target, Trainer};
use crate::adapters::LoraSet;
use crate::adapters::{Adapters, LoadedModel};
use crate::data::{Message, RowReader, TextSource};
use crate::formats::peft::LoraConfig;
use crate::graph::Profile;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// The adapter's name where `adapter_name` does not say another.
const DEFAULT_NAME: &str = "default";

/// PEFT's fields, which may stand beside the trainer's or under `peft_config`.
const PEFT_FIELDS: &[&str] = &[
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "exclude_modules",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "layers_to_transform",
    "layers_pattern",
    "bias",
    "fan_in_fan_out",
    "modules_to_save",
    "init_lora_weights",
    "use_dora",
    "task_type",
    "peft_type",
];

/// Text → ids of a loaded model.
pub struct ModelText<'a> {
    tokenizer: Option<&'a Tokenizer>,
    vocab_size: usize,
    context: usize,
}

impl<'a> ModelText<'a> {
    pub fn of(model: &'a LoadedModel) -> ModelText<'a> {
        ModelText { tokenizer: model.tokenizer.as_deref(), vocab_size: model.model.config().vocab_size, context: model.info.context_length }
    }

    fn tokenizer(&self) -> Result<&Tokenizer> {
        self.tokenizer.ok_or_else(|| Error::config("tokenizer", "the model's files have none: only rows of token ids can be used"))
    }

    /// What a tokenizer larger than the model would give cannot be looked up.
    fn checked(&self, ids: Vec<u32>) -> Result<Vec<u32>> {
        match ids.iter().find(|id| **id as usize >= self.vocab_size) {
            Some(id) => Err(Error::file("tokenizer", format!("gives token {id}, the model's vocabulary ends at {}", self.vocab_size))),
            None => Ok(ids),
        }
    }
}

impl TextSource for ModelText<'_> {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.checked(self.tokenizer()?.encode(text))
    }

    fn chat(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Vec<u32>> {
        self.checked(self.tokenizer()?.encode_chat(messages, add_generation_prompt)?)
    }

    fn has_template(&self) -> bool {
        self.tokenizer.is_some_and(|t| t.chat_template().is_ok())
    }

    fn eos(&self) -> Option<u32> {
        self.tokenizer.and_then(Tokenizer::eos_token_id)
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn context(&self) -> usize {
        self.context
    }
}

/// Takes PEFT's fields out of a configuration.
fn split(args: &Value) -> Result<(Value, Map<String, Value>, String)> {
    let mut own = match args {
        Value::Object(map) => map.clone(),
        Value::Null => Map::new(),
        other => return Err(Error::config("config", format!("expected a JSON object, found {other}"))),
    };
    let mut peft = match own.remove("peft_config") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(map)) => map,
        Some(other) => return Err(Error::config("peft_config", format!("expected an object, found {other}"))),
    };
    for field in PEFT_FIELDS {
        if let Some(v) = own.remove(*field) {
            peft.insert((*field).to_string(), v);
        }
    }
    let name = match own.remove("adapter_name") {
        None | Some(Value::Null) => DEFAULT_NAME.to_string(),
        Some(Value::String(s)) => s,
        Some(other) => return Err(Error::config("adapter_name", format!("expected a text, found {other}"))),
    };
    Ok((Value::Object(own), peft, name))
}

fn lora_config(mut peft: Map<String, Value>, base: &str) -> Result<LoraConfig> {
    if peft.get("target_modules").is_none_or(Value::is_null) {
        peft.insert("target_modules".into(), json!("all-linear"));
    }
    peft.entry("task_type").or_insert(json!("CAUSAL_LM"));
    peft.entry("base_model_name_or_path").or_insert(json!(base));
    let config = LoraConfig::parse("peft_config", &Value::Object(peft).to_string()).map_err(|e| match e {
        Error::BadFile { message, .. } => Error::config("peft_config", message),
        other => other,
    })?;
    Ok(config)
}

/// A training of either method.
pub enum AnyTrainer {
    Sft(Box<Training<Sft>>),
    Dpo(Box<Training<Dpo>>),
}

/// A trainer and where its adapter is kept.
pub struct Training<O> {
    pub trainer: Trainer<O>,
    adapters: Rc<Adapters>,
    name: String,
}

/// What is trained, what it is measured against, and under which name.
struct Start {
    target: Target,
    reference: Option<Rc<LoraSet>>,
    name: String,
    checkpoint: Option<Checkpoint>,
}

impl<O: Objective> Training<O> {
    fn new(model: &LoadedModel, start: Start, args: super::TrainingArguments, objective: O) -> Result<Training<O>> {
        let mut trainer = Trainer::new(model.model.clone(), start.target, start.reference, args, objective)?;
        if let Some(c) = &start.checkpoint {
            trainer.restore(c)?;
        }
        Ok(Training { trainer, adapters: model.adapters.clone(), name: start.name })
    }

    async fn step(&mut self) -> Result<Option<StepMetrics>> {
        let m = self.trainer.step().await?;
        self.publish(m.is_none())?;
        Ok(m)
    }

    async fn submit(&mut self) -> Result<bool> {
        let more = self.trainer.submit().await?;
        if !more {
            self.publish(true)?;
        }
        Ok(more)
    }

    /// An update is published once it is known to be good: one behind it, which may not be, then changes nothing on the device.
    async fn report(&mut self, all: bool) -> Result<Option<StepMetrics>> {
        let m = self.trainer.report(all).await?;
        if m.is_some() {
            self.publish(false)?;
        }
        Ok(m)
    }

    /// What has been learned so far is the adapter's: answers between two steps come from it. Also where nothing was left to do: a
    /// finished training that is resumed has an adapter that nobody has published yet.
    fn publish(&self, complete: bool) -> Result<()> {
        if let Some(set) = self.trainer.target().set() {
            self.adapters.put(&self.name, set)?;
        }
        if complete {
            self.adapters.set_active(Some(&self.name))?;
        }
        Ok(())
    }
}

impl AnyTrainer {
    /// Readies a training. `args` holds TRL's fields, PEFT's (under `peft_config` or beside them) and `adapter_name`: an adapter of
    /// that name is continued, otherwise a new one is made. With a checkpoint, training goes on from it.
    ///
    /// # Errors
    /// [`Error::BadConfig`] with the field's name, [`Error::BadRow`], [`Error::EmptyDataset`], [`Error::ContextOverflow`],
    /// [`Error::BadAdapter`], [`Error::BadFile`] for a checkpoint that is none.
    pub async fn new(model: &LoadedModel, method: &str, args: &Value, rows: &[Value], checkpoint: Option<&[u8]>) -> Result<AnyTrainer> {
        let (own, peft, name) = split(args)?;
        let text = ModelText::of(model);
        match method {
            "sft" => {
                let config = SftConfig::from_json(&own)?;
                let examples = RowReader::new(&text, config.row_options()).sft(rows)?;
                let start = start(model, false, peft, name, config.args.seed, checkpoint).await?;
                Ok(AnyTrainer::Sft(Box::new(Training::new(model, start, config.args, Sft::new(examples))?)))
            }
            "dpo" => {
                let config = DpoConfig::from_json(&own)?;
                let pairs = RowReader::new(&text, config.args.row_options()).preferences(rows)?;
                let start = start(model, true, peft, name, config.args.seed, checkpoint).await?;
                let objective = Dpo::new(pairs, &config);
                Ok(AnyTrainer::Dpo(Box::new(Training::new(model, start, config.args, objective)?)))
            }
            other => Err(Error::config("method", format!("{other:?} is not a method (sft, dpo)"))),
        }
    }

    /// One update, or `None` when training is complete; the adapter is active then. Between two steps the model can be used, and its
    /// adapter of this name is what has been learned so far.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub async fn step(&mut self) -> Result<Option<StepMetrics>> {
        match self {
            AnyTrainer::Sft(t) => t.step().await,
            AnyTrainer::Dpo(t) => t.step().await,
        }
    }

    /// Hands the next update to the device, or `false` when training is complete; the adapter is active then. See [`Trainer::submit`].
    ///
    /// # Errors
    /// As [`Trainer::submit`].
    pub async fn submit(&mut self) -> Result<bool> {
        match self {
            AnyTrainer::Sft(t) => t.submit().await,
            AnyTrainer::Dpo(t) => t.submit().await,
        }
    }

    /// The numbers of the earliest update not yet reported, if they are worth waiting for now. See [`Trainer::report`].
    ///
    /// # Errors
    /// As [`Trainer::report`].
    pub async fn report(&mut self, all: bool) -> Result<Option<StepMetrics>> {
        match self {
            AnyTrainer::Sft(t) => t.report(all).await,
            AnyTrainer::Dpo(t) => t.report(all).await,
        }
    }

    /// Everything needed to go on exactly here, as one file. Updates under way are waited for and still reported.
    ///
    /// # Errors
    /// As [`Trainer::checkpoint`].
    pub async fn checkpoint(&mut self) -> Result<Vec<u8>> {
        match self {
            AnyTrainer::Sft(t) => t.trainer.checkpoint().await,
            AnyTrainer::Dpo(t) => t.trainer.checkpoint().await,
        }
    }

    /// What each dispatch of an update takes, of one micro-batch and of the optimizer: see [`Trainer::profile`].
    ///
    /// # Errors
    /// [`Error::Gpu`] where the adapter has no timestamps.
    pub async fn profile(&mut self) -> Result<Profile> {
        match self {
            AnyTrainer::Sft(t) => t.trainer.profile().await,
            AnyTrainer::Dpo(t) => t.trainer.profile().await,
        }
    }

    /// Bytes of activations: see [`Trainer::activation_bytes`].
    pub fn activation_bytes(&self) -> u64 {
        match self {
            AnyTrainer::Sft(t) => t.trainer.activation_bytes(),
            AnyTrainer::Dpo(t) => t.trainer.activation_bytes(),
        }
    }

    /// Bytes of activations that a plan would take: see [`Trainer::planned_bytes`].
    ///
    /// # Errors
    /// From recording.
    pub fn planned_bytes(&self, gradient_checkpointing: bool) -> Result<u64> {
        match self {
            AnyTrainer::Sft(t) => t.trainer.planned_bytes(gradient_checkpointing),
            AnyTrainer::Dpo(t) => t.trainer.planned_bytes(gradient_checkpointing),
        }
    }

    /// Updates in all.
    pub fn total_steps(&self) -> u64 {
        match self {
            AnyTrainer::Sft(t) => t.trainer.total_steps(),
            AnyTrainer::Dpo(t) => t.trainer.total_steps(),
        }
    }

    /// Updates taken, those before a checkpoint and those not yet reported included.
    pub fn steps(&self) -> u64 {
        match self {
            AnyTrainer::Sft(t) => t.trainer.steps(),
            AnyTrainer::Dpo(t) => t.trainer.steps(),
        }
    }

    pub fn adapter_name(&self) -> &str {
        match self {
            AnyTrainer::Sft(t) => &t.name,
            AnyTrainer::Dpo(t) => &t.name,
        }
    }
}

/// The adapter to train: the checkpoint's, a copy of one that is there, or a new one. With `preference`, an earlier adapter that does
/// something is also the reference; otherwise the base model is.
async fn start(
    model: &LoadedModel,
    preference: bool,
    peft: Map<String, Value>,
    name: String,
    seed: u32,
    checkpoint: Option<&[u8]>,
) -> Result<Start> {
    let adapters = &model.adapters;
    let of = |set: Rc<LoraSet>, reference, checkpoint| Start {
        target: Target::Adapter { set, name: name.clone() },
        reference,
        name: name.clone(),
        checkpoint,
    };
    if let Some(bytes) = checkpoint {
        let c = Checkpoint::parse(bytes)?;
        let text =
            c.state.peft_config.as_deref().ok_or_else(|| Error::config("resume_from_checkpoint", "trained all weights, not an adapter"))?;
        let set = adapters.fresh(&LoraConfig::parse("checkpoint.safetensors", text)?, u64::from(seed))?;
        let reference = if c.has_reference() { Some(adapters.fresh(set.config(), 0)?) } else { None };
        return Ok(of(set, reference, Some(c)));
    }
    if adapters.list().iter().any(|a| a.name == name) {
        let set = adapters.copy_of(&name)?;
        let acts = preference && set.export().await?.pairs.iter().any(|p| p.b.iter().any(|v| *v != 0.0));
        let reference = if acts { Some(adapters.copy_of(&name)?) } else { None };
        return Ok(of(set, reference, None));
    }
    let set = adapters.fresh(&lora_config(peft, &model.info.name)?, u64::from(seed))?;
    Ok(of(set, None, None))
}
