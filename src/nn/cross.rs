//! Cross-attention: a decoder's tokens read the states of an encoder (Vaswani et al. 2017).

use super::{Branch, Extra, Forward, Linear, Norm};
use crate::Result;
use crate::graph::{Tape, Val};
use crate::ops::attention::Attention as FullOp;

/// What a pass over a decoder's tokens reads of the encoder.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Rows of the batch, of the encoder's side as of the decoder's.
    pub batch: usize,
    /// The encoder's hidden states (B·S, C).
    pub states: Val,
    /// (B·T, 2) u32: the keys [begin, end) of its batch row that each token of the decoder sees.
    pub spans: Val,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct CrossAttention {
    /// Norm before it.
    pub pre: Option<Norm>,
    pub q: Linear,
    /// k and v read the encoder's states.
    pub k: Linear,
    pub v: Linear,
    pub out: Linear,
    /// Norm behind it.
    pub post: Option<Norm>,
    pub heads: usize,
    pub dim: usize,
    /// Multiplies q·k.
    pub scale: f32,
}

impl CrossAttention {
    /// Records it for x (B·T, C) → (B·T, C), with `residual` added where one is given.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn forward(&self, tape: &mut Tape, cx: &Forward<'_>, x: Val, source: &Source, residual: Option<Val>) -> Result<Val> {
        let (heads, dim, scale) = (self.heads, self.dim, self.scale);
        let from = Branch { x, norm: self.pre.as_ref() };
        let q = self.q.forward(tape, cx, from.x, Extra { norm: from.norm, ..Extra::default() })?;
        let k = self.k.forward(tape, cx, source.states, Extra::default())?;
        let v = self.v.forward(tape, cx, source.states, Extra::default())?;
        let op = FullOp { heads, kv_heads: heads, dim, scale, cap: None, batch: source.batch };
        let o = tape.push(op, &[q, k, v, source.spans])?[0];
        self.out.forward(tape, cx, o, Extra { residual, ..Extra::default() })
    }

    /// Its linears.
    pub fn linears(&self) -> [&Linear; 4] {
        [&self.q, &self.k, &self.v, &self.out]
    }
}
