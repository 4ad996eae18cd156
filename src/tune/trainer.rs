//! The step that SFT and DPO share: forward and backward of every micro-batch, one optimizer program, one readback.
//!
//! A plan is recorded per shape bucket and replayed; plans share their activation slots. Callers drive it with [`Trainer::submit`] and
//! [`Trainer::report`], or with [`Trainer::step`], and may stop between any two updates.

use std::collections::VecDeque;
use std::rc::Rc;

use super::config::TrainingArguments;
use super::kl::RowCache;
use super::objective::{Metrics, Micro, Objective, StepMetrics};
use super::schedule::Schedule;
use crate::adapters::LoraSet;
use crate::clock;
use crate::data::{Batch, BatchShape, Sampler, Sight};
use crate::graph::{Desc, Exec, Mark, Mem, Pace, Plan, Profile, Program, ProgramOptions, SlotPool, StepParams, Tape, Tensor, Transfer};
use crate::lru::Lru;
use crate::models::{Model, TrainInputs};
use crate::nn::Adapter;
use crate::ops::embedding::GatherRows;
use crate::ops::half;
use crate::ops::optim::{AdamW, GradNorm};
use crate::{Error, Result};

/// Natively, and on a device so fast that no submit is cut by time: few enough for it to begin soon and for a driver's watchdog to stay quiet.
const DISPATCHES_PER_SUBMIT: usize = 64;

/// Seconds of an update from which on its numbers are waited for at once: to read them back is then little beside it, and nobody likes to wait for
/// them until the next one has been submitted, too.
const AT_ONCE: f64 = 0.25;

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
    /// Of the last gradient. Not finite, it stays until it is set to 0, and so does all the rest.
    norm: Tensor,
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
            norm: Tensor::zeros(exec, "norm", Desc::f32(&[1]))?,
            ranges,
        })
    }

    /// Norm, clipping and AdamW for all of it.
    fn program(&self, exec: &Exec, options: ProgramOptions) -> Result<Program> {
        let mut tape = Tape::new();
        let (grads, norm) = (tape.tensor(&self.grads), tape.tensor(&self.norm));
        tape.push_into(GradNorm, &[grads], &[(norm, true)])?;
        let flats = [&self.params, &self.grads, &self.exp_avg, &self.exp_avg_sq].map(|t| tape.tensor(t));
        for &(start, len, decay) in &self.ranges {
            AdamW::record(&mut tape, start, len, decay, norm, flats)?;
        }
        Program::build(exec, &tape, options)
    }
}

