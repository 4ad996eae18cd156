//! A training on disk: weights that are trained, AdamW's moments, update, data position and random state, in one safetensors file.
//! Continuing from it gives the curve of a run that was never interrupted, bit for bit on the same adapter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::best::{BestWeights, Progress};
use super::config::Optim;
use super::kl::RowCache;
use super::rounds::{Rounds, Saved};
use super::schedule::SchedulerType;
use super::trainer::{Target, Trainer};
use crate::data::{Mask, Sampler};
use crate::formats::safetensors;
use crate::formats::{Container, ContainerKind};
use crate::graph::Tensor;
use crate::tensor::DType;
use crate::{Error, Result};

/// The name used in errors.
const FILE: &str = "checkpoint.safetensors";
/// Changes when an older reader would misunderstand.
const VERSION: u32 = 2;
const KEY: &str = "fledgling_checkpoint";

/// What is not a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub version: u32,
    /// `sft` or `dpo`.
    pub method: String,
    /// Updates taken.
    pub step: u64,
    /// Micro-batches taken: the random stream of dropout goes on from here.
    pub micros: u64,
    pub tokens: u64,
    /// Passes over the data that are complete, and rows taken of the next.
    pub epoch: u64,
    pub rows_taken: usize,
    /// Of the dataset: rows and SHA-256 of their tokens.
    pub rows: usize,
    pub dataset: String,
    /// Of the present epoch, where some came after it had begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch_rows: Option<usize>,
    /// What the position and the random stream depend on.
    pub seed: u32,
    pub data_seed: u32,
    pub shuffle: bool,
    pub per_device_train_batch_size: usize,
    pub gradient_accumulation_steps: usize,
    /// Everything else that decides the curve, by TRL's names. As texts, so that equal numbers stay equal.
    pub arguments: BTreeMap<String, String>,
    /// Rows whose values under the reference and under the base model are stored: a later pass over other rows might round differently.
    pub reference_rows: Vec<u32>,
    pub base_rows: Vec<u32>,
    /// Which weights the flat tensors hold.
    pub layout: String,
    /// The present round, of a method that learns in rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    round: Option<Saved>,
    /// `adapter_config.json`, where an adapter is trained.
    pub peft_config: Option<String>,
    pub adapter_name: Option<String>,
    /// Where rows are held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Progress>,
}

/// A checkpoint that was read.
pub struct Checkpoint {
    pub state: State,
    /// What is trained and AdamW's moments, by name.
    tensors: BTreeMap<String, Vec<u8>>,
    /// The reference policy, where it is not the base model.
    reference: Option<Vec<u8>>,
    reference_logps: Vec<f32>,
    base_logps: Vec<f32>,
}

impl Checkpoint {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`Error::BadFile`]; [`Error::NotFinite`].
    pub fn parse(bytes: &[u8]) -> Result<Checkpoint> {
        let file = Container::parse(FILE, bytes)?;
        let text = match file.kind {
            ContainerKind::Safetensors => file.metadata.get(KEY).map(|_| file.metadata.str(KEY)).transpose()?,
            ContainerKind::Gguf { .. } => None,
        };
        let text = text.ok_or_else(|| Error::file(FILE, format!("is not a checkpoint: no {KEY} in its metadata")))?;
        let state: State = serde_json::from_str(text).map_err(|e| Error::file(FILE, format!("{KEY}: {e}")))?;
        if state.version != VERSION {
            return Err(Error::file(FILE, format!("version {}, expected {VERSION}", state.version)));
        }
        let tensor = |name: &str| -> Result<Option<Vec<u8>>> {
            let Some(i) = file.index_of(name) else { return Ok(None) };
            let info = &file.tensors[i];
            // Of moments in 8 bits the codes are words.
            let words = info.dtype == DType::U32 && name.starts_with("exp_avg_codes");
            if !(words || info.dtype == DType::F32) || info.shape.len() != 2 || info.shape[0] != 1 {
                return Err(Error::file(
                    FILE,
                    format!("tensor {name:?} is {} {:?}, expected F32 of one row", info.dtype.name(), info.shape),
                ));
            }
            let data = file.bytes(bytes, i)?;
            if words {
                return Ok(Some(data.to_vec()));
            }
            let finite = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).is_finite();
            match data.chunks_exact(4).position(|b| !finite(b)) {
                Some(at) => Err(Error::NotFinite(format!("{FILE}: tensor {name:?}, element {at}"))),
                None => Ok(Some(data.to_vec())),
            }
        };
        let floats = |name: &str| -> Result<Vec<f32>> { Ok(bytemuck::pod_collect_to_vec(&tensor(name)?.unwrap_or_default())) };
        let mut tensors = BTreeMap::new();
        for info in file.tensors.iter().filter(|t| !["reference", "reference_logps", "base_logps"].contains(&t.name.as_str())) {
            tensors.extend(tensor(&info.name)?.map(|bytes| (info.name.clone(), bytes)));
        }
        Ok(Checkpoint {
            tensors,
            reference: tensor("reference")?,
            reference_logps: floats("reference_logps")?,
            base_logps: floats("base_logps")?,
            state,
        })
    }

    /// True when the reference policy is stored because it is not the base model.
    pub fn has_reference(&self) -> bool {
        self.reference.is_some()
    }
}

