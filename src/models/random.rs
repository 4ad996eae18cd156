//! Models that came from no file and know nothing: the shape of a real one filled with noise, to measure how fast it would be.

use super::{Config, Model};
use crate::graph::Exec;
use crate::tensor::DType;
use crate::{Error, Result};

/// Blocks of 32 weights that are drawn; every tensor reads them from another one on.
const POOL: usize = 1 << 17;
/// Bytes handed to the device at a time.
const PIECE: usize = 4 << 20;

/// Noise as a file holds it: a half-precision scale and 16 bytes of nibbles. Weights come out symmetric with σ ≈ 0.02, because
/// scales have either sign.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut out = Vec::with_capacity(POOL * DType::Q4_0.block_bytes());
    for _ in 0..POOL {
        let r = next();
        let size = 0.003 + 0.003 * (r >> 40) as f32 / (1u64 << 24) as f32;
        out.extend_from_slice(&half::f16::from_f32(if r & 1 == 0 { size } else { -size }).to_le_bytes());
        out.extend_from_slice(&next().to_le_bytes());
        out.extend_from_slice(&next().to_le_bytes());
    }
    out
}

impl Model {
    /// A frozen model whose matrices are Q4_0 noise; norms are one, biases zero. Rows go to the device a few MiB at a time.
    ///
    /// # Errors
    /// As [`Model::allocate`]; [`Error::Shape`] for matrices whose rows are not whole blocks.
    pub fn random_q4_0(exec: &Exec, config: Config, seed: u64) -> Result<Model> {
        let model = Model::allocate(exec, config, &|_| DType::Q4_0, false)?;
        let (noise, block) = (noise(seed), DType::Q4_0.block_bytes());
        let mut unflushed = 0;
        for (i, path) in model.params().paths().enumerate() {
            let p = model.params().find(path).ok_or_else(|| Error::config(path, "has no place"))?;
            let cols = match p.shape[..] {
                [_, cols] => cols,
                _ => {
                    let value = if path.ends_with(".bias") { 0.0f32 } else { 1.0 };
                    model.params().set(path, &vec![value; p.rows])?;
                    continue;
                }
            };
            let row = cols.div_ceil(32) * block;
            let at_once = (PIECE / row).clamp(1, POOL * block / 2 / row);
            for (j, first) in (0..p.rows).step_by(at_once).enumerate() {
                let rows = at_once.min(p.rows - first);
                let from = (i * 7919 + j * 104_729) % (POOL - rows * row / block) * block;
                model.params().write_rows(p, first, &noise[from..from + rows * row])?;
                unflushed += rows * row;
                if unflushed >= 4 * PIECE {
                    exec.flush();
                    unflushed = 0;
                }
            }
        }
        exec.flush();
        exec.check()?;
        Ok(model)
    }
}
