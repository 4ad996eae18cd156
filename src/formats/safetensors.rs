//! safetensors: header parser and writer.
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value as Json, json};

use super::container::checked_shape;
use super::{Container, ContainerKind, Foreign, MAX_HEADER_BYTES, MAX_NAME_BYTES, MAX_TENSORS, Metadata, TensorInfo, Value};
use crate::error::{Error, Result};
use crate::tensor::{DType, Stored};

pub(super) struct Parser {
    file: String,
    total: Option<u64>,
    /// Bytes of the JSON header.
    json: u64,
}

/// The header's entries in order, duplicates kept so that they can be refused.
struct Entries(Vec<(String, Json)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Entries;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut out = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    out.push(entry);
                }
                Ok(Entries(out))
            }
        }
        d.deserialize_map(V)
    }
}

impl Parser {
    /// `start` are the first eight bytes: the header's length.
    pub(super) fn new(file: &str, total: Option<u64>, start: [u8; 8]) -> Result<Self> {
        let json = u64::from_le_bytes(start);
        let printable = start.map(|b| if b.is_ascii_graphic() { b as char } else { '.' });
        if !(2..=MAX_HEADER_BYTES).contains(&json) {
            return Err(Error::file(
                file,
                format!("is neither GGUF nor safetensors: it starts with {:?}", printable.iter().collect::<String>()),
            ));
        }
        if let Some(have) = total.filter(|&have| have < 8 + json) {
            return Err(Error::file(file, format!("claims a header of {json} bytes, the file has {have}")));
        }
        Ok(Parser { file: file.to_string(), total, json })
    }

    pub(super) fn position(&self) -> String {
        format!("the header of {} bytes", self.json)
    }

    fn bad(&self, message: impl Into<String>) -> Error {
        Error::file(&self.file, message)
    }

    pub(super) fn parse(&self, bytes: &[u8]) -> Result<(usize, Option<Container>)> {
        let end = 8 + self.json as usize;
        let Some(text) = bytes.get(8..end) else { return Ok((0, None)) };
        if text[0] != b'{' {
            return Err(self.bad(format!("is neither GGUF nor safetensors: its header starts with byte {}", text[0])));
        }
        let Entries(entries) = serde_json::from_slice(text).map_err(|e| self.bad(format!("its header is not valid JSON: {e}")))?;
        if entries.len() as u64 > MAX_TENSORS {
            return Err(self.bad(format!("has {} tensors, at most {MAX_TENSORS} are supported", entries.len())));
        }
        let mut metadata = Metadata::new(&self.file);
        let (mut tensors, mut skipped, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        for (name, entry) in entries {
            if name == "__metadata__" {
                self.metadata(&entry, &mut metadata)?;
                continue;
            }
            if name.len() as u64 > MAX_NAME_BYTES {
                return Err(self.bad(format!("a tensor's name has {} bytes, at most {MAX_NAME_BYTES}", name.len())));
            }
            let span = self.tensor(name, &entry, end as u64, &mut tensors, &mut skipped)?;
            spans.push(span);
        }
        let data_end = self.contiguous(spans)? + end as u64;
        if let Some(have) = self.total.filter(|&have| have > data_end) {
            return Err(self.bad(format!("has {have} bytes, its header describes {data_end}")));
        }
        let kind = ContainerKind::Safetensors;
        let data = end as u64..data_end;
        let container = Container::new(&self.file, kind, metadata, tensors, skipped, data, self.total)?;
        Ok((end, Some(container)))
    }

    fn metadata(&self, entry: &Json, out: &mut Metadata) -> Result<()> {
        let map = entry.as_object().ok_or_else(|| self.bad("its __metadata__ is not an object"))?;
        for (k, v) in map {
            let v = v.as_str().ok_or_else(|| self.bad(format!("its __metadata__ {k:?} is not a string")))?;
            out.insert(k, Value::String(v.to_string()));
        }
        Ok(())
    }

    /// Reads one entry; returns its span relative to the data and its name.
    fn tensor(
        &self,
        name: String,
        entry: &Json,
        start: u64,
        tensors: &mut Vec<TensorInfo>,
        skipped: &mut Vec<Foreign>,
    ) -> Result<(u64, u64, String)> {
        let wrong = |what: &str| self.bad(format!("tensor {name:?} has no proper {what}: {}", shorten(entry)));
        let numbers = |v: &Json| -> Option<Vec<u64>> { v.as_array()?.iter().map(Json::as_u64).collect() };
        let dtype = entry["dtype"].as_str().ok_or_else(|| wrong("dtype"))?;
        let dims = numbers(&entry["shape"]).ok_or_else(|| wrong("shape"))?;
        let offsets = numbers(&entry["data_offsets"]).ok_or_else(|| wrong("data_offsets"))?;
        let &[from, to] = offsets.as_slice() else { return Err(wrong("data_offsets")) };
        if from > to || to > 1 << 48 {
            return Err(self.bad(format!("tensor {name:?} has data_offsets {from}..{to}")));
        }
        let Some(dtype) = Stored::of_safetensors(dtype).map(|s| s.dtype) else {
            skipped.push(Foreign { name: name.clone(), dtype: dtype.chars().take(32).collect(), shape: dims });
            return Ok((from, to, name));
        };
        let (shape, bytes) = checked_shape(&self.file, &name, dtype, &dims)?;
        if bytes != to - from {
            return Err(self.bad(format!(
                "tensor {name:?} of shape {dims:?} and type {} needs {bytes} bytes, its data_offsets {from}..{to} \
                 hold {}",
                dtype.name(),
                to - from
            )));
        }
        tensors.push(TensorInfo { name: name.clone(), dtype, shape, offset: start + from, bytes });
        Ok((from, to, name))
    }

    /// The format allows no holes and no overlaps. Returns the end of the data.
    fn contiguous(&self, mut spans: Vec<(u64, u64, String)>) -> Result<u64> {
        spans.sort();
        let mut at = 0;
        for (from, to, name) in spans {
            if from != at {
                let what = if from < at { "overlaps the one before it" } else { "leaves a hole before it" };
                return Err(self.bad(format!("tensor {name:?} at {from}..{to} {what}, expected it at {at}")));
            }
            at = to;
        }
        Ok(at)
    }
}

fn shorten(v: &Json) -> String {
    let s = v.to_string();
    if s.chars().count() > 120 { s.chars().take(120).chain("…".chars()).collect() } else { s }
}

fn dtype_name(dtype: DType) -> Option<&'static str> {
    dtype.stored().safetensors
}

