//! What a run remembers of its evaluations: how far they had come, and the weights of the best one.

use serde::{Deserialize, Serialize};

/// The best evaluation of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The update behind which it was.
    pub step: u64,
    /// With `eval_` in front.
    pub metric: String,
    pub value: f64,
    /// Whether the weights that were trained are those of that update.
    #[serde(default)]
    pub loaded: bool,
}

/// What of evaluations a checkpoint holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// SHA-256 of the held-out rows' tokens.
    pub dataset: String,
    /// Updates before the last complete evaluation.
    pub evaluated: Option<u64>,
    pub best: Option<Best>,
    /// Evaluations without a better one: the patience that is used up.
    pub without_better: u64,
}

/// The weights of the best evaluation, on the host; those of the last update once the best are in place.
#[derive(Default)]
pub(super) struct BestWeights {
    pub progress: Option<Progress>,
    pub kept: Option<Vec<Vec<f32>>>,
    /// The best are in place: `kept` are the last ones.
    pub exchanged: bool,
}
