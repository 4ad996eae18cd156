//! The step that SFT and DPO share: forward and backward of every micro-batch, one optimizer program, one readback.
//!
//! A plan is recorded per shape bucket and replayed; plans share their activation slots. Callers drive it with
//! [`Trainer::step`] and may stop between any two steps.

use std::rc::Rc;

use super::batch::{Batch, BatchShape, Sampler};
use super::config::TrainingArguments;
use super::kl::RowCache;
use super::objective::{Micro, Objective, StepMetrics};
use super::schedule::Schedule;
use crate::clock;
use crate::graph::{Desc, Exec, Mark, Mem, Plan, Profile, Program, ProgramOptions, SlotPool, StepParams, Tape, Tensor, Transfer};
use crate::lru::Lru;
use crate::models::{Model, TrainInputs};
use crate::nn::LoraSet;
use crate::ops::embedding::GatherRows;
use crate::ops::half;
use crate::ops::optim::{AdamW, GradNorm};
use crate::{Error, Result};

/// Few enough that a page keeps painting and a driver's watchdog stays quiet.
const DISPATCHES_PER_SUBMIT: usize = 64;

/// Most plans that are kept. Buckets make fewer shapes than this of most datasets; the slots, which are what is large, they share anyway.
const PLANS: usize = 32;

/// What is trained: an adapter, or every weight of the model.
#[derive(Clone)]
pub enum Target {
    Adapter {
        set: Rc<LoraSet>,
        /// Under which the model knows it.
        name: String,
    },
    Full,
}

impl Target {
    /// The adapter, if it is one.
    pub fn set(&self) -> Option<&Rc<LoraSet>> {
        match self {
            Target::Adapter { set, .. } => Some(set),
            Target::Full => None,
        }
    }
}

/// Flat buffers of what is trained, and the ranges of them that decay or do not.
struct Trainable {
    params: Tensor,
    grads: Tensor,
    /// AdamW's running means of the gradient and of its square.
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    /// (first element, elements, weight decay).
    ranges: Vec<(usize, usize, bool)>,
}

impl Trainable {
    fn new(exec: &Exec, params: &Tensor, grads: Tensor, parts: &[(usize, usize, bool)]) -> Result<Trainable> {
        let desc = params.desc().clone();
        let mut ranges: Vec<(usize, usize, bool)> = Vec::new();
        for &(start, len, decay) in parts {
            match ranges.last_mut() {
                // The padding between two parts is zero and stays zero.
                Some(last) if last.2 == decay => last.1 = start + len - last.0,
                _ => ranges.push((start, len, decay)),
            }
        }
        Ok(Trainable {
            params: params.clone(),
            grads,
            exp_avg: Tensor::zeros(exec, "exp_avg", desc.clone())?,
            exp_avg_sq: Tensor::zeros(exec, "exp_avg_sq", desc)?,
            ranges,
        })
    }

    /// Norm, clipping and AdamW for all of it.
    fn program(&self, exec: &Exec) -> Result<Program> {
        let mut tape = Tape::new();
        let grads = tape.tensor(&self.grads);
        let norm = tape.push1(GradNorm, &[grads])?;
        tape.output("norm", norm);
        let flats = [&self.params, &self.grads, &self.exp_avg, &self.exp_avg_sq].map(|t| tape.tensor(t));
        for &(start, len, decay) in &self.ranges {
            AdamW::record(&mut tape, start, len, decay, norm, flats)?;
        }
        Program::build(exec, &tape, ProgramOptions::default())
    }
}

