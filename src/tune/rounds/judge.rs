//! The next round: its completions, and what policy and reference say of them.

use super::round::Rounds;
use crate::Result;
use crate::data::Example;
use crate::tune::micro::Micro;
use crate::tune::pass::{Pass, Weights};
use crate::tune::scorer::Scorer;
use crate::tune::trainer::Trainer;

/// What is put down of a completion's tokens.
#[derive(Clone, Copy)]
enum Place {
    Old,
    Entropies,
    Reference,
}

impl Trainer {
    /// Readies the next round where the present one has been learned, or there is none.
    ///
    /// # Errors
    /// Whatever sampling and judging report. There is no round then, the prompts are still to come, and nothing that was learned is lost.
    pub(in crate::tune) async fn next_round(&mut self) -> Result<()> {
        if self.method.rounds().is_none_or(|r| !r.is_done()) {
            return Ok(());
        }
        // Completions are written by what is known to be good.
        self.catch_up(0).await?;
        self.keep_round().await?;
        let mut sampler = self.sampler.clone();
        let Some(rounds) = self.method.rounds_mut() else { return Ok(()) };
        let prompts = sampler.take(rounds.plan().prompts);
        rounds.clear();
        let round = match &mut self.rollouts {
            Some(rollouts) if !rounds.is_replayed() => rollouts.write(rounds, &prompts).await?,
            _ => rounds.replayed(&prompts),
        };
        rounds.begin(round);
        if let Some(base) = &mut self.base {
            *base = Default::default();
            self.states.clear();
        }
        let judged = self.judge_round().await;
        let (Ok(()), Some(rounds)) = (&judged, self.method.rounds_mut()) else {
            self.method.rounds_mut().into_iter().for_each(Rounds::clear);
            return judged;
        };
        rounds.begun();
        self.sampler = sampler;
        if let (Some(rollouts), Some(rounds)) = (&mut self.rollouts, self.method.rounds()) {
            rollouts.judged(rounds)?;
        }
        Ok(())
    }

    /// Keeps the adapter as it is behind the present round, if that has been learned.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub(in crate::tune) async fn keep_round(&mut self) -> Result<()> {
        let Some(number) = self.method.rounds().filter(|r| r.is_done()).and_then(Rounds::round).map(|r| r.number) else { return Ok(()) };
        if let Some(set) = self.target.set()
            && self.kept.last().is_none_or(|k| k.0 < number)
        {
            self.kept.push((number, set.export().await?));
        }
        Ok(())
    }

    /// What policy and reference say of the present round's completions, micro-batch by micro-batch as they will be learned; then its advantages.
    async fn judge_round(&mut self) -> Result<()> {
        let Some(rounds) = self.method.rounds() else { return Ok(()) };
        let (old, reference, chunks) = (rounds.old, rounds.reference, rounds.chunks());
        // Who records rollouts wants to know what wrote them.
        let old = old || self.rollouts.as_ref().is_some_and(|r| r.wants_old());
        let weights = self.reference_weights();
        for rows in chunks {
            let micro = self.micro(rows, Weights::Present);
            if old || reference {
                // The larger plan first: slots that grow later would void the smaller one.
                self.program(&micro.shape, Pass::UPDATE).await?;
            }
            if old {
                let seen = self.judge(&micro.batch, &micro.shape, Weights::Present).await?;
                self.put(&micro, Place::Old, &seen.logps);
                let entropies: Vec<f32> = seen.spread.iter().step_by(2).copied().collect();
                self.put(&micro, Place::Entropies, &entropies);
            }
            if reference {
                // Virtual tokens stand in front of the policy's sequences alone.
                let micro = self.micro(micro.rows, weights);
                let seen = self.judge(&micro.batch, &micro.shape, weights).await?;
                self.put(&micro, Place::Reference, &seen.logps);
                if weights == Weights::Base {
                    self.keep(&micro, &seen);
                }
            }
        }
        self.values().await?;
        self.method.weigh();
        Ok(())
    }

    /// What a critic says of the present round's completions.
    async fn values(&mut self) -> Result<()> {
        let (Some(critic), Some(round)) = (self.method.critic().cloned(), self.method.rounds().and_then(Rounds::round)) else {
            return Ok(());
        };
        let examples: Vec<Example> = (0..round.samples.len() as u32).map(|i| self.method.value_example(i)).collect();
        let model = self.model.clone();
        let scorer = self.critic.get_or_insert_with(|| Scorer::of(model, Some(critic)));
        let values = scorer.judge(&examples.iter().collect::<Vec<_>>()).await?;
        let round = self.method.rounds_mut().and_then(Rounds::round_mut);
        for (sample, values) in round.into_iter().flat_map(|r| &mut r.samples).zip(values) {
            sample.values = values;
        }
        Ok(())
    }

    /// Puts down values of a micro-batch's judged tokens.
    fn put(&mut self, micro: &Micro, place: Place, values: &[f32]) {
        let mut of: Vec<Vec<f32>> = vec![Vec::new(); micro.shape.seqs];
        for (seq, value) in micro.batch.seqs[..micro.batch.counted].iter().zip(values) {
            of[*seq as usize].push(*value);
        }
        let numbers = self.method.samples(&micro.rows);
        let Some(round) = self.method.rounds_mut().and_then(Rounds::round_mut) else { return };
        for (i, values) in numbers.into_iter().zip(of) {
            let sample = &mut round.samples[i as usize];
            let place = match place {
                Place::Old => &mut sample.old,
                Place::Entropies => &mut sample.entropies,
                Place::Reference => &mut sample.reference,
            };
            *place = values;
        }
    }
}
