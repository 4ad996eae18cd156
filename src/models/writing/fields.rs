//! A configuration as the keys of a GGUF.

use crate::formats::{Metadata, Value};
use crate::models::config::{Config, NormKind};
use crate::models::reading::json::Json;
use crate::models::rope::{Rope, RopeScaling, yarn_mscale};
use crate::{Error, Result};

/// How a family writes its GGUFs.
pub struct ToGguf {
    /// `general.architecture`, which keys begin with.
    pub arch: &'static str,
    /// What is its own, behind what most decoders share.
    pub own: fn(&mut Fields<'_>) -> Result<()>,
}

impl ToGguf {
    /// A family that has nothing of its own.
    pub const fn plain(arch: &'static str) -> Option<ToGguf> {
        Some(ToGguf { arch, own: |_| Ok(()) })
    }

    pub const fn with(arch: &'static str, own: fn(&mut Fields<'_>) -> Result<()>) -> Option<ToGguf> {
        Some(ToGguf { arch, own })
    }
}

/// Metadata that is being written, and the small tensors that belong to it.
pub struct Fields<'a> {
    pub arch: &'static str,
    pub config: &'a Config,
    /// The `config.json`, for what the engine does not keep.
    pub json: &'a Json<'a>,
    pub metadata: Metadata,
    pub tensors: Vec<(String, Vec<f32>)>,
}

impl Fields<'_> {
    pub fn size(&mut self, field: &str, value: usize) -> Result<()> {
        let value = u32::try_from(value).map_err(|_| Error::config(field, format!("is {value}, a GGUF holds at most {}", u32::MAX)))?;
        self.put(field, Value::U32(value));
        Ok(())
    }

    pub fn number(&mut self, field: &str, value: f32) {
        self.put(field, Value::F32(value));
    }

    pub fn flag(&mut self, field: &str, value: bool) {
        self.put(field, Value::Bool(value));
    }

    fn put(&mut self, field: &str, value: Value) {
        self.metadata.insert(format!("{}.{field}", self.arch), value);
    }

    /// What nearly all decoders say: the inverse of [`decoder::gguf`](crate::models::reading::decoder::gguf).
    ///
    /// # Errors
    /// [`Error::BadConfig`] for what a GGUF cannot say.
    pub fn decoder(&mut self) -> Result<()> {
        let c = self.config;
        self.size("vocab_size", c.vocab_size)?;
        self.size("context_length", c.max_position_embeddings)?;
        self.size("embedding_length", c.hidden_size)?;
        self.size("feed_forward_length", c.intermediate_size)?;
        self.size("block_count", c.num_hidden_layers)?;
        self.size("attention.head_count", c.num_attention_heads)?;
        self.size("attention.head_count_kv", c.num_key_value_heads)?;
        self.size("attention.key_length", c.head_dim)?;
        self.size("attention.value_length", c.head_dim)?;
        let eps = match c.norm {
            NormKind::Rms { .. } => "attention.layer_norm_rms_epsilon",
            NormKind::Layer { .. } => "attention.layer_norm_epsilon",
        };
        self.number(eps, c.norm_eps);
        if let Some(window) = c.sliding_window.filter(|_| c.has_windows()) {
            self.size("attention.sliding_window", window)?;
        }
        for (field, cap) in [("attn_logit_softcapping", c.attn_logit_softcapping), ("final_logit_softcapping", c.final_logit_softcapping)] {
            if let Some(cap) = cap {
                self.number(field, cap);
            }
        }
        match &c.rope {
            Some(rope) => self.rope(rope),
            None => Err(Error::config("model_type", format!("{:?} has a table of positions, which is not written", c.model_type))),
        }
    }

    fn rope(&mut self, rope: &Rope) -> Result<()> {
        self.size("rope.dimension_count", rope.rotary)?;
        self.number("rope.freq_base", rope.theta as f32);
        match &rope.scaling {
            RopeScaling::None | RopeScaling::Dynamic => {}
            RopeScaling::Linear { factor } => {
                self.put("rope.scaling.type", Value::String("linear".into()));
                self.number("rope.scaling.factor", *factor as f32);
            }
            RopeScaling::Llama3 { .. } => {
                // As the converter has them: divisors of the plain frequencies.
                let plain = Rope { scaling: RopeScaling::None, ..rope.clone() };
                let factors = plain.table()?.0.iter().zip(rope.table()?.0).map(|(p, s)| p / s).collect();
                self.tensors.push(("rope_freqs.weight".into(), factors));
            }
            RopeScaling::Yarn { factor, original, beta_fast, beta_slow, attention, .. } => {
                self.put("rope.scaling.type", Value::String("yarn".into()));
                self.number("rope.scaling.factor", *factor as f32);
                self.number("rope.scaling.original_context_length", *original as f32);
                self.size("rope.scaling.original_context_length", *original as usize)?;
                self.number("rope.scaling.yarn_beta_fast", *beta_fast as f32);
                self.number("rope.scaling.yarn_beta_slow", *beta_slow as f32);
                self.number("rope.scaling.attn_factor", (attention / yarn_mscale(*factor, 1.0)) as f32);
            }
            RopeScaling::LongRope { short, original, attention } => {
                let long =
                    self.json.get("rope_scaling").or_else(|| self.json.get("rope_parameters")).and_then(|s| s["long_factor"].as_array());
                let long: Option<Vec<f32>> = long.and_then(|l| l.iter().map(|v| v.as_f64().map(|v| v as f32)).collect());
                let long = long.ok_or_else(|| Error::config("rope_scaling.long_factor", "is missing, or is no list of numbers"))?;
                self.size("rope.scaling.original_context_length", *original)?;
                self.number("rope.scaling.attn_factor", *attention as f32);
                self.tensors.push(("rope_factors_long.weight".into(), long));
                self.tensors.push(("rope_factors_short.weight".into(), short.iter().map(|v| *v as f32).collect()));
            }
        }
        Ok(())
    }
}
