//! GGUF versions 2 and 3, little-endian: incremental header parser and a small writer.
mod parse;
mod write;

pub(super) use parse::Parser;
pub use write::{Layout, layout, write};

use crate::tensor::DType;

/// Tensor data starts at a multiple of this unless `general.alignment` says otherwise.
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// ggml's names of tensor types, by id; empty where an id was withdrawn.
const TYPE_NAMES: [&str; 40] = [
    "F32", "F16", "Q4_0", "Q4_1", "", "", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS",
    "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64", "IQ1_M", "BF16", "", "", "",
    "TQ1_0", "TQ2_0", "", "", "", "MXFP4",
];

fn type_name(id: u32) -> String {
    match TYPE_NAMES.get(id as usize).copied() {
        Some(name) if !name.is_empty() => name.to_string(),
        _ => format!("number {id}"),
    }
}

fn dtype_of(id: u32) -> Option<DType> {
    Some(match id {
        0 => DType::F32,
        1 => DType::F16,
        2 => DType::Q4_0,
        3 => DType::Q4_1,
        8 => DType::Q8_0,
        30 => DType::BF16,
        _ => return None,
    })
}

fn id_of(dtype: DType) -> Option<u32> {
    Some(match dtype {
        DType::F32 => 0,
        DType::F16 => 1,
        DType::Q4_0 => 2,
        DType::Q4_1 => 3,
        DType::Q8_0 => 8,
        DType::BF16 => 30,
        DType::U32 => return None,
    })
}
