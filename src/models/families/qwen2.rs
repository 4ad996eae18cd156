//! Qwen 2 (Yang et al. 2024): Llama with biases on q, k and v, and windows in some layers if `use_sliding_window`.

use super::llama;
use crate::Result;
use crate::models::config::Config;
use crate::models::family::Family;
use crate::models::names::Names;
use crate::models::reading::decoder;
use crate::models::reading::json::Json;
use crate::models::writing::ToGguf;

pub const FAMILY: Family = Family {
    name: "Qwen 2, 2.5",
    model_types: &["qwen2"],
    gguf: &["qwen2"],
    from_json,
    from_gguf: |g| decoder::gguf(g, &NAMES),
    to_gguf: ToGguf::plain("qwen2"),
};

pub const NAMES: Names = Names { gguf_rows: &[], ..llama::NAMES };

fn from_json(j: &Json<'_>) -> Result<Config> {
    let mut c = decoder::json(j, &NAMES)?;
    (c.attention_bias, c.attention_out_bias) = (true, false);
    windows(j, &mut c)?;
    Ok(c)
}

/// Windows as Qwen's files have them: off unless `use_sliding_window`, then from layer `max_window_layers` on, or as `layer_types` says.
///
/// # Errors
/// [`crate::Error::BadConfig`] with the field.
pub fn windows(j: &Json<'_>, c: &mut Config) -> Result<()> {
    let window = if j.flag("use_sliding_window", false)? { j.opt_size("sliding_window")? } else { None };
    let from = j.opt_size("max_window_layers")?.unwrap_or(0);
    decoder::windows(j, c, window, |i| i >= from)
}
