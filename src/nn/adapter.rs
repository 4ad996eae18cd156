//! What a linear layer asks of an adapter. Adapters themselves stand above the models, which know this trait alone.

use crate::graph::{Tape, Tensor, Val};
use crate::ops::adapter::{Block, Stack};
use crate::ops::elementwise::Add;
use crate::ops::embedding::Embedding;
use crate::ops::linear::{LoraSeg, Low};
use crate::{Error, Result};

/// What an adapter adds to one (possibly fused) linear, as values of a tape: `y += step.lora · scale · h·Bᵀ`, segment by segment, with h = x·Aᵀ.
pub struct LowRank {
    /// With [`Low::Made`] A (Σr, in); with [`Low::Given`] h (M, Σr).
    pub first: Val,
    /// (1, Σ rows·r): every module's B, row by row.
    pub b: Val,
    /// Which rows of the output and which columns of h belong together.
    pub segs: Vec<LoraSeg>,
}

/// Rows of the residual stream that are no token's: the embeddings of virtual tokens (Lester et al. 2021).
#[derive(Clone, Copy, Debug)]
pub struct Prompt {
    /// (P, C)
    pub table: Val,
    /// (M) u32: the row of the table that each row of the pass is, or [`crate::ops::embedding::NO_ROW`] where it is a token. Where it is none, the
    /// pass's id is `NO_ROW`.
    pub rows: Val,
}

impl Prompt {
    /// x (M, C), zero where there is no token, with the virtual tokens in place.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn join(&self, tape: &mut Tape, x: Val) -> Result<Val> {
        let own = tape.push1(Embedding, &[self.rows, self.table])?;
        tape.push1(Add, &[x, own])
    }
}

/// Keys and values of one layer that every sequence has in front of its own (Li & Liang 2021). They are not rotated.
#[derive(Clone, Copy, Debug)]
pub struct Prefix {
    /// (P, Hkv·D) each.
    pub keys: Val,
    pub values: Val,
    /// (B·n) u32: rows of keys and values, n for each sequence; [`crate::ops::embedding::NO_ROW`] gives zeros, which no span should let in.
    pub rows: Val,
}

impl Prefix {
    /// A pass's own keys and values (B·T, Hkv·D) with the prefix in front of every sequence: (B·(n + T), Hkv·D) each.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn join(&self, tape: &mut Tape, batch: usize, (keys, values): (Val, Val)) -> Result<(Val, Val)> {
        Ok((self.before(tape, batch, self.keys, keys)?, self.before(tape, batch, self.values, values)?))
    }

    fn before(&self, tape: &mut Tape, batch: usize, table: Val, own: Val) -> Result<Val> {
        let (count, len, width) = (tape.desc(self.rows).len(), tape.desc(own).len(), tape.desc(table).cols());
        if batch == 0 || !count.is_multiple_of(batch) || !len.is_multiple_of(batch * width.max(1)) {
            let shape = tape.desc(own).shape.clone();
            return Err(Error::shape("prefix", format!("{count} rows of {width} channels in front of {shape:?} in {batch} sequences")));
        }
        let picked = tape.push1(Embedding, &[self.rows, table])?;
        let (n, t) = (count / batch * width, len / batch);
        let block = |input, cols, to| Block { input, rows: batch, cols, from: 0, from_stride: cols, to, to_stride: n + t };
        let stack = Stack::new(&[(count * width + len) / width.max(1), width], [block(0, n, 0), block(1, t, n)]);
        tape.push1(stack.of_activations(), &[picked, own])
    }
}

/// What scales a linear's output, row by row of its weight: `m / norm` (Liu et al. 2024).
#[derive(Clone, Copy, Debug)]
pub struct Magnitude {
    /// (N values); learned.
    pub m: Val,
    /// (N): norms of the rows of W + s·B·A; 0 where a row is not scaled.
    pub norm: Val,
}

/// An adapter as a pass over a model is recorded with it.
pub trait Adapter {
    /// How it joins linear number `index` of the model (see [`super::Linear::index`]); `None` where it leaves that alone.
    fn low(&self, index: usize, train: bool) -> Option<Low>;

    /// Records what goes before the product with B, of the x (M, in) that the linear multiplies (normed, unless [`Adapter::low`] says
    /// [`Low::Made`]). `train`: dropout is on. Called only for linears that `low` names.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    fn record(&self, tape: &mut Tape, index: usize, x: Val, train: bool) -> Result<LowRank>;

    /// A head (K, C) for hidden states after the last norm, which an adapter that scores has beside what it does to linears.
    fn score(&self) -> Option<&Tensor> {
        None
    }

    /// A parameter that it holds whole in place of the model's, by its path.
    fn whole(&self, _path: &str) -> Option<&Tensor> {
        None
    }

    /// What it scales the output of linear number `index` with, before a bias is added; `weight` is that linear's. Asked of those alone that
    /// [`Adapter::low`] names.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    fn magnitude(&self, _tape: &mut Tape, _index: usize, _weight: Val) -> Result<Option<Magnitude>> {
        Ok(None)
    }

    /// Virtual tokens among the rows of the pass. They have positions and spans as tokens have.
    fn prompt(&self, _tape: &mut Tape) -> Option<Prompt> {
        None
    }

    /// What layer number `layer` has in front of every sequence's keys. Asked for by passes over whole sequences, whose spans count those keys:
    /// key n + t is the sequence's own number t. A cache has them written into it.
    fn prefix(&self, _tape: &mut Tape, _layer: usize) -> Option<Prefix> {
        None
    }
}
