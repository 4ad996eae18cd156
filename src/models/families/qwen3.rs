//! Qwen 3 (Yang et al. 2025): Llama with RMSNorm on every head of q and k before the rotation.

use super::{llama, qwen2};
use crate::Result;
use crate::models::config::{Config, QkNorm};
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::decoder;
use crate::models::reading::json::Json;
use crate::models::writing::ToGguf;

pub const FAMILY: Family = Family {
    name: "Qwen 3",
    model_types: &["qwen3"],
    gguf: &["qwen3"],
    from_json,
    from_gguf: |g| decoder::gguf(g, &NAMES),
    to_gguf: ToGguf::plain("qwen3"),
};

pub const NAMES: Names = Names {
    block: &[
        (Role::PreAttention, "input_layernorm", "attn_norm"),
        (Role::Q, "self_attn.q_proj", "attn_q"),
        (Role::K, "self_attn.k_proj", "attn_k"),
        (Role::V, "self_attn.v_proj", "attn_v"),
        (Role::QNorm, "self_attn.q_norm", "attn_q_norm"),
        (Role::KNorm, "self_attn.k_norm", "attn_k_norm"),
        (Role::Out, "self_attn.o_proj", "attn_output"),
        (Role::PreMlp, "post_attention_layernorm", "ffn_norm"),
        (Role::Gate, "mlp.gate_proj", "ffn_gate"),
        (Role::Up, "mlp.up_proj", "ffn_up"),
        (Role::Down, "mlp.down_proj", "ffn_down"),
    ],
    gguf_rows: &[],
    ..llama::NAMES
};

fn from_json(j: &Json<'_>) -> Result<Config> {
    let mut c = decoder::json(j, &NAMES)?;
    c.qk_norm = QkNorm::Head;
    qwen2::windows(j, &mut c)?;
    Ok(c)
}
