//! The planner: what a training will take of a device, and how it is made to fit into less, before it starts.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::config::TrainingArguments;
use super::methods::by_name;
use super::start::Training;
use super::survey::Survey;
use crate::adapters::LoadedModel;
use crate::data::RowKind;
use crate::graph::{DeviceInfo, Limits};
use crate::text::mib;
use crate::{Error, Result};

/// Fewest tokens that rows are cut to where nothing else fits.
const SHORTEST: usize = 64;

/// What is asked of the planner.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlanOptions<'a> {
    /// Without rows, all are taken to be as long as `max_length` allows, and all but their first token to be judged.
    pub rows: Option<&'a [Value]>,
    /// Bytes that model and training may take together; without it, what the device is known to have.
    pub memory: Option<u64>,
}

/// Bytes by what they are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PlannedBytes {
    pub weights: u64,
    /// The adapter that learns, its published copy, and the one that it is measured against.
    pub adapters: u64,
    /// What a method trains beside the adapter.
    pub heads: u64,
    pub gradients: u64,
    pub optimizer: u64,
    /// Shared by all passes.
    pub activations: u64,
    /// What goes into passes and is read of them.
    pub inputs: u64,
    /// Whatever else is there: tables, other adapters, caches of answers.
    pub other: u64,
    /// All of these: what the device counts.
    pub device: u64,
    /// Hidden states of the base model that the host keeps, for `kl`. On a processor they are of the same memory.
    pub host: u64,
}

impl PlannedBytes {
    /// What the device holds, by what it is for.
    pub fn parts(&self) -> [(&'static str, u64); 8] {
        [
            ("weights", self.weights),
            ("adapters", self.adapters),
            ("heads", self.heads),
            ("gradients", self.gradients),
            ("optimizer", self.optimizer),
            ("activations", self.activations),
            ("inputs and outputs", self.inputs),
            ("other", self.other),
        ]
    }
}

/// The fields that the planner chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Chosen {
    pub per_device_train_batch_size: usize,
    pub gradient_accumulation_steps: usize,
    /// `None`: for the shapes that would take more than `activation_memory`.
    pub gradient_checkpointing: Option<bool>,
    pub fp16: bool,
    pub max_length: Option<usize>,
}

/// What a training will take.
#[derive(Clone, Debug, Serialize)]
pub struct MemoryPlan {
    pub method: String,
    pub device: DeviceInfo,
    pub limits: Limits,
    /// Bytes that all had to fit into.
    pub memory: Option<u64>,
    pub bytes: PlannedBytes,
    /// The largest single buffer.
    pub largest_buffer: u64,
    pub chosen: Chosen,
    /// Updates in all.
    pub total_steps: u64,
    /// Tokens and judged positions of the largest pass, padding included.
    pub tokens: usize,
    pub judged: usize,
    /// What was changed to make it fit, and what was assumed: sentences.
    pub notes: Vec<String>,
    /// The configuration with the chosen fields.
    pub config: Value,
}

impl MemoryPlan {
    /// Bytes of the memory that is planned for.
    pub fn total(&self) -> u64 {
        self.bytes.device + if self.device.device == "cpu" { self.bytes.host } else { 0 }
    }
}

/// What was there before a training was made ready.
#[derive(Clone, Copy)]
struct Before {
    live: u64,
    weights: u64,
}

/// One way to run it.
struct Candidate {
    args: TrainingArguments,
    bytes: PlannedBytes,
    survey: Survey,
}

impl Candidate {
    fn of(training: &mut Training, before: Before, args: &TrainingArguments) -> Result<Candidate> {
        let trainer = &mut training.trainer;
        let own = std::mem::replace(&mut trainer.args, args.clone());
        let survey = trainer.survey();
        trainer.args = own;
        let survey = survey?;
        let exec = trainer.model().exec();
        // The first update publishes a copy under the adapter's name.
        let copy = trainer.target().set().map_or(0, |set| exec.rounded(set.bytes()));
        let made = exec.live_bytes().saturating_sub(before.live);
        let [heads, gradients, optimizer] = trainer.trainable.bytes();
        let mut bytes = PlannedBytes {
            weights: before.weights,
            adapters: (made + copy).saturating_sub(heads + gradients + optimizer),
            heads,
            gradients,
            optimizer,
            activations: survey.slots.iter().sum(),
            inputs: survey.ports,
            other: before.live.saturating_sub(before.weights),
            device: 0,
            host: survey.host,
        };
        bytes.device = before.live + made + copy + bytes.activations + bytes.inputs;
        Ok(Candidate { args: args.clone(), bytes, survey })
    }

