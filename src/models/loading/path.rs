//! Loading from a disk.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use super::loaded::Loaded;
use super::loader::{LoadOptions, ModelLoader};
use super::parts::gguf_files;
use crate::graph::Exec;
use crate::models::SENTENCE_FILES;
use crate::{Error, Result};

/// Loads a GGUF file (of a split one: any part, the others lie beside it, or the folder of them), or a Hugging Face folder (`config.json`,
/// `tokenizer.json`, `model.safetensors` or its index), or a safetensors file inside one. `progress` is told bytes done and bytes in all.
///
/// # Errors
/// [`Error::Io`], and those of [`ModelLoader`].
pub async fn load_path(exec: &Exec, path: &Path, options: LoadOptions, progress: &mut dyn FnMut(u64, u64)) -> Result<Loaded> {
    let mut loader = ModelLoader::new(exec, options);
    let files = match folder_files(path)? {
        Some((texts, files)) => {
            texts.into_iter().for_each(|(name, text)| loader.add_text(&name, text));
            files
        }
        None => gguf_files(path)?.unwrap_or_else(|| vec![path.to_path_buf()]),
    };
    let size = |p: &PathBuf| std::fs::metadata(p).map(|m| m.len()).map_err(|e| io(p, e));
    let total = files.iter().map(size).sum::<Result<u64>>()?;
    let mut done = 0;
    let mut buffer = vec![0; 1 << 20];
    let named = |f: &Path| f.file_name().map_or_else(|| f.display().to_string(), |n| n.to_string_lossy().into_owned());
    if files.len() > 1 && files[0].extension().is_some_and(|e| e == "gguf") {
        for f in &files {
            let mut input = std::fs::File::open(f).map_err(|e| io(f, e))?;
            // A file that ends in its header is found out when it is read as a whole.
            loop {
                let n = input.read(&mut buffer).map_err(|e| io(f, e))?;
                if n == 0 || loader.header(&named(f), Some(size(f)?), &buffer[..n])? {
                    break;
                }
            }
        }
    }
    for f in &files {
        let mut input = std::fs::File::open(f).map_err(|e| io(f, e))?;
        loader.begin_file(&named(f), Some(size(f)?))?;
        loop {
            let n = input.read(&mut buffer).map_err(|e| io(f, e))?;
            if n == 0 {
                break;
            }
            loader.push(&buffer[..n])?;
            done += n as u64;
            progress(done, total);
        }
        loader.end_file()?;
    }
    loader.finish().await
}

fn io(p: &Path, e: std::io::Error) -> Error {
    Error::Io { path: p.display().to_string(), message: e.to_string() }
}

/// Texts by name, and paths of weight files.
pub type FolderFiles = (HashMap<String, String>, Vec<PathBuf>);

/// The texts and the weight files of a Hugging Face folder, or of the one that a safetensors file lies in; none for a GGUF and for a folder of them.
///
/// # Errors
/// [`Error::Io`], [`Error::BadFile`] for an index that cannot be used.
pub fn folder_files(path: &Path) -> Result<Option<FolderFiles>> {
    let is_dir = std::fs::metadata(path).map_err(|e| io(path, e))?.is_dir();
    let safetensors = path.extension().is_some_and(|e| e == "safetensors");
    let Some(folder) = (if is_dir { Some(path) } else { path.parent().filter(|_| safetensors) }) else { return Ok(None) };
    let mut texts = HashMap::new();
    for name in SIDE_FILES.into_iter().chain(SENTENCE_FILES) {
        let side = folder.join(name);
        match std::fs::read(&side) {
            Ok(bytes) => _ = texts.insert(name.to_string(), crate::text::from_bytes(&side.display().to_string(), bytes)?),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(io(&side, e)),
        }
    }
    if !is_dir {
        return Ok(Some((texts, vec![path.to_path_buf()])));
    }
    let files = match texts.get(INDEX) {
        Some(text) => crate::formats::ShardIndex::parse(INDEX, text)?.files().iter().map(|f| folder.join(f)).collect(),
        None if gguf_files(folder)?.is_some() => return Ok(None),
        None => vec![folder.join("model.safetensors")],
    };
    Ok(Some((texts, files)))
}

const INDEX: &str = "model.safetensors.index.json";

/// What a Hugging Face folder has beside its weights.
const SIDE_FILES: [&str; 7] =
    ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "vocab.txt", INDEX];
