//! Odds ratio preference optimization (Hong et al. 2024): the negative log-likelihood of the chosen sequences, prompt included, and
//! −β·ln σ of the log odds ratio of the answers' mean log-probabilities. There is no reference policy. Means over the pairs (the first term: over
//! the tokens) of a micro-batch, then over the micro-batches of an update; so are the metrics.

use super::field::{Default, Drawn, Good, Metric, en};
use super::shared;
use super::table::MethodInfo;
use super::trl::fixed;
use crate::data::{BatchShape, Example, Pair, RowKind};
use crate::graph::{Desc, Program, Tape};
use crate::ops::loss::{METRICS, OrpoLoss, SequenceSums};
use crate::tune::method::{Method, Recorded, digest};
use crate::tune::metrics::Metrics;
use crate::tune::micro::Micro;
use crate::tune::signals::Signals;
use crate::{Error, Result};

pub const INFO: MethodInfo = MethodInfo {
    name: "orpo",
    title: "ORPO",
    learns: en("From rankings, no reference"),
    what: en(
        "Odds ratio preference optimization: imitates the better of two answers and makes the other one less likely, without a reference policy.",
    ),
    config: "ORPOConfig",
    notes: &[
        "Hong et al. (2024): nll − β·ln σ(log odds), the log odds from the answers' mean log-probabilities per token; nll is the mean over prompt \
         and answer tokens of the chosen sequences of a micro-batch, as TRL computes it.",
        "rewards/* are β times the mean log-probabilities. TRL's logits/* average over padding and are left out.",
    ],
    rows: RowKind::Preference,
    fields: &[shared::beta("Weight of the odds ratio beside the imitation (the paper's λ).")],
    defaults: &[("learning_rate", Default::Number(1e-4))],
    without: &[],
    fixed: &[fixed("is_encoder_decoder", &["null", "false"], ""), fixed("generate_during_eval", &["false"], "")],
    metrics: &[
        Metric::new("loss", "nats", Good::Down, Drawn::Alone, "nll_loss − β · log_odds_ratio."),
        shared::KL,
        shared::ENTROPY,
        Metric::new("rewards/chosen", "", Good::Up, Drawn::With("rewards"), "β · mean log-probability of the chosen answer's tokens."),
        Metric::new("rewards/rejected", "", Good::Neither, Drawn::With("rewards"), "The same of the rejected answer."),
        Metric::new("rewards/margins", "", Good::Up, Drawn::Alone, "Chosen minus rejected."),
        Metric::new("rewards/accuracies", "", Good::Up, Drawn::Alone, "Share of pairs whose chosen answer has the higher reward.")
            .within(0.0, 1.0),
        Metric::new("logps/chosen", "nats", Good::Up, Drawn::Never, "Mean log-probability of the chosen answer's tokens."),
        Metric::new("logps/rejected", "nats", Good::Neither, Drawn::Never, "The same of the rejected answer."),
        Metric::new("nll_loss", "nats", Good::Down, Drawn::Alone, "Mean negative log-likelihood of the chosen sequences' tokens."),
        Metric::new("log_odds_ratio", "", Good::Up, Drawn::Never, "ln σ of the log odds."),
        Metric::new("log_odds_chosen", "", Good::Up, Drawn::Alone, "The log odds: above 0 where the chosen answer is the likelier one."),
    ],
    more_metrics: &[],
    idle: |values| match values.number("beta") {
        0.0 => vec!["beta is 0: nothing is learned from the rejected answers".into()],
        _ => Vec::new(),
    },
    whole: |_| false,
    build: |reader, values, rows| Ok(Box::new(Orpo::new(reader.preferences(rows)?, values.number("beta"))?)),
};

/// A pair whose chosen sequence is judged from its second token on.
struct Row {
    chosen: Example,
    rejected: Example,
    /// Judged tokens of the chosen sequence that belong to the prompt.
    prompt: usize,
}

impl Row {
    /// Tokens of the two answers.
    fn answers(&self) -> [usize; 2] {
        [self.chosen.counted() - self.prompt, self.rejected.counted()]
    }
}

/// See the module.
pub struct Orpo {
    rows: Vec<Row>,
    beta: f32,
}

