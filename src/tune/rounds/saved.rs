//! A round in a checkpoint: a training that is resumed in the middle of one goes on bit for bit.

use serde::{Deserialize, Serialize};

use super::round::{Round, Rounds, Sample};
use crate::{Error, Result};

/// A completion. Floats are their bits: a text would have to be read back exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedSample {
    completion: Vec<u32>,
    text: String,
    seed: Option<u32>,
    scores: Vec<u64>,
    reward: u64,
    advantage: u64,
    old: Vec<u32>,
    entropies: Vec<u32>,
    reference: Vec<u32>,
    values: Vec<u32>,
}

/// What a checkpoint says of the rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::tune) struct Saved {
    /// Rounds begun, and tokens seen in them.
    begun: u64,
    tokens: u64,
    /// Micro-batches taken of the present round.
    at: usize,
    prompts: Vec<u32>,
    judges: Vec<String>,
    figures: Vec<(String, u64)>,
    samples: Vec<SavedSample>,
    /// What the method keeps from one round to the next.
    #[serde(default)]
    state: Vec<u64>,
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn floats(values: &[u32]) -> Vec<f32> {
    values.iter().map(|v| f32::from_bits(*v)).collect()
}

impl Rounds {
    pub(in crate::tune) fn save(&self) -> Saved {
        let round = self.present.as_ref().filter(|_| !self.is_done());
        let sample = |s: &Sample| SavedSample {
            completion: s.completion().to_vec(),
            text: s.text.clone(),
            seed: s.seed,
            scores: s.scores.iter().map(|v| v.to_bits()).collect(),
            reward: s.reward.to_bits(),
            advantage: s.advantage.to_bits(),
            old: bits(&s.old),
            entropies: bits(&s.entropies),
            reference: bits(&s.reference),
            values: bits(&s.values),
        };
        Saved {
            begun: self.begun,
            tokens: self.tokens,
            at: if round.is_some() { self.at } else { 0 },
            prompts: round.map_or_else(Vec::new, |r| r.prompts.clone()),
            judges: round.map_or_else(Vec::new, |r| r.judges.clone()),
            figures: round.map_or_else(Vec::new, |r| r.figures.iter().map(|(n, v)| (n.clone(), v.to_bits())).collect()),
            samples: round.map_or_else(Vec::new, |r| r.samples.iter().map(sample).collect()),
            state: self.state.iter().map(|v| v.to_bits()).collect(),
        }
    }

    /// The rounds as a checkpoint has them.
    ///
    /// # Errors
    /// [`Error::BadFile`] where it does not fit the dataset.
    pub(in crate::tune) fn restored(&self, file: &str, saved: &Saved) -> Result<Rounds> {
        let state = saved.state.iter().map(|v| f64::from_bits(*v)).collect();
        let mut out = Rounds { present: None, begun: saved.begun, tokens: saved.tokens, at: saved.at, state, ..self.clone() };
        let wrong = |what: String| Error::file(file, format!("its round {what}"));
        if saved.prompts.is_empty() {
            return Ok(out);
        }
        let (asked, per) = (saved.prompts.len(), self.plan.generations);
        if saved.samples.len() != asked * per {
            return Err(wrong(format!("has {} completions for {asked} prompts", saved.samples.len())));
        }
        if saved.at >= self.plan.micros(asked) * self.plan.iterations {
            return Err(wrong(format!("has no micro-batch {}", saved.at)));
        }
        let mut samples = Vec::with_capacity(saved.samples.len());
        for (i, s) in saved.samples.iter().enumerate() {
            let prompt = self.prompts.get(saved.prompts[i / per] as usize);
            let prompt = prompt.ok_or_else(|| wrong(format!("answers prompt {} of {}", saved.prompts[i / per], self.prompts.len())))?;
            let made = Sample::new(&prompt.ids, &s.completion, &self.ends, self.mask_cut);
            let n = made.judged();
            let fits = |v: &[u32]| v.is_empty() || v.len() == n;
            let places = s.values.is_empty() || (n..=n + 1).contains(&s.values.len());
            if !fits(&s.old) || !fits(&s.reference) || !places || s.scores.len() != saved.judges.len() {
                return Err(wrong(format!("has other numbers than completion {i} of {n} tokens")));
            }
            samples.push(Sample {
                text: s.text.clone(),
                seed: s.seed,
                scores: s.scores.iter().map(|v| f64::from_bits(*v)).collect(),
                reward: f64::from_bits(s.reward),
                advantage: f64::from_bits(s.advantage),
                old: floats(&s.old),
                entropies: floats(&s.entropies),
                reference: floats(&s.reference),
                values: floats(&s.values),
                ..made
            });
        }
        out.present = Some(Round {
            number: saved.begun.saturating_sub(1),
            prompts: saved.prompts.clone(),
            samples,
            judges: saved.judges.clone(),
            figures: saved.figures.iter().map(|(n, v)| (n.clone(), f64::from_bits(*v))).collect(),
        });
        Ok(out)
    }
}
