//! How a program is submitted, and the memory it works in.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::Result;
use crate::graph::{Exec, Mem, Pace, Val};

/// How a program is submitted.
#[derive(Clone)]
pub struct ProgramOptions {
    /// Dispatches per submit, at most: few keep the page painting, many cost less.
    pub per_submit: usize,
    /// Where submits are to be cut by time as well, by what several programs have learned together: see [`super::Program::replay`].
    pub pace: Option<Rc<Pace>>,
}

impl Default for ProgramOptions {
    fn default() -> Self {
        ProgramOptions { per_submit: 256, pace: None }
    }
}

/// Slots that several programs share, such as those of one training for batches of different shapes.
#[derive(Default)]
pub struct SlotPool {
    /// Largest first.
    bufs: RefCell<Vec<Mem>>,
    /// Bytes of replaced slots, which programs built before may still hold.
    stale: Cell<u64>,
}

impl SlotPool {
    /// A different buffer for each size: the largest for the largest. What is too small is replaced; programs built before
    /// keep theirs.
    pub(super) fn take(&self, exec: &Exec, sizes: &[u64]) -> Result<Vec<Mem>> {
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by_key(|i| std::cmp::Reverse(sizes[*i]));
        let mut bufs = self.bufs.borrow_mut();
        let mut out: Vec<Option<Mem>> = vec![None; sizes.len()];
        for (rank, i) in order.into_iter().enumerate() {
            let bytes = sizes[i].max(16).next_multiple_of(16);
            if bufs.get(rank).is_none_or(|b| b.bytes() < bytes) {
                let fresh = exec.storage("slot", bytes)?;
                if rank < bufs.len() {
                    self.stale.set(self.stale.get() + bufs[rank].bytes());
                    bufs[rank] = fresh;
                } else {
                    bufs.push(fresh);
                }
            }
            out[i] = Some(bufs[rank].range(0, bytes));
        }
        Ok(out.into_iter().map(|b| b.expect("one per size")).collect())
    }

    /// Makes its slots at least as large, largest first, before a program needs them.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn reserve(&self, exec: &Exec, sizes: &[u64]) -> Result<()> {
        self.take(exec, sizes).map(drop)
    }

    /// True when programs built before hold slots that are worth having back, as far as they have been replaced: whoever keeps programs is to
    /// forget them (and knows it). A few bytes are not worth recording again.
    pub fn outgrown(&self) -> bool {
        let outgrown = self.stale.get() * 8 > self.bytes();
        if outgrown {
            self.stale.set(0);
        }
        outgrown
    }

    /// Bytes of all its slots.
    pub fn bytes(&self) -> u64 {
        self.bufs.borrow().iter().map(Mem::bytes).sum()
    }
}

/// Where every value of a tape lives.
pub(super) struct Memory {
    /// Per value; `None` for tensors split over several buffers and for values nobody names.
    pub vals: Vec<Option<Mem>>,
    pub slots: Vec<Mem>,
    pub scratch: Vec<Vec<usize>>,
}

impl Memory {
    /// The memory of a value.
    pub fn of(&self, v: Val) -> &Mem {
        self.vals[v.index()].as_ref().expect("a value that a node names has a place")
    }

    /// The memory of node `i`'s temporaries.
    pub fn scratch(&self, i: usize) -> impl Iterator<Item = &Mem> {
        self.scratch[i].iter().map(|s| &self.slots[*s])
    }
}
