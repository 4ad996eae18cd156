//! The incremental header parser: finds out the format from the first bytes and parses as they arrive.
use super::{Container, gguf, safetensors};
use crate::error::{Error, Result};
use crate::text::what_else;

enum State {
    /// Fewer than eight bytes so far.
    Unknown,
    Gguf(Box<gguf::Parser>),
    Safetensors(safetensors::Parser),
    Done,
}

/// Parses a header from bytes pushed in pieces of any size.
pub struct HeaderParser {
    file: String,
    total: Option<u64>,
    /// Bytes not yet parsed; the parsers consume whole items.
    buffer: Vec<u8>,
    /// Bytes of the file before `buffer`.
    consumed: u64,
    state: State,
}

/// So many bytes tell a web page or a pointer from a model.
const TOLD_BY: usize = 40;

/// Bytes looked at in one go, so that a large push does not copy tensor data into the header's buffer.
const PIECE: usize = 64 << 10;

impl HeaderParser {
    /// `file` is the name used in errors; `total` the file's size where it is known.
    pub fn new(file: impl Into<String>, total: Option<u64>) -> Self {
        HeaderParser { file: file.into(), total, buffer: Vec::new(), consumed: 0, state: State::Unknown }
    }

    /// Takes bytes. Returns how many of them belong to the header (all, until it is complete), and the container
    /// once it is.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(usize, Option<Container>)> {
        let mut taken = 0;
        for piece in bytes.chunks(PIECE) {
            self.buffer.extend_from_slice(piece);
            taken += piece.len();
            if let Some(container) = self.parse()? {
                // Before this piece the header was incomplete, so what is left over lies inside it.
                let rest = self.buffer.len();
                self.buffer = Vec::new();
                return Ok((taken - rest, Some(container)));
            }
        }
        Ok((taken, None))
    }

    /// The error for a file that is no model: what it is, where that can be told.
    fn other(&self, e: Error) -> Error {
        let json =
            matches!(self.buffer.trim_ascii_start(), [b'{' | b'[', ..]).then_some("is JSON text, expected a GGUF or safetensors file");
        what_else(&self.buffer).or(json).map_or(e, |what| Error::file(&self.file, what))
    }

    /// The error for a stream that ended inside the header.
    pub fn truncated(&self) -> Error {
        let have = self.consumed + self.buffer.len() as u64;
        if matches!(self.state, State::Unknown) {
            if let Some(what) = what_else(&self.buffer) {
                return Error::file(&self.file, what);
            }
            if let Some(Err(e)) = self.buffer.first_chunk::<8>().map(|s| safetensors::Parser::new(&self.file, self.total, *s)) {
                return self.other(e);
            }
        }
        let inside = match &self.state {
            State::Unknown => "the first 8 bytes".to_string(),
            State::Gguf(p) => p.position(),
            State::Safetensors(p) => p.position(),
            State::Done => "the data".to_string(),
        };
        Error::file(&self.file, format!("is cut short: it ends after {have} bytes, inside {inside}"))
    }

    fn parse(&mut self) -> Result<Option<Container>> {
        if let State::Unknown = self.state {
            let Some(start) = self.buffer.first_chunk::<8>() else { return Ok(None) };
            self.state = if start.starts_with(b"GGUF") {
                State::Gguf(Box::new(gguf::Parser::new(&self.file, self.total)))
            } else {
                match safetensors::Parser::new(&self.file, self.total, *start) {
                    Ok(parser) => State::Safetensors(parser),
                    // A few bytes more tell what it is in place of a model.
                    Err(_) if self.buffer.len() < TOLD_BY => return Ok(None),
                    Err(e) => return Err(self.other(e)),
                }
            };
        }
        let (used, container) = match &mut self.state {
            State::Gguf(p) => p.parse(&self.buffer, self.consumed)?,
            State::Safetensors(p) => p.parse(&self.buffer)?,
            State::Unknown | State::Done => (0, None),
        };
        self.buffer.drain(..used);
        self.consumed += used as u64;
        if container.is_some() {
            self.state = State::Done;
        }
        Ok(container)
    }
}

/// Parses the header of a file that is in memory as a whole.
pub(super) fn parse_all(file: &str, bytes: &[u8]) -> Result<Container> {
    let mut parser = HeaderParser::new(file, Some(bytes.len() as u64));
    match parser.push(bytes)? {
        (_, Some(container)) => Ok(container),
        (_, None) => Err(parser.truncated()),
    }
}

impl Container {
    /// Parses a file that is in memory as a whole; `file` is its name for messages.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Container> {
        parse_all(file, bytes)
    }
}
