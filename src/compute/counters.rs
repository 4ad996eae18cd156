//! What a device has done since it was opened: the benchmarks and the tests of steady steps read it.

use std::cell::Cell;

/// Counts since the device was opened.
#[derive(Default, Debug)]
pub struct Counters {
    /// Kernels launched; on the processor, operations run.
    pub dispatches: Cell<u64>,
    /// Command buffers handed over; on the processor, programs run.
    pub submits: Cell<u64>,
    pub allocations: Cell<u64>,
    pub pipelines: Cell<u64>,
    /// Bytes of all buffers alive.
    pub live_bytes: Cell<u64>,
    pub peak_bytes: Cell<u64>,
}

impl Counters {
    /// Adds to a count.
    pub fn add(cell: &Cell<u64>, n: u64) {
        cell.set(cell.get() + n);
    }

    /// A buffer of `bytes` came to life.
    pub fn allocated(&self, bytes: u64) {
        Counters::add(&self.allocations, 1);
        Counters::add(&self.live_bytes, bytes);
        self.peak_bytes.set(self.peak_bytes.get().max(self.live_bytes.get()));
    }

    /// A buffer of `bytes` was given back.
    pub fn freed(&self, bytes: u64) {
        self.live_bytes.set(self.live_bytes.get() - bytes);
    }
}
