//! Steps of training: LoRA over the model at hand, and all weights of a small GPT.

use serde_json::json;

use super::report::Report;
use super::samples::{Counts, Samples, ids};
use crate::args::BenchArgs;
use fledgling::adapters::LoadedModel;
use fledgling::graph::Exec;
use fledgling::tune::{GptBench, Training};
use fledgling::{Error, Result, clock};

/// A LoRA training (r 8, all linears) of rows that mean nothing.
pub struct Lora<'a> {
    /// Of its adapter.
    pub name: &'a str,
    pub batch: usize,
    pub length: usize,
    pub fp16: bool,
    pub checkpointing: Option<bool>,
}

impl Lora<'_> {
    /// The one that the arguments ask for.
    pub fn of<'a>(a: &BenchArgs, name: &'a str) -> Lora<'a> {
        Lora { name, batch: a.lora_batch, length: a.lora_length, fp16: a.fp16, checkpointing: a.gradient_checkpointing }
    }

    /// Readies it.
    pub async fn trainer(&self, model: &LoadedModel) -> Result<Training> {
        let mut args = json!({
            "learning_rate": 1e-4, "max_steps": Samples::MOST + 1, "adapter_name": self.name, "per_device_train_batch_size": self.batch,
            "max_length": self.length, "fp16": self.fp16, "peft_config": {"r": 8, "lora_alpha": 16},
        });
        if let Some(on) = self.checkpointing {
            args["gradient_checkpointing"] = json!(on);
        }
        let vocab = model.model.config().vocab_size;
        let rows: Vec<_> = (0..self.batch).map(|i| json!({"input_ids": ids(vocab, self.length, 1000 * i)})).collect();
        Training::new(model, "sft", &args, &rows, None).await
    }

    /// Forgets what its trainer has learned.
    pub fn forget(&self, trainer: Training, model: &LoadedModel) {
        drop(trainer);
        model.adapters.remove(self.name);
    }
}

