//! Rotary frequencies from a configuration: plain, linear, dynamic, llama3 and yarn scaling, as Transformers computes them.

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
}

/// The attention factor that yarn recommends for stretching by `scale`.
pub(super) fn yarn_mscale(scale: f64, mscale: f64) -> f64 {
    if scale <= 1.0 { 1.0 } else { 0.1 * mscale * scale.ln() + 1.0 }
}

impl Rope {
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
