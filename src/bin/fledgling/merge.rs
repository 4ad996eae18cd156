//! `fledgling merge`: a GGUF with an adapter added to its weights.

use std::fs;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};

use serde_json::json;

use super::args::MergeArgs;
use super::files::{self, mib};
use super::load;
use fledgling::Result;
use fledgling::formats::gguf::layout;
use fledgling::models::GgufMerge;

pub fn run(a: &MergeArgs) -> Result<()> {
    let container = files::header(&a.model)?;
    let adapter = load::read_adapter(&a.adapter)?.into_lora("merged into the weights")?;
    let merge = GgufMerge::new(&container, &adapter)?;
    let layout = layout(&container.metadata, &merge.tensors())?;
    // Beside the file first, so that an interrupted merge leaves what was there.
    let part = a.out.with_extension("part");
    let error = |e: std::io::Error| files::io(&part, &e);
    let mut from = fs::File::open(&a.model).map_err(|e| files::io(&a.model, &e))?;
    let mut to = BufWriter::new(fs::File::create(&part).map_err(error)?);
    to.write_all(&layout.header).map_err(error)?;
    let mut at = layout.header.len() as u64;
    let mut old = Vec::new();
    for (i, (t, new)) in container.tensors.iter().zip(&layout.tensors).enumerate() {
        old.resize(t.bytes as usize, 0);
        from.seek(SeekFrom::Start(t.offset)).and_then(|_| from.read_exact(&mut old)).map_err(|e| files::io(&a.model, &e))?;
        let bytes = merge.bytes(i, &old)?;
        to.write_all(&vec![0; (new.offset - at) as usize]).and_then(|()| to.write_all(&bytes)).map_err(error)?;
        at = new.offset + bytes.len() as u64;
    }
    to.write_all(&vec![0; (layout.total_bytes - at) as usize]).and_then(|()| to.flush()).map_err(error)?;
    drop(to);
    fs::rename(&part, &a.out).map_err(|e| files::io(&a.out, &e))?;
    let changed = container.tensors.iter().zip(&layout.tensors).filter(|(t, new)| t.dtype != new.dtype).count();
    if a.json {
        let modules: Vec<&str> = adapter.pairs.iter().map(|p| p.target.module.as_str()).collect();
        say!("{}", json!({"out": a.out, "bytes": layout.total_bytes, "merged": modules, "widened_to_f16": changed}));
    } else {
        let n = adapter.pairs.len();
        eprintln!("{n} modules merged, {changed} quantized tensors now F16; {} in {}", mib(layout.total_bytes), a.out.display());
    }
    Ok(())
}