    /// On a processor host and device are one.
    fn total(&self, is_cpu: bool) -> u64 {
        self.bytes.device + if is_cpu { self.bytes.host } else { 0 }
    }
}

/// All ways to pass over the rows of an update, the one that was asked for first: fewer rows at once, then activations that are computed again, then
/// activations as halves. What the configuration says of checkpointing and halves stays.
fn ways(asked: &TrainingArguments, given: &Map<String, Value>, rows_meet: bool) -> Vec<TrainingArguments> {
    let product = asked.per_device_train_batch_size * asked.gradient_accumulation_steps;
    let sizes: Vec<usize> = (1..=asked.per_device_train_batch_size)
        .rev()
        .filter(|n| product.is_multiple_of(*n) && (*n == asked.per_device_train_batch_size || !rows_meet))
        .collect();
    let is_given = |name: &str| given.get(name).is_some_and(|v| !v.is_null());
    let checkpointing = if is_given("gradient_checkpointing") { vec![asked.gradient_checkpointing] } else { vec![Some(false), Some(true)] };
    let halves = if is_given("fp16") || asked.fp16 { vec![asked.fp16] } else { vec![false, true] };
    let mut all = vec![asked.clone()];
    for fp16 in halves {
        for gradient_checkpointing in &checkpointing {
            all.extend(sizes.iter().map(|n| TrainingArguments {
                per_device_train_batch_size: *n,
                gradient_accumulation_steps: product / n,
                gradient_checkpointing: *gradient_checkpointing,
                fp16,
                ..asked.clone()
            }));
        }
    }
    all
}

impl Training {
    /// What a training by this configuration will take, and where it would not fit, one that does: fewer rows at once (the rows of an update stay),
    /// then `gradient_checkpointing`, then `fp16`, then a shorter `max_length`, unless the configuration says these itself. The adapter is made to be
    /// measured; activations are not.
    ///
    /// # Errors
    /// As [`Training::new`]; [`Error::BadConfig`] for `memory` with the numbers, where nothing fits.
    pub async fn plan(model: &LoadedModel, method: &str, args: &Value, options: PlanOptions<'_>) -> Result<MemoryPlan> {
        let exec = model.model.exec().clone();
        let info = by_name(method)?;
        if [RowKind::Rollout, RowKind::Prompt].contains(&info.rows) {
            return Err(Error::config(
                "method",
                format!("{} writes its own completions, and is not planned: how long they are is not known", info.name),
            ));
        }
        let before = Before { live: exec.live_bytes(), weights: model.model.params().bytes() };
        let (limits, device) = (exec.limits(), exec.info());
        let is_cpu = exec.cpu().is_some();
        let memory = options.memory.or(limits.memory);
        let given = own_object(args)?;
        let asked = TrainingArguments::of(&info.read(&super::start::own_fields(args)?)?);
        let context = model.info.context_length;
        let longest = asked.max_length.unwrap_or(context).min(context);
        let mut least: Option<Candidate> = None;
        let mut lengths = vec![asked.max_length];
        if given.get("max_length").is_none_or(Value::is_null) {
            lengths.extend(std::iter::successors(Some(longest / 2), |n| Some(n / 2)).take_while(|n| *n >= SHORTEST).map(Some));
        }
        let mut notes = Vec::new();
        for length in lengths {
            let mut config = given.clone();
            if length != asked.max_length {
                config.insert("max_length".into(), json!(length));
            }
            let assumed = options.rows.is_none().then(|| {
                let rows = asked.per_device_train_batch_size * asked.gradient_accumulation_steps;
                info.rows.assumed(rows, length.unwrap_or(context).min(context))
            });
            let rows = options.rows.or(assumed.as_deref()).unwrap_or_default();
            let training = Training::new(model, method, &Value::Object(config.clone()), rows, None).await;
            let mut training = match training {
                Ok(t) => t,
                // Of rows that are cut too short nothing is left.
                Err(_) if least.is_some() => break,
                Err(e) => return Err(e),
            };
            notes = training.notes().to_vec();
            let meet = training.trainer.method.rows_meet();
            let own = training.trainer.args.clone();
            for way in ways(&own, &given, meet) {
                let c = Candidate::of(&mut training, before, &way)?;
                let fits = memory.is_none_or(|m| c.total(is_cpu) <= m) && limits.buffer().is_none_or(|most| c.survey.largest <= most);
                if fits {
                    let chosen = Chosen {
                        per_device_train_batch_size: way.per_device_train_batch_size,
                        gradient_accumulation_steps: way.gradient_accumulation_steps,
                        gradient_checkpointing: way.gradient_checkpointing,
                        fp16: way.fp16,
                        max_length: length,
                    };
                    if options.rows.is_none() {
                        let n = length.unwrap_or(context).min(context);
                        notes.push(format!(
                            "without rows, all are taken to have {n} tokens (max_length), of which all but the first are judged"
                        ));
                    }
                    let changed = changed(&asked, &chosen);
                    if let (false, Some(m)) = (changed.is_empty(), memory) {
                        notes.push(format!("to fit into {}: {}", mib(m), changed.iter().map(Change::text).collect::<Vec<_>>().join(", ")));
                    }
                    changed.into_iter().for_each(|c| drop(config.insert(c.field.into(), c.value)));
                    return Ok(MemoryPlan {
                        method: info.name.into(),
                        device,
                        limits,
                        memory,
                        bytes: c.bytes,
                        largest_buffer: c.survey.largest,
                        chosen,
                        total_steps: training.total_steps(),
                        tokens: c.survey.tokens,
                        judged: c.survey.judged,
                        notes,
                        config: Value::Object(config),
                    });
                }
                if least.as_ref().is_none_or(|l| c.total(is_cpu) < l.total(is_cpu)) {
                    least = Some(c);
                }
            }
        }
        drop(notes);
        Err(refused(least.as_ref(), memory, &limits, is_cpu))
    }
}

