//! DoRA: norms of a weight with a low-rank product added, and columns scaled by them.

use super::lanes::put;
use crate::cpu::Pool;

/// Elements worth a piece of work: these loops are as fast as memory.
const LEAST: usize = 16_384;

/// A segment of a LoRA product.
#[derive(Clone, Copy)]
pub struct Part {
    pub row0: usize,
    pub h_off: usize,
    pub r: usize,
    pub scale: f32,
    /// Rows of A, of all segments.
    pub ranks: usize,
    /// Rows of W.
    pub rows: usize,
}

/// `‖W_j + s·B_j·A‖` of a segment's rows, from `‖W_j‖²`, A·Wᵀ, A·Aᵀ and B (rows, r).
pub fn norms(out: &mut [f32], s: Part, squares: &[f32], p: &[f32], gram: &[f32], b: &[f32]) {
    for (i, (out, b)) in out.iter_mut().zip(b.chunks_exact(s.r)).enumerate() {
        let j = s.row0 + i;
        let mut sum = squares[j];
        for (k, x) in b.iter().enumerate() {
            let row = &gram[(s.h_off + k) * s.ranks + s.h_off..][..s.r];
            let along: f32 = b.iter().zip(row).map(|(y, g)| y * g).sum();
            sum += s.scale * x * (2.0 * p[(s.h_off + k) * s.rows + j] + s.scale * along);
        }
        *out = sum.max(0.0).sqrt();
    }
}

fn factor(m: f32, norm: f32) -> f32 {
    if norm > 0.0 { m / norm } else { 1.0 }
}

/// `y[:, j] = x[:, j]·m[j] / norm[j] (+ bias[j])`.
pub fn scale(pool: &Pool, y: &mut [f32], x: &[f32], [m, norm]: [&[f32]; 2], bias: Option<&[f32]>, acc: bool) {
    let factors: Vec<f32> = m.iter().zip(norm).map(|(m, n)| factor(*m, *n)).collect();
    let cols = factors.len();
    pool.rows(y, cols, LEAST.div_ceil(cols.max(1)), |first, y| {
        for (y, x) in y.chunks_exact_mut(cols).zip(x[first * cols..].chunks_exact(cols)) {
            for (j, (y, x)) in y.iter_mut().zip(x).enumerate() {
                put(y, x * factors[j] + bias.map_or(0.0, |b| b[j]), acc);
            }
        }
    });
}

/// `dm[j] = Σ dy[:, j]·x[:, j] / norm[j]`.
pub fn magnitudes(dm: &mut [f32], dy: &[f32], x: &[f32], norm: &[f32], acc: bool) {
    let mut sums = vec![0f32; norm.len()];
    for (dy, x) in dy.chunks_exact(norm.len()).zip(x.chunks_exact(norm.len())) {
        sums.iter_mut().zip(dy).zip(x).for_each(|((s, d), x)| *s += d * x);
    }
    for ((dm, sum), n) in dm.iter_mut().zip(sums).zip(norm) {
        put(dm, if *n > 0.0 { sum / n } else { 0.0 }, acc);
    }
}
