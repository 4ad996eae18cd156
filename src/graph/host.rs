//! The f64 reference: runs a tape exactly and slowly. The oracle of the tests.

use std::collections::HashMap;
use std::rc::Rc;

use super::host_io::HostIo;
use super::tape::Copy;
use super::{Place, StepParams, Tape, Tensor};
use crate::{Error, Result};

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

/// Records a copy of `v`: for tests, and where a value must live in a buffer of its own.
///
/// # Errors
/// Never in practice.
pub fn identity(tape: &mut Tape, v: super::Val) -> Result<super::Val> {
    tape.push1(Copy, &[v])
}
