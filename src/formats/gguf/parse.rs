//! The GGUF header, item by item: a key with its value, a run of array elements, a tensor's description.
use super::super::container::checked_shape;
use super::super::{
    Array, Container, ContainerKind, Foreign, MAX_HEADER_BYTES, MAX_KEYS, MAX_NAME_BYTES, MAX_STRING_BYTES, MAX_TENSORS, Metadata, Nested,
    StrArray, TensorInfo, Value,
};
use super::{DEFAULT_ALIGNMENT, other_name, split};
use crate::error::{Error, Result};
use crate::tensor::Stored;

/// A view of the unparsed bytes; `None` from any read means that more bytes are needed.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let out = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(out)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

enum Stage {
    Start,
    Keys,
    /// In the middle of an array of `left` more elements.
    Elements {
        key: String,
        left: u64,
        array: Array,
    },
    Tensors,
    Done,
}

/// What a tensor's entry says, kept until the data section's start is known.
struct Entry {
    info: TensorInfo,
    relative: u64,
}

pub(in crate::formats) struct Parser {
    file: String,
    /// The smaller of the header limit and the file's size: nothing in the header can reach beyond it.
    limit: u64,
    total: Option<u64>,
    stage: Stage,
    version: u32,
    keys_left: u64,
    tensors_left: u64,
    metadata: Metadata,
    tensors: Vec<Entry>,
    /// Tensors of types that no kernel reads.
    skipped: Vec<Foreign>,
}

/// Levels of arrays in arrays.
const MAX_DEPTH: usize = 4;
/// An array inside an array is looked at again when more of it has come, so it may not be large.
const MAX_INNER_BYTES: usize = 1 << 20;

/// Bytes of one element of a metadata type; strings count their length field, arrays type and length.
fn element_bytes(ty: u32) -> Option<u64> {
    Some(match ty {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        // An array's type and length.
        9 => 12,
        _ => return None,
    })
}

