//! The feed-forward part of a block.

use super::{Branch, Extra, Forward, Linear};
use crate::Result;
use crate::graph::{Tape, Val};
use crate::ops::Act;
use crate::ops::activation::{Activation, Gated};

/// The layers before the activation.
#[derive(Clone, Debug)]
pub enum Up {
    /// Gate rows then up rows in one tensor.
    Fused(Linear),
    /// Gate and up of different types.
    Split(Linear, Linear),
    /// No gate (GPT-2).
    Plain(Linear),
}

/// act(gate)·up → down, or act(up) → down.
#[derive(Clone, Debug)]
pub struct Mlp {
    pub up: Up,
    pub down: Linear,
    pub act: Act,
}

impl Mlp {
    /// What it reads (M, C) → its output (M, C), with `residual` (M, C) added where one is given.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn forward(&self, tape: &mut Tape, cx: &Forward<'_>, from: Branch<'_>, residual: Option<Val>) -> Result<Val> {
        let kind = self.act;
        let x = from.x;
        let normed = Extra { norm: from.norm, ..Extra::default() };
        let hidden = match &self.up {
            Up::Fused(l) if !cx.params.tensor(l.weight).is_split() => l.forward(tape, cx, x, Extra { glu: Some(kind), ..normed })?,
            Up::Fused(l) => {
                let both = l.forward(tape, cx, x, normed)?;
                tape.push1(Gated { kind }, &[both])?
            }
            Up::Split(gate, up) => {
                let x = from.value(tape, cx)?;
                let g = gate.forward(tape, cx, x, Extra::default())?;
                let u = up.forward(tape, cx, x, Extra::default())?;
                tape.push1(Gated { kind }, &[g, u])?
            }
            Up::Plain(l) => {
                let h = l.forward(tape, cx, x, normed)?;
                tape.push1(Activation { kind }, &[h])?
            }
        };
        self.down.forward(tape, cx, hidden, Extra { residual, ..Extra::default() })
    }

    /// Its linears.
    pub fn linears(&self) -> Vec<&Linear> {
        match &self.up {
            Up::Fused(l) | Up::Plain(l) => vec![l, &self.down],
            Up::Split(g, u) => vec![g, u, &self.down],
        }
    }
}
