//! Passes of an encoder over whole sequences.

use std::rc::Rc;

use crate::adapters::{AdapterChoice, AdapterSet, FRONT, LoadedModel};
use crate::data::{Batch, BatchShape, Example, Front, IGNORE, Layout};
use crate::graph::{Desc, Program, ProgramOptions, SlotPool, StepParams, Tape};
use crate::lru::Lru;
use crate::models::{Pooling, Scope, TrainInputs};
use crate::nn::Adapter;
use crate::ops::embedding::GatherRows;
use crate::{Error, Result};

/// Most tokens of a batch, unless one sequence alone has more.
const TOKENS: usize = 1024;

/// Most plans that are kept.
const PLANS: usize = 16;

/// What a pass gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Vector(Pooling),
    /// The pooler's output.
    Pooled,
    /// Hidden states of the asked tokens.
    States,
    /// Logits of the asked tokens.
    Logits,
    Classes(Scope),
}

/// A sequence as an encoder reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    pub ids: Vec<u32>,
    /// The segment of each token; empty where all are of the first one.
    pub types: Vec<u32>,
}

struct Plan {
    program: Rc<Program>,
    /// Whose values it reads; kept with it, so that its address stays its own.
    _set: Option<Rc<AdapterSet>>,
}

/// An encoder at work. Plans are kept between calls.
pub struct Encodings {
    loaded: Rc<LoadedModel>,
    plans: Lru<(BatchShape, Asked, usize), Plan>,
    pool: SlotPool,
    version: u64,
}

impl Encodings {
    /// # Errors
    /// [`Error::BadConfig`] for a decoder.
    pub fn new(loaded: Rc<LoadedModel>) -> Result<Encodings> {
        loaded.model.encoder("reading whole sequences")?;
        let version = loaded.model.version();
        Ok(Encodings { loaded, plans: Lru::new(PLANS), pool: SlotPool::default(), version })
    }

    /// The vector of each sequence: the mean of its tokens' states, or the first one's. `normalize` gives it the length 1.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for ids that the model does not have, [`Error::ContextOverflow`], whatever the device reports.
    pub async fn embed(&mut self, rows: &[Encoded], pooling: Pooling, normalize: bool, adapter: &AdapterChoice) -> Result<Vec<Vec<f32>>> {
        let examples = self.examples(rows, |_| vec![0])?;
        let mut vectors = self.run(&examples, Asked::Vector(pooling), adapter).await?;
        if normalize {
            for v in &mut vectors {
                let length = v.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt().max(1e-12);
                v.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
            }
        }
        Ok(vectors)
    }

    /// What the pooler makes of each sequence's first token.
    ///
    /// # Errors
    /// As [`Encodings::embed`]; [`Error::BadConfig`] where the files have no pooler.
    pub async fn pooled(&mut self, rows: &[Encoded], adapter: &AdapterChoice) -> Result<Vec<Vec<f32>>> {
        let examples = self.examples(rows, |_| vec![0])?;
        self.run(&examples, Asked::Pooled, adapter).await
    }

    /// The last hidden state of every token, token by token.
    ///
    /// # Errors
    /// As [`Encodings::embed`].
    pub async fn states(&mut self, rows: &[Encoded], adapter: &AdapterChoice) -> Result<Vec<Vec<f32>>> {
        let examples = self.examples(rows, |e| vec![0; e.ids.len()])?;
        self.run(&examples, Asked::States, adapter).await
    }

    /// Logits of the tokens at some places of a sequence, in their order: what would stand there.
    ///
    /// # Errors
    /// As [`Encodings::embed`]; [`Error::BadConfig`] where the files have no head for masked tokens, and for a place behind the end.
    pub async fn logits(&mut self, row: &Encoded, at: &[usize], adapter: &AdapterChoice) -> Result<Vec<Vec<f32>>> {
        self.loaded.model.need_logits()?;
        if let Some(i) = at.iter().find(|i| **i >= row.ids.len()) {
            return Err(Error::config("position", format!("is {i} of {} tokens", row.ids.len())));
        }
        let labels = |e: &Encoded| (0..e.ids.len()).map(|i| if at.contains(&i) { 0 } else { IGNORE }).collect();
        let examples = self.examples(std::slice::from_ref(row), labels)?;
        let all = self.run(&examples, Asked::Logits, adapter).await?.concat();
        // Rows come in the order of their places.
        let mut places = at.to_vec();
        places.sort_unstable();
        places.dedup();
        let wide = all.len().checked_div(places.len()).unwrap_or(0);
        let of = |place: usize| all[place * wide..(place + 1) * wide].to_vec();
        Ok(at.iter().filter_map(|i| places.binary_search(i).ok()).map(of).collect())
    }

