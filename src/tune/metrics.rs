//! What an update reports: named values.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// Means over an update, in order, under TRL's names. What each is (its unit, which direction is good) stands in the method's table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(Vec<(Cow<'static, str>, f64)>);

impl Metrics {
    /// `loss` is always there and comes first.
    pub fn new(loss: f64) -> Metrics {
        Metrics(vec![("loss".into(), loss)])
    }

    /// Sets a value; a new one comes last.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: f64) {
        let name = name.into();
        match self.0.iter_mut().find(|m| m.0 == name) {
            Some(m) => m.1 = value,
            None => self.0.push((name, value)),
        }
    }

    /// Sets a new value behind the loss.
    pub(super) fn set_second(&mut self, name: &'static str, value: f64) {
        self.0.insert(1.min(self.0.len()), (name.into(), value));
    }

    /// The value of a name, if this update has one.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|m| m.0 == name).map(|m| m.1)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> + '_ {
        self.0.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// What was minimized.
    pub fn loss(&self) -> f64 {
        self.get("loss").unwrap_or(f64::NAN)
    }

    /// The method's own measure of distance to its reference (KTO), or that to the base model at the update's judged positions ([`super::kl`]),
    /// before the update. `None` where it is switched off (`report_kl`) or all weights are trained.
    pub fn kl(&self) -> Option<f64> {
        self.get("kl")
    }
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// One update, as it is reported.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StepMetrics {
    /// Updates so far, this one included.
    pub step: u64,
    pub total_steps: u64,
    /// Passes over the data so far.
    pub epoch: f64,
    #[serde(flatten)]
    pub metrics: Metrics,
    /// The rate this update used.
    pub learning_rate: f64,
    /// Before clipping.
    pub grad_norm: f64,
    /// Tokens read so far, without padding.
    pub tokens: u64,
    /// Of this update: since the one before it was known.
    pub tokens_per_second: f64,
    pub seconds_left: f64,
}
