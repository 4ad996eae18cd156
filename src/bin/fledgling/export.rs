//! `fledgling export`: what continues a training elsewhere.

use serde_json::{Value, json};

use super::args::{ExportArgs, Format};
use super::{files, load, settings};
use fledgling::data::RowFile;
use fledgling::tune::check_config;
use fledgling::tune::onward::{self, Onward};
use fledgling::{Error, Result};

pub fn run(a: &ExportArgs) -> Result<()> {
    let Format::Trl = a.to;
    let config = Value::Object(settings::config(a.config.as_deref(), &a.fields)?);
    check_config(a.method, &config)?;
    let rows = RowFile::parse(&a.data.display().to_string(), &files::read_text(&a.data)?)?;
    let read = |folder: &std::path::Path| load::read_adapter(folder)?.into_lora("an export to TRL");
    let adapter = read(&a.adapter)?;
    let init = a.init_adapter.as_deref().map(read).transpose()?;
    let checkpoint = a.checkpoint.as_deref().map(files::read).transpose()?;
    // A path means something wherever the script stands.
    let path = a.model.as_deref().map(|m| m.canonicalize().map_err(|e| files::io(m, &e))).transpose()?;
    let named = adapter.config.base_model_name_or_path.clone().filter(|n| !n.is_empty());
    let model = path.map(|p| p.display().to_string()).or(named);
    let from = Onward {
        method: a.method,
        args: &config,
        rows: rows.rows(),
        adapter: &adapter,
        init: init.as_ref(),
        checkpoint: checkpoint.as_deref(),
        model: model.as_deref(),
    };
    let all = onward::files(&from).map_err(|e| rows.place(e))?;
    for (name, bytes) in &all {
        let path = a.out.join(name);
        files::make_folder(path.parent().ok_or_else(|| Error::file(name, "has no folder"))?)?;
        files::write(&path, bytes)?;
    }
    if a.json {
        say!("{}", json!({"out": a.out, "files": all.iter().map(|f| &f.0).collect::<Vec<_>>(), "model": model}));
    } else {
        note!("{} in {}", all.iter().map(|f| f.0.as_str()).collect::<Vec<_>>().join(", "), a.out.display());
    }
    Ok(())
}
