//! Prompt tuning (Lester et al. 2021): embeddings of virtual tokens, which are learned while the model stays as it is.

use super::lora::nothing_for;
use crate::Result;
use crate::graph::{Desc, Tape, Tensor, Val};
use crate::models::Model;
use crate::nn::{Adapter, LowRank, Prompt};
use crate::ops::linear::Low;

/// Embeddings of virtual tokens, those of several prompts below one another.
pub struct PromptEmbeddings {
    table: Tensor,
}

impl PromptEmbeddings {
    /// `rows` zeroed embeddings of a model's width.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn new(model: &Model, rows: usize) -> Result<PromptEmbeddings> {
        let table = Tensor::zeros(model.exec(), "prompt embeddings", Desc::f32(&[rows, model.config().hidden_size]))?;
        Ok(PromptEmbeddings { table })
    }

    /// (P, C) f32.
    pub fn table(&self) -> &Tensor {
        &self.table
    }

    /// For a pass whose row m is virtual token `rows[m]`, or a token where that is [`crate::ops::embedding::NO_ROW`]; `rows` (M) u32. The ids of virtual
    /// tokens are `NO_ROW`.
    pub fn choose(&self, rows: Val) -> ChosenPrompt<'_> {
        ChosenPrompt { prompt: self, rows }
    }
}

/// Virtual tokens in the rows of a pass: see [`PromptEmbeddings::choose`].
#[derive(Clone, Copy)]
pub struct ChosenPrompt<'a> {
    prompt: &'a PromptEmbeddings,
    rows: Val,
}

impl Adapter for ChosenPrompt<'_> {
    fn low(&self, _index: usize, _train: bool) -> Option<Low> {
        None
    }

    fn record(&self, _tape: &mut Tape, index: usize, _x: Val, _train: bool) -> Result<LowRank> {
        Err(nothing_for(index))
    }

    fn prompt(&self, tape: &mut Tape) -> Option<Prompt> {
        Some(Prompt { table: tape.tensor(&self.prompt.table), rows: self.rows })
    }
}
