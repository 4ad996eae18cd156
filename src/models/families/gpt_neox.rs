//! GPT-NeoX (Black et al. 2022) and Pythia: LayerNorm, both branches side by side, a part of each head turned, q, k and v of one head after
//! the other in one module.

use crate::Result;
use crate::models::config::{Config, NormKind, Recipe};
use crate::models::family::Family;
use crate::models::names::{Names, Role, Rows};
use crate::models::reading::decoder;
use crate::models::reading::gguf::Gguf;
use crate::models::reading::json::{Json, activation};
use crate::models::reading::rope::{self, Fields};
use crate::models::writing::{self, ToGguf};
use crate::ops::Act;

pub const FAMILY: Family = Family {
    name: "GPT-NeoX, Pythia",
    model_types: &["gpt_neox"],
    gguf: &["gptneox"],
    from_json,
    from_gguf,
    to_gguf: ToGguf::with("gptneox", to_gguf),
};

const NAMES: Names = Names {
    root: "gpt_neox.",
    ends: &[
        (Role::Embed, "gpt_neox.embed_in", "token_embd"),
        (Role::FinalNorm, "gpt_neox.final_layer_norm", "output_norm"),
        (Role::Head, "embed_out", "output"),
    ],
    blocks: "gpt_neox.layers.",
    block: &[
        (Role::PreAttention, "input_layernorm", "attn_norm"),
        (Role::Qkv, "attention.query_key_value", "attn_qkv"),
        (Role::Out, "attention.dense", "attn_output"),
        (Role::PreMlp, "post_attention_layernorm", "ffn_norm"),
        (Role::Up, "mlp.dense_h_to_4h", "ffn_up"),
        (Role::Down, "mlp.dense_4h_to_h", "ffn_down"),
    ],
    gguf_rows: &[(Role::Qkv, Rows::ByHead)],
    gguf_norm_offset: 0.0,
    transposed: false,
    split_head_norms: false,
    qkv_by_head: true,
    source: None,
};

const ROPE: Fields = Fields { layer_type: None, theta: ("rotary_emb_base", 10_000.0), partial: ("rotary_pct", 0.25), scaled: true };

fn from_json(j: &Json<'_>) -> Result<Config> {
    let mut c = decoder::sizes(j, &NAMES)?;
    c.rope = Some(rope::json(j, &ROPE, c.head_dim, c.max_position_embeddings)?);
    c.norm = NormKind::Layer { bias: true };
    c.norm_eps = j.opt_number("layer_norm_eps")?.unwrap_or(1e-5) as f32;
    c.hidden_act = activation(j.text("hidden_act").unwrap_or("gelu"))?;
    c.attention_bias = j.flag("attention_bias", true)?;
    (c.attention_out_bias, c.mlp_bias) = (c.attention_bias, true);
    c.recipe = recipe(j.flag("use_parallel_residual", true)?);
    Ok(c)
}

fn from_gguf(g: &Gguf<'_>) -> Result<Config> {
    let mut c = decoder::gguf(g, &NAMES)?;
    c.norm = NormKind::Layer { bias: true };
    // A GGUF does not say: all published models have it.
    c.hidden_act = Act::Gelu;
    c.recipe = recipe(g.opt_flag("use_parallel_residual")?.unwrap_or(true));
    Ok(c)
}

fn to_gguf(f: &mut writing::Fields<'_>) -> Result<()> {
    f.flag("use_parallel_residual", f.config.recipe.parallel);
    Ok(())
}

fn recipe(parallel: bool) -> Recipe {
    if parallel { Recipe::PARALLEL } else { Recipe::PRE }
}
