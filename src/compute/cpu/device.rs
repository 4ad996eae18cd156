//! The handle of the processor: threads, counters, and what it calls itself.

use std::rc::Rc;

use super::{Pool, simd};
use crate::counters::Counters;

/// How to open the processor.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuOptions {
    /// Threads, this one included; `None`: one per core, in a browser as many as JavaScript has started.
    pub threads: Option<usize>,
}

/// The processor. Cloning shares it.
#[derive(Clone)]
pub struct Cpu(Rc<Inner>);

struct Inner {
    pool: Pool,
    counters: Rc<Counters>,
}

impl Cpu {
    /// Starts the threads, where Rust can.
    pub fn new(options: CpuOptions) -> Cpu {
        Cpu(Rc::new(Inner { pool: Pool::new(options.threads), counters: Rc::default() }))
    }

    /// For a person: instruction set and threads.
    pub fn name(&self) -> String {
        let n = self.0.pool.threads();
        format!("processor ({}, {n} thread{})", simd::level().name(), if n == 1 { "" } else { "s" })
    }

    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    pub fn counters(&self) -> &Rc<Counters> {
        &self.0.counters
    }
}
