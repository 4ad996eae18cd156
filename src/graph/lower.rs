//! What an op sees while it turns itself into dispatches.

use std::rc::Rc;

use super::tensor::Chunk;
use super::{Cost, Desc};
use crate::gpu::preprocess::Binding;
use crate::gpu::{Buf, Caps, Gpu, Kernel, KernelKey};

/// A value with its memory.
#[derive(Clone)]
pub struct Bound {
    pub desc: Desc,
    /// Row ranges; exactly one except for weights too large for one binding.
    pub chunks: Vec<Chunk>,
}

impl Bound {
    /// The buffer of a value that is not split.
    ///
    /// # Panics
    /// On a split weight: ops that can meet one go through `chunks`.
    pub fn buf(&self) -> &Buf {
        assert_eq!(self.chunks.len(), 1, "this op cannot take a weight split over several buffers");
        &self.chunks[0].buf
    }
}

type CostOf = Box<dyn Fn(&[u32]) -> Cost>;

/// What a dispatch costs.
pub(super) enum Costs {
    Known(Cost),
    /// Depends on the words of an input; the most that it may be.
    Of(Buf, Cost, CostOf),
}

impl Costs {
    /// Without looking at any input.
    pub fn most(&self) -> Cost {
        match self {
            Costs::Known(cost) | Costs::Of(_, cost, _) => *cost,
        }
    }
}

/// One dispatch before its bind group exists.
pub(super) struct Spec {
    pub kernel: Rc<Kernel>,
    pub params: Vec<u32>,
    pub bufs: Vec<Buf>,
    pub grid: [u32; 3],
    pub op: &'static str,
    pub cost: Costs,
}

/// Collects the dispatches of one node.
pub struct Lower<'p> {
    pub inputs: Vec<Bound>,
    pub outputs: Vec<Bound>,
    pub scratch: Vec<Bound>,
    /// Per output: add to (or change) what is there.
    pub acc: Vec<bool>,
    pub(super) op: &'static str,
    pub(super) gpu: &'p Gpu,
    pub(super) out: &'p mut Vec<Spec>,
}

impl Lower<'_> {
    pub fn gpu(&self) -> &Gpu {
        self.gpu
    }

    pub fn caps(&self) -> &Caps {
        self.gpu.caps()
    }

    /// For an op that is made of another one: what that sees. Its dispatches are this op's.
    pub fn part(&mut self, inputs: Vec<Bound>, outputs: Vec<Bound>, acc: Vec<bool>) -> Lower<'_> {
        Lower { inputs, outputs, scratch: Vec::new(), acc, op: self.op, gpu: self.gpu, out: self.out }
    }

    /// Buffer of input `i`.
    pub fn input(&self, i: usize) -> Buf {
        self.inputs[i].buf().clone()
    }

    /// Buffer of output `i`.
    pub fn output(&self, i: usize) -> Buf {
        self.outputs[i].buf().clone()
    }

    /// Buffer of temporary `i`.
    pub fn temp(&self, i: usize) -> Buf {
        self.scratch[i].buf().clone()
    }

    /// Shape of input `i`.
    pub fn shape(&self, i: usize) -> &[usize] {
        &self.inputs[i].desc.shape
    }

    /// Emits a dispatch. `params` fill the kernel's `p` uniform word by word (floats by `to_bits`); `bufs` are its storage
    /// bindings in the order of their declaration. A grid with a zero is not emitted.
    ///
    /// # Panics
    /// When the buffers do not match the kernel's declarations, or one buffer is bound for reading and for writing: both
    /// are bugs of the op.
    pub fn dispatch(&mut self, key: KernelKey, params: &[u32], bufs: &[&Buf], grid: [u32; 3]) {
        if grid.contains(&0) {
            return;
        }
        let kernel = self.gpu.kernel(&key);
        let storage: Vec<Binding> = kernel.bindings.iter().copied().filter(|b| matches!(b, Binding::Read | Binding::Write)).collect();
        assert_eq!(storage.len(), bufs.len(), "{}: storage bindings declared and given", kernel.label());
        for (i, a) in bufs.iter().enumerate() {
            for (j, b) in bufs.iter().enumerate().skip(i + 1) {
                let writes = storage[i] == Binding::Write || storage[j] == Binding::Write;
                // Disjoint ranges may both be written (weight and bias gradients of one arena).
                let both = storage[i] == Binding::Write && storage[j] == Binding::Write;
                let disjoint = a.offset() + a.bytes() <= b.offset() || b.offset() + b.bytes() <= a.offset();
                let clash = writes && a.same_buffer(b) && !(both && disjoint);
                assert!(!clash, "{}: bindings {i} and {j} share a buffer and one writes it", kernel.label());
            }
        }
        let max = self.gpu.caps().max_groups;
        assert!(grid.iter().all(|g| *g <= max), "{}: grid {grid:?}", kernel.label());
        self.out.push(Spec {
            kernel,
            params: params.to_vec(),
            bufs: bufs.iter().map(|b| (*b).clone()).collect(),
            grid,
            op: self.op,
            cost: Costs::Known(Cost { flops: 0.0, bytes: bufs.iter().map(|b| self.bytes_of(b) as f64).sum() }),
        });
    }

    /// Bytes of the value in a buffer, whose slot may have been made for a larger one.
    fn bytes_of(&self, buf: &Buf) -> u64 {
        let is_in = |b: &&Bound| matches!(&b.chunks[..], [c] if c.buf.same_buffer(buf) && c.buf.offset() == buf.offset());
        let value = self.inputs.iter().chain(&self.outputs).chain(&self.scratch).find(is_in);
        value.map_or(buf.bytes(), |b| b.desc.gpu_bytes().min(buf.bytes()))
    }

    /// Notes what the last dispatch costs, for the benchmarks, where that is not simply all that it binds.
    pub fn cost(&mut self, cost: Cost) {
        self.costs(Costs::Known(cost));
    }

    /// As [`Lower::cost`] where it depends on the words of an input, which a profile reads; `most` is what it can be.
    pub fn cost_of(&mut self, input: &Buf, most: Cost, cost: impl Fn(&[u32]) -> Cost + 'static) {
        self.costs(Costs::Of(input.clone(), most, Box::new(cost)));
    }

    fn costs(&mut self, cost: Costs) {
        if let Some(last) = self.out.last_mut() {
            last.cost = cost;
        }
    }
}
