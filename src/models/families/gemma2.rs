//! Gemma 2 (Gemma Team 2024): norms before and behind each branch, windows in every second layer, soft caps.

use super::gemma;
use crate::Result;
use crate::models::config::{Config, Recipe};
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::decoder;
use crate::models::reading::gguf::Gguf;
use crate::models::reading::json::Json;
use crate::models::writing::ToGguf;

pub const FAMILY: Family =
    Family { name: "Gemma 2", model_types: &["gemma2"], gguf: &["gemma2"], from_json, from_gguf, to_gguf: ToGguf::plain("gemma2") };

const NAMES: Names = Names {
    block: &[
        (Role::PreAttention, "input_layernorm", "attn_norm"),
        (Role::Q, "self_attn.q_proj", "attn_q"),
        (Role::K, "self_attn.k_proj", "attn_k"),
        (Role::V, "self_attn.v_proj", "attn_v"),
        (Role::Out, "self_attn.o_proj", "attn_output"),
        (Role::PostAttention, "post_attention_layernorm", "post_attention_norm"),
        (Role::PreMlp, "pre_feedforward_layernorm", "ffn_norm"),
        (Role::Gate, "mlp.gate_proj", "ffn_gate"),
        (Role::Up, "mlp.up_proj", "ffn_up"),
        (Role::Down, "mlp.down_proj", "ffn_down"),
        (Role::PostMlp, "post_feedforward_layernorm", "post_ffw_norm"),
    ],
    ..gemma::NAMES
};

fn from_json(j: &Json<'_>) -> Result<Config> {
    let mut c = gemma::json(j, decoder::json(j, &NAMES)?)?;
    c.recipe = Recipe::SANDWICH;
    c.attention_scale = 1.0 / j.opt_number("query_pre_attn_scalar")?.unwrap_or(256.0).sqrt() as f32;
    c.attn_logit_softcapping = j.opt_number("attn_logit_softcapping")?.map(|v| v as f32);
    c.final_logit_softcapping = j.opt_number("final_logit_softcapping")?.map(|v| v as f32);
    decoder::windows(j, &mut c, j.opt_size("sliding_window")?, windowed)?;
    Ok(c)
}

fn from_gguf(g: &Gguf<'_>) -> Result<Config> {
    let mut c = gemma::gemma(decoder::gguf(g, &NAMES)?);
    c.recipe = Recipe::SANDWICH;
    // A GGUF does not say; of the published models only the one of 27B, with 46 layers, differs.
    if c.num_hidden_layers == 46 {
        c.attention_scale = 1.0 / ((c.hidden_size / c.num_attention_heads) as f32).sqrt();
    }
    c.attn_logit_softcapping = g.opt_number("attn_logit_softcapping")?;
    c.final_logit_softcapping = g.opt_number("final_logit_softcapping")?;
    c.set_window(c.sliding_window, windowed);
    Ok(c)
}

/// Every second layer, from the first on.
fn windowed(layer: usize) -> bool {
    layer.is_multiple_of(2)
}
