//! A linear layer, possibly several of the checkpoint's in one (q, k, v; gate, up), with its LoRA hook.

use super::{Adapter, Forward, Magnitude, Norm, ParamId};
use crate::Result;
use crate::graph::{Tape, Val};
use crate::ops::Act;
use crate::ops::activation::Gated;
use crate::ops::dora::DoraScale;
use crate::ops::elementwise::Add;
use crate::ops::linear::{Linear as Op, Low};

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
    /// Number of this linear in its model: key of its adapter, salt of that one's dropout.
    pub index: usize,
    pub weight: ParamId,
    pub bias: Option<ParamId>,
    pub parts: Vec<Part>,
    pub inputs: usize,
    pub outputs: usize,
}

/// What is fused into a linear's dispatch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra<'a> {
    /// Added to the result.
    pub residual: Option<Val>,
    /// The rows are gate rows then up rows: act(gate)·up. In a training gate and up are kept.
    pub glu: Option<Act>,
    /// What x passes first. A dispatch of its own where there are many rows, or a backward pass reads its result too.
    pub norm: Option<&'a Norm>,
}

/// Rows of x up to which every thread of a product may as well norm them itself.
const FEW: usize = 8;

impl Linear {
    /// Records the layer for x (M, inputs).
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn forward(&self, tape: &mut Tape, cx: &Forward<'_>, x: Val, extra: Extra<'_>) -> Result<Val> {
        let lora = cx.adapter.and_then(|adapter| Some((adapter, adapter.low(self.index, cx.train)?)));
        let low = lora.map(|l| l.1);
        let weight = tape.tensor(&cx.params.tensor(self.weight));
        if let Some((adapter, low)) = lora
            && let Some(magnitude) = adapter.magnitude(tape, self.index, weight)?
        {
            return self.scaled(tape, cx, x, extra, (adapter, low, magnitude));
        }
        let (mut x, mut norm) = (x, extra.norm);
        if let Some(n) = norm.filter(|n| n.rms().is_none() || cx.train || tape.desc(x).rows() > FEW || low == Some(Low::Given)) {
            x = n.forward(tape, cx, x)?;
            norm = None;
        }
        let mut inputs = vec![x, weight];
        if let Some(b) = self.bias {
            inputs.push(tape.tensor(&cx.params.tensor(b)));
        }
        let mut segs = Vec::new();
        if let Some((adapter, _)) = lora {
            let part = adapter.record(tape, self.index, x, cx.train)?;
            inputs.extend([part.first, part.b]);
            segs = part.segs;
        }
        inputs.extend(extra.residual);
        inputs.extend(norm.map(|n| tape.tensor(&cx.params.tensor(n.weight))));
        let op = Op {
            segs,
            bias: self.bias.is_some(),
            lora: low,
            residual: extra.residual.is_some(),
            glu: extra.glu,
            keep: cx.train && extra.glu.is_some(),
            norm: norm.and_then(Norm::rms),
        };
        Ok(tape.push(op, &inputs)?[0])
    }

    /// The same with an adapter that scales the product: what is else fused into it follows as ops of their own.
    fn scaled(
        &self,
        tape: &mut Tape,
        cx: &Forward<'_>,
        mut x: Val,
        extra: Extra<'_>,
        (adapter, low, magnitude): (&dyn Adapter, Low, Magnitude),
    ) -> Result<Val> {
        if let Some(n) = extra.norm {
            x = n.forward(tape, cx, x)?;
        }
        let weight = tape.tensor(&cx.params.tensor(self.weight));
        let part = adapter.record(tape, self.index, x, cx.train)?;
        let op = Op { segs: part.segs, lora: Some(low), ..Op::default() };
        let product = tape.push(op, &[x, weight, part.first, part.b])?[0];
        let mut inputs = vec![product, magnitude.m, magnitude.norm];
        if let Some(b) = self.bias {
            inputs.push(tape.tensor(&cx.params.tensor(b)));
        }
        let mut y = tape.push1(DoraScale { bias: self.bias.is_some() }, &inputs)?;
        if let Some(kind) = extra.glu {
            y = tape.push1(Gated { kind }, &[y])?;
        }
        match extra.residual {
            Some(residual) => tape.push1(Add, &[y, residual]),
            None => Ok(y),
        }
    }
}
