//! One generation after another over one cache, driven step by step.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::answer::Row;
use super::driver::Driver;
use super::engine::{End, Engine, NONE, Sees};
use super::options::{Candidate, Event, FinishReason, GenerateOptions, Seconds};
use crate::adapters::{ActiveAdapter, AdapterChoice, LoadedModel};
use crate::clock;
use crate::graph::{Exec, Mark, Mem, Program, Transfer};
use crate::models::Rules;
use crate::nn::Move;
use crate::{Error, Result};

/// Generates with a model. Tokens are sampled on the device and fed to the next step there; 4 bytes per candidate and token are read.
pub struct Generator {
    pub(super) engine: Engine,
    session: Option<Session>,
    /// What the last generation was read back through, for the next one.
    spare: Option<Readback>,
    abort: Rc<Cell<bool>>,
}

/// What tokens and their log-probabilities are read back through.
struct Readback {
    staging: [Mem; 2],
    /// ln p of every token: (limit, n).
    logps: Mem,
    logps_staging: Mem,
}

impl Readback {
    /// The spare one where it is large enough. Its buffers grow, so that generations of different shapes end up with the same ones.
    fn new(exec: &Exec, spare: Option<Readback>, token_bytes: u64, logp_bytes: u64) -> Result<Readback> {
        let had = spare.as_ref().map_or((0, 0), |s| (s.staging[0].bytes(), s.logps.bytes()));
        if let Some(s) = spare.filter(|_| had.0 >= token_bytes && had.1 >= logp_bytes) {
            return Ok(s);
        }
        let (tokens, logps) = (had.0.max(token_bytes), had.1.max(logp_bytes));
        Ok(Readback {
            staging: [exec.staging(tokens)?, exec.staging(tokens)?],
            logps: exec.storage("logprobs", logps)?,
            logps_staging: exec.staging(logps)?,
        })
    }

    /// Log-probabilities `from..from + count` of the table: waits for everything submitted before.
    async fn logps(&self, exec: &Exec, from: usize, count: usize) -> Result<Vec<f32>> {
        let bytes = count as u64 * 4;
        let part = Transfer { from: self.logps.clone(), from_at: from as u64 * 4, to: self.logps_staging.clone(), to_at: 0, bytes };
        exec.copy(&[part]);
        Ok(bytemuck::pod_collect_to_vec(&exec.map(&self.logps_staging, bytes, &Mark::default()).await?))
    }
}

pub(super) struct Session {
    pub(super) options: GenerateOptions,
    /// What the encoder of an encoder-decoder reads; the prompt is the decoder's then, and it is one token.
    source: Vec<u32>,
    /// Which tokens its answers must or cannot have.
    pub(super) rules: Rules,
    /// What the adapter has in front, which is [`NONE`], and the prompt's tokens.
    pub(super) prompt: Vec<u32>,
    /// How many of them are in front.
    pub(super) front: usize,
    pub(super) adapter: Option<ActiveAdapter>,
    /// How many of them have their keys and values in the cache.
    read: usize,
    /// Tokens an answer may have: `max_new_tokens` or what the context leaves.
    pub(super) limit: usize,
    /// Own slots of each candidate behind the prompt's.
    pub(super) block: usize,
    /// Tokens submitted (sampled or being sampled) per candidate.
    pub(super) submitted: usize,
    /// Where the tokens of the last submitted step are on the device.
    last: Option<Mem>,
    /// Where each token that has not been read yet will be mapped, and what has to be done by then.
    waiting: VecDeque<(Mem, Mark)>,
    readback: Readback,
    pub(super) rows: Vec<Row>,
    pub(super) driver: Driver,
    /// Those behind the prompt, until they are chosen from.
    pub(super) logits: Option<Vec<f32>>,
    started: f64,
    seconds: Seconds,
}

impl Generator {
    /// # Errors
    /// [`Error::NoAdapter`] on the host executor.
    pub fn new(loaded: Rc<LoadedModel>) -> Result<Generator> {
        Ok(Generator { engine: Engine::new(loaded)?, session: None, spare: None, abort: Rc::default() })
    }

    pub fn loaded(&self) -> &Rc<LoadedModel> {
        &self.engine.loaded
    }

    /// Bytes of the key/value cache.
    pub fn cache_bytes(&self) -> u64 {
        self.engine.cache_bytes()
    }

