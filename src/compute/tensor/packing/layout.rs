//! What a stored type is made of: its row of the table, its blocks' integers and scales, and how a GPU keeps them.

use crate::tensor::dtype::DType;

/// Most values of a block.
pub const MAX_BLOCK: usize = 256;
/// Most words of scales that a block has on the GPU.
pub const MAX_HEAD: usize = 5;

/// One block of values to file bytes, which are added.
pub type Quantize = fn(&[f32], &mut Vec<u8>);

/// One stored type.
pub struct Stored {
    pub dtype: DType,
    /// In file headers and messages.
    pub name: &'static str,
    /// ggml's number of the type, where GGUF files may have it.
    pub ggml: Option<u32>,
    /// llama.cpp's number for a file whose matrices are of this type (`general.file_type`).
    pub file_type: Option<u32>,
    /// What rows take that are no whole blocks of this type.
    pub instead: Option<DType>,
    /// Its name in safetensors files, where they may have it.
    pub safetensors: Option<&'static str>,
    /// Values of a block: 1 for plain types.
    pub block_len: usize,
    /// Bytes of a block in a file.
    pub block_bytes: usize,
    /// The value of the define WT of kernels.
    pub define: &'static str,
    pub form: Form,
    /// One block of values to file bytes, where the type can be made from floats.
    pub quantize: Option<Quantize>,
}

/// How a type's blocks are made up.
pub enum Form {
    /// A number of so many bytes, and whether it is neither infinite nor NaN.
    Plain {
        read: fn(&[u8]) -> f32,
        finite: fn(&[u8]) -> bool,
    },
    Blocks(Blocks),
}

/// Integers and scales of a quantized block.
pub struct Blocks {
    /// Bits of an integer in a GPU's first plane (2, 4 or 8).
    pub low_bits: usize,
    /// Bits of it that are kept behind a block's scales (0, 1 or 2).
    pub high_bits: usize,
    /// Words of scales of a block on the GPU.
    pub head_words: usize,
    /// Integers are signed bytes.
    pub signed: bool,
    /// Subtracted from an integer.
    pub offset: f32,
    /// There is a minimum.
    pub shifted: bool,
    /// What integers stand for.
    pub codebook: Option<&'static [i8; 16]>,
    /// Block bytes to its integers, in the order of the values.
    pub ints: fn(&[u8], &mut [u8]),
    /// Block bytes to the words that a GPU has for its scales.
    pub head: fn(&[u8], &mut [u32]),
    /// Sets a block's scales so that its largest weights are about so large, whatever its other bits are: for noise.
    pub loud: fn(&mut [u8], f32),
    /// (d, m) of the sixteen values from 16·i on, from those words. Without `shifted`, m is what the offset makes of d, or 0.
    pub pair: fn(&[u32], usize) -> (f32, f32),
}

/// The values of IQ4_NL and IQ4_XS.
pub const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/// Twice the values of MXFP4 (the scale is half of what it says).
pub const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

impl Stored {
    /// Bits of a weight in a file.
    pub fn bits(&self) -> f64 {
        8.0 * self.block_bytes as f64 / self.block_len as f64
    }

    /// Its blocks, if it is quantized.
    pub fn blocks(&self) -> Option<&Blocks> {
        match &self.form {
            Form::Plain { .. } => None,
            Form::Blocks(b) => Some(b),
        }
    }

    /// Whether all numbers of a plain type, or all scales of a quantized one, are numbers.
    pub fn finite(&self, bytes: &[u8]) -> bool {
        let mut blocks = bytes.chunks_exact(self.block_bytes);
        match &self.form {
            Form::Plain { finite, .. } => blocks.all(finite),
            Form::Blocks(b) => blocks.all(|block| {
                let mut head = [0; MAX_HEAD];
                (b.head)(block, &mut head[..b.head_words]);
                (0..self.block_len / 16).all(|i| {
                    let (d, m) = (b.pair)(&head, i);
                    // Scales of half precision leave room enough; of MXFP4's the largest times 12 is infinite.
                    (d * 12.0).is_finite() && m.is_finite()
                })
            }),
        }
    }

    /// One block of file bytes to values.
    pub fn unpack(&self, block: &[u8], out: &mut [f32]) {
        match &self.form {
            Form::Plain { read, .. } => out[0] = read(block),
            Form::Blocks(b) => {
                let (mut ints, mut head) = ([0; MAX_BLOCK], [0; MAX_HEAD]);
                (b.ints)(block, &mut ints[..self.block_len]);
                (b.head)(block, &mut head[..b.head_words]);
                b.values(&ints[..self.block_len], &head, out);
            }
        }
    }

    /// Bytes of a row of `cols` values on the GPU. 16-bit rows are padded to a whole `u32`.
    pub fn gpu_row_bytes(&self, cols: usize) -> u64 {
        match self.blocks() {
            None => ((cols * self.block_bytes).div_ceil(4) * 4) as u64,
            Some(b) => ((cols / 32 * b.low_bits + cols / self.block_len * b.record_words(self.block_len)) * 4) as u64,
        }
    }

