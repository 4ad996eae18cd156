//! The method that GRPO and RLOO share: clipped ratios of the policy that learns and the one that wrote, times advantages.

use super::figures::mean_of;
use super::round::{Round, Rounds, Sample};
use crate::Result;
use crate::data::{BatchShape, Example};
use crate::graph::{Desc, Program, Tape};
use crate::ops::loss::{POLICY_METRICS, POLICY_NUMBERS, PolicyLoss, PolicyNumbers};
use crate::tune::method::{Method, Recorded, digest};
use crate::tune::metrics::Metrics;
use crate::tune::micro::Micro;
use crate::tune::signals::Signals;

/// What a micro-batch is a part of.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Completions of the micro-batch, and the tokens of them that are judged.
    pub completions: usize,
    pub tokens: usize,
    /// Micro-batches of the update.
    pub micros: usize,
    /// Judged tokens of an update, on average over the round.
    pub update_tokens: f64,
}

/// How a round is turned into numbers.
pub trait Estimator: 'static {
    /// By which the table of methods knows the method.
    fn name(&self) -> &'static str;

    /// Sets the samples' advantages; gives the share of samples whose group's rewards are all the same.
    fn advantages(&self, round: &mut Round, generations: usize) -> f64;

    /// What a token of a completion of `n` judged tokens counts in the loss.
    fn weight(&self, n: usize, share: &Share) -> f64;

    /// What a completion of `n` judged tokens multiplies the sum of its log ratios with.
    fn step(&self, _n: usize) -> f64 {
        1.0
    }

    /// What a completion whose tokens are masked adds to the value of the loss: its ratio is 1 and learns nothing.
    fn masked_loss(&self, _advantage: f64, _share: &Share) -> f64 {
        0.0
    }

    /// Metrics of its own, of the present round.
    fn report(&self, _round: &Round, _metrics: &mut Metrics) {}

    /// Its arguments, by TRL's names.
    fn arguments(&self) -> Vec<(&'static str, String)>;
}

/// What all estimators have.
#[derive(Clone, Debug)]
pub struct PolicyOptions {
    pub numbers: PolicyNumbers,
    /// Logits are divided by it wherever they are judged.
    pub temperature: f64,
}

/// See the module.
pub struct Policy {
    rounds: Rounds,
    options: PolicyOptions,
    estimator: Box<dyn Estimator>,
}

impl Policy {
    pub fn new(rounds: Rounds, options: PolicyOptions, estimator: Box<dyn Estimator>) -> Policy {
        Policy { rounds, options, estimator }
    }

    fn samples(&self, rows: &[u32]) -> Vec<&Sample> {
        rows.iter().map(|r| self.rounds.sample(*r)).collect()
    }

    fn share(&self, micro: &Micro, micros: usize) -> Share {
        Share {
            completions: micro.rows.len(),
            tokens: micro.batch.counted,
            micros,
            update_tokens: self.rounds.tokens_per_micro() * micros as f64,
        }
    }
}

/// Means over a micro-batch of what the loss says of its tokens.
#[derive(Default)]
struct Clipped {
    kl: f64,
    low: f64,
    high: f64,
    low_min: f64,
    high_max: f64,
}

impl Clipped {
    /// `sequence`: one value for each completion, not for each token.
    fn of(words: &[f32], lens: &[usize], sequence: bool) -> Clipped {
        let mut at = words.chunks(POLICY_METRICS);
        let of: Vec<Vec<&[f32]>> = lens.iter().map(|n| at.by_ref().take(*n).collect()).collect();
        let tokens: f64 = lens.iter().sum::<usize>().max(1) as f64;
        let sum = |k: usize| of.iter().flatten().map(|w| f64::from(w[k])).sum::<f64>();
        let own = |k: usize| -> Vec<f64> {
            let mean = |ws: &Vec<&[f32]>| ws.iter().map(|w| f64::from(w[k])).sum::<f64>() / ws.len() as f64;
            // A completion that is masked has no ratios of tokens; as a whole it has the ratio 1.
            of.iter().filter(|ws| sequence || !ws.is_empty()).map(|ws| if ws.is_empty() { 0.0 } else { mean(ws) }).collect()
        };
        let (low, high) = (own(2), own(3));
        let mean = |own: &[f64], k: usize| if sequence { own.iter().sum::<f64>() / lens.len().max(1) as f64 } else { sum(k) / tokens };
        Clipped {
            kl: sum(1) / tokens,
            low: mean(&low, 2),
            high: mean(&high, 3),
            low_min: low.iter().copied().reduce(f64::min).unwrap_or(0.0),
            high_max: high.iter().copied().reduce(f64::max).unwrap_or(0.0),
        }
    }
}