/// A LoRA step (r 8, all linears): forward, backward, AdamW.
pub async fn lora(t: &mut Report, exec: &Exec, model: &LoadedModel, a: &BenchArgs) -> Result<()> {
    let training = Lora::of(a, "bench");
    let mut trainer = training.trainer(model).await?;
    let (mut first, mut times, mut spent, mut loss) = (None, Samples::default(), Counts::default(), f64::NAN);
    while first.is_none() || times.wanted() {
        let (begin, before) = (clock::seconds(), Counts::of(exec));
        let Some(step) = trainer.step().await? else { break };
        loss = step.metrics.loss();
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
    training.forget(trainer, model);
    Ok(())
}

/// What checkpointing saves and costs: the step of 1 × 512 with all activations kept and with those inside the layers computed again, in turns.
pub async fn checkpointing(t: &mut Report, model: &LoadedModel) -> Result<()> {
    // On a software adapter a step takes half a minute: one of each has to say enough.
    const SECONDS: f64 = 30.0;
    let length = model.info.context_length.min(512);
    let one = |name, on| Lora { name, batch: 1, length, fp16: false, checkpointing: Some(on) };
    let plans = [one("kept", false), one("again", true)];
    let mut trainers = Vec::new();
    for plan in &plans {
        let mut trainer = plan.trainer(model).await?;
        // Records and compiles.
        trainer.step().await?;
        trainers.push(trainer);
    }
    let (mut times, begin) = ([Samples::default(), Samples::default()], clock::seconds());
    while times[0].len() == 0 || (times[0].wanted() && clock::seconds() - begin < SECONDS) {
        for (trainer, times) in trainers.iter_mut().zip(&mut times) {
            let begin = clock::seconds();
            trainer.step().await?;
            times.push(clock::seconds() - begin);
        }
    }
    t.put("checkpointing_rounds", json!(times[0].len()));
    let [kept, again] = times.map(|s| s.median());
    let bytes: Vec<u64> = trainers.iter().map(Training::activation_bytes).collect();
    for (plan, trainer) in plans.iter().zip(trainers) {
        plan.forget(trainer, model);
    }
    t.put("checkpointing_length", json!(length));
    t.bytes("checkpointing_off_bytes", &format!("activations of a LoRA step, 1 × {length}, kept"), bytes[0]);
    t.bytes("checkpointing_on_bytes", "  computed again (checkpointing)", bytes[1]);
    t.line("checkpointing_bytes_on_over_off", "  again / kept", bytes[1] as f64 / bytes[0] as f64, "", 3);
    t.millis("checkpointing_off_ms", "that step, kept", kept * 1e3);
    t.millis("checkpointing_on_ms", "  computed again", again * 1e3);
    t.line("checkpointing_time_on_over_off", "  again / kept", again / kept, "", 3);
    Ok(())
}

/// An epoch over rows of mixed lengths, eight in a batch, and over packs of them, as many of which make a batch as hold about the same tokens; in turns.
pub async fn packing(t: &mut Report, model: &LoadedModel) -> Result<()> {
    // An update of one batch each: on a processor it takes half a minute.
    const SECONDS: f64 = 30.0;
    const ROWS: usize = 8;
    const BATCH: usize = 8;
    let (vocab, most) = (model.model.config().vocab_size, model.info.context_length.min(512));
    // Many short rows and few long ones, as answers are.
    let length = |i: usize| (most / 16 + (i * 7 % ROWS).pow(2) * (most - most / 16) / (ROWS - 1).pow(2)).max(2);
    let rows: Vec<_> = (0..ROWS).map(|i| json!({"input_ids": ids(vocab, length(i), 1000 * i)})).collect();
    let tokens: usize = (0..ROWS).map(length).sum();
    let batch = |packed: bool| if packed { (BATCH * tokens).div_ceil(ROWS * most).max(1) } else { BATCH };
    let mut trainers = Vec::new();
    for packed in [false, true] {
        let args = json!({
            "learning_rate": 1e-4, "num_train_epochs": Samples::MOST + 1, "adapter_name": format!("packed {packed}"), "max_length": most,
            "packing": packed, "per_device_train_batch_size": batch(packed), "shuffle": false, "report_kl": false, "peft_config": {"r": 8},
        });
        trainers.push(Training::new(model, "sft", &args, &rows, None).await?);
    }
    let epoch = async |trainer: &mut Training| -> Result<f64> {
        let begin = clock::seconds();
        for _ in 0..trainer.steps_per_epoch() {
            trainer.step().await?;
        }
        Ok(clock::seconds() - begin)
    };
    let mut times = [Samples::default(), Samples::default()];
    for trainer in &mut trainers {
        // Records and compiles.
        epoch(trainer).await?;
    }
    let begin = clock::seconds();
    while times[0].len() == 0 || (times[0].wanted() && clock::seconds() - begin < SECONDS) {
        for (trainer, times) in trainers.iter_mut().zip(&mut times) {
            times.push(epoch(trainer).await?);
        }
    }
    for trainer in trainers {
        let name = trainer.adapter_name().to_string();
        drop(trainer);
        model.adapters.remove(&name);
    }
    let [padded, packed] = times.map(|s| tokens as f64 / s.median());
    t.line(
        "padded_tokens_per_second",
        &format!("tokens learned, {ROWS} rows of {} to {most}, {BATCH} a batch", most / 16),
        padded,
        "tokens/s",
        1,
    );
    t.line("packed_tokens_per_second", "  in packs", packed, "tokens/s", 1);
    t.line("packed_over_padded", "  packed / padded", packed / padded, "", 2);
    Ok(())
}

/// Full training of a small GPT.
pub async fn gpt(t: &mut Report, exec: &Exec) -> Result<()> {
    let mut g = GptBench::new(exec)?;
    let parameters = g.parameters() as f64 / 1e6;
    let mut times = Samples::default();
    // The first step records and compiles.
    g.step().await?;
    // The loss is printed after six steps in all, so that machines can be compared.
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
