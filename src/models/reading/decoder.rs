//! What nearly all decoders say of themselves, in a `config.json` or in the metadata of a GGUF: a family reads this first and then what
//! is its own.

use serde_json::Value;

use super::gguf::Gguf;
use super::json::{Json, activation};
use super::rope;
use crate::models::config::{Config, QkNorm, Sizes};
use crate::models::names::{Names, Role};
use crate::{Error, Result};

/// The usual fields of a `config.json`. `attention_bias` covers all four projections.
///
/// # Errors
/// [`Error::BadConfig`] with the field.
pub fn json(j: &Json<'_>, names: &'static Names) -> Result<Config> {
    json_with(j, names, &rope::Fields::default())
}

/// The same with rotary positions in fields of their own.
///
/// # Errors
/// As [`json`].
pub fn json_with(j: &Json<'_>, names: &'static Names, fields: &rope::Fields) -> Result<Config> {
    let mut c = sizes(j, names)?;
    let rope = rope::json(j, fields, c.head_dim, c.max_position_embeddings)?;
    c.max_position_embeddings = rope.context().unwrap_or(c.max_position_embeddings).min(c.max_position_embeddings);
    c.rope = Some(rope);
    c.norm_eps = j.opt_number("rms_norm_eps")?.unwrap_or(1e-6) as f32;
    c.hidden_act = activation(j.text("hidden_act").unwrap_or("silu"))?;
    c.attention_bias = j.flag("attention_bias", false)?;
    c.attention_out_bias = c.attention_bias;
    c.mlp_bias = j.flag("mlp_bias", false)?;
    Ok(c)
}

/// Sizes, ids and whether the head is tied, under the usual names.
///
/// # Errors
/// As [`json`].
pub fn sizes(j: &Json<'_>, names: &'static Names) -> Result<Config> {
    let (hidden_size, heads) = (j.size("hidden_size")?, j.size("num_attention_heads")?);
    let sizes = Sizes {
        vocab_size: j.size("vocab_size")?,
        hidden_size,
        intermediate_size: j.size("intermediate_size")?,
        num_hidden_layers: j.size("num_hidden_layers")?,
        num_attention_heads: heads,
        num_key_value_heads: j.opt_size("num_key_value_heads")?.unwrap_or(heads),
        head_dim: match j.opt_size("head_dim")? {
            Some(d) => d,
            None => hidden_size.checked_div(heads).unwrap_or(0),
        },
        max_position_embeddings: j.opt_size("max_position_embeddings")?.unwrap_or(2048),
    };
    let mut c = Config::of(j.text("model_type").unwrap_or_default(), names, sizes);
    c.tie_word_embeddings = j.flag("tie_word_embeddings", false)?;
    ids(j, &mut c)?;
    Ok(c)
}

/// The ids a sequence begins and ends with.
///
/// # Errors
/// As [`json`].
pub fn ids(j: &Json<'_>, c: &mut Config) -> Result<()> {
    c.bos_token_id = j.ids("bos_token_id")?.first().copied();
    c.eos_token_ids = j.ids("eos_token_id")?;
    Ok(())
}

/// Windows of `window` keys in the layers that `layer_types` names, or where it says nothing in those for which `windowed(i)`.
///
/// # Errors
/// As [`json`].
pub fn windows(j: &Json<'_>, c: &mut Config, window: Option<usize>, windowed: impl Fn(usize) -> bool) -> Result<()> {
    c.set_window(window, windowed);
    let Some(types) = j.get("layer_types").and_then(Value::as_array) else { return Ok(()) };
    if types.len() != c.num_hidden_layers {
        return Err(Error::config("layer_types", format!("{} entries for {} layers", types.len(), c.num_hidden_layers)));
    }
    for (w, t) in c.windowed.iter_mut().zip(types) {
        *w = match t.as_str() {
            Some("full_attention") => false,
            Some("sliding_attention") => true,
            _ => return Err(Error::config("layer_types", format!("{t} is not supported (full_attention, sliding_attention)"))),
        };
    }
    Ok(())
}

/// The usual keys of a GGUF. Biases and an untied head are known by their tensors; the eps is RMSNorm's.
///
/// # Errors
/// [`Error::BadConfig`] with the key.
pub fn gguf(g: &Gguf<'_>, names: &'static Names) -> Result<Config> {
    let (hidden_size, heads) = (g.size("embedding_length")?, g.size("attention.head_count")?);
    let sizes = Sizes {
        vocab_size: g.vocab_size()?,
        hidden_size,
        intermediate_size: g.size("feed_forward_length")?,
        num_hidden_layers: g.size("block_count")?,
        num_attention_heads: heads,
        num_key_value_heads: g.opt_size("attention.head_count_kv")?.unwrap_or(heads),
        head_dim: match g.opt_size("attention.key_length")? {
            Some(d) => d,
            None => hidden_size.checked_div(heads).unwrap_or(0),
        },
        max_position_embeddings: g.size("context_length")?,
    };
    let mut c = Config::of(g.arch, names, sizes);
    if let Some(eps) = g.opt_number("attention.layer_norm_rms_epsilon")? {
        c.norm_eps = eps;
    } else {
        c.norm_eps = g.number("attention.layer_norm_epsilon")?;
    }
    c.rope = Some(g.rope(c.head_dim, c.max_position_embeddings)?);
    let first = |role: Role, end: &str| names.in_gguf(role).is_some_and(|n| g.has(&format!("blk.0.{n}.{end}")));
    c.tie_word_embeddings = !names.in_gguf(Role::Head).is_some_and(|n| g.has(&format!("{n}.weight")));
    c.attention_bias = first(Role::Q, "bias") || first(Role::Qkv, "bias");
    c.attention_out_bias = first(Role::Out, "bias");
    c.mlp_bias = first(Role::Up, "bias") || first(Role::GateUp, "bias");
    if first(Role::QNorm, "weight") {
        c.qk_norm = QkNorm::Head;
    }
    let window = g.opt_size("attention.sliding_window")?.filter(|w| *w > 0);
    c.set_window(window, |_| true);
    c.bos_token_id = g.bos()?;
    c.eos_token_ids = g.eos()?;
    Ok(c)
}