/// An update that has been submitted and not reported.
struct Pending {
    micros: Vec<Micro>,
    /// What its micro-batches wrote, and the norm behind it.
    staging: Mem,
    bytes: u64,
    mark: Mark,
    begun: f64,
    /// What is known of it beforehand.
    known: StepMetrics,
    /// Sampler, updates, micro-batches and tokens before it.
    before: (Sampler, u64, u64, u64),
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
    /// Updates taken; the device may still be at the last one.
    pub(super) step: u64,
    /// Micro-batches taken: the second half of the random stream.
    pub(super) micros: u64,
    pub(super) tokens: u64,
    trainable: Trainable,
    optimizer: Program,
    programs: Lru<(BatchShape, Pass), Rc<Program>>,
    recorded: u64,
    pool: SlotPool,
    pace: Rc<Pace>,
    /// For updates in turns: one is read while the next one is computed.
    staging: Option<[Mem; 2]>,
    pending: VecDeque<Pending>,
    /// Reports that nobody has asked for yet.
    told: VecDeque<StepMetrics>,
    /// A step failed half-way: gradients hold what must not be used.
    dirty: bool,
    /// Seconds and number of the updates that estimate the rest; the first compiles and is left out once there is another.
    clocked: (f64, u64),
    /// When the last report was known.
    reported: f64,
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
        let pace = Rc::<Pace>::default();
        let optimizer = trainable.program(&exec, options(&pace))?;
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
            pace,
            staging: None,
            pending: VecDeque::new(),
            told: VecDeque::new(),
            dirty: false,
            clocked: (0.0, 0),
            reported: 0.0,
        })
    }

    /// Updates in all.
    pub fn total_steps(&self) -> u64 {
        self.schedule.total_steps
    }

    /// Updates taken, those included that have not been reported yet.
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
        let adapter = adapter.map(|a| a as &dyn Adapter);
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
        let program = Rc::new(Program::build_in(self.exec(), &tape, options(&self.pace), &self.pool)?);
        program.compile().await?;
        if self.pool.outgrown() {
            // Earlier plans hold the smaller slots: they are recorded again when they are needed.
            self.programs.clear();
        }
        self.programs.insert((*shape, pass), program.clone());
        Ok(program)
    }

    fn micro(&self, rows: Vec<u32>) -> Micro {
        let batch = Batch::new(&self.objective.examples(&rows), Sight::Causal, self.model.window());
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
        self.catch_up(0).await?;
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
        self.catch_up(0).await?;
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
        if self.staging.as_ref().is_none_or(|s| s[0].bytes() < bytes) {
            // Both, so that the second update allocates nothing. What is still to be read from an earlier one is kept with it.
            self.staging = Some([self.exec().staging(bytes)?, self.exec().staging(bytes)?]);
        }
        let staging = self.staging.as_ref().expect("set above")[(self.step % 2) as usize].clone();
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
            program.replay(&step, &copies).await;
            program.check()?;
        }
        Ok((staging, at))
    }

    /// Hands the next update to the device, and `true`; `false` when training is complete. What it gave is told by [`Trainer::report`].
    ///
    /// # Errors
    /// Whatever the device reports; as [`Trainer::report`] for updates before it.
    pub async fn submit(&mut self) -> Result<bool> {
        let complete = self.step >= self.schedule.total_steps;
        self.catch_up(usize::from(!complete)).await?;
        if complete {
            return Ok(false);
        }
        let begun = clock::seconds();
        if self.dirty {
            self.trainable.grads.set_f64(self.exec(), &vec![0.0; self.trainable.grads.desc().len()]);
        }
        self.dirty = true;
        let (micros, sampler) = self.draw();
        self.references(&micros).await?;
        let (staging, at) = self.accumulate(&micros).await?;
        let params = self.params();
        self.optimizer.compile().await?;
        self.optimizer.replay(&params, &[Transfer::new(&self.trainable.norm.mem(), &staging, at, 4)]).await;
        self.optimizer.check()?;
        self.dirty = false;
        let before = (std::mem::replace(&mut self.sampler, sampler), self.step, self.micros, self.tokens);
        self.step += 1;
        self.micros += micros.len() as u64;
        self.tokens += micros.iter().map(|m| m.batch.tokens as u64).sum::<u64>();
        let known = StepMetrics {
            step: self.step,
            total_steps: self.schedule.total_steps,
            epoch: self.sampler.epochs(),
            learning_rate: self.schedule.at(self.step - 1),
            tokens: self.tokens,
            ..StepMetrics::default()
        };
        self.pending.push_back(Pending { micros, staging, bytes: at + 4, mark: self.exec().mark(), begun, known, before });
        Ok(true)
    }

    /// The numbers of the earliest update that has not been reported. The last one submitted is waited for with `all`, when training is complete, or
    /// where waiting is little beside it; otherwise it is `None` until the next one is submitted, so that the device has something to do.
    ///
    /// # Errors
    /// Whatever the device reports; [`Error::NotFinite`] when the loss or the gradient is no number any more. The weights are then left as they
    /// were before that update, and the trainer is back there: one submitted behind it has changed nothing, either.
    pub async fn report(&mut self, all: bool) -> Result<Option<StepMetrics>> {
        if let Some(m) = self.told.pop_front() {
            return Ok(Some(m));
        }
        // A processor has computed it by now.
        let busy = self.exec().gpu().is_some() && self.clocked.1 > 0 && self.per_step() < AT_ONCE;
        let wait = all || !busy || self.step == self.schedule.total_steps;
        if self.pending.len() > usize::from(!wait) { self.settle().await } else { Ok(None) }
    }

    /// One update and its numbers, or `None` when training is complete. What was submitted before and not reported comes first.
    ///
    /// # Errors
    /// As [`Trainer::submit`] and [`Trainer::report`].
    pub async fn step(&mut self) -> Result<Option<StepMetrics>> {
        if self.pending.is_empty() && self.told.is_empty() {
            self.submit().await?;
        }
        self.report(true).await
    }

    /// Waits for submitted updates until no more than `few` are under way.
    pub(super) async fn catch_up(&mut self, few: usize) -> Result<()> {
        while self.pending.len() > few {
            let m = self.settle().await?;
            self.told.extend(m);
        }
        Ok(())
    }

    /// Forgets updates that were submitted and what was to be told of those before: the trainer goes on from elsewhere.
    pub(super) fn forget_all(&mut self) {
        self.told.clear();
        self.forget_pending();
    }

    /// Forgets updates that were submitted, which then must not count.
    fn forget_pending(&mut self) {
        self.pending.clear();
        self.trainable.norm.set_f64(self.model.exec(), &[0.0]);
    }

    fn per_step(&self) -> f64 {
        self.clocked.0 / self.clocked.1.saturating_sub(1).max(1) as f64
    }

    /// Waits for the earliest update under way.
    async fn settle(&mut self) -> Result<Option<StepMetrics>> {
        let Some(p) = self.pending.front() else { return Ok(None) };
        let read = self.read(p).await;
        let Some(p) = self.pending.pop_front() else { return Ok(None) };
        let (metrics, grad_norm) = match read {
            Ok(numbers) => numbers,
            Err(e) => {
                (self.sampler, self.step, self.micros, self.tokens) = p.before;
                self.dirty = true;
                self.forget_pending();
                return Err(e);
            }
        };
        let now = clock::seconds();
        let seconds = (now - p.begun.max(self.reported)).max(1e-9);
        self.reported = now;
        self.clocked = if self.clocked.1 < 2 { (seconds, self.clocked.1 + 1) } else { (self.clocked.0 + seconds, self.clocked.1 + 1) };
        Ok(Some(StepMetrics {
            metrics,
            grad_norm,
            tokens_per_second: (p.known.tokens - p.before.3) as f64 / seconds,
            seconds_left: self.per_step() * (p.known.total_steps - p.known.step) as f64,
            ..p.known
        }))
    }

    /// What an update wrote, once it is done.
    async fn read(&self, p: &Pending) -> Result<(Metrics, f64)> {
        let bytes = self.exec().map(&p.staging, p.bytes, &p.mark).await?;
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
        let mut words = Vec::with_capacity(p.micros.len());
        let (mut from, mut moved, mut judged) = (0, 0.0, 0);
        for m in &p.micros {
            let (metrics, logps) = self.words(m);
            words.push(values[from..from + metrics].to_vec());
            if let Some(base) = &self.base {
                moved += base.sum_k3(m, &values[from + metrics..]);
                judged += m.batch.counted;
            }
            from += metrics + logps;
        }
        let mut metrics = self.objective.metrics(&p.micros, &words);
        metrics.kl = self.base.as_ref().map(|_| moved / judged.max(1) as f64);
        let grad_norm = f64::from(values[from]);
        if !metrics.loss.is_finite() || !grad_norm.is_finite() {
            return Err(Error::NotFinite(format!("update {}: loss {}, gradient norm {grad_norm}", p.known.step, metrics.loss)));
        }
        Ok((metrics, grad_norm))
    }
}

/// Submits are cut by time where a page has to be painted in between. Natively there is none, and on llvmpipe many short submits took a step of the
/// small GPT 1.2 to 1.6 times as long.
fn options(pace: &Rc<Pace>) -> ProgramOptions {
    ProgramOptions { per_submit: DISPATCHES_PER_SUBMIT, pace: cfg!(target_arch = "wasm32").then(|| pace.clone()) }
}
