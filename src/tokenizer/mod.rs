//! Text to ids and back, and chat templates. A leaf.
//!
//! Byte-level and SentencePiece BPE written here: the `tokenizers` crate costs more than half of the size budget of wasm and
//! JavaScript together (figures in `docs/decisions.md`).
mod decode;
mod gguf;
mod json;
mod model;
mod pretokenize;
mod template;
mod unicode;

pub use decode::{DecodeStream, StopMatcher};
pub use gguf::GgufVocab;
pub use model::MAX_TOKENS;
pub use pretokenize::Splitter;
pub use template::ChatTemplate;

use model::{Chars, Merges, Vocab, text_of};
use serde::Serialize;
use serde_json::Map;

use crate::error::{Error, Result};

/// A token that is looked for in the text before anything else.
#[derive(Debug)]
struct Added {
    id: u32,
    text: String,
    /// Control tokens are only found where the caller parses them.
    special: bool,
    /// White space before or after it belongs to it.
    lstrip: bool,
    rstrip: bool,
}

/// A BPE tokenizer with its chat template.
#[derive(Debug)]
pub struct Tokenizer {
    vocab: Vocab,
    merges: Merges,
    /// SentencePiece's kind: merges begin with characters, and nothing is split before.
    chars: Option<Chars>,
    splitter: Splitter,
    /// A piece that is a token as a whole is that token, whatever the merges say.
    ignore_merges: bool,
    add_prefix_space: bool,
    added: Vec<Added>,
    /// Indices into `added` by first byte, longest text first.
    by_first: Vec<Vec<u32>>,
    /// Per id: whether it is a control token.
    special: Vec<bool>,
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    unknown: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    template: Option<Result<ChatTemplate, String>>,
}

/// What the two file formats deliver.
struct Parts {
    file: String,
    vocab: Vocab,
    merges: Merges,
    chars: Option<Chars>,
    splitter: Splitter,
    ignore_merges: bool,
    add_prefix_space: bool,
    added: Vec<Added>,
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    unknown: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    template: Option<String>,
}

impl Tokenizer {
    fn build(mut p: Parts) -> Result<Self> {
        let n = p.vocab.len();
        for (what, id) in [("bos", p.bos), ("eos", p.eos), ("pad", p.pad), ("unknown", p.unknown)] {
            if let Some(id) = id.filter(|&id| id as usize >= n) {
                return Err(Error::file(&p.file, format!("the {what} token is {id}, the vocabulary has {n} tokens")));
            }
        }
        if p.add_bos && p.bos.is_none() {
            return Err(Error::file(&p.file, "a bos token is to be added, but none is named"));
        }
        let mut special = vec![false; n];
        p.added.retain(|a| !a.text.is_empty());
        p.added.iter().filter(|a| a.special).for_each(|a| special[a.id as usize] = true);
        let mut by_first: Vec<Vec<u32>> = vec![Vec::new(); 256];
        for (i, a) in p.added.iter().enumerate() {
            by_first[a.text.as_bytes()[0] as usize].push(i as u32);
        }
        by_first.iter_mut().for_each(|list| list.sort_by_key(|&i| std::cmp::Reverse(p.added[i as usize].text.len())));
        let mut out = Tokenizer {
            vocab: p.vocab,
            merges: p.merges,
            chars: p.chars,
            splitter: p.splitter,
            ignore_merges: p.ignore_merges,
            add_prefix_space: p.add_prefix_space,
            added: p.added,
            by_first,
            special,
            bos: p.bos,
            eos: p.eos,
            pad: p.pad,
            unknown: p.unknown,
            add_bos: p.add_bos,
            add_eos: p.add_eos,
            template: None,
        };
        if let Some(source) = p.template {
            out.set_chat_template(&source);
        }
        Ok(out)
    }

    /// Replaces the chat template. One that cannot be parsed is an error when it is used, not before: texts can be
    /// tokenized without it.
    pub fn set_chat_template(&mut self, source: &str) {
        let text = |id: Option<u32>| id.map(|id| String::from_utf8_lossy(self.token_bytes(id)).into_owned());
        let template = ChatTemplate::new(source, text(self.bos).as_deref(), text(self.eos).as_deref());
        self.template = Some(template.map_err(|e| match e {
            Error::Template(message) => message,
            other => other.to_string(),
        }));
    }

    /// The chat template; an error without one or if it does not parse.
    pub fn chat_template(&self) -> Result<&ChatTemplate> {
        match &self.template {
            Some(Ok(t)) => Ok(t),
            Some(Err(message)) => Err(Error::Template(message.clone())),
            None => Err(Error::Template("the model's file has none".into())),
        }
    }

