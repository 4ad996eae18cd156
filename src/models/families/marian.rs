//! Marian (Junczys-Dowmunt et al. 2018), as Helsinki's OPUS-MT has it: an encoder-decoder with sinusoidal positions and a bias on its logits.

use super::bart;
use crate::models::config::{Config, Recipe};
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::json::Json;
use crate::models::reading::translator;
use crate::{Error, Result};

pub const FAMILY: Family = Family {
    name: "Marian",
    model_types: &["marian"],
    gguf: &[],
    from_json,
    from_gguf: |g| Err(Error::UnsupportedArchitecture { found: g.arch.to_string(), supported: "marian as safetensors".into() }),
    to_gguf: None,
};

// Positions are computed: a table of them in a file is left out of account, as by Transformers.
const NAMES: Names = Names {
    ends: &[(Role::Embed, "model.shared", "token_embd"), (Role::Head, "lm_head", "output"), (Role::LogitsBias, "final_logits_bias", "")],
    source: Some(&ENCODER),
    ..bart::NAMES
};

const ENCODER: Names = Names { ends: &[], ..bart::ENCODER };

/// Most positions that are computed.
const MAX_POSITIONS: usize = 1 << 16;

fn from_json(j: &Json<'_>) -> Result<Config> {
    j.only("normalize_embedding", false)?;
    j.only("static_position_embeddings", true)?;
    let start = translator::starts(j)?;
    let c = translator::bart(j, "marian", &NAMES, &ENCODER, Recipe::POST_SUM)?;
    // No file backs their table.
    if c.max_position_embeddings > MAX_POSITIONS {
        let found = c.max_position_embeddings;
        return Err(Error::config("max_position_embeddings", format!("is {found}, expected at most {MAX_POSITIONS}")));
    }
    Ok(translator::with(c, |e| {
        e.start = start;
        e.first_position = 0;
        e.sinusoidal = true;
    }))
}
