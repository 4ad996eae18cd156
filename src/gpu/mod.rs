//! The device: adapter, limits, buffers, kernels, readback. Knows wgpu and nothing of tensors.

mod ahead;
mod buffer;
mod device;
mod kernel;
pub mod preprocess;
mod subgroups;
mod tuning;

pub use buffer::Buf;
pub use device::{Caps, Gpu, GpuOptions, Mark, Passed};
pub use kernel::{Kernel, KernelKey};
pub use tuning::Tuning;
