//! Command R (Cohere 2024): LayerNorm without biases, both branches side by side behind one norm, neighbours turned, scaled logits; R+ also
//! has norms on the heads of q and k.

use super::llama;
use crate::Result;
use crate::models::config::{Config, NormKind, QkNorm, Recipe};
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::decoder;
use crate::models::reading::gguf::Gguf;
use crate::models::reading::json::Json;
use crate::models::reading::rope::Fields;
use crate::models::writing::{self, ToGguf};

pub const FAMILY: Family = Family {
    name: "Cohere (Command R)",
    model_types: &["cohere"],
    gguf: &["command-r"],
    from_json,
    from_gguf,
    to_gguf: ToGguf::with("command-r", to_gguf),
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
        (Role::Gate, "mlp.gate_proj", "ffn_gate"),
        (Role::Up, "mlp.up_proj", "ffn_up"),
        (Role::Down, "mlp.down_proj", "ffn_down"),
    ],
    gguf_rows: &[],
    ..llama::NAMES
};

fn from_json(j: &Json<'_>) -> Result<Config> {
    let mut c = json(j, &Fields { theta: ("rope_theta", 500_000.0), ..Fields::default() })?;
    c.qk_norm = if j.flag("use_qk_norm", false)? { QkNorm::EachHead } else { QkNorm::None };
    Ok(c)
}

fn from_gguf(g: &Gguf<'_>) -> Result<Config> {
    let mut c = gguf(g)?;
    if c.qk_norm != QkNorm::None {
        c.qk_norm = QkNorm::EachHead;
    }
    Ok(c)
}

/// What both generations write.
///
/// # Errors
/// None.
pub fn to_gguf(f: &mut writing::Fields<'_>) -> Result<()> {
    f.number("logit_scale", f.config.logit_scale);
    Ok(())
}

/// What both generations have in a `config.json`.
///
/// # Errors
/// [`crate::Error::BadConfig`] with the field.
pub fn json(j: &Json<'_>, fields: &Fields) -> Result<Config> {
    let mut c = cohere(decoder::json_with(j, &NAMES, fields)?);
    c.tie_word_embeddings = j.flag("tie_word_embeddings", true)?;
    c.norm_eps = j.opt_number("layer_norm_eps")?.unwrap_or(1e-5) as f32;
    c.logit_scale = j.opt_number("logit_scale")?.unwrap_or(0.0625) as f32;
    c.mlp_bias = false;
    Ok(c)
}

/// The same of a GGUF.
///
/// # Errors
/// [`crate::Error::BadConfig`] with the key.
pub fn gguf(g: &Gguf<'_>) -> Result<Config> {
    let mut c = cohere(decoder::gguf(g, &NAMES)?);
    c.logit_scale = g.number("logit_scale")?;
    Ok(c)
}

fn cohere(mut c: Config) -> Config {
    c.norm = NormKind::Layer { bias: false };
    c.recipe = Recipe::PARALLEL_ONE_NORM;
    c.interleaved = true;
    c
}
