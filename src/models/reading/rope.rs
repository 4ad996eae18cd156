//! Rotary positions as a `config.json` describes them.

use serde_json::Value;

use super::json::Json;
use crate::models::rope::{Rope, RopeScaling, longrope_mscale, yarn_mscale};
use crate::{Error, Result};

/// Where a family has its rotary positions, and what holds where a file says nothing.
#[derive(Clone, Copy)]
pub struct Fields {
    /// Those of the layers of a type (`layer_types`), where a file has several.
    pub layer_type: Option<&'static str>,
    /// Key outside `rope_parameters`, and default, of the base.
    pub theta: (&'static str, f64),
    /// The same of the share of a head that turns.
    pub partial: (&'static str, f64),
    /// Does `rope_scaling`, as older files have it, hold for them?
    pub scaled: bool,
}

impl Default for Fields {
    fn default() -> Self {
        Fields { layer_type: None, theta: ("rope_theta", 10_000.0), partial: ("partial_rotary_factor", 1.0), scaled: true }
    }
}

/// Rotary positions.
///
/// # Errors
/// [`Error::BadConfig`] with the field.
pub fn json(j: &Json<'_>, fields: &Fields, head_dim: usize, max_positions: usize) -> Result<Rope> {
    // Transformers 5 writes rope_parameters with theta inside (by layer type where they differ), older files rope_theta and rope_scaling.
    let empty = Value::Object(Default::default());
    let parameters = j.get("rope_parameters");
    let own = fields.layer_type.and_then(|t| parameters?.get(t)).filter(|v| v.is_object());
    let old = if fields.scaled { j.get("rope_scaling") } else { None };
    let inner = Json { map: own.or(parameters).or(old).unwrap_or(&empty) };
    let theta = match inner.opt_number("rope_theta")? {
        Some(t) => t,
        None => j.opt_number(fields.theta.0)?.unwrap_or(fields.theta.1),
    };
    let partial = match inner.opt_number("partial_rotary_factor")? {
        Some(p) => p,
        None => j.opt_number(fields.partial.0)?.unwrap_or(fields.partial.1),
    };
    if !(partial > 0.0 && partial <= 1.0) {
        return Err(Error::config("partial_rotary_factor", format!("is {partial}, expected above 0 up to 1")));
    }
    let factor = || -> Result<f64> {
        let f = inner.number("factor")?;
        if f.is_finite() && f >= 1.0 { Ok(f) } else { Err(Error::config("rope_scaling.factor", format!("is {f}, expected at least 1"))) }
    };
    let original = || -> Result<f64> {
        let found = match inner.opt_number("original_max_position_embeddings")? {
            Some(v) => v,
            None => j.opt_number("original_max_position_embeddings")?.unwrap_or(max_positions as f64),
        };
        if found >= 1.0 {
            Ok(found)
        } else {
            Err(Error::config("original_max_position_embeddings", format!("is {found}, expected at least 1")))
        }
    };
    let scaling = match inner.text("rope_type").or_else(|| inner.text("type")).unwrap_or("default") {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: factor()? },
        "dynamic" => RopeScaling::Dynamic,
        "llama3" => {
            let (low, high) = (inner.number("low_freq_factor")?, inner.number("high_freq_factor")?);
            if !(low > 0.0 && high > low) {
                return Err(Error::config("rope_scaling.high_freq_factor", format!("{high} must be above low_freq_factor {low} > 0")));
            }
            RopeScaling::Llama3 { factor: factor()?, low, high, original: original()? }
        }
        "yarn" => {
            let factor = factor()?;
            let attention = match (inner.opt_number("attention_factor")?, inner.opt_number("mscale")?, inner.opt_number("mscale_all_dim")?)
            {
                (Some(a), _, _) => a,
                (None, Some(m), Some(all)) if m != 0.0 && all != 0.0 => yarn_mscale(factor, m) / yarn_mscale(factor, all),
                _ => yarn_mscale(factor, 1.0),
            };
            RopeScaling::Yarn {
                factor,
                original: original()?,
                beta_fast: inner.opt_number("beta_fast")?.unwrap_or(32.0),
                beta_slow: inner.opt_number("beta_slow")?.unwrap_or(1.0),
                attention,
                truncate: inner.flag("truncate", true)?,
            }
        }
        // Phi-3's first files call it su.
        "longrope" | "su" => {
            let original = original()?;
            let short = (inner.get("short_factor").and_then(Value::as_array))
                .ok_or_else(|| Error::config("rope_scaling.short_factor", "is missing"))?
                .iter()
                .map(|v| v.as_f64().filter(|f| *f > 0.0).ok_or_else(|| Error::config("rope_scaling.short_factor", format!("holds {v}"))))
                .collect::<Result<Vec<f64>>>()?;
            let scale = inner.opt_number("factor")?.unwrap_or(max_positions as f64 / original);
            let attention = inner.opt_number("attention_factor")?.unwrap_or_else(|| longrope_mscale(scale, original));
            RopeScaling::LongRope { short, original: original as usize, attention }
        }
        other => {
            let message = format!("{other:?} is not supported (default, linear, dynamic, llama3, yarn, longrope)");
            return Err(Error::config("rope_scaling", message));
        }
    };
    Ok(Rope { theta, rotary: (head_dim as f64 * partial) as usize, scaling })
}