    /// What the classifier says of each sequence, or of each of its tokens one after the other.
    ///
    /// # Errors
    /// As [`Encodings::embed`]; [`Error::BadConfig`] where neither model nor adapter have a classifier.
    pub async fn classes(&mut self, rows: &[Encoded], scope: Scope, adapter: &AdapterChoice) -> Result<Vec<Vec<f32>>> {
        let examples = self.examples(rows, |e| vec![0; if scope == Scope::Sequence { 1 } else { e.ids.len() }])?;
        self.run(&examples, Asked::Classes(scope), adapter).await
    }

    /// Sequences that the model can read, with what is asked of their tokens.
    fn examples(&self, rows: &[Encoded], labels: impl Fn(&Encoded) -> Vec<u32>) -> Result<Vec<Example>> {
        let (config, context) = (self.loaded.model.config(), self.loaded.info.context_length);
        let kinds = config.shape.encoder().map_or(1, |e| e.type_vocab_size.max(1));
        for e in rows {
            if e.ids.is_empty() {
                return Err(Error::config("prompt", "holds no tokens"));
            }
            if let Some(id) = e.ids.iter().find(|id| **id as usize >= config.vocab_size) {
                return Err(Error::config("prompt_ids", format!("{id} is outside the vocabulary of {}", config.vocab_size)));
            }
            if e.ids.len() > context {
                return Err(Error::ContextOverflow { needed: e.ids.len(), available: context });
            }
            if !e.types.is_empty() && e.types.len() != e.ids.len() {
                return Err(Error::config("token_type_ids", format!("has {} numbers for {} tokens", e.types.len(), e.ids.len())));
            }
            if let Some(t) = e.types.iter().find(|t| **t as usize >= kinds) {
                return Err(Error::config("token_type_ids", format!("holds {t}, the model has {kinds} kinds of segments")));
            }
        }
        Ok(rows.iter().map(|e| Example::in_place(e.ids.clone(), &labels(e), e.types.clone())).collect())
    }

    /// For each sequence what was asked of its tokens, one after the other. Those of like length are read together.
    async fn run(&mut self, examples: &[Example], asked: Asked, adapter: &AdapterChoice) -> Result<Vec<Vec<f32>>> {
        let active = self.loaded.adapters.resolve(adapter)?;
        let set = active.map(|a| a.set);
        if set.as_ref().is_some_and(|s| s.front() != Front::Nothing) {
            return Err(Error::BadAdapter("it puts something in front of every sequence, which is not supported for an encoder".into()));
        }
        if self.version != self.loaded.model.version() {
            self.version = self.loaded.model.version();
            self.plans = Lru::new(PLANS);
        }
        let mut order: Vec<usize> = (0..examples.len()).collect();
        order.sort_by_key(|i| examples[*i].ids.len());
        let mut all = vec![Vec::new(); examples.len()];
        let mut at = 0;
        while at < order.len() {
            let mut tokens = 0;
            let fits = |i: &&usize| {
                tokens += examples[**i].ids.len();
                tokens <= TOKENS
            };
            let n = order[at..].iter().take_while(fits).count().max(1);
            let part: Vec<&Example> = order[at..at + n].iter().map(|i| &examples[*i]).collect();
            let (said, rows) = self.batch(&part, asked, set.as_ref()).await?;
            let mut values = said.chunks((said.len() / rows.max(1)).max(1));
            for i in &order[at..at + n] {
                let own: Vec<f32> = values.by_ref().take(examples[*i].counted()).flatten().copied().collect();
                if !own.iter().all(|v| v.is_finite()) {
                    return Err(Error::NotFinite(format!("what the model says of sequence {i}")));
                }
                all[*i] = own;
            }
            at += n;
        }
        Ok(all)
    }

