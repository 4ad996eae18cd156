//! The processor as a device: memory, threads, instruction sets and the f32 kernels. What `gpu` and `shaders/` are to a graphics card, this
//! module is to a machine without a usable one. Knows nothing of tensors or tapes.
//!
//! A kernel is a plain function over slices. Those that matter are compiled several times, once per instruction set (see
//! `simd`), and share their work among the threads of a [`Pool`].

mod buffer;
pub mod bytes;
pub mod crew;
mod device;
pub mod kernels;
mod pool;
pub mod scratch;
pub mod simd;
pub mod vector;
pub mod whole;

pub use buffer::{ALIGN, Buf, OutOfMemory};
pub use device::{Cpu, CpuOptions};
pub use pool::Pool;
