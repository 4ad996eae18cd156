//! Rows picked by index.

use super::Packed;
use super::lanes::put;
use crate::cpu::Pool;

/// Elements worth a piece of work.
const LEAST: usize = 16_384;

/// `y[m] = w[ids[m]]`, 0 for an id outside.
pub fn embed(pool: &Pool, y: &mut [f32], w: &Packed<'_>, ids: &[u32]) {
    let cols = w.cols;
    if y.is_empty() {
        return;
    }
    pool.rows(y, cols, 4096 / cols + 1, |first, y| {
        for (y, id) in y.chunks_exact_mut(cols).zip(&ids[first..]) {
            if (*id as usize) < w.rows { w.read(*id as usize, 0, y) } else { y.fill(0.0) }
        }
    });
}

/// `y[r] = x[idx[r]]`, 0 for an index outside.
pub fn gather(pool: &Pool, y: &mut [f32], x: &[f32], idx: &[u32], cols: usize, acc: bool) {
    if y.is_empty() {
        return;
    }
    pool.rows(y, cols, LEAST / cols + 1, |first, y| {
        for (y, i) in y.chunks_exact_mut(cols).zip(&idx[first..]) {
            let at = (*i as usize).saturating_mul(cols);
            match x.get(at..at.saturating_add(cols)) {
                Some(x) => y.iter_mut().zip(x).for_each(|(y, x)| put(y, *x, acc)),
                None if acc => {}
                None => y.fill(0.0),
            }
        }
    });
}

/// `w[ids[m]] += x[m]` in the order of m; without `acc`, from zeros. Each thread looks through all ids for those of its rows.
pub fn scatter(pool: &Pool, w: &mut [f32], x: &[f32], ids: &[u32], cols: usize, acc: bool) {
    if w.is_empty() {
        return;
    }
    pool.rows(w, cols, LEAST / cols + 1, |first, w| {
        if !acc {
            w.fill(0.0);
        }
        for (id, x) in ids.iter().zip(x.chunks_exact(cols)) {
            let Some(row) = (*id as usize).checked_sub(first).filter(|r| *r < w.len() / cols) else { continue };
            w[row * cols..(row + 1) * cols].iter_mut().zip(x).for_each(|(w, x)| *w += x);
        }
    });
}
