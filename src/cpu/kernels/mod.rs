//! f32 kernels over slices; no tensors, no tapes.

mod packed;

pub use packed::Packed;
