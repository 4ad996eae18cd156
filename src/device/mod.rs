//! Choosing a device and measuring what it reaches: a real GPU, a software adapter or the processor, and the kernel variants that are fastest on it.

pub mod calibrate;
mod choose;
pub mod measure;
pub mod peak;
pub mod variants;

pub use choose::*;
