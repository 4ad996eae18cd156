//! The tokenizer in a GGUF's metadata.
use super::added::AddedToken;
use super::bert::{Bert, LONGEST_WORD};
use super::byte_level;
use super::decode::{self, Decoder};
use super::model::{Bpe, MAX_TOKENS, Model, Pairs, Ranks, Unigram, Vocab, WordPiece, byte_token};
use super::normalize::Normalizer;
use super::pattern::Pattern;
use super::postprocess::Post;
use super::pretokenize::{Step, known, named};
use super::spaces::Spaces;
use super::tokenizer::{Parts, Tokenizer};
use crate::error::{Error, Result};

/// GGUF's `tokenizer.*` keys. The caller takes them from the file's metadata, which this module does not know.
#[derive(Clone, Debug, Default)]
pub struct GgufVocab<'a> {
    /// The file's name, for messages.
    pub file: &'a str,
    /// `tokenizer.ggml.model`: `gpt2` (byte-level BPE), `llama` (SentencePiece BPE), `t5` (Unigram) or `bert` (WordPiece).
    pub model: &'a str,
    /// `tokenizer.ggml.pre`; a file without it is taken for `default`, as llama.cpp does.
    pub pre: Option<&'a str>,
    /// `tokenizer.ggml.tokens`, in the byte-level spelling.
    pub tokens: Vec<&'a str>,
    /// `tokenizer.ggml.token_type` (1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte); may be empty.
    pub token_types: Vec<i32>,
    /// `tokenizer.ggml.merges`: two spelled tokens with a space between them.
    pub merges: Vec<&'a str>,
    /// `tokenizer.ggml.scores`, for `llama`: pieces with higher ones merge first; for `t5` those of the pieces.
    pub scores: Vec<f32>,
    /// `tokenizer.ggml.unknown_token_id`
    pub unknown: Option<u32>,
    /// `tokenizer.ggml.bos_token_id`
    pub bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`
    pub eos: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`
    pub pad: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.ggml.remove_extra_whitespaces`
    pub remove_extra_whitespaces: Option<bool>,
    /// `tokenizer.ggml.precompiled_charsmap`; empty for none.
    pub charsmap: Vec<u8>,
    /// `tokenizer.ggml.normalizer.lowercase`, for `bert`.
    pub lowercase: Option<bool>,
    /// `tokenizer.ggml.cls_token_id`
    pub cls: Option<u32>,
    /// `tokenizer.ggml.seperator_token_id`, spelled so.
    pub sep: Option<u32>,
    /// `tokenizer.chat_template`
    pub chat_template: Option<&'a str>,
}

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Byte,
    /// Looked for in texts: unknown, control and user defined tokens.
    Added {
        special: bool,
    },
}

impl Tokenizer {
    /// A tokenizer from a GGUF's metadata.
    ///
    /// # Errors
    /// [`Error::BadFile`] with the key that cannot be used.
    pub fn from_gguf(v: GgufVocab) -> Result<Self> {
        let bad = |message: String| Error::file(v.file, message);
        v.check()?;
        match v.model {
            "llama" => v.sentencepiece(),
            "gpt2" => v.byte_level(),
            "t5" => v.unigram(),
            "bert" => v.word_piece(),
            other => {
                let message =
                    "supported are \"gpt2\" (byte-level BPE), \"llama\" (SentencePiece BPE), \"t5\" (Unigram) and \"bert\" (WordPiece)";
                Err(bad(format!("tokenizer.ggml.model is {other:?}, {message}")))
            }
        }
    }
}

impl GgufVocab<'_> {
    fn check(&self) -> Result<()> {
        let bad = |message: String| Err(Error::file(self.file, message));
        let n = self.tokens.len();
        if n == 0 || n > MAX_TOKENS {
            return bad(format!("tokenizer.ggml.tokens has {n} entries, expected 1 to {MAX_TOKENS}"));
        }
        if !self.token_types.is_empty() && self.token_types.len() != n {
            return bad(format!("tokenizer.ggml.token_type has {} entries for {n} tokens", self.token_types.len()));
        }
        if matches!(self.model, "llama" | "t5") && self.scores.len() != n {
            return bad(format!("tokenizer.ggml.scores has {} entries for {n} tokens", self.scores.len()));
        }
        if self.scores.iter().any(|s| !s.is_finite()) {
            return bad("tokenizer.ggml.scores holds what is no number".into());
        }
        if !self.charsmap.is_empty() && !matches!(self.model, "llama" | "t5") {
            return bad(format!("tokenizer.ggml.precompiled_charsmap is not supported for {:?}", self.model));
        }
        Ok(())
    }

    fn kind(&self, id: usize) -> Kind {
        match self.token_types.get(id) {
            None if matches!(self.model, "llama" | "t5") && is_byte(self.tokens[id]) => Kind::Byte,
            Some(6) if is_byte(self.tokens[id]) => Kind::Byte,
            Some(2 | 3) => Kind::Added { special: true },
            Some(4) => Kind::Added { special: false },
            _ => Kind::Text,
        }
    }

    /// Tokens that are looked for in texts.
    fn added(&self) -> Vec<AddedToken> {
        let all = self.tokens.iter().zip(0u32..).filter(|(t, _)| !t.is_empty());
        all.filter_map(|(t, id)| match self.kind(id as usize) {
            Kind::Added { special } => Some(AddedToken::plain(id, t, special)),
            _ => None,
        })
        .collect()
    }

    /// What goes around a text.
    fn around(&self, add_bos: bool) -> Result<Post> {
        let known = self.bos.is_some_and(|id| (id as usize) < self.tokens.len());
        let bos = self.add_bos.unwrap_or(add_bos && known);
        if bos && self.bos.is_none() {
            return Err(Error::file(self.file, "tokenizer.ggml.add_bos_token is true, but there is no bos_token_id"));
        }
        let eos = self.add_eos.unwrap_or(false);
        if eos && self.eos.is_none() {
            return Err(Error::file(self.file, "tokenizer.ggml.add_eos_token is true, but there is no eos_token_id"));
        }
        let one = |id: Option<u32>, wanted: bool| id.filter(|_| wanted).into_iter().collect();
        Ok(Post::new(one(self.bos, bos), one(self.eos, eos)))
    }

    /// Byte-level BPE.
    fn byte_level(self) -> Result<Tokenizer> {
        let bad = |message: String| Error::file(self.file, message);
        let pre = self.pre.filter(|p| !p.is_empty()).unwrap_or("default");
        if pre == "default" {
            let said = if self.pre.is_some() { "\"default\"" } else { "missing" };
            log::warn!(
                "{}: tokenizer.ggml.pre is {said}: texts are split as llama.cpp's default does, maybe not as in training",
                self.file
            );
        }
        let named = named(pre).ok_or_else(|| bad(format!("tokenizer.ggml.pre is {pre:?}, known are {}", known())))?;
        let vocab = Vocab::new(self.tokens.iter().copied()).map_err(bad)?;
        let long = |id: usize| self.kind(id) == Kind::Text && byte_level::bytes_of(self.tokens[id]).is_some_and(|b| b.len() > 1);
        if self.merges.is_empty()
            && let Some(id) = (0..self.tokens.len()).find(|id| long(*id))
        {
            let token = self.tokens[id];
            return Err(bad(format!(
                "tokenizer.ggml.merges is missing or empty: nothing makes the token {token:?}, texts would fall into single bytes"
            )));
        }
        let mut merges = Vec::with_capacity(self.merges.len());
        let mut both = String::new();
        for (rank, merge) in self.merges.iter().enumerate() {
            // The separator is the first space after the first character: a spelled token contains none.
            let first = merge.chars().next().map_or(0, char::len_utf8);
            let at = merge[first..].find(' ').map(|at| first + at).filter(|at| at + 1 < merge.len());
            let at = at.ok_or_else(|| bad(format!("tokenizer.ggml.merges[{rank}] is {merge:?}, expected two tokens")))?;
            let (a, b) = (&merge[..at], &merge[at + 1..]);
            let lacks = |t: &str| bad(format!("tokenizer.ggml.merges[{rank}] needs the token {t:?}, which the vocabulary lacks"));
            let find = |t: &str| vocab.find(t).ok_or_else(|| lacks(t));
            both.clear();
            both.push_str(a);
            both.push_str(b);
            merges.push((find(a)?, find(b)?, find(&both)?));
        }
        let mut steps = named.steps();
        if self.add_space_prefix == Some(true) {
            steps.insert(0, Step::Space);
        }
        let model = Bpe {
            ranks: Ranks::Pairs(Pairs::new(vocab.len(), merges)),
            unknown: None,
            fuse_unknown: false,
            bytes: None,
            prefix: String::new(),
            suffix: String::new(),
            ignore_merges: named.ignore_merges,
            vocab,
        };
        self.finish(model, Vec::new(), steps, vec![decode::Step::ByteLevel], named.add_bos)
    }

    /// SentencePiece's BPE, as Llama 2, Mistral and Gemma have it: pieces of characters in place of bytes, a space written `▁`, one put before
    /// the text, and characters that are no piece spelled out in byte tokens. There are scores and no merges.
    fn sentencepiece(self) -> Result<Tokenizer> {
        let bad = |message: String| Error::file(self.file, message);
        let vocab = Vocab::new(self.tokens.iter().copied()).map_err(bad)?;
        // Pieces of one score are merged from left to right.
        let mut order: Vec<u32> = (0..vocab.len() as u32).filter(|id| self.kind(*id as usize) == Kind::Text).collect();
        let score = |id: u32| self.scores[id as usize];
        order.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
        let mut ranks = vec![u32::MAX; vocab.len()];
        let mut rank = 0;
        for (i, id) in order.iter().enumerate() {
            rank += u32::from(i > 0 && score(order[i - 1]) != score(*id));
            ranks[*id as usize] = rank;
        }
        let unknown = self.unknown_id()?;
        let byte = |b: usize| vocab.find(&byte_token(b as u8)).filter(|id| self.kind(*id as usize) == Kind::Byte);
        let bytes = Box::new(std::array::from_fn(byte));
        let space = |from: &str, to: &str| (Pattern::literal(from), to.to_string());
        let prefix = self.add_space_prefix.unwrap_or(true);
        // Spaces are counted unless a file says otherwise.
        let spaces = Spaces { charsmap: self.charsmap.clone(), prefix, collapse: self.remove_extra_whitespaces.unwrap_or(false) };
        let mut normalizers = spaces.normalizers().map_err(bad)?;
        if prefix {
            normalizers.push(Normalizer::Prepend("▁".into()));
        }
        let (pattern, content) = space(" ", "▁");
        normalizers.push(Normalizer::Replace { pattern, content });
        let (pattern, content) = space("▁", " ");
        let mut decoder = vec![decode::Step::Replace { pattern, literal: Some("▁".into()), content }];
        decoder.extend([decode::Step::ByteFallback, decode::Step::Fuse]);
        if prefix {
            decoder.push(decode::Step::Strip { content: ' ', start: 1, stop: 0 });
        }
        let model = Bpe {
            ranks: Ranks::Scores(ranks),
            unknown,
            fuse_unknown: true,
            bytes: Some(bytes),
            prefix: String::new(),
            suffix: String::new(),
            ignore_merges: false,
            vocab,
        };
        self.finish(model, normalizers, Vec::new(), decoder, true)
    }

    fn unknown_id(&self) -> Result<Option<u32>> {
        let unknown = self.unknown.or_else(|| self.token_types.iter().position(|t| *t == 2).map(|i| i as u32));
        match unknown.filter(|id| *id as usize >= self.tokens.len()) {
            Some(id) => Err(Error::file(self.file, format!("the unknown token is {id}, the vocabulary has {} tokens", self.tokens.len()))),
            None => Ok(unknown),
        }
    }

    /// Unigram, as T5 and XLM-R have it. An eos token ends a text unless the file says no, as in llama.cpp.
    fn unigram(mut self) -> Result<Tokenizer> {
        let bad = |message: String| Error::file(self.file, message);
        let vocab = Vocab::new(self.tokens.iter().copied()).map_err(bad)?;
        let unknown = self.unknown_id()?;
        let byte = |b: usize| vocab.find(&byte_token(b as u8)).filter(|id| self.kind(*id as usize) == Kind::Byte);
        let bytes: [Option<u32>; 256] = std::array::from_fn(byte);
        let has_bytes = bytes.iter().any(Option::is_some);
        // What no text has is never found.
        let piece = |(i, t): (usize, &&'_ str)| match self.kind(i) {
            Kind::Text if self.token_types.get(i) != Some(&5) => (t.to_string(), f64::from(self.scores[i])),
            _ => (String::new(), 0.0),
        };
        let pieces: Vec<(String, f64)> = self.tokens.iter().enumerate().map(piece).collect();
        let spaces = Spaces {
            charsmap: std::mem::take(&mut self.charsmap),
            prefix: self.add_space_prefix.unwrap_or(true),
            collapse: self.remove_extra_whitespaces.unwrap_or(true),
        };
        let (normalizers, pre, decoder) = spaces.steps(has_bytes).map_err(|e| Error::file(self.file, e))?;
        let table = has_bytes.then(|| Box::new(bytes));
        let model = Unigram::new(vocab, pieces.iter().map(|(t, score)| (t.as_str(), *score)), Vec::new(), unknown, table);
        let known = self.eos.is_some_and(|id| (id as usize) < self.tokens.len());
        self.add_eos = self.add_eos.or(Some(known));
        let post = self.around(false)?;
        self.build(Model::Unigram(model), normalizers, pre, decoder, post)
    }

    /// WordPiece, as BERT has it. A GGUF writes `▁` before words, and what continues one without a sign.
    fn word_piece(self) -> Result<Tokenizer> {
        let bad = |message: String| Error::file(self.file, message);
        let spelled = |(i, t): (usize, &&str)| match t.strip_prefix('▁') {
            _ if self.kind(i) != Kind::Text || t.is_empty() || self.token_types.get(i) == Some(&5) => t.to_string(),
            Some(word) => word.to_string(),
            None => format!("##{t}"),
        };
        let tokens: Vec<String> = self.tokens.iter().enumerate().map(spelled).collect();
        let vocab = Vocab::new(tokens.iter().map(String::as_str)).map_err(bad)?;
        let known = |id: Option<u32>, text: &str| id.filter(|id| (*id as usize) < tokens.len()).or_else(|| vocab.find(text));
        let need = |id: Option<u32>, key: &str, text: &str| {
            known(id, text).ok_or_else(|| bad(format!("has neither tokenizer.ggml.{key} nor a token {text:?}")))
        };
        let unknown = need(self.unknown_id()?, "unknown_token_id", "[UNK]")?;
        let cls = need(self.cls.or(self.bos), "cls_token_id", "[CLS]")?;
        let sep = need(self.sep.or(self.eos), "seperator_token_id", "[SEP]")?;
        let lowercase = self.lowercase.unwrap_or(true);
        let (normalizers, pre, decoder) = Bert { lowercase, strip_accents: lowercase, chinese: true }.steps();
        let model = WordPiece::new(vocab, unknown, "##", LONGEST_WORD);
        let post = Post::joined(&[cls], &[sep], &[sep], [0, 1]);
        self.build(Model::WordPiece(model), normalizers, pre, decoder, post)
    }

    fn finish(
        self,
        model: Bpe,
        normalizers: Vec<Normalizer>,
        pre: Vec<Step>,
        decoder: Vec<decode::Step>,
        add_bos: bool,
    ) -> Result<Tokenizer> {
        let (post, decoder) = (self.around(add_bos)?, Decoder::new(decoder).map_err(|e| Error::file(self.file, e))?);
        self.build(Model::Bpe(model), normalizers, pre, decoder, post)
    }

    fn build(self, model: Model, normalizers: Vec<Normalizer>, pre: Vec<Step>, decoder: Decoder, post: Post) -> Result<Tokenizer> {
        let unknown = self.unknown.and_then(|id| self.tokens.get(id as usize)).map(|t| t.to_string());
        Tokenizer::build(Parts {
            file: self.file.to_string(),
            added: self.added(),
            normalizers,
            pre,
            model,
            post,
            decoder,
            bos: self.bos,
            eos: self.eos,
            pad: self.pad,
            template: self.chat_template.map(str::to_string),
            named: unknown.into_iter().map(|text| ("unk_token".to_string(), text.into())).collect(),
        })
    }
}

/// True for a token `<0x41>`.
fn is_byte(token: &str) -> bool {
    let hex = token.strip_prefix("<0x").and_then(|t| t.strip_suffix('>'));
    hex.is_some_and(|h| h.len() == 2 && h.bytes().all(|b| b.is_ascii_hexdigit()))
}
