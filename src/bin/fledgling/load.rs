//! Opens the device, loads a model with progress, adds adapters.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::args::Cli;
use super::files;
use super::model_args::MaskArgs;
use fledgling::adapters::LoadedModel;
use fledgling::clock;
use fledgling::cpu::CpuOptions;
use fledgling::data::Mask;
use fledgling::device::{self, DeviceChoice, DeviceOptions};
use fledgling::formats::peft::{CONFIG_NAME, PeftAdapter, WEIGHTS_NAME};
use fledgling::gpu::{Gpu, GpuOptions};
use fledgling::graph::Exec;
use fledgling::models::LoadOptions;
use fledgling::{Error, Result};

/// A model, its device, and how long loading took.
pub struct Loaded {
    pub model: LoadedModel,
    pub exec: Exec,
    pub seconds: f64,
}

/// The device that the options name.
pub async fn device(cli: &Cli) -> Result<Exec> {
    let options = DeviceOptions {
        device: cli.device,
        cpu: CpuOptions { threads: cli.threads },
        gpu: GpuOptions { without: cli.without.clone(), kernels: cli.kernels.clone(), adapter: cli.gpu.clone(), ..GpuOptions::default() },
    };
    let note = |key: &str| files::cache_dir().map(|d| d.join(format!("tuning-{key}.json")));
    let chosen = device::open(&options, Gpu::with(&options.gpu), |key| std::fs::read_to_string(note(key)?).ok()).await?;
    if let (Some((key, measured)), None) = (&chosen.measured, &cli.kernels)
        && let Some(file) = note(key)
    {
        // What cannot be remembered is measured again.
        let _ = file.parent().map(std::fs::create_dir_all);
        let _ = std::fs::write(file, measured);
    }
    if cli.device == DeviceChoice::Auto {
        note!("fledgling: on {}: {}", chosen.exec.info().name, chosen.why);
    }
    Ok(chosen.exec)
}

/// Loads a model; a bar on a terminal, unless `quiet`.
pub async fn model(cli: &Cli, path: &Path, options: LoadOptions, quiet: bool) -> Result<Loaded> {
    if !path.exists() {
        return Err(Error::Io { path: path.display().to_string(), message: "there is no such file or folder".into() });
    }
    let exec = device(cli).await?;
    let begin = clock::seconds();
    let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
        let bar = ProgressBar::new(0);
        bar.set_style(ProgressStyle::with_template("loading {bar:30} {bytes}/{total_bytes} {bytes_per_sec}").expect("a fixed template"));
        bar
    });
    let mut progress = |done: u64, total: u64| {
        if let Some(bar) = &bar {
            bar.set_length(total);
            bar.set_position(done);
        }
    };
    let model = LoadedModel::load(&exec, path, options, &mut progress).await?;
    // Written bytes are on the device when the queue is empty.
    exec.flush();
    exec.done().await?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(Loaded { model, exec, seconds: clock::seconds() - begin })
}

/// The adapter of a PEFT folder.
pub fn read_adapter(folder: &Path) -> Result<PeftAdapter> {
    if !folder.is_dir() {
        return Err(Error::Io { path: folder.display().to_string(), message: "there is no such folder".into() });
    }
    let config = files::read_text(&folder.join(CONFIG_NAME))?;
    let weights = files::read(&folder.join(WEIGHTS_NAME))?;
    PeftAdapter::read(&config, &weights)
}

/// The mask that is asked for, else that of the first of some adapters that says one.
pub fn mask<'a>(asked: &MaskArgs, mut folders: impl Iterator<Item = &'a PathBuf>) -> Result<Mask> {
    if let Some(mask) = asked.mask {
        return Ok(mask);
    }
    let said = |folder: &PathBuf| read_adapter(folder)?.config().mask().parse::<Mask>();
    folders.try_fold(Mask::Causal, |mask, folder| Ok(if mask == Mask::Causal { said(folder)? } else { mask }))
}

/// Adds the adapter of a PEFT folder under `name`.
pub fn adapter(model: &LoadedModel, folder: &Path, name: &str) -> Result<()> {
    model.adapters.add(name, &read_adapter(folder)?)?;
    Ok(())
}

/// What an adapter is called: its folder's name.
pub fn name_of(folder: &Path) -> String {
    let name = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    name.file_name().map_or_else(|| "adapter".to_string(), |n| n.to_string_lossy().into_owned())
}

/// As [`adapter`], and makes it the active one. Its name is the folder's.
pub fn activate(model: &LoadedModel, folder: Option<&Path>) -> Result<Option<String>> {
    let Some(folder) = folder else { return Ok(None) };
    let name = name_of(folder);
    adapter(model, folder, &name)?;
    model.adapters.set_active(Some(&name))?;
    Ok(Some(name))
}
