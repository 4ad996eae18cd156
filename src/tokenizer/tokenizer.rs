//! The tokenizer: what the rooms beside this file do, one after the other.
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::added::{AddedToken, AddedTokens};
use super::decode::Decoder;
use super::model::{MAX_TOKENS, Model, Scratch};
use super::normalize::Normalizer;
use super::postprocess::{Part, Placed, Post};
use super::pretokenize;
use super::template::ChatTemplate;
use super::text::Text;
use crate::error::{Error, Result};

/// A tokenizer with its chat template.
#[derive(Debug)]
pub struct Tokenizer {
    added: AddedTokens,
    normalizers: Vec<Normalizer>,
    pre: Vec<pretokenize::Step>,
    model: Model,
    post: Post,
    decoder: Arc<Decoder>,
    /// One more than the highest id.
    ids: usize,
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    template: Option<Result<ChatTemplate, String>>,
    named: Map<String, Json>,
}

/// What the file formats deliver.
#[derive(Debug)]
pub(super) struct Parts {
    pub file: String,
    pub added: Vec<AddedToken>,
    pub normalizers: Vec<Normalizer>,
    pub pre: Vec<pretokenize::Step>,
    pub model: Model,
    pub post: Post,
    pub decoder: Decoder,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub pad: Option<u32>,
    pub template: Option<String>,
    /// Special tokens that a chat template may refer to, such as `unk_token`.
    pub named: Map<String, Json>,
}

/// A text as tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Encoding {
    pub ids: Vec<u32>,
    /// The tokens as the vocabulary writes them (`Ġthe`, `▁the`, `<0x0A>`); an added token as it stands in the text.
    pub tokens: Vec<String>,
    /// The part of the text that each token stands for: from and to, counted in characters (Unicode scalar values, as Python counts them).
    /// Tokens that are not in the text have (0, 0).
    pub offsets: Vec<(usize, usize)>,
    /// The segment of each token, as BERT's `token_type_ids`: by the post-processor, and without one 0 in a first text and 1 in a second.
    pub type_ids: Vec<u32>,
}

impl Tokenizer {
    pub(super) fn build(p: Parts) -> Result<Self> {
        check_ids(&p.added, p.model.vocab().len()).map_err(|message| Error::file(&p.file, message))?;
        let highest = p.added.iter().map(|a| a.id as usize + 1).max().unwrap_or(0);
        let ids = p.model.vocab().len().max(highest);
        if let Some(id) = p.post.ids().find(|id| *id as usize >= ids) {
            return Err(Error::file(&p.file, format!("the token {id} is put around every text, the vocabulary has {ids} tokens")));
        }
        // One that nobody uses does no harm; converters write any number where there is none.
        let known = |what: &str, id: Option<u32>| {
            let (known, unknown) = (id.filter(|id| (*id as usize) < ids), id.filter(|id| *id as usize >= ids));
            if let Some(id) = unknown {
                log::warn!("{}: the {what} token is {id}, the vocabulary has {ids} tokens: it is left out of account", p.file);
            }
            known
        };
        let (bos, eos, pad) = (known("bos", p.bos), known("eos", p.eos), known("pad", p.pad));
        let mut out = Tokenizer {
            added: AddedTokens::new(p.added, &p.normalizers),
            normalizers: p.normalizers,
            pre: p.pre,
            model: p.model,
            post: p.post,
            decoder: Arc::new(p.decoder),
            ids,
            bos,
            eos,
            pad,
            template: None,
            named: p.named,
        };
        if let Some(source) = p.template {
            out.set_chat_template(&source);
        }
        Ok(out)
    }

    /// Replaces the chat template. One that cannot be parsed is an error when it is used, not before: texts can be
    /// tokenized without it.
    pub fn set_chat_template(&mut self, source: &str) {
        let mut tokens = self.named.clone();
        for (name, id) in [("bos_token", self.bos), ("eos_token", self.eos), ("pad_token", self.pad)] {
            if let (None, Some(text)) = (tokens.get(name), id.and_then(|id| self.id_to_token(id))) {
                tokens.insert(name.to_string(), text.into());
            }
        }
        let template = ChatTemplate::with_tokens(source, tokens);
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
        self.render_chat_with(messages, add_generation_prompt, &Map::new())
    }

