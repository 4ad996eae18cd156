//! `--profile`: what each kernel takes and how near it comes to the peaks, and what is lost between them.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::ids;
use super::learn;
use super::picture::Picture;
use super::report::Report;
use crate::args::{BenchArgs, Part};
use crate::files::mib;
use fledgling::Result;
use fledgling::generate::Generator;
use fledgling::graph::{Cost, Exec, Profile};
use fledgling::models::LoadedModel;
use fledgling::tune::GptBench;

/// All dispatches of one kernel.
#[derive(Default)]
struct Kernel {
    count: usize,
    seconds: f64,
    cost: Cost,
}

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
        let mut trainer = learn::trainer(model, a).await?;
        found.push(("lora", format!("LoRA step, {} × {}", a.lora_batch, a.lora_length), trainer.profile().await?));
        learn::forget(trainer, model);
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
    let mut by: BTreeMap<&str, Kernel> = BTreeMap::new();
    for d in &profile.timed {
        let e = by.entry(&d.kernel).or_default();
        e.count += 1;
        e.seconds += d.seconds;
        e.cost = e.cost + d.cost;
    }
    let mut rows: Vec<_> = by.into_iter().collect();
    rows.sort_by(|a, b| b.1.seconds.total_cmp(&a.1.seconds));
    let (inside, peaks) = (profile.kernels(), (t.number("fma_gflops"), t.number("copy_gbps")));
    let share = |rate: f64, peak: Option<f64>| peak.map(|p| rate / 1e9 / p);
    t.say(&format!("\n{title}: {:.3} ms, {:.3} ms of it in kernels", profile.wall * 1e3, inside * 1e3));
    t.say("         ms      %  count    GFLOP/s (of peak)      GB/s (of copy)");
    let mut kernels = Vec::new();
    for (kernel, k) in rows {
        let (flops, bytes) = (k.cost.flops / k.seconds, k.cost.bytes / k.seconds);
        let cell = |rate: f64, peak: Option<f64>| {
            let of = share(rate, peak).map_or(String::new(), |s| format!("({:.1} %)", 100.0 * s));
            if rate > 0.0 { format!("{:>10.1} {of:<9}", rate / 1e9) } else { " ".repeat(20) }
        };
        let percent = 100.0 * k.seconds / inside;
        t.say(&format!("{:>11.3}{percent:>7.1}{:>7} {}{}  {kernel}", k.seconds * 1e3, k.count, cell(flops, peaks.0), cell(bytes, peaks.1)));
        kernels.push(json!({
            "kernel": kernel, "count": k.count, "ms": k.seconds * 1e3, "gflops": flops / 1e9, "gbps": bytes / 1e9,
            "fma_fraction": share(flops, peaks.0), "copy_fraction": share(bytes, peaks.1),
        }));
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
    json!({
        "wall_ms": profile.wall * 1e3, "kernels_ms": inside * 1e3, "between_ms": lost * 1e3, "dispatches": profile.dispatches,
        "submits": profile.submits, "allocations": profile.allocations, "slots": profile.layout.slots.len(),
        "slot_bytes": profile.layout.bytes(), "slot_bytes_without_reuse": profile.layout.naive_bytes, "kernels": kernels,
    })
}
