//! The reverse loop: asks each node's op to record more ops and skips what needs no gradient.

use std::collections::HashSet;

use super::Val;
use super::tape::{Back, State, Tape};
use crate::{Error, Result};

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
