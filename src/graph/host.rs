//! The f64 reference: runs a tape exactly and slowly. The oracle of the tests.

use std::collections::HashMap;
use std::rc::Rc;

use super::{Back, CpuIo, Desc, Lower, Op, Place, StepParams, Tape, Tensor};
use crate::cpu::kernels::elementwise;
use crate::gpu::KernelKey;
use crate::{Error, Result};

/// What an op sees when it runs on the host. Values are row-major f64; integers are exact.
pub struct HostIo<'s> {
    pub descs: Vec<Desc>,
    pub inputs: Vec<Rc<Vec<f64>>>,
    pub out_descs: Vec<Desc>,
    /// Zeroed, unless `acc`: then they hold what is to be added to or changed.
    pub outputs: Vec<Vec<f64>>,
    pub acc: Vec<bool>,
    pub step: &'s StepParams,
}

impl HostIo<'_> {
    /// Input `i`.
    pub fn input(&self, i: usize) -> Rc<Vec<f64>> {
        self.inputs[i].clone()
    }

    /// Shape of input `i`.
    pub fn shape(&self, i: usize) -> Vec<usize> {
        self.descs[i].shape.clone()
    }

    /// Adds `value` to element `at` of output `i` (outputs that are not accumulated start at zero).
    pub fn add(&mut self, i: usize, at: usize, value: f64) {
        self.outputs[i][at] += value;
    }
}

/// A tape made ready to run on the host.
pub struct HostProgram<'t> {
    tape: &'t Tape,
    inputs: HashMap<String, Rc<Vec<f64>>>,
    values: HashMap<usize, Rc<Vec<f64>>>,
}

impl<'t> HostProgram<'t> {
    pub fn new(tape: &'t Tape) -> Self {
        HostProgram { tape, inputs: HashMap::new(), values: HashMap::new() }
    }

    /// Sets an input.
    pub fn write(&mut self, name: &str, values: &[f64]) {
        self.inputs.insert(name.to_string(), Rc::new(values.to_vec()));
    }

    /// Runs every node.
    ///
    /// # Errors
    /// From the ops.
    pub fn run(&mut self, step: &StepParams) -> Result<()> {
        self.values.clear();
        for node in self.tape.nodes() {
            let inputs = node.inputs.iter().map(|v| self.value(v.index())).collect::<Result<Vec<_>>>()?;
            let desc = |v: &super::Val| self.tape.vals[v.index()].desc.clone();
            let outputs = node
                .outputs
                .iter()
                .zip(&node.acc)
                .map(|(v, acc)| if *acc { self.value(v.index()).map(|d| d.to_vec()) } else { Ok(vec![0.0; desc(v).len()]) })
                .collect::<Result<Vec<_>>>()?;
            let mut io = HostIo {
                descs: node.inputs.iter().map(desc).collect(),
                inputs,
                out_descs: node.outputs.iter().map(desc).collect(),
                outputs,
                acc: node.acc.clone(),
                step,
            };
            node.op.host(&mut io)?;
            let outputs = std::mem::take(&mut io.outputs);
            drop(io);
            for (v, data) in node.outputs.iter().zip(outputs) {
                if let Place::Tensor(t) = &self.tape.vals[v.index()].place {
                    t.set_reference(data);
                } else {
                    self.values.insert(v.index(), Rc::new(data));
                }
            }
        }
        Ok(())
    }

    fn value(&self, v: usize) -> Result<Rc<Vec<f64>>> {
        if let Some(d) = self.values.get(&v) {
            return Ok(d.clone());
        }
        match &self.tape.vals[v].place {
            Place::Tensor(t) => Ok(t.reference()),
            Place::Input(name) => self
                .inputs
                .get(name)
                .map(|d| {
                    let want = self.tape.vals[v].desc.len();
                    let mut d = d.to_vec();
                    d.resize(want, 0.0);
                    Rc::new(d)
                })
                .ok_or_else(|| Error::shape("host", format!("input {name} was not written"))),
            _ => Err(Error::shape("host", "a value is read before it is written")),
        }
    }

    /// A value after [`HostProgram::run`].
    ///
    /// # Errors
    /// When nothing wrote it.
    pub fn get(&self, v: super::Val) -> Result<Rc<Vec<f64>>> {
        self.value(v.index())
    }

    /// A tensor's values.
    pub fn tensor(t: &Tensor) -> Rc<Vec<f64>> {
        t.reference()
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

/// Records a copy of `v`: for tests, and where a value must live in a buffer of its own.
///
/// # Errors
/// Never in practice.
pub fn identity(tape: &mut Tape, v: super::Val) -> Result<super::Val> {
    tape.push1(Copy, &[v])
}
