//! ModernBERT (Warner et al. 2024): an encoder with norms before its branches, rotary positions, a gated GELU, and windows in two of three layers.

use super::bert;
use crate::models::config::{Config, NormKind, Recipe};
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::json::{Json, activation};
use crate::models::reading::rope::{self, Fields};
use crate::models::reading::{decoder, encoder};
use crate::models::shape::Scope;
use crate::{Error, Result};

pub const FAMILY: Family = Family {
    name: "ModernBERT",
    model_types: &["modernbert"],
    gguf: &[],
    from_json,
    from_gguf: |g| Err(Error::UnsupportedArchitecture { found: g.arch.to_string(), supported: "modernbert as safetensors".into() }),
    to_gguf: None,
};

const NAMES: Names = Names {
    root: "model.",
    ends: &[
        (Role::Embed, "model.embeddings.tok_embeddings", "token_embd"),
        (Role::EmbedNorm, "model.embeddings.norm", "token_embd_norm"),
        (Role::FinalNorm, "model.final_norm", "output_norm"),
        (Role::HeadDense, "head.dense", "cls"),
        (Role::HeadNorm, "head.norm", "cls.norm"),
        (Role::Head, "decoder", ""),
        (Role::HeadBias, "decoder", ""),
        (Role::Classifier, "classifier", "cls.output"),
        (Role::TokenClassifier, "classifier", "cls.output"),
    ],
    blocks: "model.layers.",
    block: &[
        (Role::PreAttention, "attn_norm", "attn_norm"),
        (Role::Qkv, "attn.Wqkv", "attn_qkv"),
        (Role::Out, "attn.Wo", "attn_output"),
        (Role::PreMlp, "mlp_norm", "ffn_norm"),
        (Role::GateUp, "mlp.Wi", "ffn_up"),
        (Role::Down, "mlp.Wo", "ffn_down"),
    ],
    ..bert::NAMES
};

/// Of layers that see all.
const GLOBAL: Fields = Fields {
    layer_type: Some("full_attention"),
    theta: ("global_rope_theta", 160_000.0),
    partial: ("partial_rotary_factor", 1.0),
    scaled: true,
};
/// Of windowed ones.
const LOCAL: Fields = Fields { layer_type: Some("sliding_attention"), theta: ("local_rope_theta", 10_000.0), scaled: false, ..GLOBAL };

fn from_json(j: &Json<'_>) -> Result<Config> {
    for bias in ["attention_bias", "mlp_bias", "norm_bias"] {
        j.only(bias, false)?;
    }
    j.only("decoder_bias", true)?;
    let mut c = decoder::sizes(j, &NAMES)?;
    c.max_position_embeddings = j.opt_size("max_position_embeddings")?.unwrap_or(8192);
    c.rope = Some(rope::json(j, &GLOBAL, c.head_dim, c.max_position_embeddings)?);
    c.local_rope = Some(rope::json(j, &LOCAL, c.head_dim, c.max_position_embeddings)?);
    c.recipe = Recipe { first_is_normed: true, ..Recipe::PRE };
    c.norm = NormKind::Layer { bias: false };
    c.norm_eps = j.opt_number("norm_eps")?.unwrap_or(1e-5) as f32;
    c.tie_word_embeddings = j.flag("tie_word_embeddings", true)?;
    c.hidden_act = activation(j.text("hidden_activation").unwrap_or("gelu"))?;
    // |i − j| ≤ local_attention / 2: so many keys up to its own, which is one of them, and as many from its own on.
    let window = j.opt_size("local_attention")?.unwrap_or(128) / 2 + 1;
    let every = j.opt_size("global_attn_every_n_layers")?.unwrap_or(3).max(1);
    decoder::windows(j, &mut c, Some(window), |i| !i.is_multiple_of(every))?;
    let act = activation(j.text("classifier_activation").unwrap_or("gelu"))?;
    let bias = j.flag("classifier_bias", false)?;
    c.shape = encoder::shape(j, act)?;
    Ok(encoder::with(c, |e| {
        e.dense_bias = bias;
        e.tokens_dense = true;
        let pooling = j.text("classifier_pooling").filter(|p| *p != "cls" && e.classifier.scope == Scope::Sequence);
        if let Some(pooling) = pooling {
            encoder::refuse(&mut e.classifier, "classifier_pooling", format!("{pooling:?} is not supported (cls)"));
        }
    }))
}