    /// Bytes of the activations that its programs share.
    pub fn activation_bytes(&self) -> u64 {
        self.engine.activation_bytes()
    }

    /// Tokens whose keys and values the cache holds.
    pub fn cached_tokens(&self) -> usize {
        self.engine.ids.len()
    }

    /// Forgets what has been read.
    pub fn reset(&mut self) {
        self.session = None;
        self.engine.forget();
    }

    /// Setting it ends the generation at its next step; [`Generator::start`] clears it.
    pub fn abort_flag(&self) -> Rc<Cell<bool>> {
        self.abort.clone()
    }

    /// Dispatches of one decoded token for `n` candidates (for the benchmarks).
    ///
    /// # Errors
    /// As [`Generator::start`].
    pub fn dispatches_per_token(&mut self, n: usize, adapter: &AdapterChoice) -> Result<usize> {
        let adapter = self.engine.adapter(adapter)?;
        self.engine.reserve(1, 0)?;
        Ok(self.engine.program(n, End::Sample, adapter.as_ref())?.dispatches())
    }

    /// Begins a generation; nothing is computed before the first step.
    ///
    /// # Errors
    /// [`Error::ContextOverflow`], [`Error::BadConfig`], [`Error::BadAdapter`], [`Error::OutOfMemory`]; [`Error::Busy`] while another runs.
    pub fn start(&mut self, prompt: &[u32], options: GenerateOptions) -> Result<()> {
        self.idle()?;
        options.validate()?;
        self.check_prompt(prompt)?;
        let started = clock::seconds();
        let adapter = self.engine.adapter(&options.adapter)?;
        let front = adapter.as_ref().map_or(0, ActiveAdapter::in_front);
        let rules = self.engine.rules(&options)?;
        let (source, own) = self.engine.sides(prompt, &rules)?;
        let prompt = &behind(front, &own)[..];
        if prompt.len() >= self.engine.context() {
            return Err(Error::ContextOverflow { needed: prompt.len() + 1, available: self.engine.context() });
        }
        let read = self.engine.reuse(prompt)?;
        let n = options.lanes();
        // Where bindings are small, answers end by length before the cache would outgrow one.
        let room = self.engine.most_slots().saturating_sub(prompt.len()) / n;
        self.engine.rows(prompt.len())?;
        if room == 0 {
            let (needed, most) = (prompt.len() + n, self.engine.most_slots());
            return Err(Error::OutOfMemory(format!("a cache of {needed} tokens: bindings of this device end at {most}")));
        }
        let limit = options.max_new_tokens.min(self.engine.context() - prompt.len()).min(room);
        self.engine.reserve(prompt.len() + n * limit.min(256), read)?;
        // What rounding left over belongs to the candidates.
        let block = ((self.engine.capacity() - prompt.len()) / n).min(limit);
        let driver = Driver::of(&options, &rules, &prompt[front..], &self.engine.ends, limit);
        if options.repetition_penalty != 1.0 && !driver.wants_logits() {
            self.engine.mark_seen(n, prompt)?;
        }
        let bytes = (n * 4) as u64;
        let readback = Readback::new(&self.engine.exec, self.spare.take(), bytes, limit as u64 * bytes)?;
        let row = |_| Row::new(&self.engine.loaded, &options.stop_strings);
        self.abort.set(false);
        self.engine.unproven = true;
        self.session = Some(Session {
            rows: (0..options.n).map(row).collect(),
            driver,
            logits: None,
            source,
            rules,
            prompt: prompt.to_vec(),
            front,
            adapter,
            read,
            limit,
            block,
            submitted: 0,
            last: None,
            waiting: VecDeque::new(),
            readback,
            started,
            seconds: Seconds::default(),
            options,
        });
        Ok(())
    }

    /// Is there a generation that has not ended?
    pub(super) fn generating(&self) -> bool {
        self.session.as_ref().is_some_and(|s| !s.all_finished())
    }

    pub(super) fn idle(&mut self) -> Result<()> {
        if self.generating() {
            return Err(Error::Busy("a generation is running: finish or abort it".into()));
        }
        self.session = None;
        Ok(())
    }

