//! Files whose errors name them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use fledgling::formats::{Container, HeaderParser};
pub use fledgling::text::mib;
use fledgling::{Error, Result};

/// An input/output error at `path`.
pub fn io(path: &Path, e: &std::io::Error) -> Error {
    Error::Io { path: path.display().to_string(), message: e.to_string() }
}

/// The bytes of a file; of standard input where it is called "-".
pub fn read(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(|e| io(Path::new("standard input"), &e))?;
        return Ok(bytes);
    }
    fs::read(path).map_err(|e| io(path, &e))
}

/// A text without the mark that some editors begin a file with.
pub fn read_text(path: &Path) -> Result<String> {
    fledgling::text::from_bytes(&path.display().to_string(), read(path)?)
}

/// Writes beside the file first, so that an interrupted write leaves what was there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, bytes).and_then(|()| fs::rename(&part, path)).map_err(|e| io(path, &e))
}

pub fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| io(path, &e))
}

/// The header of a GGUF or safetensors file, without its weights.
pub fn header(path: &Path) -> Result<Container> {
    let mut file = fs::File::open(path).map_err(|e| io(path, &e))?;
    let total = file.metadata().map_err(|e| io(path, &e))?.len();
    let mut parser = HeaderParser::new(path.display().to_string(), Some(total));
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer).map_err(|e| io(path, &e))?;
        if n == 0 {
            return Err(parser.truncated());
        }
        if let (_, Some(container)) = parser.push(&buffer[..n])? {
            return Ok(container);
        }
    }
}

/// Where measurements are remembered.
pub fn cache_dir() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("LOCALAPPDATA")).or_else(|| Some(set("HOME")?.join(".cache")))?;
    Some(base.join("fledgling"))
}
