//! Beam search as Transformers 5 has it: which beams go on and which are finished, from the logits of every step. Knows no device.

use super::options::{EarlyStopping, GenerateOptions};
use super::processors::{log_softmax, penalize, rule};
use crate::models::Rules;
use crate::{Error, Result};

/// What a place that nothing has finished in counts, and what those that must not be chosen lose.
const NOTHING: f32 = -1e9;

/// An answer that is being written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beam {
    pub tokens: Vec<u32>,
    /// ln p of each under the model.
    pub logps: Vec<f32>,
    /// Sum of what the processors have left of those; of a finished one divided by its length to the power of `length_penalty`.
    pub score: f32,
}

/// See the module.
pub struct Beams {
    options: GenerateOptions,
    rules: Rules,
    prompt: Vec<u32>,
    ends: Vec<u32>,
    limit: usize,
    running: Vec<Beam>,
    /// The best that have ended, the best one first; false where none has.
    finished: Vec<(Beam, bool)>,
    /// Can a running one still be better than the worst finished one?
    improvable: bool,
    done: bool,
}

impl Beams {
    /// `limit`: most tokens of an answer; `ends`: the tokens that end one.
    pub fn new(options: &GenerateOptions, rules: &Rules, prompt: &[u32], ends: &[u32], limit: usize) -> Beams {
        let nothing = || (Beam { score: NOTHING, ..Beam::default() }, false);
        let running = |i: usize| Beam { score: if i == 0 { 0.0 } else { NOTHING }, ..Beam::default() };
        Beams {
            running: (0..options.num_beams).map(running).collect(),
            finished: (0..options.num_beams).map(|_| nothing()).collect(),
            improvable: true,
            done: false,
            options: options.clone(),
            rules: rules.clone(),
            prompt: prompt.to_vec(),
            ends: ends.to_vec(),
            limit,
        }
    }

    /// Those that go on.
    pub fn running(&self) -> &[Beam] {
        &self.running
    }

    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Tokens of those that go on.
    pub fn len(&self) -> usize {
        self.running[0].tokens.len()
    }

    /// The best finished ones; where too few have finished (an abort), the best that were running.
    pub fn best(&self, n: usize) -> Vec<Beam> {
        let ended = self.finished.iter().filter(|f| f.1).map(|f| f.0.clone());
        ended.chain(self.running.iter().cloned()).take(n).collect()
    }

    /// One step: the logits behind every running beam, in their order. Gives the beam that each of those that go on came from.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for logits that say nothing; [`Error::BadConfig`] where the processors leave too few tokens.
    pub fn feed(&mut self, logits: &[&[f32]]) -> Result<Vec<usize>> {
        let (o, width) = (self.options.clone(), self.options.num_beams);
        let plain = logits.iter().map(|row| log_softmax(row)).collect::<Result<Vec<_>>>()?;
        // Of equal scores the first, as a stable order has it.
        let keep = (1 + self.ends.len()).max(2) * width;
        let mut top: Vec<(f32, usize, u32)> = Vec::with_capacity(keep + 1);
        for (b, (beam, logps)) in self.running.iter().zip(&plain).enumerate() {
            let mut left = logps.clone();
            let history = [&self.prompt[..], &beam.tokens].concat();
            penalize(&mut left, &o, &history);
            rule(&mut left, &self.rules, &history, beam.tokens.len(), self.limit);
            for (token, logp) in left.iter().enumerate() {
                let score = logp + beam.score;
                if top.len() < keep || score > top[keep - 1].0 {
                    let at = top.partition_point(|t| t.0 >= score);
                    top.insert(at, (score, b, token as u32));
                    top.truncate(keep);
                }
            }
        }
        if top[0].0 == f32::NEG_INFINITY {
            return Err(Error::config("no_repeat_ngram_size", "leaves no token that may follow"));
        }
        let length = self.len() + 1;
        let ended: Vec<bool> = top.iter().map(|t| self.ends.contains(&t.2) || length >= self.limit).collect();
        let longer = |(score, b, token): (f32, usize, u32)| {
            let mut beam = self.running[b].clone();
            beam.tokens.push(token);
            beam.logps.push(plain[b][token as usize]);
            beam.score = score;
            beam
        };
        let lost = |yes: bool| if yes { NOTHING } else { 0.0 };
        // Those that go on.
        let going = best(width, top.iter().zip(&ended).map(|(t, ended)| t.0 + lost(*ended)));
        let running = going.iter().map(|(at, score)| (top[*at].1, Beam { score: *score, ..longer(top[*at]) }));
        let (parents, running): (Vec<usize>, Vec<Beam>) = running.unzip();
        // Those that have ended; only the best of a step may.
        let full = self.finished.iter().all(|f| f.1) && o.early_stopping == EarlyStopping::True;
        let over = |length: usize| (length as f64).powf(f64::from(o.length_penalty)) as f32;
        let new = |(i, t): (usize, &(f32, usize, u32))| {
            let ends = ended[i] && i < width;
            t.0 / over(length) + lost(full) + lost(!self.improvable) + lost(!ends)
        };
        let scores = self.finished.iter().map(|f| f.0.score).chain(top.iter().enumerate().map(new));
        let merged = best(width, scores);
        let of = |(at, score): &(usize, f32)| match at.checked_sub(width) {
            None => self.finished[*at].clone(),
            Some(i) => (Beam { score: *score, ..longer(top[i]) }, ended[i] && i < width),
        };
        let finished: Vec<(Beam, bool)> = merged.iter().map(of).collect();
        (self.running, self.finished) = (running, finished);
        // What the best running one may come to.
        let longest = if o.early_stopping == EarlyStopping::Never && o.length_penalty > 0.0 { self.limit } else { length };
        let possible = self.running[0].score / over(longest);
        let worst = self.finished.iter().fold(f32::INFINITY, |m, f| m.min(f.0.score));
        self.improvable &= self.finished.iter().any(|f| possible > if f.1 { worst } else { NOTHING });
        let satisfied = self.finished.iter().all(|f| f.1) && o.early_stopping == EarlyStopping::True;
        self.done = !self.improvable || satisfied || ended.iter().all(|e| *e);
        Ok(parents)
    }
}

/// Places and scores of the `n` best, the best one first, of equal ones the first.
fn best(n: usize, scores: impl Iterator<Item = f32>) -> Vec<(usize, f32)> {
    let mut all: Vec<(usize, f32)> = scores.enumerate().collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all.truncate(n);
    all
}
