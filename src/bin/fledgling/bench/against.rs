//! `--against`: two settings of the kernels measured in turns, by one process over one model. Whatever else the machine does meets both of them.

use std::rc::Rc;

use clap::ValueEnum as _;
use serde_json::{Map, json};

use super::learn::Lora;
use super::report::Report;
use super::samples::Samples;
use super::{answer, matmul};
use crate::args::{BenchArgs, Part};
use fledgling::adapters::LoadedModel;
use fledgling::device::measure;
use fledgling::generate::Generator;
use fledgling::gpu::{Gpu, Tuning};
use fledgling::graph::Exec;
use fledgling::tune::GptBench;
use fledgling::{Error, Result, clock};

/// Refuses to be asked for what is not measured in turns.
pub fn check(a: &BenchArgs) -> Result<()> {
    match a.only.iter().find(|p| matches!(p, Part::Peaks | Part::Checkpointing)) {
        Some(part) if a.against.is_some() => {
            let name = part.to_possible_value().map(|v| v.get_name().to_string()).unwrap_or_default();
            Err(Error::config("against", format!("`--only {name}` is not measured in turns: leave one of the two out")))
        }
        _ => Ok(()),
    }
}

/// Measures what `wanted` asks for with the device's kernels (A) and with `list` on top of them (B).
pub async fn run(
    t: &mut Report,
    exec: &Exec,
    model: Option<&Rc<LoadedModel>>,
    a: &BenchArgs,
    list: &str,
    wanted: impl Fn(Part) -> bool,
) -> Result<()> {
    let gpu = exec.gpu().ok_or_else(|| Error::config("against", "kernels have variants on a GPU adapter only: ask for --device gpu"))?;
    let first = gpu.tuning().borrow().clone();
    let mut second = first.clone();
    second.force(list)?;
    let mut turns = Turns { gpu, sides: [first, second], out: [Map::new(), Map::new(), Map::new()] };
    t.say(&format!("\nB is A with {list}, in turns\n{:<34}{:>12}{:>12}{:>9}", "", "A", "B", "B / A"));
    if let Some(model) = model {
        if wanted(Part::Prefill) || wanted(Part::Decode) {
            let mut both = [Generator::new(model.clone())?, Generator::new(model.clone())?];
            let mut salt = 0;
            if wanted(Part::Prefill) {
                let seconds = async |side: usize| {
                    salt += 1;
                    Ok(answer::once(&mut both[side], a, answer::options(1, 1), salt).await?[0].seconds.prefill)
                };
                turns.take(t, ("prefill_tokens_per_second", "prefill, tok/s"), seconds, |s| a.prompt_length as f64 / s).await?;
            }
            if wanted(Part::Decode) {
                let seconds = async |side: usize| {
                    salt += 1;
                    Ok(answer::once(&mut both[side], a, answer::options(1, a.new_tokens), salt).await?[0].seconds.decode)
                };
                turns.take(t, ("decode_tokens_per_second", "decode, tok/s"), seconds, |s| (a.new_tokens - 1) as f64 / s).await?;
            }
        }
        if wanted(Part::Lora) {
            let plans = [Lora::of(a, "a"), Lora::of(a, "b")];
            let mut both = [plans[0].trainer(model).await?, plans[1].trainer(model).await?];
            let name = format!("LoRA step, {} × {}, ms", a.lora_batch, a.lora_length);
            let seconds = async |side: usize| {
                let begin = clock::seconds();
                both[side].step().await?;
                Ok(clock::seconds() - begin)
            };
            turns.take(t, ("lora_step_ms", &name), seconds, |s| s * 1e3).await?;
            for (plan, trainer) in plans.iter().zip(both) {
                plan.forget(trainer, model);
            }
        }
    }
    if wanted(Part::Gpt) {
        let mut both = [GptBench::new(exec)?, GptBench::new(exec)?];
        let seconds = async |side: usize| {
            let begin = clock::seconds();
            both[side].step().await?;
            Ok(clock::seconds() - begin)
        };
        turns.take(t, ("gpt_step_ms", "GPT step, batch 8 × 128, ms"), seconds, |s| s * 1e3).await?;
    }
    if wanted(Part::Matmul) {
        let n = matmul::size(exec, a.matmul);
        let work = 2.0 * (n as f64).powi(3);
        let seconds = async |_: usize| Ok(work / measure::matmul(exec, n).await?);
        turns.take(t, ("matmul_gflops", &format!("matmul, {n}³ f32, GFLOP/s")), seconds, |s| work / s / 1e9).await?;
    }
    exec.check()?;
    let [a, b, ratio] = turns.out;
    t.put("against", json!({"kernels": list, "a": a, "b": b, "b_over_a": ratio}));
    Ok(())
}

struct Turns<'a> {
    gpu: &'a Gpu,
    sides: [Tuning; 2],
    /// Figures of A, of B, and their ratios.
    out: [Map<String, serde_json::Value>; 3],
}

impl Turns<'_> {
    /// One figure of both: medians of seconds, as `figure` makes of them.
    async fn take(
        &mut self,
        t: &Report,
        (key, name): (&str, &str),
        mut seconds: impl AsyncFnMut(usize) -> Result<f64>,
        figure: impl Fn(f64) -> f64,
    ) -> Result<()> {
        let mut found = [Samples::default(), Samples::default()];
        // The first of each records and compiles.
        let mut round = 0;
        while round == 0 || found.iter().any(Samples::wanted) {
            // Who begins changes, too.
            for side in [round % 2, 1 - round % 2] {
                *self.gpu.tuning().borrow_mut() = self.sides[side].clone();
                let s = seconds(side).await?;
                if round > 0 {
                    found[side].push(s);
                }
            }
            round += 1;
        }
        let [a, b] = found.map(|s| figure(s.median()));
        for (out, value) in self.out.iter_mut().zip([a, b, b / a]) {
            out.insert(key.into(), json!(value));
        }
        t.say(&format!("{name:<34}{a:>12.2}{b:>12.2}{:>9.3}", b / a));
        Ok(())
    }
}
