//! How many of what a round has.

use crate::tune::config::TrainingArguments;
use crate::{Error, Result};

/// The sizes of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundPlan {
    /// Completions of each prompt (TRL's `num_generations`).
    pub generations: usize,
    /// Prompts of a round.
    pub prompts: usize,
    /// How often a round is learned.
    pub iterations: usize,
    /// Rows of a micro-batch.
    pub batch: usize,
    /// Micro-batches of an update.
    pub accumulation: usize,
    /// A row is all completions of a prompt, not one of them.
    pub grouped: bool,
}

impl RoundPlan {
    /// Of methods whose rows are completions: `per_device_train_batch_size` of them are a micro-batch, `steps_per_generation` micro-batches are a
    /// round, as in TRL.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for numbers that do not go together.
    pub fn of_completions(
        args: &TrainingArguments,
        generations: usize,
        iterations: usize,
        steps_per_generation: Option<i64>,
        generation_batch_size: Option<i64>,
    ) -> Result<RoundPlan> {
        let (batch, accumulation) = (args.per_device_train_batch_size, args.gradient_accumulation_steps);
        let whole = |size: usize| match size.is_multiple_of(batch) {
            true => Ok(size / batch),
            false => {
                let message = format!("is {size}, no multiple of per_device_train_batch_size {batch}");
                Err(Error::config("generation_batch_size", message))
            }
        };
        let steps = match (steps_per_generation, generation_batch_size) {
            (None, None) => accumulation,
            (Some(steps), None) => steps as usize,
            (None, Some(size)) => whole(size as usize)?,
            (Some(steps), Some(size)) => {
                let own = whole(size as usize)?;
                if own != steps as usize {
                    let message =
                        format!("is {size}, but steps_per_generation {steps} of {batch} completions are {}", steps as usize * batch);
                    return Err(Error::config("generation_batch_size", message));
                }
                own
            }
        };
        let completions = steps * batch;
        if !completions.is_multiple_of(generations) {
            let message = format!(
                "is {batch}: {completions} completions of a round (steps_per_generation {steps}) are no whole groups of {generations} (num_generations)"
            );
            return Err(Error::config("per_device_train_batch_size", message));
        }
        if !(steps * iterations).is_multiple_of(accumulation) {
            let message = format!(
                "is {accumulation}: the {} micro-batches of a round (steps_per_generation {steps}, num_iterations {iterations}) are no whole updates",
                steps * iterations
            );
            return Err(Error::config("gradient_accumulation_steps", message));
        }
        Ok(RoundPlan { generations, prompts: completions / generations, iterations, batch, accumulation, grouped: false })
    }

    /// Of methods whose rows are prompts with all their completions, learned once.
    pub fn of_prompts(args: &TrainingArguments, generations: usize) -> RoundPlan {
        let (batch, accumulation) = (args.per_device_train_batch_size, args.gradient_accumulation_steps);
        RoundPlan { generations, prompts: batch * accumulation, iterations: 1, batch, accumulation, grouped: true }
    }

    /// Rows of a round of so many prompts.
    pub fn rows(&self, prompts: usize) -> usize {
        if self.grouped { prompts } else { prompts * self.generations }
    }

    /// Micro-batches of a round of so many prompts, learned once.
    pub fn micros(&self, prompts: usize) -> usize {
        self.rows(prompts).div_ceil(self.batch)
    }

    /// Updates of a round of so many prompts.
    pub fn updates(&self, prompts: usize) -> u64 {
        (self.micros(prompts) * self.iterations).div_ceil(self.accumulation) as u64
    }

    /// Updates of a pass over so many prompts. The last round of a pass has those that are left.
    pub fn updates_per_epoch(&self, prompts: usize) -> u64 {
        let (full, rest) = (prompts / self.prompts, prompts % self.prompts);
        (full as u64 * self.updates(self.prompts) + if rest > 0 { self.updates(rest) } else { 0 }).max(1)
    }

    /// True where a round is one update: the policy that learns is the one that wrote.
    pub fn is_fresh(&self) -> bool {
        self.updates(self.prompts) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(batch: usize, accumulation: usize) -> TrainingArguments {
        TrainingArguments { per_device_train_batch_size: batch, gradient_accumulation_steps: accumulation, ..TrainingArguments::default() }
    }

    #[test]
    fn rounds_are_as_large_as_in_trl() {
        let plan = RoundPlan::of_completions(&args(8, 1), 4, 2, None, None).unwrap();
        assert_eq!((plan.prompts, plan.micros(2), plan.updates(2), plan.is_fresh()), (2, 1, 2, false));
        assert_eq!((plan.updates_per_epoch(6), plan.updates_per_epoch(5), plan.updates_per_epoch(1)), (6, 6, 2));
        let plan = RoundPlan::of_completions(&args(4, 2), 4, 2, None, None).unwrap();
        assert_eq!((plan.prompts, plan.micros(2), plan.updates(2)), (2, 2, 2));
        let plan = RoundPlan::of_completions(&args(2, 1), 4, 1, None, Some(8)).unwrap();
        assert_eq!((plan.prompts, plan.micros(2), plan.updates(2)), (2, 4, 4));
        let plan = RoundPlan::of_prompts(&args(2, 2), 2);
        assert_eq!((plan.prompts, plan.rows(4), plan.micros(4), plan.updates(4), plan.is_fresh()), (4, 4, 2, 1, true));
        for (batch, accumulation, steps, size, field) in [
            (3, 1, None, None, "per_device_train_batch_size"),
            (4, 1, None, Some(6), "generation_batch_size"),
            (4, 1, Some(1), Some(8), "generation_batch_size"),
            (4, 3, Some(2), None, "gradient_accumulation_steps"),
        ] {
            match RoundPlan::of_completions(&args(batch, accumulation), 4, 1, steps, size) {
                Err(Error::BadConfig { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{other:?}"),
            }
        }
    }
}
