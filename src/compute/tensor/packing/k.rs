//! Types with super-blocks of 256: small scales of 16 or 32 values each, and one or two f16 scales of all of them.
use super::layout::{Blocks, Form, IQ4, Stored, bits16, halves, put_half};
use super::search::{iq4_xs, q2_k, q3_k, q4_k, q5_k, q6_k};
use crate::tensor::dtype::DType;

const BLOCK: usize = 256;

const BASE: Blocks = Blocks {
    low_bits: 4,
    high_bits: 0,
    head_words: 5,
    signed: false,
    offset: 0.0,
    shifted: false,
    codebook: None,
    ints: |_, _| {},
    head: |_, _| {},
    loud: |_, _| {},
    pair: |_, _| (0.0, 0.0),
};

const fn long(dtype: DType, name: &'static str, [ggml, file_type]: [u32; 2], bytes: usize, define: &'static str, blocks: Blocks) -> Stored {
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

/// Bits `2·field` and the next one of 32 bytes, for each of four fields in turn, in two halves of 128 values.
fn twos(q: &[u8], mut each: impl FnMut(usize, u8)) {
    for i in 0..BLOCK {
        let (half, field, at) = (i / 128, i % 128 / 32, i % 32);
        each(i, q[32 * half + at] >> (2 * field) & 3);
    }
}

/// 128 bytes of halves: of every 32 the low ones first, then the high ones.
fn fours(q: &[u8], out: &mut [u8]) {
    for (q, out) in q.as_chunks::<32>().0.iter().zip(out.as_chunks_mut::<64>().0) {
        for (i, q) in q.iter().enumerate() {
            out[i] = q & 15;
            out[32 + i] = q >> 4;
        }
    }
}

/// The eight scales and eight minima of 6 bits in 12 bytes.
pub fn six_bits(s: &[u8]) -> ([u8; 8], [u8; 8]) {
    let (mut scales, mut minima) = ([0; 8], [0; 8]);
    for i in 0..4 {
        scales[i] = s[i] & 63;
        minima[i] = s[4 + i] & 63;
        scales[4 + i] = s[8 + i] & 15 | s[i] >> 6 << 4;
        minima[4 + i] = s[8 + i] >> 4 | s[4 + i] >> 6 << 4;
    }
    (scales, minima)
}

/// d and dmin in one word; then scale and minimum of every 32 values in turn, a byte each.
fn six_bit_head(b: &[u8], head: &mut [u32]) {
    let (scales, minima) = six_bits(&b[4..16]);
    head[0] = bits16(b) | bits16(&b[2..]) << 16;
    for i in 0..4 {
        head[1 + i] = u32::from_le_bytes([scales[2 * i], minima[2 * i], scales[2 * i + 1], minima[2 * i + 1]]);
    }
}

fn six_bit_loud<const TOP: u8>(b: &mut [u8], size: f32) {
    put_half(b, size / (32.0 * f32::from(TOP)));
    put_half(&mut b[2..], size / 63.0);
}

fn six_bit_pair(head: &[u32], i: usize) -> (f32, f32) {
    let (d, min) = halves(head[0]);
    let both = head[1 + i / 4] >> (16 * (i / 2 % 2));
    (d * (both & 255) as f32, -(min * (both >> 8 & 255) as f32))
}

/// Byte i of the words behind the first.
fn byte(head: &[u32], i: usize) -> u8 {
    (head[1 + i / 4] >> (8 * (i % 4))) as u8
}

/// Sixteen bytes as words behind the first.
fn bytes(head: &mut [u32], from: &[u8]) {
    for (head, four) in head[1..].iter_mut().zip(from.as_chunks::<4>().0) {
        *head = u32::from_le_bytes(*four);
    }
}

/// Scale and minimum of sixteen in halves of 16 bytes, 64 bytes of two bits, f16 d and dmin: `w = d·s·q − dmin·m`.
pub const Q2_K: Stored = Stored {
    quantize: Some(q2_k),
    instead: Some(DType::IQ4_NL),
    ..long(
        DType::Q2_K,
        "Q2_K",
        [10, 10],
        84,
        "Q2K",
        Blocks {
            low_bits: 2,
            shifted: true,
            ints: |b, out| twos(&b[16..80], |i, q| out[i] = q),
            head: |b, head| {
                head[0] = bits16(&b[80..]) | bits16(&b[82..]) << 16;
                bytes(head, &b[..16]);
            },
            loud: |b, size| {
                put_half(&mut b[80..], size / 24.0);
                put_half(&mut b[82..], size / 15.0);
            },
            pair: |head, i| {
                let ((d, min), both) = (halves(head[0]), byte(head, i));
                (d * f32::from(both & 15), -(min * f32::from(both >> 4)))
            },
            ..BASE
        },
    )
};

/// The sixteen scales of six bits in 12 bytes, less 32.
fn q3_scales(s: &[u8]) -> [i8; 16] {
    let low = |i: usize| s[i % 8] >> (i / 8 * 4) & 15;
    let high = |i: usize| s[8 + i % 4] >> (i / 4 * 2) & 3;
    std::array::from_fn(|i| (low(i) | high(i) << 4) as i8 - 32)
}

/// 32 bytes of third bits, 64 bytes of two bits, 12 bytes with scales of sixteen, f16 d: `w = d·(s − 32)·(q − 4)`.
pub const Q3_K: Stored = Stored {
    quantize: Some(q3_k),
    instead: Some(DType::IQ4_NL),
    ..long(
        DType::Q3_K,
        "Q3_K",
        [11, 11],
        110,
        "Q3K",
        Blocks {
            low_bits: 2,
            high_bits: 1,
            offset: 4.0,
            ints: |b, out| twos(&b[32..96], |i, q| out[i] = q | (b[i % 32] >> (i / 32) & 1) << 2),
            head: |b, head| {
                head[0] = bits16(&b[108..]);
                bytes(head, &q3_scales(&b[96..108]).map(i8::cast_unsigned));
            },
            loud: |b, size| put_half(&mut b[108..], size / 128.0),
            pair: |head, i| {
                let d = halves(head[0]).0 * f32::from(byte(head, i).cast_signed());
                (d, -4.0 * d)
            },
            ..BASE
        },
    )
};

/// f16 d and dmin, 12 bytes with scale and minimum of 32, 128 bytes of halves: `w = d·s·q − dmin·m`.
pub const Q4_K: Stored = Stored {
    quantize: Some(q4_k),
    instead: Some(DType::Q5_0),
    ..long(
        DType::Q4_K,
        "Q4_K",
        [12, 14],
        144,
        "Q4K",
        Blocks {
            shifted: true,
            ints: |b, out| fours(&b[16..144], out),
            head: six_bit_head,
            loud: six_bit_loud::<15>,
            pair: six_bit_pair,
            ..BASE
        },
    )
};

/// As Q4_K with 32 bytes of fifth bits in front of the halves.
pub const Q5_K: Stored = Stored {
    quantize: Some(q5_k),
    instead: Some(DType::Q5_1),
    ..long(
        DType::Q5_K,
        "Q5_K",
        [13, 16],
        176,
        "Q5K",
        Blocks {
            high_bits: 1,
            shifted: true,
            ints: |b, out| {
                fours(&b[48..176], out);
                out.iter_mut().enumerate().for_each(|(i, q)| *q |= (b[16 + i % 32] >> (i / 32) & 1) << 4);
            },
            head: six_bit_head,
            loud: six_bit_loud::<31>,
            pair: six_bit_pair,
            ..BASE
        },
    )
};

/// 128 bytes of halves, 64 bytes of two more bits, signed scales of sixteen, f16 d: `w = d·s·(q − 32)`.
pub const Q6_K: Stored = Stored {
    quantize: Some(q6_k),
    instead: Some(DType::Q8_0),
    ..long(
        DType::Q6_K,
        "Q6_K",
        [14, 18],
        210,
        "Q6K",
        Blocks {
            high_bits: 2,
            offset: 32.0,
            ints: |b, out| {
                twos(&b[128..192], |i, q| {
                    // Of 64 bytes of halves the low ones are 64 values, the high ones the next 64.
                    let low = b[64 * (i / 128) + i % 64] >> (i / 64 % 2 * 4) & 15;
                    out[i] = low | q << 4;
                });
            },
            head: |b, head| {
                head[0] = bits16(&b[208..]);
                bytes(head, &b[192..208]);
            },
            loud: |b, size| put_half(&mut b[208..], size / 4096.0),
            pair: |head, i| {
                let d = halves(head[0]).0 * f32::from(byte(head, i).cast_signed());
                (d, -32.0 * d)
            },
            ..BASE
        },
    )
};

/// f16 d, two high bits and four low ones of the scales of 32, 128 bytes of halves that pick from [`IQ4`]: `w = d·(s − 32)·value`.
pub const IQ4_XS: Stored = Stored {
    quantize: Some(iq4_xs),
    instead: Some(DType::IQ4_NL),
    ..long(
        DType::IQ4_XS,
        "IQ4_XS",
        [23, 30],
        136,
        "IQ4X",
        Blocks {
            head_words: 3,
            codebook: Some(&IQ4),
            ints: |b, out| {
                for (q, out) in b[8..136].as_chunks::<16>().0.iter().zip(out.as_chunks_mut::<32>().0) {
                    for (i, q) in q.iter().enumerate() {
                        out[i] = q & 15;
                        out[16 + i] = q >> 4;
                    }
                }
            },
            head: |b, head| {
                head[0] = bits16(b);
                let high = bits16(&b[2..]);
                let scale = |i: usize| (b[4 + i / 2] >> (i % 2 * 4) & 15 | ((high >> (2 * i)) as u8 & 3) << 4) as i8 - 32;
                let all: [u8; 8] = std::array::from_fn(|i| scale(i).cast_unsigned());
                bytes(head, &all);
            },
            loud: |b, size| put_half(b, size / (32.0 * 127.0)),
            pair: |head, i| (halves(head[0]).0 * f32::from(byte(head, i / 2).cast_signed()), 0.0),
            ..BASE
        },
    )
};
