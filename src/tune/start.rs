//! From a loaded model, a configuration and rows to a training: what the command line and the browser call.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::asked::{Asked, is_peft_field};
use super::best::Best;
use super::checkpoint::Checkpoint;
use super::config::TrainingArguments;
use super::critic::{critic, critic_of};
use super::evaluation::{EvalMetrics, EvalOptions, Evaluation, hold_out};
use super::idle;
use super::method::Method;
use super::methods::by_name;
use super::methods::table::MethodInfo;
use super::metrics::StepMetrics;
use super::of_shape::of_shape;
use super::rounds::{Guards, Sources, rollouts};
use super::text::ModelText;
use super::trainer::{Target, Trainer};
use super::values::{Values, Wrong};
use crate::adapters::{AdapterSet, Adapters, LoadedModel};
use crate::data::{RowReader, TextSource};
use crate::formats::peft::{PeftAdapter, PeftConfig};
use crate::graph::Profile;
use crate::{Error, Result};

/// Above it a rate is too high for all weights.
const MOST_FOR_ALL: f64 = 1e-4;

/// The adapter's name where `adapter_name` does not say another.
const DEFAULT_NAME: &str = "default";

/// A configuration in its parts.
struct Parts {
    own: Map<String, Value>,
    peft: Map<String, Value>,
    name: String,
}

/// Takes PEFT's fields, which may also stand under `peft_config`, and the adapter's name out of a configuration.
fn split(args: &Value) -> Result<Parts> {
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
    let beside: Vec<String> = own.keys().filter(|name| is_peft_field(name)).cloned().collect();
    for field in beside {
        if let Some(v) = own.remove(&field) {
            peft.insert(field, v);
        }
    }
    let name = match own.remove("adapter_name") {
        None | Some(Value::Null) => DEFAULT_NAME.to_string(),
        Some(Value::String(s)) => s,
        Some(other) => return Err(Error::config("adapter_name", format!("expected a text, found {other}"))),
    };
    Ok(Parts { own, peft, name })
}

/// A method's own fields of a configuration, as they were given.
///
/// # Errors
/// [`Error::BadConfig`].
pub(super) fn own_fields(args: &Value) -> Result<Map<String, Value>> {
    split(args).map(|parts| parts.own)
}

/// A configuration that was read: a method's fields, PEFT's, and the adapter's name.
pub(super) struct Read {
    pub info: &'static MethodInfo,
    pub values: Values,
    pub adapter: Asked,
    pub name: String,
    pub notes: Vec<String>,
}

/// Reads all of a configuration and says all that is wrong with it.
pub(super) fn read(method: &str, args: &Value, base: &str) -> Result<Read> {
    let info = by_name(method)?;
    let Parts { own, peft, name } = split(args)?;
    let mut wrong = Wrong::default();
    let values = info.read_into(&own, &mut wrong);
    let mut adapter = Asked::read(peft, base, info.rows, &mut wrong);
    let disables = values.is_on("disable_dropout");
    if adapter.config.lora().is_some_and(|c| c.use_dora && c.lora_dropout > 0.0 && !disables) {
        wrong.add("lora_dropout", "is above 0, which is not supported with use_dora");
    }
    wrong.done()?;
    let mut notes = Vec::new();
    if let PeftConfig::Lora(lora) = &mut adapter.config
        && disables
        && lora.lora_dropout > 0.0
    {
        notes.push(format!("disable_dropout: nothing is dropped, lora_dropout {} has no effect and is saved as 0", lora.lora_dropout));
        lora.lora_dropout = 0.0;
    }
    Ok(Read { info, values, adapter, name, notes })
}

/// Whether a training could be started with this configuration, before there is a model.
///
/// # Errors
/// [`Error::BadConfig`] with the fields' names.
pub fn check_config(method: &str, args: &Value) -> Result<()> {
    read(method, args, "").map(|_| ())
}

