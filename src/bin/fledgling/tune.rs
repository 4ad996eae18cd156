//! `fledgling tune`: LoRA by any method of the table.

use std::io::IsTerminal;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::args::{Cli, TuneArgs};
use super::files;
use super::load;
use super::tune_rhythm::Asked;
use fledgling::data::{Row, RowFile};
use fledgling::formats::peft::{CONFIG_NAME, WEIGHTS_NAME};
use fledgling::models::LoadOptions;
use fledgling::tune::methods::by_name;
use fledgling::tune::{StepMetrics, Training, check_config};
use fledgling::{Error, Result};

/// Name of the adapter while it is trained.
const NAME: &str = "default";
const CHECKPOINT: &str = "checkpoint.safetensors";

pub async fn run(cli: &Cli, a: &TuneArgs) -> Result<()> {
    // Everything that can be wrong is looked at before the model is loaded.
    let mut config = config(a)?;
    let asked = Asked::take(&mut config, a.save_steps);
    let config = Value::Object(config);
    check_config(a.method, &config)?;
    let data = a.data.display().to_string();
    let rows = RowFile::parse(&data, &files::read_text(&a.data)?)?;
    let kinds = by_name(a.method)?.rows.taught_by();
    for (i, row) in rows.rows().iter().enumerate() {
        Row::read(row, kinds).map_err(|fault| rows.place(fault.of_row(i)))?;
    }
    let checkpoint = a.resume_from_checkpoint.as_deref().map(files::read).transpose()?;
    files::make_folder(&a.out)?;
    let quiet = a.json;
    let load::Loaded { model, exec, .. } =
        load::model(cli, &a.model, LoadOptions { quantize: a.quantize, ..LoadOptions::default() }, quiet).await?;
    if let Some(folder) = &a.init_adapter {
        load::adapter(&model, folder, NAME)?;
    }
    let mut trainer = Training::new(&model, a.method, &config, rows.rows(), checkpoint.as_deref()).await.map_err(|e| rows.place(e))?;
    if !quiet {
        let on = exec.info();
        trainer.notes().iter().for_each(|n| note!("{n}"));
        note!("{} rows, {} updates, on {} ({})", rows.rows().len(), trainer.total_steps(), on.name, on.backend);
    }
    let bar = bar(trainer.total_steps(), trainer.steps(), quiet);
    let mut rhythm = asked.of(&trainer);
    let tell = |m: &StepMetrics| report(m, a.json, bar.as_ref());
    loop {
        match trainer.submit().await {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) => {
                // Updates before the one that failed have been made, and are reported.
                while let Ok(Some(m)) = trainer.report(true).await {
                    rhythm.report(m).iter().for_each(tell);
                }
                return Err(e);
            }
        }
        let save = rhythm.saves(trainer.steps());
        while let Some(m) = trainer.report(save).await? {
            rhythm.report(m).iter().for_each(tell);
        }
        if save {
            files::write(&a.out.join(CHECKPOINT), &trainer.checkpoint().await?)?;
        }
    }
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    let (config, weights) = model.adapters.save(trainer.adapter_name()).await?;
    files::write(&a.out.join(WEIGHTS_NAME), &weights)?;
    files::write(&a.out.join(CONFIG_NAME), config.as_bytes())?;
    if rhythm.keeps() {
        files::write(&a.out.join(CHECKPOINT), &trainer.checkpoint().await?)?;
    }
    if !quiet {
        note!("adapter saved in {}", a.out.display());
    }
    Ok(())
}

/// The configuration file with what the options say on top.
fn config(a: &TuneArgs) -> Result<Map<String, Value>> {
    let mut map = match &a.config {
        None => Map::new(),
        Some(path) => read_object(path)?,
    };
    map.insert("adapter_name".into(), json!(NAME));
    if a.fields.0.get("max_steps").is_some_and(|n| *n == 0) {
        return Err(Error::config("max_steps", "is 0, expected at least 1, or -1 for as many as the epochs give"));
    }
    map.extend(a.fields.0.clone());
    if a.no_shuffle {
        map.insert("shuffle".into(), json!(false));
    }
    Ok(map)
}

fn read_object(path: &Path) -> Result<Map<String, Value>> {
    let name = path.display().to_string();
    match serde_json::from_str(&files::read_text(path)?) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Error::file(name, "is not a JSON object")),
        Err(e) => Err(Error::file(name, format!("is not JSON: {e}"))),
    }
}

fn bar(total: u64, done: u64, quiet: bool) -> Option<ProgressBar> {
    (!quiet && std::io::stderr().is_terminal()).then(|| {
        let bar = ProgressBar::new(total).with_position(done);
        bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").expect("a fixed template"));
        bar
    })
}

fn report(m: &StepMetrics, json: bool, bar: Option<&ProgressBar>) {
    if json {
        say!("{}", serde_json::to_string(m).expect("numbers"));
        return;
    }
    let mut text = format!("loss {:.4}  grad_norm {:.3}  learning_rate {:.2e}", m.metrics.loss(), m.grad_norm, m.learning_rate);
    for (name, value) in m.metrics.iter().skip(1) {
        text += &format!("  {name} {value:.4}");
    }
    text += &format!("  {:.1} tok/s  {:.0} s left", m.tokens_per_second, m.seconds_left);
    match bar {
        Some(bar) => {
            bar.set_position(m.step);
            bar.set_message(text);
        }
        None => say!("step {}/{}  {text}", m.step, m.total_steps),
    }
}
