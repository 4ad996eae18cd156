//! OLMo 2 (OLMo Team 2024): norms behind the branches only, and one over all of q and of k.

use super::llama;
use crate::Result;
use crate::models::config::{Config, QkNorm, Recipe};
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::decoder;
use crate::models::reading::gguf::Gguf;
use crate::models::reading::json::Json;
use crate::models::writing::ToGguf;

pub const FAMILY: Family =
    Family { name: "OLMo 2", model_types: &["olmo2"], gguf: &["olmo2"], from_json, from_gguf, to_gguf: ToGguf::plain("olmo2") };

const NAMES: Names = Names {
    block: &[
        (Role::Q, "self_attn.q_proj", "attn_q"),
        (Role::K, "self_attn.k_proj", "attn_k"),
        (Role::V, "self_attn.v_proj", "attn_v"),
        (Role::QNorm, "self_attn.q_norm", "attn_q_norm"),
        (Role::KNorm, "self_attn.k_norm", "attn_k_norm"),
        (Role::Out, "self_attn.o_proj", "attn_output"),
        (Role::PostAttention, "post_attention_layernorm", "post_attention_norm"),
        (Role::Gate, "mlp.gate_proj", "ffn_gate"),
        (Role::Up, "mlp.up_proj", "ffn_up"),
        (Role::Down, "mlp.down_proj", "ffn_down"),
        (Role::PostMlp, "post_feedforward_layernorm", "post_ffw_norm"),
    ],
    gguf_rows: &[],
    ..llama::NAMES
};

fn from_json(j: &Json<'_>) -> Result<Config> {
    let mut c = decoder::json(j, &NAMES)?;
    c.norm_eps = j.opt_number("rms_norm_eps")?.unwrap_or(1e-5) as f32;
    c.mlp_bias = false;
    Ok(olmo2(c))
}

fn from_gguf(g: &Gguf<'_>) -> Result<Config> {
    Ok(olmo2(decoder::gguf(g, &NAMES)?))
}

fn olmo2(mut c: Config) -> Config {
    c.recipe = Recipe::POST;
    c.qk_norm = QkNorm::Whole;
    c
}
