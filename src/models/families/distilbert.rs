//! DistilBERT (Sanh et al. 2019): BERT without segments and without a pooler.

use super::bert;
use crate::models::config::{Config, Sizes};
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::json::{Json, activation};
use crate::models::reading::{decoder, encoder};
use crate::models::shape::Squash;
use crate::ops::Act;
use crate::{Error, Result};

pub const FAMILY: Family = Family {
    name: "DistilBERT",
    model_types: &["distilbert"],
    gguf: &[],
    from_json,
    from_gguf: |g| Err(Error::UnsupportedArchitecture { found: g.arch.to_string(), supported: "distilbert as safetensors".into() }),
    to_gguf: None,
};

const NAMES: Names = Names {
    root: "distilbert.",
    ends: &[
        (Role::Embed, "distilbert.embeddings.word_embeddings", "token_embd"),
        (Role::Positions, "distilbert.embeddings.position_embeddings", "position_embd"),
        (Role::EmbedNorm, "distilbert.embeddings.LayerNorm", "token_embd_norm"),
        (Role::HeadDense, "vocab_transform", ""),
        (Role::HeadNorm, "vocab_layer_norm", ""),
        (Role::Head, "vocab_projector", ""),
        (Role::HeadBias, "vocab_projector", ""),
        (Role::ClassifierDense, "pre_classifier", "cls"),
        (Role::Classifier, "classifier", "cls.output"),
        (Role::TokenClassifier, "classifier", "cls.output"),
    ],
    blocks: "distilbert.transformer.layer.",
    block: &[
        (Role::Q, "attention.q_lin", "attn_q"),
        (Role::K, "attention.k_lin", "attn_k"),
        (Role::V, "attention.v_lin", "attn_v"),
        (Role::Out, "attention.out_lin", "attn_output"),
        (Role::PostAttention, "sa_layer_norm", "attn_output_norm"),
        (Role::Up, "ffn.lin1", "ffn_up"),
        (Role::Down, "ffn.lin2", "ffn_down"),
        (Role::PostMlp, "output_layer_norm", "layer_output_norm"),
    ],
    ..bert::NAMES
};

fn from_json(j: &Json<'_>) -> Result<Config> {
    // Its sinusoidal positions lie in the file as a table; what is in the file counts.
    let (width, heads) = (j.size("dim")?, j.size("n_heads")?);
    let sizes = Sizes {
        vocab_size: j.size("vocab_size")?,
        hidden_size: width,
        intermediate_size: j.size("hidden_dim")?,
        num_hidden_layers: j.size("n_layers")?,
        num_attention_heads: heads,
        num_key_value_heads: heads,
        head_dim: width.checked_div(heads).unwrap_or(0),
        max_position_embeddings: j.opt_size("max_position_embeddings")?.unwrap_or(512),
    };
    let mut c = Config::of("distilbert", &NAMES, sizes);
    decoder::ids(j, &mut c)?;
    let mut c = encoder::bert(j, c)?;
    c.norm_eps = 1e-12;
    c.hidden_act = activation(j.text("activation").unwrap_or("gelu"))?;
    let act = c.hidden_act;
    Ok(encoder::with(c, |e| {
        e.masked_act = act;
        e.classifier_dense = Some((Role::ClassifierDense, Squash::Act(Act::Relu)));
    }))
}
