//! Command R7B and A (Cohere 2024): Command R with windows in three of four layers; those alone have positions.

use super::cohere;
use crate::Result;
use crate::models::config::Config;
use crate::models::family::Family;
use crate::models::reading::decoder;
use crate::models::reading::gguf::Gguf;
use crate::models::reading::json::Json;
use crate::models::reading::rope::Fields;
use crate::models::writing::ToGguf;

pub const FAMILY: Family = Family {
    name: "Cohere 2 (Command R7B, A)",
    model_types: &["cohere2"],
    gguf: &["cohere2"],
    from_json,
    from_gguf,
    to_gguf: ToGguf::with("cohere2", cohere::to_gguf),
};

/// Every so many layers one is full.
const PATTERN: usize = 4;

fn from_json(j: &Json<'_>) -> Result<Config> {
    let mut c = cohere::json(j, &Fields::default())?;
    let pattern = j.opt_size("sliding_window_pattern")?.unwrap_or(PATTERN).max(1);
    let window = Some(j.opt_size("sliding_window")?.unwrap_or(4096));
    decoder::windows(j, &mut c, window, |i| !(i + 1).is_multiple_of(pattern))?;
    c.rotated.clone_from(&c.windowed);
    Ok(c)
}

fn from_gguf(g: &Gguf<'_>) -> Result<Config> {
    let mut c = cohere::gguf(g)?;
    c.set_window(Some(g.size("attention.sliding_window")?), |i| !(i + 1).is_multiple_of(PATTERN));
    c.rotated.clone_from(&c.windowed);
    Ok(c)
}
