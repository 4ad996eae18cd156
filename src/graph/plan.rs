//! The planner: lifetimes to slots.

use super::{Desc, Exec, Place, Tape, Val};

/// (first node, last node, value or `None` for an op's temporary)
pub type Life = (usize, usize, Option<Val>);

/// A buffer that several values share, one after the other.
#[derive(Clone, Debug)]
pub struct Slot {
    pub bytes: u64,
    /// In order of time.
    pub lives: Vec<Life>,
}

/// Which slot each temporary value lives in.
#[derive(Debug, Default)]
pub struct Plan {
    pub slots: Vec<Slot>,
    /// Per value: its slot, if it lives in one.
    pub of: Vec<Option<usize>>,
    /// Per node: the slots of its temporaries.
    pub scratch: Vec<Vec<usize>>,
    /// Bytes that would be needed without reuse.
    pub naive_bytes: u64,
}

impl Plan {
    /// Assigns slots greedily in order of size: each value takes the smallest slot that nobody has while it lives, so that a small value that
    /// lives long never holds a large slot back from those that come and go. With the temporaries that a GPU's kernels ask for.
    pub fn new(tape: &Tape) -> Plan {
        Plan::with(tape, true)
    }

    /// The plan of a program on `exec`: only the kernels of a GPU ask for temporaries that are planned.
    pub fn on(exec: &Exec, tape: &Tape) -> Plan {
        Plan::with(tape, exec.gpu().is_some())
    }

    fn with(tape: &Tape, scratch: bool) -> Plan {
        let n = tape.nodes.len();
        let mut first = vec![usize::MAX; tape.vals.len()];
        let mut last = vec![0usize; tape.vals.len()];
        for (i, node) in tape.nodes.iter().enumerate() {
            for v in node.inputs.iter().chain(&node.outputs) {
                first[v.index()] = first[v.index()].min(i);
                last[v.index()] = i;
            }
        }
        let mut plan = Plan { of: vec![None; tape.vals.len()], scratch: vec![Vec::new(); n], ..Plan::default() };
        // (bytes, (first node, last node, value or none), number among the first node's temporaries)
        let mut wanted: Vec<(u64, Life, usize)> = Vec::new();
        let mut known = vec![false; tape.vals.len()];
        for (i, node) in tape.nodes.iter().enumerate() {
            for v in node.outputs.iter().chain(&node.inputs) {
                let info = &tape.vals[v.index()];
                if matches!(info.place, Place::Slot) && first[v.index()] == i && !std::mem::replace(&mut known[v.index()], true) {
                    wanted.push((info.desc.gpu_bytes(), (i, last[v.index()], Some(*v)), 0));
                }
            }
            if scratch {
                let ins: Vec<&Desc> = node.inputs.iter().map(|v| &tape.vals[v.index()].desc).collect();
                let outs: Vec<&Desc> = node.outputs.iter().map(|v| &tape.vals[v.index()].desc).collect();
                let temps = node.op.scratch(&ins, &outs);
                plan.scratch[i] = vec![usize::MAX; temps.len()];
                wanted.extend(temps.iter().enumerate().map(|(k, d)| (d.gpu_bytes(), (i, i, None), k)));
            }
        }
        plan.naive_bytes = wanted.iter().map(|w| w.0).sum();
        // Stable: of equal sizes, in order of time.
        wanted.sort_by_key(|w| std::cmp::Reverse(w.0));
        for (bytes, life, k) in wanted {
            let slot = plan.take(bytes, life);
            match life.2 {
                Some(v) => plan.of[v.index()] = Some(slot),
                None => plan.scratch[life.0][k] = slot,
            }
        }
        plan
    }

    /// The last slot that is free for a life: sizes fall, so that it is the smallest that fits; else a new one.
    fn take(&mut self, bytes: u64, life: Life) -> usize {
        for (k, slot) in self.slots.iter_mut().enumerate().rev() {
            let at = slot.lives.partition_point(|l| l.0 < life.0);
            let before = at == 0 || slot.lives[at - 1].1 < life.0;
            if before && slot.lives.get(at).is_none_or(|l| life.1 < l.0) {
                slot.lives.insert(at, life);
                return k;
            }
        }
        self.slots.push(Slot { bytes, lives: vec![life] });
        self.slots.len() - 1
    }

    /// Bytes of all slots.
    pub fn bytes(&self) -> u64 {
        self.slots.iter().map(|s| s.bytes).sum()
    }
}
