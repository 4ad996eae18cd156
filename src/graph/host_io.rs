//! What an op sees when it runs on the host.

use std::rc::Rc;

use super::{Desc, StepParams};

/// What an op sees when it runs on the host. Values are row-major f64; integers are exact.
pub struct HostIo<'s> {
    pub descs: Vec<Desc>,
    pub inputs: Vec<Rc<Vec<f64>>>,
    pub out_descs: Vec<Desc>,
    /// Zeroed, unless `acc`: then they hold what is to be added to or changed.
    pub outputs: Vec<Vec<f64>>,
    pub acc: Vec<bool>,
    pub step: &'s StepParams,
}

impl HostIo<'_> {
    /// Input `i`.
    pub fn input(&self, i: usize) -> Rc<Vec<f64>> {
        self.inputs[i].clone()
    }

    /// Shape of input `i`.
    pub fn shape(&self, i: usize) -> Vec<usize> {
        self.descs[i].shape.clone()
    }

    /// Adds `value` to element `at` of output `i` (outputs that are not accumulated start at zero).
    pub fn add(&mut self, i: usize, at: usize, value: f64) {
        self.outputs[i][at] += value;
    }
}
