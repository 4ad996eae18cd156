//! The small networks that make virtual tokens: linear layers and an LSTM, recorded as ops of the pass.

use super::random::Random;
use crate::Result;
use crate::graph::{Desc, Exec, Tape, Tensor, Val};
use crate::ops::Act;
use crate::ops::activation::Activation;
use crate::ops::adapter::{Block, Stack};
use crate::ops::elementwise::Dropout;
use crate::ops::embedding::Embedding;
use crate::ops::linear::Linear;
use crate::ops::lstm::LstmCell;

/// A linear layer.
pub(super) struct Layer {
    /// (out, in)
    pub weight: Tensor,
    /// (out)
    pub bias: Tensor,
}

impl Layer {
    /// x (n, in) → (n, out).
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn record(&self, tape: &mut Tape, x: Val) -> Result<Val> {
        let (w, b) = (tape.tensor(&self.weight), tape.tensor(&self.bias));
        tape.push1(Linear { bias: true, ..Linear::plain() }, &[x, w, b])
    }
}

/// Linear layers with ReLU in between.
///
/// # Errors
/// [`crate::Error::Shape`].
pub(super) fn relu_layers(tape: &mut Tape, layers: &[Layer], mut x: Val) -> Result<Val> {
    for (i, layer) in layers.iter().enumerate() {
        if i > 0 {
            x = tape.push1(Activation { kind: Act::Relu }, &[x])?;
        }
        x = layer.record(tape, x)?;
    }
    Ok(x)
}

/// One direction of a layer of an LSTM; rows of gates are i, f, g, o.
pub(super) struct Direction {
    /// (4H, in), (4H)
    pub input: Layer,
    /// (4H, H), (4H)
    pub hidden: Layer,
}

/// An LSTM (Hochreiter & Schmidhuber 1997) in both directions, as PyTorch has it.
pub(super) struct Lstm {
    /// Forward and backward, layer by layer.
    pub layers: Vec<[Direction; 2]>,
    /// Share dropped between layers while training.
    pub dropout: f32,
    /// Tensors (1) u32 that hold 0, 1, …: which row a step reads.
    pub steps: Vec<Tensor>,
    /// (1, H): the state before the first step.
    pub zero: Tensor,
}

/// The numbers of `n` steps, as tensors.
///
/// # Errors
/// [`crate::Error::OutOfMemory`].
pub(super) fn steps(exec: &Exec, n: usize) -> Result<Vec<Tensor>> {
    (0..n as u32).map(|t| Tensor::from_bytes(exec, "step", Desc::u32(&[1]), &t.to_le_bytes())).collect()
}

impl Lstm {
    /// x (n, in) → (n, 2H): what the forward direction gives and then what the backward one gives.
    ///
    /// # Errors
    /// [`crate::Error::Shape`].
    pub fn record(&self, tape: &mut Tape, mut x: Val, train: bool) -> Result<Val> {
        let n = self.steps.len();
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 && train && self.dropout > 0.0 {
                // The salts of linears are small.
                x = tape.push1(Dropout { p: self.dropout, salt: 0x4000_0000 + i as u32 }, &[x])?;
            }
            let forward: Vec<usize> = (0..n).collect();
            let backward: Vec<usize> = (0..n).rev().collect();
            let mut states = self.direction(tape, &layer[0], x, &forward)?;
            states.extend(self.direction(tape, &layer[1], x, &backward)?);
            let h = layer[0].hidden.weight.desc().cols();
            let block = |input, to| Block { input, rows: 1, cols: h, from: 0, from_stride: h, to, to_stride: h };
            let blocks = (0..2 * n).map(|i| if i < n { block(i, 2 * h * i) } else { block(i, 2 * h * (2 * n - 1 - i) + h) });
            x = tape.push1(Stack::new(&[n, 2 * h], blocks), &states)?;
        }
        Ok(x)
    }

    /// States (1, H) of one direction, in the order in which it goes through the rows.
    fn direction(&self, tape: &mut Tape, d: &Direction, x: Val, order: &[usize]) -> Result<Vec<Val>> {
        let from_input = d.input.record(tape, x)?;
        let (w, b) = (tape.tensor(&d.hidden.weight), tape.tensor(&d.hidden.bias));
        let mut h = tape.tensor(&self.zero);
        let (mut states, mut cell) = (Vec::new(), None);
        for t in order {
            let step = tape.tensor(&self.steps[*t]);
            let row = tape.push1(Embedding, &[step, from_input])?;
            let gates = tape.push1(Linear { bias: true, residual: true, ..Linear::plain() }, &[h, w, b, row])?;
            let inputs: Vec<Val> = [gates].into_iter().chain(cell).collect();
            let out = tape.push(LstmCell, &inputs)?;
            (h, cell) = (out[0], Some(out[1]));
            states.push(h);
        }
        Ok(states)
    }
}

/// As PyTorch begins linear layers of so many inputs: uniform in ±1/√in.
pub(super) fn uniform(random: &mut Random, count: usize, inputs: usize) -> Vec<f64> {
    let bound = 1.0 / (inputs as f32).sqrt();
    (0..count).map(|_| f64::from(random.around(bound))).collect()
}
