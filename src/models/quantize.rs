//! Float weights into blocks: which type each tensor takes, and a GGUF made from a GGUF with nothing but one row at a time in memory.
use std::borrow::Cow;

use crate::formats::{Container, ContainerKind, Metadata, TensorInfo, Value};
use crate::tensor::packing::{STORED, Stored, fitting, quantize};
use crate::tensor::{DType, dequantize};
use crate::{Error, Result};

/// What float matrices become: one type, or one of llama.cpp's mixes, which give more bits to what an answer depends on most (the head, and in some
/// layers the values and the way down).
#[derive(Clone, Copy, Debug)]
pub struct Quantization {
    /// As one types it: `q4_k`, `q4_k_m`.
    name: &'static str,
    base: DType,
    mix: Option<&'static Mix>,
}

/// A mix of `llama-quantize`.
#[derive(Debug)]
struct Mix {
    name: &'static str,
    base: DType,
    /// `general.file_type`.
    file_type: u32,
    /// The type of a matrix of a block: its name in a GGUF, number of the layer, layers.
    block: fn(&str, usize, usize) -> Option<DType>,
}

/// All of them have the head (or the embedding that is it) as Q6_K. The rules are those of `llama_tensor_get_type` for dense models.
const MIXES: &[Mix] = &[
    Mix { name: "q3_k_s", base: DType::Q3_K, file_type: 11, block: |_, _, _| None },
    Mix {
        name: "q3_k_m",
        base: DType::Q3_K,
        file_type: 12,
        block: |part, i, n| match part {
            "attn_v" => Some(if i < 2 { DType::Q5_K } else { DType::Q4_K }),
            "ffn_down" if i < n / 16 => Some(DType::Q5_K),
            "ffn_down" => more_bits(i, n).then_some(DType::Q4_K),
            "attn_output" | "attn_qkv" => Some(DType::Q4_K),
            _ => None,
        },
    },
    Mix {
        name: "q3_k_l",
        base: DType::Q3_K,
        file_type: 13,
        block: |part, _, _| match part {
            "attn_v" | "ffn_down" | "attn_output" => Some(DType::Q5_K),
            "attn_qkv" => Some(DType::Q4_K),
            _ => None,
        },
    },
    Mix {
        name: "q4_k_s",
        base: DType::Q4_K,
        file_type: 14,
        block: |part, i, n| match part {
            "attn_v" => (i < 4).then_some(DType::Q5_K),
            "ffn_down" => (i < n / 8).then_some(DType::Q5_K),
            _ => None,
        },
    },
    Mix {
        name: "q4_k_m",
        base: DType::Q4_K,
        file_type: 15,
        block: |part, i, n| match part {
            "attn_v" | "ffn_down" => more_bits(i, n).then_some(DType::Q6_K),
            "attn_qkv" => Some(DType::Q5_K),
            _ => None,
        },
    },
    Mix { name: "q5_k_s", base: DType::Q5_K, file_type: 16, block: |_, _, _| None },
    Mix {
        name: "q5_k_m",
        base: DType::Q5_K,
        file_type: 17,
        block: |part, i, n| match part {
            "attn_v" | "ffn_down" => more_bits(i, n).then_some(DType::Q6_K),
            "attn_qkv" => Some(DType::Q6_K),
            _ => None,
        },
    },
];

/// The first and last eighth of the layers, and every third between.
fn more_bits(i: usize, n: usize) -> bool {
    i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2
}

impl Quantization {
    /// The type or the mix of a name.
    ///
    /// # Errors
    /// The names there are.
    pub fn parse(name: &str) -> std::result::Result<Quantization, String> {
        if let Some(mix) = MIXES.iter().find(|m| m.name.eq_ignore_ascii_case(name)) {
            return Ok(Quantization { name: mix.name, base: mix.base, mix: Some(mix) });
        }
        let mixes: Vec<&str> = MIXES.iter().map(|m| m.name).collect();
        let dtype = Stored::target(name).map_err(|e| format!("{e}; or a mix: {}", mixes.join(", ")))?;
        Ok(dtype.into())
    }

    /// Every name, as one types it.
    pub fn names() -> Vec<String> {
        let types = STORED.iter().filter(|s| s.ggml.is_some() && s.quantize.is_some());
        types.map(|s| s.name.to_lowercase()).chain(MIXES.iter().map(|m| m.name.to_string())).collect()
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// `general.file_type` of a GGUF that is quantized so.
    fn file_type(&self) -> Option<u32> {
        self.mix.map_or(self.base.stored().file_type, |m| Some(m.file_type))
    }

    /// The type of a matrix by its name in a GGUF, in a model of so many layers; `tied`: there is no head beside the embedding.
    fn of(&self, name: &str, layers: usize, tied: bool) -> DType {
        let Some(mix) = self.mix else { return self.base };
        let stem = name.trim_end_matches(".weight");
        if stem == "output" || (tied && stem == "token_embd") {
            return DType::Q6_K;
        }
        let block = stem.strip_prefix("blk.").and_then(|s| s.split_once('.'));
        let own = block.and_then(|(i, part)| (mix.block)(part, i.parse().ok()?, layers));
        own.unwrap_or(mix.base)
    }

    /// The keys of a GGUF that say it.
    pub(super) fn mark(&self, m: &mut Metadata) {
        for (key, value) in [("general.file_type", self.file_type()), ("general.quantization_version", Some(2))] {
            m.remove(key);
            if let Some(value) = value {
                m.insert(key, Value::U32(value));
            }
        }
    }
}

impl From<DType> for Quantization {
    fn from(base: DType) -> Quantization {
        Quantization { name: base.name(), base, mix: None }
    }
}

/// Which type a tensor is kept or written in: the wanted one for matrices of floats, its own for everything else. (What rows of another width take
/// instead, the [table](fitting) says.)
pub(super) struct Types {
    wanted: Option<Quantization>,
    layers: usize,
    tied: bool,
}

impl Types {
    pub fn new(wanted: Option<Quantization>, layers: usize, tied: bool) -> Types {
        Types { wanted, layers, tied }
    }

