//! What one training method adds to the step that all share.

use serde::Serialize;

use super::kl::RowCache;
use crate::Result;
use crate::data::{Batch, BatchShape, Example};
use crate::graph::{Program, StepParams, Tape, Val};

/// A micro-batch that is about to run or has run.
pub struct Micro {
    /// Rows of the dataset.
    pub rows: Vec<u32>,
    pub batch: Batch,
    /// Key of its plan.
    pub shape: BatchShape,
}

/// SFT or DPO: which sequences a row has, what is computed from their log-probabilities, and what is reported.
pub trait Objective {
    /// `sft` or `dpo`.
    fn method(&self) -> &'static str;

    /// SHA-256 of the dataset's tokens, in hex.
    fn digest(&self) -> String;

    /// Rows of the dataset.
    fn rows(&self) -> usize;

    /// The sequences of some rows, in the order in which [`Batch::seqs`] numbers them.
    fn examples(&self, rows: &[u32]) -> Vec<&Example>;

    /// The part of a batch's shape that its plan depends on.
    fn key(&self, shape: BatchShape) -> BatchShape;

    /// Records the loss behind the log-probabilities (R); gives (metrics, their gradient (R)).
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    fn record(&self, tape: &mut Tape, shape: &BatchShape, logp: Val) -> Result<(Val, Val)>;

    /// Words of a micro-batch's metrics.
    fn metric_words(&self, shape: &BatchShape) -> usize;

    /// Those of its own arguments that decide the curve, by TRL's names.
    fn arguments(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What it knows of rows under the reference policy, where it has one: `width` values a row.
    fn references(&self) -> Option<(&RowCache, usize)> {
        None
    }

    /// Takes back what [`Objective::references`] gave.
    fn restore_references(&mut self, _references: RowCache) {}

    /// Takes what a forward pass under the reference wrote as metrics.
    fn set_reference(&mut self, _rows: &[u32], _words: &[f32]) {}

    /// Writes the inputs that [`Objective::record`] declared, and the step's loss constants. `all` are the update's micro-batches.
    fn write(&self, program: &Program, micro: &Micro, all: &[Micro], step: &mut StepParams);

    /// The update's metrics from what its micro-batches wrote.
    fn metrics(&self, micros: &[Micro], words: &[Vec<f32>]) -> Metrics;
}

/// SHA-256 of words, in hex.
pub(super) fn digest(parts: impl Iterator<Item = Vec<u32>>) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u32).to_le_bytes());
        part.iter().for_each(|w| hash.update(w.to_le_bytes()));
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Means over an update, under TRL's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Metrics {
    pub loss: f64,
    /// Distance to the base model on the update's judged tokens, before the update: the mean of [`super::kl::k3`] (nats). `None` where it is
    /// switched off (`report_kl`) or all weights are trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl: Option<f64>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub preference: Option<PreferenceMetrics>,
}

/// What DPO adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PreferenceMetrics {
    /// beta · (policy − reference) of the chosen answer.
    #[serde(rename = "rewards/chosen")]
    pub rewards_chosen: f64,
    #[serde(rename = "rewards/rejected")]
    pub rewards_rejected: f64,
    #[serde(rename = "rewards/margins")]
    pub rewards_margins: f64,
    /// Pairs whose chosen answer has the higher reward.
    #[serde(rename = "rewards/accuracies")]
    pub rewards_accuracies: f64,
    /// Log-probability of the whole answer.
    #[serde(rename = "logps/chosen")]
    pub logps_chosen: f64,
    #[serde(rename = "logps/rejected")]
    pub logps_rejected: f64,
}

/// One update, as it is reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
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
