//! Rows picked by index.

use super::Packed;
use super::lanes::put;
use crate::cpu::Pool;
use crate::cpu::pool::Shared;

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

/// The adapter that each column belongs to, and the factor of the column.
#[derive(Clone, Copy)]
pub struct Columns<'a> {
    pub owners: &'a [u32],
    pub scales: &'a [f32],
}

/// `y[m, c] = scales[c]·x[m, c]` where column c belongs to `rows[m]`, otherwise 0.
pub fn owned(pool: &Pool, y: &mut [f32], x: &[f32], rows: &[u32], columns: Columns<'_>, acc: bool) {
    if y.is_empty() {
        return;
    }
    let cols = columns.owners.len();
    pool.rows(y, cols, LEAST / cols + 1, |first, y| {
        for (i, y) in y.chunks_exact_mut(cols).enumerate() {
            let (row, x) = (rows[first + i], &x[(first + i) * cols..]);
            for (((y, x), owner), scale) in y.iter_mut().zip(x).zip(columns.owners).zip(columns.scales) {
                put(y, if *owner == row && row != u32::MAX { scale * x } else { 0.0 }, acc);
            }
        }
    });
}

/// Copies `rows` × `cols` values between two tensors: each with its first value and the distance of its rows.
///
/// # Panics
/// When the slices are too short.
pub fn copy_block(pool: &Pool, [rows, cols]: [usize; 2], (x, from): (&[f32], Place), (y, to): (&mut [f32], Place), acc: bool) {
    let end = |(at, stride): Place| at + rows.saturating_sub(1) * stride + cols;
    assert!(rows == 0 || (end(from) <= x.len() && end(to) <= y.len() && (rows == 1 || to.1 >= cols)), "a block outside its tensors");
    let out = Shared::new(y);
    pool.ranges(rows, LEAST / cols.max(1) + 1, |range| {
        for r in range {
            let x = &x[from.0 + r * from.1..][..cols];
            // SAFETY: inside y (checked above); rows are disjoint, and each belongs to one task.
            let y = unsafe { std::slice::from_raw_parts_mut(out.at(to.0 + r * to.1), cols) };
            if acc { y.iter_mut().zip(x).for_each(|(y, x)| *y += x) } else { y.copy_from_slice(x) }
        }
    });
}

/// First value of a block and the distance from one of its rows to the next.
pub type Place = (usize, usize);