/// What is written of a checkpoint under one name.
enum Part<'a> {
    Tensor(&'a Tensor),
    Values(Vec<f32>),
}

impl Part<'_> {
    fn len(&self) -> usize {
        match self {
            Part::Tensor(t) => t.desc().len(),
            Part::Values(v) => v.len(),
        }
    }

    fn dtype(&self) -> DType {
        match self {
            Part::Tensor(t) => t.desc().dtype,
            Part::Values(_) => DType::F32,
        }
    }
}

/// Fields of the configuration that a checkpoint compares by themselves, or that do not change a single number.
const ELSEWHERE: &[&str] = &[
    "seed",
    "data_seed",
    "shuffle",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "report_kl",
    // What it cuts is in the dataset's digest.
    "max_length",
];

/// The same, but with `fp16`: what is computed again is computed from halves, and is itself not one.
const EXACT_WITHOUT_HALVES: &[&str] = &["gradient_checkpointing", "activation_memory"];

/// How far evaluations had come, for a run that has some: not those of other rows.
fn evaluations(have: Option<&Progress>, want: Option<Progress>) -> Result<Option<Progress>> {
    match (have, want) {
        (Some(have), Some(want)) if have.dataset != want.dataset => {
            let message = "was taken with other rows for evaluation: what was the best of them says nothing about these";
            Err(Error::config("resume_from_checkpoint", message))
        }
        (Some(have), Some(_)) => Ok(Some(have.clone())),
        (None, want) => Ok(want),
        (Some(_), None) => Ok(None),
    }
}

