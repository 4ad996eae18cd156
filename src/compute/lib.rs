//! What [fledgling](https://docs.rs/fledgling) computes on a processor: its memory, threads, instruction sets and kernels ([`cpu`]), and the types in
//! which weights are stored ([`tensor`]).
//!
//! A crate of its own, so that kernels are compiled with optimization where the rest is not: a debug build of them would take minutes for what
//! takes a second. It is a part of fledgling, with the same version; its items are public for fledgling alone and change without notice.

pub mod counters;
pub mod cpu;
pub mod rng;
pub mod tensor;