    pub(super) fn check_prompt(&self, prompt: &[u32]) -> Result<()> {
        if prompt.is_empty() {
            return Err(Error::config("prompt", "is empty: at least one token is needed"));
        }
        let vocab = self.engine.loaded.model.config().vocab_size;
        match prompt.iter().find(|id| **id as usize >= vocab) {
            Some(id) => Err(Error::config("prompt", format!("token {id} is outside the vocabulary of {vocab}"))),
            None => Ok(()),
        }
    }

    /// The next chunk of the prompt, or the next token of every candidate. `None` when all have ended: then [`Generator::finish`].
    ///
    /// # Errors
    /// Whatever the device reports.
    pub async fn step(&mut self) -> Result<Option<Vec<Event>>> {
        let Some(s) = &mut self.session else { return Ok(None) };
        if s.all_finished() {
            return Ok(None);
        }
        let mut events = Vec::new();
        if self.abort.get() {
            s.best_so_far(&self.engine, &mut events);
            s.end_all(FinishReason::Abort, &mut events);
            return Ok(Some(events));
        }
        if s.read < s.prompt.len() {
            s.prefill(&mut self.engine).await?;
            let done = if s.source.is_empty() { s.read - s.front } else { s.source.len() };
            events.push(Event::Prefill { done, total: s.prompt_tokens() });
            if s.read < s.prompt.len() || s.driver.wants_logits() {
                return Ok(Some(events));
            }
        } else if s.on_host() {
            let first = s.submitted == 0;
            if let Err(e) = s.advance(&mut self.engine, &mut events).await {
                self.session = None;
                self.engine.discard();
                return Err(e);
            }
            self.engine.unproven = false;
            s.clock(first);
            return Ok(Some(events));
        } else if s.waiting.is_empty() {
            s.submit(&mut self.engine).await?;
        }
        // On a GPU the next step is under way while the last token is read back; a processor has nothing to gain and a step to lose.
        if !self.engine.exec.is_processor() && s.submitted < s.limit && !s.on_host() {
            s.submit(&mut self.engine).await?;
        }
        if let Some((staging, mark)) = s.waiting.pop_front() {
            let bytes = self.engine.exec.map(&staging, (s.options.n * 4) as u64, &mark).await?;
            let tokens: Vec<u32> = bytemuck::pod_collect_to_vec(&bytes);
            let first = s.rows.iter().all(|r| r.tokens.is_empty());
            if let Err(e) = s.check_sampled(&self.engine, &tokens).await {
                // Keys and values are no numbers either.
                self.session = None;
                self.engine.discard();
                return Err(e);
            }
            self.engine.unproven = false;
            s.take(&self.engine, &tokens, &mut events);
            s.clock(first);
        }
        Ok(Some(events))
    }

    /// Ends the generation (where it has not ended by itself) and gives the answers. What has been read stays in the cache.
    ///
    /// # Errors
    /// Whatever the device reports; [`Error::Busy`] when none was started.
    pub async fn finish(&mut self) -> Result<Vec<Candidate>> {
        let Some(mut s) = self.session.take() else { return Err(Error::Busy("no generation was started".into())) };
        s.best_so_far(&self.engine, &mut Vec::new());
        s.end_all(FinishReason::Abort, &mut Vec::new());
        let n = s.options.n;
        let longest = s.rows.iter().map(|r| r.tokens.len()).max().unwrap_or(0);
        // Of tokens that were looked up, the first one came from the device as always.
        let longest = match s.driver {
            Driver::Device => longest,
            Driver::Lookup => longest.min(1),
            Driver::Host | Driver::Beams { .. } => 0,
        };
        let logps = if longest > 0 { s.readback.logps(&self.engine.exec, 0, longest * n).await? } else { Vec::new() };
        let prompt_tokens = s.prompt_tokens();
        // Nothing of it is mapped or waited for: only now may another generation have it.
        self.spare = Some(s.readback);
        if s.read == s.prompt.len() && s.source.is_empty() {
            self.engine.ids.clone_from(&s.prompt);
            // Of a candidate's tokens all but the last have certainly been read.
            let base = |i: usize| s.prompt.len() + i * s.block;
            let tail = |(i, r): (usize, &Row)| (base(i), r.tokens[..r.tokens.len().saturating_sub(1)].to_vec());
            self.engine.tails = match &s.driver {
                Driver::Beams { held, .. } => held.iter().enumerate().map(|(i, held)| (base(i), held.clone())).collect(),
                _ => s.rows.iter().enumerate().map(tail).collect(),
            };
        }
        let adapter = s.adapter.as_ref().map(|a| a.name.clone());
        let answer = |(i, r): (usize, Row)| Candidate {
            text: r.text,
            logprobs: (0..r.tokens.len().min(longest)).map(|t| logps[t * n + i]).chain(r.logps).collect(),
            top_logprobs: r.top,
            score: r.score,
            token_ids: r.tokens,
            finish_reason: r.finished.unwrap_or(FinishReason::Abort),
            prompt_tokens,
            adapter: adapter.clone(),
            seconds: s.seconds,
        };
        Ok(s.rows.into_iter().enumerate().map(answer).collect())
    }