impl Parser {
    pub(in crate::formats) fn new(file: &str, total: Option<u64>) -> Self {
        Parser {
            file: file.to_string(),
            limit: total.unwrap_or(u64::MAX).min(MAX_HEADER_BYTES),
            total,
            stage: Stage::Start,
            version: 0,
            keys_left: 0,
            tensors_left: 0,
            metadata: Metadata::new(file),
            tensors: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// Where parsing stands, for the message about a file that is cut short.
    pub(in crate::formats) fn position(&self) -> String {
        match &self.stage {
            Stage::Start => "the GGUF header's first 24 bytes".into(),
            Stage::Keys => format!("metadata, with {} keys still to come", self.keys_left),
            Stage::Elements { key, left, .. } => format!("metadata {key:?}, with {left} elements still to come"),
            Stage::Tensors => format!("the tensor table, with {} tensors still to come", self.tensors_left),
            Stage::Done => "the data".into(),
        }
    }

    fn bad(&self, message: impl Into<String>) -> Error {
        Error::file(&self.file, message)
    }

    /// Parses whole items of `bytes`, whose first byte is byte `base` of the file. Returns the bytes used.
    pub(in crate::formats) fn parse(&mut self, bytes: &[u8], base: u64) -> Result<(usize, Option<Container>)> {
        let mut cur = Cursor { bytes, at: 0 };
        loop {
            // An item that is not there as a whole is parsed again from its start when more bytes have come; only
            // runs of array elements are kept in part.
            let start = cur.at;
            let whole = match &mut self.stage {
                Stage::Start => self.start(&mut cur)?,
                Stage::Keys if self.keys_left == 0 => {
                    self.stage = Stage::Tensors;
                    true
                }
                Stage::Keys => self.key(&mut cur, base)?.is_some(),
                Stage::Elements { .. } => {
                    if !self.elements(&mut cur, base)? {
                        return Ok((cur.at, None));
                    }
                    true
                }
                Stage::Tensors if self.tensors_left == 0 => {
                    self.stage = Stage::Done;
                    return self.finish(base + cur.at as u64).map(|c| (cur.at, Some(c)));
                }
                Stage::Tensors => self.tensor(&mut cur, base)?.is_some(),
                Stage::Done => return Ok((cur.at, None)),
            };
            if base + cur.at as u64 > MAX_HEADER_BYTES {
                return Err(self.bad(format!("its header is larger than {} MiB", MAX_HEADER_BYTES >> 20)));
            }
            if !whole {
                return Ok((start, None));
            }
        }
    }

    fn start(&mut self, cur: &mut Cursor) -> Result<bool> {
        let Some(b) = cur.array::<24>() else { return Ok(false) };
        let version = u32::from_le_bytes([b[4], b[5], b[6], b[7]]);
        let long = |i: usize| u64::from_le_bytes(b[i..i + 8].try_into().expect("8 bytes"));
        let (tensors, keys) = (long(8), long(16));
        match version {
            2 | 3 => {}
            _ if version & 0xffff == 0 => return Err(self.bad("is a big-endian GGUF; only little-endian is supported")),
            _ => return Err(self.bad(format!("is GGUF version {version}; versions 2 and 3 are supported"))),
        }
        if tensors > MAX_TENSORS {
            return Err(self.bad(format!("claims {tensors} tensors, at most {MAX_TENSORS} are supported")));
        }
        if keys > MAX_KEYS {
            return Err(self.bad(format!("claims {keys} metadata keys, at most {MAX_KEYS} are supported")));
        }
        // An entry of either table has at least 13 bytes, so a small file cannot hold many.
        if (tensors + keys) * 13 > self.limit {
            return Err(self.bad(format!("claims {keys} keys and {tensors} tensors in {} bytes", self.limit)));
        }
        (self.version, self.tensors_left, self.keys_left) = (version, tensors, keys);
        self.stage = Stage::Keys;
        Ok(true)
    }

    /// A length-prefixed UTF-8 string of at most `max` bytes; `what` names it in errors.
    fn string<'a>(&self, cur: &mut Cursor<'a>, base: u64, max: u64, what: impl Fn() -> String) -> Result<Option<&'a str>> {
        let Some(len) = cur.u64() else { return Ok(None) };
        if len > max {
            return Err(self.bad(format!("{} claims {len} bytes, at most {max} are supported", what())));
        }
        let left = self.limit.saturating_sub(base + cur.at as u64);
        if len > left {
            return Err(self.bad(format!("{} claims {len} bytes, only {left} are left in the header", what())));
        }
        let Some(bytes) = cur.take(len as usize) else { return Ok(None) };
        match std::str::from_utf8(bytes) {
            Ok(s) => Ok(Some(s)),
            Err(e) => Err(self.bad(format!("{} is not UTF-8 (byte {} of {len})", what(), e.valid_up_to()))),
        }
    }

    fn key(&mut self, cur: &mut Cursor, base: u64) -> Result<Option<()>> {
        let what = || format!("a metadata key ({} to come)", self.keys_left);
        let Some(key) = self.string(cur, base, MAX_NAME_BYTES, what)? else { return Ok(None) };
        if self.metadata.get(key).is_some() {
            return Err(self.bad(format!("metadata {key:?} occurs twice")));
        }
        let Some(ty) = cur.u32() else { return Ok(None) };
        macro_rules! scalar {
            ($t:ident, $variant:ident) => {
                match cur.array() {
                    Some(b) => Value::$variant($t::from_le_bytes(b)),
                    None => return Ok(None),
                }
            };
        }
        let value = match ty {
            0 => scalar!(u8, U8),
            1 => scalar!(i8, I8),
            2 => scalar!(u16, U16),
            3 => scalar!(i16, I16),
            4 => scalar!(u32, U32),
            5 => scalar!(i32, I32),
            6 => scalar!(f32, F32),
            7 => match cur.array::<1>() {
                Some([b @ 0..=1]) => Value::Bool(b == 1),
                Some([b]) => return Err(self.bad(format!("metadata {key:?} is a bool of {b}, expected 0 or 1"))),
                None => return Ok(None),
            },
            8 => match self.string(cur, base, MAX_STRING_BYTES, || format!("metadata {key:?}"))? {
                Some(s) => Value::String(s.to_string()),
                None => return Ok(None),
            },
            9 => {
                let (Some(ty), Some(left)) = (cur.u32(), cur.u64()) else { return Ok(None) };
                let (array, each) = self.empty_array(key, ty)?;
                let room = self.limit.saturating_sub(base + cur.at as u64);
                if left.checked_mul(each).is_none_or(|bytes| bytes > room) {
                    return Err(self.bad(format!(
                        "metadata {key:?} claims {left} elements of at least {each} bytes, only {room} bytes are left in \
                         the header"
                    )));
                }
                self.stage = Stage::Elements { key: key.to_string(), left, array };
                return Ok(Some(()));
            }
            10 => scalar!(u64, U64),
            11 => scalar!(i64, I64),
            12 => scalar!(f64, F64),
            _ => return Err(self.bad(format!("metadata {key:?} has value type {ty}, expected 0 to 12"))),
        };
        self.metadata.insert(key, value);
        self.keys_left -= 1;
        Ok(Some(()))
    }

