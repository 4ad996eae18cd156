//! A block: attention and MLP as two branches of a residual stream, with norms where its recipe has them.

use super::{Attention, Branch, CrossAttention, Forward, Linear, Mlp, Norm, Pass};
use crate::graph::{Tape, Val};
use crate::ops::elementwise::{Add, Scale};
use crate::{Error, Result};

/// One block. A norm before a branch is fused into the linear that reads it, and the sum with the residual stream into the one that ends
/// the branch, where nothing lies between.
#[derive(Clone, Debug)]
pub struct Block {
    pub pre_attention: Option<Norm>,
    pub attention: Attention,
    pub post_attention: Option<Norm>,
    /// Of an encoder-decoder's decoder: between attention and MLP. Such blocks are not parallel.
    pub cross: Option<CrossAttention>,
    pub pre_mlp: Option<Norm>,
    pub mlp: Mlp,
    pub post_mlp: Option<Norm>,
    /// Both branches read the block's input; without a norm of its own the MLP reads what attention reads.
    pub parallel: bool,
    /// Multiplies what a branch adds.
    pub residual_scale: f32,
    /// The norms behind the branches are of the sum with the stream.
    pub of_sum: bool,
}

impl Block {
    /// x (M, C) → (M, C).
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn forward(&self, tape: &mut Tape, cx: &Forward<'_>, x: Val, pass: &Pass<'_>) -> Result<Val> {
        let mut from = Branch { x, norm: self.pre_attention.as_ref() };
        if self.parallel && self.pre_mlp.is_none() {
            from = Branch { x: from.value(tape, cx)?, norm: None };
        }
        let mut attended =
            self.join(tape, cx, x, self.post_attention.as_ref(), |tape, residual| self.attention.forward(tape, cx, from, pass, residual))?;
        if let Some(cross) = &self.cross {
            let source = pass.source.ok_or_else(|| Error::shape("cross-attention", "the pass has no states of an encoder"))?;
            let read = attended;
            attended = self.join(tape, cx, read, cross.post.as_ref(), |tape, residual| cross.forward(tape, cx, read, &source, residual))?;
        }
        if !self.parallel {
            from = Branch { x: attended, norm: self.pre_mlp.as_ref() };
        } else if let Some(norm) = &self.pre_mlp {
            from = Branch { x, norm: Some(norm) };
        }
        self.join(tape, cx, attended, self.post_mlp.as_ref(), |tape, residual| self.mlp.forward(tape, cx, from, residual))
    }

    /// Adds a branch to the stream: inside its last linear where that can be.
    fn join(
        &self,
        tape: &mut Tape,
        cx: &Forward<'_>,
        stream: Val,
        post: Option<&Norm>,
        branch: impl FnOnce(&mut Tape, Option<Val>) -> Result<Val>,
    ) -> Result<Val> {
        if post.is_none() && self.residual_scale == 1.0 {
            return branch(tape, Some(stream));
        }
        if let Some(norm) = post.filter(|_| self.of_sum && self.residual_scale == 1.0) {
            let sum = branch(tape, Some(stream))?;
            return norm.forward(tape, cx, sum);
        }
        let mut y = branch(tape, None)?;
        if let Some(norm) = post {
            y = norm.forward(tape, cx, y)?;
        }
        if self.residual_scale != 1.0 {
            y = tape.push1(Scale { factor: self.residual_scale }, &[y])?;
        }
        tape.push1(Add, &[stream, y])
    }

    /// Its linears, in order.
    pub fn linears(&self) -> Vec<&Linear> {
        let cross = self.cross.iter().flat_map(CrossAttention::linears);
        self.attention.linears().into_iter().chain(cross).chain(self.mlp.linears()).collect()
    }
}
