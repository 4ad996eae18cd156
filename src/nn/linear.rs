//! A linear layer, possibly several of the checkpoint's in one (q, k, v; gate, up), with its LoRA hook.

use super::{Forward, ParamId};
use crate::Result;
use crate::graph::{Tape, Val};
use crate::ops::Act;
use crate::ops::elementwise::Dropout;
use crate::ops::linear::Linear as Op;

/// A module of the checkpoint inside a fused linear: rows `first..first + rows`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Module path without `.weight`, as in `target_modules` and PEFT's keys.
    pub path: String,
    pub first: usize,
    pub rows: usize,
}

/// y = x·Wᵀ (+ bias) (+ LoRA).
#[derive(Clone, Debug)]
pub struct Linear {
    /// Number of this linear in its model: key of its adapter, salt of its dropout.
    pub index: usize,
    pub weight: ParamId,
    pub bias: Option<ParamId>,
    pub parts: Vec<Part>,
    pub inputs: usize,
    pub outputs: usize,
}

/// What is fused into a linear's dispatch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra {
    /// Added to the result.
    pub residual: Option<Val>,
    /// The rows are gate rows then up rows: act(gate)·up. Inference only.
    pub glu: Option<Act>,
}

impl Linear {
    /// Records the layer for x (M, inputs).
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn forward(&self, tape: &mut Tape, cx: &Forward<'_>, x: Val, extra: Extra) -> Result<Val> {
        let weight = tape.tensor(&cx.params.tensor(self.weight));
        let mut inputs = vec![x, weight];
        if let Some(b) = self.bias {
            inputs.push(tape.tensor(&cx.params.tensor(b)));
        }
        let lora = cx.lora.and_then(|set| Some((set, set.linear(self.index)?)));
        let mut segs = Vec::new();
        if let Some((set, l)) = lora {
            let mut xa = x;
            if cx.train && set.dropout() > 0.0 {
                xa = tape.push1(Dropout { p: set.dropout(), salt: self.index as u32 + 1 }, &[x])?;
            }
            let a = tape.tensor(&l.a);
            let h = tape.push1(Op { segs: Vec::new(), bias: false, lora: false, residual: false, glu: None }, &[xa, a])?;
            inputs.push(h);
            inputs.push(tape.tensor(&l.b));
            segs.clone_from(&l.segs);
        }
        inputs.extend(extra.residual);
        let op = Op { segs, bias: self.bias.is_some(), lora: lora.is_some(), residual: extra.residual.is_some(), glu: extra.glu };
        tape.push1(op, &inputs)
    }
}
