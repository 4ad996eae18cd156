//! RMSNorm or LayerNorm, by what the checkpoint has.

use super::{Forward, ParamId};
use crate::Result;
use crate::graph::{Tape, Val};
use crate::ops::norm::{LayerNorm, RmsNorm};

/// A norm over the last axis, or over groups of it as long as the weight (heads).
#[derive(Clone, Debug)]
pub struct Norm {
    pub weight: ParamId,
    /// LayerNorm's bias; RMSNorm has none.
    pub bias: Option<ParamId>,
    pub eps: f32,
}

impl Norm {
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn forward(&self, tape: &mut Tape, cx: &Forward<'_>, x: Val) -> Result<Val> {
        let w = tape.tensor(&cx.params.tensor(self.weight));
        match self.bias {
            None => Ok(tape.push(RmsNorm { eps: self.eps }, &[x, w])?[0]),
            Some(b) => {
                let b = tape.tensor(&cx.params.tensor(b));
                Ok(tape.push(LayerNorm { eps: self.eps }, &[x, w, b])?[0])
            }
        }
    }
}

/// What a branch reads: x, or x normed first. A linear that reads it alone may norm it itself.
#[derive(Clone, Copy)]
pub struct Branch<'a> {
    pub x: Val,
    pub norm: Option<&'a Norm>,
}

impl Branch<'_> {
    /// The value, with the norm in a dispatch of its own: for several readers.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn value(&self, tape: &mut Tape, cx: &Forward<'_>) -> Result<Val> {
        self.norm.map_or(Ok(self.x), |n| n.forward(tape, cx, self.x))
    }
}
