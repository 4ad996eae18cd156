//! BART (Lewis et al. 2019): an encoder-decoder with learned positions, norms behind the sums, GELU.

use super::bert;
use crate::models::config::{Config, Recipe};
use crate::models::family::Family;
use crate::models::names::{Entry, Names, Role};
use crate::models::reading::json::Json;
use crate::models::reading::translator;
use crate::{Error, Result};

pub const FAMILY: Family = Family {
    name: "BART",
    model_types: &["bart"],
    gguf: &[],
    from_json,
    from_gguf: |g| Err(Error::UnsupportedArchitecture { found: g.arch.to_string(), supported: "bart as safetensors".into() }),
    to_gguf: None,
};

pub const NAMES: Names = Names {
    root: "model.",
    ends: &[
        (Role::Embed, "model.shared", "token_embd"),
        (Role::Positions, "model.decoder.embed_positions", "position_embd"),
        (Role::EmbedNorm, "model.decoder.layernorm_embedding", "token_embd_norm"),
        (Role::Head, "lm_head", "output"),
        (Role::LogitsBias, "final_logits_bias", ""),
    ],
    blocks: "model.decoder.layers.",
    block: DECODER,
    source: Some(&ENCODER),
    ..bert::NAMES
};

pub const ENCODER: Names = Names {
    root: "model.",
    ends: &[
        (Role::Positions, "model.encoder.embed_positions", "position_embd"),
        (Role::EmbedNorm, "model.encoder.layernorm_embedding", "token_embd_norm"),
    ],
    blocks: "model.encoder.layers.",
    block: BLOCK,
    ..bert::NAMES
};

/// Modules of an encoder's block.
pub const BLOCK: &[Entry] = &[
    (Role::Q, "self_attn.q_proj", "attn_q"),
    (Role::K, "self_attn.k_proj", "attn_k"),
    (Role::V, "self_attn.v_proj", "attn_v"),
    (Role::Out, "self_attn.out_proj", "attn_output"),
    (Role::PostAttention, "self_attn_layer_norm", "attn_norm"),
    (Role::Up, "fc1", "ffn_up"),
    (Role::Down, "fc2", "ffn_down"),
    (Role::PostMlp, "final_layer_norm", "ffn_norm"),
];

/// Modules of a decoder's block.
pub const DECODER: &[Entry] = &[
    (Role::Q, "self_attn.q_proj", "attn_q"),
    (Role::K, "self_attn.k_proj", "attn_k"),
    (Role::V, "self_attn.v_proj", "attn_v"),
    (Role::Out, "self_attn.out_proj", "attn_output"),
    (Role::PostAttention, "self_attn_layer_norm", "attn_norm"),
    (Role::CrossQ, "encoder_attn.q_proj", "cross_attn_q"),
    (Role::CrossK, "encoder_attn.k_proj", "cross_attn_k"),
    (Role::CrossV, "encoder_attn.v_proj", "cross_attn_v"),
    (Role::CrossOut, "encoder_attn.out_proj", "cross_attn_output"),
    (Role::PostCross, "encoder_attn_layer_norm", "cross_attn_norm"),
    (Role::Up, "fc1", "ffn_up"),
    (Role::Down, "fc2", "ffn_down"),
    (Role::PostMlp, "final_layer_norm", "ffn_norm"),
];

fn from_json(j: &Json<'_>) -> Result<Config> {
    j.only("normalize_embedding", true)?;
    j.only("static_position_embeddings", false)?;
    let start = translator::starts(j)?;
    Ok(translator::with(translator::bart(j, "bart", &NAMES, &ENCODER, Recipe::POST_SUM)?, |e| e.start = start))
}
