//! Tensor bytes as they arrive: whole rows where rows are small, whole blocks otherwise, at most ~1 MiB held back.
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Container, ContainerKind, HeaderParser, TensorInfo};
use crate::error::{Error, Result};

/// What a [`StreamReader`] reports while bytes are pushed.
pub enum Event<'a> {
    /// The header is complete. Returning an error stops the stream.
    Header(&'a Arc<Container>),
    /// Bytes of tensor number `tensor` from byte `offset` inside it on: a multiple of [`unit`](StreamReader::unit)
    /// bytes, except at the tensor's end. Tensors come in file order, each from its first byte to its last.
    Chunk { tensor: usize, offset: u64, bytes: &'a [u8] },
}

/// What a finished stream was.
#[derive(Clone, Debug)]
pub struct Summary {
    pub container: Arc<Container>,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file in lower-case hexadecimal, if it was asked for.
    pub sha256: Option<String>,
}

/// Largest chunk unit; more than this is never held back.
const MAX_UNIT: u64 = 1 << 20;

/// Reads a model file from bytes pushed in pieces of any size.
pub struct StreamReader {
    parser: HeaderParser,
    container: Option<Arc<Container>>,
    /// Indices of the tensors with bytes, in file order, and how many of them are done.
    order: Vec<usize>,
    done: usize,
    /// Bytes of the current tensor already delivered.
    delivered: u64,
    /// The start of a unit whose end has not come yet.
    carry: Vec<u8>,
    /// Bytes pushed so far.
    position: u64,
    total: Option<u64>,
    hash: Option<Sha256>,
}

impl StreamReader {
    /// `file` is the name used in errors, `total` its size where known (a wrong claim in the header is then found
    /// before anything is loaded).
    pub fn new(file: impl Into<String>, total: Option<u64>) -> Self {
        StreamReader {
            parser: HeaderParser::new(file, total),
            container: None,
            order: Vec::new(),
            done: 0,
            delivered: 0,
            carry: Vec::new(),
            position: 0,
            total,
            hash: None,
        }
    }

    /// Also computes the file's SHA-256.
    pub fn with_sha256(mut self) -> Self {
        self.hash = Some(Sha256::new());
        self
    }

    /// The container, once the header has come.
    pub fn container(&self) -> Option<&Arc<Container>> {
        self.container.as_ref()
    }

    /// Bytes pushed so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Chunks of a tensor are multiples of this many bytes (but for its end): whole rows up to 1 MiB, otherwise whole
    /// blocks; always a multiple of 4 because GPU buffers are written in words.
    pub fn unit(t: &TensorInfo) -> u64 {
        let words = |bytes: u64| if bytes.is_multiple_of(4) { bytes } else { bytes * if bytes.is_multiple_of(2) { 2 } else { 4 } };
        let row = words(t.row_bytes().max(1));
        if row <= MAX_UNIT { row } else { words(t.dtype.block_bytes() as u64) }
    }

    /// Takes the next bytes of the file and reports what they complete. An error of `on` or of the file ends the
    /// stream: the reader must not be pushed to again.
    pub fn push(&mut self, bytes: &[u8], on: &mut dyn FnMut(Event) -> Result<()>) -> Result<()> {
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        let mut rest = bytes;
        if self.container.is_none() {
            let (used, container) = self.parser.push(bytes)?;
            self.position += used as u64;
            rest = &bytes[used..];
            let Some(container) = container else { return Ok(()) };
            let mut order: Vec<usize> = (0..container.tensors.len()).filter(|&i| container.tensors[i].bytes > 0).collect();
            order.sort_by_key(|&i| container.tensors[i].offset);
            self.order = order;
            let container = Arc::new(container);
            self.container = Some(container.clone());
            on(Event::Header(&container))?;
        }
        let container = self.container.clone().expect("set above");
        while !rest.is_empty() {
            let Some(&tensor) = self.order.get(self.done) else {
                self.position += rest.len() as u64;
                break;
            };
            let t = &container.tensors[tensor];
            if self.position < t.offset {
                let skip = (t.offset - self.position).min(rest.len() as u64);
                self.position += skip;
                rest = &rest[skip as usize..];
                continue;
            }
            let n = (t.end() - self.position).min(rest.len() as u64) as usize;
            self.position += n as u64;
            self.deliver(tensor, t, &rest[..n], on)?;
            rest = &rest[n..];
            if self.position == t.end() {
                self.done += 1;
                self.delivered = 0;
            }
        }
        Ok(())
    }

    /// Passes on bytes of the current tensor in whole units.
    fn deliver(&mut self, tensor: usize, t: &TensorInfo, mut bytes: &[u8], on: &mut dyn FnMut(Event) -> Result<()>) -> Result<()> {
        let unit = Self::unit(t) as usize;
        let mut emit = |delivered: &mut u64, bytes: &[u8]| {
            let offset = *delivered;
            *delivered += bytes.len() as u64;
            on(Event::Chunk { tensor, offset, bytes })
        };
        if !self.carry.is_empty() {
            let left = (t.bytes - self.delivered) as usize - self.carry.len();
            let n = (unit - self.carry.len()).min(left).min(bytes.len());
            self.carry.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.carry.len() == unit || n == left {
                let carry = std::mem::take(&mut self.carry);
                emit(&mut self.delivered, &carry)?;
                self.carry = carry;
                self.carry.clear();
            }
        }
        let last = self.delivered + self.carry.len() as u64 + bytes.len() as u64 == t.bytes;
        let whole = if last { bytes.len() } else { bytes.len() - bytes.len() % unit };
        if whole > 0 {
            emit(&mut self.delivered, &bytes[..whole])?;
        }
        self.carry.extend_from_slice(&bytes[whole..]);
        Ok(())
    }

    /// The stream has ended: everything must have come.
    pub fn finish(self) -> Result<Summary> {
        let Some(container) = self.container else { return Err(self.parser.truncated()) };
        if self.position < container.total_bytes {
            let inside = match self.order.get(self.done) {
                Some(&i) => format!("before the end of tensor {:?}", container.tensors[i].name),
                None => "in data of a skipped tensor".to_string(),
            };
            return Err(Error::file(
                &container.file,
                format!("is cut short: {} of {} bytes, {inside}", self.position, container.total_bytes),
            ));
        }
        if container.kind == ContainerKind::Safetensors && self.position > container.total_bytes {
            let have = self.position;
            return Err(Error::file(&container.file, format!("has {have} bytes, its header describes {}", container.total_bytes)));
        }
        if let Some(total) = self.total.filter(|&t| t != self.position) {
            return Err(Error::file(&container.file, format!("ended after {} bytes, expected {total}", self.position)));
        }
        let sha256 = self.hash.map(|h| h.finalize().iter().map(|b| format!("{b:02x}")).collect());
        Ok(Summary { container, bytes: self.position, sha256 })
    }
}