/// From a configuration and rows to a method and the arguments that all share.
///
/// # Errors
/// [`Error::BadConfig`] with the fields' names, [`Error::BadRow`], [`Error::LongRow`], [`Error::EmptyDataset`], [`Error::NoPairs`].
pub fn prepare(method: &str, text: &dyn TextSource, config: &Map<String, Value>, rows: &[Value]) -> Result<Prepared> {
    let info = by_name(method)?;
    build(info, text, &info.read(config)?, rows)
}

pub(super) fn build(info: &MethodInfo, text: &dyn TextSource, values: &Values, rows: &[Value]) -> Result<Prepared> {
    let reader = RowReader::new(text, values.row_options());
    let method = (info.build)(&reader, values, rows)?;
    let reference = match values.opt_text("reference") {
        None => Reference::Auto,
        Some("base") => Reference::Base,
        Some(_) => Reference::Init,
    };
    Ok(Prepared { args: TrainingArguments::of(values), method, notes: reader.notes(), reference })
}

/// What rows for evaluation are read with: packed or not as `eval_packing` says, in batches of their own.
pub(super) fn held_out(values: Values) -> Values {
    let batch = values.opt_count("per_device_eval_batch_size").map(Value::from);
    let packing = values.opt_flag("eval_packing").map(Value::from);
    let values = packing.into_iter().fold(values, |v, p| v.with("packing", p));
    batch.into_iter().fold(values, |v, b| v.with("per_device_train_batch_size", b))
}

/// What [`prepare`] gives.
pub struct Prepared {
    pub args: TrainingArguments,
    pub method: Box<dyn Method>,
    /// What a person should know about the rows.
    pub notes: Vec<String>,
    reference: Reference,
}

/// What a method is measured against.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reference {
    /// The adapter that training starts from where it changes the model, else the base.
    Auto,
    Base,
    /// The adapter that training starts from.
    Init,
}

/// A trainer, and where its adapter is kept.
pub struct Training {
    pub(super) trainer: Trainer,
    adapters: Rc<Adapters>,
    name: String,
    notes: Vec<String>,
    evaluation: Option<Evaluation>,
    guards: Guards,
    /// Why no further update is made.
    stopped: Option<String>,
}

/// What is trained, what it is measured against, and under which name.
struct Start {
    target: Target,
    reference: Option<Rc<AdapterSet>>,
    name: String,
    checkpoint: Option<Checkpoint>,
}

impl Training {
    /// Readies a training. `args` holds TRL's fields, PEFT's (under `peft_config` or beside them) and `adapter_name`: an adapter of
    /// that name is continued, otherwise a new one is made. With a checkpoint, training goes on from it.
    ///
    /// # Errors
    /// [`Error::BadConfig`] with the field's name, [`Error::BadRow`], [`Error::EmptyDataset`], [`Error::LongRow`],
    /// [`Error::BadAdapter`], [`Error::BadFile`] for a checkpoint that is none.
    pub async fn new(model: &LoadedModel, method: &str, args: &Value, rows: &[Value], checkpoint: Option<&[u8]>) -> Result<Training> {
        Training::with_evaluation(model, method, args, (rows, None), checkpoint).await
    }

    /// The same with rows that are judged and not learned from, behind those that are learned.
    ///
    /// # Errors
    /// As [`Training::new`]; errors of rows for evaluation are [`Error::BadEvalRow`].
    pub async fn with_evaluation(
        model: &LoadedModel,
        method: &str,
        args: &Value,
        rows: (&[Value], Option<&[Value]>),
        checkpoint: Option<&[u8]>,
    ) -> Result<Training> {
        Training::with(model, method, args, rows, checkpoint, Sources::default()).await
    }

