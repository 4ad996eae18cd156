//! f32 kernels over slices; no tensors, no tapes.

pub mod dequant;
pub mod gemm;
pub mod lora;
mod packed;
pub mod rows;

pub use packed::Packed;
