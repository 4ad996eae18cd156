//! Who says how good a completion is: rules, functions of the caller, several of them with weights.

mod learned;
mod rules;

use std::future::Future;
use std::pin::Pin;

use serde_json::{Map, Value, json};

pub use learned::LearnedReward;
pub use rules::{RULES, Rule, RuleInfo};

use crate::{Error, Result};

/// Completions that are to be judged. All lists are of one length.
#[derive(Clone, Debug, Default)]
pub struct RewardBatch {
    /// As they stand in the rows: texts, lists of messages, or lists of ids.
    pub prompts: Vec<Value>,
    pub completions: Vec<String>,
    pub completion_ids: Vec<Vec<u32>>,
    /// Tokens of prompt and completion together.
    pub sequences: Vec<Vec<u32>>,
    /// Completions that did not end by themselves.
    pub cut: Vec<bool>,
    /// The rows' other columns: a value for each completion, null where its row has none.
    pub columns: Map<String, Value>,
    /// Row of the dataset that each prompt stands in.
    pub rows: Vec<usize>,
}

impl RewardBatch {
    pub fn len(&self) -> usize {
        self.completions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.completions.is_empty()
    }

    /// As TRL calls a reward function: `prompts, completions, completion_ids` and the columns, each a list.
    pub fn json(&self) -> Value {
        json!({
            "prompts": self.prompts,
            "completions": self.completions,
            "completion_ids": self.completion_ids,
            "columns": self.columns,
        })
    }

    /// A column's value for a completion.
    pub fn column(&self, name: &str, i: usize) -> Option<&Value> {
        self.columns.get(name)?.get(i).filter(|v| !v.is_null())
    }

    /// An error about a completion.
    pub fn fault(&self, judge: &str, i: usize, message: impl Into<String>) -> Error {
        Error::BadReward { judge: judge.into(), row: self.rows.get(i).copied(), message: message.into() }
    }
}

/// Rewards that are waited for; on one thread, as everything that holds a device.
pub type Scored<'a> = Pin<Box<dyn Future<Output = Result<Vec<f64>>> + 'a>>;

/// A judge. What it gives is looked at by who asks: too few numbers and such that are none are errors that name the row.
pub trait RewardSource {
    /// By which its rewards are logged: `rewards/<name>/mean`.
    fn name(&self) -> &str;

    /// True where it reads completions as texts, which a model without a tokenizer does not have.
    fn reads_text(&self) -> bool {
        true
    }

    /// A number for each completion.
    fn score<'a>(&'a mut self, batch: &'a RewardBatch) -> Scored<'a>;
}

/// All judges of a training, each with its weight.
pub struct Judges {
    sources: Vec<Box<dyn RewardSource>>,
    weights: Vec<f64>,
    names: Vec<String>,
}

impl Judges {
    /// `weights`: 1 each where there are none.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for another number of weights than of judges, and for none of these.
    pub fn new(sources: Vec<Box<dyn RewardSource>>, weights: Option<Vec<f64>>) -> Result<Judges> {
        if sources.is_empty() {
            return Err(Error::config(
                "reward",
                "is missing: the rows bring no completions, and nobody says how good those are that are sampled",
            ));
        }
        let weights = weights.unwrap_or_else(|| vec![1.0; sources.len()]);
        if weights.len() != sources.len() {
            return Err(Error::config("reward_weights", format!("has {} numbers for {} judges", weights.len(), sources.len())));
        }
        let mut names: Vec<String> = Vec::new();
        for source in &sources {
            let same = names.iter().filter(|n| n.as_str() == source.name() || n.starts_with(&format!("{}_", source.name()))).count();
            names.push(if same == 0 { source.name().to_string() } else { format!("{}_{}", source.name(), same + 1) });
        }
        Ok(Judges { sources, weights, names })
    }

    /// What each is logged as; of several of one name, all but the first have a number.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The weighted sum of what judges said of a completion.
    pub fn total(&self, scores: &[f64]) -> f64 {
        scores.iter().zip(&self.weights).map(|(s, w)| s * w).sum()
    }

    /// What every judge says of each completion.
    ///
    /// # Errors
    /// [`Error::BadReward`] that names the judge and the row.
    pub async fn score(&mut self, batch: &RewardBatch) -> Result<Vec<Vec<f64>>> {
        let mut of = vec![Vec::with_capacity(self.sources.len()); batch.len()];
        for (source, name) in self.sources.iter_mut().zip(&self.names) {
            let values = source.score(batch).await?;
            if values.len() != batch.len() {
                let message = format!("gave {} numbers for {} completions", values.len(), batch.len());
                return Err(batch.fault(name, values.len().min(batch.len().saturating_sub(1)), message));
            }
            for (i, (scores, value)) in of.iter_mut().zip(values).enumerate() {
                if !value.is_finite() {
                    return Err(batch.fault(name, i, format!("gave {value} for a completion, expected a number")));
                }
                scores.push(value);
            }
        }
        Ok(of)
    }
}
