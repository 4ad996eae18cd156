//! The parts of a split GGUF as a loader meets them: all headers first, then the files one after another.
use std::sync::Arc;

use crate::formats::gguf::Parts;
use crate::formats::{Container, HeaderParser};
use crate::{Error, Result};

/// See the module.
#[derive(Default)]
pub(super) struct PartsInTurn {
    parts: Parts,
    /// The header that is being read.
    reading: Option<(String, HeaderParser)>,
    whole: Option<Arc<Container>>,
    /// Whose weights have come, by number.
    begun: Vec<bool>,
}

impl PartsInTurn {
    /// The next bytes of the beginning of file `name`; true where its header has come.
    pub(super) fn header(&mut self, name: &str, total: Option<u64>, bytes: &[u8]) -> Result<bool> {
        let (_, mut parser) = match self.reading.take().filter(|r| r.0 == name) {
            Some(reading) => reading,
            None => (name.to_string(), HeaderParser::new(name, total)),
        };
        match parser.push(bytes)?.1 {
            Some(container) => self.parts.add(container).map(|()| true),
            None => {
                self.reading = Some((name.to_string(), parser));
                Ok(false)
            }
        }
    }

    /// A part's file begins. Gives the whole model's metadata and tensors.
    pub(super) fn begin(&mut self, part: &Container) -> Result<Arc<Container>> {
        let Some(split) = part.split else { return Err(Error::file(&part.file, "is no part of a split GGUF")) };
        let bad = |why: String| Error::file(&part.file, format!("part {} of {}: {why}", split.no + 1, split.count));
        let whole = match &self.whole {
            Some(whole) => whole.clone(),
            None if self.parts.is_empty() => {
                return Err(bad(
                    "the headers of all parts must be known before the weights of one: give the loader the other files, too".into()
                ));
            }
            None => Arc::new(std::mem::take(&mut self.parts).whole()?),
        };
        self.whole = Some(whole.clone());
        self.begun.resize(split.count.max(self.begun.len()), false);
        if std::mem::replace(&mut self.begun[split.no], true) {
            return Err(bad("it is there twice".into()));
        }
        for t in &part.tensors {
            if whole.tensor(&t.name).is_none_or(|w| (w.dtype, &w.shape) != (t.dtype, &t.shape)) {
                return Err(bad(format!("tensor {:?} is not what the header said before", t.name)));
            }
        }
        Ok(whole)
    }

    /// All files have ended.
    pub(super) fn finish(&self, file: &str) -> Result<()> {
        match self.begun.iter().position(|b| !b) {
            Some(i) => Err(Error::file(file, format!("part {} of {} has not come", i + 1, self.begun.len()))),
            None => Ok(()),
        }
    }
}

/// The GGUF files of a model: of a file itself, or all parts where its name is that of one of several; of a folder without a `config.json` the one
/// model that it has. Nothing for other folders.
///
/// # Errors
/// [`Error::BadFile`] for a folder with several to choose from, [`Error::Io`].
#[cfg(not(target_arch = "wasm32"))]
pub fn gguf_files(path: &std::path::Path) -> Result<Option<Vec<std::path::PathBuf>>> {
    if path.is_dir() { in_folder(path) } else { Ok(Some(beside(path))) }
}

/// The files of the model that a GGUF belongs to: itself, or all parts where its name is that of one of several.
#[cfg(not(target_arch = "wasm32"))]
fn beside(path: &std::path::Path) -> Vec<std::path::PathBuf> {
    let names = path.file_name().and_then(|n| crate::formats::gguf::part_names(n.to_str()?));
    names.map_or_else(|| vec![path.to_path_buf()], |names| names.iter().map(|n| path.with_file_name(n)).collect())
}

/// The one GGUF of a folder, or the parts of the one that it has; nothing where it has a `config.json` or no GGUF.
///
/// # Errors
/// [`Error::BadFile`] where there are several to choose from.
#[cfg(not(target_arch = "wasm32"))]
fn in_folder(folder: &std::path::Path) -> Result<Option<Vec<std::path::PathBuf>>> {
    let io = |e: std::io::Error| Error::Io { path: folder.display().to_string(), message: e.to_string() };
    if folder.join("config.json").exists() {
        return Ok(None);
    }
    let mut models = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|e| e == "gguf") {
            models.insert(beside(&path));
        }
    }
    if models.len() > 1 {
        let names: Vec<String> = models.iter().filter_map(|m| Some(m[0].file_name()?.to_string_lossy().into_owned())).collect();
        return Err(Error::file(folder.display().to_string(), format!("holds several models: {}; name one of them", names.join(", "))));
    }
    Ok(models.pop_first())
}