    /// The same with judges for the completions of a method that samples them.
    ///
    /// # Errors
    /// As [`Training::with_evaluation`]; [`Error::BadConfig`] for a method that samples and has no judge, and for judges that nobody asks.
    pub async fn with(
        model: &LoadedModel,
        method: &str,
        args: &Value,
        (rows, held): (&[Value], Option<&[Value]>),
        checkpoint: Option<&[u8]>,
        sources: Sources,
    ) -> Result<Training> {
        // All that is configured is looked at before the rows.
        let Read { info, values, mut adapter, name, mut notes } = read(method, args, &model.info.name)?;
        of_shape(model, info, &values, &mut adapter)?;
        let there = model.adapters.config(&name);
        let in_front = there.as_ref().unwrap_or(&adapter.config).prompt().map_or(0, |c| c.virtual_tokens());
        if in_front >= model.info.context_length {
            let context = model.info.context_length;
            return Err(Error::config("num_virtual_tokens", format!("is {in_front}, the model's context ends at {context}")));
        }
        let text = ModelText::behind(model, in_front);
        let share = values.opt_number("eval_split");
        if share.is_some() && held.is_some() {
            return Err(Error::config("eval_split", "holds rows out, and there are rows for evaluation beside them: one of both"));
        }
        let seed = values.opt_count("data_seed").or(values.opt_count("seed")).unwrap_or_default() as u32;
        let parts = share.map(|share| hold_out(rows, share, seed)).transpose()?;
        let numbered = |part: &[(usize, Value)], what: &str| -> Result<Prepared> {
            let (numbers, rows): (Vec<usize>, Vec<Value>) = part.iter().cloned().unzip();
            let values = if what.is_empty() { values.clone() } else { held_out(values.clone()) };
            build(info, &text, &values, &rows).map_err(|e| e.renumbered(&numbers))
        };
        let (prepared, held) = match (&parts, held) {
            (Some([held, left]), _) => (numbered(left, "")?, Some(numbered(held, "held")?)),
            (None, Some(held)) => {
                let prepared = build(info, &text, &values, rows)?;
                (prepared, Some(build(info, &text, &held_out(values.clone()), held).map_err(Error::of_evaluation)?))
            }
            (None, None) => (build(info, &text, &values, rows)?, None),
        };
        let Prepared { args, mut method, notes: of_rows, reference } = prepared;
        if method.rounds().is_some() && held.is_some() {
            return Err(Error::config(
                "eval_dataset",
                format!("{} judges what it samples itself: there is no evaluation of held-out rows", info.title),
            ));
        }
        let total = args.total_steps(method.rows());
        let options = EvalOptions::read(&values, info, held.is_some(), total)?;
        if let Some(held) = &held {
            notes.extend(options.notes().map(str::to_string));
            notes.extend(held.notes.iter().map(|n| format!("rows for evaluation: {n}")));
        }
        let dropout = values.is_on("disable_dropout").then_some(0.0);
        let full = values.is_on("full");
        if full && method.scores() > 0 {
            return Err(Error::config("full", "a reward model is an adapter with a head: all weights do not learn with it"));
        }
        let against = method.is_measured().then_some(reference);
        let start = match full {
            true => all_weights(model, method.as_ref(), &adapter, name, checkpoint)?,
            false => start(model, against, (adapter, dropout), method.scores(), name, args.seed, checkpoint).await?,
        };
        if let (Some(from), Some(set)) = (method.init_critic().map(|name| name.map(str::to_string)), start.target.set()) {
            let critic = critic(&model.adapters, set, &start.name, from.as_deref(), args.seed)?;
            method.set_critic(model.model.exec(), critic)?;
        }
        let alpha = start.target.set().and_then(|set| Some(set.lora()?.config().lora_alpha)).unwrap_or(1.0);
        let guards = Guards::read(&values);
        let shared = args.clone();
        let mut trainer = Trainer::new(model.model.clone(), start.target, start.reference, args, method)?;
        notes.extend(idle::notes(info, &values, &shared, trainer.total_steps(), alpha));
        notes.extend(of_rows);
        if trainer.base.is_none() && guards.watches_kl() {
            return Err(Error::config("stop_kl", "needs kl/base, which is not reported: report_kl is off, or the output layer is changed"));
        }
        if full && trainer.args.learning_rate > MOST_FOR_ALL {
            notes.push(format!("learning_rate {} is an adapter's: all weights take 1e-5 to 5e-5", trainer.args.learning_rate));
        }
        if !full && trainer.base.is_none() && trainer.args.report_kl && !trainer.method.own_kl() {
            notes.push("kl is not reported: the adapter changes the output layer, or the model caps its logits".into());
        }
        let evaluation = held.map(|held| Evaluation::new(held.method, options));
        trainer.best.progress = evaluation.as_ref().map(Evaluation::progress);
        trainer.rollouts = rollouts(model, &trainer, &start.name, &values, sources)?;
        if let Some(c) = &start.checkpoint {
            trainer.restore(c)?;
        }
        Ok(Training { trainer, adapters: model.adapters.clone(), name: start.name, notes, evaluation, guards, stopped: None })
    }

