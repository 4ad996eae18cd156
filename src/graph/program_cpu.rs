//! A program on the processor: the recorded ops, bound to memory, one after another. Each uses all threads by itself.

use std::cell::Cell;

use super::cpu_io::{CpuIo, CpuNode, View};
use super::profile::Timed;
use super::program::Memory;
use super::{StepParams, Tape};
use crate::clock;
use crate::counters::Counters;
use crate::cpu::Cpu;
use crate::{Error, Result};

pub(super) struct CpuProgram {
    cpu: Cpu,
    nodes: Vec<CpuNode>,
    /// An op refused its values in the last run: told at the next read.
    failed: Cell<Option<Error>>,
}

impl CpuProgram {
    pub fn build(cpu: &Cpu, tape: &Tape, memory: &Memory) -> CpuProgram {
        let view = |v: &super::Val| View { desc: tape.desc(*v).clone(), buf: memory.of(*v).cpu().clone() };
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

    fn one(&self, node: &CpuNode, step: &StepParams) -> Result<()> {
        node.op.cpu(&mut CpuIo { node, step, cpu: &self.cpu, taken: Cell::new(0) })
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
            let moved = |v: &[View]| v.iter().map(|v| v.desc.file_bytes()).sum::<u64>();
            out.push(Timed {
                op: node.op.name(),
                kernel: node.op.name().to_string(),
                begin: begin - start,
                seconds: clock::seconds() - begin,
                flops: 0.0,
                bytes: (moved(&node.inputs) + moved(&node.outputs)) as f64,
            });
        }
        Ok(out)
    }
}
