//! A program on the processor: the recorded ops, bound to memory, one after another. Each uses all threads by itself.

use std::cell::Cell;
use std::rc::Rc;

use super::memory::Memory;
use crate::clock;
use crate::counters::Counters;
use crate::cpu::Cpu;
use crate::graph::cpu_io::{CpuIo, Operands, View};
use crate::graph::profile::Timed;
use crate::graph::{Op, StepParams, Tape, Val};
use crate::{Error, Result};

pub(super) struct CpuProgram {
    cpu: Cpu,
    nodes: Vec<(Rc<dyn Op>, Operands)>,
    /// An op refused its values in the last run: reported at the next read.
    failed: Cell<Option<Error>>,
}

impl CpuProgram {
    pub fn build(cpu: &Cpu, tape: &Tape, memory: &Memory) -> CpuProgram {
        let view = |v: &Val| View { desc: tape.desc(*v).clone(), buf: memory.of(*v).cpu().clone() };
        let nodes = tape
            .nodes()
            .iter()
            .map(|n| {
                let (inputs, outputs) = (n.inputs.iter().map(view).collect(), n.outputs.iter().map(view).collect());
                (n.op.clone(), Operands { op: n.op.name(), inputs, outputs, acc: n.acc.clone() })
            })
            .collect();
        CpuProgram { cpu: cpu.clone(), nodes, failed: Cell::new(None) }
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn run(&self, step: &StepParams) {
        Counters::add(&self.cpu.counters().dispatches, self.nodes.len() as u64);
        Counters::add(&self.cpu.counters().submits, 1);
        for (op, node) in &self.nodes {
            if let Err(e) = op.cpu(&mut self.io(node, step)) {
                self.failed.set(Some(e));
                return;
            }
        }
    }

    fn io<'a>(&'a self, node: &'a Operands, step: &'a StepParams) -> CpuIo<'a> {
        CpuIo { node, step, cpu: &self.cpu, taken: Cell::new(0) }
    }

    /// What the last run failed with.
    pub fn check(&self) -> Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    pub fn profile(&self, step: &StepParams) -> Result<Vec<Timed>> {
        let mut out = Vec::with_capacity(self.nodes.len());
        let start = clock::seconds();
        for (op, node) in &self.nodes {
            let begin = clock::seconds();
            op.cpu(&mut self.io(node, step))?;
            let seconds = clock::seconds() - begin;
            out.push(Timed {
                op: op.name(),
                kernel: op.name().to_string(),
                begin: begin - start,
                seconds,
                cost: op.cost(&self.io(node, step)),
            });
        }
        Ok(out)
    }
}
