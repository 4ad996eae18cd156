//! mBART (Liu et al. 2020): BART with norms before the branches, one more behind each stack, and languages as tokens.

use super::bart;
use crate::models::config::{Config, Recipe};
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::json::Json;
use crate::models::reading::translator;
use crate::{Error, Result};

pub const FAMILY: Family = Family {
    name: "mBART",
    model_types: &["mbart"],
    gguf: &[],
    from_json,
    from_gguf: |g| Err(Error::UnsupportedArchitecture { found: g.arch.to_string(), supported: "mbart as safetensors".into() }),
    to_gguf: None,
};

const NAMES: Names = Names {
    ends: &[
        (Role::Embed, "model.shared", "token_embd"),
        (Role::Positions, "model.decoder.embed_positions", "position_embd"),
        (Role::EmbedNorm, "model.decoder.layernorm_embedding", "token_embd_norm"),
        (Role::FinalNorm, "model.decoder.layer_norm", "output_norm"),
        (Role::Head, "lm_head", "output"),
        (Role::LogitsBias, "final_logits_bias", ""),
    ],
    block: &[
        (Role::PreAttention, "self_attn_layer_norm", "attn_norm"),
        (Role::Q, "self_attn.q_proj", "attn_q"),
        (Role::K, "self_attn.k_proj", "attn_k"),
        (Role::V, "self_attn.v_proj", "attn_v"),
        (Role::Out, "self_attn.out_proj", "attn_output"),
        (Role::PreCross, "encoder_attn_layer_norm", "cross_attn_norm"),
        (Role::CrossQ, "encoder_attn.q_proj", "cross_attn_q"),
        (Role::CrossK, "encoder_attn.k_proj", "cross_attn_k"),
        (Role::CrossV, "encoder_attn.v_proj", "cross_attn_v"),
        (Role::CrossOut, "encoder_attn.out_proj", "cross_attn_output"),
        (Role::PreMlp, "final_layer_norm", "ffn_norm"),
        (Role::Up, "fc1", "ffn_up"),
        (Role::Down, "fc2", "ffn_down"),
    ],
    source: Some(&ENCODER),
    ..bart::NAMES
};

const ENCODER: Names = Names {
    ends: &[
        (Role::Positions, "model.encoder.embed_positions", "position_embd"),
        (Role::EmbedNorm, "model.encoder.layernorm_embedding", "token_embd_norm"),
        (Role::FinalNorm, "model.encoder.layer_norm", "output_norm"),
    ],
    block: &[
        (Role::PreAttention, "self_attn_layer_norm", "attn_norm"),
        (Role::Q, "self_attn.q_proj", "attn_q"),
        (Role::K, "self_attn.k_proj", "attn_k"),
        (Role::V, "self_attn.v_proj", "attn_v"),
        (Role::Out, "self_attn.out_proj", "attn_output"),
        (Role::PreMlp, "final_layer_norm", "ffn_norm"),
        (Role::Up, "fc1", "ffn_up"),
        (Role::Down, "fc2", "ffn_down"),
    ],
    ..bart::ENCODER
};

fn from_json(j: &Json<'_>) -> Result<Config> {
    j.only("normalize_embedding", true)?;
    j.only("static_position_embeddings", false)?;
    translator::bart(j, "mbart", &NAMES, &ENCODER, Recipe::PRE)
}
