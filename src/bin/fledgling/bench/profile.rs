//! `--profile`: what each kernel takes and how near it comes to the peaks, and what is lost between them.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::learn::Lora;
use super::picture::Picture;
use super::report::Report;
use super::samples::ids;
use crate::args::{BenchArgs, Part};
use crate::files::mib;
use fledgling::Result;
use fledgling::adapters::LoadedModel;
use fledgling::generate::Generator;
use fledgling::graph::{Cost, Exec, Profile};
use fledgling::tune::GptBench;

/// Profiles what `wanted` asks for; `picture` collects what it shows.
pub async fn run(
    t: &mut Report,
    exec: &Exec,
    model: Option<&Rc<LoadedModel>>,
    a: &BenchArgs,
    wanted: impl Fn(Part) -> bool,
    picture: &mut Picture,
) -> Result<()> {
    let mut all = Map::new();
    let mut found = Vec::new();
    if let Some(model) = model.filter(|_| wanted(Part::Prefill) || wanted(Part::Decode)) {
        let mut g = Generator::new(model.clone())?;
        let (prefill, token) = g.profile(&ids(model.model.config().vocab_size, a.prompt_length, 3), 1).await?;
        if wanted(Part::Prefill) {
            found.push(("prefill", format!("prefill of {} tokens", a.prompt_length), prefill));
        }
        if wanted(Part::Decode) {
            found.push(("decode", "one decoded token".into(), token));
        }
    }
    if let Some(model) = model.filter(|_| wanted(Part::Lora)) {
        let lora = Lora::of(a, "bench");
        let mut trainer = lora.trainer(model).await?;
        found.push(("lora", format!("LoRA step, {} × {}", a.lora_batch, a.lora_length), trainer.profile().await?));
        lora.forget(trainer, model);
    }
    if wanted(Part::Gpt) {
        found.push(("gpt", "GPT step, batch 8 × 128".into(), GptBench::new(exec)?.profile().await?));
    }
    exec.check()?;
    for (key, title, profile) in found {
        all.insert(key.into(), table(t, &title, &profile));
        picture.add(&title, profile);
    }
    t.put("profile", Value::Object(all));
    Ok(())
}

/// Prints one and gives its object.
fn table(t: &Report, title: &str, profile: &Profile) -> Value {
    let peaks = t.number("fma_gflops").zip(t.number("copy_gbps")).map(|(fma, copy)| Cost { flops: fma * 1e9, bytes: copy * 1e9 });
    let inside = profile.kernels();
    t.say(&format!("\n{title}: {:.3} ms, {:.3} ms of it in kernels", profile.wall * 1e3, inside * 1e3));
    t.say("         ms      %  count    GFLOP/s (of peak)      GB/s (of copy)");
    for (kernel, k) in profile.by_kernel() {
        let rates = k.rates();
        let cell = |rate: f64, peak: Option<f64>| {
            let of = peak.map_or(String::new(), |p| format!("({:.1} %)", 100.0 * rate / p));
            if rate > 0.0 { format!("{:>10.1} {of:<9}", rate / 1e9) } else { " ".repeat(20) }
        };
        let (flops, bytes) = (cell(rates.flops, peaks.map(|p| p.flops)), cell(rates.bytes, peaks.map(|p| p.bytes)));
        t.say(&format!("{:>11.3}{:>7.1}{:>7} {flops}{bytes}  {kernel}", k.seconds * 1e3, 100.0 * k.seconds / inside, k.count));
    }
    let lost = profile.wall - inside;
    let note = if lost < 0.0 { " (less than nothing: timers cost more than the gaps)" } else { "" };
    t.say(&format!("between kernels {:.3} ms, {:.1} %{note}", lost * 1e3, 100.0 * lost / profile.wall));
    t.say(&format!(
        "{} dispatches, {} submits, {} buffers allocated; activations {} in {} slots ({} without reuse)",
        profile.dispatches,
        profile.submits,
        profile.allocations,
        mib(profile.layout.bytes()),
        profile.layout.slots.len(),
        mib(profile.layout.naive_bytes),
    ));
    profile.summary(peaks)
}
