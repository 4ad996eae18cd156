//! How rows become tokens of a loaded model.

use serde_json::{Map, Value};

use crate::adapters::LoadedModel;
use crate::data::{Mask, Message, TextSource};
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// Text → ids of a loaded model.
pub struct ModelText<'a> {
    model: &'a LoadedModel,
    vocab_size: usize,
    context: usize,
}

impl<'a> ModelText<'a> {
    pub fn of(model: &'a LoadedModel) -> ModelText<'a> {
        ModelText::behind(model, 0)
    }

    /// Of texts that have so many virtual tokens in front, which take up context.
    pub(super) fn behind(model: &'a LoadedModel, in_front: usize) -> ModelText<'a> {
        let context = model.info.context_length.saturating_sub(in_front);
        ModelText { model, vocab_size: model.model.config().vocab_size, context }
    }

    fn tokenizer(&self) -> Result<&Tokenizer> {
        Ok(self.model.tokenizer()?)
    }

    /// What a tokenizer larger than the model would give cannot be looked up.
    fn checked(&self, ids: Vec<u32>) -> Result<Vec<u32>> {
        match ids.iter().find(|id| **id as usize >= self.vocab_size) {
            Some(id) => Err(Error::file("tokenizer", format!("gives token {id}, the model's vocabulary ends at {}", self.vocab_size))),
            None => Ok(ids),
        }
    }
}

impl TextSource for ModelText<'_> {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.checked(self.tokenizer()?.encode(text))
    }

    fn chat(&self, messages: &[Message], variables: &Map<String, Value>, add_generation_prompt: bool) -> Result<Vec<u32>> {
        self.checked(self.tokenizer()?.encode_chat_with(messages, add_generation_prompt, variables)?)
    }

    fn has_template(&self) -> bool {
        self.model.tokenizer.as_ref().is_some_and(|t| t.chat_template().is_ok())
    }

    fn mask(&self) -> Mask {
        self.model.model.mask()
    }

    fn encoder(&self) -> Option<usize> {
        self.model.model.config().shape.encoder().map(|e| e.type_vocab_size)
    }

    fn shifted(&self, target: &[Option<u32>]) -> Option<Vec<u32>> {
        let e = self.model.model.config().shape.encoder_decoder()?;
        let ids: Vec<u32> = target.iter().map(|id| id.unwrap_or(e.pad)).collect();
        Some(e.start.shifted(&ids, e.pad))
    }

    fn eos(&self) -> Option<u32> {
        self.model.tokenizer.as_ref().and_then(|t| t.eos_token_id()).filter(|id| (*id as usize) < self.vocab_size)
    }

    fn ends(&self) -> Vec<u32> {
        let mut ends = self.model.model.config().eos_token_ids.clone();
        ends.extend(self.model.tokenizer.iter().flat_map(|t| t.end_token_ids()));
        ends
    }

    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn context(&self) -> usize {
        self.context
    }
}
