//! RMSNorm or LayerNorm, by what the checkpoint has.

use super::{Forward, ParamId};
use crate::Result;
use crate::graph::{Tape, Val};
use crate::ops::norm::{LayerNorm, RmsNorm};

/// What a norm computes.
#[derive(Clone, Copy, Debug)]
pub enum NormOp {
    /// Over the last axis, or over groups of it as long as the weight (heads).
    Rms(RmsNorm),
    /// Over the last axis, or over heads with weights of their own.
    Layer(LayerNorm),
}

/// A norm with its weights.
#[derive(Clone, Debug)]
pub struct Norm {
    pub op: NormOp,
    pub weight: ParamId,
    /// Some LayerNorms have one.
    pub bias: Option<ParamId>,
}

impl Norm {
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn forward(&self, tape: &mut Tape, cx: &Forward<'_>, x: Val) -> Result<Val> {
        let mut inputs = vec![x, tape.tensor(&cx.params.tensor(self.weight))];
        inputs.extend(self.bias.map(|b| tape.tensor(&cx.params.tensor(b))));
        Ok(match self.op {
            NormOp::Rms(op) => tape.push(op, &inputs)?[0],
            NormOp::Layer(op) => tape.push(op, &inputs)?[0],
        })
    }

    /// What a linear may do itself.
    pub(super) fn rms(&self) -> Option<RmsNorm> {
        match self.op {
            NormOp::Rms(op) => Some(op),
            NormOp::Layer(_) => None,
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
