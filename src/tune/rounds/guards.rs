//! Limits at which a training stops by itself: a policy that learns from rewards may find what nobody meant.

use crate::tune::methods::field::{Default, Field, Group, Kind, Shown};
use crate::tune::metrics::Metrics;
use crate::tune::values::Values;

const ANY: Kind = Kind::Number { low: -1e30, high: 1e30, step: 0.1 };

const fn guard(name: &'static str, help: &'static str) -> Field {
    Field::new(name, Group::Method, ANY, Default::Unset, help).shown(Shown::Never)
}

/// Fields of all methods that learn in rounds.
pub const GUARDS: [Field; 6] = [
    guard("stop_kl", "Stops where kl/base, the exact distance to the base model, is above this. Not in TRL."),
    guard("stop_entropy", "Stops where entropy is below this: there is hardly more than one answer left. Not in TRL."),
    guard("stop_length", "Stops where completions/mean_length is above this. Not in TRL."),
    guard("stop_length_below", "Stops where completions/mean_length is below this. Not in TRL."),
    guard("stop_repetition", "Stops where completions/repetition is above this. Not in TRL."),
    guard("stop_reward", "Stops where reward is at least this: what was wanted is reached. Not in TRL."),
];

/// Field, metric, and whether it stops above (or at) the limit rather than below it.
const WATCHED: [(&str, &str, bool); 6] = [
    ("stop_kl", "kl/base", true),
    ("stop_entropy", "entropy", false),
    ("stop_length", "completions/mean_length", true),
    ("stop_length_below", "completions/mean_length", false),
    ("stop_repetition", "completions/repetition", true),
    ("stop_reward", "reward", true),
];

/// The limits of a training.
#[derive(Clone, Debug, std::default::Default, PartialEq)]
pub struct Guards(Vec<(&'static str, &'static str, bool, f64)>);

impl Guards {
    /// Those that are set.
    pub(in crate::tune) fn read(values: &Values) -> Guards {
        let set = |(field, metric, above): (&'static str, &'static str, bool)| Some((field, metric, above, values.opt_number(field)?));
        Guards(WATCHED.into_iter().filter_map(set).collect())
    }

    /// True where the distance to the base model is watched.
    pub(in crate::tune) fn watches_kl(&self) -> bool {
        self.0.iter().any(|g| g.1 == "kl/base")
    }

    /// Why a training has to stop behind this update, if it has.
    pub fn reason(&self, step: u64, metrics: &Metrics) -> Option<String> {
        self.0.iter().find_map(|(field, metric, above, limit)| {
            let value = metrics.get(metric)?;
            let over = if *above { value > *limit || (*metric == "reward" && value >= *limit) } else { value < *limit };
            let what = if *above { "above" } else { "below" };
            let what = if *metric == "reward" { "at" } else { what };
            over.then(|| format!("stopped behind update {step}: {metric} is {value:.4}, {what} {field} {limit}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_stop_with_a_reason() {
        let guards =
            Guards(vec![("stop_kl", "kl/base", true, 0.5), ("stop_entropy", "entropy", false, 0.1), ("stop_reward", "reward", true, 1.0)]);
        let with = |name: &'static str, value: f64| {
            let mut m = Metrics::new(0.0);
            m.set(name, value);
            guards.reason(7, &m)
        };
        assert_eq!(with("kl/base", 0.5), None);
        assert!(with("kl/base", 0.6).is_some_and(|r| r.contains("update 7") && r.contains("0.6000, above stop_kl 0.5")));
        assert!(with("entropy", 0.05).is_some_and(|r| r.contains("below stop_entropy 0.1")));
        assert!(with("entropy", 0.2).is_none() && with("reward", 1.0).is_some() && with("kl", 9.0).is_none());
    }
}
