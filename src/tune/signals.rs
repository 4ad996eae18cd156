//! What a forward pass offers to a loss, recorded when it is asked for.

use crate::Result;
use crate::adapters::FRONT;
use crate::data::{Batch, BatchShape};
use crate::graph::{Desc, Program, Tape, Tensor, Val};
use crate::models::{Judge, Judged, Model, TrainInputs};
use crate::nn::Adapter;
use crate::ops::elementwise::{Add, Mul, Scale};
use crate::ops::embedding::GatherRows;
use crate::ops::linear::Linear;
use crate::ops::reduce::{Fold, Reduce};

/// The end of a forward pass over a batch's judged positions (R of them).
pub struct Signals<'a> {
    model: &'a Model,
    adapter: Option<&'a dyn Adapter>,
    how: Judge,
    inputs: TrainInputs,
    hidden: Val,
    targets: Val,
    judged: Option<Judged>,
    seq: Option<Val>,
    rows: usize,
}

impl<'a> Signals<'a> {
    /// Records the inputs that [`write_batch`] writes and the pass up to the last norm; a `noisy` one reads the size of its noise from the input
    /// `noise`.
    pub(super) fn record(
        tape: &mut Tape,
        model: &'a Model,
        adapter: Option<&'a dyn Adapter>,
        shape: &BatchShape,
        how: Judge,
        noisy: bool,
    ) -> Result<Signals<'a>> {
        let m = shape.batch * shape.len;
        let inputs = TrainInputs::declare(tape, model, shape);
        let noise = noisy.then(|| tape.input("noise", Desc::f32(&[m])));
        let all = model.record_noisy(tape, &inputs, adapter, how.train, noise)?;
        let gather = tape.input("gather", Desc::u32(&[shape.rows]));
        let inverse = tape.input("inverse", Desc::u32(&[m]));
        let targets = tape.input("targets", Desc::u32(&[shape.rows]));
        let hidden = tape.push1(GatherRows, &[all, gather, inverse])?;
        Ok(Signals { model, adapter, how, inputs, hidden, targets, judged: None, seq: None, rows: shape.rows })
    }

    /// Hidden states after the last norm (R, C): what a score head begins with.
    pub fn hidden(&self) -> Val {
        self.hidden
    }

    /// The score head (K, C) of the pass's adapter.
    pub fn head(&self) -> Option<&Tensor> {
        self.adapter.and_then(Adapter::score)
    }

    /// Scores (R, K) of a head (K, C) on the hidden states: a reward, a value, several criteria.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn scores(&self, tape: &mut Tape, head: &Tensor) -> Result<Val> {
        let head = tape.tensor(head);
        tape.push1(Linear::default(), &[self.hidden, head])
    }

    /// Scores (V, K) that another adapter with a head gives on the same sequences, in a pass of its own over the one base: a critic's values. `gather`
    /// (V) u32 are the tokens of the batch that are asked for, [`crate::ops::embedding::NO_ROW`] for none, `inverse` (B·T) u32 the place of each
    /// token among them.
    ///
    /// # Errors
    /// [`crate::Error::Shape`]; [`crate::Error::BadAdapter`] for an adapter without a head.
    pub fn scores_of(&self, tape: &mut Tape, adapter: &dyn Adapter, gather: Val, inverse: Val) -> Result<Val> {
        let head = adapter.score().ok_or_else(|| crate::Error::BadAdapter("it has no score head: it is no critic".into()))?;
        let all = self.model.record_hidden(tape, &self.inputs, Some(adapter), self.how.train)?;
        let hidden = tape.push1(GatherRows, &[all, gather, inverse])?;
        let head = tape.tensor(head);
        tape.push1(Linear::default(), &[hidden, head])
    }

    /// Log-probabilities of the tokens that follow (R).
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn logps(&mut self, tape: &mut Tape) -> Result<Val> {
        Ok(self.judged(tape)?.logps)
    }

    /// Entropy of the distribution and ln Σ p² at each position (R, 2), without a gradient; none in a pass that was not asked for them.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn entropies(&mut self, tape: &mut Tape) -> Result<Option<Val>> {
        Ok(self.judged(tape)?.spread)
    }

    /// What the head's weight multiplies (R, C).
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub(super) fn states(&mut self, tape: &mut Tape) -> Result<Val> {
        Ok(self.judged(tape)?.states)
    }

    /// `∂logp/∂states · (other − states)` at each position (R), `other` being states of the same positions: see [`super::kl`].
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub(super) fn towards(&mut self, tape: &mut Tape, other: Val) -> Result<Option<Val>> {
        let Judged { states, slope: Some(slope), .. } = self.judged(tape)? else { return Ok(None) };
        let negative = tape.push1(Scale { factor: -1.0 }, &[states])?;
        let away = tape.push1(Add, &[other, negative])?;
        let along = tape.push1(Mul, &[slope, away])?;
        tape.push1(Reduce { fold: Fold::Sum, all: false }, &[along]).map(Some)
    }

    fn judged(&mut self, tape: &mut Tape) -> Result<Judged> {
        if let Some(judged) = self.judged {
            return Ok(judged);
        }
        let judged = self.model.record_judged(tape, self.hidden, self.targets, self.adapter, self.how)?;
        self.judged = Some(judged);
        Ok(judged)
    }

    /// The sequence of each position (R) u32: [`Batch::seqs`], unless the method writes the input `seq` itself.
    pub fn seq(&mut self, tape: &mut Tape) -> Val {
        *self.seq.get_or_insert_with(|| tape.input("seq", Desc::u32(&[self.rows])))
    }
}

/// Writes what [`Signals`] reads.
pub(super) fn write_batch(program: &Program, batch: &Batch) {
    program.write("ids", &batch.ids);
    program.write("positions", &batch.positions);
    program.write("spans", &batch.spans);
    program.write("gather", &batch.gather);
    program.write("targets", &batch.targets);
    for (name, values) in [
        ("window_spans", &batch.window_spans),
        ("types", &batch.types),
        ("inverse", &batch.inverse),
        ("seq", &batch.seqs),
        ("source_ids", &batch.sources.ids),
        ("source_positions", &batch.sources.positions),
        ("source_spans", &batch.sources.spans),
        ("cross_spans", &batch.sources.cross),
        (FRONT, &batch.front),
    ] {
        if program.has_input(name) {
            program.write(name, values);
        }
    }
}
