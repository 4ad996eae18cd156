//! f32 kernels over slices; no tensors, no tapes.

pub mod activation;
pub mod attention;
pub mod attention_bwd;
mod blocks;
pub mod dequant;
pub mod dora;
pub mod elementwise;
mod few;
mod few_kinds;
mod few_whole;
pub mod gemm;
pub mod head;
pub mod lanes;
pub mod lora;
pub mod loss;
pub mod lstm;
pub mod math;
pub mod norm;
pub mod optim;
pub mod optim8;
mod packed;
pub mod random;
pub mod reduce;
pub mod rope;
pub mod rows;
pub mod sample;
pub mod softcap;
pub mod stored;

pub use packed::Packed;
