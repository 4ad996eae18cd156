//! Who rewards completions, handed over beside a configuration.

use std::rc::Rc;

use super::round::Rounds;
use super::sampled::{Recorder, Sampled, Stop, sampling};
use super::source::Rollouts;
use crate::adapters::LoadedModel;
use crate::tune::rewards::{Judges, RewardSource};
use crate::tune::trainer::Trainer;
use crate::tune::values::Values;
use crate::{Error, Result};

/// Who rewards completions, and who hears of them.
#[derive(std::default::Default)]
pub struct Sources {
    pub judges: Vec<Box<dyn RewardSource>>,
    pub recorder: Option<Recorder>,
    /// Ends sampling in the middle of a round, with [`Error::Aborted`].
    pub stop: Option<Stop>,
}

/// Who writes the completions of a method that learns in rounds, unless its rows bring them.
pub(in crate::tune) fn rollouts(
    model: &LoadedModel,
    trainer: &Trainer,
    name: &str,
    values: &Values,
    sources: Sources,
) -> Result<Option<Box<dyn Rollouts>>> {
    if trainer.method.rounds().is_none_or(Rounds::is_replayed) {
        return match sources.judges.is_empty() {
            true => Ok(None),
            false if trainer.method.rounds().is_some() => {
                Err(Error::config("reward", "the rows bring their rewards: nobody is asked for others"))
            }
            false => Err(Error::config("reward", format!("{} asks for no rewards", trainer.method.name()))),
        };
    }
    if sources.judges.iter().any(|j| j.reads_text()) {
        model.tokenizer()?;
    }
    let Some(set) = trainer.target().set() else {
        return Err(Error::config("trainable", "completions are sampled with an adapter"));
    };
    let judges = Judges::new(sources.judges, values.opt_numbers("reward_weights"))?;
    let policy = (set.clone(), name.to_string());
    let seed = trainer.args.seed;
    let sampled = Sampled::new(Rc::new(model.clone()), policy, sampling(values), seed, judges, (sources.recorder, sources.stop))?;
    Ok(Some(Box::new(sampled)))
}
