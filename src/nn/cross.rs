//! Cross-attention: a decoder's tokens read the states of an encoder (Vaswani et al. 2017).

use super::{Branch, Extra, Forward, Linear, Norm};
use crate::Result;
use crate::graph::{Desc, Tape, Tensor, Val};
use crate::ops::attention::{Attention as FullOp, AttentionCached};
use crate::ops::rope::{RopeAppend, RopeSplit};

/// What a pass over a decoder's tokens reads of the encoder.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// Its hidden states (B·S, C), for `batch` rows on its side as on the decoder's; `spans` (B·T, 2) u32: the keys [begin, end) of its batch row that each
    /// token of the decoder sees.
    States { batch: usize, states: Val, spans: Val },
    /// Keys and values (2, S, H·D) that [`CrossAttention::keep`] made of them; `spans` (M, 4) u32 as in [`AttentionCached`].
    Kept { cache: &'a Tensor, spans: Val },
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
        let o = match *source {
            Source::States { batch, states, spans } => {
                let (k, v) = self.keys(tape, cx, states)?;
                tape.push(FullOp { heads, kv_heads: heads, dim, scale, cap: None, batch }, &[q, k, v, spans])?[0]
            }
            Source::Kept { cache, spans } => {
                let cache = tape.tensor(cache);
                tape.push1(AttentionCached { heads, kv_heads: heads, dim, scale, cap: None }, &[q, cache, spans])?
            }
        };
        self.out.forward(tape, cx, o, Extra { residual, ..Extra::default() })
    }

    /// Keys and values (S, H·D) of the encoder's states (S, C).
    fn keys(&self, tape: &mut Tape, cx: &Forward<'_>, states: Val) -> Result<(Val, Val)> {
        let k = self.k.forward(tape, cx, states, Extra::default())?;
        let v = self.v.forward(tape, cx, states, Extra::default())?;
        Ok((k, v))
    }

    /// Records that keys and values of the encoder's `states` (S, C) are written to the rows of `cache` that `slots` (S) u32 names. `turns` are
    /// positions (S) u32 and frequencies, by which nothing is turned here.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn keep(&self, tape: &mut Tape, cx: &Forward<'_>, states: Val, turns: [Val; 2], (cache, slots): (&Tensor, Val)) -> Result<()> {
        let (heads, dim) = (self.heads, self.dim);
        let (k, v) = self.keys(tape, cx, states)?;
        let same = RopeSplit { heads, kv_heads: heads, dim, rotary: 0, interleaved: false, mscale: 1.0, by_head: false };
        let fresh = tape.temp(Desc::f32(&[tape.desc(k).rows(), heads * dim]));
        let cache = tape.tensor(cache);
        // The op wants queries, too: the keys stand in for them.
        tape.push_into(RopeAppend { same }, &[k, k, v, turns[0], turns[1], slots], &[(fresh, false), (cache, true)])
    }

    /// Its linears.
    pub fn linears(&self) -> [&Linear; 4] {
        [&self.q, &self.k, &self.v, &self.out]
    }
}
