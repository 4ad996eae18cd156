//! The tape: what is computed, recorded once per key and then planned.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Desc, Op, Tensor};
use crate::{Error, Result};

/// A value of a tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Val(pub(super) u32);

impl Val {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a value lives.
#[derive(Clone)]
pub enum Place {
    /// In a slot that the planner assigns by lifetime.
    Slot,
    /// In a buffer of the program that the caller writes before a replay.
    Input(String),
    /// In a buffer of the program that the caller may read after a replay.
    Output(String),
    /// In a tensor that outlives the program.
    Tensor(Tensor),
}

pub(super) struct Info {
    pub desc: Desc,
    pub place: Place,
    pub needs_grad: bool,
}

/// One recorded operation.
#[derive(Clone)]
pub struct Node {
    pub op: Rc<dyn Op>,
    pub inputs: Vec<Val>,
    pub outputs: Vec<Val>,
    /// Per output: it already holds a value that this node adds to or changes.
    pub acc: Vec<bool>,
}

/// Records ops. See [`Tape::backward`] for the reverse loop.
#[derive(Default)]
pub struct Tape {
    pub(super) vals: Vec<Info>,
    pub(super) nodes: Vec<Node>,
    tensors: HashMap<u64, Val>,
    /// Node ranges whose activations may be dropped after the forward pass and computed again (one per layer).
    pub(super) segments: Vec<(usize, usize)>,
    open_segment: Option<usize>,
}

impl Tape {
    pub fn new() -> Self {
        Tape::default()
    }

    fn add(&mut self, desc: Desc, place: Place, needs_grad: bool) -> Val {
        self.vals.push(Info { desc, place, needs_grad });
        Val(self.vals.len() as u32 - 1)
    }

    /// A value the caller writes before each replay.
    pub fn input(&mut self, name: &str, desc: Desc) -> Val {
        self.add(desc, Place::Input(name.to_string()), false)
    }

    /// A persistent tensor; recording it twice gives the same value.
    pub fn tensor(&mut self, tensor: &Tensor) -> Val {
        if let Some(v) = self.tensors.get(&tensor.id()) {
            return *v;
        }
        let v = self.add(tensor.desc().clone(), Place::Tensor(tensor.clone()), tensor.grad().is_some());
        self.tensors.insert(tensor.id(), v);
        v
    }

    /// A temporary that a backward op will fill.
    pub fn temp(&mut self, desc: Desc) -> Val {
        self.add(desc, Place::Slot, false)
    }

    /// Records `op` and gives its outputs.
    ///
    /// # Errors
    /// [`Error::Shape`] from the op's own rule.
    pub fn push(&mut self, op: impl Op, inputs: &[Val]) -> Result<Vec<Val>> {
        self.push_rc(Rc::new(op), inputs)
    }

    /// As [`Tape::push`], for an op with exactly one output.
    ///
    /// # Errors
    /// As [`Tape::push`].
    pub fn push1(&mut self, op: impl Op, inputs: &[Val]) -> Result<Val> {
        let outs = self.push(op, inputs)?;
        debug_assert_eq!(outs.len(), 1);
        Ok(outs[0])
    }

    pub(super) fn push_rc(&mut self, op: Rc<dyn Op>, inputs: &[Val]) -> Result<Vec<Val>> {
        let descs: Vec<&Desc> = inputs.iter().map(|v| &self.vals[v.index()].desc).collect();
        let outs = op.infer(&descs)?;
        let needs = inputs.iter().any(|v| self.vals[v.index()].needs_grad);
        let outputs: Vec<Val> = outs.into_iter().map(|d| self.add(d, Place::Slot, needs)).collect();
        let acc = vec![false; outputs.len()];
        self.nodes.push(Node { op, inputs: inputs.to_vec(), outputs: outputs.clone(), acc });
        Ok(outputs)
    }

    /// Records `op` writing to existing values; `true` = adds to (or changes) what is there.
    ///
    /// # Errors
    /// [`Error::Shape`] when an output does not have the shape the op gives.
    pub fn push_into(&mut self, op: impl Op, inputs: &[Val], outputs: &[(Val, bool)]) -> Result<()> {
        let descs: Vec<&Desc> = inputs.iter().map(|v| &self.vals[v.index()].desc).collect();
        let given: Vec<&Desc> = outputs.iter().map(|(v, _)| &self.vals[v.index()].desc).collect();
        let outs = op.infer_into(&descs, &given)?;
        if outs.len() != outputs.len() {
            return Err(Error::shape(op.name(), format!("{} outputs, {} given", outs.len(), outputs.len())));
        }
        for (want, (v, _)) in outs.iter().zip(outputs) {
            let have = &self.vals[v.index()].desc;
            if want.len() != have.len() || want.dtype != have.dtype {
                return Err(Error::shape(op.name(), format!("writes {want:?} into {have:?}")));
            }
        }
        self.nodes.push(Node {
            op: Rc::new(op),
            inputs: inputs.to_vec(),
            outputs: outputs.iter().map(|o| o.0).collect(),
            acc: outputs.iter().map(|o| o.1).collect(),
        });
        Ok(())
    }

    /// Makes a value readable after a replay.
    pub fn output(&mut self, name: &str, v: Val) {
        let place = &mut self.vals[v.index()].place;
        if matches!(place, Place::Slot) {
            *place = Place::Output(name.to_string());
        }
    }

    /// Shape and type of a value.
    pub fn desc(&self, v: Val) -> &Desc {
        &self.vals[v.index()].desc
    }

    /// True when a gradient flows into it.
    pub fn needs_grad(&self, v: Val) -> bool {
        self.vals[v.index()].needs_grad
    }

    /// The nodes recorded so far.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Opens a segment (a layer): gradient checkpointing may drop and recompute what is recorded until
    /// [`Tape::end_segment`].
    pub fn begin_segment(&mut self) {
        self.open_segment = Some(self.nodes.len());
    }

    /// Closes the open segment.
    pub fn end_segment(&mut self) {
        if let Some(start) = self.open_segment.take() {
            self.segments.push((start, self.nodes.len()));
        }
    }
}
