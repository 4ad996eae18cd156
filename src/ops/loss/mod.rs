//! Losses. [`SftLoss`] and [`DpoLoss`] work on per-token log-probabilities and give their metrics together with the gradient that
//! [`crate::graph::Tape::backward`] is seeded with; [`CrossEntropy`] and [`GatherLogps`] work on logits.

mod logits;
mod preference;
mod sft;

pub use logits::{CrossEntropy, GatherLogps};
pub use preference::DpoLoss;
pub use sft::SftLoss;

/// A row without a target, or of no sequence.
pub const IGNORE: u32 = u32::MAX;

/// Words of a loss's metrics (per batch for [`SftLoss`], per pair for [`DpoLoss`]).
pub const METRICS: usize = 8;
