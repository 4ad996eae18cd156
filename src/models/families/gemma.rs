//! Gemma (Gemma Team 2024): Llama with embeddings scaled by √width, norms that multiply by 1 + w, and GELU.

use super::llama;
use crate::Result;
use crate::models::config::{Config, NormKind};
use crate::models::family::Family;
use crate::models::names::Names;
use crate::models::reading::decoder;
use crate::models::reading::gguf::Gguf;
use crate::models::reading::json::{Json, activation};
use crate::models::writing::ToGguf;
use crate::ops::Act;

pub const FAMILY: Family =
    Family { name: "Gemma", model_types: &["gemma"], gguf: &["gemma"], from_json, from_gguf, to_gguf: ToGguf::plain("gemma") };

pub const NAMES: Names = Names { gguf_rows: &[], gguf_norm_offset: 1.0, ..llama::NAMES };

fn from_json(j: &Json<'_>) -> Result<Config> {
    json(j, decoder::json(j, &NAMES)?)
}

fn from_gguf(g: &Gguf<'_>) -> Result<Config> {
    Ok(gemma(decoder::gguf(g, &NAMES)?))
}

/// What all generations of Gemma have in a `config.json`.
///
/// # Errors
/// [`crate::Error::BadConfig`] with the field.
pub fn json(j: &Json<'_>, mut c: Config) -> Result<Config> {
    j.only("use_bidirectional_attention", false)?;
    c = gemma(c);
    c.tie_word_embeddings = j.flag("tie_word_embeddings", true)?;
    // Files of the first generation say "gelu" and mean the approximation by tanh.
    if let Some(act) = j.text("hidden_activation").or_else(|| j.text("hidden_act")).filter(|a| *a != "gelu") {
        c.hidden_act = activation(act)?;
    }
    Ok(c)
}

/// What all generations compute.
pub fn gemma(mut c: Config) -> Config {
    c.norm = NormKind::Rms { offset: 1.0 };
    c.embedding_multiplier = (c.hidden_size as f32).sqrt();
    c.hidden_act = Act::GeluTanh;
    c
}
