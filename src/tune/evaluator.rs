//! What rows say of an adapter, outside of a training.

use super::evaluation::{EvalMetrics, Held};
use super::pass::Weights;
use super::start::{Read, build, held_out, read};
use super::text::ModelText;
use super::trainer::{Target, Trainer};
use crate::adapters::LoadedModel;
use crate::{Error, Result};
use serde_json::Value;

/// Rows that are judged by an adapter, or by the base model, without an update: what a training would report of them. What a method is measured
/// against is the base model.
pub struct Evaluator {
    trainer: Trainer,
    held: Held,
    by: Weights,
}

impl Evaluator {
    /// `args` are those of a training; of `adapter` the values are what they are now, and none is the base model.
    ///
    /// # Errors
    /// As [`super::Training::new`]; [`Error::BadConfig`] for another reference than the base model.
    pub fn new(model: &LoadedModel, method: &str, args: &Value, rows: &[Value], adapter: Option<&str>) -> Result<Evaluator> {
        let Read { info, values, adapter: asked, .. } = read(method, args, &model.info.name)?;
        if values.opt_text("reference") == Some("init") {
            return Err(Error::config("reference", "is init, and no training has begun from an adapter here: only base"));
        }
        let values = held_out(values);
        let batch = values.opt_count("per_device_train_batch_size").unwrap_or(1) as usize;
        let there = adapter.and_then(|name| model.adapters.config(name));
        let in_front = there.and_then(|c| Some(c.prompt()?.virtual_tokens())).unwrap_or(0);
        let text = ModelText::behind(model, in_front);
        let prepared = build(info, &text, &values, rows)?;
        let set = match adapter {
            Some(name) => model.adapters.copy_of(name)?,
            None => model.adapters.zeros(&asked.config)?,
        };
        let target = Target::Adapter { set, name: adapter.unwrap_or_default().to_string() };
        let mut args = prepared.args;
        args.report_kl = false;
        let trainer = Trainer::new(model.model.clone(), target, None, args, prepared.method)?;
        Ok(Evaluator { trainer, held: Held::new(None, batch), by: if adapter.is_some() { Weights::Present } else { Weights::Base } })
    }

    /// Judges some of the rows; the numbers when those were the last.
    ///
    /// # Errors
    /// Whatever the device reports; [`Error::NotFinite`].
    pub async fn step(&mut self) -> Result<Option<EvalMetrics>> {
        self.held.next(&mut self.trainer, self.by).await
    }
}
