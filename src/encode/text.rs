//! From texts to what an encoder reads.

use super::pass::Encoded;
use crate::Result;
use crate::adapters::LoadedModel;

/// A text as sentence-transformers reads it: with the tokens that belong around it, cut where the folder or the model says so.
///
/// # Errors
/// As [`crate::models::Loaded::tokenizer`] and [`crate::models::Loaded::sentence`].
pub fn sentence_ids(model: &LoadedModel, text: &str) -> Result<Encoded> {
    let said = model.sentence()?;
    let tokenizer = model.tokenizer()?;
    let lower = if said.lower_case { text.to_lowercase() } else { String::new() };
    let mut ids = tokenizer.encode(if said.lower_case { &lower } else { text });
    let most = said.max_length.unwrap_or(usize::MAX).min(model.info.context_length).max(1);
    if ids.len() > most {
        // The token at the end stays where it is one that belongs around every text.
        let last = ids[ids.len() - 1];
        ids.truncate(most);
        if let Some(end) = ids.last_mut().filter(|_| tokenizer.encode("").last() == Some(&last)) {
            *end = last;
        }
    }
    Ok(Encoded { ids, types: Vec::new() })
}
