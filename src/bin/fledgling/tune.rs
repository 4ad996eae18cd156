//! `fledgling tune`: LoRA by any method of the table.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

use super::args::{Cli, TuneArgs};
use super::files;
use super::settings::{NAME, config};
use super::tune_rhythm::Asked;
use super::{interrupt, load, plan};
use fledgling::adapters::LoadedModel;
use fledgling::data::{Mask, Row, RowFile, RowKind, Source};
use fledgling::formats::peft::{CONFIG_NAME, WEIGHTS_NAME};
use fledgling::models::{FolderExport, LoadOptions, folder_files};
use fledgling::tune::methods::by_name;
use fledgling::tune::rewards::LearnedReward;
use fledgling::tune::rounds::Recorder;
use fledgling::tune::{EvalMetrics, Sources, StepMetrics, Training, check_config};
use fledgling::{Error, Result};

/// Of the reward model that a critic starts from, and the folder in OUT that a critic is saved in.
const CRITIC: &str = "critic";
/// Of the reward model that judges.
const REWARD_MODEL: &str = "reward_model";
const CHECKPOINT: &str = "checkpoint.safetensors";

pub async fn run(cli: &Cli, a: &TuneArgs) -> Result<()> {
    // Everything that can be wrong is looked at before the model is loaded.
    let mut config = config(a.config.as_deref(), &a.fields)?;
    if let Some(kind) = a.peft {
        config.insert("peft_type".into(), json!(kind));
    }
    if a.no_shuffle {
        config.insert("shuffle".into(), json!(false));
    }
    // A field of PPO, which says a name; here it is a folder.
    let critic = config.get("init_critic").and_then(Value::as_str).map(PathBuf::from);
    if critic.is_some() {
        config.insert("init_critic".into(), json!(CRITIC));
    }
    let asked = Asked::take(&mut config, a.save_steps);
    let mut config = Value::Object(config);
    check_config(a.method, &config)?;
    let rows = rows_of(a, &a.data)?;
    let held = a.eval_data.as_deref().map(|path| rows_of(a, path)).transpose()?;
    let full = config.get("full") == Some(&json!(true));
    if full && a.init_adapter.is_some() {
        return Err(Error::config("init_adapter", "is an adapter, and full has all weights learn: merge it first"));
    }
    if full && a.quantize.is_some() {
        return Err(Error::config("full", "has all weights learn, which those in blocks cannot (--quantize)"));
    }
    let folder = if full { folder_files(&a.model)? } else { None };
    if full && folder.is_none() {
        return Err(Error::config("full", "needs a folder as Transformers writes it (--model DIR): as such the model is written again"));
    }
    let mut judges = super::reward::judges(&a.reward, &a.reward_command, a.reward_timeout)?;
    let recorder = a.rollouts.as_deref().map(|path| recorder(path, a.resume_from_checkpoint.is_some())).transpose()?;
    let checkpoint = a.resume_from_checkpoint.as_deref().map(files::read).transpose()?;
    if a.gradients.is_none() {
        files::make_folder(&a.out)?;
    }
    let quiet = a.json;
    let mut mask = load::mask(&a.mask, a.init_adapter.iter())?;
    if a.mask.mask.is_none() && rows.rows().iter().any(|row| row.get("prefix_length").is_some_and(|n| !n.is_null())) {
        mask = Mask::Prefix;
    }
    let load::Loaded { model, exec, .. } =
        load::model(cli, &a.model, LoadOptions { quantize: a.quantize, trainable: full, mask, ..LoadOptions::default() }, quiet).await?;
    let export = match &folder {
        Some((_, weights)) => {
            let headers = weights.iter().map(|w| files::header(w)).collect::<Result<Vec<_>>>()?;
            Some(FolderExport::new(&model.model, &headers)?)
        }
        None => None,
    };
    if let Some(folder) = &a.init_adapter {
        load::adapter(&model, folder, NAME)?;
    }
    if let Some(folder) = &a.reward_model {
        load::adapter(&model, folder, REWARD_MODEL)?;
        judges.push(Box::new(LearnedReward::new(&model, REWARD_MODEL)?));
    }
    if let Some(folder) = &critic {
        load::adapter(&model, folder, CRITIC)?;
    }
    if let Some(memory) = a.memory {
        let plan = plan::of(&model, a.method, &config, Some(&rows), Some(memory)).await?;
        note!("{} of {} planned", files::mib(plan.total()), files::mib(memory));
        // The training says the others itself.
        plan.notes.iter().filter(|n| n.starts_with("to fit")).for_each(|n| note!("{n}"));
        config = plan.config;
    }
    let both = (rows.rows(), held.as_ref().map(RowFile::rows));
    let sources = Sources { judges, recorder, stop: Some(Box::new(interrupt::asked)) };
    let trainer = Training::with(&model, a.method, &config, both, checkpoint.as_deref(), sources).await;
    let mut trainer = trainer.map_err(|e| match (e, &held) {
        (Error::BadEvalRow { row, message }, Some(held)) => held.place(Error::BadRow { row, message }),
        (e, _) => rows.place(e),
    })?;
    trainer.notes().iter().for_each(|n| note!("{n}"));
    if !quiet {
        let on = exec.info();
        note!("{} rows, {} updates, on {} ({})", rows.rows().len(), trainer.total_steps(), on.name, on.backend);
    }
    if let Some(file) = &a.gradients {
        let bytes = trainer.gradients().await?;
        files::write(file, &bytes)?;
        match a.json {
            true => say!("{}", json!({"event": "gradients", "step": trainer.steps() + 1, "file": file, "bytes": bytes.len()})),
            false => note!("gradients of update {} in {}", trainer.steps() + 1, file.display()),
        }
        return Ok(());
    }
    let bar = bar(trainer.total_steps(), trainer.steps(), quiet);
    let mut rhythm = asked.of(&trainer);
    let names: Vec<&str> = by_name(a.method)?.all_metrics().map(|m| m.name).collect();
    let tell = |m: &StepMetrics| report(m, a.json.then_some(names.as_slice()), bar.as_ref());
    interrupt::watch("stopping behind this update (Ctrl-C again: at once, and nothing is saved)");
    let (mut stopped, mut written) = (false, 0);
    loop {
        let before = trainer.steps();
        match trainer.submit().await {
            Ok(true) => {}
            Ok(false) => break,
            // In the middle of a round that was sampled: it is given up.
            Err(Error::Aborted) if interrupt::asked() => {
                stopped = true;
                break;
            }
            Err(e) => {
                // Updates before the one that failed have been made, and are reported.
                while let Ok(Some(m)) = trainer.report(true).await {
                    rhythm.report(m).iter().for_each(tell);
                }
                if matches!(e, Error::BadReward { .. }) {
                    // What was learned is not lost for a judge that failed.
                    save(&model, &mut trainer, a).await?;
                    note!(
                        "stopped by a judge behind update {}; to go on:\n  {}",
                        trainer.steps(),
                        go_on(std::env::args(), &a.out.join(CHECKPOINT))
                    );
                }
                return Err(e);
            }
        }
        // An evaluation goes on between two updates.
        let save = trainer.steps() > before && rhythm.saves(trainer.steps());
        while let Some(m) = trainer.report(save).await? {
            rhythm.report(m).iter().for_each(tell);
        }
        while let Some(found) = trainer.evaluation() {
            evaluated(&found, a.json);
        }
        if save {
            files::write(&a.out.join(CHECKPOINT), &trainer.checkpoint().await?)?;
        }
        if let Some(folder) = &a.keep_rounds {
            written = keep(&trainer, folder, written)?;
        }
        if interrupt::asked() && trainer.steps() < trainer.total_steps() {
            while let Some(m) = trainer.report(true).await? {
                rhythm.report(m).iter().for_each(tell);
            }
            stopped = true;
            break;
        }
    }
    interrupt::unwatch();
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    // What the last evaluation gave is told where the run ends, too.
    while let Some(m) = trainer.report(true).await? {
        rhythm.report(m).iter().for_each(tell);
    }
    if let Some(folder) = &a.keep_rounds {
        keep(&trainer, folder, written)?;
    }
    if let Some(reason) = trainer.stopped().filter(|_| !quiet) {
        note!("{reason}");
    }
    match export.zip(folder) {
        Some((export, (texts, _))) => {
            files::write(&a.out.join("model.safetensors"), &export.weights(&model.model).await?)?;
            for (name, text) in texts.iter().filter(|t| !t.0.ends_with(".index.json")) {
                let text = if name == "config.json" { FolderExport::config(text)? } else { text.clone() };
                files::write(&a.out.join(name), text.as_bytes())?;
            }
        }
        None => save_adapter(&model, &trainer, a).await?,
    }
    if rhythm.keeps() || stopped {
        files::write(&a.out.join(CHECKPOINT), &trainer.checkpoint().await?)?;
    }
    let (done, total) = (trainer.steps(), trainer.total_steps());
    let checkpoint = (rhythm.keeps() || stopped).then(|| a.out.join(CHECKPOINT));
    if a.json {
        let mut end =
            json!({"event": "end", "step": done, "total_steps": total, "interrupted": stopped, "adapter": a.out, "checkpoint": checkpoint});
        if full {
            end["model"] = std::mem::take(&mut end["adapter"]);
        }
        if by_name(a.method)?.rows == RowKind::Rollout {
            end["stopped"] = json!(trainer.stopped());
        }
        if held.is_some() || trainer.best().is_some() {
            end["stopped_early"] = json!(trainer.stopped_early());
            end["best"] = json!(trainer.best());
        }
        say!("{end}");
    } else {
        if trainer.stopped_early() {
            note!(
                "stopped behind update {done} of {total}: no evaluation was better than the best for as many as early_stopping_patience says"
            );
        }
        if let Some(best) = trainer.best() {
            let whose = if best.loaded { "it is the one that is saved" } else { "the last one is saved" };
            note!("best behind update {}: {} {:.4}; {whose}", best.step, best.metric, best.value);
        }
        note!("{} saved in {}", if full { "model" } else { "adapter" }, a.out.display());
    }
    if stopped {
        note!("stopped behind update {done} of {total}; to go on:\n  {}", go_on(std::env::args(), &a.out.join(CHECKPOINT)));
        return Err(Error::Aborted);
    }
    Ok(())
}

