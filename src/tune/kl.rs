//! How far a training has moved the model from its base: an estimate of the Kullback–Leibler divergence from the tokens it trains on.

use super::micro::Micro;
use crate::{Error, Result};

/// Schulman's estimator k3 ("Approximating KL Divergence", 2020, <http://joschu.net/blog/kl-approx.html>) of KL(policy ‖ base) at one
/// token: r − 1 − ln r with r = base/policy, that is exp(d) − 1 − d for d = ln p(base) − ln p(policy). Never negative, and 0 where both
/// agree. It is unbiased for tokens drawn from the policy; those of a dataset are not, so what is reported is a measure of how far the
/// model has moved *on them*.
pub fn k3(base: f64, policy: f64) -> f64 {
    let d = base - policy;
    // A policy that has all but ruled a token out is as far away as can be said in a number.
    (d.exp_m1() - d).clamp(0.0, f64::MAX)
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

    /// Values of a batch's sequences, which are numbered row by row, the second ones behind all first.
    pub fn set_sums(&mut self, rows: &[u32], sums: &[f32]) {
        for (i, row) in rows.iter().enumerate() {
            self.set(*row, sums.iter().skip(i).step_by(rows.len()).copied().collect());
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

    /// Σ [`k3`] over the judged tokens of a batch whose rows are all known.
    pub fn sum_k3(&self, micro: &Micro, logps: &[f32]) -> f64 {
        let mut base: Vec<_> = micro.rows.iter().map(|r| self.get(*r).unwrap_or_default().iter()).collect();
        judged(micro, logps).filter_map(|(row, p)| Some(k3(f64::from(*base[row].next()?), f64::from(p)))).sum()
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

/// (row of the batch's rows, value) of every judged position. Sequences are numbered row by row, of pairs the second ones behind all first.
fn judged<'a>(micro: &'a Micro, values: &'a [f32]) -> impl Iterator<Item = (usize, f32)> + 'a {
    micro.batch.seqs[..micro.batch.counted].iter().zip(values).map(|(s, v)| (*s as usize % micro.rows.len(), *v))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k3_is_a_distance() {
        assert_eq!(k3(-1.5, -1.5), 0.0);
        // r = 1/2: 1/2 − 1 + ln 2.
        assert!((k3(-2.0 * std::f64::consts::LN_2, -std::f64::consts::LN_2) - (std::f64::consts::LN_2 - 0.5)).abs() < 1e-15);
        assert!(k3(-3.0, -1.0) > 0.0 && k3(-1.0, -3.0) > 0.0);
        assert!(k3(-1.0, -1e6).is_finite());
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