    /// Runs a whole generation; `on` gets the events.
    ///
    /// # Errors
    /// As [`Generator::start`] and [`Generator::step`].
    pub async fn run(&mut self, prompt: &[u32], options: GenerateOptions, on: &mut dyn FnMut(Event)) -> Result<Vec<Candidate>> {
        self.start(prompt, options)?;
        while let Some(events) = self.step().await? {
            events.into_iter().for_each(&mut *on);
        }
        self.finish().await
    }

    /// −ln p of every token of `ids` but the first, each given those before it: a text has no prompt, whatever the model's mask.
    ///
    /// # Errors
    /// As [`Generator::start`].
    pub async fn nll(&mut self, ids: &[u32], adapter: &AdapterChoice) -> Result<Vec<f32>> {
        let active = self.ready(ids, adapter)?;
        self.engine.forget();
        self.engine.fill_front(active.as_ref()).await?;
        let mut from = active.as_ref().map_or(0, ActiveAdapter::in_front);
        let ids = &behind(from, ids)[..];
        let mut out = Vec::new();
        while from + 1 < ids.len() {
            let m = self.engine.chunk(ids.len() - from);
            let count = m.min(ids.len() - from);
            let program = self.engine.program(m, End::Logps, active.as_ref())?;
            self.engine.write_chunk(&program, m, ids, from, count, 0);
            let mut targets = vec![NONE; m];
            let known = count.min(ids.len() - 1 - from);
            targets[..known].copy_from_slice(&ids[from + 1..from + 1 + known]);
            program.write("targets", &targets);
            let step = GenerateOptions::default().step(0, active.is_some());
            out.extend(program.run_f32(&step, "logp").await?[..known].iter().map(|l| -l));
            from += count;
        }
        self.finite(&out, "log-probability")?;
        Ok(out)
    }

    /// Logits (V) after each of the given positions of `ids`: those that a generation begins with whose prompt ends there.
    ///
    /// # Errors
    /// As [`Generator::start`].
    pub async fn logits_at(&mut self, ids: &[u32], positions: &[usize], adapter: &AdapterChoice) -> Result<Vec<Vec<f32>>> {
        let mut out = Vec::new();
        for &p in positions {
            let Some(ids) = ids.get(..=p) else {
                return Err(Error::config("positions", format!("{p} is behind the last of {} tokens", ids.len())));
            };
            let active = self.ready(ids, adapter)?;
            let front = active.as_ref().map_or(0, ActiveAdapter::in_front);
            let ids = &behind(front, ids)[..];
            let mut from = self.engine.reuse(ids)?;
            if from < front {
                self.engine.fill_front(active.as_ref()).await?;
                from = front;
            }
            loop {
                let m = self.engine.rows(ids.len() - from)?;
                let count = m.min(ids.len() - from);
                let last = from + count == ids.len();
                let program = self.engine.program(m, if last { End::Logits } else { End::Nothing }, active.as_ref())?;
                let whole = if self.engine.prefixed() { ids.len() } else { 0 };
                self.engine.write_chunk(&program, m, ids, from, count, whole);
                let step = GenerateOptions::default().step(0, active.is_some());
                from += count;
                if last {
                    program.write("last", &[count as u32 - 1]);
                    let logits = program.run_f32(&step, "logits").await?;
                    self.finite(&logits, "logit")?;
                    out.push(logits);
                    break;
                }
                program.compile().await?;
                program.submit(&step);
            }
            self.engine.ids = ids.to_vec();
        }
        Ok(out)
    }

