//! RoBERTa (Liu et al. 2019): BERT whose positions begin behind the padding token's id, with other heads.

use super::bert;
use crate::models::config::Config;
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::encoder;
use crate::models::reading::json::Json;
use crate::models::shape::Squash;
use crate::ops::Act;
use crate::{Error, Result};

pub const FAMILY: Family = Family {
    name: "RoBERTa",
    model_types: &["roberta"],
    gguf: &[],
    from_json,
    from_gguf: |g| Err(Error::UnsupportedArchitecture { found: g.arch.to_string(), supported: "roberta as safetensors".into() }),
    to_gguf: None,
};

const NAMES: Names = Names {
    root: "roberta.",
    ends: &[
        (Role::Embed, "roberta.embeddings.word_embeddings", "token_embd"),
        (Role::Positions, "roberta.embeddings.position_embeddings", "position_embd"),
        (Role::TokenTypes, "roberta.embeddings.token_type_embeddings", "token_types"),
        (Role::EmbedNorm, "roberta.embeddings.LayerNorm", "token_embd_norm"),
        (Role::Pooler, "roberta.pooler.dense", ""),
        (Role::HeadDense, "lm_head.dense", ""),
        (Role::HeadNorm, "lm_head.layer_norm", ""),
        (Role::Head, "lm_head.decoder", ""),
        (Role::HeadBias, "lm_head", ""),
        (Role::ClassifierDense, "classifier.dense", "cls"),
        (Role::Classifier, "classifier.out_proj", "cls.output"),
        (Role::TokenClassifier, "classifier", "cls.output"),
    ],
    blocks: "roberta.encoder.layer.",
    ..bert::NAMES
};

fn from_json(j: &Json<'_>) -> Result<Config> {
    let mut c = bert::json(j, &NAMES)?;
    let padding = j.ids("pad_token_id")?.first().copied().unwrap_or(1) as usize;
    let rows = c.max_position_embeddings;
    if rows <= padding + 1 {
        return Err(Error::config(
            "max_position_embeddings",
            format!("is {rows}, of which none is behind the padding token's id {padding}"),
        ));
    }
    c.max_position_embeddings = rows - padding - 1;
    Ok(encoder::with(c, |e| {
        e.first_position = padding + 1;
        e.masked_act = Act::Gelu;
        e.classifier_dense = Some((Role::ClassifierDense, Squash::Tanh));
    }))
}