impl Orpo {
    /// # Errors
    /// [`Error::BadConfig`] for a pair with a weight: the loss has none.
    pub fn new(pairs: Vec<Pair>, beta: f64) -> Result<Orpo> {
        let mut rows = Vec::with_capacity(pairs.len());
        for Pair { mut chosen, rejected, weight } in pairs {
            if weight != 1.0 {
                return Err(Error::config("weight", format!("is {weight} in a row; ORPO has no weights of pairs: leave the column out")));
            }
            let judged = chosen.counted();
            chosen.labels.clone_from(&chosen.ids);
            let prompt = chosen.counted() - judged;
            rows.push(Row { chosen, rejected, prompt });
        }
        Ok(Orpo { rows, beta: beta as f32 })
    }

    fn of(&self, row: u32) -> &Row {
        &self.rows[row as usize]
    }
}

impl Method for Orpo {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn digest(&self) -> String {
        digest(self.rows.iter().flat_map(|r| {
            [&r.chosen.ids, &r.chosen.labels, &r.rejected.ids, &r.rejected.labels]
                .map(Vec::clone)
                .into_iter()
                .chain([vec![r.prompt as u32]])
        }))
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    /// All chosen, then all rejected.
    fn examples(&self, rows: &[u32]) -> Vec<&Example> {
        rows.iter().map(|r| &self.of(*r).chosen).chain(rows.iter().map(|r| &self.of(*r).rejected)).collect()
    }

    fn record(&self, tape: &mut Tape, shape: &BatchShape, signals: &mut Signals<'_>) -> Result<Recorded> {
        let pairs = shape.seqs / 2;
        let logp = signals.logps(tape)?;
        let part = tape.input("part", Desc::u32(&[shape.rows]));
        let sums = tape.push1(SequenceSums::new(3 * pairs), &[logp, part])?;
        let counts = tape.input("counts", Desc::f32(&[2 * pairs]));
        let numbers = tape.input("numbers", Desc::f32(&[3]));
        let out = tape.push(OrpoLoss, &[sums, counts, numbers])?;
        Ok(Recorded { metrics: out[0], seeds: vec![(sums, out[1])] })
    }

    fn metric_words(&self, shape: &BatchShape) -> usize {
        METRICS * (shape.seqs / 2)
    }

    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![("beta", self.beta.to_string())]
    }

    fn write(&self, program: &Program, micro: &Micro, all: &[Micro]) {
        let pairs = micro.rows.len();
        // The chosen sequences' first judged tokens are their prompts: a part of their own.
        let mut left: Vec<usize> = micro.rows.iter().map(|r| self.of(*r).prompt).collect();
        let part = |s: &u32| match left.get_mut(*s as usize) {
            Some(n) if *n > 0 => {
                *n -= 1;
                2 * pairs as u32 + s
            }
            _ => *s,
        };
        let parts: Vec<u32> = micro.batch.seqs.iter().map(part).collect();
        program.write("part", &parts);
        let of = |side: usize| micro.rows.iter().map(move |r| self.of(*r).answers()[side] as f32);
        program.write("counts", &of(0).chain(of(1)).collect::<Vec<f32>>());
        let tokens: usize = micro.rows.iter().map(|r| self.of(*r).chosen.counted()).sum();
        let n = all.len() as f32;
        program.write("numbers", &[self.beta, 1.0 / (pairs as f32 * n), 1.0 / (tokens as f32 * n)]);
    }

    fn metrics(&self, micros: &[Micro], words: &[Vec<f32>]) -> Metrics {
        let (mut nll, mut means) = (0.0, [0.0; 5]);
        for (micro, words) in micros.iter().zip(words) {
            let tokens: usize = micro.rows.iter().map(|r| self.of(*r).chosen.counted()).sum();
            let share = 1.0 / (micro.rows.len() * micros.len()) as f64;
            for w in words.chunks(METRICS).take(micro.rows.len()) {
                let at = |i: usize| f64::from(w[i]);
                nll += at(0) / (tokens * micros.len()) as f64;
                let values = [at(1), at(2), at(3), at(4), f64::from(u8::from(w[1] > w[2]))];
                means.iter_mut().zip(values).for_each(|(m, v)| *m += share * v);
            }
        }
        let [chosen, rejected, odds, ratio, right] = means;
        let beta = f64::from(self.beta);
        let mut metrics = Metrics::new(nll - beta * ratio);
        for (name, value) in [
            ("rewards/chosen", beta * chosen),
            ("rewards/rejected", beta * rejected),
            ("rewards/margins", beta * (chosen - rejected)),
            ("rewards/accuracies", right),
            ("logps/chosen", chosen),
            ("logps/rejected", rejected),
            ("nll_loss", nll),
            ("log_odds_ratio", ratio),
            ("log_odds_chosen", odds),
        ] {
            metrics.set(name, value);
        }
        metrics
    }
}