    /// Values of a batch, and of how many rows they are.
    async fn batch(&mut self, examples: &[&Example], asked: Asked, set: Option<&Rc<AdapterSet>>) -> Result<(Vec<f32>, usize)> {
        let batch = self.loaded.model.lay_out(examples, Layout::Auto, Front::Nothing);
        // Sequences of one row are told apart by their spans alone.
        let mut shape = batch.shape;
        shape.seqs = if shape.batch == 1 { shape.rows } else { shape.batch };
        let key = (shape, asked, set.map_or(0, |s| Rc::as_ptr(s) as usize));
        if self.plans.get(&key).is_none() {
            let program = self.record(&shape, asked, set)?;
            program.compile().await?;
            if self.pool.outgrown() {
                // Earlier plans hold the smaller slots.
                self.plans = Lru::new(PLANS);
            }
            self.plans.insert(key, Plan { program, _set: set.cloned() });
        }
        let program = self.plans.get(&key).map(|p| p.program.clone()).ok_or_else(|| Error::Busy("no plan".into()))?;
        write(&program, &batch, examples, shape.seqs);
        let step = StepParams { lora: if set.is_some() { 1.0 } else { 0.0 }, ..StepParams::default() };
        let said = program.run_f32(&step, "said").await?;
        Ok((said, if asked == Asked::Vector(Pooling::Mean) { shape.seqs } else { shape.rows }))
    }

    fn record(&self, shape: &BatchShape, asked: Asked, set: Option<&Rc<AdapterSet>>) -> Result<Rc<Program>> {
        let model = &self.loaded.model;
        let m = shape.batch * shape.len;
        let mut tape = Tape::new();
        let placed = set.map(|s| s.place(&mut tape, m, shape.batch, false)).transpose()?;
        let adapter = placed.as_ref().map(|a| a as &dyn Adapter);
        let inputs = TrainInputs::declare(&mut tape, model, shape);
        let all = model.record_hidden(&mut tape, &inputs, adapter, false)?;
        let said = if asked == Asked::Vector(Pooling::Mean) {
            let spans = tape.input("sequences", Desc::u32(&[shape.seqs, 2]));
            model.record_mean(&mut tape, all, shape.batch, spans)?
        } else {
            let (gather, inverse) = (tape.input("gather", Desc::u32(&[shape.rows])), tape.input("inverse", Desc::u32(&[m])));
            let hidden = tape.push1(GatherRows, &[all, gather, inverse])?;
            match asked {
                Asked::Vector(_) | Asked::States => hidden,
                Asked::Pooled => model.record_pooled(&mut tape, hidden, adapter, false)?,
                Asked::Logits => model.record_logits(&mut tape, hidden, adapter)?,
                Asked::Classes(scope) => model.record_classes(&mut tape, hidden, scope, adapter, false)?,
            }
        };
        tape.output("said", said);
        Ok(Rc::new(Program::build_in(model.exec(), &tape, ProgramOptions::default(), &self.pool)?))
    }
}

fn write(program: &Program, batch: &Batch, examples: &[&Example], seqs: usize) {
    // Where each sequence stands: its first token is asked for whenever this is.
    let first = batch.gather.iter().map(|row| *row % batch.shape.len as u32);
    let mut sequences: Vec<u32> = first.zip(examples).flat_map(|(from, e)| [from, from + e.ids.len() as u32]).collect();
    sequences.resize(2 * seqs, 0);
    for (name, values) in [
        ("ids", &batch.ids),
        ("positions", &batch.positions),
        ("spans", &batch.spans),
        ("window_spans", &batch.window_spans),
        ("types", &batch.types),
        ("gather", &batch.gather),
        ("inverse", &batch.inverse),
        ("sequences", &sequences),
        (FRONT, &batch.front),
    ] {
        if program.has_input(name) {
            program.write(name, values);
        }
    }
}
