//! What an operation is: shape rule, GPU lowering, host reference and backward, all in one file per family.

use super::{Back, Cost, CpuIo, Desc, HostIo, Lower};
use crate::{Error, Result};

/// One coarse operation of the tape. An op is a small value that holds its constants (eps, heads, scale, …).
pub trait Op: 'static {
    /// Kernel file = op = pipeline label = test name.
    fn name(&self) -> &'static str;

    /// Shapes and types of the outputs, or a typed error that names what does not fit.
    ///
    /// # Errors
    /// [`Error::Shape`].
    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>>;

    /// As [`Op::infer`], for [`super::Tape::push_into`]: an op that changes a tensor in place may take shapes from it.
    ///
    /// # Errors
    /// [`Error::Shape`].
    fn infer_into(&self, inputs: &[&Desc], _outputs: &[&Desc]) -> Result<Vec<Desc>> {
        self.infer(inputs)
    }

    /// Temporaries that live only while this node runs.
    fn scratch(&self, _inputs: &[&Desc], _outputs: &[&Desc]) -> Vec<Desc> {
        Vec::new()
    }

    /// Whether output `i` may wait for the backward pass in half precision ([`super::Tape::keep_halves`]): so where it is a factor of gradients.
    /// Statistics of rows and log-probabilities may not. The forward pass is not concerned.
    fn halves(&self, _i: usize) -> bool {
        false
    }

    /// Emits the dispatches. Outputs marked `acc` already hold a value that is to be added to (or, for in-place
    /// ops, changed).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] or [`Error::Shape`] where this device cannot run these shapes.
    fn lower(&self, cx: &mut Lower<'_>) -> Result<()>;

    /// The same in f64 on the host: the reference of the tests.
    ///
    /// # Errors
    /// As [`Op::lower`].
    fn host(&self, io: &mut HostIo<'_>) -> Result<()>;

    /// The same in f32 on the processor: the second executor. An op without kernels of its own is computed by [`Op::host`], which is
    /// right and slow.
    ///
    /// # Errors
    /// As [`Op::lower`].
    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        io.by_reference(|host| self.host(host))
    }

    /// What a run on the processor costs, for the benchmarks; [`Op::lower`] says the same of each dispatch ([`Lower::cost`]). Left out, it is
    /// all that goes in and comes out, and no arithmetic.
    fn cost(&self, io: &CpuIo<'_>) -> Cost {
        io.moved()
    }

    /// True when [`Op::backward`] is implemented.
    fn differentiable(&self) -> bool {
        false
    }

    /// Records the ops that turn the gradients of the outputs into gradients of the inputs.
    ///
    /// # Errors
    /// When the op has no backward, or the recorded ops do not fit.
    fn backward(&self, _back: &mut Back<'_>) -> Result<()> {
        Err(Error::shape(self.name(), "has no backward pass"))
    }
}