/// A tensor to be written.
pub struct TensorView<'a> {
    pub name: &'a str,
    pub dtype: DType,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
}

/// The beginning of a safetensors file with room for all of it, and the order in which the tensors' bytes follow: wider types first, then by name; the
/// header padded with spaces to a multiple of 8. `tensors` are name, type and shape, `file` is the name used in errors.
pub fn begin(file: &str, tensors: &[(&str, DType, &[usize])], metadata: &BTreeMap<String, String>) -> Result<(Vec<u8>, Vec<usize>)> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by(|a, b| {
        let ((a, s, _), (b, t, _)) = (&tensors[*a], &tensors[*b]);
        t.block_bytes().cmp(&s.block_bytes()).then(a.cmp(b))
    });
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), json!(metadata));
    }
    let mut at = 0usize;
    for (name, dtype, shape) in order.iter().map(|i| tensors[*i]) {
        let dims: Vec<u64> = shape.iter().map(|&d| d as u64).collect();
        let (_, bytes) = checked_shape(file, name, dtype, &dims)?;
        let kind =
            dtype_name(dtype).ok_or_else(|| Error::file(file, format!("tensor {name:?}: safetensors has no type {}", dtype.name())))?;
        let entry = json!({"dtype": kind, "shape": shape, "data_offsets": [at, at + bytes as usize]});
        if header.insert(name.to_string(), entry).is_some() {
            return Err(Error::file(file, format!("tensor {name:?} occurs twice")));
        }
        at += bytes as usize;
    }
    let mut json = serde_json::to_vec(&header).expect("strings and numbers");
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut out = Vec::with_capacity(8 + json.len() + at);
    out.extend((json.len() as u64).to_le_bytes());
    out.extend(json);
    Ok((out, order))
}

/// A whole safetensors file, as [`begin`] orders it.
pub fn write(file: &str, tensors: &[TensorView], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    for t in tensors {
        let dims: Vec<u64> = t.shape.iter().map(|&d| d as u64).collect();
        let (_, bytes) = checked_shape(file, t.name, t.dtype, &dims)?;
        if bytes != t.bytes.len() as u64 {
            let have = t.bytes.len();
            return Err(Error::file(file, format!("tensor {:?} has {have} bytes, its shape needs {bytes}", t.name)));
        }
    }
    let described: Vec<_> = tensors.iter().map(|t| (t.name, t.dtype, t.shape)).collect();
    let (mut out, order) = begin(file, &described, metadata)?;
    order.iter().for_each(|i| out.extend_from_slice(tensors[*i].bytes));
    Ok(out)
}