/// A training in progress.
pub struct Trainer<O> {
    pub(super) model: Rc<Model>,
    pub(super) target: Target,
    /// The reference policy where it is not the base model: the adapter as it was when training began.
    pub(super) reference: Option<Rc<LoraSet>>,
    pub(super) objective: O,
    /// Log-probabilities of judged tokens under the base model, where the distance to it is reported.
    pub(super) base: Option<RowCache>,
    pub(super) args: TrainingArguments,
    schedule: Schedule,
    pub(super) sampler: Sampler,
    /// Updates taken.
    pub(super) step: u64,
    /// Micro-batches taken: the second half of the random stream.
    pub(super) micros: u64,
    pub(super) tokens: u64,
    trainable: Trainable,
    optimizer: Program,
    programs: Lru<(BatchShape, Pass), Rc<Program>>,
    recorded: u64,
    pool: SlotPool,
    staging: Option<Mem>,
    /// A step failed half-way: gradients hold what must not be used.
    dirty: bool,
    /// Seconds and number of the updates that estimate the rest; the first compiles and is left out once there is another.
    clocked: (f64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pass {
    Update,
    /// Forward only, under an earlier adapter that is the reference.
    Reference,
    /// Forward only, under the base model: the same layers with the adapter's products times 0.
    Base,
}

impl<O: Objective> Trainer<O> {
    /// Readies a training of `target`; nothing has run yet.
    ///
    /// # Errors
    /// [`Error::EmptyDataset`]; [`Error::OutOfMemory`]; [`Error::BadConfig`] for full training of a model that was loaded frozen.
    pub fn new(
        model: Rc<Model>,
        target: Target,
        reference: Option<Rc<LoraSet>>,
        args: TrainingArguments,
        objective: O,
    ) -> Result<Trainer<O>> {
        if objective.rows() == 0 {
            return Err(Error::EmptyDataset("there are no rows to train on".into()));
        }
        let exec = model.exec().clone();
        exec.need_device("training")?;
        let trainable = match &target {
            Target::Adapter { set, .. } => {
                let len = set.params().desc().len();
                Trainable::new(&exec, set.params(), set.train(&exec)?, &[(0, len, args.weight_decay > 0.0)])?
            }
            Target::Full => {
                let grads = model.params().train()?;
                let arena = model.params().arena().ok_or_else(|| Error::config("trainable", "the model was loaded frozen"))?;
                // Biases and norms are vectors and do not decay, as in Transformers.
                let parts: Vec<_> = arena
                    .parts
                    .iter()
                    .enumerate()
                    .map(|(i, p)| (arena.offset(i), p.desc().len(), args.weight_decay > 0.0 && p.desc().shape.len() > 1))
                    .collect();
                Trainable::new(&exec, &arena.flat, grads, &parts)?
            }
        };
        let optimizer = trainable.program(&exec)?;
        let rows = objective.rows();
        let total = args.total_steps(rows);
        let base = (args.report_kl && target.set().is_some()).then(|| RowCache::new(rows));
        Ok(Trainer {
            base,
            schedule: args.schedule(total),
            sampler: Sampler::new(rows, args.shuffle, args.data_seed.unwrap_or(args.seed)),
            model,
            target,
            reference,
            objective,
            args,
            step: 0,
            micros: 0,
            tokens: 0,
            trainable,
            optimizer,
            programs: Lru::new(PLANS),
            recorded: 0,
            pool: SlotPool::default(),
            staging: None,
            dirty: false,
            clocked: (0.0, 0),
        })
    }

    /// Updates in all.
    pub fn total_steps(&self) -> u64 {
        self.schedule.total_steps
    }

    /// Updates taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    pub fn model(&self) -> &Rc<Model> {
        &self.model
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Flat parameters, first and second moments.
    pub(super) fn state(&self) -> [&Tensor; 3] {
        [&self.trainable.params, &self.trainable.exp_avg, &self.trainable.exp_avg_sq]
    }

    pub(super) fn exec(&self) -> &Exec {
        self.model.exec()
    }

    /// Bytes of activations shared by all plans.
    pub fn activation_bytes(&self) -> u64 {
        self.pool.bytes()
    }

    /// Bytes of activations that the next update's first micro-batch would take by itself, with and without checkpointing. Nothing is allocated.
    ///
    /// # Errors
    /// From recording.
    pub fn planned_bytes(&self, gradient_checkpointing: bool) -> Result<u64> {
        let (micros, _) = self.draw();
        let tape = self.record(&micros[0].shape, Pass::Update, gradient_checkpointing)?;
        Ok(Plan::on(self.exec(), &tape).bytes())
    }

    /// Plans recorded so far.
    pub fn plans(&self) -> u64 {
        self.recorded
    }

    fn record(&self, shape: &BatchShape, pass: Pass, checkpoint: bool) -> Result<Tape> {
        let mut tape = Tape::new();
        let m = shape.batch * shape.len;
        let inputs = TrainInputs {
            batch: shape.batch,
            ids: tape.input("ids", Desc::u32(&[m])),
            positions: tape.input("positions", Desc::u32(&[m])),
            spans: tape.input("spans", Desc::u32(&[m, 2])),
            window_spans: self.model.window().map(|_| tape.input("window_spans", Desc::u32(&[m, 2]))),
        };
        let own = self.target.set().map(Rc::as_ref);
        let adapter = if pass == Pass::Reference { self.reference.as_deref().or(own) } else { own };
        // Dropout belongs to updates alone.
        let hidden = self.model.record_hidden(&mut tape, &inputs, adapter, pass == Pass::Update)?;
        let gather = tape.input("gather", Desc::u32(&[shape.rows]));
        let inverse = tape.input("inverse", Desc::u32(&[m]));
        let targets = tape.input("targets", Desc::u32(&[shape.rows]));
        let judged = tape.push1(GatherRows, &[hidden, gather, inverse])?;
        let saved = pass == Pass::Update && own.is_some();
        let logp = self.model.record_logps(&mut tape, judged, targets, adapter, pass == Pass::Update, saved)?;
        let (metrics, dlogp) = self.objective.record(&mut tape, shape, logp)?;
        tape.output("metrics", metrics);
        if self.base.is_some() {
            tape.output("logp", logp);
        }
        if pass == Pass::Update {
            let forward = tape.nodes().len();
            tape.backward(&[(logp, dlogp)], checkpoint)?;
            if self.args.fp16 {
                half::keep_halves(&mut tape, forward)?;
            }
        }
        Ok(tape)
    }

    async fn program(&mut self, shape: &BatchShape, pass: Pass) -> Result<Rc<Program>> {
        if let Some(p) = self.programs.get(&(*shape, pass)) {
            return Ok(p.clone());
        }
        self.recorded += 1;
        let mut tape = self.record(shape, pass, self.args.gradient_checkpointing == Some(true))?;
        let budget = self.args.activation_memory.unwrap_or_else(|| self.exec().activation_memory());
        if pass == Pass::Update && self.args.gradient_checkpointing.is_none() && Plan::on(self.exec(), &tape).bytes() > budget {
            tape = self.record(shape, pass, true)?;
        }
        let options = ProgramOptions { per_submit: DISPATCHES_PER_SUBMIT };
        let program = Rc::new(Program::build_in(self.exec(), &tape, options, &self.pool)?);
        program.compile().await?;
        if self.pool.outgrown() {
            // Earlier plans hold the smaller slots: they are recorded again when they are needed.
            self.programs.clear();
        }
        self.programs.insert((*shape, pass), program.clone());
        Ok(program)
    }

    fn micro(&self, rows: Vec<u32>) -> Micro {
        let batch = Batch::new(&self.objective.examples(&rows), self.model.window());
        let shape = self.objective.key(batch.shape);
        Micro { rows, batch, shape }
    }

    fn write_batch(program: &Program, batch: &Batch) {
        program.write("ids", &batch.ids);
        program.write("positions", &batch.positions);
        program.write("spans", &batch.spans);
        if program.has_input("window_spans") {
            program.write("window_spans", &batch.window_spans);
        }
        program.write("gather", &batch.gather);
        if program.has_input("inverse") {
            program.write("inverse", &batch.inverse);
        }
        program.write("targets", &batch.targets);
    }

    /// Log-probabilities of rows under the base model, or under the frozen adapter that training began from.
    async fn compute_references(&mut self, rows: Vec<u32>, pass: Pass) -> Result<()> {
        let micro = self.micro(rows);
        let program = self.program(&micro.shape, pass).await?;
        Self::write_batch(&program, &micro.batch);
        let mut step = StepParams { lora: if pass == Pass::Base { 0.0 } else { 1.0 }, ..StepParams::default() };
        self.objective.write(&program, &micro, std::slice::from_ref(&micro), &mut step);
        let names: &[&str] = if self.base.is_some() { &["metrics", "logp"] } else { &["metrics"] };
        let words = program.run(&step, names).await?;
        let floats = |words: &[u32]| words.iter().map(|w| f32::from_bits(*w)).collect::<Vec<f32>>();
        if pass == self.reference_pass() {
            // The loss's own sums, so that they are bit for bit the policy's as long as the policy is the reference.
            self.objective.set_reference(&micro.rows, &floats(&words[0]));
        }
        if let (Pass::Base, Some(base)) = (pass, &mut self.base) {
            base.set_logps(&micro, &floats(&words[1]));
        }
        Ok(())
    }

    /// Which pass gives an objective's references.
    fn reference_pass(&self) -> Pass {
        if self.reference.is_some() { Pass::Reference } else { Pass::Base }
    }

    /// The next update's rows: micro-batches up to the accumulation count or the end of the epoch.
    fn draw(&self) -> (Vec<Micro>, Sampler) {
        let mut sampler = self.sampler.clone();
        let mut micros = Vec::new();
        for _ in 0..self.args.gradient_accumulation_steps {
            micros.push(self.micro(sampler.take(self.args.per_device_train_batch_size)));
            if sampler.epoch_done() {
                break;
            }
        }
        (micros, sampler)
    }

    fn params(&self) -> StepParams {
        let a = &self.args;
        let t = self.step as i32 + 1;
        StepParams {
            step: t as u32,
            seed: a.seed,
            learning_rate: self.schedule.at(self.step) as f32,
            weight_decay: a.weight_decay as f32,
            beta1: a.adam_beta1 as f32,
            beta2: a.adam_beta2 as f32,
            epsilon: a.adam_epsilon as f32,
            correction1: (1.0 - a.adam_beta1.powi(t)) as f32,
            correction2: (1.0 - a.adam_beta2.powi(t)) as f32,
            max_grad_norm: a.max_grad_norm as f32,
            ..StepParams::default()
        }
    }

    /// Forward and backward of the next update's micro-batches, without the update: gradients are left where
    /// they are accumulated. For tests and for those who want to look at them.
    ///
    /// # Errors
    /// As [`Trainer::step`].
    pub async fn gradients(&mut self) -> Result<()> {
        let (micros, _) = self.draw();
        self.dirty = true;
        self.references(&micros).await?;
        self.accumulate(&micros).await?;
        self.exec().check()
    }

    /// What each dispatch of the next update's first micro-batch takes, and those of the optimizer. The weights stay what they are,
    /// but the moments move: for the benchmarks, not in the middle of a training.
    ///
    /// # Errors
    /// [`Error::Gpu`] where the adapter has no timestamps.
    pub async fn profile(&mut self) -> Result<Profile> {
        let (micros, _) = self.draw();
        self.dirty = true;
        self.references(&micros).await?;
        let (m, mut step) = (&micros[0], self.params());
        let program = self.program(&m.shape, Pass::Update).await?;
        Self::write_batch(&program, &m.batch);
        step.rows = m.batch.counted as u32;
        self.objective.write(&program, m, &micros[..1], &mut step);
        let pass = program.profile(&step).await?;
        let still = StepParams { learning_rate: 0.0, weight_decay: 0.0, ..self.params() };
        Ok(pass.then(self.optimizer.profile(&still).await?))
    }

    async fn references(&mut self, micros: &[Micro]) -> Result<()> {
        for m in micros {
            for pass in [Pass::Reference, Pass::Base] {
                // One pass serves the loss and the distance to the base where they are measured against the same.
                let own = self.objective.references().filter(|_| pass == self.reference_pass()).map(|r| r.0);
                let base = self.base.as_ref().filter(|_| pass == Pass::Base);
                let known = |r: &u32| own.is_none_or(|c| c.get(*r).is_some()) && base.is_none_or(|c| c.get(*r).is_some());
                let missing: Vec<u32> = m.rows.iter().copied().filter(|r| !known(r)).collect();
                if !missing.is_empty() {
                    // The larger plan first: slots that grow later would void the smaller one.
                    self.program(&m.shape, Pass::Update).await?;
                    self.compute_references(missing, pass).await?;
                }
            }
        }
        Ok(())
    }

    /// Words of a micro-batch that are read back: metrics, and log-probabilities where they are compared with the base's.
    fn words(&self, m: &Micro) -> (usize, usize) {
        (self.objective.metric_words(&m.shape), if self.base.is_some() { m.shape.rows } else { 0 })
    }

    /// Submits all micro-batches; what is read of them ends up in the staging buffer, the norm's place is behind it.
    async fn accumulate(&mut self, micros: &[Micro]) -> Result<(Mem, u64)> {
        let words: u64 = micros.iter().map(|m| self.words(m)).map(|(metrics, logps)| (metrics + logps) as u64).sum();
        let bytes = (words + 1) * 4;
        if self.staging.as_ref().is_none_or(|s| s.bytes() < bytes) {
            self.staging = Some(self.exec().staging(bytes)?);
        }
        let staging = self.staging.clone().expect("set above");
        let mut at = 0;
        for (i, m) in micros.iter().enumerate() {
            let program = self.program(&m.shape, Pass::Update).await?;
            Self::write_batch(&program, &m.batch);
            let mut step = self.params();
            step.counter = (self.micros + i as u64) as u32;
            step.rows = m.batch.counted as u32;
            self.objective.write(&program, m, micros, &mut step);
            let (metrics, logps) = self.words(m);
            let mut copies = vec![Transfer::new(&program.output_mem("metrics"), &staging, at, metrics as u64 * 4)];
            at += metrics as u64 * 4;
            if logps > 0 {
                copies.push(Transfer::new(&program.output_mem("logp"), &staging, at, logps as u64 * 4));
                at += logps as u64 * 4;
            }
            program.submit_then(&step, &copies);
            program.check()?;
        }
        Ok((staging, at))
    }

    /// One update, or `None` when training is complete.
    ///
    /// # Errors
    /// Whatever the device reports; [`Error::NotFinite`] when the loss or the gradient is no number any more (the weights are then
    /// left as they were before this update).
    pub async fn step(&mut self) -> Result<Option<StepMetrics>> {
        if self.step >= self.schedule.total_steps {
            return Ok(None);
        }
        let begin = clock::seconds();
        if self.dirty {
            self.trainable.grads.set_f64(self.exec(), &vec![0.0; self.trainable.grads.desc().len()]);
        }
        self.dirty = true;
        let (micros, sampler) = self.draw();
        self.references(&micros).await?;
        let (staging, at) = self.accumulate(&micros).await?;
        let params = self.params();
        self.optimizer.compile().await?;
        self.optimizer.submit_then(&params, &[Transfer::new(&self.optimizer.output_mem("norm"), &staging, at, 4)]);
        self.optimizer.check()?;
        let bytes = self.exec().map(&staging, at + 4, &Mark::default()).await?;
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
        let mut words = Vec::with_capacity(micros.len());
        let (mut from, mut moved, mut judged) = (0, 0.0, 0);
        for m in &micros {
            let (metrics, logps) = self.words(m);
            words.push(values[from..from + metrics].to_vec());
            if let Some(base) = &self.base {
                moved += base.sum_k3(m, &values[from + metrics..]);
                judged += m.batch.counted;
            }
            from += metrics + logps;
        }
        let mut metrics = self.objective.metrics(&micros, &words);
        metrics.kl = self.base.as_ref().map(|_| moved / judged.max(1) as f64);
        let grad_norm = f64::from(values[from]);
        if !metrics.loss.is_finite() || !grad_norm.is_finite() {
            return Err(Error::NotFinite(format!("update {}: loss {}, gradient norm {grad_norm}", self.step + 1, metrics.loss)));
        }
        self.dirty = false;
        self.sampler = sampler;
        self.step += 1;
        self.micros += micros.len() as u64;
        let read: usize = micros.iter().map(|m| m.batch.tokens).sum();
        self.tokens += read as u64;
        let seconds = (clock::seconds() - begin).max(1e-9);
        self.clocked = if self.clocked.1 < 2 { (seconds, self.clocked.1 + 1) } else { (self.clocked.0 + seconds, self.clocked.1 + 1) };
        let per_step = self.clocked.0 / self.clocked.1.saturating_sub(1).max(1) as f64;
        Ok(Some(StepMetrics {
            step: self.step,
            total_steps: self.schedule.total_steps,
            epoch: self.sampler.epochs(),
            metrics,
            learning_rate: self.schedule.at(self.step - 1),
            grad_norm,
            tokens: self.tokens,
            tokens_per_second: read as f64 / seconds,
            seconds_left: per_step * (self.schedule.total_steps - self.step) as f64,
        }))
    }
}