/// The rows of a file, each of a kind that the method learns from.
fn rows_of(a: &TuneArgs, path: &Path) -> Result<RowFile> {
    let name = path.display().to_string();
    let rows = RowFile::of(&name, &files::read_text(path)?, Source { columns: &a.columns })?;
    let kinds = by_name(a.method)?.rows.taught_by();
    for (i, row) in rows.rows().iter().enumerate() {
        Row::read(row, kinds).map_err(|fault| rows.place(fault.of_row(i)))?;
    }
    if !rows.left_out().is_empty() {
        note!("columns of {name} that are left out: {}", rows.left_out().join(", "));
    }
    Ok(rows)
}

/// What held-out rows gave.
fn evaluated(m: &EvalMetrics, json: bool) {
    let Ok(Value::Object(values)) = serde_json::to_value(m) else { return };
    if json {
        let mut record = Map::new();
        record.insert("event".into(), json!("evaluation"));
        record.extend(values);
        return say!("{}", Value::Object(record));
    }
    let mut text = format!("evaluation behind update {}:", m.step);
    for (name, value) in m.metrics.iter() {
        text += &format!("  eval_{name} {value:.4}");
    }
    let best = if m.best == Some(true) { "  (the best so far)" } else { "" };
    say!("{text}{best}");
}

