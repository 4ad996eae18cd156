//! What BART, mBART and Marian say of themselves in a `config.json`.

use super::json::{Json, activation};
use crate::models::config::{Config, NormKind, Recipe, Sizes};
use crate::models::names::Names;
use crate::models::shape::{EncoderDecoder, Rules, Shape, Start};
use crate::{Error, Result};
use serde_json::Value;

/// Two stacks of layers with biases, LayerNorm and tied embeddings; `model_type` and `recipe` are the family's.
///
/// # Errors
/// [`Error::BadConfig`] with the field.
pub fn bart(j: &Json<'_>, model_type: &str, names: &'static Names, encoder: &'static Names, recipe: Recipe) -> Result<Config> {
    let pre = recipe == Recipe::PRE;
    // Fields of old files: what they can say otherwise is another model.
    j.only("normalize_before", pre)?;
    j.only("add_final_layer_norm", pre)?;
    j.only("share_encoder_decoder_embeddings", true)?;
    j.only("tie_word_embeddings", true)?;
    j.only("is_encoder_decoder", true)?;
    j.only("add_bias_logits", false)?;
    let (width, heads) = (j.size("d_model")?, j.size("decoder_attention_heads")?);
    if let Some(n) = j.opt_size("decoder_vocab_size")?.filter(|n| Some(*n) != j.opt_size("vocab_size").ok().flatten()) {
        return Err(Error::config("decoder_vocab_size", format!("is {n}, expected vocab_size: both sides have one vocabulary")));
    }
    let sizes = Sizes {
        vocab_size: j.size("vocab_size")?,
        hidden_size: width,
        intermediate_size: j.size("decoder_ffn_dim")?,
        num_hidden_layers: j.size("decoder_layers")?,
        num_attention_heads: heads,
        num_key_value_heads: heads,
        head_dim: width.checked_div(heads).unwrap_or(0),
        max_position_embeddings: j.opt_size("max_position_embeddings")?.unwrap_or(1024),
    };
    let encoder_heads = j.size("encoder_attention_heads")?;
    for (field, heads) in [("decoder_attention_heads", heads), ("encoder_attention_heads", encoder_heads)] {
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(Error::config(field, format!("is {heads}, expected a divisor of d_model {width}")));
        }
    }
    let mut c = Config::of(model_type, names, sizes);
    super::decoder::ids(j, &mut c)?;
    c.recipe = recipe;
    c.norm = NormKind::Layer { bias: true };
    c.norm_eps = 1e-5;
    (c.attention_bias, c.attention_out_bias, c.mlp_bias) = (true, true, true);
    c.tie_word_embeddings = true;
    c.hidden_act = activation(j.text("activation_function").unwrap_or("gelu"))?;
    if j.flag("scale_embedding", false)? {
        c.embedding_multiplier = (width as f32).sqrt();
    }
    let start = j.ids("decoder_start_token_id")?.first().copied();
    c.shape = Shape::EncoderDecoder(Box::new(EncoderDecoder {
        names: encoder,
        layers: j.size("encoder_layers")?,
        heads: encoder_heads,
        intermediate_size: j.size("encoder_ffn_dim")?,
        first_position: 2,
        sinusoidal: false,
        start: Start::Last(start),
        pad: j.ids("pad_token_id")?.first().copied().unwrap_or(1),
        rules: Rules {
            // A configuration that does not name it has the class's.
            forced_eos_token_id: match j.map.get("forced_eos_token_id") {
                None => c.eos_token_ids.first().copied().into_iter().collect(),
                Some(_) => j.ids("forced_eos_token_id")?,
            },
            ..rules(j)?
        },
    }));
    Ok(c)
}

/// Changes the part of an encoder-decoder.
pub fn with(mut c: Config, change: impl FnOnce(&mut EncoderDecoder)) -> Config {
    if let Shape::EncoderDecoder(e) = &mut c.shape {
        change(e);
    }
    c
}

/// Which tokens an answer must or cannot have.
///
/// # Errors
/// [`Error::BadConfig`] with the field.
pub fn rules(j: &Json<'_>) -> Result<Rules> {
    let words = match j.get("bad_words_ids") {
        None => &[][..],
        Some(Value::Array(list)) => list,
        Some(v) => return Err(Error::config("bad_words_ids", format!("expected lists of token ids, found {v}"))),
    };
    let word = |v: &Value| {
        let ids = v.as_array().map(|ids| ids.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())));
        let ids: Option<Vec<u32>> = ids.and_then(Iterator::collect);
        ids.filter(|ids| !ids.is_empty()).ok_or_else(|| Error::config("bad_words_ids", format!("expected a list of token ids, found {v}")))
    };
    Ok(Rules {
        decoder_start_token_id: j.ids("decoder_start_token_id")?.first().copied(),
        forced_bos_token_id: j.ids("forced_bos_token_id")?.first().copied(),
        forced_eos_token_id: j.ids("forced_eos_token_id")?,
        bad_words_ids: words.iter().map(word).collect::<Result<_>>()?,
    })
}

/// The decoder begins with `decoder_start_token_id`, which must be there.
///
/// # Errors
/// [`Error::BadConfig`].
pub fn starts(j: &Json<'_>) -> Result<Start> {
    match j.ids("decoder_start_token_id")?.first() {
        Some(id) => Ok(Start::Token(*id)),
        None => Err(Error::config("decoder_start_token_id", "is missing: the decoder's tokens begin with it")),
    }
}
