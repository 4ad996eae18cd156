//! What a round's rewards and completions are, in numbers that TRL logs.

use super::round::{Round, Rounds, Sample};
use crate::tune::methods::field::{Drawn, Good, Metric};
use crate::tune::metrics::Metrics;

/// Mean, 0 of nothing.
pub fn mean_of(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Standard deviation with n − 1; 0 of fewer than two.
pub fn std_of(values: &[f64]) -> f64 {
    let mean = mean_of(values);
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    if values.len() < 2 { 0.0 } else { (squares / (values.len() - 1) as f64).sqrt() }
}

/// Mean, smallest and largest of some values; zeros of none.
pub fn means(values: &[f64]) -> [f64; 3] {
    let fold = |f: fn(f64, f64) -> f64| values.iter().copied().reduce(f).unwrap_or(0.0);
    [mean_of(values), fold(f64::min), fold(f64::max)]
}

/// Tokens of a repeated run.
const RUN: usize = 3;

/// Share of a completion's runs of three tokens that stood in it before.
pub fn repetition(ids: &[u32]) -> f64 {
    let runs: Vec<&[u32]> = ids.windows(RUN).collect();
    let mut distinct = runs.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if runs.is_empty() { 0.0 } else { 1.0 - distinct.len() as f64 / runs.len() as f64 }
}

const NONE: f64 = f64::INFINITY;

const fn length(name: &'static str, help: &'static str) -> Metric {
    Metric::new(name, "tokens", Good::Neither, Drawn::With("completion lengths"), help).within(0.0, NONE)
}

/// What every round reports of its rewards and completions: the same in each of its updates.
pub const SHARED_METRICS: [Metric; 14] = [
    Metric::new("num_tokens", "tokens", Good::Neither, Drawn::Never, "Tokens of prompts and completions so far."),
    length("completions/mean_length", "Mean length of the round's completions."),
    length("completions/min_length", "Length of the shortest one."),
    length("completions/max_length", "Length of the longest one."),
    Metric::new("completions/clipped_ratio", "", Good::Down, Drawn::Alone, "Share of completions that did not end by themselves.")
        .within(0.0, 1.0),
    length("completions/mean_terminated_length", "Mean length of those that did; 0 where there is none."),
    length("completions/min_terminated_length", "Length of the shortest of those."),
    length("completions/max_terminated_length", "Length of the longest of those."),
    Metric::new(
        "completions/repetition",
        "",
        Good::Down,
        Drawn::Alone,
        "Share of runs of three tokens that stood in the same completion before. Not in TRL.",
    )
    .within(0.0, 1.0),
    Metric::new(
        "rewards/reward/mean",
        "",
        Good::Up,
        Drawn::Never,
        "Mean of a judge's rewards, one for each judge; replayed rewards are reward's.",
    ),
    Metric::new("rewards/reward/std", "", Good::Neither, Drawn::Never, "Their standard deviation."),
    Metric::new("reward", "", Good::Up, Drawn::Alone, "Mean reward of the round: of several judges, the weighted sum."),
    Metric::new("reward_std", "", Good::Neither, Drawn::Alone, "Standard deviation of the round's rewards."),
    Metric::new(
        "frac_reward_zero_std",
        "",
        Good::Down,
        Drawn::Alone,
        "Share of completions whose group's rewards are all the same: nothing is learned from them.",
    )
    .within(0.0, 1.0),
];

/// Those of rounds that have one completion of each prompt: no groups.
pub const UNGROUPED_METRICS: &[Metric] = SHARED_METRICS.split_at(13).0;

impl Rounds {
    /// Writes down what the present round's rewards and completions are. `flat` are the completions whose group says nothing.
    pub(in crate::tune) fn measure(&mut self, flat: f64) {
        let tokens = self.tokens + self.present.iter().flat_map(|r| &r.samples).map(|s| s.example.ids.len() as u64).sum::<u64>();
        if let Some(round) = &mut self.present {
            round.figures = figures(round, tokens as f64, flat);
        }
    }

    /// Sets what the present round reports.
    pub(in crate::tune) fn report(&self, metrics: &mut Metrics) {
        for (name, value) in self.present.iter().flat_map(|r| &r.figures) {
            metrics.set(name.clone(), *value);
        }
    }
}

fn figures(round: &Round, tokens: f64, flat: f64) -> Vec<(String, f64)> {
    let lengths =
        |keep: fn(&Sample) -> bool| -> Vec<f64> { round.samples.iter().filter(|s| keep(s)).map(|s| s.completion().len() as f64).collect() };
    let cut = round.samples.iter().filter(|s| s.cut).count() as f64 / round.samples.len().max(1) as f64;
    let repeated: Vec<f64> = round.samples.iter().map(|s| repetition(s.completion())).collect();
    let (all, ended) = (means(&lengths(|_| true)), means(&lengths(|s| !s.cut)));
    let mut out: Vec<(String, f64)> = Vec::new();
    let mut put = |name: &str, value: f64| out.push((name.to_string(), value));
    put("num_tokens", tokens);
    for (name, value) in ["mean", "min", "max"].into_iter().zip(all) {
        put(&format!("completions/{name}_length"), value);
    }
    put("completions/clipped_ratio", cut);
    for (name, value) in ["mean", "min", "max"].into_iter().zip(ended) {
        put(&format!("completions/{name}_terminated_length"), value);
    }
    put("completions/repetition", mean_of(&repeated));
    for (i, judge) in round.judges.iter().enumerate() {
        let scores: Vec<f64> = round.samples.iter().map(|s| s.scores[i]).collect();
        put(&format!("rewards/{judge}/mean"), mean_of(&scores));
        put(&format!("rewards/{judge}/std"), std_of(&scores));
    }
    let rewards: Vec<f64> = round.samples.iter().map(|s| s.reward).collect();
    put("reward", mean_of(&rewards));
    put("reward_std", std_of(&rewards));
    put("frac_reward_zero_std", flat);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_and_repetition() {
        assert_eq!((std_of(&[1.0]), std_of(&[1.0, 3.0])), (0.0, 2f64.sqrt()));
        assert_eq!((repetition(&[1, 2]), repetition(&[1, 2, 3, 4]), repetition(&[1, 1, 1, 1, 1])), (0.0, 0.0, 1.0 - 1.0 / 3.0));
        assert_eq!(means(&[]), [0.0; 3]);
    }
}
