//! The benchmark of full training: a GPT of 4 layers, 4 heads, width 128, context 128, batch 8, 96 symbols (0.80 M parameters).

use std::rc::Rc;

use serde::Serialize;

use super::config::TrainingArguments;
use super::methods::sft::Sft;
use super::schedule::SchedulerType;
use super::trainer::{Target, Trainer};
use crate::data::Example;
use crate::graph::{Exec, Profile};
use crate::models::{Gpt2Config, Model};
use crate::{Error, Result};

/// See the module.
pub struct GptBench {
    trainer: Trainer,
    exec: Exec,
}

/// One update.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GptStep {
    pub loss: f64,
    pub grad_norm: f64,
    pub dispatches: u64,
    pub submits: u64,
}

impl GptBench {
    const BATCH: usize = 8;
    const CONTEXT: usize = 128;

    /// A model with random weights and a small text to learn.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or what the device reports.
    pub fn new(exec: &Exec) -> Result<GptBench> {
        let config = Gpt2Config::default().config()?;
        let symbols = config.vocab_size as u32;
        let model = Rc::new(Model::random(exec, config, 42)?);
        // Every row counts up with a step of its own: something that can be learned.
        let row = |r: u32| -> Vec<u32> { (0..Self::CONTEXT as u32).map(|t| (5 * r + t * (r % 7 + 1)) % symbols).collect() };
        let examples = (0..2 * Self::BATCH as u32).map(|r| Example { ids: row(r), labels: row(r), ..Example::default() }).collect();
        let args = TrainingArguments {
            learning_rate: 1e-3,
            max_steps: 1 << 20,
            lr_scheduler_type: SchedulerType::Constant,
            per_device_train_batch_size: Self::BATCH,
            weight_decay: 0.1,
            ..TrainingArguments::default()
        };
        Ok(GptBench { trainer: Trainer::new(model, Target::Full, None, args, Box::new(Sft::new(examples)))?, exec: exec.clone() })
    }

    /// Parameters of the model.
    pub fn parameters(&self) -> u64 {
        self.trainer.model().params().parameters()
    }

    /// What each dispatch of an update takes: see [`Trainer::profile`].
    ///
    /// # Errors
    /// [`Error::Gpu`] where the adapter has no timestamps.
    pub async fn profile(&mut self) -> Result<Profile> {
        self.trainer.profile().await
    }

    /// One update: 8 × 128 tokens.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub async fn step(&mut self) -> Result<GptStep> {
        let c = self.exec.counters();
        let before = (c.dispatches.get(), c.submits.get());
        let m = self.trainer.step().await?.ok_or(Error::Aborted)?;
        let c = self.exec.counters();
        Ok(GptStep {
            loss: m.metrics.loss(),
            grad_norm: m.grad_norm,
            dispatches: c.dispatches.get() - before.0,
            submits: c.submits.get() - before.1,
        })
    }
}
