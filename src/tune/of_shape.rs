//! What a model's shape asks of a training.

use super::asked::{Asked, FEATURES, SEQ_2_SEQ};
use super::methods::table::MethodInfo;
use super::values::Values;
use crate::adapters::LoadedModel;
use crate::formats::peft::{OneOrMany, PeftConfig};
use crate::{Error, Result};

/// What the model's shape asks of a training: an encoder learns its masked tokens (sft), and its adapter says so.
pub(super) fn of_shape(model: &LoadedModel, info: &MethodInfo, values: &Values, adapter: &mut Asked) -> Result<()> {
    let given = adapter.given.iter().any(|f| f == "task_type");
    let shape = &model.model.config().shape;
    if shape.encoder_decoder().is_some() {
        return of_pair(model, info, values, adapter, given);
    }
    let Some(e) = shape.encoder() else {
        return match adapter.config.lora().and_then(|c| c.task_type.as_deref()) {
            Some(FEATURES) => Err(Error::config("task_type", format!("is {FEATURES}, which is an encoder's: this model is a decoder"))),
            Some(SEQ_2_SEQ) => {
                Err(Error::config("task_type", format!("is {SEQ_2_SEQ}, which is an encoder-decoder's: this model is a decoder")))
            }
            _ => Ok(()),
        };
    };
    if info.name != "sft" {
        model.model.config().need_decoder(info.title)?;
    }
    model.model.need_logits()?;
    if values.is_on("packing") {
        return Err(Error::config("packing", "is not supported for an encoder"));
    }
    if values.text("truncation_mode") != "keep_start" {
        return Err(Error::config("truncation_mode", "is not supported for an encoder, whose rows keep their start"));
    }
    let PeftConfig::Lora(c) = &mut adapter.config else {
        return Err(Error::config("peft_type", format!("is {}: an encoder is trained with LORA", adapter.config.peft_type())));
    };
    if given && c.task_type.as_deref() != Some(FEATURES) {
        return Err(Error::config("task_type", format!("expected {FEATURES}: the model is an encoder whose masked tokens are learned")));
    }
    c.task_type = Some(FEATURES.into());
    // The model that PEFT would wrap has no pooler.
    if e.pooler {
        let pooler = model.model.pooler_path().to_string();
        match &mut c.exclude_modules {
            None => c.exclude_modules = Some(OneOrMany::Many(vec![pooler])),
            Some(OneOrMany::Many(names)) => names.push(pooler),
            Some(OneOrMany::One(pattern)) => {
                let why = format!("is the pattern {pattern:?}; for an encoder with a pooler expected a list of names");
                return Err(Error::config("exclude_modules", why));
            }
        }
    }
    Ok(())
}

/// What an encoder-decoder asks: it learns what it is to write (sft), with LoRA or all weights.
fn of_pair(model: &LoadedModel, info: &MethodInfo, values: &Values, adapter: &mut Asked, given: bool) -> Result<()> {
    if info.name != "sft" {
        model.model.config().need_decoder(info.title)?;
    }
    // Transformers gives the row of the padding token no gradient where it is read.
    let e = model.model.config().need_encoder_decoder("this")?;
    if values.is_on("full") && e.start.token() == Some(e.pad) {
        let why = format!("is not supported for a model whose decoder begins with its padding token ({}): train an adapter", e.pad);
        return Err(Error::config("full", why));
    }
    if values.is_on("packing") {
        return Err(Error::config("packing", "is not supported for an encoder-decoder"));
    }
    if values.text("truncation_mode") != "keep_start" {
        return Err(Error::config("truncation_mode", "is not supported for an encoder-decoder, whose rows keep their start"));
    }
    if values.opt_number("neftune_noise_alpha").is_some_and(|a| a > 0.0) {
        return Err(Error::config("neftune_noise_alpha", "is not supported for an encoder-decoder"));
    }
    let PeftConfig::Lora(c) = &mut adapter.config else {
        return Err(Error::config("peft_type", format!("is {}: an encoder-decoder is trained with LORA", adapter.config.peft_type())));
    };
    if given && c.task_type.as_deref() != Some(SEQ_2_SEQ) {
        return Err(Error::config("task_type", format!("expected {SEQ_2_SEQ}: the model is an encoder-decoder")));
    }
    c.task_type = Some(SEQ_2_SEQ.into());
    Ok(())
}
