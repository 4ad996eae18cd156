//! What work costs, for the benchmarks.

use std::ops::{Add, Mul};

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
