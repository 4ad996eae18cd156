//! `fledgling bench`: a table, then one line of JSON.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::args::{BenchArgs, Cli};
use super::files::mib;
use super::load;
use fledgling::generate::{Candidate, GenerateOptions, Generator};
use fledgling::graph::{Exec, Program, ProgramOptions, StepParams, Tape, Tensor, Timed};
use fledgling::models::{AdapterChoice, LoadedModel};
use fledgling::ops::linear::Linear;
use fledgling::tune::{AnyTrainer, GptBench};
use fledgling::{Error, Result, clock};

const PROMPT: usize = 128;
const DECODED: usize = 64;
const REPEATS: usize = 3;

/// f32 peaks without tensor cores, in TFLOP/s, from the makers' data sheets.
const PEAKS: &[(&str, f64)] = &[
    ("H100 PCIe", 51.2),
    ("H100", 66.9),
    ("H200", 66.9),
    ("A100", 19.5),
    ("L40S", 91.6),
    ("L4", 30.3),
    ("T4", 8.1),
    ("RTX 4090", 82.6),
    ("RTX 3090", 35.6),
];

struct Table {
    quiet: bool,
    json: Map<String, Value>,
}

impl Table {
    fn line(&mut self, key: &str, name: &str, value: f64, unit: &str, digits: usize) {
        self.json.insert(key.into(), json!(value));
        if !self.quiet {
            say!("{name:<46}{value:>14.digits$} {unit}");
        }
    }
}

