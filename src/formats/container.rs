//! What a model file contains, whatever its format.
use std::collections::{HashMap, HashSet};

use super::{MAX_DIMS, Metadata};
use crate::error::{Error, Result};
use crate::tensor::{DType, Stored};

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerKind {
    Gguf { version: u32 },
    Safetensors,
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    pub dtype: DType,
    /// Outermost first, as in Hugging Face: (rows, columns). GGUF's own order is the reverse.
    pub shape: Vec<usize>,
    /// First byte, counted from the start of the file.
    pub offset: u64,
    /// Number of bytes.
    pub bytes: u64,
}

impl TensorInfo {
    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&d| d as u64).product()
    }

    /// Bytes of one row (the last dimension); the whole tensor when it has fewer than two dimensions.
    pub fn row_bytes(&self) -> u64 {
        match self.shape.as_slice() {
            [] | [_] => self.bytes,
            [.., columns] => self.dtype.bytes_of(*columns as u64).unwrap_or(self.bytes),
        }
    }

    /// First byte after the tensor.
    pub fn end(&self) -> u64 {
        self.offset + self.bytes
    }
}

/// A tensor of a type that no kernel reads. Files may have such (integer buffers of some checkpoints); their bytes are never delivered, and whoever
/// asks for one is told its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    pub name: String,
    /// The format's own name of the type, such as `IQ2_XXS` or `F8_E4M3`.
    pub dtype: String,
    /// Outermost first, as the file claims it.
    pub shape: Vec<u64>,
}

/// What one GGUF file of several says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// From 0.
    pub no: usize,
    pub count: usize,
    /// Tensors of all parts, where the file says it.
    pub tensors: Option<u64>,
}

/// Names, types, shapes and places of everything in a file.
#[derive(Clone, Debug)]
pub struct Container {
    /// The file's name, for messages.
    pub file: String,
    pub kind: ContainerKind,
    pub metadata: Metadata,
    /// In the order of the header.
    pub tensors: Vec<TensorInfo>,
    /// Tensors of types that no kernel reads.
    pub skipped: Vec<Foreign>,
    /// Which part of a model in several GGUF files it is; `None` for a whole one.
    pub split: Option<Split>,
    /// First byte of tensor data.
    pub data_start: u64,
    /// Bytes up to the end of the last tensor: what the file must at least have.
    pub total_bytes: u64,
    names: HashMap<String, usize>,
}

impl Container {
    /// Checks that tensors lie inside the file, do not overlap and are not named twice. `data` is what the header
    /// itself says about the data section, `file_bytes` the file's size where it is known.
    pub(super) fn new(
        file: &str,
        kind: ContainerKind,
        metadata: Metadata,
        tensors: Vec<TensorInfo>,
        skipped: Vec<Foreign>,
        data: std::ops::Range<u64>,
        file_bytes: Option<u64>,
    ) -> Result<Self> {
        let mut names = HashMap::with_capacity(tensors.len());
        for (i, t) in tensors.iter().enumerate() {
            if names.insert(t.name.clone(), i).is_some() {
                return Err(Error::file(file, format!("tensor {:?} occurs twice", t.name)));
            }
        }
        let mut others = HashSet::with_capacity(skipped.len());
        if let Some(t) = skipped.iter().find(|t| names.contains_key(&t.name) || !others.insert(t.name.as_str())) {
            return Err(Error::file(file, format!("tensor {:?} occurs twice", t.name)));
        }
        let mut order: Vec<&TensorInfo> = tensors.iter().filter(|t| t.bytes > 0).collect();
        order.sort_by_key(|t| t.offset);
        for pair in order.windows(2) {
            if pair[0].end() > pair[1].offset {
                return Err(Error::file(
                    file,
                    format!(
                        "tensors {:?} (bytes {}..{}) and {:?} (bytes {}..{}) overlap",
                        pair[0].name,
                        pair[0].offset,
                        pair[0].end(),
                        pair[1].name,
                        pair[1].offset,
                        pair[1].end()
                    ),
                ));
            }
        }
        let total_bytes = order.last().map_or(data.end, |t| t.end().max(data.end));
        if let Some(have) = file_bytes.filter(|&have| have < total_bytes) {
            let last = order.iter().find(|t| t.end() > have).map_or("its header", |t| t.name.as_str());
            return Err(Error::file(file, format!("is cut short: {last:?} needs the file to have {total_bytes} bytes, it has {have}")));
        }
        let file = file.to_string();
        Ok(Container { file, kind, metadata, tensors, skipped, split: None, data_start: data.start, total_bytes, names })
    }

    /// The tensor of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.index_of(name).map(|i| &self.tensors[i])
    }

    /// The index of the tensor of that name in `tensors`.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// The tensor of that name, or an error that names file and tensor.
    pub fn require(&self, name: &str) -> Result<&TensorInfo> {
        self.tensor(name).ok_or_else(|| match self.skipped.iter().find(|t| t.name == name) {
            Some(t) => self.unsupported(t),
            None => Error::file(&self.file, format!("tensor {name:?} is missing")),
        })
    }

    /// The error for a tensor that is needed, and whose type no kernel reads.
    pub fn unsupported(&self, t: &Foreign) -> Error {
        let names = match self.kind {
            ContainerKind::Gguf { .. } => Stored::ggml_names(),
            ContainerKind::Safetensors => "F32, F16, BF16".into(),
        };
        Error::file(&self.file, format!("{} of tensor {:?} is not supported (supported: {names})", t.dtype, t.name))
    }

    /// Refuses to write a copy of a file some of whose tensors would be lost.
    ///
    /// # Errors
    /// [`Error::BadFile`] with the first of them.
    pub fn all_readable(&self) -> Result<()> {
        self.skipped.first().map_or(Ok(()), |t| Err(self.unsupported(t)))
    }

    /// The bytes of tensor `index` in `file`, the whole file's bytes.
    pub fn bytes<'a>(&self, file: &'a [u8], index: usize) -> Result<&'a [u8]> {
        let t = &self.tensors[index];
        let range = usize::try_from(t.offset).ok().zip(usize::try_from(t.end()).ok());
        range.and_then(|(start, end)| file.get(start..end)).ok_or_else(|| {
            let have = file.len();
            Error::file(&self.file, format!("tensor {:?} ends at byte {}, of {have} bytes", t.name, t.end()))
        })
    }

    /// Number of elements of all tensors.
    pub fn parameters(&self) -> u64 {
        self.tensors.iter().map(TensorInfo::elements).sum()
    }
}

/// Shape (outermost first) and bytes of a tensor as a file claims them; every product is checked.
pub(super) fn checked_shape(file: &str, name: &str, dtype: DType, dims: &[u64]) -> Result<(Vec<usize>, u64)> {
    if dims.len() > MAX_DIMS {
        let n = dims.len();
        return Err(Error::file(file, format!("tensor {name:?} has {n} dimensions, at most {MAX_DIMS} are supported")));
    }
    let too_big = || Error::file(file, format!("tensor {name:?}: the product of its dimensions {dims:?} is too large"));
    let elements = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d)).ok_or_else(too_big)?;
    let columns = dims.last().copied().unwrap_or(1);
    if columns % dtype.block_len() as u64 != 0 {
        return Err(Error::file(
            file,
            format!("tensor {name:?} of type {} has rows of {columns}, expected a multiple of {}", dtype.name(), dtype.block_len()),
        ));
    }
    let bytes = dtype.bytes_of(elements).filter(|&b| b < 1 << 48).ok_or_else(too_big)?;
    let shape: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    Ok((shape.ok_or_else(too_big)?, bytes))
}
