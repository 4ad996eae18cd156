//! Granite 3 (IBM 2024): Llama with four multipliers.

use super::llama::NAMES;
use crate::models::config::Config;
use crate::models::family::Family;
use crate::models::reading::decoder;
use crate::models::reading::gguf::Gguf;
use crate::models::reading::json::Json;
use crate::models::writing::{Fields, ToGguf};
use crate::{Error, Result};

pub const FAMILY: Family = Family {
    name: "Granite 3",
    model_types: &["granite"],
    gguf: &["granite"],
    from_json,
    from_gguf,
    to_gguf: ToGguf::with("granite", to_gguf),
};

fn from_json(j: &Json<'_>) -> Result<Config> {
    let mut c = decoder::json(j, &NAMES)?;
    let number = |field: &str| -> Result<f32> { Ok(j.opt_number(field)?.unwrap_or(1.0) as f32) };
    c.embedding_multiplier = number("embedding_multiplier")?;
    c.attention_scale = number("attention_multiplier")?;
    c.residual_multiplier = number("residual_multiplier")?;
    c.multiplies_prompts = true;
    c.logit_scale = inverse("logits_scaling", number("logits_scaling")?)?;
    Ok(c)
}

fn from_gguf(g: &Gguf<'_>) -> Result<Config> {
    let mut c = decoder::gguf(g, &NAMES)?;
    c.embedding_multiplier = g.opt_number("embedding_scale")?.unwrap_or(1.0);
    c.attention_scale = g.opt_number("attention.scale")?.unwrap_or(c.attention_scale);
    c.residual_multiplier = g.opt_number("residual_scale")?.unwrap_or(1.0);
    c.multiplies_prompts = true;
    c.logit_scale = inverse("granite.logit_scale", g.opt_number("logit_scale")?.unwrap_or(1.0))?;
    Ok(c)
}

fn to_gguf(f: &mut Fields<'_>) -> Result<()> {
    let c = f.config;
    f.number("embedding_scale", c.embedding_multiplier);
    f.number("attention.scale", c.attention_scale);
    f.number("residual_scale", c.residual_multiplier);
    f.number("logit_scale", 1.0 / c.logit_scale);
    Ok(())
}

/// Logits are divided by what the file says.
fn inverse(field: &str, by: f32) -> Result<f32> {
    if by > 0.0 { Ok(1.0 / by) } else { Err(Error::config(field, format!("is {by}, expected a number above 0"))) }
}