/// Dispatches and submits so far.
fn counts(exec: &Exec) -> (u64, u64) {
    (exec.counters().dispatches.get(), exec.counters().submits.get())
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v.get(v.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Ids that mean nothing and begin differently for each `salt`, so that no cache can help.
fn prompt(vocab: usize, salt: usize) -> Vec<u32> {
    (0..PROMPT).map(|i| (100 + (i * 7919 + salt * 31) % vocab.saturating_sub(200).max(1)) as u32 % vocab as u32).collect()
}

pub async fn run(cli: &Cli, a: &BenchArgs) -> Result<()> {
    let load::Loaded { model, exec, seconds } = load::model(cli, &a.model, true).await?;
    let on = exec.info();
    let mut t = Table { quiet: a.json, json: Map::new() };
    t.json.insert("where".into(), json!("native"));
    t.json.insert("adapter".into(), json!(on.name));
    t.json.insert("backend".into(), json!(on.backend));
    t.json.insert("software".into(), json!(on.is_software));
    t.json.insert("device".into(), json!(on.device));
    t.json.insert("model".into(), json!(model.info.name));
    if !a.json {
        say!("{}, {}{} ({})", model.info.name, on.name, if on.is_software { ", software" } else { "" }, on.backend);
    }
    t.line("load_seconds", "load", seconds, "s", 2);
    let model = Rc::new(model);
    generation(&mut t, &exec, model.clone()).await?;
    lora(&mut t, &exec, &model).await?;
    if a.profile {
        profile(&exec, &model).await?;
    }
    drop(model);
    gpt(&mut t, &exec).await?;
    matmul(&mut t, &exec).await?;
    say!("{}", Value::Object(t.json));
    Ok(())
}

async fn once(g: &mut Generator, n: usize, salt: usize, tokens: usize) -> Result<Vec<Candidate>> {
    g.reset();
    let vocab = g.loaded().model.config().vocab_size;
    let options = GenerateOptions {
        n,
        max_new_tokens: tokens,
        temperature: if n > 1 { 0.8 } else { 0.0 },
        seed: 1,
        ignore_eos: true,
        adapter: AdapterChoice::Base,
        ..GenerateOptions::default()
    };
    g.run(&prompt(vocab, salt), options, &mut |_| ()).await
}

async fn generation(t: &mut Table, exec: &Exec, model: Rc<LoadedModel>) -> Result<()> {
    let mut g = Generator::new(model)?;
    let begin = clock::seconds();
    once(&mut g, 1, 0, 2).await?;
    t.line("first_use_seconds", "first use (compiles)", clock::seconds() - begin, "s", 2);
    let mut prefill = Vec::new();
    for i in 1..=REPEATS {
        prefill.push(PROMPT as f64 / once(&mut g, 1, i, 1).await?[0].seconds.prefill);
    }
    t.line("prefill_tokens_per_second", "prefill, 128 tokens", median(prefill), "tok/s", 1);
    for (n, key, name) in [
        (1, "decode_tokens_per_second", "decode, 64 tokens, batch 1"),
        (4, "decode_batch4_tokens_per_second", "decode, 64 tokens, batch 4"),
    ] {
        once(&mut g, n, 5, 3).await?;
        let all = once(&mut g, n, 6, DECODED).await?;
        // The first token of each belongs to the prefill.
        let tokens: usize = all.iter().map(|c| c.token_ids.len() - 1).sum();
        t.line(key, name, tokens as f64 / all[0].seconds.decode, "tok/s", 2);
    }
    // The same prompt with 64 tokens and with one: the difference is decoding alone.
    let mut spent = Vec::new();
    for tokens in [1, DECODED] {
        let before = counts(exec);
        once(&mut g, 1, 7, tokens).await?;
        let after = counts(exec);
        spent.push(((after.0 - before.0) as f64, (after.1 - before.1) as f64));
    }
    let steps = (DECODED - 1) as f64;
    t.line("dispatches_per_token", "dispatches per decoded token", (spent[1].0 - spent[0].0) / steps, "", 1);
    t.line("submits_per_token", "submits per decoded token", (spent[1].1 - spent[0].1) / steps, "", 1);
    let bytes = exec.live_bytes();
    t.json.insert("gpu_bytes".into(), json!(bytes));
    if !t.quiet {
        say!("{:<46}{:>18}", "device memory, answering", mib(bytes));
    }
    Ok(())
}

async fn lora_trainer(model: &LoadedModel, steps: usize) -> Result<AnyTrainer> {
    let args = json!({
        "learning_rate": 1e-4, "max_steps": steps, "adapter_name": "bench", "per_device_train_batch_size": 1, "max_length": PROMPT,
        "peft_config": {"r": 8, "lora_alpha": 16},
    });
    let rows = [json!({"input_ids": prompt(model.model.config().vocab_size, 0)})];
    AnyTrainer::new(model, "sft", &args, &rows, None).await
}

async fn lora(t: &mut Table, exec: &Exec, model: &LoadedModel) -> Result<()> {
    let mut trainer = lora_trainer(model, REPEATS + 1).await?;
    let (mut times, mut spent) = (Vec::new(), (0, 0));
    loop {
        let (begin, before) = (clock::seconds(), counts(exec));
        if trainer.step().await?.is_none() {
            break;
        }
        times.push((clock::seconds() - begin) * 1e3);
        let after = counts(exec);
        spent = (after.0 - before.0, after.1 - before.1);
    }
    t.line("lora_first_step_ms", "first LoRA step (records and compiles)", times[0], "ms", 0);
    t.line("lora_step_ms", "LoRA step, 1 × 128", median(times[1..].to_vec()), "ms", if times[1] < 100.0 { 2 } else { 0 });
    t.line("dispatches_per_lora_step", "dispatches per LoRA step", spent.0 as f64, "", 0);
    t.line("submits_per_lora_step", "submits per LoRA step", spent.1 as f64, "", 0);
    let bytes = exec.live_bytes();
    t.json.insert("gpu_bytes_training".into(), json!(bytes));
    if !t.quiet {
        say!("{:<46}{:>18}", "device memory, training", mib(bytes));
    }
    drop(trainer);
    model.adapters.remove("bench");
    Ok(())
}

async fn gpt(t: &mut Table, exec: &Exec) -> Result<()> {
    let mut g = GptBench::new(exec)?;
    let parameters = g.parameters() as f64 / 1e6;
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..6 {
        let begin = clock::seconds();
        last = Some(g.step().await?);
        times.push((clock::seconds() - begin) * 1e3);
    }
    let last = last.ok_or(Error::Aborted)?;
    t.line("gpt_parameters_millions", "GPT parameters", parameters, "M", 2);
    t.line("gpt_step_ms", "GPT step, batch 8 × 128", median(times[1..].to_vec()), "ms", 1);
    t.line("gpt_loss", "GPT loss after six steps", last.loss, "", 3);
    t.line("dispatches_per_gpt_step", "dispatches per GPT step", last.dispatches as f64, "", 0);
    t.line("submits_per_gpt_step", "submits per GPT step", last.submits as f64, "", 0);
    Ok(())
}

/// A square f32 matmul as the layers run it.
async fn matmul(t: &mut Table, exec: &Exec) -> Result<()> {
    let software = exec.is_processor();
    let (n, repeats) = if software { (512, 4) } else { (4096, 20) };
    let values: Vec<f64> = (0..n * n).map(|i| ((i * 2_654_435_761) % 1000) as f64 / 1000.0 - 0.5).collect();
    let x = Tensor::from_f64(exec, "x", &[n, n], &values)?;
    let w = Tensor::from_f64(exec, "w", &[n, n], &values)?;
    let mut tape = Tape::new();
    let (x, w) = (tape.tensor(&x), tape.tensor(&w));
    for i in 0..repeats {
        let y = tape.push1(Linear::plain(), &[x, w])?;
        if i + 1 == repeats {
            tape.output("y", y);
        }
    }
    let program = Program::build(exec, &tape, ProgramOptions { per_submit: 1 })?;
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        exec.done().await?;
        let begin = clock::seconds();
        program.submit(&StepParams::default());
        exec.done().await?;
        best = best.min((clock::seconds() - begin) / repeats as f64);
    }
    let flops = 2.0 * (n as f64).powi(3) / best;
    t.line("matmul_gflops", &format!("matmul, {n}³ f32"), flops / 1e9, "GFLOP/s", 1);
    let name = exec.info().name;
    if let Some((card, peak)) = PEAKS.iter().find(|(card, _)| name.contains(card)) {
        t.line("matmul_peak_fraction", &format!("of the {card}'s f32 peak, {peak} TFLOP/s"), flops / 1e12 / peak, "", 3);
    }
    Ok(())
}

/// Where the time of a LoRA step's kernels goes.
async fn profile(exec: &Exec, model: &LoadedModel) -> Result<()> {
    let mut trainer = lora_trainer(model, 1).await?;
    let timed = trainer.profile().await?;
    print_profile("LoRA step, 1 × 128", &timed);
    exec.check()?;
    drop(trainer);
    model.adapters.remove("bench");
    Ok(())
}

fn print_profile(title: &str, timed: &[Timed]) {
    let mut by: BTreeMap<&str, (f64, usize, f64)> = BTreeMap::new();
    for d in timed {
        let e = by.entry(&d.kernel).or_default();
        *e = (e.0 + d.seconds, e.1 + 1, e.2 + d.flops);
    }
    let total: f64 = by.values().map(|e| e.0).sum();
    let mut rows: Vec<_> = by.into_iter().collect();
    rows.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
    say!("\n{title}: {:.2} ms in its kernels", total * 1e3);
    for (kernel, (seconds, count, flops)) in rows {
        let rate = if flops > 0.0 { format!("{:.1} GFLOP/s", flops / seconds / 1e9) } else { String::new() };
        say!("  {:>9.3} ms {:>5.1} %  {count:>5} ×  {kernel}  {rate}", seconds * 1e3, 100.0 * seconds / total);
    }
    say!();
}
