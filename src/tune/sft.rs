//! Supervised fine-tuning: the mean negative log-likelihood of the counted tokens of an update, over all its micro-batches together.

use super::objective::{Metrics, Micro, Objective, digest};
use crate::Result;
use crate::data::{BatchShape, Example};
use crate::graph::{Desc, Program, StepParams, Tape, Val};
use crate::ops::loss::SftLoss;

/// See the module.
pub struct Sft {
    examples: Vec<Example>,
}

impl Sft {
    pub fn new(examples: Vec<Example>) -> Sft {
        Sft { examples }
    }
}

impl Objective for Sft {
    fn method(&self) -> &'static str {
        "sft"
    }

    fn digest(&self) -> String {
        digest(self.examples.iter().flat_map(|e| [e.ids.clone(), e.labels.clone()]))
    }

    fn rows(&self) -> usize {
        self.examples.len()
    }

    fn examples(&self, rows: &[u32]) -> Vec<&Example> {
        rows.iter().map(|r| &self.examples[*r as usize]).collect()
    }

    fn key(&self, shape: BatchShape) -> BatchShape {
        // Sequences are told apart by their spans alone.
        BatchShape { seqs: 0, ..shape }
    }

    fn record(&self, tape: &mut Tape, shape: &BatchShape, logp: Val) -> Result<(Val, Val)> {
        let weights = tape.input("weights", Desc::f32(&[shape.rows]));
        let out = tape.push(SftLoss, &[logp, weights])?;
        Ok((out[0], out[1]))
    }

    fn metric_words(&self, _shape: &BatchShape) -> usize {
        8
    }

    fn write(&self, program: &Program, micro: &Micro, all: &[Micro], step: &mut StepParams) {
        let mut weights = vec![0f32; micro.shape.rows];
        weights[..micro.batch.counted].fill(1.0);
        program.write("weights", &weights);
        let counted: usize = all.iter().map(|m| m.batch.counted).sum();
        step.loss_scale = 1.0 / counted.max(1) as f32;
    }

    fn metrics(&self, _micros: &[Micro], words: &[Vec<f32>]) -> Metrics {
        Metrics { loss: words.iter().map(|w| f64::from(w[0])).sum(), ..Metrics::default() }
    }
}
