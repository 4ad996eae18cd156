//! How far a training has moved the model from its base: the Kullback–Leibler divergence of their distributions over the vocabulary, at the
//! positions that an update judges.
//!
//! Both distributions are softmax(W·h) of one W, so that the divergence is that of log-sum-exp between two points (Bregman's):
//! KL(policy ‖ base) = ln p(t) − ln b(t) + g·(h_base − h) for any token t, with g = ∂ln p(t)/∂h, which the head has computed for the backward pass.
//! So nothing more goes through the vocabulary. What it takes is the base model's hidden states at those positions: a forward pass per row for the
//! whole training, and memory, see `States`.

use std::collections::HashMap;

use super::micro::Micro;
use crate::{Error, Result};

/// Bytes of hidden states that are kept; those of other rows are computed again when they are needed.
const STATES_BYTES: usize = if cfg!(target_arch = "wasm32") { 128 << 20 } else { 512 << 20 };

/// Hidden states (C) of rows' judged positions under the base model: of a row's first sequence, then of its second.
#[derive(Clone, Debug, Default)]
pub(super) struct States {
    rows: HashMap<u32, Vec<f32>>,
    floats: usize,
}

/// Bytes that hidden states (C = `width`) of so many positions will take, with a log-probability each.
pub(super) fn states_bytes(positions: usize, width: usize) -> u64 {
    ((positions * width * 4).min(STATES_BYTES) + positions * 4) as u64
}

impl States {
    pub fn has(&self, row: u32) -> bool {
        self.rows.contains_key(&row)
    }

    pub fn set(&mut self, row: u32, states: &[f32]) {
        self.floats += states.len();
        self.floats -= self.rows.insert(row, states.to_vec()).map_or(0, |old| old.len());
    }

    /// Those of a batch's rows, of `values` (R, C).
    pub fn set_all(&mut self, micro: &Micro, values: &[f32], width: usize) {
        let mut of = vec![Vec::new(); micro.rows.len()];
        for (seq, state) in micro.batch.seqs[..micro.batch.counted].iter().zip(values.chunks(width)) {
            of[micro.owners[*seq as usize] as usize].extend_from_slice(state);
        }
        for (row, states) in micro.rows.iter().zip(of) {
            self.set(*row, &states);
        }
    }

    /// Forgets rows other than these where there are too many.
    pub fn bound(&mut self, needed: &[u32]) {
        if self.floats * 4 > STATES_BYTES {
            self.rows.retain(|row, _| needed.contains(row));
            self.floats = self.rows.values().map(Vec::len).sum();
        }
    }

    pub fn clear(&mut self) {
        *self = States::default();
    }

    /// Those of a batch (R, C) whose rows are all known; zeros where nothing is judged.
    pub fn of(&self, micro: &Micro, width: usize) -> Vec<f32> {
        let mut rows: Vec<_> = micro.rows.iter().map(|r| self.rows.get(r).map_or(&[][..], Vec::as_slice).chunks(width)).collect();
        let mut out = vec![0.0; micro.shape.rows * width];
        let places = micro.batch.seqs[..micro.batch.counted].iter().zip(out.chunks_mut(width));
        for (seq, place) in places {
            if let Some(states) = rows[micro.owners[*seq as usize] as usize].next() {
                place.copy_from_slice(states);
            }
        }
        out
    }
}

/// What is computed once per row of the dataset by a forward pass under a fixed policy.
#[derive(Clone, Debug, Default)]
pub struct RowCache {
    rows: Vec<Option<Vec<f32>>>,
}

impl RowCache {
    /// `None` where nothing is known, also of rows that came later.
    pub fn get(&self, row: u32) -> Option<&[f32]> {
        self.rows.get(row as usize)?.as_deref()
    }

    pub fn set(&mut self, row: u32, values: Vec<f32>) {
        if self.rows.len() <= row as usize {
            self.rows.resize(row as usize + 1, None);
        }
        self.rows[row as usize] = Some(values);
    }

    /// Values of a batch's sequences, each of one of `rows`.
    pub fn set_sums(&mut self, rows: &[u32], owners: &[u32], sums: &[f32]) {
        for (i, row) in rows.iter().enumerate() {
            let own = owners.iter().zip(sums).filter(|(owner, _)| **owner as usize == i);
            self.set(*row, own.map(|(_, sum)| *sum).collect());
        }
    }

    /// Rows of `rows` that are not known yet.
    pub fn missing(&self, rows: &[u32]) -> Vec<u32> {
        rows.iter().copied().filter(|r| self.get(*r).is_none()).collect()
    }

    /// The log-probabilities (R) of a batch, per row of the dataset: those of its first sequence's judged tokens, then of its second's.
    pub fn set_logps(&mut self, micro: &Micro, logps: &[f32]) {
        let mut of = vec![Vec::new(); micro.rows.len()];
        for (row, logp) in judged(micro, logps) {
            of[row].push(logp);
        }
        for (row, values) in micro.rows.iter().zip(of) {
            self.set(*row, values);
        }
    }

    /// Σ KL over the judged positions of a batch whose rows are all known: `logps` under the policy, and `towards` = g·(h_base − h).
    pub fn sum_kl(&self, micro: &Micro, logps: &[f32], towards: &[f32]) -> f64 {
        let mut base: Vec<_> = micro.rows.iter().map(|r| self.get(*r).unwrap_or_default().iter()).collect();
        let all = judged(micro, logps).zip(towards);
        all.filter_map(|((row, p), t)| Some(f64::from(p) - f64::from(*base[row].next()?) + f64::from(*t))).sum()
    }

