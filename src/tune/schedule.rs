//! Learning-rate schedules, as in Transformers' `get_scheduler`.

use serde::{Deserialize, Serialize};

/// `lr_scheduler_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerType {
    /// The same rate throughout; warm-up is ignored, as in Transformers.
    Constant,
    ConstantWithWarmup,
    /// Down to 0 at the last step.
    #[default]
    Linear,
    /// Half a cosine down to 0.
    Cosine,
}

impl SchedulerType {
    /// All names, for messages.
    pub const NAMES: &'static str = "constant, constant_with_warmup, linear, cosine";

    /// By its name in a configuration.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "constant" => SchedulerType::Constant,
            "constant_with_warmup" => SchedulerType::ConstantWithWarmup,
            "linear" => SchedulerType::Linear,
            "cosine" => SchedulerType::Cosine,
            _ => return None,
        })
    }
}

/// A schedule over a known number of updates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    pub kind: SchedulerType,
    pub learning_rate: f64,
    pub warmup_steps: u64,
    pub total_steps: u64,
}

impl Schedule {
    /// The rate of update `step`, counted from 0. With a warm-up the first update has rate 0.
    pub fn at(&self, step: u64) -> f64 {
        let (warm, total) = (self.warmup_steps, self.total_steps);
        if step < warm && self.kind != SchedulerType::Constant {
            return self.learning_rate * step as f64 / warm.max(1) as f64;
        }
        let left = total.saturating_sub(warm).max(1) as f64;
        let factor = match self.kind {
            SchedulerType::Constant | SchedulerType::ConstantWithWarmup => 1.0,
            SchedulerType::Linear => (total.saturating_sub(step) as f64 / left).max(0.0),
            SchedulerType::Cosine => {
                let progress = (step - warm) as f64 / left;
                (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0)
            }
        };
        self.learning_rate * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(kind: SchedulerType, warmup_steps: u64) -> Vec<f64> {
        let s = Schedule { kind, learning_rate: 1.0, warmup_steps, total_steps: 10 };
        (0..11).map(|i| s.at(i)).collect()
    }

    #[test]
    fn shapes() {
        assert_eq!(rates(SchedulerType::Constant, 3), vec![1.0; 11]);
        assert_eq!(rates(SchedulerType::ConstantWithWarmup, 2)[..4], [0.0, 0.5, 1.0, 1.0]);
        let linear = rates(SchedulerType::Linear, 2);
        assert_eq!(linear[..3], [0.0, 0.5, 1.0]);
        assert!((linear[3] - 0.875).abs() < 1e-15 && linear[10] == 0.0);
        let cosine = rates(SchedulerType::Cosine, 0);
        assert!((cosine[0] - 1.0).abs() < 1e-15 && (cosine[5] - 0.5).abs() < 1e-15 && cosine[10].abs() < 1e-15);
    }

    #[test]
    fn warm_up_longer_than_training() {
        let s = Schedule { kind: SchedulerType::Linear, learning_rate: 1.0, warmup_steps: 20, total_steps: 10 };
        assert_eq!(s.at(9), 0.45);
        assert_eq!(s.at(20), 0.0);
    }
}
