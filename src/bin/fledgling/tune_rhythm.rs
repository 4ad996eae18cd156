//! How often `tune` reports and saves: Transformers' fields of a configuration, which are the command line's own matter.

use fledgling::tune::{Metrics, StepMetrics, Training};
use serde_json::{Map, Value};

/// When something happens: never, every so many updates, at a share of all, or behind every epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Every {
    Never,
    Steps(u64),
    Share(f64),
    Epoch,
}

impl Every {
    /// `<what>_strategy` and `<what>_steps`, taken out of the configuration; what they say that is not known stays there and is refused.
    fn take(map: &mut Map<String, Value>, what: &str, default: u64) -> Option<Every> {
        let (strategy, steps) = (format!("{what}_strategy"), format!("{what}_steps"));
        let number = |v: &Value| match v.as_f64() {
            Some(n) if n >= 1.0 && n.fract() == 0.0 && n < 1e15 => Some(Every::Steps(n as u64)),
            Some(n) if n > 0.0 && n < 1.0 => Some(Every::Share(n)),
            _ => None,
        };
        let asked = map.get(&steps).filter(|v| !v.is_null()).map(number);
        if matches!(asked, Some(None)) {
            return None;
        }
        let asked = asked.flatten();
        let every = match map.get(&strategy).and_then(Value::as_str) {
            Some("no") => Some(Every::Never),
            Some("epoch") => Some(Every::Epoch),
            Some("steps") => Some(asked.unwrap_or(Every::Steps(default))),
            // Null, or something that is refused.
            _ => asked,
        };
        if every.is_some() {
            map.shift_remove(&strategy);
            map.shift_remove(&steps);
        }
        every
    }

    /// Updates between two.
    fn steps(self, training: &Training) -> Option<u64> {
        match self {
            Every::Never => None,
            Every::Steps(n) => Some(n),
            Every::Share(share) => Some(((training.total_steps() as f64 * share).ceil() as u64).max(1)),
            Every::Epoch => Some(training.steps_per_epoch()),
        }
    }
}

/// What a configuration says of both.
#[derive(Clone, Copy)]
pub struct Asked {
    save: Option<Every>,
    log: Option<Every>,
}

impl Asked {
    /// Takes the fields out of a configuration. `--save-steps` goes over them.
    pub fn take(map: &mut Map<String, Value>, save_steps: Option<u64>) -> Asked {
        let save = Every::take(map, "save", 500);
        let option = save_steps.map(|n| if n > 0 { Every::Steps(n) } else { Every::Never });
        Asked { save: option.or(save), log: Every::take(map, "logging", 10) }
    }

    pub fn of(self, training: &Training) -> Rhythm {
        Rhythm {
            save: self.save.and_then(|every| every.steps(training)),
            keeps: self.save.is_some_and(|every| every != Every::Never),
            log: self.log.map_or(Some(1), |every| every.steps(training)),
            waiting: Vec::new(),
        }
    }
}

/// The same for a training that is there.
pub struct Rhythm {
    save: Option<u64>,
    keeps: bool,
    log: Option<u64>,
    waiting: Vec<StepMetrics>,
}

impl Rhythm {
    /// Whether a checkpoint is due behind so many updates.
    pub fn saves(&self, steps: u64) -> bool {
        self.save.is_some_and(|n| steps.is_multiple_of(n))
    }

    /// Whether there is one at the end.
    pub fn keeps(&self) -> bool {
        self.keeps
    }

    /// What is to be reported behind this update: means of all since the last report, as Transformers logs them. The first and the last update are
    /// always among them.
    pub fn report(&mut self, m: StepMetrics) -> Option<StepMetrics> {
        let n = self.log?;
        let due = m.step == 1 || m.step.is_multiple_of(n) || m.step == m.total_steps;
        self.waiting.push(m);
        due.then(|| mean(std::mem::take(&mut self.waiting)))
    }
}

/// The last one, with the means of all under the names of each.
fn mean(all: Vec<StepMetrics>) -> StepMetrics {
    let over = |name: &str| {
        let values: Vec<f64> = all.iter().filter_map(|m| m.metrics.get(name)).collect();
        values.iter().sum::<f64>() / values.len().max(1) as f64
    };
    let mut metrics = Metrics::new(over("loss"));
    for (name, _) in all.iter().flat_map(|m| m.metrics.iter()) {
        metrics.set(name.to_string(), over(name));
    }
    let speed = all.iter().map(|m| m.tokens_per_second).sum::<f64>() / all.len().max(1) as f64;
    let last = all.into_iter().next_back().unwrap_or_default();
    StepMetrics { metrics, tokens_per_second: speed, ..last }
}
