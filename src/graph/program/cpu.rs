//! A program on the processor: the recorded ops, bound to memory, one after another. Each uses all threads by itself.

use std::cell::Cell;

use super::memory::Memory;
use crate::clock;
use crate::counters::Counters;
use crate::cpu::Cpu;
use crate::graph::cpu_io::{CpuIo, CpuNode, View};
use crate::graph::profile::Timed;
use crate::graph::{StepParams, Tape, Val};
use crate::{Error, Result};

pub(super) struct CpuProgram {
    cpu: Cpu,
    nodes: Vec<CpuNode>,
    /// An op refused its values in the last run: reported at the next read.
    failed: Cell<Option<Error>>,
}

impl CpuProgram {
    pub fn build(cpu: &Cpu, tape: &Tape, memory: &Memory) -> CpuProgram {
        let view = |v: &Val| View { desc: tape.desc(*v).clone(), buf: memory.of(*v).cpu().clone() };
        let nodes = tape
            .nodes()
            .iter()
            .map(|n| CpuNode {
                op: n.op.clone(),
                inputs: n.inputs.iter().map(view).collect(),
                outputs: n.outputs.iter().map(view).collect(),
                acc: n.acc.clone(),
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
        for node in &self.nodes {
            if let Err(e) = self.one(node, step) {
                self.failed.set(Some(e));
                return;
            }
        }
    }

    fn io<'a>(&'a self, node: &'a CpuNode, step: &'a StepParams) -> CpuIo<'a> {
        CpuIo { node, step, cpu: &self.cpu, taken: Cell::new(0) }
    }

    fn one(&self, node: &CpuNode, step: &StepParams) -> Result<()> {
        node.op.cpu(&mut self.io(node, step))
    }

    /// What the last run failed with.
    pub fn check(&self) -> Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    pub fn profile(&self, step: &StepParams) -> Result<Vec<Timed>> {
        let mut out = Vec::with_capacity(self.nodes.len());
        let start = clock::seconds();
        for node in &self.nodes {
            let begin = clock::seconds();
            self.one(node, step)?;
            let seconds = clock::seconds() - begin;
            out.push(Timed {
                op: node.op.name(),
                kernel: node.op.name().to_string(),
                begin: begin - start,
                seconds,
                cost: node.op.cost(&self.io(node, step)),
            });
        }
        Ok(out)
    }
}
