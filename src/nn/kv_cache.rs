//! Keys and values of what has been read so far: one (2, S, Hkv·D) tensor per layer, keys in plane 0, values in plane 1.

use std::str::FromStr;

use crate::graph::{Desc, Exec, Mem, Tensor, Transfer};
use crate::tensor::{DType, quantize};
use crate::{Error, Result};

/// `kv_cache_dtype: "f32" | "f16"`: what keys and values are stored as. Everything computed with them is f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvCacheDtype {
    /// Log-probabilities are PyTorch's to some five digits.
    #[default]
    F32,
    /// Half the memory and half the bytes to read; keys and values keep eleven bits.
    F16,
}

impl KvCacheDtype {
    /// The type of the cache's tensors.
    pub fn dtype(self) -> DType {
        match self {
            KvCacheDtype::F32 => DType::F32,
            KvCacheDtype::F16 => DType::F16,
        }
    }
}

impl FromStr for KvCacheDtype {
    type Err = Error;

    fn from_str(s: &str) -> Result<KvCacheDtype> {
        match s {
            "f32" => Ok(KvCacheDtype::F32),
            "f16" => Ok(KvCacheDtype::F16),
            other => Err(Error::config("kv_cache_dtype", format!("expected f32 or f16, found {other:?}"))),
        }
    }
}

/// A cache of `capacity` slots per layer.
pub struct KvCache {
    pub layers: Vec<Tensor>,
    capacity: usize,
    width: usize,
    dtype: KvCacheDtype,
}

/// Slots `from..from + len` go to `to..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub from: usize,
    pub to: usize,
    pub len: usize,
}

impl KvCache {
    /// An empty cache; `width` = Hkv·D.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::BadConfig`] for F16 where `width` is odd.
    pub fn new(exec: &Exec, layers: usize, width: usize, capacity: usize, dtype: KvCacheDtype) -> Result<KvCache> {
        if dtype == KvCacheDtype::F16 && !width.is_multiple_of(2) {
            return Err(Error::config("kv_cache_dtype", format!("f16 wants an even number of channels of all key heads, not {width}")));
        }
        let desc = Desc { shape: vec![2, capacity, width], dtype: dtype.dtype() };
        let layers = (0..layers).map(|i| Tensor::zeros(exec, &format!("kv.{i}"), desc.clone())).collect::<Result<Vec<_>>>()?;
        Ok(KvCache { layers, capacity, width, dtype })
    }

    /// Most slots a cache of this width can have on a device: a layer's keys and values are one binding.
    pub fn most_slots(exec: &Exec, width: usize, dtype: KvCacheDtype) -> usize {
        usize::try_from(exec.max_binding() / (2 * slot_bytes(width.max(1), dtype))).unwrap_or(usize::MAX)
    }

    /// Slots per layer.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes on the GPU.
    pub fn bytes(&self) -> u64 {
        (self.layers.len() * 2 * self.capacity) as u64 * slot_bytes(self.width, self.dtype)
    }

    /// Writes keys and values (n, Hkv·D) of one layer into the slots from `slot` on, in the form in which attention reads them: rotated, if they are
    /// those of tokens.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not fit.
    pub fn write(&self, exec: &Exec, layer: usize, slot: usize, keys: &[f32], values: &[f32]) -> Result<()> {
        let n = keys.len() / self.width.max(1);
        let fits = keys.len() == values.len() && keys.len() == n * self.width && slot + n <= self.capacity;
        let Some(cache) = self.layers.get(layer).filter(|_| fits) else {
            let (k, v, c, w) = (keys.len(), values.len(), self.capacity, self.width);
            return Err(Error::shape(
                "kv_cache",
                format!("{k} and {v} values at slot {slot} of layer {layer}, into {} layers of {c} slots of {w}", self.layers.len()),
            ));
        };
        cache.write_rows(exec, slot, &quantize(self.dtype.dtype(), keys))?;
        cache.write_rows(exec, self.capacity + slot, &quantize(self.dtype.dtype(), values))
    }

    /// Bytes of a slot's keys in a layer, or of its values.
    pub fn slot_bytes(&self) -> u64 {
        slot_bytes(self.width, self.dtype)
    }

    /// Copies slots to others through `scratch`, which holds the longest of the moves: a device copies nothing within one buffer.
    pub fn copy_slots(&self, exec: &Exec, scratch: &Mem, moves: &[Move]) {
        let row = self.slot_bytes();
        let mut copies = Vec::new();
        for layer in &self.layers {
            for plane in 0..2 {
                for m in moves.iter().filter(|m| m.len > 0) {
                    let at = |slot: usize| (plane * self.capacity + slot) as u64 * row;
                    let (cache, bytes) = (layer.mem(), m.len as u64 * row);
                    copies.push(Transfer { from: cache.clone(), from_at: at(m.from), to: scratch.clone(), to_at: 0, bytes });
                    copies.push(Transfer { from: scratch.clone(), from_at: 0, to: cache, to_at: at(m.to), bytes });
                }
            }
        }
        exec.copy(&copies);
    }

    /// A cache of another capacity with the given slots carried over on the device.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn resized(&self, exec: &Exec, capacity: usize, moves: &[Move]) -> Result<KvCache> {
        let new = KvCache::new(exec, self.layers.len(), self.width, capacity, self.dtype)?;
        let row = slot_bytes(self.width, self.dtype);
        let mut copies = Vec::new();
        for (old, new) in self.layers.iter().zip(&new.layers) {
            for plane in 0..2 {
                for m in moves {
                    copies.push(Transfer {
                        from: old.mem(),
                        from_at: (plane * self.capacity + m.from) as u64 * row,
                        to: new.mem(),
                        to_at: (plane * capacity + m.to) as u64 * row,
                        bytes: m.len as u64 * row,
                    });
                }
            }
        }
        exec.copy(&copies);
        Ok(new)
    }
}

/// Bytes of a slot's keys, or of its values.
fn slot_bytes(width: usize, dtype: KvCacheDtype) -> u64 {
    (width * dtype.dtype().block_bytes()) as u64
}
