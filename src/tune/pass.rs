//! A pass over a batch: which weights it runs with, and what it ends in.

use crate::graph::StepParams;

/// Which weights a pass runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Weights {
    /// Those that are trained, as they are now.
    Present,
    /// An earlier adapter that is the reference.
    Reference,
    /// The base model: the same layers with the adapter's products times 0, or no adapter at all.
    Base,
}

/// What a pass ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Head {
    /// The method's loss and the backward pass.
    Loss,
    /// The method's loss of rows that are not learned from.
    Eval,
    /// Log-probabilities of the judged tokens and their sums per sequence.
    Logps,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pass {
    pub adapter: Weights,
    pub head: Head,
}

impl Pass {
    pub const UPDATE: Pass = Pass { adapter: Weights::Present, head: Head::Loss };

    pub fn logps(adapter: Weights) -> Pass {
        Pass { adapter, head: Head::Logps }
    }

    /// The one whose program serves: where an adapter is `additive`, the base is the present one times 0, which a replay says.
    pub fn recorded(self, additive: bool) -> Pass {
        Pass { adapter: if additive && self.adapter == Weights::Base { Weights::Present } else { self.adapter }, ..self }
    }

    pub fn step(self) -> StepParams {
        StepParams { lora: if self.adapter == Weights::Base { 0.0 } else { 1.0 }, ..StepParams::default() }
    }
}