    /// First word of the second plane of a GPU's `rows` rows.
    pub fn gpu_records(&self, rows: usize, cols: usize) -> usize {
        self.blocks().map_or(0, |b| rows * (cols / 32) * b.low_bits)
    }
}

impl Blocks {
    /// Words that a block has in the GPU's second plane: its scales and then the high bits of its integers.
    pub fn record_words(&self, block_len: usize) -> usize {
        self.head_words + block_len / 32 * self.high_bits
    }

    fn values(&self, ints: &[u8], head: &[u32], out: &mut [f32]) {
        for (i, (q, out)) in ints.as_chunks::<16>().0.iter().zip(out.as_chunks_mut::<16>().0).enumerate() {
            let (d, m) = (self.pair)(head, i);
            for (q, out) in q.iter().zip(out) {
                let q = match self.codebook {
                    Some(table) => f32::from(table[usize::from(q & 15)]),
                    None if self.signed => f32::from(q.cast_signed()),
                    None => f32::from(*q) - self.offset,
                };
                *out = if self.shifted { q * d + m } else { q * d };
            }
        }
    }

    /// Words of a file's block in both planes of the GPU.
    ///
    /// A plane of b bits has b words for 32 values: byte j of them holds values 8g + j and 8g + 4 + j of each group g of eight, eight, four,
    /// two or one of them from the lowest bits up.
    pub fn pack(&self, block: &[u8], block_len: usize, low: &mut Vec<u32>, records: &mut Vec<u32>) {
        let (mut ints, mut head) = ([0; MAX_BLOCK], [0; MAX_HEAD]);
        (self.ints)(block, &mut ints[..block_len]);
        (self.head)(block, &mut head[..self.head_words]);
        records.extend(&head[..self.head_words]);
        for q in ints[..block_len].as_chunks::<32>().0 {
            plane(q, 0, self.low_bits, low);
        }
        for q in ints[..block_len].as_chunks::<32>().0 {
            plane(q, self.low_bits, self.high_bits, records);
        }
    }

    /// The inverse of [`Blocks::pack`], to values.
    pub fn unpack_gpu(&self, low: &[u32], record: &[u32], out: &mut [f32]) {
        let mut ints = [0; MAX_BLOCK];
        let (head, high) = record.split_at(self.head_words);
        for (i, q) in ints[..out.len()].as_chunks_mut::<32>().0.iter_mut().enumerate() {
            add_plane(q, 0, self.low_bits, &low[i * self.low_bits..]);
            add_plane(q, self.low_bits, self.high_bits, &high[i * self.high_bits..]);
        }
        self.values(&ints[..out.len()], head, out);
    }
}

/// `bits` bits of 32 integers from bit `first` on, as [`Blocks::pack`] says.
fn plane(q: &[u8; 32], first: usize, bits: usize, out: &mut Vec<u32>) {
    let mask = 0x0101_0101u32 * ((1u32 << bits) - 1);
    let Some(per_word) = 32usize.checked_div(bits) else { return };
    for fours in q.chunks_exact(per_word) {
        let mut word = 0;
        for (at, four) in fours.as_chunks::<4>().0.iter().enumerate() {
            word |= ((u32::from_le_bytes(*four) >> first) & mask) << (at * bits);
        }
        out.push(word);
    }
}

/// The inverse of [`plane`].
fn add_plane(q: &mut [u8; 32], first: usize, bits: usize, words: &[u32]) {
    let mask = 0x0101_0101u32 * ((1u32 << bits) - 1);
    let Some(per_word) = 32usize.checked_div(bits) else { return };
    for (fours, word) in q.chunks_exact_mut(per_word).zip(words) {
        for (at, four) in fours.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let added = ((word >> (at * bits)) & mask) << first;
            *four = (u32::from_le_bytes(*four) | added).to_le_bytes();
        }
    }
}

/// Puts a number of half precision into bytes.
pub fn put_half(b: &mut [u8], v: f32) {
    b[..2].copy_from_slice(&half::f16::from_f32(v).to_le_bytes());
}

/// A number of half precision at the beginning of bytes.
pub fn half(b: &[u8]) -> f32 {
    half::f16::from_le_bytes([b[0], b[1]]).to_f32()
}

/// Two halves as the words of a GPU have them.
pub fn halves(word: u32) -> (f32, f32) {
    let both = |bits: u32| half::f16::from_bits(bits as u16).to_f32();
    (both(word & 0xffff), both(word >> 16))
}

/// Two bytes.
pub fn bits16(b: &[u8]) -> u32 {
    u32::from(u16::from_le_bytes([b[0], b[1]]))
}

/// Bits of 2^(e − 128) as an f32; the largest e is NaN in the format and infinite here: both are refused.
pub fn half_power(e: u8) -> u32 {
    match e {
        0..=1 => 0x0020_0000 << e,
        255 => 0x7f80_0000,
        _ => (u32::from(e) - 1) << 23,
    }
}
