//! The kinds of adapters: one file each, and one line here.

use super::kind::{Form, Kind};
use super::lora::{LoraSet, Whole};
use super::p_tuning::PTuning;
use super::prefix_tuning::PrefixTuning;
use super::prompt_tuning::PromptTuning;
use crate::Result;
use crate::formats::peft::{PeftConfig, PromptKind};
use crate::models::Model;

/// Zeroed values in the shape that a configuration asks for; `wholes` are parameters that one of A and B holds whole.
///
/// # Errors
/// [`crate::Error::BadConfig`], [`crate::Error::BadAdapter`], [`crate::Error::OutOfMemory`].
pub(super) fn make(model: &Model, config: &PeftConfig, form: Form, wholes: &[Whole]) -> Result<Box<dyn Kind>> {
    match config {
        PeftConfig::Lora(c) => Ok(Box::new(LoraSet::new(model.params(), c, &model.linears(), &model.head_path(), wholes)?)),
        PeftConfig::Prompt(c) => match c.kind {
            // What a network has made is a table, as any.
            PromptKind::PTuning if form == Form::Whole => Ok(Box::new(PTuning::new(model, c)?)),
            PromptKind::PromptTuning | PromptKind::PTuning => Ok(Box::new(PromptTuning::new(model, c)?)),
            PromptKind::PrefixTuning => Ok(Box::new(PrefixTuning::new(model, c, form)?)),
        },
    }
}
