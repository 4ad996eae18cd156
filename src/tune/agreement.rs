//! How well scores agree with comparisons: whether they order answers rightly, and how true the probabilities are that they stand for.

use serde::Serialize;

/// Parts into which confidences are sorted to compare them with what came true.
const BINS: usize = 10;

/// How well scores agree with comparisons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Agreement {
    /// Strict pairs.
    pub pairs: usize,
    /// Share of pairs whose better answer has the higher score.
    pub accuracy: f64,
    /// By how much, in the mean.
    pub margin: f64,
    /// Mean of −ln σ(better − worse), in nats: ln 2 says nothing.
    pub loss: f64,
    /// Mean of (1 − σ(better − worse))²: 0.25 says nothing.
    pub brier: f64,
    /// Expected calibration error: how far the share of right orders is from the probability σ(|difference|) that was given to them, the mean over ten
    /// equal parts of ½…1 by how many pairs are in each. 0 is a reward model whose probabilities are true.
    pub calibration_error: f64,
}

impl Agreement {
    /// Of differences better − worse.
    pub fn of(gaps: &[f64]) -> Agreement {
        let n = gaps.len();
        if n == 0 {
            return Agreement::default();
        }
        let mean = |f: &dyn Fn(f64) -> f64| gaps.iter().map(|g| f(*g)).sum::<f64>() / n as f64;
        let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut bins = [(0.0, 0.0); BINS];
        for gap in gaps {
            let sure = sigma(gap.abs());
            let bin = &mut bins[(((sure - 0.5) * 2.0 * BINS as f64) as usize).min(BINS - 1)];
            // Two equal scores say either order with one half.
            let right = if *gap == 0.0 { 0.5 } else { f64::from(u8::from(*gap > 0.0)) };
            *bin = (bin.0 + right, bin.1 + sure);
        }
        Agreement {
            pairs: n,
            accuracy: mean(&|g| f64::from(u8::from(g > 0.0))),
            margin: mean(&|g| g),
            loss: mean(&|g| (-g).max(0.0) + (-g.abs()).exp().ln_1p()),
            brier: mean(&|g| (1.0 - sigma(g)).powi(2)),
            calibration_error: bins.iter().map(|(right, sure)| (right - sure).abs()).sum::<f64>() / n as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_what_it_says() {
        // As right as it is sure: three of four with ln 3 between them.
        let sure = 3f64.ln();
        let a = Agreement::of(&[sure, sure, sure, -sure]);
        assert!((a.accuracy - 0.75).abs() < 1e-12 && a.calibration_error < 1e-12, "{a:?}");
        assert!((a.brier - (3.0 * 0.0625 + 0.5625) / 4.0).abs() < 1e-12 && (a.margin - sure / 2.0).abs() < 1e-12, "{a:?}");
        // Sure and wrong.
        let a = Agreement::of(&[-40.0; 3]);
        assert!(a.accuracy == 0.0 && (a.calibration_error - 1.0).abs() < 1e-9 && (a.loss - 40.0).abs() < 1e-9, "{a:?}");
        // No opinion.
        let a = Agreement::of(&[0.0; 2]);
        assert!(a.accuracy == 0.0 && a.calibration_error == 0.0 && (a.loss - std::f64::consts::LN_2).abs() < 1e-12 && a.brier == 0.25);
        assert_eq!(Agreement::of(&[]).pairs, 0);
    }
}
