//! The reverse loop: asks each node's op to record more ops and skips what needs no gradient.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::{Desc, Node, Op, Place, Tape, Val};
use crate::{Error, Result};

/// What an op sees while it records its backward pass.
pub struct Back<'t> {
    tape: &'t mut Tape,
    node: Node,
    state: &'t mut State,
}

#[derive(Default)]
struct State {
    /// Gradient of each value, once something has flowed into it.
    grads: HashMap<Val, Val>,
    /// Forward value → the value that holds it now (its recomputation, under checkpointing).
    remap: HashMap<Val, Val>,
    /// Node that produced a value and has not been differentiated yet: its gradient is still to be read.
    pending: HashMap<Val, usize>,
    /// Nodes recorded before the reverse loop began.
    forward_nodes: usize,
}

impl Tape {
    /// Records the backward pass from `seeds`: values and their gradients (same shape).
    /// With `checkpoint`, the activations of every segment are recomputed instead of kept.
    ///
    /// Gradients of trainable tensors are added to their gradient tensors (`+=`); activation gradients are
    /// written once and then added to.
    ///
    /// # Errors
    /// When a node on the path has no backward pass.
    pub fn backward(&mut self, seeds: &[(Val, Val)], checkpoint: bool) -> Result<()> {
        let end = self.nodes.len();
        let mut state = State { forward_nodes: end, ..State::default() };
        for (v, seed) in seeds {
            state.grads.insert(*v, *seed);
        }
        for (i, node) in self.nodes.iter().enumerate() {
            for o in &node.outputs {
                state.pending.insert(*o, i);
            }
        }
        let segments = if checkpoint { self.segments.clone() } else { Vec::new() };
        let mut i = end;
        while i > 0 {
            i -= 1;
            if let Some(&(start, stop)) = segments.iter().find(|s| s.1 == i + 1) {
                self.recompute(start, stop, &mut state)?;
            }
            let node = self.nodes[i].clone();
            if !node.outputs.iter().any(|o| state.grads.contains_key(o)) {
                for o in &node.outputs {
                    state.pending.remove(o);
                }
                continue;
            }
            if node.inputs.iter().any(|v| self.vals[v.index()].needs_grad) {
                if !node.op.differentiable() {
                    return Err(Error::shape(node.op.name(), "has no backward pass but lies between the loss and a trainable tensor"));
                }
                let op = node.op.clone();
                let outputs = node.outputs.clone();
                op.backward(&mut Back { tape: self, node, state: &mut state })?;
                for o in outputs {
                    state.pending.remove(&o);
                }
            }
        }
        Ok(())
    }

    /// Records nodes `start..stop` again with fresh outputs. What forward nodes behind the segment read of it (its last
    /// outputs) is kept and not computed twice.
    fn recompute(&mut self, start: usize, stop: usize, state: &mut State) -> Result<()> {
        let mut kept: HashSet<Val> = self.nodes[stop..state.forward_nodes].iter().flat_map(|n| n.inputs.iter().copied()).collect();
        // Nor is a node run again for what little it gives beside that (the x·Aᵀ of a layer's last product): it is kept as well.
        for node in &self.nodes[start..stop] {
            let (held, lost): (Vec<Val>, Vec<Val>) = node.outputs.iter().partition(|o| kept.contains(o));
            let bytes = |list: &[Val]| list.iter().map(|v| self.desc(*v).gpu_bytes()).sum::<u64>();
            if bytes(&lost) * 8 <= bytes(&held) {
                kept.extend(lost);
            }
        }
        for j in start..stop {
            let node = self.nodes[j].clone();
            // In-place nodes and nodes whose every output is kept are not run again.
            if node.acc.iter().any(|a| *a) || node.outputs.iter().all(|o| kept.contains(o)) {
                continue;
            }
            let inputs: Vec<Val> = node.inputs.iter().map(|v| state.remap.get(v).copied().unwrap_or(*v)).collect();
            let outs = self.push_rc(node.op.clone(), &inputs)?;
            for (old, new) in node.outputs.iter().zip(outs) {
                if !kept.contains(old) {
                    state.remap.insert(*old, new);
                }
            }
        }
        Ok(())
    }
}