impl Method for Policy {
    fn name(&self) -> &'static str {
        self.estimator.name()
    }

    fn digest(&self) -> String {
        digest(self.rounds.words())
    }

    fn rows(&self) -> usize {
        self.rounds.prompts().len()
    }

    fn examples(&self, rows: &[u32]) -> Vec<&Example> {
        self.samples(rows).into_iter().map(|s| &s.example).collect()
    }

    fn record(&self, tape: &mut Tape, shape: &BatchShape, signals: &mut Signals<'_>) -> Result<Recorded> {
        let (logp, seq) = (signals.logps(tape)?, signals.seq(tape));
        let tokens = tape.input("tokens", Desc::f32(&[shape.rows, 4]));
        let steps = tape.input("steps", Desc::f32(&[shape.seqs]));
        let numbers = tape.input("numbers", Desc::f32(&[POLICY_NUMBERS]));
        let out = tape.push(PolicyLoss, &[logp, seq, tokens, steps, numbers])?;
        Ok(Recorded { metrics: out[0], seeds: vec![(logp, out[1])] })
    }

    fn metric_words(&self, shape: &BatchShape) -> usize {
        POLICY_METRICS * shape.rows
    }

    fn write(&self, program: &Program, micro: &Micro, all: &[Micro]) {
        let share = self.share(micro, all.len());
        let mut tokens = vec![0f32; 4 * micro.shape.rows];
        let mut places = tokens.chunks_mut(4);
        let mut steps = Vec::with_capacity(micro.rows.len());
        for s in self.samples(&micro.rows) {
            let n = s.judged();
            let weight = self.estimator.weight(n, &share) as f32;
            steps.push(self.estimator.step(n) as f32);
            for t in 0..n {
                let at = |known: &[f32]| known.get(t).copied().unwrap_or(0.0);
                let place = places.next().expect("a place for every judged token");
                place.copy_from_slice(&[at(&s.old), at(&s.reference), weight, s.advantage as f32]);
            }
        }
        program.write("tokens", &tokens);
        program.write("steps", &steps);
        program.write("numbers", &self.options.numbers.words());
    }

    fn metrics(&self, micros: &[Micro], words: &[Vec<f32>]) -> Metrics {
        let (mut loss, mut seen) = (0.0, Vec::new());
        for (micro, words) in micros.iter().zip(words) {
            let share = self.share(micro, micros.len());
            let samples = self.samples(&micro.rows);
            let lens: Vec<usize> = samples.iter().map(|s| s.judged()).collect();
            loss += samples.iter().filter(|s| s.judged() == 0).map(|s| self.estimator.masked_loss(s.advantage, &share)).sum::<f64>();
            let mut at = words.chunks(POLICY_METRICS);
            for n in &lens {
                let weight = self.estimator.weight(*n, &share);
                loss += at.by_ref().take(*n).map(|w| weight * f64::from(w[0])).sum::<f64>();
            }
            seen.push(Clipped::of(words, &lens, self.options.numbers.sequence));
        }
        let mean = |of: fn(&Clipped) -> f64| mean_of(&seen.iter().map(of).collect::<Vec<_>>());
        let mut metrics = Metrics::new(loss);
        if self.options.numbers.beta != 0.0 {
            metrics.set("kl", mean(|c| c.kl));
        }
        if let Some(round) = self.rounds.round() {
            self.estimator.report(round, &mut metrics);
        }
        metrics.set("clip_ratio/low_mean", mean(|c| c.low));
        metrics.set("clip_ratio/low_min", mean(|c| c.low_min));
        metrics.set("clip_ratio/high_mean", mean(|c| c.high));
        metrics.set("clip_ratio/high_max", mean(|c| c.high_max));
        metrics.set("clip_ratio/region_mean", mean(|c| c.low + c.high));
        self.rounds.report(&mut metrics);
        metrics
    }

    fn arguments(&self) -> Vec<(&'static str, String)> {
        let (n, plan) = (&self.options.numbers, self.rounds.plan());
        let mut all = vec![
            ("num_generations", plan.generations.to_string()),
            ("generation_batch_size", (plan.prompts * plan.generations).to_string()),
            ("num_iterations", plan.iterations.to_string()),
            ("epsilon", n.clip[0].to_string()),
            ("epsilon_high", n.clip[1].to_string()),
            ("temperature", self.options.temperature.to_string()),
        ];
        all.extend(self.estimator.arguments());
        all
    }

    fn rounds(&self) -> Option<&Rounds> {
        Some(&self.rounds)
    }

    fn rounds_mut(&mut self) -> Option<&mut Rounds> {
        Some(&mut self.rounds)
    }

    fn weigh(&mut self) {
        let generations = self.rounds.plan().generations;
        let Some(round) = self.rounds.round_mut() else { return };
        let flat = self.estimator.advantages(round, generations);
        self.rounds.measure(flat);
    }

    fn temperature(&self) -> f32 {
        self.options.temperature as f32
    }
}
