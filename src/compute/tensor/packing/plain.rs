//! Types whose elements stand for themselves.
use super::layout::{Form, Stored, half};
use crate::tensor::dtype::DType;

const fn plain(
    dtype: DType,
    name: &'static str,
    [ggml, file_type]: [Option<u32>; 2],
    bytes: usize,
    form: Form,
    quantize: fn(&[f32], &mut Vec<u8>),
) -> Stored {
    Stored {
        dtype,
        name,
        ggml,
        file_type,
        instead: None,
        safetensors: Some(name),
        block_len: 1,
        block_bytes: bytes,
        define: name,
        form,
        quantize: Some(quantize),
    }
}

fn word(b: &[u8]) -> u32 {
    u32::from_le_bytes([b[0], b[1], b[2], b[3]])
}

fn bf16(b: &[u8]) -> f32 {
    half::bf16::from_le_bytes([b[0], b[1]]).to_f32()
}

pub const F32: Stored = plain(
    DType::F32,
    "F32",
    [Some(0); 2],
    4,
    Form::Plain { read: |b| f32::from_bits(word(b)), finite: |b| f32::from_bits(word(b)).is_finite() },
    |x, out| out.extend(x[0].to_le_bytes()),
);

pub const F16: Stored = plain(DType::F16, "F16", [Some(1); 2], 2, Form::Plain { read: half, finite: |b| b[1] & 0x7c != 0x7c }, |x, out| {
    out.extend(half::f16::from_f32(x[0]).to_le_bytes())
});

pub const BF16: Stored = plain(
    DType::BF16,
    "BF16",
    [Some(30), Some(32)],
    2,
    Form::Plain { read: bf16, finite: |b| b[1] & 0x7f != 0x7f || b[0] & 0x80 != 0x80 },
    |x, out| out.extend(half::bf16::from_f32(x[0]).to_le_bytes()),
);

pub const U32: Stored = plain(DType::U32, "U32", [None; 2], 4, Form::Plain { read: |b| word(b) as f32, finite: |_| true }, |x, out| {
    out.extend((x[0] as u32).to_le_bytes())
});
