//! Float weights into blocks: which type each tensor takes, and a GGUF made from a GGUF with nothing but one row at a time in memory.
use std::borrow::Cow;

use crate::formats::{Container, ContainerKind, Metadata, TensorInfo, Value};
use crate::tensor::packing::{fitting, quantize_into};
use crate::tensor::{DType, dequantize};
use crate::{Error, Result};

/// The type a checkpoint key is kept in where float weights are wanted as another type: the wanted one for weights in floats, its own for what
/// is in blocks already and for tables of positions. (What rows of another width take instead, the [table](fitting) says.)
pub(super) fn kept(path: &str, own: DType, wanted: Option<DType>) -> DType {
    let positions = path.contains("wpe.") || path.contains("position");
    wanted.filter(|_| !own.is_quantized() && !positions).unwrap_or(own)
}

/// A GGUF whose float matrices become blocks.
///
/// As llama.cpp's `llama-quantize --pure`: norms, biases and other vectors stay what they are, and so do tables of positions; rows that are
/// no whole blocks take the type that stands in for it. Tensors that are in blocks already are copied: to quantize them once more would
/// lose what was kept.
pub struct GgufQuantize<'a> {
    file: &'a Container,
    wanted: DType,
}

impl<'a> GgufQuantize<'a> {
    /// # Errors
    /// [`Error::BadFile`] when `file` is no GGUF, is a part of one, or has no matrix of floats.
    pub fn new(file: &'a Container, wanted: DType) -> Result<GgufQuantize<'a>> {
        if !matches!(file.kind, ContainerKind::Gguf { .. }) {
            let why = "is no GGUF: only those are written; a model of safetensors is quantized while it is loaded (--quantize), or converted \
                first by llama.cpp's convert_hf_to_gguf.py";
            return Err(Error::file(&file.file, why));
        }
        if let Some(split) = file.split {
            return Err(Error::file(&file.file, format!("is one of {} parts: join them first (llama-gguf-split --merge)", split.count)));
        }
        let made = GgufQuantize { file, wanted };
        if file.tensors.iter().all(|t| made.dtype(t) == t.dtype) {
            return Err(Error::file(&file.file, format!("has no matrix of floats to make {} of", wanted.name())));
        }
        Ok(made)
    }

    /// The type of a tensor in the new file.
    fn dtype(&self, t: &TensorInfo) -> DType {
        let matrix = t.shape.len() == 2 && t.name.ends_with(".weight") && !t.name.contains("norm");
        // Picked by place or type, a row at a time: llama.cpp leaves them.
        let table = ["position_embd.", "token_types.", "rope_"].iter().any(|n| t.name.starts_with(n)) || t.name.contains("ffn_gate_inp.");
        match t.shape.last() {
            Some(cols) if matrix && !table && !t.dtype.is_quantized() && t.dtype != DType::U32 => fitting(self.wanted, *cols),
            _ => t.dtype,
        }
    }

    /// The metadata of the new file.
    pub fn metadata(&self) -> Metadata {
        let mut m = self.file.metadata.clone();
        for (key, value) in [("general.file_type", self.wanted.stored().file_type), ("general.quantization_version", Some(2))] {
            m.remove(key);
            if let Some(value) = value {
                m.insert(key, Value::U32(value));
            }
        }
        m
    }

    /// Name, type and shape of every tensor of the new file, in the order of the old.
    pub fn tensors(&self) -> Vec<(String, DType, Vec<usize>)> {
        self.file.tensors.iter().map(|t| (t.name.clone(), self.dtype(t), t.shape.clone())).collect()
    }

    /// The new bytes of whole rows of tensor `index`, from the old.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when a weight is no number, or is none as a type of the new file.
    pub fn rows<'b>(&self, index: usize, old: &'b [u8]) -> Result<Cow<'b, [u8]>> {
        let t = &self.file.tensors[index];
        let dtype = self.dtype(t);
        if dtype == t.dtype {
            return Ok(Cow::Borrowed(old));
        }
        let mut out = Vec::new();
        quantize_into(dtype, &dequantize(t.dtype, old), &mut out);
        if !t.dtype.stored().finite(old) || !dtype.stored().finite(&out) {
            return Err(Error::NotFinite(format!("a weight of tensor {:?} as {}", t.name, dtype.name())));
        }
        Ok(Cow::Owned(out))
    }
}