    /// Renders messages of any fields (`serde_json::Value`s, say) with further variables, such as `tools`, `documents` or `enable_thinking`.
    pub fn render_chat_with<M: Serialize>(
        &self,
        messages: &[M],
        add_generation_prompt: bool,
        variables: &Map<String, Json>,
    ) -> Result<String> {
        self.chat_template()?.render(messages, add_generation_prompt, variables)
    }

    /// The ids of a chat; with `add_generation_prompt` it ends in the opening of an answer.
    pub fn encode_chat<M: Serialize>(&self, messages: &[M], add_generation_prompt: bool) -> Result<Vec<u32>> {
        self.encode_chat_with(messages, add_generation_prompt, &Map::new())
    }

    /// The ids of what [`render_chat_with`](Self::render_chat_with) gives.
    pub fn encode_chat_with<M: Serialize>(
        &self,
        messages: &[M],
        add_generation_prompt: bool,
        variables: &Map<String, Json>,
    ) -> Result<Vec<u32>> {
        Ok(self.encode_plain(&self.render_chat_with(messages, add_generation_prompt, variables)?, true))
    }

    /// The ids of a text as the tokenizer is usually called: special tokens in it are read as such, and those that
    /// belong around every text are added.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let (before, after) = self.post.around();
        let mut out = before;
        self.each(text, true, |_, _, id, _, _| out.push(id));
        if let (Some(bos), [first, second, ..]) = (self.bos, out.as_slice())
            && *first == bos
            && *second == bos
        {
            log::warn!("the text begins with the bos token, and the tokenizer adds one: there are two now");
        }
        out.extend(after);
        out
    }

    /// The ids of a text and of nothing else. Without `parse_special`, control tokens are spelled out like any text.
    pub fn encode_plain(&self, text: &str, parse_special: bool) -> Vec<u32> {
        let mut out = Vec::new();
        self.each(text, parse_special, |_, _, id, _, _| out.push(id));
        out
    }

    /// The ids of a text with their tokens, offsets and segments. With `add_special_tokens`, as [`encode`](Self::encode).
    pub fn encode_with_offsets(&self, text: &str, add_special_tokens: bool) -> Encoding {
        self.assemble(self.post.single(), [Some(self.plain_encoding(text)), None], add_special_tokens)
    }

    /// The ids of two texts that belong together (a question and its passage, a premise and a hypothesis), each text in its own segment.
    /// Offsets are those in the token's own text.
    ///
    /// # Errors
    /// [`Error::BadConfig`] where the tokenizer says nothing of pairs.
    pub fn encode_pair(&self, first: &str, second: &str, add_special_tokens: bool) -> Result<Encoding> {
        let parts = self.post.pair().ok_or_else(|| {
            Error::config("text_pair", "the tokenizer's post-processor has no place for two texts: only single ones can be encoded")
        })?;
        let texts = [Some(self.plain_encoding(first)), Some(self.plain_encoding(second))];
        Ok(self.assemble(parts, texts, add_special_tokens))
    }

    fn plain_encoding(&self, text: &str) -> Encoding {
        // The number of characters before each byte.
        let mut place = vec![0; text.len() + 1];
        let mut n = 0;
        for (at, c) in text.char_indices() {
            place[at..at + c.len_utf8()].fill(n);
            n += 1;
        }
        place[text.len()] = n;
        let mut out = Encoding::default();
        self.each(text, true, |text, is_added, id, start, end| {
            let written = is_added || self.model.writes_the_text(id);
            let token = if written { text.between(start, end) } else { self.model.vocab().get(id) };
            let (start, end) = text.original(start, end);
            // The last byte decides: a part of a character counts as the whole.
            let last = if end > start { place[end as usize - 1] + 1 } else { place[end as usize] };
            let mut placed = Placed { token, start: place[start as usize], end: last };
            self.post.trim(out.ids.len(), &mut placed);
            out.ids.push(id);
            out.tokens.push(token.to_string());
            out.offsets.push((placed.start, placed.end));
        });
        out
    }

    fn assemble(&self, parts: &[Part], texts: [Option<Encoding>; 2], add_special_tokens: bool) -> Encoding {
        let mut out = Encoding::default();
        for part in parts {
            let (text, type_id) = match part {
                Part::First { type_id } => (&texts[0], type_id),
                Part::Second { type_id } => (&texts[1], type_id),
                Part::Tokens { ids, type_id } => {
                    if add_special_tokens {
                        out.tokens.extend(ids.iter().map(|id| self.id_to_token(*id).unwrap_or_default().to_string()));
                        out.offsets.extend(ids.iter().map(|_| (0, 0)));
                        out.type_ids.extend(ids.iter().map(|_| *type_id));
                        out.ids.extend(ids);
                    }
                    continue;
                }
            };
            let Some(text) = text else { continue };
            out.ids.extend(&text.ids);
            out.tokens.extend(text.tokens.iter().cloned());
            out.offsets.extend(&text.offsets);
            out.type_ids.extend(text.ids.iter().map(|_| *type_id));
        }
        out
    }

    /// Calls `on` for each token: with the text as it was split, whether the token is an added one, its id, and the bytes of that text.
    fn each(&self, text: &str, parse_special: bool, mut on: impl FnMut(&Text, bool, u32, usize, usize)) {
        if text.is_empty() {
            return;
        }
        let mut text = Text::new(text);
        self.added.split_before(&mut text, parse_special);
        self.normalizers.iter().for_each(|n| n.apply(&mut text));
        self.added.split_after(&mut text, parse_special);
        self.pre.iter().for_each(|p| p.apply(&mut text));
        let mut scratch = Scratch::default();
        for span in text.spans() {
            match span.id {
                Some(id) => on(&text, true, id, span.start, span.end),
                None => self.model.tokenize(text.of(*span), &mut scratch, &mut |id, start, end| {
                    on(&text, false, id, (span.start + start).min(span.end), (span.start + end).min(span.end));
                }),
            }
        }
    }

    /// The text of ids; bytes that are no UTF-8 become U+FFFD, ids outside the vocabulary give nothing.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        self.decoder.decode(ids.iter().filter_map(|id| self.shown_token(*id, skip_special)))
    }

    /// The token of an id; none where it gives no text.
    pub(super) fn shown_token(&self, id: u32, skip_special: bool) -> Option<&str> {
        match self.added.shown(id) {
            Some((text, special)) => (!(skip_special && special)).then_some(text),
            None => Some(self.model.vocab().get(id)).filter(|t| !t.is_empty()),
        }
    }

    pub(super) fn decoder(&self) -> &Arc<Decoder> {
        &self.decoder
    }

    /// A token as the vocabulary writes it; none for an id without one.
    pub fn id_to_token(&self, id: u32) -> Option<&str> {
        let added = self.added.by_id(id).map(|a| a.content.as_str());
        added.or_else(|| Some(self.model.vocab().get(id)).filter(|t| !t.is_empty()))
    }

    /// The id of a token as the vocabulary writes it.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.added.by_content(token).map(|a| a.id).or_else(|| self.model.vocab().find(token))
    }

    /// True for control tokens, which are no text.
    pub fn is_special(&self, id: u32) -> bool {
        self.added.by_id(id).is_some_and(|a| a.special)
    }

    /// True for tokens that are looked for in texts before all else.
    pub(super) fn is_added(&self, id: u32) -> bool {
        self.added.by_id(id).is_some()
    }

    /// Number of tokens.
    pub fn vocab_size(&self) -> usize {
        self.ids
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

/// No id may be far from the number of tokens: tables are as long as the highest.
pub(super) fn check_ids(added: &[AddedToken], known: usize) -> std::result::Result<(), String> {
    let highest = added.iter().map(|a| a.id as usize).max().unwrap_or(0);
    let known = known + added.len();
    if highest >= MAX_TOKENS || highest > known.saturating_mul(4) + 1024 {
        return Err(format!("its highest id is {highest}, with {known} tokens"));
    }
    Ok(())
}
