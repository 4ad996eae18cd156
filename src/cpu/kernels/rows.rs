//! Kernels over the rows of a matrix of logits.

use crate::cpu::Pool;

/// For every row of `logits` and its target: `ln softmax(row)[target]` into `logp`, and with `grad` the row becomes the gradient of it with respect to
/// the logits, times the row's entry of `grad` (or 1 where that is empty). A target outside the row is ignored: 0, and no gradient.
///
/// # Panics
/// When the slices do not fit each other.
pub fn logps(pool: &Pool, logits: &mut [f32], targets: &[u32], logp: Option<&mut [f32]>, grad: Option<&[f32]>) {
    let rows = targets.len();
    let v = logits.len() / rows.max(1);
    let one = |i: usize, z: &mut [f32], logp: Option<&mut f32>| {
        let t = targets[i] as usize;
        if t >= v {
            if let Some(l) = logp {
                *l = 0.0;
            }
            if grad.is_some() {
                z.fill(0.0);
            }
            return;
        }
        let top = z.iter().fold(f32::NEG_INFINITY, |m, x| m.max(*x));
        let at = z[t] - top;
        let sum: f64 = if grad.is_some() {
            z.iter_mut()
                .map(|x| {
                    *x = (*x - top).exp();
                    f64::from(*x)
                })
                .sum()
        } else {
            z.iter().map(|x| f64::from((*x - top).exp())).sum()
        };
        if let Some(l) = logp {
            *l = (f64::from(at) - sum.ln()) as f32;
        }
        if let Some(g) = grad {
            let g = g.get(i).copied().unwrap_or(1.0);
            let s = -g / sum as f32;
            z.iter_mut().for_each(|x| *x *= s);
            z[t] += g;
        }
    };
    if let Some(logp) = logp {
        pool.rows2((logits, v), (logp, 1), 1, |first, z, l| {
            for (i, (z, l)) in z.chunks_exact_mut(v.max(1)).zip(l).enumerate() {
                one(first + i, z, Some(l));
            }
        });
    } else {
        pool.rows(logits, v, 1, |first, z| {
            for (i, z) in z.chunks_exact_mut(v.max(1)).enumerate() {
                one(first + i, z, None);
            }
        });
    }
}
