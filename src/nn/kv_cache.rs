//! Keys and values of what has been read so far: one (2, S, Hkv·D) f32 tensor per layer, keys in plane 0, values in plane 1.

use crate::Result;
use crate::graph::{Desc, Exec, Tensor, Transfer};

/// A cache of `capacity` slots per layer.
pub struct KvCache {
    pub layers: Vec<Tensor>,
    capacity: usize,
    width: usize,
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
    /// [`crate::Error::OutOfMemory`].
    pub fn new(exec: &Exec, layers: usize, width: usize, capacity: usize) -> Result<KvCache> {
        let layers =
            (0..layers).map(|i| Tensor::zeros(exec, &format!("kv.{i}"), Desc::f32(&[2, capacity, width]))).collect::<Result<Vec<_>>>()?;
        Ok(KvCache { layers, capacity, width })
    }

    /// Most slots a cache of this width can have on a device: a layer's keys and values are one binding.
    pub fn most_slots(exec: &Exec, width: usize) -> usize {
        usize::try_from(exec.max_binding() / (2 * width.max(1) as u64 * 4)).unwrap_or(usize::MAX)
    }

    /// Slots per layer.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes on the GPU.
    pub fn bytes(&self) -> u64 {
        (self.layers.len() * 2 * self.capacity * self.width * 4) as u64
    }

    /// A cache of another capacity with the given slots carried over on the device.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    pub fn resized(&self, exec: &Exec, capacity: usize, moves: &[Move]) -> Result<KvCache> {
        let new = KvCache::new(exec, self.layers.len(), self.width, capacity)?;
        let row = (self.width * 4) as u64;
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
