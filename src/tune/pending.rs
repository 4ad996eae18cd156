//! An update that has been handed to the device, and its numbers when it is done.

use super::kl::RowCache;
use super::method::Method;
use super::metrics::{Metrics, StepMetrics};
use super::micro::Micro;
use crate::data::Sampler;
use crate::graph::{Mark, Mem};
use crate::{Error, Result};

/// An update that has been submitted and not reported.
pub(super) struct Pending {
    pub micros: Vec<Micro>,
    /// What its micro-batches wrote, and the norm behind it.
    pub staging: Mem,
    pub bytes: u64,
    pub mark: Mark,
    pub begun: f64,
    /// What is known of it beforehand.
    pub known: StepMetrics,
    /// Sampler, updates, micro-batches, tokens and place in the round before it.
    pub before: (Sampler, u64, u64, u64, usize),
}

/// What is read back of a micro-batch, in words: metrics, what tells its distance to the base (with `moves`), entropies.
pub(super) fn words(method: &dyn Method, moves: bool, m: &Micro) -> [(&'static str, usize); 4] {
    let (metrics, rows) = (method.metric_words(&m.shape), m.shape.rows);
    let moved = if moves { rows } else { 0 };
    [("metrics", metrics), ("logp", moved), ("towards", moved), ("spread", if method.judges_tokens() { 2 * rows } else { 0 })]
}

impl Pending {
    /// Metrics and the gradient's norm from what the update wrote; `base` where the distance to the base model is reported.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when the loss or the gradient is no number any more.
    pub fn numbers(&self, values: &[f32], method: &dyn Method, base: Option<&RowCache>) -> Result<(Metrics, f64)> {
        let mut written = Vec::with_capacity(self.micros.len());
        let judged = self.micros.iter().map(|m| m.batch.counted).sum::<usize>().max(1) as f64;
        let (mut from, mut moved, mut entropy) = (0, 0.0, 0.0);
        for m in &self.micros {
            let [metrics, logps, towards, spread] = words(method, base.is_some(), m).map(|(_, words)| {
                from += words;
                &values[from - words..from]
            });
            written.push(metrics.to_vec());
            moved += base.map_or(0.0, |base| base.sum_kl(m, logps, towards));
            entropy += spread.iter().step_by(2).map(|v| f64::from(*v)).sum::<f64>();
        }
        let mut metrics = method.metrics(&self.micros, &written);
        if method.judges_tokens() {
            metrics.set_second("entropy", entropy / judged);
            method.entropy_also().into_iter().for_each(|name| metrics.set(name, entropy / judged));
        }
        if base.is_some() {
            // Never below 0, but for rounding.
            metrics.set_second(method.kl_name(), (moved / judged).max(0.0));
        }
        let grad_norm = f64::from(values[from]);
        if !metrics.loss().is_finite() || !grad_norm.is_finite() {
            return Err(Error::NotFinite(format!("update {}: loss {}, gradient norm {grad_norm}", self.known.step, metrics.loss())));
        }
        Ok((metrics, grad_norm))
    }
}
