//! Losses. [`SftLoss`] and [`PolicyLoss`] work on log-probabilities of tokens, [`DpoLoss`], [`CpoLoss`], [`OrpoLoss`] and [`KtoLoss`] on their sums
//! over answers ([`SequenceSums`]), [`RankingLoss`] on scores of answers; all give their metrics together with the gradient that
//! [`crate::graph::Tape::backward`] is seeded with, and take their own numbers (beta, a scale) as an input. [`CrossEntropy`] and [`GatherLogps`] work on
//! logits.

mod cpo;
mod dpo;
mod logits;
mod math;
mod policy;
mod preference;
mod ranking;
mod sft;
mod sums;
mod unpaired;
mod value;

pub use cpo::{CPO_LOSSES, CPO_NUMBERS, CpoLoss};
pub use dpo::{DIVERGENCES, DPO_LOSSES, DPO_NUMBERS, DpoLoss, DpoNumbers};
pub use logits::{CrossEntropy, GatherLogps};
pub use policy::{POLICY_METRICS, POLICY_NUMBERS, PolicyLoss, PolicyNumbers};
pub use preference::OrpoLoss;
pub use ranking::{MOST_TIED, RANKING_METRICS, RANKING_NUMBERS, RankingLoss};
pub use sft::SftLoss;
pub use sums::{SequenceSums, SequenceTake};
pub use unpaired::KtoLoss;
pub use value::{VALUE_METRICS, ValueLoss};

/// A row without a target, or of no sequence.
pub const IGNORE: u32 = u32::MAX;

/// Words of a loss's metrics (per batch for [`SftLoss`], per pair or row for the others).
pub const METRICS: usize = 8;
