//! `tokenizer.json` with `tokenizer_config.json`, as Transformers saves them.
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use super::added::AddedToken;
use super::config::{Config, added_token, same_id};
use super::decode::Decoder;
use super::model::{self, Model};
use super::normalize::Normalizer;
use super::postprocess::Post;
use super::pretokenize::Step;
use super::tokenizer::{Parts, Tokenizer, check_ids};
use crate::error::{Error, Result};
use crate::text::{not_json, without_bom};

#[derive(Deserialize)]
struct File<'a> {
    #[serde(default)]
    added_tokens: Vec<Json>,
    #[serde(default)]
    normalizer: Json,
    #[serde(default)]
    pre_tokenizer: Json,
    #[serde(default)]
    post_processor: Json,
    #[serde(default)]
    decoder: Json,
    #[serde(borrow)]
    model: &'a RawValue,
}

/// What a `tokenizer.json` and its `tokenizer_config.json` say together.
pub(super) struct Folder {
    pub added: Vec<AddedToken>,
    pub model: Model,
    /// Of a BPE model, in the order of their ranks.
    pub merges: Vec<(String, String)>,
    pub normalizers: Vec<Normalizer>,
    pub pre: Vec<Step>,
    pub post: Post,
    pub decoder: Decoder,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub pad: Option<u32>,
    pub template: Option<String>,
    /// Special tokens by the names under which templates refer to them.
    pub special: Map<String, Json>,
}

impl Folder {
    /// # Errors
    /// As [`Tokenizer::from_json`].
    pub fn read(file: &str, text: &str, config: Option<&str>) -> Result<Folder> {
        let bad = |message: String| Error::file(file, message);
        // Some editors write a byte order mark.
        let text = without_bom(text);
        let file_of: File = serde_json::from_str(text).map_err(|e| bad(not_json(text, || format!("is not a tokenizer: {e}"))))?;
        let config_bad = |message: String| Error::file("tokenizer_config.json", message);
        let config = Config::read(config)?;
        let added = file_of.added_tokens.iter().map(|v| {
            let id = v["id"].as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| bad(format!("added_tokens: {v} has no id")))?;
            added_token(v, id).map_err(|e| bad(format!("added_tokens: {e}")))
        });
        let mut added: Vec<AddedToken> = added.collect::<Result<_>>()?;
        added.retain(|a| !a.content.is_empty());
        let (model, merges) = model::read(file_of.model.get(), !added.is_empty()).map_err(bad)?;
        let in_vocab = |text: &str| model.vocab().find(text);
        for a in &mut added {
            if let Some(known) = in_vocab(&a.content) {
                a.id = same_id(a, known);
            }
        }
        config.add_tokens(&mut added, &in_vocab).map_err(config_bad)?;
        check_ids(&added, model.vocab().len()).map_err(bad)?;

        let id_of = |text: &str| added.iter().find(|a| a.content == text).map(|a| a.id).or_else(|| in_vocab(text));
        let within = |part: &'static str| move |e: String| bad(format!("the {part}: {e}"));
        let post = Post::read(&file_of.post_processor, &id_of).map_err(within("post-processor"))?;
        let named = [config.bos(), config.eos(), config.pad()].map(|t| t.and_then(id_of));
        let template = config.chat_template().map_err(config_bad)?;
        let mut folder = Folder {
            normalizers: Normalizer::read(&file_of.normalizer).map_err(within("normalizer"))?,
            pre: Step::read(&file_of.pre_tokenizer).map_err(within("pre-tokenizer"))?,
            decoder: Decoder::read(&file_of.decoder).map_err(within("decoder"))?,
            bos: named[0],
            eos: named[1],
            pad: named[2],
            model,
            merges,
            added,
            post,
            template,
            special: config.named(),
        };
        let (before, after) = folder.post.around();
        let (first, last) = (before.first().copied(), after.last().copied());
        folder.bos = folder.bos.or(first);
        folder.eos = folder.eos.or(last);
        Ok(folder)
    }
}

impl Tokenizer {
    /// A tokenizer from the text of a `tokenizer.json` and, where there is one, of a `tokenizer_config.json`.
    ///
    /// Its `truncation` and `padding` are left out of account, as Transformers does unless it is asked for them.
    ///
    /// # Errors
    /// [`Error::BadFile`] where the file is not one, or holds what is not supported; it is named.
    pub fn from_json(file: &str, text: &str, config: Option<&str>) -> Result<Self> {
        let Folder { added, model, merges: _, normalizers, pre, post, decoder, bos, eos, pad, template, special: named } =
            Folder::read(file, text, config)?;
        let file = file.to_string();
        Tokenizer::build(Parts { file, normalizers, pre, decoder, model, added, post, bos, eos, pad, template, named })
    }
}
