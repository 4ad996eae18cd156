//! The kernel variants that are worth measuring on an adapter, by class of work (`Tuning`'s classes; `docs/engine/kernels.md` says what they mean).

use crate::gpu::Gpu;
use crate::ops::linear::quads;

/// Classes, in the order they are measured: a norm before a product is measured with the product chosen by then. The two that are left out have one
/// form per kind of adapter (`linear_dw`) or are part of a training of all weights alone (`embedding_dw`).
pub const CLASSES: [&str; 10] = [
    "linear.m1",
    "linear.m8",
    "linear_norm",
    "linear.big",
    "linear_dx",
    "rows",
    "attention",
    "attention_small",
    "attention_dq",
    "attention_dkv",
];

/// `reg<TM>x<TN>` hold a tile in registers and need no barrier, `tile` goes through workgroup memory, `vec` puts 32 threads on a few weight rows
/// (`vecsub`: with subgroups). `block<rows>` puts a thread on that many rows of a weight in blocks of 32; `quad<TQ>` lets four threads share what they
/// load of x or dy. `rows<rows>x<keys>` are attention's tiles in registers.
pub fn variants(gpu: &Gpu, class: &str) -> Vec<&'static str> {
    let caps = gpu.caps();
    if caps.is_software {
        // On a processor a barrier is a loop over a workgroup's threads that keeps all of them in memory. Kernels with barriers take long to compile
        // there and are never the fastest, though now and then a short measurement says so: they are not asked.
        return match class {
            "linear.m1" | "linear.m8" => vec!["reg8x8", "block16"],
            "linear.big" if quads(gpu) => vec!["reg8x8", "quad8"],
            "linear.big" => vec!["reg8x8", "reg4x4"],
            "linear_dx" if quads(gpu) => vec!["reg8", "quad8"],
            "linear_dx" => vec!["reg8"],
            // 0.1 ms on SwiftShader either way; fewer dispatches.
            "linear_norm" => vec!["fused"],
            "attention_small" => vec!["rows1x8"],
            "attention" | "attention_dq" | "attention_dkv" => vec!["rows8x8"],
            _ => vec!["serial"],
        };
    }
    match class {
        // Of any size: the kernel asks for it, and the clock decides.
        "linear.m1" | "linear.m8" if caps.subgroups => vec!["reg8x8", "vec", "block16", "vecsub"],
        "linear.m1" | "linear.m8" => vec!["reg8x8", "vec", "block16"],
        "linear.big" => vec!["reg8x8", "reg4x4", "tile"],
        "linear_dx" => vec!["reg8", "tile"],
        "linear_norm" => vec!["fused", "apart"],
        "attention" => vec!["tile", "query", "rows1x8"],
        "attention_small" => vec!["append", "query", "rows1x8"],
        "attention_dq" => vec!["tile", "rows1x8"],
        "attention_dkv" => vec!["tile", "rows8x1"],
        _ => vec!["serial", "group"],
    }
}