    /// One update, or `None` when training is complete; the adapter is active then. Between two steps the model can be used, and its
    /// adapter of this name is what has been learned so far. What was evaluated meanwhile is told by [`Training::evaluation`].
    ///
    /// # Errors
    /// As [`Training::submit`] and [`Training::report`].
    pub async fn step(&mut self) -> Result<Option<StepMetrics>> {
        loop {
            if let Some(m) = self.report(true).await? {
                return Ok(Some(m));
            }
            if !self.submit().await? {
                return self.report(true).await;
            }
        }
    }

    /// Hands the next update to the device, or `false` when training is complete; the adapter is active then. See [`Trainer::submit`]. Where rows
    /// for evaluation are to be judged first, some of them are, instead of an update: [`Training::steps`] then stays what it was.
    ///
    /// # Errors
    /// As [`Trainer::submit`]; [`Error::NotFinite`] for an evaluation whose loss is no number.
    pub async fn submit(&mut self) -> Result<bool> {
        if let Some(e) = &mut self.evaluation
            && e.due(&self.trainer)
        {
            e.go_on(&mut self.trainer).await?;
            return Ok(true);
        }
        let more = !self.stopped_early() && self.stopped.is_none() && self.trainer.submit().await?;
        if !more {
            self.trainer.catch_up(0).await?;
            if self.evaluation.as_ref().is_some_and(|e| e.options.load_best) {
                self.trainer.exchange_best().await?;
            }
            self.trainer.keep_round().await?;
            self.publish(true)?;
        }
        Ok(more)
    }

    /// The earliest evaluation that nobody has been told of. Updates before it are reported first by [`Training::report`].
    pub fn evaluation(&mut self) -> Option<EvalMetrics> {
        self.evaluation.as_mut()?.report()
    }

    /// Whether the patience with the evaluations has ended the run before its last update.
    pub fn stopped_early(&self) -> bool {
        let progress = self.trainer.best.progress.as_ref();
        self.evaluation.as_ref().zip(progress).is_some_and(|(e, p)| e.stopped(p)) && self.trainer.steps() < self.trainer.total_steps()
    }

    /// The best evaluation so far, where somebody asked for it.
    pub fn best(&self) -> Option<Best> {
        let best = self.trainer.best.progress.as_ref()?.best.clone()?;
        Some(Best { loaded: self.trainer.best.exchanged, ..best })
    }

    /// The numbers of the earliest update not yet reported, if they are worth waiting for now. See [`Trainer::report`].
    ///
    /// # Errors
    /// As [`Trainer::report`].
    pub async fn report(&mut self, all: bool) -> Result<Option<StepMetrics>> {
        let m = self.trainer.report(all || self.stopped.is_some()).await?;
        self.watch(m.as_ref());
        // An update is published once it is known to be good: one behind it, which may not be, then changes nothing on the device.
        if m.is_some() {
            self.publish(false)?;
        }
        Ok(m)
    }

    /// Rounds whose adapters are kept, by number from 0: those that have been learned since this training began here.
    pub fn kept_rounds(&self) -> Vec<u64> {
        self.trainer.kept.iter().map(|k| k.0).collect()
    }

    /// The adapter as it was behind a round.
    pub fn round(&self, number: u64) -> Option<&PeftAdapter> {
        self.trainer.kept.iter().find(|k| k.0 == number).map(|k| &k.1)
    }

