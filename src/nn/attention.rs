//! Self-attention: projections, rotation, keys and values, output projection.

use super::{Branch, Extra, Forward, Linear, Norm, Prefix, Source};
use crate::Result;
use crate::graph::{Desc, Tape, Tensor, Val};
use crate::ops::attention::AttentionAppend;
use crate::ops::attention::{Attention as FullOp, AttentionCached};
use crate::ops::rope::{RopeAppend, RopeSplit};

/// q, k and v: one tensor where their types are equal.
#[derive(Clone, Debug)]
pub enum Projections {
    Fused(Linear),
    Split(Linear, Linear, Linear),
}

/// Rotary frequencies on the device.
#[derive(Clone)]
pub struct RopeTable {
    /// (rotary/2); one unused element when nothing is rotated.
    pub inv_freq: Tensor,
    /// Rotated channels of a head; 0 = learned positions.
    pub rotary: usize,
    /// Multiplies cos and sin (yarn).
    pub mscale: f32,
}

/// Where the keys of a pass are.
#[derive(Clone, Copy)]
pub enum Keys<'a> {
    /// In a cache (2, S, Hkv·D) f32 or f16: new ones go to `slots` (M), queries see `spans` (M, 4). `apart`: one token of
    /// each of M answers, as in [`AttentionAppend`].
    Cached { cache: &'a Tensor, slots: Val, spans: Val, apart: bool },
    /// In the pass itself, `batch` sequences: queries see `spans` (B·T, 2), of which an adapter's `prefix` are the first keys.
    Sequence { batch: usize, spans: Val, prefix: Option<Prefix> },
}

/// Where the tokens of a pass stand and what they see.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// (M) u32
    pub positions: Val,
    /// Frequencies; a layer names one of them.
    pub ropes: &'a [RopeTable],
    pub keys: Keys<'a>,
    /// What cross-attention reads, where the blocks have it.
    pub source: Option<Source<'a>>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Attention {
    pub qkv: Projections,
    /// Before the rotation, of each head or of the whole row.
    pub q_norm: Option<Norm>,
    pub k_norm: Option<Norm>,
    pub out: Linear,
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    /// Multiplies q·k.
    pub scale: f32,
    /// Scores become cap·tanh(score/cap).
    pub cap: Option<f32>,
    /// Its queries see the window's spans.
    pub windowed: bool,
    /// Number of its frequencies among [`Pass::ropes`].
    pub rope: usize,
    /// Pairs of channels that turn are neighbours, not halves of the head.
    pub interleaved: bool,
    /// The fused projection is q, k and v of one head after the other.
    pub by_head: bool,
}

impl Attention {
    /// What it reads (M, C) → its output (M, C), with `residual` (M, C) added where one is given.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn forward(&self, tape: &mut Tape, cx: &Forward<'_>, from: Branch<'_>, pass: &Pass<'_>, residual: Option<Val>) -> Result<Val> {
        let (heads, kv_heads, dim) = (self.heads, self.kv_heads, self.dim);
        let mut inputs = match &self.qkv {
            Projections::Fused(l) => vec![l.forward(tape, cx, from.x, Extra { norm: from.norm, ..Extra::default() })?],
            Projections::Split(q, k, v) => {
                let normed = from.value(tape, cx)?;
                let mut q = q.forward(tape, cx, normed, Extra::default())?;
                let mut k = k.forward(tape, cx, normed, Extra::default())?;
                if let Some(n) = &self.q_norm {
                    q = n.forward(tape, cx, q)?;
                }
                if let Some(n) = &self.k_norm {
                    k = n.forward(tape, cx, k)?;
                }
                vec![q, k, v.forward(tape, cx, normed, Extra::default())?]
            }
        };
        let rows = tape.desc(from.x).rows();
        let rope = &pass.ropes[self.rope];
        inputs.push(pass.positions);
        inputs.push(tape.tensor(&rope.inv_freq));
        let split = RopeSplit {
            heads,
            kv_heads,
            dim,
            rotary: rope.rotary,
            interleaved: self.interleaved,
            mscale: rope.mscale,
            by_head: self.by_head,
        };
        let (scale, cap) = (self.scale, self.cap);
        let o = match pass.keys {
            Keys::Cached { cache, slots, spans, apart } => {
                inputs.push(slots);
                let fresh = tape.temp(Desc::f32(&[rows, heads * dim]));
                let cache = tape.tensor(cache);
                let outputs = [(fresh, false), (cache, true)];
                if apart {
                    inputs.push(spans);
                    tape.push_into(AttentionAppend { rope: split, scale, cap }, &inputs, &outputs)?;
                    fresh
                } else {
                    tape.push_into(RopeAppend { same: split }, &inputs, &outputs)?;
                    tape.push1(AttentionCached { heads, kv_heads, dim, scale, cap }, &[fresh, cache, spans])?
                }
            }
            Keys::Sequence { batch, spans, prefix } => {
                let qkv = tape.push(split, &inputs)?;
                let (k, v) = match prefix {
                    Some(p) => p.join(tape, batch, (qkv[1], qkv[2]))?,
                    None => (qkv[1], qkv[2]),
                };
                tape.push(FullOp { heads, kv_heads, dim, scale, cap, batch }, &[qkv[0], k, v, spans])?[0]
            }
        };
        self.out.forward(tape, cx, o, Extra { residual, ..Extra::default() })
    }

    /// Its linears.
    pub fn linears(&self) -> Vec<&Linear> {
        match &self.qkv {
            Projections::Fused(l) => vec![l, &self.out],
            Projections::Split(q, k, v) => vec![q, k, v, &self.out],
        }
    }
}
