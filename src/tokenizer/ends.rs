//! Which tokens end an answer. Files often name one that is not what their template ends a turn with.
use serde_json::json;

use super::tokenizer::Tokenizer;

/// Texts of tokens that end a turn in whatever vocabulary has them, as llama.cpp knows them.
const KNOWN: [&str; 20] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<|END_OF_TURN_TOKEN|>",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
    "</s>",
    "<eos>",
];

/// An answer that no template changes or writes by itself.
const ANSWER: &str = "fledgling-answers";

impl Tokenizer {
    /// The tokens that end an answer: the file's own, added ones whose text is a known end of a turn, and what the chat template puts behind
    /// an assistant's message.
    pub fn end_token_ids(&self) -> Vec<u32> {
        let known = |text: &str| self.token_id(text).filter(|id| self.is_added(*id));
        let mut out: Vec<u32> = self.eos_token_id().into_iter().collect();
        // Where a message ends otherwise than a turn (Harmony), the end of a message is none of the answer.
        let harmony = known("<|return|>").is_some() && known("<|call|>").is_some();
        out.extend(KNOWN.iter().filter(|t| !(harmony && **t == "<|end|>")).filter_map(|t| known(t)));
        if !harmony {
            out.extend(self.behind_an_answer());
        }
        let mut seen = Vec::new();
        out.retain(|id| {
            !seen.contains(id) && {
                seen.push(*id);
                true
            }
        });
        out
    }

    /// The control token directly behind an assistant's message, by the chat template.
    fn behind_an_answer(&self) -> Option<u32> {
        let messages = [json!({"role": "user", "content": "fledgling-asks"}), json!({"role": "assistant", "content": ANSWER})];
        let text = self.render_chat(&messages, false).ok()?;
        let behind = text[text.rfind(ANSWER)? + ANSWER.len()..].trim_start();
        let (first, _) = behind.char_indices().nth(200).map_or((behind, ""), |(i, _)| behind.split_at(i));
        let id = *self.encode_plain(first, true).first()?;
        // Where it stands at the very front, and is not only what the text spells.
        (self.is_special(id) && self.id_to_token(id).is_some_and(|t| first.starts_with(t))).then_some(id)
    }
}
