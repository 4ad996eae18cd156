//! Types with blocks of 32. Halves of bytes hold the first sixteen values low and the others high.
use super::layout::{Blocks, E2M1, Form, IQ4, Stored, bits16, half, half_power, halves, put_half};
use super::quantize::{q4_0, q4_1, q5_0, q5_1, q8_0};
use super::search::{iq4_nl, mxfp4};
use crate::tensor::dtype::DType;

const BLOCK: usize = 32;

/// What most of these types have in common: an f16 scale in front.
const BASE: Blocks = Blocks {
    low_bits: 4,
    high_bits: 0,
    head_words: 1,
    signed: false,
    offset: 0.0,
    shifted: false,
    codebook: None,
    ints: |_, _| {},
    head: |b, head| head[0] = bits16(b),
    loud: |b, size| put_half(b, size / 127.0),
    pair: |head, _| halves(head[0]),
};

const fn short(
    dtype: DType,
    name: &'static str,
    [ggml, file_type]: [u32; 2],
    bytes: usize,
    define: &'static str,
    blocks: Blocks,
) -> Stored {
    Stored {
        dtype,
        name,
        ggml: Some(ggml),
        file_type: Some(file_type),
        instead: None,
        safetensors: None,
        block_len: BLOCK,
        block_bytes: bytes,
        define,
        form: Form::Blocks(blocks),
        quantize: None,
    }
}

/// Sixteen bytes of halves.
fn nibbles(q: &[u8], out: &mut [u8]) {
    let (low, high) = out.split_at_mut(16);
    for ((q, low), high) in q.iter().zip(low).zip(high) {
        *low = q & 15;
        *high = q >> 4;
    }
}

/// Sixteen bytes of halves and four of fifth bits.
fn fives(high: &[u8], q: &[u8], out: &mut [u8]) {
    nibbles(q, out);
    let bits = u32::from_le_bytes([high[0], high[1], high[2], high[3]]);
    for (i, q) in out.iter_mut().enumerate() {
        *q |= ((bits >> i & 1) << 4) as u8;
    }
}

/// d and the minimum −offset·d in one word: exact, but for scales whose minimum is too large for a half, which are refused as infinite.
fn centred(b: &[u8], offset: f32) -> u32 {
    bits16(b) | u32::from(half::f16::from_f32(half(b) * -offset).to_bits()) << 16
}

/// f16 scale, 16 bytes of halves: `w = d·(q − 8)`.
pub const Q4_0: Stored = Stored {
    quantize: Some(q4_0),
    ..short(
        DType::Q4_0,
        "Q4_0",
        [2, 2],
        18,
        "Q4",
        Blocks {
            offset: 8.0,
            ints: |b, out| nibbles(&b[2..18], out),
            head: |b, head| head[0] = centred(b, 8.0),
            loud: |b, size| put_half(b, size / 8.0),
            ..BASE
        },
    )
};

/// f16 scale, f16 minimum, 16 bytes of halves: `w = d·q + m`.
pub const Q4_1: Stored = Stored {
    quantize: Some(q4_1),
    ..short(
        DType::Q4_1,
        "Q4_1",
        [3, 3],
        20,
        "Q4",
        Blocks {
            shifted: true,
            ints: |b, out| nibbles(&b[4..20], out),
            head: |b, head| head[0] = bits16(b) | bits16(&b[2..]) << 16,
            loud: |b, size| {
                put_half(b, size * 2.0 / 15.0);
                put_half(&mut b[2..], -size);
            },
            ..BASE
        },
    )
};

/// f16 scale, 4 bytes of fifth bits, 16 bytes of halves: `w = d·(q − 16)`.
pub const Q5_0: Stored = Stored {
    quantize: Some(q5_0),
    ..short(
        DType::Q5_0,
        "Q5_0",
        [6, 8],
        22,
        "Q5",
        Blocks {
            high_bits: 1,
            offset: 16.0,
            ints: |b, out| fives(&b[2..6], &b[6..22], out),
            head: |b, head| head[0] = centred(b, 16.0),
            loud: |b, size| put_half(b, size / 16.0),
            ..BASE
        },
    )
};

/// f16 scale, f16 minimum, 4 bytes of fifth bits, 16 bytes of halves: `w = d·q + m`.
pub const Q5_1: Stored = Stored {
    quantize: Some(q5_1),
    ..short(
        DType::Q5_1,
        "Q5_1",
        [7, 9],
        24,
        "Q5",
        Blocks {
            high_bits: 1,
            shifted: true,
            ints: |b, out| fives(&b[4..8], &b[8..24], out),
            head: |b, head| head[0] = bits16(b) | bits16(&b[2..]) << 16,
            loud: |b, size| {
                put_half(b, size * 2.0 / 31.0);
                put_half(&mut b[2..], -size);
            },
            ..BASE
        },
    )
};

/// f16 scale, 32 signed bytes: `w = d·q`.
pub const Q8_0: Stored = Stored {
    quantize: Some(q8_0),
    ..short(
        DType::Q8_0,
        "Q8_0",
        [8, 7],
        34,
        "Q8",
        Blocks { low_bits: 8, signed: true, ints: |b, out| out.copy_from_slice(&b[2..34]), ..BASE },
    )
};

/// f16 scale, 16 bytes of halves that pick from [`IQ4`].
pub const IQ4_NL: Stored = Stored {
    quantize: Some(iq4_nl),
    ..short(DType::IQ4_NL, "IQ4_NL", [20, 25], 18, "IQ4", Blocks { codebook: Some(&IQ4), ints: |b, out| nibbles(&b[2..18], out), ..BASE })
};

/// A power of two as a byte, 16 bytes of halves that pick from [`E2M1`]. On the GPU the scale is an f32.
pub const MXFP4: Stored = Stored {
    quantize: Some(mxfp4),
    ..short(
        DType::MXFP4,
        "MXFP4",
        [39, 38],
        17,
        "MX4",
        Blocks {
            codebook: Some(&E2M1),
            ints: |b, out| nibbles(&b[1..17], out),
            head: |b, head| head[0] = half_power(b[0]),
            loud: |b, size| b[0] = (128.0 + (size.abs() / 12.0).log2()).clamp(0.0, 252.0) as u8,
            pair: |head, _| (f32::from_bits(head[0]), 0.0),
            ..BASE
        },
    )
};
