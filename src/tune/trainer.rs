//! The step that all methods share: forward and backward of every micro-batch, one optimizer program, one readback.
//!
//! A plan is recorded per shape bucket and replayed; plans share their activation slots. Callers drive it with [`Trainer::submit`] and
//! [`Trainer::report`], or with [`Trainer::step`], and may stop between any two updates.

use std::any::Any;
use std::collections::VecDeque;
use std::rc::Rc;

use super::best::BestWeights;
use super::config::TrainingArguments;
use super::kl::{RowCache, States};
use super::method::{Method, PRESENT};
use super::metrics::{Metrics, StepMetrics};
use super::micro::Micro;
use super::parameters::Trainable;
use super::pass::{Head, Pass, Weights};
use super::pending::{Pending, words};
use super::rounds::{Rollouts, Rounds};
use super::schedule::Schedule;
use super::scorer::Scorer;
use super::signals::{Signals, write_batch};
use crate::adapters::AdapterSet;
use crate::clock;
use crate::data::{Batch, BatchShape, Example, Front, Sampler};
use crate::formats::peft::PeftAdapter;
use crate::graph::{Desc, Exec, Mem, Pace, Plan, Profile, Program, ProgramOptions, SlotPool, StepParams, Tape, Tensor, Transfer};
use crate::lru::Lru;
use crate::models::{Judge, Model};
use crate::nn::Adapter;
use crate::ops::half;
use crate::ops::loss::SequenceSums;
use crate::{Error, Result};

/// Natively, and on a device so fast that no submit is cut by time: few enough for it to begin soon and for a driver's watchdog to stay quiet.
const DISPATCHES_PER_SUBMIT: usize = 64;

/// Seconds of an update from which on its numbers are waited for at once: to read them back is then little beside it, and nobody likes to wait for
/// them until the next one has been submitted, too.
const AT_ONCE: f64 = 0.25;

/// Most plans that are kept. Buckets make fewer shapes than this of most datasets; the slots, which are what is large, they share anyway.
pub(super) const PLANS: usize = 32;

/// What is trained: an adapter, or every weight of the model.
#[derive(Clone)]
pub enum Target {
    Adapter {
        set: Rc<AdapterSet>,
        /// Under which the model knows it.
        name: String,
    },
    Full,
}

impl Target {
    /// The adapter, if it is one.
    pub fn set(&self) -> Option<&Rc<AdapterSet>> {
        match self {
            Target::Adapter { set, .. } => Some(set),
            Target::Full => None,
        }
    }
}