/// The adapter as it is.
async fn save_adapter(model: &LoadedModel, trainer: &Training, a: &TuneArgs) -> Result<()> {
    save_named(model, trainer.adapter_name(), &a.out).await?;
    let Some(name) = trainer.critic_name() else { return Ok(()) };
    let folder = a.out.join(CRITIC);
    files::make_folder(&folder)?;
    save_named(model, &name, &folder).await
}

/// An adapter as a PEFT folder.
async fn save_named(model: &LoadedModel, name: &str, folder: &Path) -> Result<()> {
    let (config, weights) = model.adapters.save(name).await?;
    files::write(&folder.join(WEIGHTS_NAME), &weights)?;
    files::write(&folder.join(CONFIG_NAME), config.as_bytes())
}

/// The same with a checkpoint.
async fn save(model: &LoadedModel, trainer: &mut Training, a: &TuneArgs) -> Result<()> {
    if model.adapters.config(trainer.adapter_name()).is_some() {
        save_adapter(model, trainer, a).await?;
    }
    files::write(&a.out.join(CHECKPOINT), &trainer.checkpoint().await?)
}

/// Writes the adapters of rounds that have not been written yet; gives how many there are.
fn keep(trainer: &Training, folder: &Path, written: usize) -> Result<usize> {
    let rounds = trainer.kept_rounds();
    for number in &rounds[written..] {
        let Some(adapter) = trainer.round(*number) else { continue };
        let folder = folder.join(format!("round-{number}"));
        files::make_folder(&folder)?;
        let (config, weights) = adapter.write()?;
        files::write(&folder.join(WEIGHTS_NAME), &weights)?;
        files::write(&folder.join(CONFIG_NAME), config.as_bytes())?;
    }
    Ok(rounds.len())
}

