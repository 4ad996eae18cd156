//! Passes that say something of sequences and learn nothing: log-probabilities of tokens, or scores of a head.

use std::rc::Rc;

use super::pass::{Pass, Weights};
use super::signals::{Signals, write_batch};
use crate::adapters::{AdapterChoice, AdapterSet, LoadedModel, SCORE};
use crate::data::{BatchShape, Example, Front, Layout};
use crate::graph::{Program, ProgramOptions, SlotPool, Tape};
use crate::lru::Lru;
use crate::models::{Judge, Model};
use crate::nn::Adapter;
use crate::{Error, Result};

/// Most tokens of a batch, unless one sequence alone has more.
const TOKENS: usize = 1024;

/// Most plans that are kept.
const PLANS: usize = 16;

/// Judges sequences under a model and one of its adapters, as it is when this is made. Plans are kept between calls.
pub struct Scorer {
    model: Rc<Model>,
    set: Option<Rc<AdapterSet>>,
    programs: Lru<BatchShape, Rc<Program>>,
    pool: SlotPool,
}

impl Scorer {
    /// # Errors
    /// [`Error::BadAdapter`] for an unknown name.
    pub fn new(model: &LoadedModel, adapter: &AdapterChoice) -> Result<Scorer> {
        model.model.config().need_decoder("scoring")?;
        let name = match adapter {
            AdapterChoice::Base => None,
            AdapterChoice::Active => model.adapters.active(),
            AdapterChoice::Named(name) => Some(name.clone()),
        };
        let set = name.map(|name| model.adapters.copy_of(&name)).transpose()?;
        Ok(Scorer::of(model.model.clone(), set))
    }

    /// With an adapter of the caller's, whose values may change between two calls.
    pub fn of(model: Rc<Model>, set: Option<Rc<AdapterSet>>) -> Scorer {
        Scorer { model, set, programs: Lru::new(PLANS), pool: SlotPool::default() }
    }

    /// Scores that its adapter's head gives, 0 without one: then tokens are judged.
    pub fn scores(&self) -> usize {
        self.set.as_ref().and_then(|set| set.whole(SCORE)).map_or(0, |head| head.desc().rows())
    }

    async fn program(&mut self, shape: &BatchShape) -> Result<Rc<Program>> {
        if let Some(p) = self.programs.get(shape) {
            return Ok(p.clone());
        }
        let mut tape = Tape::new();
        let placed = self.set.as_ref().map(|set| set.place(&mut tape, shape.batch * shape.len, shape.batch, false)).transpose()?;
        let adapter = placed.as_ref().map(|a| a as &dyn Adapter);
        let how = Judge::default();
        let mut signals = Signals::record(&mut tape, &self.model, adapter, shape, how, false)?;
        let said = match signals.head().cloned() {
            Some(head) => signals.scores(&mut tape, &head)?,
            None => signals.logps(&mut tape)?,
        };
        tape.output("said", said);
        let program = Rc::new(Program::build_in(self.model.exec(), &tape, ProgramOptions::default(), &self.pool)?);
        program.compile().await?;
        if self.pool.outgrown() {
            // Earlier plans hold the smaller slots.
            self.programs.clear();
        }
        self.programs.insert(*shape, program.clone());
        Ok(program)
    }

    /// For each sequence what is said of its judged positions, in order: the log-probability of the token that follows, or the scores.
    ///
    /// # Errors
    /// Whatever the device reports; [`Error::NotFinite`] that names the sequence.
    pub async fn judge(&mut self, examples: &[&Example]) -> Result<Vec<Vec<f32>>> {
        let wide = self.scores().max(1);
        let mut all = Vec::with_capacity(examples.len());
        let mut at = 0;
        while at < examples.len() {
            let mut tokens = 0;
            let fits = |e: &&&Example| {
                tokens += e.ids.len();
                tokens <= TOKENS
            };
            let n = examples[at..].iter().take_while(fits).count().max(1);
            let front = self.set.as_ref().map_or(Front::Nothing, |set| set.front());
            let batch = self.model.lay_out(&examples[at..at + n], Layout::Auto, front);
            let program = self.program(&batch.shape).await?;
            write_batch(&program, &batch);
            let mut said = program.run_f32(&Pass::logps(Weights::Present).step(), "said").await?.into_iter();
            for e in &examples[at..at + n] {
                let own: Vec<f32> = said.by_ref().take(e.counted() * wide).collect();
                if !own.iter().all(|v| v.is_finite()) {
                    return Err(Error::NotFinite(format!("what the model says of sequence {}", all.len())));
                }
                all.push(own);
            }
            at += n;
        }
        Ok(all)
    }
}
