//! What a training will take of its device, from the very tapes that it will run. Nothing is allocated to find out.

use std::collections::HashSet;

use super::kl;
use super::pass::{Pass, Weights};
use super::trainer::{PLANS, Trainer};
use crate::Result;
use crate::data::BatchShape;
use crate::graph::{Needs, Program};

/// Tokens of the batches that are looked at, at most: of a longer training the rest is taken to be no larger than a batch of the longest rows.
const LOOKED_AT: usize = 1 << 21;

/// Most shapes that are recorded to see what they take; the others are no larger in any direction, or hardly.
const RECORDED: usize = 12;

/// What is still to be allocated before the training's largest update has run.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// Of the slots that all plans share, largest first.
    pub slots: Vec<u64>,
    /// Inputs, outputs and constants of all plans that are kept, and what is read back of updates.
    pub ports: u64,
    /// Of one buffer.
    pub largest: u64,
    /// Of the host: what is known of rows under the base model.
    pub host: u64,
    /// Tokens and judged positions of the largest micro-batch, padding included.
    pub tokens: usize,
    pub judged: usize,
}

/// The passes of the updates to come.
#[derive(Default)]
struct Passes {
    all: HashSet<(BatchShape, Pass)>,
    /// Bytes that are read back of the largest update.
    staging: u64,
    /// Judged positions of the rows whose hidden states under the base model are kept.
    states: usize,
}

/// True when nothing of `a` is larger than in `b`.
fn within(a: &BatchShape, b: &BatchShape) -> bool {
    a.batch <= b.batch && a.len <= b.len && a.rows <= b.rows && a.seqs <= b.seqs
}

fn size(s: &BatchShape) -> usize {
    s.batch * s.len + s.rows
}

impl Trainer {
    /// What rows are judged by once, and what an update of them runs.
    fn passes_of(&self, rows: Vec<u32>, known: &mut HashSet<u32>, passes: &mut Passes) -> u64 {
        let additive = self.target.set().is_none_or(|s| s.is_additive());
        let fresh: Vec<u32> = rows.iter().copied().filter(|r| known.insert(*r)).collect();
        if let Some(cache) = self.method.references() {
            let unknown = cache.missing(&fresh);
            if !unknown.is_empty() {
                let weights = if self.reference.is_some() { Weights::Reference } else { Weights::Base };
                let (_, shape) = self.batch(&self.method.reference_examples(&unknown), weights);
                passes.all.insert((shape, Pass::logps(weights).recorded(additive)));
            }
        }
        if self.base.is_some() {
            for row in fresh {
                let micro = self.micro(vec![row], Weights::Base);
                passes.states += micro.batch.counted;
                passes.all.insert((micro.shape, Pass::logps(Weights::Base).recorded(additive)));
            }
        }
        let present = self.method.present_examples(&rows);
        if !present.is_empty() {
            passes.all.insert((self.batch(&present, Weights::Present).1, Pass::logps(Weights::Present).recorded(additive)));
        }
        let micro = self.micro(rows, Weights::Present);
        passes.all.insert((micro.shape, Pass::UPDATE));
        self.words(&micro).into_iter().map(|(_, words)| words as u64 * 4).sum()
    }

    /// Follows the order of rows until an epoch brings no new shape.
    fn passes(&self) -> Passes {
        let (mut passes, mut known) = (Passes::default(), HashSet::new());
        let mut sampler = self.sampler.clone();
        sampler.grow(self.method.rows());
        let rows = self.args.per_device_train_batch_size;
        let (mut left, mut before, mut tokens) = (self.total_steps().saturating_sub(self.steps()), 0, 0);
        while left > 0 && tokens < LOOKED_AT {
            let mut staging = 4;
            for _ in 0..self.args.gradient_accumulation_steps {
                let rows = sampler.take(rows);
                tokens += self.method.examples(&rows).iter().map(|e| e.ids.len()).sum::<usize>().max(1);
                staging += self.passes_of(rows, &mut known, &mut passes);
                if sampler.epoch_done() {
                    break;
                }
            }
            passes.staging = passes.staging.max(staging);
            left -= 1;
            if sampler.epoch_done() {
                if passes.all.len() == before {
                    return passes;
                }
                before = passes.all.len();
            }
        }
        if left > 0 {
            let length = |row: &u32| self.method.examples(&[*row]).iter().map(|e| e.ids.len()).sum::<usize>();
            let mut all: Vec<u32> = (0..self.method.rows() as u32).collect();
            all.sort_by_cached_key(|row| std::cmp::Reverse(length(row)));
            all.truncate(rows);
            self.passes_of(all, &mut known, &mut passes);
        }
        passes
    }

    /// What the training will take beside what there is.
    ///
    /// # Errors
    /// From recording.
    pub(super) fn survey(&self) -> Result<Survey> {
        let passes = self.passes();
        let mut all: Vec<&(BatchShape, Pass)> = passes.all.iter().collect();
        all.sort_by_key(|(shape, pass)| (std::cmp::Reverse(size(shape)), *shape, *pass == Pass::UPDATE));
        let mut recorded: Vec<(BatchShape, Pass, u64)> = Vec::new();
        let mut s = Survey::default();
        for (shape, pass) in all.iter().copied() {
            let inside = recorded.iter().any(|(other, of, _)| of == pass && within(shape, other));
            if inside || recorded.iter().filter(|r| r.1 == *pass).count() >= RECORDED {
                continue;
            }
            let Needs { slots, ports, largest } = Program::needs(self.exec(), &self.tape(shape, *pass)?);
            for (i, bytes) in slots.into_iter().enumerate() {
                match s.slots.get_mut(i) {
                    Some(most) => *most = bytes.max(*most),
                    None => s.slots.push(bytes),
                }
            }
            s.largest = s.largest.max(largest);
            recorded.push((*shape, *pass, ports));
        }
        // Plans that were not recorded have the ports of a larger one, in proportion.
        for (shape, pass) in all.iter().copied().take(PLANS) {
            let like = recorded.iter().filter(|r| r.1 == *pass).min_by_key(|r| size(&r.0).abs_diff(size(shape)));
            s.ports += like.map_or(0, |(other, _, ports)| (*ports as f64 * size(shape) as f64 / size(other) as f64) as u64);
        }
        s.ports += 2 * self.exec().rounded(passes.staging);
        s.host = kl::states_bytes(passes.states, self.model().config().hidden_size);
        (s.tokens, s.judged) = all.iter().fold((0, 0), |(t, j), (shape, _)| (t.max(shape.batch * shape.len), j.max(shape.rows)));
        Ok(s)
    }

    /// Makes the slots as large as they will become, so that no plan is thrown away for a larger one, and never two sets of slots are there at once.
    ///
    /// # Errors
    /// From recording; [`crate::Error::OutOfMemory`].
    pub(super) fn reserve(&mut self) -> Result<()> {
        // What a round will bring is not known.
        if !std::mem::replace(&mut self.reserved, true) && self.method.rounds().is_none() {
            let slots = self.survey()?.slots;
            self.pool.reserve(self.exec(), &slots)?;
        }
        Ok(())
    }
}
