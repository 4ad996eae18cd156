//! GGUF versions 2 and 3, little-endian: incremental header parser and a small writer.
mod parse;
mod split;
mod write;

pub(super) use parse::Parser;
pub use split::{MAX_PARTS, Parts, part_names};
pub use write::{Layout, layout, write};

/// Tensor data starts at a multiple of this unless `general.alignment` says otherwise.
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// ggml's names of tensor types that the [table of stored types](crate::tensor::packing) has not, with their numbers, for messages.
const OTHERS: [(u32, &str); 21] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (36, "IQ4_NL_4_4"),
    (40, "NVFP4"),
];

/// The name of a type that is not in the table.
fn other_name(id: u32) -> String {
    OTHERS.iter().find(|o| o.0 == id).map_or_else(|| format!("number {id}"), |o| o.1.to_string())
}