    fn empty_array(&self, key: &str, ty: u32) -> Result<(Array, u64)> {
        let array = match ty {
            0 => Array::U8(vec![]),
            1 => Array::I8(vec![]),
            2 => Array::U16(vec![]),
            3 => Array::I16(vec![]),
            4 => Array::U32(vec![]),
            5 => Array::I32(vec![]),
            6 => Array::F32(vec![]),
            7 => Array::Bool(vec![]),
            8 => Array::String(StrArray::default()),
            9 => Array::Nested(Nested::default()),
            10 => Array::U64(vec![]),
            11 => Array::I64(vec![]),
            12 => Array::F64(vec![]),
            _ => return Err(self.bad(format!("metadata {key:?} has element type {ty}, expected 0 to 12"))),
        };
        Ok((array, element_bytes(ty).expect("checked above")))
    }

    /// As many elements of the current array as the bytes hold.
    fn elements(&mut self, cur: &mut Cursor, base: u64) -> Result<bool> {
        let Stage::Elements { key, mut left, mut array } = std::mem::replace(&mut self.stage, Stage::Done) else {
            unreachable!("called in this stage only")
        };
        macro_rules! numbers {
            ($v:ident, $t:ident) => {{
                const N: usize = size_of::<$t>();
                let n = left.min(((cur.bytes.len() - cur.at) / N) as u64);
                let bytes = cur.take(n as usize * N).expect("n elements are there");
                $v.extend(bytes.chunks_exact(N).map(|b| $t::from_le_bytes(b.try_into().expect("N bytes"))));
                left -= n;
            }};
        }
        match &mut array {
            Array::U8(v) => numbers!(v, u8),
            Array::I8(v) => numbers!(v, i8),
            Array::U16(v) => numbers!(v, u16),
            Array::I16(v) => numbers!(v, i16),
            Array::U32(v) => numbers!(v, u32),
            Array::I32(v) => numbers!(v, i32),
            Array::F32(v) => numbers!(v, f32),
            Array::U64(v) => numbers!(v, u64),
            Array::I64(v) => numbers!(v, i64),
            Array::F64(v) => numbers!(v, f64),
            Array::Nested(v) => {
                while left > 0 {
                    let start = cur.at;
                    if !self.inner(cur, base, &key, 1)? {
                        if cur.bytes.len() - start > MAX_INNER_BYTES {
                            return Err(self.bad(format!("metadata {key:?}[{}] has more than {MAX_INNER_BYTES} bytes", v.len())));
                        }
                        cur.at = start;
                        break;
                    }
                    v.push(&cur.bytes[start..cur.at]);
                    left -= 1;
                }
            }
            Array::Bool(v) => {
                let n = left.min((cur.bytes.len() - cur.at) as u64);
                for b in cur.take(n as usize).expect("n bytes are there") {
                    if *b > 1 {
                        return Err(self.bad(format!("metadata {key:?} has a bool of {b}, expected 0 or 1")));
                    }
                    v.push(*b == 1);
                }
                left -= n;
            }
            Array::String(v) => {
                while left > 0 {
                    let start = cur.at;
                    let what = || format!("metadata {key:?}[{}]", v.len());
                    match self.string(cur, base, MAX_STRING_BYTES, what)? {
                        Some(s) => v.push(s),
                        None => {
                            cur.at = start;
                            break;
                        }
                    }
                    left -= 1;
                }
            }
        }
        if left > 0 {
            self.stage = Stage::Elements { key, left, array };
            return Ok(false);
        }
        self.metadata.insert(key, Value::Array(array));
        self.keys_left -= 1;
        self.stage = Stage::Keys;
        Ok(true)
    }