    /// Rows that are known, and their values one after the other.
    pub fn export(&self) -> (Vec<u32>, Vec<f32>) {
        let known = || self.rows.iter().enumerate().filter_map(|(i, v)| Some((i as u32, v.as_ref()?)));
        (known().map(|k| k.0).collect(), known().flat_map(|k| k.1.iter().copied()).collect())
    }

    /// What [`RowCache::export`] gave for a dataset of so many rows, a row having `len` values.
    ///
    /// # Errors
    /// [`Error::BadFile`] when it does not fit.
    pub fn import(file: &str, rows: usize, known: &[u32], values: &[f32], len: impl Fn(u32) -> usize) -> Result<RowCache> {
        let mut cache = RowCache::default();
        let mut rest = values;
        for row in known {
            let fits = |n: &usize| *n <= rest.len();
            let n = ((*row as usize) < rows).then(|| len(*row)).filter(fits);
            let n = n.ok_or_else(|| Error::file(file, format!("has no log-probabilities of row {row} of {rows}")))?;
            cache.set(*row, rest[..n].to_vec());
            rest = &rest[n..];
        }
        if rest.is_empty() { Ok(cache) } else { Err(Error::file(file, format!("{} log-probabilities belong to no row", rest.len()))) }
    }
}

/// (row of the batch's rows, value) of every judged position.
fn judged<'a>(micro: &'a Micro, values: &'a [f32]) -> impl Iterator<Item = (usize, f32)> + 'a {
    micro.batch.seqs[..micro.batch.counted].iter().zip(values).map(|(s, v)| (micro.owners[*s as usize] as usize, *v))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum over the vocabulary and the divergence of log-sum-exp are one.
    #[test]
    fn the_divergence_needs_no_vocabulary() {
        let (v, c) = (7, 3);
        let value = |i: usize| (i as f64 * 1.7).sin() * 2.0;
        let w: Vec<Vec<f64>> = (0..v).map(|j| (0..c).map(|i| value(j * c + i)).collect()).collect();
        let softmax = |h: &[f64]| {
            let z: Vec<f64> = w.iter().map(|w| w.iter().zip(h).map(|(w, h)| w * h).sum()).collect();
            let sum: f64 = z.iter().map(|z: &f64| z.exp()).sum();
            z.into_iter().map(|z| z.exp() / sum).collect::<Vec<f64>>()
        };
        let (h, base): (Vec<f64>, Vec<f64>) = ((0..c).map(|i| value(i + 40)).collect(), (0..c).map(|i| value(i + 50)).collect());
        let (p, b) = (softmax(&h), softmax(&base));
        let want: f64 = p.iter().zip(&b).map(|(p, b)| p * (p / b).ln()).sum();
        for t in 0..v {
            let slope = |i: usize| w[t][i] - (0..v).map(|j| p[j] * w[j][i]).sum::<f64>();
            let towards: f64 = (0..c).map(|i| slope(i) * (base[i] - h[i])).sum();
            assert!((p[t].ln() - b[t].ln() + towards - want).abs() < 1e-12);
        }
    }

    #[test]
    fn states_are_bounded_and_go_where_they_are_judged() {
        let mut states = States::default();
        states.set(5, &[1.0, 2.0, 3.0, 4.0]);
        states.set(5, &[1.0, 2.0, 3.0, 4.0]);
        states.set(6, &[7.0, 8.0]);
        assert!(states.has(5) && !states.has(4) && states.floats == 6);
        let example = |n: usize| crate::data::Example::from_parts((0..=n as u32).collect(), 1);
        let (two, one) = (example(2), example(1));
        let batch = crate::data::Batch::new(&[&two, &one], crate::data::Sight::Causal, None);
        let micro = Micro { rows: vec![5, 6], owners: vec![0, 1], shape: batch.shape, batch };
        assert_eq!(states.of(&micro, 2)[..8], [1.0, 2.0, 3.0, 4.0, 7.0, 8.0, 0.0, 0.0]);
        states.floats = STATES_BYTES;
        states.bound(&[6]);
        assert!(!states.has(5) && states.has(6) && states.floats == 2);
    }

    #[test]
    fn what_is_known_of_rows_goes_into_a_file_and_back() {
        let mut c = RowCache::default();
        c.set(2, vec![1.0, 2.0]);
        c.set(0, vec![3.0]);
        assert_eq!(c.missing(&[1, 2]), [1]);
        let (known, values) = c.export();
        assert_eq!((known.as_slice(), values.as_slice()), ([0, 2].as_slice(), [3.0, 1.0, 2.0].as_slice()));
        let len = |r: u32| if r == 0 { 1 } else { 2 };
        let back = RowCache::import("f", 3, &known, &values, len).unwrap();
        assert_eq!((back.get(0), back.get(1), back.get(2)), (c.get(0), None, c.get(2)));
        for (rows, known, n) in [(3, &known[..], 2), (2, &known[..], 3), (3, &known[..1], 3)] {
            assert_eq!(RowCache::import("f", rows, known, &values[..n], len).unwrap_err().code(), "bad-file");
        }
    }
}
