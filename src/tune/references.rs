//! What is known of rows under policies that do not learn: the reference and the base model. Computed once per row.

use super::kl::RowCache;
use super::micro::Micro;
use super::pass::{Pass, Weights};
use super::signals::write_batch;
use super::trainer::Trainer;
use crate::Result;
use crate::data::{Batch, BatchShape, Example};

/// What a pass without a loss gives.
pub(super) struct Seen {
    /// Log-probabilities (R).
    pub logps: Vec<f32>,
    /// Their sums per sequence.
    sums: Vec<f32>,
    /// What the head's weight multiplies (R, C); empty where nobody asks for it.
    states: Vec<f32>,
    /// Entropies and ln Σ p² (R, 2), of a round alone.
    pub spread: Vec<f32>,
}

impl Trainer {
    /// A batch under some weights.
    pub(super) async fn judge(&mut self, batch: &Batch, shape: &BatchShape, adapter: Weights) -> Result<Seen> {
        let pass = Pass::logps(adapter);
        let program = self.program(shape, pass).await?;
        write_batch(&program, batch);
        let asked = [true, shape.seqs > 0, self.base.is_some(), self.spreads(pass)];
        let names: Vec<&str> = ["logp", "sums", "states", "spread"].into_iter().zip(asked).filter(|n| n.1).map(|n| n.0).collect();
        let mut found = program.run(&pass.step(), &names).await?.into_iter().map(|w| w.into_iter().map(f32::from_bits).collect());
        let mut next = |there: bool| if there { found.next().unwrap_or_default() } else { Vec::new() };
        Ok(Seen { logps: next(asked[0]), sums: next(asked[1]), states: next(asked[2]), spread: next(asked[3]) })
    }

    /// Which weights are a method's reference.
    pub(super) fn reference_weights(&self) -> Weights {
        if self.reference.is_some() { Weights::Reference } else { Weights::Base }
    }

    /// Keeps what was seen of rows of the base model.
    pub(super) fn keep(&mut self, micro: &Micro, seen: &Seen) {
        let width = self.model.config().hidden_size;
        if let Some(cache) = &mut self.base {
            cache.set_logps(micro, &seen.logps);
            self.states.set_all(micro, &seen.states, width);
        }
    }

    /// Computes what is not known yet of the rows under the reference and under the base model, for a pass that follows.
    pub(super) async fn references(&mut self, micros: &[Micro], pass: Pass) -> Result<()> {
        let weights = self.reference_weights();
        for m in micros {
            let unknown = |cache: Option<&RowCache>| cache.map_or_else(Vec::new, |c| c.missing(&m.rows));
            let mut own = unknown(self.method.references());
            let mut base = unknown(self.base.as_ref());
            if self.base.is_some() {
                base.extend(m.rows.iter().filter(|r| !self.states.has(**r)));
                base.sort_unstable();
                base.dedup();
            }
            if own.is_empty() && base.is_empty() {
                continue;
            }
            // The larger plan first: slots that grow later would void the smaller one.
            self.program(&m.shape, pass).await?;
            // One pass serves the loss and the distance to the base where both judge the same sequences by the same weights.
            let same = |a: &[&Example], b: &[&Example]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| std::ptr::eq(*a, *b));
            let both = weights == Weights::Base
                && own == base
                && own.len() == 1
                && same(&self.method.examples(&own), &self.method.reference_examples(&own));
            if !own.is_empty() {
                let examples = self.method.reference_examples(&own);
                let owners = self.method.owners(&own, examples.len());
                let (batch, shape) = self.batch(&examples, weights);
                let mut seen = self.judge(&batch, &shape, weights).await?;
                let sums = self.method.reference_sums(&own, &batch, &seen.logps, std::mem::take(&mut seen.sums));
                if let Some(cache) = self.method.references_mut() {
                    cache.set_sums(&own, &owners, &sums);
                }
                if both {
                    self.keep(&Micro { rows: std::mem::take(&mut own), owners, batch, shape }, &seen);
                    base.clear();
                }
            }
            if self.method.rounds().is_some() && !base.is_empty() {
                // A round is always cut into the same micro-batches.
                let micro = self.micro(m.rows.clone(), Weights::Base);
                let seen = self.judge(&micro.batch, &micro.shape, Weights::Base).await?;
                self.keep(&micro, &seen);
                continue;
            }
            // Row by row: whatever else is in a batch, and whenever it is computed again, a row has the same numbers.
            for row in base {
                let micro = self.micro(vec![row], Weights::Base);
                let seen = self.judge(&micro.batch, &micro.shape, Weights::Base).await?;
                self.keep(&micro, &seen);
            }
        }
        let needed: Vec<u32> = micros.iter().flat_map(|m| m.rows.iter().copied()).collect();
        self.states.bound(&needed);
        Ok(())
    }
}
