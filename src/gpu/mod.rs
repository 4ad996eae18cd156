//! The device: adapter, limits, buffers, kernels, readback. Knows wgpu and nothing of tensors.

mod ahead;
mod buffer;
mod caps;
mod device;
#[cfg(target_arch = "wasm32")]
mod js;
mod kernel;
pub mod preprocess;
mod subgroups;
mod tuning;

pub use buffer::Buf;
pub use caps::Caps;
pub use device::{Gpu, GpuOptions, Mark, Passed};
pub use kernel::{Kernel, KernelKey};
pub use tuning::Tuning;
