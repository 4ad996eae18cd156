//! Mistral (Jiang et al. 2023): Llama with a window in every layer. Its GGUFs call themselves llama.

use super::llama::NAMES;
use crate::Result;
use crate::models::config::Config;
use crate::models::family::Family;
use crate::models::reading::decoder;
use crate::models::reading::json::Json;
use crate::models::writing::ToGguf;

pub const FAMILY: Family = Family {
    name: "Mistral",
    model_types: &["mistral"],
    gguf: &[],
    from_json,
    from_gguf: |g| decoder::gguf(g, &NAMES),
    to_gguf: ToGguf::plain("llama"),
};

fn from_json(j: &Json<'_>) -> Result<Config> {
    let mut c = decoder::json(j, &NAMES)?;
    decoder::windows(j, &mut c, j.opt_size("sliding_window")?, |_| true)?;
    Ok(c)
}
