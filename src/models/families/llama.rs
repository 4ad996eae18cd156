//! Llama (Touvron et al. 2023) and what is built like it: RMSNorm before each branch, rotary positions, a gated MLP.

use crate::models::family::Family;
use crate::models::names::{Names, Role, Rows};
use crate::models::reading::decoder;
use crate::models::writing::ToGguf;

pub const FAMILY: Family = Family {
    name: "Llama, SmolLM",
    model_types: &["llama", "smollm"],
    gguf: &["llama"],
    from_json: |j| decoder::json(j, &NAMES),
    from_gguf: |g| decoder::gguf(g, &NAMES),
    to_gguf: ToGguf::plain("llama"),
};

/// What Llama's checkpoints call things, and those of most others.
pub const NAMES: Names = Names {
    root: "model.",
    ends: &[
        (Role::Embed, "model.embed_tokens", "token_embd"),
        (Role::FinalNorm, "model.norm", "output_norm"),
        (Role::Head, "lm_head", "output"),
    ],
    blocks: "model.layers.",
    block: &[
        (Role::PreAttention, "input_layernorm", "attn_norm"),
        (Role::Q, "self_attn.q_proj", "attn_q"),
        (Role::K, "self_attn.k_proj", "attn_k"),
        (Role::V, "self_attn.v_proj", "attn_v"),
        (Role::Out, "self_attn.o_proj", "attn_output"),
        (Role::PreMlp, "post_attention_layernorm", "ffn_norm"),
        (Role::Gate, "mlp.gate_proj", "ffn_gate"),
        (Role::Up, "mlp.up_proj", "ffn_up"),
        (Role::Down, "mlp.down_proj", "ffn_down"),
    ],
    gguf_rows: &[(Role::Q, Rows::Paired), (Role::K, Rows::Paired)],
    gguf_norm_offset: 0.0,
    transposed: false,
    split_head_norms: false,
    qkv_by_head: false,
    source: None,
};
