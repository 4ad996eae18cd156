//! `linear` on the processor: the product, then everything that is added to it.

use super::lora::LoraSeg;
use crate::cpu::kernels::activation::{self, Halves};
use crate::cpu::kernels::{Packed, gemm, lora};
use crate::cpu::{Pool, scratch};
use crate::ops::Act;

/// What is added to a plain product, as in `select::Extras`.
#[derive(Clone, Copy)]
pub(super) struct Extras<'a> {
    pub bias: Option<&'a [f32]>,
    /// h, flat B, and the columns of h.
    pub lora: Option<(&'a [f32], &'a [f32], usize)>,
    pub segs: &'a [LoraSeg],
    /// Multiplies every LoRA product.
    pub step: f32,
    pub residual: Option<&'a [f32]>,
}

/// A segment with its final scale.
pub(super) fn seg(s: &LoraSeg, step: f32) -> lora::Seg {
    lora::Seg { row0: s.row0, row1: s.row1, h_off: s.h_off, r: s.r, b_off: s.b_off, scale: s.scale * step }
}

/// y (m, n) of x; or act(gate)·up (m, n/2) with `glu`, whose gate and up (m, n) go to `kept` if there is one.
#[allow(clippy::too_many_arguments)]
pub(super) fn forward(
    pool: &Pool,
    m: usize,
    x: &[f32],
    w: Packed<'_>,
    y: &mut [f32],
    extras: &Extras<'_>,
    glu: Option<Act>,
    kept: Option<&mut [f32]>,
) {
    let n = w.rows;
    let Some(act) = glu else { return plain(pool, m, x, w, y, extras) };
    let mut gate = |both: &mut [f32]| {
        plain(pool, m, x, w, both, extras);
        activation::gated(pool, act.curve(), y, Halves::Fused(both), n / 2);
    };
    match kept {
        Some(both) => gate(both),
        None => scratch::with(m * n, gate),
    }
}

fn plain(pool: &Pool, m: usize, x: &[f32], w: Packed<'_>, y: &mut [f32], extras: &Extras<'_>) {
    let n = w.rows;
    gemm::forward(pool, m, x, w, y, (0, n));
    if let Some((h, b, ldh)) = extras.lora {
        for s in extras.segs.iter().filter(|_| extras.step != 0.0) {
            lora::add(pool, m, (h, ldh), b, &seg(s, extras.step), (y, n));
        }
    }
    if extras.bias.is_some() || extras.residual.is_some() {
        pool.rows(y, n, 32, |first, y| {
            for (i, y) in y.chunks_exact_mut(n).enumerate() {
                if let Some(bias) = extras.bias {
                    y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                }
                if let Some(residual) = extras.residual {
                    y.iter_mut().zip(&residual[(first + i) * n..]).for_each(|(y, r)| *y += r);
                }
            }
        });
    }
}
