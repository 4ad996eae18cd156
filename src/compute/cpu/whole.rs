//! Registers of whole numbers, for products of quantized weights where unpacking to f32 is what takes the time: instruction sets without wide
//! registers and without a fused multiply-add, which have to multiply and add sixteen-bit numbers in one instruction all the same.

/// A register of eight numbers of 16 bits. Four are the weights of a block, in the order of [`ORDER`].
pub type Eight = imp::Eight;

/// A register of four sums.
pub type Four = imp::Four;

/// Which weight of a block stands where in four registers of eight: bytes, and halves of bytes, are unpacked where they stand.
#[allow(dead_code)] // where there are registers for it, the order is in the instructions
pub const ORDER: [usize; 32] = {
    let mut order = [0; 32];
    let mut i = 0;
    while i < 32 {
        // Even places of both halves, then odd ones.
        order[i] = (i / 8 % 2) * 16 + i / 16 + i % 8 * 2;
        i += 1;
    }
    order
};

/// Whether this target has it. What it has is part of the base level.
pub const HERE: bool = cfg!(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128")));

#[cfg(target_arch = "x86_64")]
#[path = "whole/x86.rs"]
mod imp;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[path = "whole/wasm.rs"]
mod imp;
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "wasm32", target_feature = "simd128"))))]
#[path = "whole/plain.rs"]
mod imp;

pub use imp::{
    apart, dots, first, half_everywhere, halved, halves, less, nibbles, parts, quarters, signed_bytes, signed_halves, together,
    together_with, two_dots, unsigned, widened,
};
