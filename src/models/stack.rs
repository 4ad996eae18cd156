//! The layers of an encoder-decoder's encoder, and what a pass reads of its side.

use crate::graph::{Desc, Tape, Val};
use crate::nn::{Block, Embedding, Norm};

/// The layers of the encoder, behind the embedding of tokens.
#[derive(Clone, Debug)]
pub(super) struct Stack {
    pub positions: Option<Embedding>,
    pub embed_norm: Option<Norm>,
    pub blocks: Vec<Block>,
    pub norm: Option<Norm>,
}

/// What a pass reads of the encoder's side, `len` tokens in each of the batch's rows.
#[derive(Clone, Copy, Debug)]
pub struct SourceInputs {
    /// (B·S) u32
    pub ids: Val,
    /// (B·S) u32
    pub positions: Val,
    /// (B·S, 2) u32: the tokens that see each other.
    pub spans: Val,
    /// (B·T, 2) u32: what each token of the decoder sees of them.
    pub cross: Val,
}

impl SourceInputs {
    /// Inputs of a tape by these names, for `batch` rows of `source` tokens beside `len` of the decoder.
    pub(super) fn declare(tape: &mut Tape, batch: usize, source: usize, len: usize) -> SourceInputs {
        let n = batch * source;
        SourceInputs {
            ids: tape.input("source_ids", Desc::u32(&[n])),
            positions: tape.input("source_positions", Desc::u32(&[n])),
            spans: tape.input("source_spans", Desc::u32(&[n, 2])),
            cross: tape.input("cross_spans", Desc::u32(&[batch * len, 2])),
        }
    }
}

/// Rows of a table of sines, then cosines, of `width` channels: angles pos / 10000^(2i/width).
pub(super) fn sinusoids(rows: usize, width: usize) -> Vec<f64> {
    let half = width.div_ceil(2);
    let angle = |pos: usize, i: usize| pos as f64 / 10_000f64.powf(2.0 * i as f64 / width as f64);
    let value = |pos: usize, c: usize| if c < half { angle(pos, c).sin() } else { angle(pos, c - half).cos() };
    (0..rows).flat_map(|pos| (0..width).map(move |c| value(pos, c))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_come_before_cosines() {
        let table = sinusoids(3, 4);
        let want = [1f64.sin(), 0.01f64.sin(), 1f64.cos(), 0.01f64.cos()];
        assert_eq!(table[..4], [0.0, 0.0, 1.0, 1.0]);
        assert!(table[4..8].iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}
