//! GLM-4 of 2025 (GLM-4-0414): norms before and behind each branch, half of each head turned by neighbours, gate and up in one module.

use super::llama;
use crate::Result;
use crate::models::config::{Config, Recipe};
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::decoder;
use crate::models::reading::gguf::Gguf;
use crate::models::reading::json::Json;
use crate::models::reading::rope::Fields;
use crate::models::writing::ToGguf;

pub const FAMILY: Family =
    Family { name: "GLM-4", model_types: &["glm4"], gguf: &["glm4"], from_json, from_gguf, to_gguf: ToGguf::plain("glm4") };

const NAMES: Names = Names {
    block: &[
        (Role::PreAttention, "input_layernorm", "attn_norm"),
        (Role::Q, "self_attn.q_proj", "attn_q"),
        (Role::K, "self_attn.k_proj", "attn_k"),
        (Role::V, "self_attn.v_proj", "attn_v"),
        (Role::Out, "self_attn.o_proj", "attn_output"),
        (Role::PostAttention, "post_self_attn_layernorm", "post_attention_norm"),
        (Role::PreMlp, "post_attention_layernorm", "ffn_norm"),
        (Role::GateUp, "mlp.gate_up_proj", "ffn_up"),
        (Role::Down, "mlp.down_proj", "ffn_down"),
        (Role::PostMlp, "post_mlp_layernorm", "post_ffw_norm"),
    ],
    gguf_rows: &[],
    ..llama::NAMES
};

fn from_json(j: &Json<'_>) -> Result<Config> {
    let fields = Fields { partial: ("partial_rotary_factor", 0.5), ..Fields::default() };
    let mut c = glm4(decoder::json_with(j, &NAMES, &fields)?);
    c.norm_eps = j.opt_number("rms_norm_eps")?.unwrap_or(1.5625e-7) as f32;
    // q, k and v only.
    c.attention_bias = j.flag("attention_bias", true)?;
    (c.attention_out_bias, c.mlp_bias) = (false, false);
    Ok(c)
}

fn from_gguf(g: &Gguf<'_>) -> Result<Config> {
    Ok(glm4(decoder::gguf(g, &NAMES)?))
}

fn glm4(mut c: Config) -> Config {
    c.recipe = Recipe::SANDWICH;
    c.interleaved = true;
    c
}