    /// Steps over an array inside an array; false where bytes are still to come.
    fn inner(&self, cur: &mut Cursor, base: u64, key: &str, depth: usize) -> Result<bool> {
        let (Some(ty), Some(count)) = (cur.u32(), cur.u64()) else { return Ok(false) };
        let each =
            element_bytes(ty).ok_or_else(|| self.bad(format!("metadata {key:?} has an inner array of type {ty}, expected 0 to 12")))?;
        let room = self.limit.saturating_sub(base + cur.at as u64);
        let Some(bytes) = count.checked_mul(each).filter(|bytes| *bytes <= room) else {
            return Err(
                self.bad(format!("metadata {key:?} has an inner array of {count} elements, only {room} bytes are left in the header"))
            );
        };
        if ty == 9 && depth == MAX_DEPTH {
            return Err(self.bad(format!("metadata {key:?} is an array more than {MAX_DEPTH} levels deep")));
        }
        match ty {
            8 => {
                for _ in 0..count {
                    if self.string(cur, base, MAX_STRING_BYTES, || format!("metadata {key:?}"))?.is_none() {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            9 => {
                for _ in 0..count {
                    if !self.inner(cur, base, key, depth + 1)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => Ok(cur.take(bytes as usize).is_some()),
        }
    }

    fn tensor(&mut self, cur: &mut Cursor, base: u64) -> Result<Option<()>> {
        let what = || format!("a tensor's name ({} to come)", self.tensors_left);
        let Some(name) = self.string(cur, base, MAX_NAME_BYTES, what)? else { return Ok(None) };
        let Some(n) = cur.u32() else { return Ok(None) };
        if n == 0 || n > 4 {
            return Err(self.bad(format!("tensor {name:?} has {n} dimensions, expected 1 to 4")));
        }
        let Some(raw) = cur.take(n as usize * 8) else { return Ok(None) };
        let (Some(ty), Some(relative)) = (cur.u32(), cur.u64()) else { return Ok(None) };
        let mut dims: Vec<u64> = raw.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("8 bytes"))).collect();
        dims.reverse();
        if dims.contains(&0) {
            return Err(self.bad(format!("tensor {name:?} has an empty dimension in {dims:?}")));
        }
        let Some(dtype) = Stored::of_ggml(ty).map(|s| s.dtype) else {
            // Whether anybody needs it is found out later: tensors that no model asks for are in many files.
            self.skipped.push(Foreign { name: name.into(), dtype: other_name(ty), shape: dims });
            self.tensors_left -= 1;
            return Ok(Some(()));
        };
        let (shape, bytes) = checked_shape(&self.file, name, dtype, &dims)?;
        self.tensors.push(Entry { info: TensorInfo { name: name.into(), dtype, shape, offset: 0, bytes }, relative });
        self.tensors_left -= 1;
        Ok(Some(()))
    }

    /// All entries are there: place the tensors. `header` is the number of header bytes.
    fn finish(&mut self, header: u64) -> Result<Container> {
        let alignment = self.metadata.opt_u64("general.alignment")?.unwrap_or(DEFAULT_ALIGNMENT);
        if !alignment.is_power_of_two() || !(8..=1 << 20).contains(&alignment) {
            return Err(self.bad(format!("general.alignment is {alignment}, expected a power of two from 8 to 2^20")));
        }
        let split = split::of(&self.metadata)?;
        let data_start = header.next_multiple_of(alignment);
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for Entry { mut info, relative } in std::mem::take(&mut self.tensors) {
            if relative % alignment != 0 {
                return Err(self.bad(format!("tensor {:?} is at offset {relative}, expected a multiple of {alignment}", info.name)));
            }
            let place = data_start.checked_add(relative).filter(|o| o.checked_add(info.bytes).is_some());
            info.offset = place.ok_or_else(|| self.bad(format!("tensor {:?} is at offset {relative}, beyond any file", info.name)))?;
            tensors.push(info);
        }
        let kind = ContainerKind::Gguf { version: self.version };
        // A file without tensors need not be padded.
        let data = if tensors.is_empty() { header..header } else { data_start..data_start };
        let metadata = std::mem::take(&mut self.metadata);
        let skipped = std::mem::take(&mut self.skipped);
        let mut container = Container::new(&self.file, kind, metadata, tensors, skipped, data, self.total)?;
        container.split = split;
        Ok(container)
    }
}
