//! `fledgling plan`: what a training will take in memory, and how it is made to fit.

use serde_json::Value;

use super::args::{Cli, PlanArgs};
use super::files::{self, mib};
use super::{load, settings};
use fledgling::Result;
use fledgling::adapters::LoadedModel;
use fledgling::data::RowFile;
use fledgling::models::LoadOptions;
use fledgling::tune::{MemoryPlan, PlanOptions, Training, check_config};

/// What the process may take where nobody says: all that the system would give it, where it tells.
fn available(model: &LoadedModel) -> Option<u64> {
    let exec = model.model.exec();
    exec.cpu()?;
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024 + exec.live_bytes())
}

/// The plan of a training by `method`, which has to fit into `memory` or into what there is.
///
/// # Errors
/// As [`Training::plan`].
pub async fn of(model: &LoadedModel, method: &str, config: &Value, rows: Option<&RowFile>, memory: Option<u64>) -> Result<MemoryPlan> {
    let options = PlanOptions { rows: rows.map(RowFile::rows), memory: memory.or_else(|| available(model)) };
    Training::plan(model, method, config, options).await.map_err(|e| match rows {
        Some(rows) => rows.place(e),
        None => e,
    })
}

pub async fn run(cli: &Cli, a: &PlanArgs) -> Result<()> {
    let config = Value::Object(settings::config(a.config.as_deref(), &a.fields)?);
    check_config(a.method, &config)?;
    let rows = a.data.as_ref().map(|path| RowFile::parse(&path.display().to_string(), &files::read_text(path)?)).transpose()?;
    // Weights that all learn are floats.
    let trainable = config.get("full") == Some(&Value::Bool(true));
    let options = LoadOptions { quantize: a.quantize, trainable, ..LoadOptions::default() };
    let load::Loaded { model, .. } = load::model(cli, &a.model, options, a.json).await?;
    if let Some(folder) = &a.init_adapter {
        load::adapter(&model, folder, settings::NAME)?;
    }
    let plan = of(&model, a.method, &config, rows.as_ref(), a.memory).await?;
    if a.json {
        say!("{}", serde_json::to_string(&plan).expect("numbers and texts"));
        return Ok(());
    }
    plan.notes.iter().for_each(|n| note!("{n}"));
    let line = |name: &str, value: String| say!("{name:<32}{value}");
    let b = &plan.bytes;
    line("device", format!("{} ({})", plan.device.name, plan.device.backend));
    for (name, value) in b.parts().into_iter().chain([("together, on the device", b.device), ("kept by the host", b.host)]) {
        line(name, mib(value));
    }
    if let Some(memory) = plan.memory {
        line("of", mib(memory));
    }
    line("largest buffer", mib(plan.largest_buffer));
    if let Some(most) = plan.limits.buffer() {
        line("of", mib(most));
    }
    let c = &plan.chosen;
    line("per_device_train_batch_size", c.per_device_train_batch_size.to_string());
    line("gradient_accumulation_steps", c.gradient_accumulation_steps.to_string());
    line("gradient_checkpointing", c.gradient_checkpointing.map_or_else(|| "where it is needed".into(), |b| b.to_string()));
    line("fp16", c.fp16.to_string());
    line("max_length", c.max_length.map_or_else(|| "the context".into(), |n| n.to_string()));
    line("largest pass", format!("{} tokens, {} judged", plan.tokens, plan.judged));
    line("updates", plan.total_steps.to_string());
    Ok(())
}
