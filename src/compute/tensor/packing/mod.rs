//! The one table of stored types: what a weight may be in a file, how its bytes become numbers, and how a GPU keeps it. Readers, both executors,
//! kernels' names, tests and the documentation ask it and nothing else; a new type is a row here with its integers and scales, a `Block` in
//! `cpu/kernels/blocks.rs` and an unpacking in `shaders/common/` (`weights.wgsl` has its numbers, `weight_block.wgsl` its scales).
//!
//! A block of a quantized type is small integers q and scales. Sixteen neighbours share one scale d (and, in some types, a minimum m):
//! `w = d·(q − offset) + m`, or `w = d·codebook[q]`. Products d·q are exact in f32, so that there is one rounding at most (of the sum) and every
//! way of computing it gives the same bits; only zeros may differ in their sign.
mod k;
mod layout;
mod plain;
mod quantize;
mod search;
mod short;

pub use layout::{Blocks, E2M1, Form, IQ4, MAX_BLOCK, Stored};
pub use quantize::{quantize, quantize_into};

use super::dtype::DType;

/// All stored types.
pub static STORED: [Stored; 17] = [
    plain::F32,
    plain::F16,
    plain::BF16,
    plain::U32,
    short::Q4_0,
    short::Q4_1,
    short::Q5_0,
    short::Q5_1,
    short::Q8_0,
    k::Q2_K,
    k::Q3_K,
    k::Q4_K,
    k::Q5_K,
    k::Q6_K,
    short::IQ4_NL,
    k::IQ4_XS,
    short::MXFP4,
];

impl Stored {
    /// By ggml's number.
    pub fn of_ggml(id: u32) -> Option<&'static Stored> {
        STORED.iter().find(|s| s.ggml == Some(id))
    }

    /// By its name, in any case (`q4_k` as well as `Q4_K`).
    pub fn of_name(name: &str) -> Option<&'static Stored> {
        STORED.iter().find(|s| s.name.eq_ignore_ascii_case(name))
    }

    /// By its name in safetensors.
    pub fn of_safetensors(name: &str) -> Option<&'static Stored> {
        STORED.iter().find(|s| s.safetensors == Some(name))
    }

    /// The type that float weights are to be made into, by its name in any case.
    ///
    /// # Errors
    /// The types there are.
    pub fn target(name: &str) -> Result<DType, String> {
        let all = || STORED.iter().filter(|s| s.ggml.is_some() && s.quantize.is_some());
        all().find(|s| s.name.eq_ignore_ascii_case(name)).map(|s| s.dtype).ok_or_else(|| {
            let names: Vec<String> = all().map(|s| s.name.to_lowercase()).collect();
            format!("{name:?} is no type that weights can be made into; expected one of {}", names.join(", "))
        })
    }

    /// The names of the types that GGUF files may have, for messages.
    pub fn ggml_names() -> String {
        let names: Vec<&str> = STORED.iter().filter(|s| s.ggml.is_some()).map(|s| s.name).collect();
        names.join(", ")
    }
}

/// Blocks of random bits as a file has them, with scales between half of `size` and all of it in both signs: weights of a model that knows
/// nothing, to measure how fast it would be and to test what is done with them.
///
/// # Panics
/// For a plain type.
pub fn noise(dtype: DType, blocks: usize, seed: u64, size: f32) -> Vec<u8> {
    let (stored, mut state) = (dtype.stored(), seed | 1);
    let b = stored.blocks().unwrap_or_else(|| panic!("{} has no blocks", stored.name));
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut out = Vec::with_capacity(blocks * stored.block_bytes + 8);
    for _ in 0..blocks {
        let (first, r) = (out.len(), next());
        while out.len() < first + stored.block_bytes {
            out.extend_from_slice(&next().to_le_bytes());
        }
        out.truncate(first + stored.block_bytes);
        let loud = size * (0.5 + 0.5 * (r >> 40) as f32 / (1u64 << 24) as f32);
        (b.loud)(&mut out[first..], if r & 1 == 0 { loud } else { -loud });
    }
    out
}

