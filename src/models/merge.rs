//! A GGUF with an adapter added to its weights, made from file to file: nothing but one tensor is ever in memory.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Config;
use super::model::add_pair;
use super::names::{Role, Rows};
use crate::formats::peft::{LoraAdapter, LoraPair};
use crate::formats::{Container, ContainerKind, TensorInfo};
use crate::tensor::{DType, dequantize, quantize};
use crate::{Error, Result};

/// What becomes of each tensor of a GGUF. Plain weights keep their type; a quantized weight that the adapter changes becomes F16, because
/// an update is smaller than a step of four bits and would be lost ([`super::Model::merge`] does the same). What the adapter leaves
/// alone is copied as it is.
pub struct GgufMerge<'a> {
    file: &'a Container,
    /// By tensor: the module's A and B, B in the file's order of rows.
    pairs: HashMap<usize, LoraPair>,
}

impl<'a> GgufMerge<'a> {
    /// # Errors
    /// [`Error::BadFile`] when `file` is no GGUF, [`Error::BadAdapter`] when the adapter does not fit it, those of [`Config::from_gguf`].
    pub fn new(file: &'a Container, adapter: &LoraAdapter) -> Result<GgufMerge<'a>> {
        if !matches!(file.kind, ContainerKind::Gguf { .. }) {
            return Err(Error::file(&file.file, "is not a GGUF: only those can be merged from file to file"));
        }
        if let Some(saved) = adapter.saved.first() {
            return Err(Error::BadAdapter(format!("it holds {:?} whole, for which a merged model has no place", saved.path)));
        }
        adapter.need_causal("a GGUF")?;
        file.all_readable()?;
        let config = Config::from_gguf(file)?;
        let by_key: HashMap<String, usize> =
            file.tensors.iter().enumerate().filter_map(|(i, t)| Some((config.names.key_of_gguf(&t.name)?, i))).collect();
        let find = |module: &str| by_key.get(&format!("{module}.weight")).copied();
        let head = |p: &&LoraPair| config.names.role(&p.target.module) == Some(Role::Head) && find(&p.target.module).is_none();
        if let Some(p) = adapter.pairs.iter().find(head) {
            return Err(Error::BadAdapter(format!(
                "module {:?} is the output layer, which shares its weights with the embedding in {}: added to them, the adapter would change the \
                 embedding, too. Use it beside the model (--adapter)",
                p.target.module, file.file
            )));
        }
        adapter.check(|module| {
            let shape = &file.tensors[find(module)?].shape;
            (shape.len() == 2 && config.names.role(module) != Some(Role::Embed)).then(|| (shape[0], shape[1]))
        })?;
        let mut pairs = HashMap::new();
        for pair in &adapter.pairs {
            let module = &pair.target.module;
            let index = find(module).ok_or_else(|| Error::BadAdapter(format!("module {module:?} has no weights in {}", file.file)))?;
            let mut pair = pair.clone();
            pair.b = in_file_order(&pair.b, config.names.rows_in_gguf(module), config.head_dim, pair.target.r);
            pair.magnitude = pair.magnitude.map(|m| in_file_order(&m, config.names.rows_in_gguf(module), config.head_dim, 1));
            pairs.insert(index, pair);
        }
        Ok(GgufMerge { file, pairs })
    }

    /// Name, type and shape of every tensor of the new file, in the order of the old.
    pub fn tensors(&self) -> Vec<(String, DType, Vec<usize>)> {
        let of = |(i, t): (usize, &TensorInfo)| (t.name.clone(), self.dtype(i), t.shape.clone());
        self.file.tensors.iter().enumerate().map(of).collect()
    }

    fn dtype(&self, index: usize) -> DType {
        match self.file.tensors[index].dtype {
            d if d.is_quantized() && self.pairs.contains_key(&index) => DType::F16,
            d => d,
        }
    }

    /// The new bytes of tensor `index`, from the old.
    ///
    /// # Errors
    /// [`Error::NotFinite`] when a sum is no number (or none that its type holds).
    pub fn bytes<'b>(&self, index: usize, old: &'b [u8]) -> Result<Cow<'b, [u8]>> {
        let Some(pair) = self.pairs.get(&index) else { return Ok(Cow::Borrowed(old)) };
        let t = &self.file.tensors[index];
        let mut w = dequantize(t.dtype, old);
        add_pair(&mut w, pair);
        let dtype = self.dtype(index);
        let bytes = quantize(dtype, &w);
        match dequantize(dtype, &bytes).iter().position(|v| !v.is_finite()) {
            Some(at) => Err(Error::NotFinite(format!("tensor {:?}, element {at}: {} as {}", t.name, w[at], dtype.name()))),
            None => Ok(Cow::Owned(bytes)),
        }
    }
}

/// Rows (each of `r` values) from Transformers' order into that of a GGUF, for heads of `dim` rows.
fn in_file_order(b: &[f32], order: Rows, dim: usize, r: usize) -> Vec<f32> {
    let (rows, mut out) = (b.len() / r.max(1), vec![0.0; b.len()]);
    for row in 0..rows {
        let to = order.in_file(row, rows, dim);
        out[to * r..(to + 1) * r].copy_from_slice(&b[row * r..(row + 1) * r]);
    }
    out
}
