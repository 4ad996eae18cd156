//! BERT (Devlin et al. 2018) and what is built like it (MiniLM): an encoder with learned positions and segments, norms behind the sums.

use crate::models::config::Config;
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::json::Json;
use crate::models::reading::{decoder, encoder};
use crate::models::shape::Squash;
use crate::{Error, Result};

pub const FAMILY: Family = Family {
    name: "BERT, MiniLM",
    model_types: &["bert"],
    gguf: &[],
    from_json,
    from_gguf: |g| Err(Error::UnsupportedArchitecture { found: g.arch.to_string(), supported: "bert as safetensors".into() }),
    to_gguf: None,
};

pub const NAMES: Names = Names {
    root: "bert.",
    ends: &[
        (Role::Embed, "bert.embeddings.word_embeddings", "token_embd"),
        (Role::Positions, "bert.embeddings.position_embeddings", "position_embd"),
        (Role::TokenTypes, "bert.embeddings.token_type_embeddings", "token_types"),
        (Role::EmbedNorm, "bert.embeddings.LayerNorm", "token_embd_norm"),
        (Role::Pooler, "bert.pooler.dense", "cls"),
        (Role::HeadDense, "cls.predictions.transform.dense", ""),
        (Role::HeadNorm, "cls.predictions.transform.LayerNorm", ""),
        (Role::Head, "cls.predictions.decoder", ""),
        (Role::HeadBias, "cls.predictions", ""),
        (Role::Classifier, "classifier", "cls.output"),
        (Role::TokenClassifier, "classifier", "cls.output"),
    ],
    blocks: "bert.encoder.layer.",
    block: BLOCK,
    gguf_rows: &[],
    gguf_norm_offset: 0.0,
    transposed: false,
    split_head_norms: false,
    qkv_by_head: false,
    source: None,
};

/// A block's modules, which RoBERTa shares.
pub const BLOCK: &[(Role, &str, &str)] = &[
    (Role::Q, "attention.self.query", "attn_q"),
    (Role::K, "attention.self.key", "attn_k"),
    (Role::V, "attention.self.value", "attn_v"),
    (Role::Out, "attention.output.dense", "attn_output"),
    (Role::PostAttention, "attention.output.LayerNorm", "attn_output_norm"),
    (Role::Up, "intermediate.dense", "ffn_up"),
    (Role::Down, "output.dense", "ffn_down"),
    (Role::PostMlp, "output.LayerNorm", "layer_output_norm"),
];

fn from_json(j: &Json<'_>) -> Result<Config> {
    json(j, &NAMES)
}

/// What BERT and RoBERTa have in a `config.json`.
///
/// # Errors
/// [`Error::BadConfig`] with the field.
pub fn json(j: &Json<'_>, names: &'static Names) -> Result<Config> {
    let kinds = j.opt_size("type_vocab_size")?.unwrap_or(2);
    let mut c = encoder::bert(j, decoder::sizes(j, names)?)?;
    c.max_position_embeddings = j.opt_size("max_position_embeddings")?.unwrap_or(512);
    Ok(encoder::with(c, |e| {
        e.type_vocab_size = kinds;
        e.classifier_dense = Some((Role::Pooler, Squash::Tanh));
    }))
}
