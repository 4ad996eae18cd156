//! What a replay spends its time and its memory on: for the benchmarks.

use std::ops::{Add, Mul};

use super::{Plan, Tape};

/// What work costs: arithmetic that has to be done, and bytes that have to be moved at least.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    pub flops: f64,
    pub bytes: f64,
}

impl Add for Cost {
    type Output = Cost;

    fn add(self, o: Cost) -> Cost {
        Cost { flops: self.flops + o.flops, bytes: self.bytes + o.bytes }
    }
}

/// A share of the work.
impl Mul<f64> for Cost {
    type Output = Cost;

    fn mul(self, share: f64) -> Cost {
        Cost { flops: self.flops * share, bytes: self.bytes * share }
    }
}

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

/// A replay taken apart.
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

impl Profile {
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
