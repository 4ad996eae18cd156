//! Steps of training: LoRA over the model at hand, and all weights of a small GPT.

use serde_json::json;

use super::report::Report;
use super::{Counts, Samples, ids};
use crate::args::BenchArgs;
use fledgling::graph::Exec;
use fledgling::models::LoadedModel;
use fledgling::tune::{AnyTrainer, GptBench};
use fledgling::{Error, Result, clock};

const ADAPTER: &str = "bench";

/// A LoRA training of rows that mean nothing.
pub async fn trainer(model: &LoadedModel, a: &BenchArgs) -> Result<AnyTrainer> {
    let mut args = json!({
        "learning_rate": 1e-4, "max_steps": Samples::MOST + 1, "adapter_name": ADAPTER, "per_device_train_batch_size": a.lora_batch,
        "max_length": a.lora_length, "fp16": a.fp16, "peft_config": {"r": 8, "lora_alpha": 16},
    });
    if let Some(on) = a.gradient_checkpointing {
        args["gradient_checkpointing"] = json!(on);
    }
    let vocab = model.model.config().vocab_size;
    let rows: Vec<_> = (0..a.lora_batch).map(|i| json!({"input_ids": ids(vocab, a.lora_length, 1000 * i)})).collect();
    AnyTrainer::new(model, "sft", &args, &rows, None).await
}

/// Forgets what a trainer has learned.
pub fn forget(trainer: AnyTrainer, model: &LoadedModel) {
    drop(trainer);
    model.adapters.remove(ADAPTER);
}

/// A LoRA step (r 8, all linears): forward, backward, AdamW.
pub async fn lora(t: &mut Report, exec: &Exec, model: &LoadedModel, a: &BenchArgs) -> Result<()> {
    let mut trainer = trainer(model, a).await?;
    let (mut first, mut times, mut spent, mut loss) = (None, Samples::default(), Counts::default(), f64::NAN);
    while first.is_none() || times.wanted() {
        let (begin, before) = (clock::seconds(), Counts::of(exec));
        let Some(step) = trainer.step().await? else { break };
        loss = step.metrics.loss;
        let seconds = clock::seconds() - begin;
        match first {
            None => first = Some(seconds),
            Some(_) => times.push(seconds),
        }
        spent = Counts::of(exec) - before;
    }
    t.put("lora_batch", json!(a.lora_batch));
    t.put("lora_length", json!(a.lora_length));
    t.put("fp16", json!(a.fp16));
    t.line("lora_first_step_ms", "first LoRA step (records and compiles)", first.unwrap_or(f64::NAN) * 1e3, "ms", 0);
    t.millis("lora_step_ms", &format!("LoRA step, {} × {}", a.lora_batch, a.lora_length), times.median() * 1e3);
    t.put("lora_loss", json!(loss));
    t.line("dispatches_per_lora_step", "dispatches per LoRA step", spent.dispatches as f64, "", 0);
    t.line("submits_per_lora_step", "submits per LoRA step", spent.submits as f64, "", 0);
    t.line("allocations_per_lora_step", "buffers allocated per LoRA step", spent.allocations as f64, "", 0);
    t.bytes("lora_activation_bytes", "activations of a LoRA step", trainer.activation_bytes());
    t.bytes("gpu_bytes_training", "device memory, training", exec.live_bytes());
    forget(trainer, model);
    Ok(())
}

/// Full training of a small GPT.
pub async fn gpt(t: &mut Report, exec: &Exec) -> Result<()> {
    let mut g = GptBench::new(exec)?;
    let parameters = g.parameters() as f64 / 1e6;
    let mut times = Samples::default();
    // The first step records and compiles.
    g.step().await?;
    // The loss is told after six steps in all, so that machines can be compared.
    let (mut last, mut loss) = (None, f64::NAN);
    while times.len() < 5 || times.wanted() {
        let begin = clock::seconds();
        let step = g.step().await?;
        times.push(clock::seconds() - begin);
        if times.len() == 5 {
            loss = step.loss;
        }
        last = Some(step);
    }
    let last = last.ok_or(Error::Aborted)?;
    t.line("gpt_parameters_millions", "GPT parameters", parameters, "M", 2);
    t.millis("gpt_step_ms", "GPT step, batch 8 × 128", times.median() * 1e3);
    t.line("gpt_loss", "GPT loss after six steps", loss, "", 3);
    t.line("dispatches_per_gpt_step", "dispatches per GPT step", last.dispatches as f64, "", 0);
    t.line("submits_per_gpt_step", "submits per GPT step", last.submits as f64, "", 0);
    Ok(())
}
