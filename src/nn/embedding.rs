//! Token (and learned position) embeddings.

use super::{Forward, ParamId};
use crate::Result;
use crate::graph::{Tape, Val};
use crate::ops::embedding::Embedding as Op;

/// Rows of a table by index.
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    pub weight: ParamId,
}

impl Embedding {
    /// ids (M) → (M, C).
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn forward(&self, tape: &mut Tape, cx: &Forward<'_>, ids: Val) -> Result<Val> {
        let w = tape.tensor(&cx.params.tensor(self.weight));
        tape.push1(Op, &[ids, w])
    }
}
