//! StableLM 2 (Bellagente et al. 2024): LayerNorm and a quarter of each head turned; the larger one has both branches side by side behind one
//! norm, and norms on the heads of q and k.

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
    name: "StableLM",
    model_types: &["stablelm"],
    gguf: &["stablelm"],
    from_json,
    from_gguf,
    to_gguf: ToGguf::with("stablelm", to_gguf),
};

const NAMES: Names = Names {
    block: &[
        (Role::PreAttention, "input_layernorm", "attn_norm"),
        (Role::Q, "self_attn.q_proj", "attn_q"),
        (Role::K, "self_attn.k_proj", "attn_k"),
        (Role::V, "self_attn.v_proj", "attn_v"),
        (Role::QNorm, "self_attn.q_layernorm", "attn_q_norm"),
        (Role::KNorm, "self_attn.k_layernorm", "attn_k_norm"),
        (Role::Out, "self_attn.o_proj", "attn_output"),
        (Role::PreMlp, "post_attention_layernorm", "ffn_norm"),
        (Role::Gate, "mlp.gate_proj", "ffn_gate"),
        (Role::Up, "mlp.up_proj", "ffn_up"),
        (Role::Down, "mlp.down_proj", "ffn_down"),
    ],
    gguf_rows: &[],
    split_head_norms: true,
    ..llama::NAMES
};

fn from_json(j: &Json<'_>) -> Result<Config> {
    let fields = Fields { partial: ("partial_rotary_factor", 0.25), ..Fields::default() };
    let mut c = decoder::json_with(j, &NAMES, &fields)?;
    c.norm_eps = j.opt_number("layer_norm_eps")?.unwrap_or(1e-5) as f32;
    c.attention_bias = j.flag("use_qkv_bias", false)?;
    (c.attention_out_bias, c.mlp_bias) = (false, false);
    Ok(stablelm(c, j.flag("use_parallel_residual", false)?, j.flag("qk_layernorm", false)?))
}

fn from_gguf(g: &Gguf<'_>) -> Result<Config> {
    let c = decoder::gguf(g, &NAMES)?;
    // The key is not to be trusted in older files: the sequential form has a norm before its MLP.
    let (parallel, norms) = (!g.has("blk.0.ffn_norm.weight"), c.qk_norm != QkNorm::None);
    Ok(stablelm(c, parallel, norms))
}

fn to_gguf(f: &mut writing::Fields<'_>) -> Result<()> {
    f.flag("use_parallel_residual", f.config.recipe.parallel);
    Ok(())
}

fn stablelm(mut c: Config, parallel: bool, norms: bool) -> Config {
    c.norm = NormKind::Layer { bias: true };
    c.recipe = if parallel { Recipe::PARALLEL_ONE_NORM } else { Recipe::PRE };
    c.qk_norm = if norms { QkNorm::EachHead } else { QkNorm::None };
    c
}