    /// By the name in a GGUF. As `llama-quantize`: norms, biases and other vectors stay what they are, and so do tables of positions and routers.
    /// Tensors that are in blocks already do, too: to quantize them once more would lose what was kept.
    pub fn of(&self, name: &str, own: DType) -> DType {
        let matrix = name.ends_with(".weight") && !name.contains("norm");
        let table = ["position_embd.", "token_types.", "rope_"].iter().any(|n| name.starts_with(n)) || name.contains("ffn_gate_inp.");
        let wanted = self.wanted.filter(|_| matrix && !table && !own.is_quantized() && own != DType::U32);
        wanted.map_or(own, |w| w.of(name, self.layers, self.tied))
    }

    /// The same, of a matrix with rows of `cols` values.
    pub fn fitting(&self, name: &str, own: DType, cols: usize) -> DType {
        match self.of(name, own) {
            same if same == own => own,
            other => fitting(other, cols),
        }
    }
}

/// A GGUF whose float matrices become blocks.
pub struct GgufQuantize<'a> {
    file: &'a Container,
    wanted: Quantization,
    types: Types,
}

impl<'a> GgufQuantize<'a> {
    /// # Errors
    /// [`Error::BadFile`] when `file` is no GGUF, is a part of one, or has no matrix of floats.
    pub fn new(file: &'a Container, wanted: Quantization) -> Result<GgufQuantize<'a>> {
        if !matches!(file.kind, ContainerKind::Gguf { .. }) {
            let why = "is no GGUF: give the folder that it lies in, with its config.json and tokenizer.json";
            return Err(Error::file(&file.file, why));
        }
        if let Some(split) = file.split {
            return Err(Error::file(&file.file, format!("is one of {} parts: join them first (llama-gguf-split --merge)", split.count)));
        }
        file.all_readable()?;
        let arch = file.metadata.opt_str("general.architecture")?.unwrap_or_default();
        let layers = file.metadata.opt_usize(&format!("{arch}.block_count"))?.unwrap_or(0);
        let types = Types::new(Some(wanted), layers, file.tensor("output.weight").is_none());
        let made = GgufQuantize { file, wanted, types };
        if file.tensors.iter().all(|t| made.dtype(t) == t.dtype) {
            return Err(Error::file(&file.file, format!("has no matrix of floats to make {} of", wanted.name())));
        }
        Ok(made)
    }

    /// The type of a tensor in the new file.
    fn dtype(&self, t: &TensorInfo) -> DType {
        match t.shape[..] {
            [_, cols] => self.types.fitting(&t.name, t.dtype, cols),
            _ => t.dtype,
        }
    }

    /// The metadata of the new file.
    pub fn metadata(&self) -> Metadata {
        let mut m = self.file.metadata.clone();
        self.wanted.mark(&mut m);
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
        packed(&t.name, dtype, &dequantize(t.dtype, old)).map(Cow::Owned)
    }
}

/// Numbers as file bytes of a type.
///
/// # Errors
/// [`Error::NotFinite`] when one is no number, or is none as that type.
pub(super) fn packed(name: &str, dtype: DType, values: &[f32]) -> Result<Vec<u8>> {
    let out = quantize(dtype, values);
    if values.iter().all(|v| v.is_finite()) && dtype.stored().finite(&out) {
        return Ok(out);
    }
    Err(Error::NotFinite(format!("a weight of tensor {name:?} as {}", dtype.name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `llama-quantize` chose for a model of 22 layers (TinyLlama, Q4_K_M) and 12 (Q3_K_M).
    #[test]
    fn mixes_are_those_of_llama_cpp() {
        let types = |mix: &str, part: &str, n: usize| {
            let q = Quantization::parse(mix).unwrap();
            (0..n).filter(|i| q.of(&format!("blk.{i}.{part}.weight"), n, false) != q.base).collect::<Vec<_>>()
        };
        assert_eq!(types("q4_k_m", "ffn_down", 22), [0, 1, 4, 7, 10, 13, 16, 19, 20, 21]);
        assert_eq!(types("Q4_K_M", "attn_v", 22), types("q5_k_m", "ffn_down", 22));
        assert!(types("q4_k_m", "attn_q", 22).is_empty());
        assert_eq!(types("q4_k_s", "attn_v", 22), [0, 1, 2, 3]);
        assert_eq!(types("q3_k_m", "attn_output", 12).len(), 12);
        let q = Quantization::parse("q4_k_m").unwrap();
        assert_eq!(q.of("output.weight", 22, false), DType::Q6_K);
        assert_eq!(q.of("token_embd.weight", 22, false), DType::Q4_K);
        assert_eq!(q.of("token_embd.weight", 22, true), DType::Q6_K);
        assert_eq!(Quantization::parse("q4_k").unwrap().of("output.weight", 22, false), DType::Q4_K);
        let unknown = Quantization::parse("q9").unwrap_err();
        assert!(unknown.contains("q4_k_m") && unknown.contains("q8_0"), "{unknown}");
    }
}
