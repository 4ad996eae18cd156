//! What kinds of virtual tokens have in common: what PEFT writes of the model, and their file.

use super::random::Random;
use crate::formats::peft::{PeftAdapter, PromptAdapter, PromptConfig, PromptKind};
use crate::models::Model;
use crate::{Error, Result};

/// PEFT's name of the trained table of virtual tokens.
pub(super) const TOKEN_TABLE: &str = "prompt_encoder.default.embedding.weight";

/// The configuration with what PEFT says of the model in it. Prefixes are as wide as the keys of a layer.
///
/// # Errors
/// [`Error::BadAdapter`] where it says something else; [`Error::BadConfig`] for more virtual tokens than the context holds.
pub(super) fn fill(model: &Model, config: &PromptConfig) -> Result<PromptConfig> {
    let (mut config, c) = (config.clone(), model.config());
    let keys = config.kind == PromptKind::PrefixTuning;
    config.fill("num_layers", c.num_hidden_layers)?;
    config.fill("token_dim", if keys { c.kv_width() } else { c.hidden_size })?;
    config.fill("num_attention_heads", if keys { c.num_key_value_heads } else { c.num_attention_heads })?;
    config.fill("num_transformer_submodules", 1)?;
    if config.kind != PromptKind::PromptTuning {
        config.default_to("encoder_hidden_size", if keys { c.kv_width() } else { c.hidden_size });
    }
    let (n, most) = (config.virtual_tokens(), c.max_position_embeddings);
    if n >= most {
        return Err(Error::config("num_virtual_tokens", format!("is {n}, the model's context ends at {most}")));
    }
    Ok(config)
}

/// The adapter, where it is of this kind.
fn of_kind<'a>(adapter: &'a PeftAdapter, config: &PromptConfig) -> Result<&'a PromptAdapter> {
    match adapter {
        PeftAdapter::Prompt(a) if a.config.kind == config.kind => Ok(a),
        _ => Err(Error::BadAdapter(format!("a {} adapter for one of {}", adapter.config().peft_type(), config.kind.name()))),
    }
}

/// All that is trained, of an adapter that holds it: values of such tensors, in their order.
///
/// # Errors
/// [`Error::BadAdapter`] that names what is missing, has another shape or is too much.
pub(super) fn parts_of<'a>(adapter: &'a PeftAdapter, config: &PromptConfig, wanted: &[(String, Vec<usize>)]) -> Result<Vec<&'a [f32]>> {
    let a = of_kind(adapter, config)?;
    let find = |(name, shape): &(String, Vec<usize>)| {
        let t = a.parts.iter().find(|t| t.name == *name).ok_or_else(|| Error::BadAdapter(format!("tensor {name:?} is missing")))?;
        match t.shape == *shape {
            true => Ok(&t.values[..]),
            false => Err(Error::BadAdapter(format!("tensor {name:?} is {:?}, expected {shape:?}", t.shape))),
        }
    };
    let found = wanted.iter().map(find).collect::<Result<_>>()?;
    match a.parts.iter().find(|t| !wanted.iter().any(|w| w.0 == t.name)) {
        Some(t) => Err(Error::BadAdapter(format!("tensor {:?} is none of this {}", t.name, config.kind.name()))),
        None => Ok(found),
    }
}

/// Whether an adapter holds all that is trained.
pub(super) fn holds_parts(adapter: &PeftAdapter) -> bool {
    matches!(adapter, PeftAdapter::Prompt(a) if !a.parts.is_empty())
}

/// The values of a file, whose rows must be so wide.
///
/// # Errors
/// [`Error::BadAdapter`].
pub(super) fn table_of<'a>(adapter: &'a PeftAdapter, config: &PromptConfig, width: usize) -> Result<&'a [f32]> {
    let a = of_kind(adapter, config)?;
    let rows = a.values.len() / a.width.max(1);
    if (rows, a.width) != (config.virtual_tokens(), width) {
        return Err(Error::BadAdapter(format!(
            "prompt_embeddings of {} are ({rows}, {}), this model takes ({}, {width}) of {}",
            a.config.kind.name(),
            a.width,
            config.virtual_tokens(),
            config.kind.name()
        )));
    }
    Ok(&a.values)
}

/// The file of tables that lie side by side.
pub(super) fn prompt_file(config: &PromptConfig, tables: &[Vec<f32>]) -> PeftAdapter {
    let n = config.virtual_tokens().max(1);
    let widths: Vec<usize> = tables.iter().map(|t| t.len() / n).collect();
    let rows = (0..n).flat_map(|r| tables.iter().zip(&widths).flat_map(move |(t, w)| &t[r * w..(r + 1) * w]));
    PromptAdapter { config: config.clone(), width: widths.iter().sum(), values: rows.copied().collect(), parts: Vec::new() }.into()
}

/// Embeddings of tokens that virtual ones begin as: of a text, repeated or cut to their number, or drawn from the vocabulary.
///
/// # Errors
/// [`Error::BadConfig`] for a text without tokens; whatever `encode` and the device report.
pub(super) async fn first_embeddings(
    model: &Model,
    config: &PromptConfig,
    seed: u64,
    encode: &dyn Fn(&str) -> Result<Vec<u32>>,
) -> Result<Option<Vec<f32>>> {
    let n = config.virtual_tokens();
    let ids: Vec<u32> = match config.text("prompt_tuning_init") {
        Some("TEXT") => {
            let text = encode(config.text("prompt_tuning_init_text").unwrap_or_default())?;
            if text.is_empty() {
                return Err(Error::config("prompt_tuning_init_text", "has no tokens"));
            }
            text.iter().copied().cycle().take(n).collect()
        }
        Some("SAMPLE_VOCAB") => {
            let mut random = Random::new(seed);
            (0..n).map(|_| random.below(model.config().vocab_size) as u32).collect()
        }
        _ => return Ok(None),
    };
    model.embeddings_of(&ids).await.map(Some)
}
