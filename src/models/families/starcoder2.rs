//! StarCoder 2 (Lozhkov et al. 2024): LayerNorm, biases everywhere, an MLP without a gate, and a window in every layer.

use super::llama;
use crate::Result;
use crate::models::config::{Config, NormKind};
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::decoder;
use crate::models::reading::gguf::Gguf;
use crate::models::reading::json::{Json, activation};
use crate::models::writing::ToGguf;
use crate::ops::Act;

pub const FAMILY: Family = Family {
    name: "StarCoder 2",
    model_types: &["starcoder2"],
    gguf: &["starcoder2"],
    from_json,
    from_gguf,
    to_gguf: ToGguf::plain("starcoder2"),
};

const NAMES: Names = Names {
    block: &[
        (Role::PreAttention, "input_layernorm", "attn_norm"),
        (Role::Q, "self_attn.q_proj", "attn_q"),
        (Role::K, "self_attn.k_proj", "attn_k"),
        (Role::V, "self_attn.v_proj", "attn_v"),
        (Role::Out, "self_attn.o_proj", "attn_output"),
        (Role::PreMlp, "post_attention_layernorm", "ffn_norm"),
        (Role::Up, "mlp.c_fc", "ffn_up"),
        (Role::Down, "mlp.c_proj", "ffn_down"),
    ],
    gguf_rows: &[],
    ..llama::NAMES
};

fn from_json(j: &Json<'_>) -> Result<Config> {
    let mut c = decoder::json(j, &NAMES)?;
    c.tie_word_embeddings = j.flag("tie_word_embeddings", true)?;
    c.norm = NormKind::Layer { bias: true };
    c.norm_eps = j.opt_number("norm_epsilon")?.unwrap_or(1e-5) as f32;
    c.hidden_act = activation(j.text("hidden_act").unwrap_or("gelu_pytorch_tanh"))?;
    let bias = j.flag("use_bias", true)?;
    (c.attention_bias, c.attention_out_bias, c.mlp_bias) = (bias, bias, bias);
    decoder::windows(j, &mut c, j.opt_size("sliding_window")?, |_| true)?;
    Ok(c)
}

fn from_gguf(g: &Gguf<'_>) -> Result<Config> {
    let mut c = decoder::gguf(g, &NAMES)?;
    c.norm = NormKind::Layer { bias: true };
    c.hidden_act = Act::GeluTanh;
    Ok(c)
}