    /// Makes the adapter of an earlier round the one that answers: under the training's name, which goes on from where it was if it goes on.
    ///
    /// # Errors
    /// [`Error::BadConfig`] where that round is not kept.
    pub fn take_round(&self, number: u64) -> Result<()> {
        let kept = || self.kept_rounds().iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        let adapter = self.round(number).ok_or_else(|| Error::config("round", format!("{number} is not kept ({})", kept())))?;
        self.adapters.add(&self.name, adapter)?;
        self.adapters.set_active(Some(&self.name))
    }

    /// Stops where an update is beyond a limit.
    fn watch(&mut self, m: Option<&StepMetrics>) {
        if let Some(reason) = m.and_then(|m| self.guards.reason(m.step, &m.metrics)).filter(|_| self.stopped.is_none()) {
            self.notes.push(reason.clone());
            self.stopped = Some(reason);
        }
    }

    /// Why no further update is made, where a limit (`stop_kl` and its kin) was met: what was learned up to then is kept.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// What has been learned so far is the adapter's: answers between two steps come from it. Also where nothing was left to do: a
    /// finished training that is resumed has an adapter that nobody has published yet.
    fn publish(&self, complete: bool) -> Result<()> {
        let Some(set) = self.trainer.target().set() else {
            self.trainer.model().changed();
            return Ok(());
        };
        self.adapters.put(&self.name, set)?;
        if let Some(critic) = self.trainer.method.critic() {
            self.adapters.put(&critic_of(&self.name), critic)?;
        }
        // A reward model answers nothing.
        if complete && self.trainer.method.scores() == 0 {
            self.adapters.set_active(Some(&self.name))?;
        }
        Ok(())
    }

    /// Everything needed to go on exactly here, as one file. Updates under way are waited for and still reported.
    ///
    /// # Errors
    /// As [`Trainer::checkpoint`].
    pub async fn checkpoint(&mut self) -> Result<Vec<u8>> {
        self.trainer.checkpoint().await
    }

    /// The next update's gradients as a file, and no update: see [`Trainer::write_gradients`].
    ///
    /// # Errors
    /// As [`Trainer::write_gradients`].
    pub async fn gradients(&mut self) -> Result<Vec<u8>> {
        self.trainer.write_gradients().await
    }

    /// What each dispatch of an update takes, of one micro-batch and of the optimizer: see [`Trainer::profile`].
    ///
    /// # Errors
    /// [`Error::Gpu`] where the adapter has no timestamps.
    pub async fn profile(&mut self) -> Result<Profile> {
        self.trainer.profile().await
    }

    /// Bytes of activations: see [`Trainer::activation_bytes`].
    pub fn activation_bytes(&self) -> u64 {
        self.trainer.activation_bytes()
    }

    /// Bytes of activations that a plan would take: see [`Trainer::planned_bytes`].
    ///
    /// # Errors
    /// From recording.
    pub fn planned_bytes(&self, gradient_checkpointing: bool) -> Result<u64> {
        self.trainer.planned_bytes(gradient_checkpointing)
    }

    /// Updates in all.
    pub fn total_steps(&self) -> u64 {
        self.trainer.total_steps()
    }

    /// Updates of one pass over the rows.
    pub fn steps_per_epoch(&self) -> u64 {
        self.trainer.steps_per_epoch()
    }

    /// Updates taken, those before a checkpoint and those not yet reported included.
    pub fn steps(&self) -> u64 {
        self.trainer.steps()
    }

    /// What a person should know about the rows: sentences, none where there is nothing to say.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    pub fn adapter_name(&self) -> &str {
        &self.name
    }

    /// Under which the critic is kept, of a method that has one.
    pub fn critic_name(&self) -> Option<String> {
        self.trainer.method.critic().map(|_| critic_of(&self.name))
    }
}