impl Back<'_> {
    /// Forward input `i` (recomputed where its segment is).
    pub fn input(&self, i: usize) -> Val {
        let v = self.node.inputs[i];
        self.state.remap.get(&v).copied().unwrap_or(v)
    }

    /// Number of forward inputs.
    pub fn inputs(&self) -> usize {
        self.node.inputs.len()
    }

    /// Forward output `i`.
    pub fn output(&self, i: usize) -> Val {
        let v = self.node.outputs[i];
        self.state.remap.get(&v).copied().unwrap_or(v)
    }

    /// Gradient of output `i`, if anything flowed into it.
    pub fn dout(&self, i: usize) -> Option<Val> {
        self.state.grads.get(&self.node.outputs[i]).copied()
    }

    /// True when input `i` needs a gradient.
    pub fn wants(&self, i: usize) -> bool {
        self.tape.needs_grad(self.node.inputs[i])
    }

    /// Shape and type of any value.
    pub fn desc(&self, v: Val) -> Desc {
        self.tape.desc(v).clone()
    }

    /// A fresh temporary.
    pub fn temp(&mut self, desc: Desc) -> Val {
        self.tape.temp(desc)
    }

    /// Where the gradient of input `i` goes, and whether it adds to what is there.
    pub fn sink(&mut self, i: usize) -> (Val, bool) {
        let v = self.node.inputs[i];
        if let Place::Tensor(t) = &self.tape.vals[v.index()].place {
            let grad = t.grad().expect("needs_grad is set from grad()");
            return (self.tape.tensor(&grad), true);
        }
        if let Some(g) = self.state.grads.get(&v).copied() {
            // The same buffer may stand for the gradient of another value that is still to be read (also by this node: it may not
            // read and write one buffer), or be the caller's seed, which the next replay reads again: leave those alone.
            let read = |(other, og): (&Val, &Val)| *og == g && *other != v && self.state.pending.contains_key(other);
            let shared = !matches!(self.tape.vals[g.index()].place, Place::Slot) || self.state.grads.iter().any(read);
            if !shared {
                return (g, true);
            }
            let copy = self.tape.temp(self.tape.desc(g).clone());
            self.tape.push_into(super::host::Copy, &[g], &[(copy, false)]).expect("a copy of the same shape");
            self.state.grads.insert(v, copy);
            return (copy, true);
        }
        let desc = self.tape.desc(v).clone();
        let g = self.tape.temp(desc);
        self.state.grads.insert(v, g);
        (g, false)
    }

    /// As [`Back::sink`], or a temporary nobody reads where input `i` needs no gradient: for ops that give several at once.
    pub fn sink_or_temp(&mut self, i: usize) -> (Val, bool) {
        if self.wants(i) {
            return self.sink(i);
        }
        let desc = self.desc(self.input(i));
        (self.temp(desc), false)
    }

    /// Says that the gradient of input `i` is `grad` itself (an addition passes its gradient through). Falls back to
    /// recording an addition where something has flowed into it already.
    ///
    /// # Errors
    /// Never in practice: shapes are equal by construction.
    pub fn alias(&mut self, i: usize, grad: Val) -> Result<()> {
        let v = self.node.inputs[i];
        if matches!(self.tape.vals[v.index()].place, Place::Tensor(_)) || self.state.grads.contains_key(&v) {
            let sink = self.sink(i);
            return self.tape.push_into(super::host::Copy, &[grad], &[sink]);
        }
        self.state.grads.insert(v, grad);
        Ok(())
    }

    /// Records an op of the backward pass.
    ///
    /// # Errors
    /// [`Error::Shape`] from the op's own rule.
    pub fn emit(&mut self, op: impl Op, inputs: &[Val], outputs: &[(Val, bool)]) -> Result<()> {
        self.tape.push_into(op, inputs, outputs)
    }

    /// The op of the node, for ops that hand themselves on.
    pub fn op(&self) -> Rc<dyn Op> {
        self.node.op.clone()
    }
}