/// A field that became another.
struct Change {
    field: &'static str,
    value: Value,
}

impl Change {
    fn text(&self) -> String {
        format!("{} {}", self.field, self.value)
    }
}

fn changed(asked: &TrainingArguments, chosen: &Chosen) -> Vec<Change> {
    let all = [
        ("per_device_train_batch_size", json!(asked.per_device_train_batch_size), json!(chosen.per_device_train_batch_size)),
        ("gradient_accumulation_steps", json!(asked.gradient_accumulation_steps), json!(chosen.gradient_accumulation_steps)),
        ("gradient_checkpointing", json!(asked.gradient_checkpointing), json!(chosen.gradient_checkpointing)),
        ("fp16", json!(asked.fp16), json!(chosen.fp16)),
        ("max_length", json!(asked.max_length), json!(chosen.max_length)),
    ];
    all.into_iter().filter(|(_, was, is)| was != is).map(|(field, _, value)| Change { field, value }).collect()
}

fn own_object(args: &Value) -> Result<Map<String, Value>> {
    match args {
        Value::Object(map) => Ok(map.clone()),
        Value::Null => Ok(Map::new()),
        other => Err(Error::config("config", format!("expected a JSON object, found {other}"))),
    }
}

/// The numbers of the least that was tried.
fn refused(least: Option<&Candidate>, memory: Option<u64>, limits: &Limits, is_cpu: bool) -> Error {
    let Some(c) = least else { return Error::config("memory", "nothing was tried") };
    let b = &c.bytes;
    let parts = b.parts().into_iter().chain([("host", if is_cpu { b.host } else { 0 })]);
    let parts: Vec<String> = parts.filter(|p| p.1 > 0).map(|(name, bytes)| format!("{name} {}", mib(bytes))).collect();
    let a = &c.args;
    let how = format!(
        "per_device_train_batch_size {}, gradient_checkpointing {}, fp16 {}, rows of {} tokens",
        a.per_device_train_batch_size,
        a.gradient_checkpointing.unwrap_or(false),
        a.fp16,
        c.survey.tokens
    );
    if let (Some(most), true) = (limits.buffer(), memory.is_none_or(|m| c.total(is_cpu) <= m)) {
        return Error::OutOfMemory(format!("one buffer of {} is needed, this device allows {} ({how})", mib(c.survey.largest), mib(most)));
    }
    let asked = memory.map_or_else(|| "the device's memory".into(), mib);
    let total = mib(c.total(is_cpu));
    Error::config("memory", format!("{asked} is too little, the least that was found takes {total} ({}) with {how}", parts.join(", ")))
}
