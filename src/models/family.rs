//! What a family of models is to the rest of the crate.

use super::config::Config;
use super::reading::gguf::Gguf;
use super::reading::json::Json;
use super::writing::ToGguf;
use crate::Result;

/// One family: how its configuration is read. What its checkpoints call things, and the recipe of its blocks, come with the configuration.
pub struct Family {
    /// As people call it.
    pub name: &'static str,
    /// `model_type` in a `config.json`.
    pub model_types: &'static [&'static str],
    /// `general.architecture` in a GGUF; none where its GGUFs are not read.
    pub gguf: &'static [&'static str],
    pub(super) from_json: fn(&Json<'_>) -> Result<Config>,
    pub(super) from_gguf: fn(&Gguf<'_>) -> Result<Config>,
    /// None where its GGUFs are not written.
    pub(super) to_gguf: Option<ToGguf>,
}
