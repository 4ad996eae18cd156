//! What is measured: times again and again, counts before and after; and ids to measure with.

use std::ops::Sub;

use fledgling::graph::Exec;

/// Ids that mean nothing and begin differently for each `salt`, so that no cache can help.
pub fn ids(vocab: usize, n: usize, salt: usize) -> Vec<u32> {
    (0..n).map(|i| (100 + (i * 7919 + salt * 31) % vocab.saturating_sub(200).max(1)) as u32 % vocab as u32).collect()
}

/// Repeated measurements: at least three, more while they are short.
#[derive(Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub const LEAST: usize = 3;
    pub const MOST: usize = 20;
    /// Seconds that are enough.
    const ENOUGH: f64 = 1.5;

    pub fn push(&mut self, seconds: f64) {
        self.0.push(seconds);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True while another one would tell more.
    pub fn wanted(&self) -> bool {
        self.len() < Self::LEAST || (self.len() < Self::MOST && self.0.iter().sum::<f64>() < Self::ENOUGH)
    }

    pub fn median(&self) -> f64 {
        let mut v = self.0.clone();
        v.sort_by(f64::total_cmp);
        v.get(v.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// What a device has done.
#[derive(Clone, Copy, Default)]
pub struct Counts {
    pub dispatches: u64,
    pub submits: u64,
    pub allocations: u64,
}

impl Counts {
    /// Since it was opened.
    pub fn of(exec: &Exec) -> Counts {
        let c = exec.counters();
        Counts { dispatches: c.dispatches.get(), submits: c.submits.get(), allocations: c.allocations.get() }
    }
}

impl Sub for Counts {
    type Output = Counts;

    fn sub(self, o: Counts) -> Counts {
        let less = u64::saturating_sub;
        Counts {
            dispatches: less(self.dispatches, o.dispatches),
            submits: less(self.submits, o.submits),
            allocations: less(self.allocations, o.allocations),
        }
    }
}