/// Writes rounds to a file as they come; a resumed training goes on behind what is there.
fn recorder(path: &Path, append: bool) -> Result<Recorder> {
    let failed = |e: std::io::Error, path: &Path| Error::Io { path: path.display().to_string(), message: e.to_string() };
    let open = std::fs::OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(path);
    let mut file = open.map_err(|e| failed(e, path))?;
    let path = path.to_path_buf();
    Ok(Box::new(move |rows| {
        let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
        file.write_all(text.as_bytes()).and_then(|()| file.flush()).map_err(|e| failed(e, &path))
    }))
}

/// The command that goes on from a checkpoint: the one that was given, but for where it began.
fn go_on(args: impl Iterator<Item = String>, checkpoint: &Path) -> String {
    let quoted = |s: &str| {
        let plain = !s.is_empty() && s.chars().all(|c| c.is_alphanumeric() || "-_./=,:+@%".contains(c));
        if plain { s.to_string() } else { format!("'{}'", s.replace('\'', "'\\''")) }
    };
    let (mut out, mut skip) = (Vec::new(), false);
    for arg in args {
        let begins = |name: &str| arg == name || arg.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        if begins("--resume-from-checkpoint") || begins("--init-adapter") {
            skip = !arg.contains('=');
        } else if !std::mem::take(&mut skip) {
            out.push(quoted(&arg));
        }
    }
    out.push("--resume-from-checkpoint".into());
    out.push(quoted(&checkpoint.display().to_string()));
    out.join(" ")
}

fn bar(total: u64, done: u64, quiet: bool) -> Option<ProgressBar> {
    (!quiet && std::io::stderr().is_terminal()).then(|| {
        let bar = ProgressBar::new(total).with_position(done);
        bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").expect("a fixed template"));
        bar
    })
}

/// `json`: the names that every record has, for those who read JSON.
fn report(m: &StepMetrics, json: Option<&[&str]>, bar: Option<&ProgressBar>) {
    if let Some(names) = json {
        let mut record = Map::new();
        record.insert("event".into(), json!("step"));
        if let Ok(Value::Object(values)) = serde_json::to_value(m) {
            record.extend(values);
        }
        for name in names {
            record.entry(*name).or_insert(Value::Null);
        }
        say!("{}", Value::Object(record));
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
