//! A reward model as a judge: what it has learned from comparisons, asked of what the policy writes. It stands on the policy's own base.

use super::{RewardBatch, RewardSource, Scored};
use crate::adapters::{AdapterChoice, LoadedModel};
use crate::data::Example;
use crate::tune::scorer::Scorer;
use crate::{Error, Result};

/// See the module.
pub struct LearnedReward {
    scorer: Scorer,
}

impl LearnedReward {
    /// A reward model among the model's adapters, as it is now.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] for an unknown name, and for what has not one score.
    pub fn new(model: &LoadedModel, adapter: &str) -> Result<LearnedReward> {
        let scorer = Scorer::new(model, &AdapterChoice::Named(adapter.into()))?;
        match scorer.scores() {
            1 => Ok(LearnedReward { scorer }),
            n => Err(Error::BadAdapter(format!("{adapter:?} gives {n} scores: a judge is a reward model with one"))),
        }
    }
}

impl RewardSource for LearnedReward {
    fn name(&self) -> &str {
        "reward_model"
    }

    fn reads_text(&self) -> bool {
        false
    }

    fn score<'a>(&'a mut self, batch: &'a RewardBatch) -> Scored<'a> {
        Box::pin(async move {
            let examples: Vec<Example> = batch.sequences.iter().map(|ids| Example::scored(ids.clone())).collect();
            let said = self.scorer.judge(&examples.iter().collect::<Vec<_>>()).await?;
            Ok(said.into_iter().map(|v| f64::from(v[0])).collect())
        })
    }
}
