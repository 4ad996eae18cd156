//! What an operation is, the tape on which operations are recorded, and what one sees while it records its backward pass: they are made of each
//! other, so they stand in one file.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Cost, CpuIo, Desc, HostIo, Lower, Tensor};
use crate::cpu::kernels::elementwise;
use crate::gpu::KernelKey;
use crate::{Error, Result};

/// One coarse operation of the tape. An op is a small value that holds its constants (eps, heads, scale, …).
pub trait Op: 'static {
    /// Kernel file = op = pipeline label = test name.
    fn name(&self) -> &'static str;

    /// Shapes and types of the outputs, or a typed error that names what does not fit.
    ///
    /// # Errors
    /// [`Error::Shape`].
    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>>;

    /// As [`Op::infer`], for [`super::Tape::push_into`]: an op that changes a tensor in place may take shapes from it.
    ///
    /// # Errors
    /// [`Error::Shape`].
    fn infer_into(&self, inputs: &[&Desc], _outputs: &[&Desc]) -> Result<Vec<Desc>> {
        self.infer(inputs)
    }

    /// Temporaries that live only while this node runs.
    fn scratch(&self, _inputs: &[&Desc], _outputs: &[&Desc]) -> Vec<Desc> {
        Vec::new()
    }

    /// Whether output `i` may wait for the backward pass in half precision ([`super::Tape::keep_halves`]): so where it is a factor of gradients.
    /// Statistics of rows and log-probabilities may not. The forward pass is not concerned.
    fn halves(&self, _i: usize) -> bool {
        false
    }

    /// Emits the dispatches. Outputs marked `acc` already hold a value that is to be added to (or, for in-place
    /// ops, changed).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::Shape`] where this device cannot run these shapes.
    fn lower(&self, cx: &mut Lower<'_>) -> Result<()>;

    /// The same in f64 on the host: the reference of the tests.
    ///
    /// # Errors
    /// As [`Op::lower`].
    fn host(&self, io: &mut HostIo<'_>) -> Result<()>;

    /// The same in f32 on the processor: the second executor. An op without kernels of its own is computed by [`Op::host`], which is
    /// right and slow.
    ///
    /// # Errors
    /// As [`Op::lower`].
    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        io.by_reference(|host| self.host(host))
    }

    /// What a run on the processor costs, for the benchmarks; [`Op::lower`] says the same of each dispatch ([`Lower::cost`]). Left out, it is
    /// all that goes in and comes out, and no arithmetic.
    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        io.moved()
    }

    /// True when [`Op::backward`] is implemented.
    fn differentiable(&self) -> bool {
        false
    }

    /// Records the ops that turn the gradients of the outputs into gradients of the inputs.
    ///
    /// # Errors
    /// When the op has no backward, or the recorded ops do not fit.
    fn backward(&self, _back: &mut Back<'_>) -> Result<()> {
        Err(Error::shape(self.name(), "has no backward pass"))
    }
}

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

/// What an op sees while it records its backward pass.
pub struct Back<'t> {
    pub(super) tape: &'t mut Tape,
    pub(super) node: Node,
    pub(super) state: &'t mut State,
}

/// What the reverse loop knows so far.
#[derive(Default)]
pub(super) struct State {
    /// Gradient of each value, once something has flowed into it.
    pub(super) grads: HashMap<Val, Val>,
    /// Forward value → the value that holds it now (its recomputation, under checkpointing).
    pub(super) remap: HashMap<Val, Val>,
    /// Node that produced a value and has not been differentiated yet: its gradient is still to be read.
    pub(super) pending: HashMap<Val, usize>,
    /// Nodes recorded before the reverse loop began.
    pub(super) forward_nodes: usize,
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
            self.tape.push_into(Copy, &[g], &[(copy, false)]).expect("a copy of the same shape");
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
            return self.tape.push_into(Copy, &[grad], &[sink]);
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

/// `y = x`, or `y += x`: the only op the reverse loop itself needs.
pub(super) struct Copy;

impl Op for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        Ok(vec![inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let n = cx.inputs[0].desc.len();
        let grid = cx.gpu().grid(n, 64);
        let key = KernelKey::new("copy").flag("ACC", cx.acc[0]);
        cx.dispatch(key, &[n as u32], &[&cx.input(0), &cx.output(0)], grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let x = io.input(0);
        for (i, v) in x.iter().enumerate() {
            io.add(0, i, *v);
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        elementwise::copy(io.pool(), io.out(0), io.f32(0), io.acc(0));
        Ok(())
    }

    fn differentiable(&self) -> bool {
        true
    }

    fn backward(&self, b: &mut Back<'_>) -> Result<()> {
        if let Some(dy) = b.dout(0) {
            b.alias(0, dy)?;
        }
        Ok(())
    }
}