/// The type for rows of `cols` values that are wanted as `dtype`: this one, or the first of those that take its place (as in llama.cpp: Q4_K
/// becomes Q5_0, Q6_K becomes Q8_0) whose blocks they are; else F16, or F32 where kernels cannot read rows of halves.
pub fn fitting(mut dtype: DType, cols: usize) -> DType {
    while !cols.is_multiple_of(dtype.block_len()) {
        dtype = dtype.stored().instead.unwrap_or(DType::F16);
    }
    // Kernels read rows of 16 bits in groups of eight.
    if dtype != DType::F32 && !dtype.is_quantized() && !cols.is_multiple_of(8) { DType::F32 } else { dtype }
}

/// File bytes of `dtype` to f32 (whole blocks; a trailing partial block is ignored).
pub fn dequantize(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let s = dtype.stored();
    let blocks = bytes.chunks_exact(s.block_bytes);
    let mut out = vec![0.0; blocks.len() * s.block_len];
    for (b, o) in blocks.zip(out.chunks_exact_mut(s.block_len)) {
        s.unpack(b, o);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::layout::MAX_HEAD;
    use super::*;

    /// Random blocks with scales that are numbers.
    fn blocks(s: &Stored, n: usize) -> Vec<u8> {
        let mut seed = 7u64;
        let mut out = Vec::new();
        while out.len() < n * s.block_bytes {
            let block: Vec<u8> = (0..s.block_bytes)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (seed >> 56) as u8
                })
                .collect();
            if s.finite(&block) {
                out.extend(block);
            }
        }
        out
    }

    #[test]
    fn the_table_is_in_the_order_of_types_and_says_each_thing_once() {
        for (i, s) in STORED.iter().enumerate() {
            assert_eq!(s.dtype as usize, i, "{}", s.name);
            assert_eq!(STORED.iter().filter(|o| o.name == s.name || (o.ggml.is_some() && o.ggml == s.ggml)).count(), 1, "{}", s.name);
            assert!(s.block_len == 1 || s.block_len == 32 || s.block_len == MAX_BLOCK, "{}", s.name);
            if let Some(b) = s.blocks() {
                assert!(b.head_words <= MAX_HEAD, "{}", s.name);
                // On the GPU a type takes little more than in a file.
                let grown = s.gpu_row_bytes(256) as f64 / (256 / s.block_len * s.block_bytes) as f64;
                assert!((0.99..1.18).contains(&grown), "{}: {grown} times the bytes of a file", s.name);
            }
        }
        assert_eq!(Stored::of_name("q4_k").map(|s| s.dtype), Some(DType::Q4_K));
    }

    #[test]
    fn what_a_gpu_keeps_is_what_the_file_has() {
        for s in &STORED {
            let Some(b) = s.blocks() else { continue };
            let bytes = blocks(s, 50);
            for block in bytes.chunks_exact(s.block_bytes) {
                let (mut low, mut record) = (Vec::new(), Vec::new());
                b.pack(block, s.block_len, &mut low, &mut record);
                assert_eq!((low.len() + record.len()) as u64 * 4, s.gpu_row_bytes(s.block_len), "{}", s.name);
                let (mut want, mut got) = (vec![0.0; s.block_len], vec![0.0; s.block_len]);
                s.unpack(block, &mut want);
                b.unpack_gpu(&low, &record, &mut got);
                assert_eq!(want, got, "{}", s.name);
                // What kernels compute: without the offset, with m; the same value, but for a zero's sign.
                if b.codebook.is_none() && !b.signed {
                    let mut ints = [0; MAX_BLOCK];
                    (b.ints)(block, &mut ints[..s.block_len]);
                    for (i, want) in want.iter().enumerate() {
                        let (d, m) = (b.pair)(&record, i / 16);
                        assert_eq!(f32::from(ints[i]) * d + m, *want, "{} {i}", s.name);
                        assert_eq!(f32::from(ints[i]).mul_add(d, m), *want, "{} {i}", s.name);
                    }
                }
            }
        }
    }
}