/// A training of all weights.
fn all_weights(model: &LoadedModel, method: &dyn Method, asked: &Asked, name: String, checkpoint: Option<&[u8]>) -> Result<Start> {
    if let Some(field) = asked.given.first() {
        return Err(Error::config(field, "is an adapter's, and full has all weights learn"));
    }
    if method.is_measured() {
        let message = format!("{} measures against a reference model, of which no copy is kept: train an adapter", method.name());
        return Err(Error::config("full", message));
    }
    let kind = &model.info.quantization;
    if !["F32", "F16", "BF16"].contains(&kind.as_str()) {
        return Err(Error::config(
            "full",
            format!("most weights are {kind}: what is quantized can carry an adapter, but not learn itself"),
        ));
    }
    if model.model.params().arena().is_none() {
        return Err(Error::config("full", "the model was loaded frozen: it must be loaded to be trained (LoadOptions::trainable)"));
    }
    let checkpoint = checkpoint.map(Checkpoint::parse).transpose()?;
    if checkpoint.as_ref().is_some_and(|c| c.state.peft_config.is_some()) {
        return Err(Error::config("resume_from_checkpoint", "trained an adapter, not all weights"));
    }
    Ok(Start { target: Target::Full, reference: None, name, checkpoint })
}

/// The adapter to train: the checkpoint's, a copy of one that is there, or a new one. `against` is what a method is measured against, if anything.
async fn start(
    model: &LoadedModel,
    against: Option<Reference>,
    (asked, dropout): (Asked, Option<f64>),
    scores: usize,
    name: String,
    seed: u32,
    checkpoint: Option<&[u8]>,
) -> Result<Start> {
    let adapters = &model.adapters;
    let of = |set: Rc<AdapterSet>, reference, checkpoint| Start {
        target: Target::Adapter { set, name: name.clone() },
        reference,
        name: name.clone(),
        checkpoint,
    };
    if let Some(bytes) = checkpoint {
        let c = Checkpoint::parse(bytes)?;
        let text =
            c.state.peft_config.as_deref().ok_or_else(|| Error::config("resume_from_checkpoint", "trained all weights, not an adapter"))?;
        let wanted = against.filter(|r| *r != Reference::Auto).map(|r| r == Reference::Init);
        if let Some(init) = wanted.filter(|init| *init != c.has_reference()) {
            let of = |init: bool| if init { "the adapter that training began from" } else { "the base model" };
            return Err(Error::config("reference", format!("is {}, the checkpoint's is {}", of(init), of(!init))));
        }
        let config = PeftConfig::parse("checkpoint.safetensors", text)?;
        asked.agrees(adapters, &config, "the checkpoint")?;
        let set = adapters.zeros_with(&config, &adapters.score_head(scores))?;
        let reference = if c.has_reference() { Some(adapters.zeros(&set.config())?) } else { None };
        return Ok(of(set, reference, Some(c)));
    }
    if let Some(config) = adapters.config(&name) {
        match (adapters.scores(&name).unwrap_or(0), scores) {
            (has, wants) if has == wants => {}
            (0, _) => {
                return Err(Error::BadAdapter(format!(
                    "{name:?} has no score head: it is no reward model, and cannot be continued as one"
                )));
            }
            (_, 0) => {
                return Err(Error::BadAdapter(format!(
                    "{name:?} is a reward model (SEQ_CLS): it scores answers, and cannot learn to write them"
                )));
            }
            (has, wants) => return Err(Error::BadAdapter(format!("{name:?} gives {has} scores, the rows are of {wants}"))),
        }
        asked.agrees(adapters, &config, &format!("the adapter {name:?}, which is continued,"))?;
        let set = adapters.copy_with(&name, dropout)?;
        set.check_trainable()?;
        let frozen = match against {
            None | Some(Reference::Base) => false,
            Some(Reference::Init) => true,
            Some(Reference::Auto) => set.changes().await?,
        };
        let reference = if frozen { Some(adapters.copy_of(&name)?) } else { None };
        return Ok(of(set, reference, None));
    }
    if against == Some(Reference::Init) {
        return Err(Error::config("reference", format!("is init, but there is no adapter {name:?} to start from")));
    }
    let text = ModelText::of(model);
    let set = adapters.begun(&asked.config, &adapters.score_head(scores), u64::from(seed), &|s| text.encode(s)).await?;
    Ok(of(set, None, None))
}
