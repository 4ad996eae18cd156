//! `fledgling quantize`: a GGUF with its float matrices in blocks, from a GGUF or from a folder as Transformers writes it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::QuantizeArgs;
use super::files::{self, mib};
use fledgling::formats::gguf::{Layout, layout};
use fledgling::formats::{Container, TensorInfo};
use fledgling::models::{GgufExport, GgufQuantize, folder_files};
use fledgling::{Error, Result};

/// Bytes of rows in memory, about.
const PIECE: usize = 4 << 20;

pub fn run(a: &QuantizeArgs) -> Result<()> {
    let folder = folder_files(&a.model)?;
    let (before, layout) = match folder {
        Some((texts, weights)) => from_folder(a, &texts, &weights)?,
        None => from_gguf(a)?,
    };
    let mut types: BTreeMap<&str, u64> = BTreeMap::new();
    layout.tensors.iter().for_each(|t| *types.entry(t.dtype.name()).or_default() += 1);
    if a.json {
        say!("{}", json!({"out": a.out, "bytes": layout.total_bytes, "tensors": types}));
    } else {
        let types: Vec<String> = types.iter().map(|(name, n)| format!("{n} {name}")).collect();
        let (before, after) = (mib(before), mib(layout.total_bytes));
        eprintln!("{}: {before} are now {after} in {}", types.join(", "), a.out.display());
    }
    Ok(())
}

fn from_gguf(a: &QuantizeArgs) -> Result<(u64, Layout)> {
    let container = files::header(&a.model)?;
    let quantize = GgufQuantize::new(&container, a.quantization)?;
    let layout = layout(&quantize.metadata(), &quantize.tensors())?;
    let mut from = open(&a.model)?;
    let mut out = Out::create(&a.out, &layout)?;
    for (i, t) in container.tensors.iter().enumerate() {
        out.tensor(&layout.tensors[i])?;
        each_piece(&mut from, &a.model, t, 1, &mut |old| out.put(&quantize.rows(i, old)?))?;
    }
    out.finish(&layout)?;
    Ok((container.total_bytes, layout))
}

fn from_folder(a: &QuantizeArgs, texts: &HashMap<String, String>, weights: &[PathBuf]) -> Result<(u64, Layout)> {
    let headers = weights.iter().map(|w| files::header(w)).collect::<Result<Vec<Container>>>()?;
    let named = a.model.canonicalize().ok().and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned()));
    let export = GgufExport::new(texts, &headers, &named.unwrap_or_else(|| "model".into()), Some(a.quantization))?;
    export.warnings.iter().for_each(|w| eprintln!("warning: {w}"));
    let layout = export.layout().clone();
    let mut inputs = weights.iter().map(|w| open(w)).collect::<Result<Vec<_>>>()?;
    let mut out = Out::create(&a.out, &layout)?;
    for (i, t) in export.tensors().iter().enumerate() {
        out.tensor(&layout.tensors[i])?;
        if let Some(bytes) = export.known(i) {
            out.put(&bytes)?;
        }
        for (file, tensor) in t.parts() {
            let info = &headers[*file].tensors[*tensor];
            each_piece(&mut inputs[*file], &weights[*file], info, t.group(), &mut |old| out.put(&export.rows(i, old)?))?;
        }
    }
    out.finish(&layout)?;
    Ok((headers.iter().map(|h| h.total_bytes).sum(), layout))
}

fn open(path: &Path) -> Result<fs::File> {
    fs::File::open(path).map_err(|e| files::io(path, &e))
}

/// Hands over the bytes of a tensor in pieces of whole groups of rows.
fn each_piece(from: &mut fs::File, path: &Path, t: &TensorInfo, group: usize, on: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    from.seek(SeekFrom::Start(t.offset)).map_err(|e| files::io(path, &e))?;
    let unit = t.row_bytes().max(1) as usize * group;
    let (mut left, mut old) = (t.bytes as usize, Vec::new());
    while left > 0 {
        old.resize(left.min((PIECE / unit).max(1) * unit), 0);
        from.read_exact(&mut old).map_err(|e| files::io(path, &e))?;
        on(&old)?;
        left -= old.len();
    }
    Ok(())
}

/// The new file. It is written beside its place first, so that an interrupted run leaves what was there.
struct Out {
    path: PathBuf,
    part: PathBuf,
    to: BufWriter<fs::File>,
    at: u64,
}

impl Out {
    fn create(path: &Path, layout: &Layout) -> Result<Out> {
        let part = path.with_extension("part");
        let to = BufWriter::new(fs::File::create(&part).map_err(|e| files::io(&part, &e))?);
        let mut out = Out { path: path.to_path_buf(), part, to, at: 0 };
        out.put(&layout.header)?;
        Ok(out)
    }

    /// Goes to where a tensor begins.
    fn tensor(&mut self, t: &TensorInfo) -> Result<()> {
        self.pad(t.offset)
    }

    fn pad(&mut self, to: u64) -> Result<()> {
        let gap = to.checked_sub(self.at).ok_or_else(|| Error::file(self.path.display().to_string(), "a tensor came out too long"))?;
        self.put(&vec![0; gap as usize])
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.at += bytes.len() as u64;
        self.to.write_all(bytes).map_err(|e| files::io(&self.part, &e))
    }

    fn finish(mut self, layout: &Layout) -> Result<()> {
        self.pad(layout.total_bytes)?;
        self.to.flush().map_err(|e| files::io(&self.part, &e))?;
        drop(self.to);
        fs::rename(&self.part, &self.path).map_err(|e| files::io(&self.path, &e))
    }
}