    /// What is no number must not be taken for one, nor may the cache it came from be used again.
    fn finite(&mut self, values: &[f32], what: &str) -> Result<()> {
        match values.iter().position(|v| !v.is_finite()) {
            Some(at) => {
                self.engine.discard();
                Err(Error::NotFinite(format!("{what} {at} of the model")))
            }
            None => {
                self.engine.unproven = false;
                Ok(())
            }
        }
    }

    /// Checks `ids` and makes room for them.
    fn ready(&mut self, ids: &[u32], adapter: &AdapterChoice) -> Result<Option<ActiveAdapter>> {
        self.idle()?;
        self.engine.loaded.model.config().need_decoder("judging a text")?;
        self.check_prompt(ids)?;
        let active = self.engine.adapter(adapter)?;
        let needed = ids.len() + active.as_ref().map_or(0, ActiveAdapter::in_front);
        if needed > self.engine.context() {
            return Err(Error::ContextOverflow { needed, available: self.engine.context() });
        }
        let keep = self.engine.ids.len();
        self.engine.tails.clear();
        self.engine.reserve(needed, keep)?;
        self.engine.unproven = true;
        Ok(active)
    }
}

/// Ids behind so many that are no tokens.
fn behind(front: usize, ids: &[u32]) -> Vec<u32> {
    let mut all = vec![NONE; front];
    all.extend_from_slice(ids);
    all
}

impl Session {
    fn all_finished(&self) -> bool {
        self.rows.iter().all(|r| r.finished.is_some())
    }

    /// Of what was asked.
    fn prompt_tokens(&self) -> usize {
        if self.source.is_empty() { self.prompt.len() - self.front } else { self.source.len() }
    }

    /// The next chunk of the prompt; the last one also samples the first tokens.
    async fn prefill(&mut self, engine: &mut Engine) -> Result<()> {
        if !self.source.is_empty() {
            engine.read_source(&self.source, self.adapter.as_ref()).await?;
        }
        if self.read < self.front {
            engine.fill_front(self.adapter.as_ref()).await?;
            self.read = self.front;
        }
        let left = self.prompt.len() - self.read;
        let m = engine.rows(left)?;
        let count = m.min(left);
        let last = count == left;
        let end = if last { Driver::ends(&self.options, &self.rules).0 } else { End::Nothing };
        let program = engine.program(m, end, self.adapter.as_ref())?;
        program.compile().await?;
        let whole = if engine.prefixed() { self.prompt.len() } else { 0 };
        engine.write_chunk(&program, m, &self.prompt, self.read, count, whole);
        if last && self.driver.wants_logits() {
            program.write("last", &[count as u32 - 1]);
            self.logits = Some(program.run_f32(&self.options.step(0, self.adapter.is_some()), "logits").await?);
        } else if last {
            program.write("last", &vec![count as u32 - 1; self.options.n]);
            self.submit_program(engine, &program)?;
        } else {
            program.submit(&self.options.step(0, self.adapter.is_some()));
            program.check()?;
            // So that an abort has an effect before the next chunk.
            engine.exec.done().await?;
        }
        self.read += count;
        engine.ids = self.prompt[..self.read].to_vec();
        Ok(())
    }

    /// Submits the decoding of one more token of every candidate.
    async fn submit(&mut self, engine: &mut Engine) -> Result<()> {
        let n = self.options.n;
        // The tokens fed are number `submitted − 1` of the answers.
        let at = self.submitted - 1;
        if at >= self.block {
            self.grow(engine)?;
        }
        let program = engine.program(n, End::Sample, self.adapter.as_ref())?;
        program.compile().await?;
        if let Some(last) = &self.last {
            let ids = program.input_mem("ids");
            if !last.same_buffer(&ids) {
                engine.exec.copy(&[Transfer::new(last, &ids, 0, (n * 4) as u64)]);
            }
        }
        self.write_token(engine, &program, at, |i| self.rows[i].finished.is_none());
        self.submit_program(engine, &program)
    }

    /// Writes where token number `at` of every answer stands and what it sees; those that are not alive see and leave nothing.
    pub(super) fn write_token(&self, engine: &Engine, program: &Program, at: usize, alive: impl Fn(usize) -> bool) {
        let (n, length) = (self.options.lanes(), self.prompt.len());
        let base = |i: usize| length + i * self.block;
        let slots: Vec<u32> = (0..n).map(|i| if alive(i) { (base(i) + at) as u32 } else { NONE }).collect();
        program.write("positions", &vec![engine.position(length + at); n]);
        program.write("slots", &slots);
        let sees = |i: usize| Sees { prefix: length as u32, base: base(i) as u32, at: length + at, end: length + at + 1 };
        engine.write_spans(program, n, |i| alive(i).then(|| sees(i)));
    }

