//! Rotary frequencies from a configuration: plain, linear, dynamic, llama3, yarn and longrope scaling, as Transformers computes them.
//!
//! Two of them depend on the length at hand, and a table is made once. Both are exact within the context a model runs with: `dynamic`
//! changes nothing up to `max_position_embeddings`, and `longrope` uses its short factors up to `original_max_position_embeddings`,
//! where the context of such a model ends here ([`Rope::context`]): beyond it Transformers turns keys that are cached already by
//! frequencies that new queries do not use.

use crate::{Error, Result};

/// How positions become angles.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Base of the geometric row of frequencies (`rope_theta`).
    pub theta: f64,
    /// Rotated channels of a head (`head_dim · partial_rotary_factor`), even.
    pub rotary: usize,
    pub scaling: RopeScaling,
}

/// `rope_scaling` (`rope_parameters` in newer files).
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    None,
    /// Positions are divided by the factor.
    Linear {
        factor: f64,
    },
    /// NTK-aware, by the length at hand: the plain table up to `max_position_embeddings`, where our context ends.
    Dynamic,
    /// Long wavelengths are stretched, short ones kept, smoothly between.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
    /// NTK-by-parts (Peng et al. 2023) with an attention factor.
    Yarn {
        factor: f64,
        original: f64,
        beta_fast: f64,
        beta_slow: f64,
        attention: f64,
        truncate: bool,
    },
    /// A factor per frequency (Ding et al. 2024), for sequences up to `original` tokens.
    LongRope {
        short: Vec<f64>,
        original: usize,
        attention: f64,
    },
}

/// The attention factor that yarn recommends for stretching by `scale`.
pub fn yarn_mscale(scale: f64, mscale: f64) -> f64 {
    if scale <= 1.0 { 1.0 } else { 0.1 * mscale * scale.ln() + 1.0 }
}

/// The attention factor of longrope for a context stretched by `scale`.
pub fn longrope_mscale(scale: f64, original: f64) -> f64 {
    if scale <= 1.0 { 1.0 } else { (1.0 + scale.ln() / original.ln()).sqrt() }
}

impl Rope {
    /// The longest context these frequencies are right for, if that is less than what the model claims.
    pub fn context(&self) -> Option<usize> {
        match self.scaling {
            RopeScaling::LongRope { original, .. } => Some(original),
            _ => None,
        }
    }

    /// `inv_freq` (rotary/2) and the factor that cos and sin are multiplied by.
    ///
    /// # Errors
    /// [`Error::BadConfig`] when a frequency is not a finite number.
    pub fn table(&self) -> Result<(Vec<f32>, f32)> {
        let half = self.rotary / 2;
        let dim = self.rotary as f64;
        let plain: Vec<f64> = (0..half).map(|i| self.theta.powf(-2.0 * i as f64 / dim)).collect();
        let mut attention = 1.0;
        let freq: Vec<f64> = match &self.scaling {
            RopeScaling::None | RopeScaling::Dynamic => plain,
            RopeScaling::Linear { factor } => plain.iter().map(|f| f / factor).collect(),
            RopeScaling::Llama3 { factor, low, high, original } => {
                let (long, short) = (original / low, original / high);
                plain
                    .iter()
                    .map(|f| {
                        let wavelength = 2.0 * std::f64::consts::PI / f;
                        if wavelength < short {
                            *f
                        } else if wavelength > long {
                            f / factor
                        } else {
                            let smooth = (original / wavelength - low) / (high - low);
                            (1.0 - smooth) * f / factor + smooth * f
                        }
                    })
                    .collect()
            }
            RopeScaling::Yarn { factor, original, beta_fast, beta_slow, attention: a, truncate } => {
                attention = *a;
                // Channel whose wave turns `n` times within the original context.
                let channel = |n: f64| dim * (original / (n * 2.0 * std::f64::consts::PI)).ln() / (2.0 * self.theta.ln());
                let (mut low, mut high) = (channel(*beta_fast), channel(*beta_slow));
                if *truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                let (low, mut high) = (low.max(0.0), high.min(dim - 1.0));
                if low == high {
                    high += 0.001;
                }
                plain
                    .iter()
                    .enumerate()
                    .map(|(i, f)| {
                        let stretched = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                        f / factor * stretched + f * (1.0 - stretched)
                    })
                    .collect()
            }
            RopeScaling::LongRope { short, attention: a, .. } => {
                attention = *a;
                if short.len() != half {
                    let n = short.len();
                    return Err(Error::config("rope_scaling.short_factor", format!("has {n} factors, expected {half}")));
                }
                plain.iter().zip(short).map(|(f, s)| f / s).collect()
            }
        };
        if freq.iter().any(|f| !f.is_finite()) || !attention.is_finite() {
            return Err(Error::config(
                "rope_scaling",
                format!("{:?} with theta {} gives frequencies that are not finite", self.scaling, self.theta),
            ));
        }
        Ok((freq.into_iter().map(|f| f as f32).collect(), attention as f32))
    }
}
