//! The planner: lifetimes to slots.

use super::{Desc, Exec, Place, Tape, Val};

/// A buffer that several values share, one after the other.
#[derive(Clone, Debug)]
pub struct Slot {
    pub bytes: u64,
    /// (first node, last node, value or `None` for an op's temporary) in order of time.
    pub lives: Vec<(usize, usize, Option<Val>)>,
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
    /// Assigns slots greedily in order of time: the smallest free slot that is large enough, else the largest free one, grown. With the
    /// temporaries that a GPU's kernels ask for.
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
        let mut free: Vec<usize> = Vec::new();
        let mut ends: Vec<Vec<usize>> = vec![Vec::new(); n];
        for i in 0..n {
            let node = &tape.nodes[i];
            let mut starts: Vec<(Option<Val>, u64)> = Vec::new();
            for v in node.outputs.iter().chain(&node.inputs) {
                let info = &tape.vals[v.index()];
                if matches!(info.place, Place::Slot)
                    && first[v.index()] == i
                    && plan.of[v.index()].is_none()
                    && !starts.iter().any(|s| s.0 == Some(*v))
                {
                    starts.push((Some(*v), info.desc.gpu_bytes()));
                }
            }
            let ins: Vec<&Desc> = node.inputs.iter().map(|v| &tape.vals[v.index()].desc).collect();
            let outs: Vec<&Desc> = node.outputs.iter().map(|v| &tape.vals[v.index()].desc).collect();
            if scratch {
                starts.extend(node.op.scratch(&ins, &outs).iter().map(|d| (None, d.gpu_bytes())));
            }
            for (v, bytes) in starts {
                plan.naive_bytes += bytes;
                let slot = plan.take(&mut free, bytes);
                let end = v.map_or(i, |v| last[v.index()]);
                plan.slots[slot].lives.push((i, end, v));
                match v {
                    Some(v) => plan.of[v.index()] = Some(slot),
                    None => plan.scratch[i].push(slot),
                }
                ends[end].push(slot);
            }
            free.append(&mut ends[i]);
        }
        plan
    }

    fn take(&mut self, free: &mut Vec<usize>, bytes: u64) -> usize {
        let fits = (0..free.len()).filter(|&k| self.slots[free[k]].bytes >= bytes).min_by_key(|&k| self.slots[free[k]].bytes);
        // A slot that is far too large is better left for a large value.
        let fits = fits.filter(|&k| self.slots[free[k]].bytes <= bytes.saturating_mul(16).max(4096));
        let pick = fits.or_else(|| {
            let k = (0..free.len()).max_by_key(|&k| self.slots[free[k]].bytes)?;
            (self.slots[free[k]].bytes < bytes && self.slots[free[k]].bytes * 4 >= bytes).then_some(k)
        });
        match pick {
            Some(k) => {
                let slot = free.swap_remove(k);
                self.slots[slot].bytes = self.slots[slot].bytes.max(bytes);
                slot
            }
            None => {
                self.slots.push(Slot { bytes, lives: Vec::new() });
                self.slots.len() - 1
            }
        }
    }

    /// Bytes of all slots.
    pub fn bytes(&self) -> u64 {
        self.slots.iter().map(|s| s.bytes).sum()
    }
}