/// A training in progress.
pub struct Trainer {
    pub(super) model: Rc<Model>,
    pub(super) target: Target,
    /// The reference policy where it is not the base model: the adapter as it was when training began.
    pub(super) reference: Option<Rc<AdapterSet>>,
    pub(super) method: Box<dyn Method>,
    /// Who writes the completions of a method that learns in rounds.
    pub(super) rollouts: Option<Box<dyn Rollouts>>,
    /// Adapters as they were behind each round, by its number.
    pub(super) kept: Vec<(u64, PeftAdapter)>,
    /// Passes of a method's critic.
    pub(super) critic: Option<Scorer>,
    /// Log-probabilities of judged tokens under the base model, where the distance to it is reported.
    pub(super) base: Option<RowCache>,
    /// And their hidden states.
    pub(super) states: States,
    /// Whether there are such: what is recorded depends on it.
    reports_kl: bool,
    pub(super) best: BestWeights,
    pub(super) args: TrainingArguments,
    schedule: Schedule,
    pub(super) sampler: Sampler,
    /// Updates taken; the device may still be at the last one.
    pub(super) step: u64,
    /// Micro-batches taken: the second half of the random stream.
    pub(super) micros: u64,
    pub(super) tokens: u64,
    pub(super) trainable: Trainable,
    optimizer: Program,
    programs: Lru<(BatchShape, Pass), Rc<Program>>,
    recorded: u64,
    pub(super) pool: SlotPool,
    /// The slots have been made as large as they will become.
    pub(super) reserved: bool,
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

impl Trainer {
    /// Readies a training of `target`; nothing has run yet.
    ///
    /// # Errors
    /// [`Error::EmptyDataset`]; [`Error::OutOfMemory`]; [`Error::BadConfig`] for full training of a model that was loaded frozen.
    pub fn new(
        model: Rc<Model>,
        target: Target,
        reference: Option<Rc<AdapterSet>>,
        args: TrainingArguments,
        method: Box<dyn Method>,
    ) -> Result<Trainer> {
        if method.rows() == 0 {
            return Err(Error::EmptyDataset("there are no rows to train on".into()));
        }
        let exec = model.exec().clone();
        exec.need_device("training")?;
        let own = method.parameters();
        let trainable = match &target {
            Target::Adapter { set, .. } => Trainable::new(&exec, &args, set.params(), set.train(&exec)?, &set.parts(), &own)?,
            Target::Full => {
                let grads = model.params().train()?;
                let arena = model.params().arena().ok_or_else(|| Error::config("trainable", "the model was loaded frozen"))?;
                // Biases and norms are vectors and do not decay, as in Transformers.
                let parts: Vec<_> =
                    arena.parts.iter().enumerate().map(|(i, p)| (arena.offset(i), p.desc().len(), p.desc().shape.len() > 1)).collect();
                Trainable::new(&exec, &args, &arena.flat, grads, &parts, &own)?
            }
        };
        let pace = Rc::<Pace>::default();
        let optimizer = trainable.program(&exec, options(&pace))?;
        let rows = method.rows();
        let total = args.total_steps_of(steps_per_epoch(&args, method.as_ref()));
        let plain = target.set().is_some_and(|set| set.lora().is_none_or(|lora| model.has_plain_head(lora)));
        let base = (args.report_kl && method.judges_tokens() && !method.own_kl() && plain).then(RowCache::default);
        Ok(Trainer {
            reports_kl: base.is_some(),
            best: BestWeights::default(),
            base,
            rollouts: None,
            kept: Vec::new(),
            critic: None,
            states: States::default(),
            schedule: args.schedule(total),
            sampler: Sampler::new(rows, args.shuffle, args.data_seed.unwrap_or(args.seed)),
            model,
            target,
            reference,
            method,
            args,
            step: 0,
            micros: 0,
            tokens: 0,
            trainable,
            optimizer,
            programs: Lru::new(PLANS),
            recorded: 0,
            pool: SlotPool::default(),
            reserved: false,
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

    /// Updates of one pass over the rows.
    pub fn steps_per_epoch(&self) -> u64 {
        steps_per_epoch(&self.args, self.method.as_ref())
    }

    /// Whether updates have been submitted that are still to be reported.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty() || !self.told.is_empty()
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

    pub fn method(&self) -> &dyn Method {
        self.method.as_ref()
    }

    /// The method, if it is an `M`: its dataset may grow between two updates.
    pub fn method_mut<M: Method>(&mut self) -> Option<&mut M> {
        let method: &mut dyn Any = self.method.as_mut();
        method.downcast_mut()
    }

    /// Parameters, first and second moments, under their names in a checkpoint.
    pub(super) fn state(&self) -> Vec<(String, &Tensor)> {
        self.trainable.state()
    }

    /// All that is trained, without what the optimizer keeps of it.
    pub(super) fn weights(&self) -> Vec<&Tensor> {
        self.trainable.flats.iter().map(|f| &f.params).collect()
    }

    /// Gradients of what the method trains beside the adapter, by its names.
    pub(super) fn own_gradients(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        self.trainable.flats.iter().filter(|f| !f.name.is_empty()).map(|f| (f.name, &f.grads))
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
        let shape = match self.method.rounds().filter(|r| r.round().is_none()) {
            Some(rounds) => self.batch(&rounds.imagined().iter().collect::<Vec<_>>(), Weights::Present).1,
            None => self.draw().0[0].shape,
        };
        let tape = self.record(&shape, Pass::UPDATE, gradient_checkpointing)?;
        Ok(Plan::on(self.exec(), &tape).bytes())
    }

    /// Plans recorded so far.
    pub fn plans(&self) -> u64 {
        self.recorded
    }

    /// Whether a pass gives entropies: what an update reports, and what is known of a round.
    pub(super) fn spreads(&self, pass: Pass) -> bool {
        self.method.judges_tokens() && (pass.head != Head::Logps || self.method.rounds().is_some())
    }

    fn record(&self, shape: &BatchShape, pass: Pass, checkpoint: bool) -> Result<Tape> {
        let mut tape = Tape::new();
        let own = self.target.set().map(Rc::as_ref);
        let adapter = match pass.adapter {
            Weights::Present => own,
            Weights::Reference => self.reference.as_deref().or(own),
            Weights::Base => None,
        };
        // Dropout belongs to updates alone.
        let train = pass.head == Head::Loss;
        let placed = adapter.map(|set| set.place(&mut tape, shape.batch * shape.len, shape.batch, train)).transpose()?;
        let adapter = placed.as_ref().map(|a| a as &dyn Adapter);
        let manner = self.method.manner();
        let how = Judge {
            train,
            saved: train && own.is_some(),
            spread: self.spreads(pass),
            smoothing: manner.label_smoothing,
            temperature: self.method.temperature(),
        };
        let mut signals = Signals::record(&mut tape, &self.model, adapter, shape, how, train && manner.noise_alpha.is_some())?;
        let recorded = match pass.head {
            Head::Loss | Head::Eval => Some(self.method.record(&mut tape, shape, &mut signals)?),
            Head::Logps => {
                let logps = signals.logps(&mut tape)?;
                if shape.seqs > 0 {
                    let seq = signals.seq(&mut tape);
                    let sums = tape.push1(SequenceSums::new(shape.seqs), &[logps, seq])?;
                    tape.output("sums", sums);
                }
                None
            }
        };
        if (self.reports_kl && train) || recorded.is_none() {
            let logps = signals.logps(&mut tape)?;
            tape.output("logp", logps);
        }
        if self.reports_kl && recorded.is_none() {
            let states = signals.states(&mut tape)?;
            tape.output("states", states);
        } else if self.reports_kl && train {
            let other = tape.input("base_states", Desc::f32(&[shape.rows, self.model.config().hidden_size]));
            if let Some(towards) = signals.towards(&mut tape, other)? {
                tape.output("towards", towards);
            }
        }
        if how.spread
            && let Some(spread) = signals.entropies(&mut tape)?
        {
            tape.output("spread", spread);
        }
        if let Some(recorded) = recorded {
            tape.output("metrics", recorded.metrics);
            let forward = tape.nodes().len();
            if train {
                tape.backward(&recorded.seeds, checkpoint)?;
            }
            if train && self.args.fp16 {
                half::keep_halves(&mut tape, forward)?;
            }
        }
        Ok(tape)
    }

    /// As the arguments ask for it, or where they leave that open, with checkpointing once its activations would take too much.
    pub(super) fn tape(&self, shape: &BatchShape, pass: Pass) -> Result<Tape> {
        let tape = self.record(shape, pass, self.args.gradient_checkpointing == Some(true))?;
        let budget = self.args.activation_memory.unwrap_or_else(|| self.exec().activation_memory());
        if pass == Pass::UPDATE && self.args.gradient_checkpointing.is_none() && Plan::on(self.exec(), &tape).bytes() > budget {
            return self.record(shape, pass, true);
        }
        Ok(tape)
    }

    pub(super) async fn program(&mut self, shape: &BatchShape, pass: Pass) -> Result<Rc<Program>> {
        let pass = pass.recorded(self.target.set().is_none_or(|set| set.is_additive()));
        if let Some(p) = self.programs.get(&(*shape, pass)) {
            return Ok(p.clone());
        }
        self.recorded += 1;
        let tape = self.tape(shape, pass)?;
        let program = Rc::new(Program::build_in(self.exec(), &tape, options(&self.pace), &self.pool)?);
        program.compile().await?;
        if self.pool.outgrown() {
            // Earlier plans hold the smaller slots: they are recorded again when they are needed.
            self.programs.clear();
        }
        self.programs.insert((*shape, pass), program.clone());
        Ok(program)
    }

    /// What the adapter has in front of every sequence.
    fn front(&self) -> Front {
        self.target.set().map_or(Front::Nothing, |set| set.front())
    }

    /// Sequences as a pass with some weights takes them.
    pub(super) fn batch(&self, examples: &[&Example], weights: Weights) -> (Batch, BatchShape) {
        let front = if weights == Weights::Base { Front::Nothing } else { self.front() };
        let batch = self.model.lay_out(examples, self.method.manner().layout, front);
        let shape = self.method.key(batch.shape);
        (batch, shape)
    }

    pub(super) fn micro(&self, rows: Vec<u32>, weights: Weights) -> Micro {
        let examples = self.method.examples(&rows);
        let owners = self.method.owners(&rows, examples.len());
        let (batch, shape) = self.batch(&examples, weights);
        Micro { rows, owners, batch, shape }
    }

    /// The next update's rows: micro-batches up to the accumulation count or the end of the epoch.
    fn draw(&self) -> (Vec<Micro>, Sampler) {
        if let Some(rounds) = self.method.rounds() {
            return (rounds.draw().into_iter().map(|rows| self.micro(rows, Weights::Present)).collect(), self.sampler.clone());
        }
        let mut sampler = self.sampler.clone();
        sampler.grow(self.method.rows());
        let mut micros = Vec::new();
        for _ in 0..self.args.gradient_accumulation_steps {
            micros.push(self.micro(sampler.take(self.args.per_device_train_batch_size), Weights::Present));
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
        self.next_round().await?;
        self.reserve()?;
        let (micros, _) = self.draw();
        self.dirty = true;
        self.references(&micros, Pass::UPDATE).await?;
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
        self.next_round().await?;
        let (micros, _) = self.draw();
        self.dirty = true;
        self.references(&micros, Pass::UPDATE).await?;
        let (m, mut step) = (&micros[0], self.params());
        let program = self.ready(m, &micros[..1], Pass::UPDATE).await?;
        step.rows = m.batch.counted as u32;
        let pass = program.profile(&step).await?;
        let still = StepParams { learning_rate: 0.0, ..self.params() };
        Ok(pass.then(self.optimizer.profile(&still).await?))
    }

    /// The program of a micro-batch with its inputs written. What the loss reads of other sequences under the present weights is computed on the
    /// device and copied there.
    pub(super) async fn ready(&mut self, m: &Micro, all: &[Micro], pass: Pass) -> Result<Rc<Program>> {
        let program = self.program(&m.shape, pass).await?;
        let present = self.method.present_examples(&m.rows);
        if !present.is_empty() {
            let (batch, shape) = self.batch(&present, pass.adapter);
            let pass = Pass::logps(pass.adapter);
            let judge = self.program(&shape, pass).await?;
            write_batch(&judge, &batch);
            let into = program.input_mem(PRESENT);
            judge.replay(&pass.step(), &[Transfer::new(&judge.output_mem("sums"), &into, 0, shape.seqs as u64 * 4)]).await;
            judge.check()?;
        }
        write_batch(&program, &m.batch);
        self.method.write(&program, m, all);
        if let Some(alpha) = self.method.manner().noise_alpha.filter(|_| program.has_input("noise")) {
            program.write("noise", &m.batch.noise(alpha, self.model.config().hidden_size));
        }
        if program.has_input("base_states") {
            program.write("base_states", &self.states.of(m, self.model.config().hidden_size));
        }
        Ok(program)
    }

    /// What is read back of a micro-batch, in words: metrics, what tells its distance to the base, entropies.
    pub(super) fn words(&self, m: &Micro) -> [(&'static str, usize); 4] {
        words(self.method.as_ref(), self.base.is_some(), m)
    }

    /// Submits all micro-batches; what is read of them ends up in the staging buffer, the norm's place is behind it.
    async fn accumulate(&mut self, micros: &[Micro]) -> Result<(Mem, u64)> {
        let words: u64 = micros.iter().flat_map(|m| self.words(m)).map(|(_, words)| words as u64).sum();
        let bytes = (words + 1) * 4;
        if self.staging.as_ref().is_none_or(|s| s[0].bytes() < bytes) {
            // Both, so that the second update allocates nothing. What is still to be read from an earlier one is kept with it.
            self.staging = Some([self.exec().staging(bytes)?, self.exec().staging(bytes)?]);
        }
        let staging = self.staging.as_ref().expect("set above")[(self.step % 2) as usize].clone();
        let mut at = 0;
        for (i, m) in micros.iter().enumerate() {
            let program = self.ready(m, micros, Pass::UPDATE).await?;
            let mut step = self.params();
            step.counter = (self.micros + i as u64) as u32;
            step.rows = m.batch.counted as u32;
            let mut copies = Vec::new();
            for (name, words) in self.words(m).into_iter().filter(|(_, words)| *words > 0) {
                copies.push(Transfer::new(&program.output_mem(name), &staging, at, words as u64 * 4));
                at += words as u64 * 4;
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
        self.next_round().await?;
        self.reserve()?;
        if self.dirty {
            self.trainable.clear(self.exec());
        }
        self.dirty = true;
        let (micros, sampler) = self.draw();
        self.references(&micros, Pass::UPDATE).await?;
        let (staging, at) = self.accumulate(&micros).await?;
        let params = self.params();
        self.optimizer.compile().await?;
        self.optimizer.replay(&params, &[Transfer::new(&self.trainable.norm.mem(), &staging, at, 4)]).await;
        self.optimizer.check()?;
        self.dirty = false;
        let taken = self.method.rounds().map_or(0, Rounds::at);
        let before = (std::mem::replace(&mut self.sampler, sampler), self.step, self.micros, self.tokens, taken);
        if let Some(rounds) = self.method.rounds_mut() {
            rounds.set_at(taken + micros.len());
        }
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
        if !self.is_waiting() {
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
                let at;
                (self.sampler, self.step, self.micros, self.tokens, at) = p.before;
                self.method.rounds_mut().into_iter().for_each(|r| r.set_at(at));
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
        p.numbers(&bytemuck::pod_collect_to_vec::<u8, f32>(&bytes), self.method.as_ref(), self.base.as_ref())
    }
}

/// Updates of one pass over a method's rows.
fn steps_per_epoch(args: &TrainingArguments, method: &dyn Method) -> u64 {
    method.rounds().map_or_else(|| args.steps_per_epoch(method.rows()), |r| r.plan().updates_per_epoch(method.rows()))
}

/// Submits are cut by time where a page has to be painted in between. Natively there is none, and on llvmpipe many short submits took a step of the
/// small GPT 1.2 to 1.6 times as long.
fn options(pace: &Rc<Pace>) -> ProgramOptions {
    ProgramOptions { per_submit: DISPATCHES_PER_SUBMIT, pace: cfg!(target_arch = "wasm32").then(|| pace.clone()) }
}
