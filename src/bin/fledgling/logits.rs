//! `fledgling logits`: the logits after the last token of a prompt.

use std::path::Path;

use serde_json::json;

use super::args::{Cli, LogitsArgs, PromptArgs};
use super::{files, load};
use fledgling::adapters::{AdapterChoice, FRONT, LoadedModel};
use fledgling::data::{Example, Front, IGNORE, Layout, Mask};
use fledgling::graph::{Desc, Program, ProgramOptions, StepParams, Tape};
use fledgling::models::{LoadOptions, TrainInputs};
use fledgling::nn::Adapter;
use fledgling::ops::embedding::GatherRows;
use fledgling::{Error, Result};

impl PromptArgs {
    /// The text; from standard input where it is "-" (the line's end behind it is none of the prompt).
    ///
    /// # Errors
    /// What cannot be read.
    pub fn text(&self) -> Result<Option<String>> {
        Ok(match self.prompt.as_deref() {
            Some("-") => {
                let mut text = files::read_text(Path::new("-"))?;
                let end = text.strip_suffix('\n').map_or(text.len(), |t| t.strip_suffix('\r').unwrap_or(t).len());
                text.truncate(end);
                Some(text)
            }
            other => other.map(str::to_string),
        })
    }
}

/// How many of the likeliest are shown without --json.
const SHOWN: usize = 10;

/// The token ids of a prompt, checked against the model.
pub fn prompt_ids(model: &LoadedModel, p: &PromptArgs) -> Result<Vec<u32>> {
    let ids = match (&p.prompt_ids, p.text()?) {
        (Some(ids), _) => ids.clone(),
        (None, Some(text)) => model.tokenizer()?.encode(&text),
        (None, None) => Vec::new(),
    };
    checked(model, ids)
}

/// Token ids, if the model can read them.
///
/// # Errors
/// [`Error::BadConfig`], [`Error::ContextOverflow`].
pub fn checked(model: &LoadedModel, ids: Vec<u32>) -> Result<Vec<u32>> {
    if ids.is_empty() {
        return Err(Error::config("prompt", "holds no tokens"));
    }
    let vocab = model.model.config().vocab_size;
    if let Some(id) = ids.iter().find(|id| **id as usize >= vocab) {
        return Err(Error::config("prompt_ids", format!("{id} is outside the vocabulary of {vocab}")));
    }
    if ids.len() > model.info.context_length {
        return Err(Error::ContextOverflow { needed: ids.len(), available: model.info.context_length });
    }
    Ok(ids)
}

/// Logits after the last of `ids`, from one pass without a cache; of an encoder-decoder its encoder reads `source`.
pub async fn last_logits(model: &LoadedModel, ids: &[u32], source: &[u32]) -> Result<Vec<f32>> {
    let adapter = model.adapters.resolve(&AdapterChoice::Active)?;
    let m = &model.model;
    let example = Example { ids: ids.to_vec(), labels: vec![IGNORE; ids.len()], source: source.to_vec(), ..Example::default() };
    let set = adapter.as_ref().map(|a| &a.set);
    let batch = m.lay_out(&[&example], Layout::Auto, set.map_or(Front::Nothing, |s| s.front()));
    let rows = batch.shape.batch * batch.shape.len;
    let mut tape = Tape::new();
    let inputs = TrainInputs::declare(&mut tape, m, &batch.shape);
    let placed = set.map(|s| s.place(&mut tape, rows, batch.shape.batch, false)).transpose()?;
    let placed = placed.as_ref().map(|a| a as &dyn Adapter);
    let hidden = m.record_hidden(&mut tape, &inputs, placed, false)?;
    let (row, inverse) = (tape.input("row", Desc::u32(&[1])), tape.input("inverse", Desc::u32(&[rows])));
    let last = tape.push1(GatherRows, &[hidden, row, inverse])?;
    let logits = m.record_logits(&mut tape, last, placed)?;
    tape.output("logits", logits);
    let program = Program::build(m.exec(), &tape, ProgramOptions::default())?;
    program.write("ids", &batch.ids);
    program.write("positions", &batch.positions);
    program.write("spans", &batch.spans);
    for (name, values) in [
        ("window_spans", &batch.window_spans),
        ("source_ids", &batch.sources.ids),
        ("source_positions", &batch.sources.positions),
        ("source_spans", &batch.sources.spans),
        ("cross_spans", &batch.sources.cross),
        (FRONT, &batch.front),
    ] {
        if program.has_input(name) {
            program.write(name, values);
        }
    }
    let rows_in_front = if let Some(Front::Tokens(n)) = set.map(|s| s.front()) { n } else { 0 };
    program.write("row", &[(rows_in_front + ids.len()) as u32 - 1]);
    let step = StepParams { lora: if adapter.is_some() { 1.0 } else { 0.0 }, ..StepParams::default() };
    program.run_f32(&step, "logits").await
}

/// What the decoder of an encoder-decoder has read; nothing for other models.
fn decoder_ids(model: &LoadedModel, a: &LogitsArgs) -> Result<Option<Vec<u32>>> {
    let Some(e) = model.model.config().shape.encoder_decoder() else {
        return match a.decoder_ids {
            Some(_) => model.model.config().need_encoder_decoder("decoder_ids").map(|_| None),
            None => Ok(None),
        };
    };
    let missing = || Error::config("decoder_ids", "is missing, and the model does not say what its answers begin with");
    let ids = match &a.decoder_ids {
        Some(ids) => ids.clone(),
        None => vec![e.start.token().ok_or_else(missing)?],
    };
    checked(model, ids).map(Some)
}

pub async fn run(cli: &Cli, a: &LogitsArgs) -> Result<()> {
    let mask = load::mask(&a.model.mask, a.model.adapter.iter())?;
    let how = LoadOptions { quantize: a.model.quantize, mask, ..LoadOptions::default() };
    let loaded = load::model(cli, &a.model.model, how, a.json).await?;
    let name = load::activate(&loaded.model, a.model.adapter.as_deref())?;
    let ids = prompt_ids(&loaded.model, &a.prompt)?;
    if loaded.model.model.config().shape.encoder().is_some() {
        return super::encode::logits(loaded.model, a, ids, name).await;
    }
    if a.token_type_ids.is_some() {
        loaded.model.model.encoder("token_type_ids")?;
    }
    let own = decoder_ids(&loaded.model, a)?;
    let logits = match &own {
        Some(own) => last_logits(&loaded.model, own, &ids).await?,
        None => last_logits(&loaded.model, &ids, &[]).await?,
    };
    if let Some(at) = logits.iter().position(|v| !v.is_finite()) {
        return Err(Error::NotFinite(format!("the logit of token {at} is {}", logits[at])));
    }
    if a.json {
        let mut out = json!({"prompt_ids": ids, "adapter": name, "last_logits": logits});
        if let Some(own) = &own {
            out["decoder_ids"] = json!(own);
        }
        if mask != Mask::Causal {
            out["mask"] = json!(mask);
        }
        say!("{out}");
        return Ok(());
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|x, y| logits[*y].total_cmp(&logits[*x]));
    for id in order.into_iter().take(SHOWN) {
        let text = loaded.model.tokenizer.as_ref().map_or_else(String::new, |t| format!("{:?}", t.decode(&[id as u32], false)));
        say!("{id:>8}  {:>9.4}  {text}", logits[id]);
    }
    Ok(())
}
