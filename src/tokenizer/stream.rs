//! Text as it is generated.
use std::sync::Arc;

use super::decode::{Decoder, State};
use super::tokenizer::Tokenizer;

/// Decodes ids one by one and never splits a UTF-8 character.
#[derive(Clone, Debug, Default)]
pub struct DecodeStream {
    skip_special: bool,
    /// None before the first id.
    state: Option<(Arc<Decoder>, State)>,
}

impl DecodeStream {
    /// With `skip_special`, special tokens give no text.
    pub fn new(skip_special: bool) -> Self {
        DecodeStream { skip_special, state: None }
    }

    /// The text that `id` completes: empty while a character is unfinished. Bytes that are no UTF-8 become U+FFFD.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        let Some(token) = tokenizer.shown_token(id, self.skip_special) else { return String::new() };
        let (decoder, state) = self.state.get_or_insert_with(|| (tokenizer.decoder().clone(), State::new(tokenizer.decoder(), true)));
        state.push(decoder, token)
    }

    /// What is left when no more ids come. The stream is then as new.
    pub fn finish(&mut self) -> String {
        self.state.take().map_or_else(String::new, |(decoder, mut state)| state.finish(&decoder))
    }
}