impl Trainer {
    fn arguments(&self) -> BTreeMap<String, String> {
        let all = serde_json::to_value(&self.args).expect("numbers and texts");
        let mut out: BTreeMap<String, String> = all.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.to_string())).collect();
        out.retain(|k, _| !ELSEWHERE.contains(&k.as_str()));
        if !self.args.fp16 {
            // As in checkpoints from before it was an argument.
            out.remove("fp16");
            EXACT_WITHOUT_HALVES.iter().for_each(|k| drop(out.remove(*k)));
        }
        if self.args.optim == Optim::AdamW {
            out.remove("optim");
        }
        if self.args.max_steps > 0 {
            out.remove("num_train_epochs");
        }
        if self.args.lr_scheduler_type == SchedulerType::Constant && self.args.warmup_ratio == 0.0 {
            // No rate depends on the length: a training may go on for longer than was planned.
            out.remove("max_steps");
            out.remove("num_train_epochs");
        }
        if self.model.mask() != Mask::Causal {
            out.insert("mask".into(), self.model.mask().name().into());
        }
        out.extend(self.method.arguments().into_iter().map(|(k, v)| (k.to_string(), v)));
        out
    }

    /// What is known of the base model, where a checkpoint keeps it.
    fn kept_base(&self) -> Option<&RowCache> {
        self.base.as_ref().filter(|_| self.method.rounds().is_none())
    }

    fn snapshot(&self) -> State {
        let (epoch, rows_taken) = self.sampler.position();
        let (peft_config, adapter_name) = match self.target() {
            Target::Adapter { set, name } => (Some(set.config().to_json()), Some(name.clone())),
            Target::Full => (None, None),
        };
        State {
            version: VERSION,
            method: self.method.name().into(),
            step: self.step,
            micros: self.micros,
            tokens: self.tokens,
            epoch,
            rows_taken,
            rows: self.method.rows(),
            epoch_rows: Some(self.sampler.rows()).filter(|n| *n != self.method.rows()),
            dataset: self.method.digest(),
            seed: self.args.seed,
            data_seed: self.args.data_seed.unwrap_or(self.args.seed),
            shuffle: self.args.shuffle,
            per_device_train_batch_size: self.args.per_device_train_batch_size,
            gradient_accumulation_steps: self.args.gradient_accumulation_steps,
            arguments: self.arguments(),
            reference_rows: self.method.references().map(|c| c.export().0).unwrap_or_default(),
            // Of a round they are computed again, by the same micro-batches.
            base_rows: self.kept_base().map(|c| c.export().0).unwrap_or_default(),
            round: self.method.rounds().map(Rounds::save),
            layout: match self.target() {
                Target::Adapter { set, .. } => set.key().to_string(),
                Target::Full => "all weights".into(),
            },
            peft_config,
            adapter_name,
            evaluation: self.best.progress.clone(),
        }
    }

    /// Everything needed to go on exactly here.
    ///
    /// # Errors
    /// Whatever the device reports; as [`Trainer::report`] for updates under way.
    pub async fn checkpoint(&mut self) -> Result<Vec<u8>> {
        // An update that was submitted belongs to it, once it is known to be good.
        self.catch_up(0).await?;
        let exec = self.exec();
        let mut parts: Vec<(String, Part)> = self.state().into_iter().map(|(name, t)| (name, Part::Tensor(t))).collect();
        if let Some(kept) = &self.best.kept {
            // The best beside the last, whichever of them are in place.
            for (i, values) in kept.iter().enumerate() {
                let last = 3 * i;
                let best = parts[last].0.replacen("weights", "best", 1);
                let other = Part::Values(values.clone());
                let other = if self.best.exchanged { std::mem::replace(&mut parts[last].1, other) } else { other };
                parts.push((best, other));
            }
        }
        if let Some(set) = &self.reference {
            parts.push(("reference".to_string(), Part::Tensor(set.params())));
        }
        let caches = [("reference_logps", self.method.references()), ("base_logps", self.kept_base())];
        for (name, cache) in caches.into_iter().filter_map(|(name, c)| Some((name, c?))) {
            let values = cache.export().1;
            if !values.is_empty() {
                parts.push((name.to_string(), Part::Values(values)));
            }
        }
        let state = serde_json::to_string(&self.snapshot()).expect("numbers and texts");
        let metadata = BTreeMap::from([(KEY.to_string(), state)]);
        let shapes: Vec<[usize; 2]> = parts.iter().map(|(_, p)| [1, p.len()]).collect();
        let described: Vec<_> = parts.iter().zip(&shapes).map(|((name, p), shape)| (name.as_str(), p.dtype(), shape.as_slice())).collect();
        // One tensor at a time: in a tab the memory that is taken once is never given back.
        let (mut out, order) = safetensors::begin(FILE, &described, &metadata)?;
        for (_, part) in order.iter().map(|i| &parts[*i]) {
            match part {
                // Words of either type, as they are.
                Part::Tensor(t) => out.extend(exec.read(&t.mem(), 0, t.desc().len() as u64 * 4).await?),
                Part::Values(values) => out.extend_from_slice(bytemuck::cast_slice(values)),
            }
        }
        Ok(out)
    }

    /// Goes back to where a checkpoint was taken. The trainer must be one of the same method, dataset, batches and weights.
    ///
    /// # Errors
    /// [`Error::BadConfig`] that names what differs.
    pub fn restore(&mut self, c: &Checkpoint) -> Result<()> {
        let (have, want) = (&c.state, self.snapshot());
        let differs = |field: &str, have: &dyn std::fmt::Display, want: &dyn std::fmt::Display| -> Error {
            Error::config("resume_from_checkpoint", format!("was taken with {field} {have}, this training has {want}"))
        };
        macro_rules! same {
            ($($field:ident),*) => { $( if have.$field != want.$field { return Err(differs(stringify!($field), &have.$field, &want.$field)); } )* };
        }
        same!(method, layout, rows, dataset, seed, data_seed, shuffle, per_device_train_batch_size, gradient_accumulation_steps);
        for field in have.arguments.keys().chain(want.arguments.keys()) {
            let of = |s: &State| s.arguments.get(field).cloned().unwrap_or_else(|| "unset".into());
            if of(have) != of(&want) {
                return Err(differs(field, &of(have), &of(&want)));
            }
        }
        if c.reference.is_some() != self.reference.is_some() {
            let of = |some: bool| if some { "an earlier adapter" } else { "the base model" };
            return Err(differs("as reference", &of(c.reference.is_some()), &of(self.reference.is_some())));
        }
        let exec = self.exec().clone();
        let mut writes = vec![];
        for (name, t) in self.state() {
            let bytes = c.tensors.get(&name).ok_or_else(|| Error::file(FILE, format!("tensor {name:?} is missing")))?;
            writes.push((bytes, t.clone()));
        }
        let progress = evaluations(have.evaluation.as_ref(), want.evaluation)?;
        let best = |name: &str| c.tensors.get(&name.replacen("weights", "best", 1)).map(|b| bytemuck::pod_collect_to_vec(b));
        let best: Option<Vec<Vec<f32>>> = self.state().iter().step_by(3).map(|(name, _)| best(name)).collect();
        let best = best.filter(|b| progress.is_some() && b.iter().zip(self.weights()).all(|(b, t)| b.len() == t.desc().len()));
        let rows = have.epoch_rows.unwrap_or(want.rows);
        if rows > want.rows {
            return Err(Error::file(FILE, format!("an epoch of {rows} rows of {}", want.rows)));
        }
        if let (Some(bytes), Some(set)) = (&c.reference, &self.reference) {
            writes.push((bytes, set.params().clone()));
        }
        // All lengths before the first write: a refused checkpoint changes nothing.
        for (bytes, t) in &writes {
            if bytes.len() != t.desc().len() * 4 {
                return Err(Error::file(FILE, format!("{} bytes for {} values of {}", bytes.len(), t.desc().len(), t.name())));
            }
        }
        let references = match self.method.references() {
            Some(_) => {
                let width = |row: u32| self.method.reference_examples(&[row]).len();
                Some(RowCache::import(FILE, want.rows, &have.reference_rows, &c.reference_logps, width)?)
            }
            None => None,
        };
        let judged = |row: u32| self.method.examples(&[row]).iter().map(|e| e.counted()).sum();
        let rounds = match (self.method.rounds(), &have.round) {
            (Some(rounds), Some(saved)) => Some(rounds.restored(FILE, saved)?),
            (Some(_), None) => return Err(Error::file(FILE, "says nothing of its rounds")),
            (None, _) => None,
        };
        let base = match self.kept_base() {
            Some(_) => Some(RowCache::import(FILE, want.rows, &have.base_rows, &c.base_logps, judged)?),
            None => self.base.as_ref().map(|_| RowCache::default()),
        };
        self.forget_all();
        for (bytes, t) in writes {
            t.write_rows(&exec, 0, bytes)?;
        }
        if let (Some(references), Some(cache)) = (references, self.method.references_mut()) {
            *cache = references;
        }
        if let (Some(rounds), Some(own)) = (rounds, self.method.rounds_mut()) {
            *own = rounds;
            self.method.restored();
        }
        self.base = base;
        self.best = BestWeights { progress, kept: best, exchanged: false };
        self.states.clear();
        self.sampler = Sampler::at(rows, self.args.shuffle, want.data_seed, have.epoch, have.rows_taken);
        (self.step, self.micros, self.tokens) = (have.step, have.micros, have.tokens);
        Ok(())
    }
}
