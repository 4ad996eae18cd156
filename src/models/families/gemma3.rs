//! Gemma 3, text (Gemma Team 2025): Gemma 2 without soft caps, with norms on q and k, five windowed layers for a full one, and frequencies
//! of its own for either kind.

use super::gemma;
use crate::Result;
use crate::models::config::{Config, QkNorm, Recipe};
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::decoder;
use crate::models::reading::gguf::Gguf;
use crate::models::reading::json::Json;
use crate::models::reading::rope::{self, Fields};
use crate::models::rope::{Rope, RopeScaling};
use crate::models::writing::{self, ToGguf};

pub const FAMILY: Family = Family {
    name: "Gemma 3 (text)",
    model_types: &["gemma3_text"],
    gguf: &["gemma3"],
    from_json,
    from_gguf,
    to_gguf: ToGguf::with("gemma3", to_gguf),
};

const NAMES: Names = Names {
    block: &[
        (Role::PreAttention, "input_layernorm", "attn_norm"),
        (Role::Q, "self_attn.q_proj", "attn_q"),
        (Role::K, "self_attn.k_proj", "attn_k"),
        (Role::V, "self_attn.v_proj", "attn_v"),
        (Role::QNorm, "self_attn.q_norm", "attn_q_norm"),
        (Role::KNorm, "self_attn.k_norm", "attn_k_norm"),
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

/// Of full layers.
const GLOBAL: Fields =
    Fields { layer_type: Some("full_attention"), theta: ("rope_theta", 1e6), partial: ("partial_rotary_factor", 1.0), scaled: true };
/// Of windowed ones.
const LOCAL: Fields = Fields { layer_type: Some("sliding_attention"), theta: ("rope_local_base_freq", 1e4), scaled: false, ..GLOBAL };

fn from_json(j: &Json<'_>) -> Result<Config> {
    // Its code has no caps on scores, whatever the file says.
    j.only("attn_logit_softcapping", serde_json::Value::Null)?;
    let mut c = gemma::json(j, decoder::json_with(j, &NAMES, &GLOBAL)?)?;
    c.local_rope = Some(rope::json(j, &LOCAL, c.head_dim, c.max_position_embeddings)?);
    c.recipe = Recipe::SANDWICH;
    c.qk_norm = QkNorm::Head;
    c.attention_scale = 1.0 / j.opt_number("query_pre_attn_scalar")?.unwrap_or(256.0).sqrt() as f32;
    c.final_logit_softcapping = j.opt_number("final_logit_softcapping")?.map(|v| v as f32);
    let pattern = j.opt_size("sliding_window_pattern")?.unwrap_or(PATTERN);
    decoder::windows(j, &mut c, j.opt_size("sliding_window")?, |i| windowed(i, pattern))?;
    Ok(c)
}

fn from_gguf(g: &Gguf<'_>) -> Result<Config> {
    let mut c = gemma::gemma(decoder::gguf(g, &NAMES)?);
    let theta = g.opt_number("rope.freq_base_swa")?.map_or(LOCAL.theta.1, f64::from);
    c.local_rope = Some(Rope { theta, rotary: c.head_dim, scaling: RopeScaling::None });
    c.recipe = Recipe::SANDWICH;
    c.qk_norm = QkNorm::Head;
    // A GGUF does not say; of the published models only the one of 27B, with 62 layers, differs.
    if c.num_hidden_layers == 62 {
        c.attention_scale = 1.0 / ((c.hidden_size / c.num_attention_heads) as f32).sqrt();
    }
    c.final_logit_softcapping = g.opt_number("final_logit_softcapping")?;
    c.set_window(c.sliding_window, |i| windowed(i, PATTERN));
    Ok(c)
}

fn to_gguf(f: &mut writing::Fields<'_>) -> Result<()> {
    if let Some(local) = &f.config.local_rope {
        f.number("rope.freq_base_swa", local.theta as f32);
    }
    Ok(())
}

/// Every so many layers one is full.
const PATTERN: usize = 6;

/// All but every `pattern`-th layer.
fn windowed(layer: usize, pattern: usize) -> bool {
    pattern > 0 && !(layer + 1).is_multiple_of(pattern)
}
