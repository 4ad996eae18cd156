//! SmolLM3 (Hugging Face 2025): Llama with every fourth layer left without positions.

use super::llama::NAMES;
use crate::models::config::Config;
use crate::models::family::Family;
use crate::models::reading::decoder;
use crate::models::reading::gguf::Gguf;
use crate::models::reading::json::Json;
use crate::models::reading::rope::Fields;
use crate::models::writing::ToGguf;
use crate::{Error, Result};

pub const FAMILY: Family =
    Family { name: "SmolLM3", model_types: &["smollm3"], gguf: &["smollm3"], from_json, from_gguf, to_gguf: ToGguf::plain("smollm3") };

/// Every so many layers one is not turned.
const INTERVAL: usize = 4;

fn from_json(j: &Json<'_>) -> Result<Config> {
    let mut c = decoder::json_with(j, &NAMES, &Fields { theta: ("rope_theta", 2e6), ..Fields::default() })?;
    c.tie_word_embeddings = j.flag("tie_word_embeddings", true)?;
    // 1 = turned, in spite of the name.
    match j.get("no_rope_layers").map(|v| (v, v.as_array())) {
        None => leave_out(&mut c, j.opt_size("no_rope_layer_interval")?.unwrap_or(INTERVAL)),
        Some((_, Some(flags))) if flags.len() == c.num_hidden_layers && flags.iter().all(|f| matches!(f.as_u64(), Some(0 | 1))) => {
            c.rotated = flags.iter().map(|f| f.as_u64() == Some(1)).collect();
        }
        Some((v, _)) => {
            return Err(Error::config("no_rope_layers", format!("{v}: expected 0 or 1 for each of {} layers", c.num_hidden_layers)));
        }
    }
    let window = if j.flag("use_sliding_window", false)? { j.opt_size("sliding_window")? } else { None };
    let rotated = c.rotated.clone();
    decoder::windows(j, &mut c, window, |i| rotated.get(i) == Some(&false))?;
    Ok(c)
}

fn from_gguf(g: &Gguf<'_>) -> Result<Config> {
    let mut c = decoder::gguf(g, &NAMES)?;
    leave_out(&mut c, INTERVAL);
    Ok(c)
}

fn leave_out(c: &mut Config, interval: usize) {
    for (i, rotated) in c.rotated.iter_mut().enumerate() {
        *rotated = interval == 0 || !(i + 1).is_multiple_of(interval);
    }
}
