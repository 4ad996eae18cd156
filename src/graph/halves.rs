//! Halves behind the forward pass: what only the backward pass still reads waits in half the memory.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Node, Op, Place, Tape, Val};
use crate::Result;
use crate::tensor::DType;

/// What a value goes through.
#[derive(Default, Clone, Copy)]
struct Uses {
    /// Times it is written.
    writes: usize,
    /// Last node of the forward pass that touches it.
    last_forward: usize,
    /// First node of the backward pass that reads it.
    first_backward: Option<usize>,
}

impl Tape {
    /// Every value of the first `forward` nodes that its op lets ([`Op::halves`]) is narrowed when its last forward reader is done, and widened
    /// where the backward pass first reads it. All arithmetic stays f32; what was short-lived anyway stays as it is. To be called after
    /// [`Tape::backward`]: only then is it known who reads what.
    ///
    /// # Errors
    /// From the shape rules of `narrow` and `widen`.
    pub fn keep_halves(&mut self, forward: usize, narrow: &Rc<dyn Op>, widen: &Rc<dyn Op>) -> Result<()> {
        let mut uses = vec![Uses::default(); self.vals.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            node.outputs.iter().for_each(|v| uses[v.index()].writes += 1);
            for v in node.inputs.iter().chain(&node.outputs) {
                let u = &mut uses[v.index()];
                if i < forward {
                    u.last_forward = i;
                } else {
                    u.first_backward.get_or_insert(i);
                }
            }
        }
        // Values to narrow behind a node, and to widen before one.
        let (mut behind, mut before): (HashMap<usize, Vec<Val>>, HashMap<usize, Vec<Val>>) = Default::default();
        for node in &self.nodes[..forward] {
            for (k, v) in node.outputs.iter().enumerate() {
                let (info, u) = (&self.vals[v.index()], uses[v.index()]);
                let plain = matches!(info.place, Place::Slot) && info.desc.dtype == DType::F32 && info.desc.cols().is_multiple_of(2);
                if let (true, 1, Some(first)) = (plain && node.op.halves(k), u.writes, u.first_backward) {
                    behind.entry(u.last_forward).or_default().push(*v);
                    before.entry(first).or_default().push(*v);
                }
            }
        }
        let nodes = std::mem::take(&mut self.nodes);
        // Node ranges no longer count.
        self.segments.clear();
        let (mut narrowed, mut widened): (HashMap<Val, Val>, HashMap<Val, Val>) = Default::default();
        for (i, mut node) in nodes.into_iter().enumerate() {
            for v in before.remove(&i).unwrap_or_default() {
                widened.insert(v, self.frozen(widen, narrowed[&v])?);
            }
            if i >= forward {
                node.inputs.iter_mut().for_each(|v| *v = widened.get(v).copied().unwrap_or(*v));
            }
            self.nodes.push(node);
            for v in behind.remove(&i).unwrap_or_default() {
                narrowed.insert(v, self.frozen(narrow, v)?);
            }
        }
        Ok(())
    }

    /// Records `op` with one output that needs no gradient.
    fn frozen(&mut self, op: &Rc<dyn Op>, input: Val) -> Result<Val> {
        let desc = op.infer(&[self.desc(input)])?.remove(0);
        let out = self.temp(desc);
        self.nodes.push(Node { op: op.clone(), inputs: vec![input], outputs: vec![out], acc: vec![false] });
        Ok(out)
    }
}
