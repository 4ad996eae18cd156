//! Phi-3, 3.5 and 4 (Abdin et al. 2024): Llama whose q, k, v and whose gate and up are one module each.

use super::llama;
use crate::Result;
use crate::models::config::Config;
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::decoder;
use crate::models::reading::gguf::Gguf;
use crate::models::reading::json::Json;
use crate::models::rope::RopeScaling;
use crate::models::writing::ToGguf;

pub const FAMILY: Family =
    Family { name: "Phi-3, Phi-4", model_types: &["phi3"], gguf: &["phi3"], from_json, from_gguf, to_gguf: ToGguf::plain("phi3") };

const NAMES: Names = Names {
    block: &[
        (Role::PreAttention, "input_layernorm", "attn_norm"),
        (Role::Qkv, "self_attn.qkv_proj", "attn_qkv"),
        (Role::Out, "self_attn.o_proj", "attn_output"),
        (Role::PreMlp, "post_attention_layernorm", "ffn_norm"),
        (Role::GateUp, "mlp.gate_up_proj", "ffn_up"),
        (Role::Down, "mlp.down_proj", "ffn_down"),
    ],
    gguf_rows: &[],
    ..llama::NAMES
};

fn from_json(j: &Json<'_>) -> Result<Config> {
    let mut c = decoder::json(j, &NAMES)?;
    c.norm_eps = j.opt_number("rms_norm_eps")?.unwrap_or(1e-5) as f32;
    (c.attention_bias, c.attention_out_bias, c.mlp_bias) = (false, false, false);
    decoder::windows(j, &mut c, j.opt_size("sliding_window")?, |_| true)?;
    Ok(c)
}

fn from_gguf(g: &Gguf<'_>) -> Result<Config> {
    let mut c = decoder::gguf(g, &NAMES)?;
    // Longer contexts have factors in tensors: the short ones divide the frequencies, and the context ends where they do.
    if let Some(rope) = c.rope.as_mut().filter(|_| g.has("rope_factors_short.weight")) {
        let original = g.opt_size("rope.scaling.original_context_length")?.unwrap_or(c.max_position_embeddings);
        let attention = g.opt_number("rope.scaling.attn_factor")?.map_or(1.0, f64::from);
        rope.scaling = RopeScaling::LongRope { short: vec![1.0; rope.rotary / 2], original, attention };
        c.max_position_embeddings = c.max_position_embeddings.min(original);
    }
    Ok(c)
}
