//! What a replay spends its time and its memory on: for the benchmarks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Cost, Plan, Tape};

/// One dispatch; on the processor, one operation.
#[derive(Clone, Debug)]
pub struct Timed {
    pub op: &'static str,
    pub kernel: String,
    /// Seconds since the first dispatch began, with a timer around each.
    pub begin: f64,
    pub seconds: f64,
    /// As the op says; where it says nothing no arithmetic, and all that it binds, which is the most it can be.
    pub cost: Cost,
}

/// A value (or an op's temporary) in a slot.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// First and last node that need it.
    pub first: usize,
    pub last: usize,
    pub bytes: u64,
    /// Name of the op of the first one.
    pub op: &'static str,
}

/// Which slot is whose, and when.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    /// Operations of the tape: what time is counted in.
    pub nodes: usize,
    /// Bytes of each slot and what lives in it.
    pub slots: Vec<(u64, Vec<Life>)>,
    /// Bytes that would be needed without reuse.
    pub naive_bytes: u64,
}

impl Layout {
    pub(super) fn new(tape: &Tape, plan: &Plan) -> Layout {
        let slots = plan.slots.iter().map(|slot| {
            let life = |&(first, last, val): &(usize, usize, Option<super::Val>)| Life {
                first,
                last,
                bytes: val.map_or(slot.bytes, |v| tape.desc(v).gpu_bytes()),
                op: tape.nodes[first].op.name(),
            };
            (slot.bytes, slot.lives.iter().map(life).collect())
        });
        Layout { nodes: tape.nodes.len(), slots: slots.collect(), naive_bytes: plan.naive_bytes }
    }

    /// Bytes of all slots.
    pub fn bytes(&self) -> u64 {
        self.slots.iter().map(|s| s.0).sum()
    }
}

/// A replay, kernel by kernel.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    pub timed: Vec<Timed>,
    /// Seconds of the same replay without timers, from the submit until it is done: the median of a few.
    pub wall: f64,
    /// Of one replay.
    pub dispatches: u64,
    pub submits: u64,
    pub allocations: u64,
    pub layout: Layout,
}

/// All dispatches of one kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct KernelSum {
    pub count: usize,
    pub seconds: f64,
    pub cost: Cost,
}

impl KernelSum {
    /// Operations and bytes per second; zero where the clock is too coarse to tell.
    pub fn rates(&self) -> Cost {
        if self.seconds > 0.0 { self.cost * (1.0 / self.seconds) } else { Cost::default() }
    }
}

impl Profile {
    /// The kernels, those that take longest first.
    pub fn by_kernel(&self) -> Vec<(&str, KernelSum)> {
        let mut by: BTreeMap<&str, KernelSum> = BTreeMap::new();
        for d in &self.timed {
            let e = by.entry(&d.kernel).or_default();
            *e = KernelSum { count: e.count + 1, seconds: e.seconds + d.seconds, cost: e.cost + d.cost };
        }
        let mut rows: Vec<_> = by.into_iter().collect();
        rows.sort_by(|a, b| b.1.seconds.total_cmp(&a.1.seconds));
        rows
    }

    /// The same and what is lost between them, as `fledgling bench --profile` writes it. `peaks`: the most that the device reaches, where that was measured.
    pub fn summary(&self, peaks: Option<Cost>) -> Value {
        let kernels = self.by_kernel().into_iter().map(|(kernel, k)| {
            let rate = k.rates();
            json!({
                "kernel": kernel, "count": k.count, "ms": k.seconds * 1e3, "gflops": rate.flops / 1e9, "gbps": rate.bytes / 1e9,
                "fma_fraction": peaks.map(|p| rate.flops / p.flops), "copy_fraction": peaks.map(|p| rate.bytes / p.bytes),
            })
        });
        json!({
            "wall_ms": self.wall * 1e3, "kernels_ms": self.kernels() * 1e3, "between_ms": (self.wall - self.kernels()) * 1e3,
            "dispatches": self.dispatches, "submits": self.submits, "allocations": self.allocations, "slots": self.layout.slots.len(),
            "slot_bytes": self.layout.bytes(), "slot_bytes_without_reuse": self.layout.naive_bytes, "kernels": kernels.collect::<Vec<_>>(),
        })
    }

    /// Seconds inside kernels.
    pub fn kernels(&self) -> f64 {
        self.timed.iter().map(|t| t.seconds).sum()
    }

    /// What runs behind this: times and counts add up, and the larger plan is kept.
    pub fn then(mut self, next: Profile) -> Profile {
        let end = self.timed.last().map_or(0.0, |t| t.begin + t.seconds);
        self.timed.extend(next.timed.into_iter().map(|t| Timed { begin: t.begin + end, ..t }));
        self.wall += next.wall;
        self.dispatches += next.dispatches;
        self.submits += next.submits;
        self.allocations += next.allocations;
        if next.layout.bytes() > self.layout.bytes() {
            self.layout = next.layout;
        }
        self
    }
}
