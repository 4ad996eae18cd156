//! One micro-batch of an update.

use crate::data::{Batch, BatchShape};

/// A micro-batch that is about to run or has run.
pub struct Micro {
    /// Rows of the dataset.
    pub rows: Vec<u32>,
    /// Per sequence, which of `rows` it is of.
    pub owners: Vec<u32>,
    pub batch: Batch,
    /// Key of its plan.
    pub shape: BatchShape,
}
