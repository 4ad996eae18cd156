//! Linear layers: the op, its gradients, the choice of a kernel, and the same on the processor.

mod cpu;
mod gradients;
mod lora;
mod op;
pub(in crate::ops) mod select;

pub(crate) use gradients::LinearDx;
pub use lora::{LoraSeg, Low, MAX_SEGS};
pub use op::Linear;
pub use select::{forward_class, quads};
