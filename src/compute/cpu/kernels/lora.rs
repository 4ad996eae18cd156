//! The low-rank products of LoRA (Hu et al. 2021): `y += s·h·Bᵀ` and its gradients. B is turned over into scratch memory first, so that the inner
//! loops run along its rows, which are long, and not along the rank, which is not.

use super::gemm::{Factors, axpys, dots};
use crate::cpu::pool::Shared;
use crate::cpu::vector::{Base, Vector};
use crate::cpu::{Pool, scratch};

/// One module's B: rows `row0..row1` of the output, columns `h_off..h_off + r` of h, B (row1 − row0, r) at `b_off`.
#[derive(Clone, Copy, Debug)]
pub struct Seg {
    pub row0: usize,
    pub row1: usize,
    pub h_off: usize,
    pub r: usize,
    pub b_off: usize,
    /// The final scale.
    pub scale: f32,
}

impl Seg {
    fn rows(&self) -> usize {
        self.row1 - self.row0
    }

    /// `scale·Bᵀ` (r, rows).
    fn turned(&self, b: &[f32], out: &mut [f32]) {
        let rows = self.rows();
        for (j, row) in b[self.b_off..self.b_off + rows * self.r].chunks_exact(self.r).enumerate() {
            for (c, v) in row.iter().enumerate() {
                out[c * rows + j] = v * self.scale;
            }
        }
    }
}

/// Rows that are worth a thread of their own.
const LEAST_ROWS: usize = 8;
/// Columns of a task where rows are summed up.
const WIDTH: usize = 192;

/// `y += scale·B·h` for one h, four rows of B at a time.
fn add_row(h: &[f32], b: &[f32], scale: f32, y: &mut [f32]) {
    let r = h.len();
    let whole = r - r % Base::LANES;
    let (mut fours, mut rows) = (y.chunks_exact_mut(4), b.chunks_exact(4 * r));
    for (y, b) in (&mut fours).zip(&mut rows) {
        // SAFETY: the base level is everywhere; h and each row of B have r ≥ `whole` values, y has four.
        unsafe {
            let mut acc = [Base::splat(0.0); 4];
            for c in (0..whole).step_by(Base::LANES) {
                let h = Base::load(h[c..].as_ptr());
                for (j, acc) in acc.iter_mut().enumerate() {
                    *acc = h.fma(Base::load(b[j * r + c..].as_ptr()), *acc);
                }
            }
            let mut sums = [0.0; 4];
            Base::sums(acc).store(sums.as_mut_ptr());
            for (j, (y, sum)) in y.iter_mut().zip(sums).enumerate() {
                let rest = (whole..r).map(|c| h[c] * b[j * r + c]).sum::<f32>();
                *y += scale * (sum + rest);
            }
        }
    }
    for (y, b) in fours.into_remainder().iter_mut().zip(rows.remainder().chunks_exact(r)) {
        *y += scale * h.iter().zip(b).map(|(h, b)| h * b).sum::<f32>();
    }
}

/// `y[:, row0..row1] += scale·h·Bᵀ` for h (m, ldh) and y (m, ldy).
///
/// # Panics
/// When the slices are too short.
pub fn add(pool: &Pool, m: usize, (h, ldh): (&[f32], usize), b: &[f32], seg: &Seg, (y, ldy): (&mut [f32], usize)) {
    assert!(h.len() >= m * ldh && y.len() >= m * ldy && seg.row1 <= ldy && seg.h_off + seg.r <= ldh);
    let rows = seg.rows();
    if m < LEAST_ROWS {
        // Too few to pay for turning B.
        let b = &b[seg.b_off..seg.b_off + rows * seg.r];
        for (h, y) in h.chunks_exact(ldh).zip(y.chunks_exact_mut(ldy)).take(m) {
            add_row(&h[seg.h_off..seg.h_off + seg.r], b, seg.scale, &mut y[seg.row0..seg.row1]);
        }
        return;
    }
    scratch::with(rows * seg.r, |turned| {
        seg.turned(b, turned);
        let turned = &*turned;
        pool.rows(&mut y[..m * ldy], ldy, LEAST_ROWS, |first, y| {
            let n = y.len() / ldy;
            // SAFETY: inside h, whose rows are as many as y's.
            let a = Factors::Rows(unsafe { h.as_ptr().add(first * ldh + seg.h_off) }, ldh);
            axpys([n, seg.r, rows], a, (turned.as_ptr(), rows), (y[seg.row0..].as_mut_ptr(), ldy), false);
        });
    });
}

/// `dh[:, h_off..h_off + r] (+)= scale·dy[:, row0..row1]·B` for dy (m, n) and dh (m, ldh).
///
/// # Panics
/// When the slices are too short.
pub fn dh(pool: &Pool, m: usize, (dy, n): (&[f32], usize), b: &[f32], seg: &Seg, (dh, ldh): (&mut [f32], usize), add: bool) {
    assert!(dy.len() >= m * n && dh.len() >= m * ldh && seg.row1 <= n && seg.h_off + seg.r <= ldh);
    let rows = seg.rows();
    scratch::with(rows * seg.r, |turned| {
        seg.turned(b, turned);
        let turned = &*turned;
        pool.rows(&mut dh[..m * ldh], ldh, LEAST_ROWS, |first, dh| {
            let count = dh.len() / ldh;
            // SAFETY: inside dy, whose rows are as many as dh's.
            let from = unsafe { dy.as_ptr().add(first * n + seg.row0) };
            dots([count, seg.r, rows], (from, n), (turned.as_ptr(), rows), (dh[seg.h_off..].as_mut_ptr(), ldh), !add);
        });
    });
}

/// `dB (+)= scale·dy[:, row0..row1]ᵀ·h` for dy (m, n) and h (m, ldh).
///
/// # Panics
/// When the slices are too short.
pub fn db(pool: &Pool, m: usize, (dy, n): (&[f32], usize), (h, ldh): (&[f32], usize), seg: &Seg, db: &mut [f32], add: bool) {
    let rows = seg.rows();
    assert!(dy.len() >= m * n && h.len() >= m * ldh && seg.row1 <= n && seg.h_off + seg.r <= ldh && db.len() >= seg.b_off + rows * seg.r);
    let out = Shared::new(db);
    pool.run(rows.div_ceil(WIDTH), |task| {
        let (j0, cols) = (task * WIDTH, WIDTH.min(rows - task * WIDTH));
        scratch::with(seg.r * WIDTH, |sums| {
            // SAFETY: inside h and dy, which have m rows.
            let (a, from) = unsafe { (Factors::Columns(h.as_ptr().add(seg.h_off), ldh), dy.as_ptr().add(seg.row0 + j0)) };
            if m == 0 {
                sums.fill(0.0);
            }
            axpys([seg.r, m, cols], a, (from, n), (sums.as_mut_ptr(), WIDTH), true);
            for j in 0..cols {
                for c in 0..seg.r {
                    let v = seg.scale * sums[c * WIDTH + j];
                    // SAFETY: tasks write disjoint rows of dB.
                    unsafe {
                        let to = out.at(seg.b_off + (j0 + j) * seg.r + c);
                        *to = if add { *to + v } else { v };
                    }
                }
            }
        });
    });
}