    /// Renders messages (objects with `role` and `content`) through the chat template.
    pub fn render_chat<M: Serialize>(&self, messages: &[M], add_generation_prompt: bool) -> Result<String> {
        self.chat_template()?.render(messages, add_generation_prompt, &Map::new())
    }

    /// The ids of a chat; with `add_generation_prompt` it ends in the opening of an answer.
    pub fn encode_chat<M: Serialize>(&self, messages: &[M], add_generation_prompt: bool) -> Result<Vec<u32>> {
        Ok(self.encode_plain(&self.render_chat(messages, add_generation_prompt)?, true))
    }

    /// The ids of a text as the tokenizer is usually called: special tokens in it are read as such, and those that
    /// belong around every text are added.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut out: Vec<u32> = self.bos.filter(|_| self.add_bos).into_iter().collect();
        self.encode_into(text, true, &mut out);
        out.extend(self.eos.filter(|_| self.add_eos));
        out
    }

    /// The ids of a text and of nothing else. Without `parse_special`, control tokens are spelled out like any text.
    pub fn encode_plain(&self, text: &str, parse_special: bool) -> Vec<u32> {
        let mut out = Vec::new();
        self.encode_into(text, parse_special, &mut out);
        out
    }

    fn encode_into(&self, text: &str, parse_special: bool, out: &mut Vec<u32>) {
        let mut rest = text;
        while let Some((at, added)) = self.next_added(rest, parse_special) {
            let before = if added.lstrip { rest[..at].trim_end() } else { &rest[..at] };
            self.encode_text(before, rest.len() == text.len(), out);
            out.push(added.id);
            rest = &rest[at + added.text.len()..];
            if added.rstrip {
                rest = rest.trim_start();
            }
        }
        self.encode_text(rest, rest.len() == text.len(), out);
    }

    /// The first added token in `text`, the longest of those that begin there.
    fn next_added(&self, text: &str, parse_special: bool) -> Option<(usize, &Added)> {
        let bytes = text.as_bytes();
        (0..bytes.len()).find_map(|at| {
            let candidates = self.by_first[bytes[at] as usize].iter().map(|&i| &self.added[i as usize]);
            let fits = |a: &&Added| (parse_special || !a.special) && bytes[at..].starts_with(a.text.as_bytes());
            candidates.into_iter().find(fits).map(|a| (at, a))
        })
    }

    /// `first`: nothing came before this part of a text.
    fn encode_text(&self, text: &str, first: bool, out: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        if let Some(chars) = &self.chars {
            chars.encode(&self.merges, text, first, self.unknown, out);
            return;
        }
        let spaced;
        let text = if self.add_prefix_space && !text.starts_with(' ') {
            spaced = format!(" {text}");
            &spaced
        } else {
            text
        };
        self.splitter.split(text, &mut |piece| match self.ignore_merges.then(|| self.vocab.find(piece.as_bytes())).flatten() {
            Some(id) => out.push(id),
            None => self.merges.encode(piece.as_bytes(), self.unknown, out),
        });
    }

    /// The text of ids; bytes that are no UTF-8 become U+FFFD, ids outside the vocabulary give nothing.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let shown = || ids.iter().copied().filter(|&id| !(skip_special && self.is_special(id)));
        let mut bytes: Vec<u8> = shown().flat_map(|id| self.token_bytes(id).iter().copied()).collect();
        if self.strips_space() && bytes.first() == Some(&b' ') {
            bytes.remove(0);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// True where the space that SentencePiece puts before a text is taken away from what is decoded.
    fn strips_space(&self) -> bool {
        self.chars.as_ref().is_some_and(|c| c.strip)
    }

    /// The bytes of a token, which need not be whole characters; none for an id outside the vocabulary.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.vocab.get(id)
    }

    /// The id of a token by its text.
    pub fn token_id(&self, text: &str) -> Option<u32> {
        let added = self.added.iter().find(|a| a.text == text).map(|a| a.id);
        added.or_else(|| match &self.chars {
            Some(chars) => chars.find(text_of(text).as_bytes()),
            None => self.vocab.find(text.as_bytes()),
        })
    }

    /// True for control tokens, which are no text.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.get(id as usize).copied().unwrap_or(false)
    }

    /// Number of tokens.
    pub fn vocab_size(&self) -> usize {
        self.vocab.len()
    }

    /// The token before every text.
    pub fn bos_token_id(&self) -> Option<u32> {
        self.bos
    }

    /// The token that ends a text.
    pub fn eos_token_id(&self) -> Option<u32> {
        self.eos
    }

    /// The token that fills up short rows.
    pub fn pad_token_id(&self) -> Option<u32> {
        self.pad
    }
}
