//! Folders of the first BERTs: `vocab.txt`, a token per line, and no `tokenizer.json`.
use std::collections::HashSet;

use super::added::AddedToken;
use super::bert::LONGEST_WORD;
use super::config::Config;
use super::model::{MAX_TOKENS, Model, Vocab, WordPiece};
use super::postprocess::Post;
use super::tokenizer::{Parts, Tokenizer};
use crate::error::{Error, Result};
use crate::text::without_bom;

/// Classes whose `vocab.txt` is BERT's.
const CLASSES: [&str; 7] = [
    "BertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "MobileBertTokenizer",
    "ConvBertTokenizer",
    "RetriBertTokenizer",
    "LxmertTokenizer",
];

impl Tokenizer {
    /// A tokenizer from the text of a BERT's `vocab.txt` and, where there is one, of the `tokenizer_config.json` beside it (`do_lower_case`,
    /// `strip_accents`, `tokenize_chinese_chars`, special tokens).
    ///
    /// # Errors
    /// [`Error::BadFile`] where a token that is needed is missing, or the class is another than BERT's.
    pub fn from_vocab_txt(file: &str, text: &str, config: Option<&str>) -> Result<Self> {
        let bad = |message: String| Error::file(file, message);
        let bad_config = |message: String| Error::file("tokenizer_config.json", message);
        let config = Config::read(config)?;
        if let Some(class) = config.class().filter(|c| !CLASSES.contains(c)) {
            return Err(bad_config(format!("tokenizer_class is {class}, whose vocab.txt is not read: {} are", CLASSES.join(", "))));
        }
        let mut tokens: Vec<&str> = without_bom(text).lines().collect();
        if tokens.is_empty() || tokens.len() > MAX_TOKENS {
            return Err(bad(format!("has {} lines, expected 1 to {MAX_TOKENS}", tokens.len())));
        }
        // Of equal lines the last counts.
        let mut seen = HashSet::new();
        tokens.iter_mut().rev().filter(|t| !seen.insert(**t)).for_each(|t| *t = "");
        let vocab = Vocab::new(tokens.iter().copied()).map_err(bad)?;
        let [unknown, sep, pad, cls, mask] = config.bert_tokens();
        let need = |t: &str| vocab.find(t).ok_or_else(|| bad(format!("has no line {t:?}")));
        let (unknown_id, sep_id, cls_id) = (need(unknown)?, need(sep)?, need(cls)?);
        let found = [unknown, sep, pad, cls, mask].into_iter().filter_map(|t| Some(AddedToken::plain(vocab.find(t)?, t, true)));
        let mut added: Vec<AddedToken> = found.collect();
        config.add_tokens(&mut added, &|t| vocab.find(t)).map_err(bad_config)?;
        let (normalizers, pre, decoder) = config.bert().map_err(bad_config)?.steps();
        let pad = vocab.find(pad);
        let model = Model::WordPiece(WordPiece::new(vocab, unknown_id, "##", LONGEST_WORD));
        let post = Post::joined(&[cls_id], &[sep_id], &[sep_id], [0, 1]);
        let (bos, eos) = (Some(cls_id), Some(sep_id));
        let template = config.chat_template().map_err(bad_config)?;
        let (file, named) = (file.to_string(), config.named());
        Tokenizer::build(Parts { file, added, normalizers, pre, model, post, decoder, bos, eos, pad, template, named })
    }
}
