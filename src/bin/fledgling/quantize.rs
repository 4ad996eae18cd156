//! `fledgling quantize`: a GGUF with its float matrices in blocks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};

use serde_json::json;

use super::args::QuantizeArgs;
use super::files::{self, mib};
use fledgling::formats::gguf::layout;
use fledgling::models::GgufQuantize;
use fledgling::{Error, Result};

/// Bytes of rows in memory, about.
const PIECE: usize = 4 << 20;

pub fn run(a: &QuantizeArgs) -> Result<()> {
    if a.model.is_dir() {
        let why = "is a folder: only GGUF files are written; a folder of safetensors is quantized while it is loaded (--quantize), or converted \
            first by llama.cpp's convert_hf_to_gguf.py";
        return Err(Error::file(a.model.display().to_string(), why));
    }
    let container = files::header(&a.model)?;
    let quantize = GgufQuantize::new(&container, a.dtype)?;
    let layout = layout(&quantize.metadata(), &quantize.tensors())?;
    // Beside the file first, so that an interrupted run leaves what was there.
    let part = a.out.with_extension("part");
    let error = |e: std::io::Error| files::io(&part, &e);
    let mut from = fs::File::open(&a.model).map_err(|e| files::io(&a.model, &e))?;
    let mut to = BufWriter::new(fs::File::create(&part).map_err(error)?);
    to.write_all(&layout.header).map_err(error)?;
    let mut at = layout.header.len() as u64;
    let mut types: BTreeMap<&str, u64> = BTreeMap::new();
    for (i, (t, new)) in container.tensors.iter().zip(&layout.tensors).enumerate() {
        to.write_all(&vec![0; (new.offset - at) as usize]).map_err(error)?;
        from.seek(SeekFrom::Start(t.offset)).map_err(|e| files::io(&a.model, &e))?;
        let row = t.row_bytes().max(1) as usize;
        let (mut left, mut old) = (t.bytes as usize, Vec::new());
        while left > 0 {
            old.resize(left.min((PIECE / row).max(1) * row), 0);
            from.read_exact(&mut old).map_err(|e| files::io(&a.model, &e))?;
            to.write_all(&quantize.rows(i, &old)?).map_err(error)?;
            left -= old.len();
        }
        at = new.end();
        *types.entry(new.dtype.name()).or_default() += 1;
    }
    to.write_all(&vec![0; (layout.total_bytes - at) as usize]).and_then(|()| to.flush()).map_err(error)?;
    drop(to);
    fs::rename(&part, &a.out).map_err(|e| files::io(&a.out, &e))?;
    if a.json {
        say!("{}", json!({"out": a.out, "bytes": layout.total_bytes, "tensors": types}));
    } else {
        let types: Vec<String> = types.iter().map(|(name, n)| format!("{n} {name}")).collect();
        let (before, after) = (mib(container.total_bytes), mib(layout.total_bytes));
        eprintln!("{}: {before} are now {after} in {}", types.join(", "), a.out.display());
    }
    Ok(())
}