    /// Is the next step behind the prompt one of the host's?
    fn on_host(&self) -> bool {
        self.driver.wants_logits() || matches!(self.driver, Driver::Lookup)
    }

    /// Notes when a step has ended; `first`: the one that the prompt belongs to.
    fn clock(&mut self, first: bool) {
        let now = clock::seconds() - self.started;
        if first {
            self.seconds.prefill = now;
        } else {
            self.seconds.decode = now - self.seconds.prefill;
        }
    }

    /// Submits a program that samples: its tokens are copied to be read, and stay on the device for the next step.
    fn submit_program(&mut self, engine: &Engine, program: &Program) -> Result<()> {
        let staging = self.readback.staging[self.submitted % 2].clone();
        let bytes = (self.options.n * 4) as u64;
        let (token, logp) = (program.output_mem("token"), program.output_mem("logp"));
        let at = self.submitted as u64 * bytes;
        let step = self.options.step(self.submitted, self.adapter.is_some());
        // A decoding program feeds itself; behind a prefill the tokens wait in its output.
        let own = (!program.has_input("last")).then(|| program.input_mem("ids"));
        let mut copies = vec![Transfer::new(&token, &staging, 0, bytes), Transfer::new(&logp, &self.readback.logps, at, bytes)];
        copies.extend(own.as_ref().map(|ids| Transfer::new(&token, ids, 0, bytes)));
        program.submit_then(&step, &copies);
        self.last = Some(own.unwrap_or(token));
        self.submitted += 1;
        self.waiting.push_back((staging, engine.exec.mark()));
        engine.exec.check()?;
        program.check()
    }

    /// Twice as many own slots for every candidate.
    pub(super) fn grow(&mut self, engine: &mut Engine) -> Result<()> {
        let (n, length, used) = (self.options.lanes(), self.prompt.len(), self.block);
        // `limit` keeps the first of these within one binding.
        let capacity = (length + n * (used * 2).min(self.limit)).next_multiple_of(256).min(engine.most_slots());
        let block = ((capacity - length) / n).min(self.limit);
        let mut moves = vec![Move { from: 0, to: 0, len: length }];
        moves.extend((0..n).map(|i| Move { from: length + i * used, to: length + i * block, len: used }));
        engine.resize(capacity, &moves)?;
        self.block = block;
        Ok(())
    }

    /// Logits that cannot be sampled from give token 0 and a log-probability of NaN; only token 0 makes it worth reading that.
    async fn check_sampled(&self, engine: &Engine, tokens: &[u32]) -> Result<()> {
        let n = self.options.n;
        for (i, row) in self.rows.iter().enumerate().filter(|(i, r)| r.finished.is_none() && tokens[*i] == 0) {
            let logp = self.readback.logps(&engine.exec, row.tokens.len() * n + i, 1).await?;
            if !logp[0].is_finite() {
                let (token, adapter) = (row.tokens.len() + 1, self.adapter.as_ref().map_or("no adapter", |a| a.name.as_str()));
                return Err(Error::NotFinite(format!("the logits of answer {i}, token {token} ({adapter})")));
            }
        }
        Ok(())
    }

    /// One token of every candidate has arrived.
    pub(super) fn take(&mut self, engine: &Engine, tokens: &[u32], events: &mut Vec<Event>) {
        for (index, (row, &id)) in self.rows.iter_mut().zip(tokens).enumerate().filter(|(_, (r, _))| r.finished.is_none()) {
            let ends = engine.ends.contains(&id) && !self.options.ignore_eos;
            row.push(index, &engine.loaded, id, ends, self.limit, events);
        }
    }

    fn end_all(&mut self, reason: FinishReason, events: &mut Vec<Event>) {
        for (index, row) in self.rows.iter_mut().enumerate().filter(|(_, r)| r.finished.is_none()) {
            row.end(index, reason, events);
        }
        if self.seconds.prefill == 0.0 {
            self.seconds.prefill = clock::seconds() - self.started;
        }
    }
}
