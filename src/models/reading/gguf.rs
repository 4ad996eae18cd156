//! Reading the metadata of a GGUF, with errors that name its keys.

use crate::Error;
use crate::Result;
use crate::formats::{Container, Metadata};
use crate::models::rope::{Rope, RopeScaling, yarn_mscale};

/// A file and the name of its architecture, which its keys begin with.
pub struct Gguf<'a> {
    pub file: &'a Container,
    pub arch: &'a str,
}

impl<'a> Gguf<'a> {
    fn metadata(&self) -> &'a Metadata {
        &self.file.metadata
    }

    /// The whole key of a field of the architecture.
    pub fn key(&self, field: &str) -> String {
        format!("{}.{field}", self.arch)
    }

    pub fn size(&self, field: &str) -> Result<usize> {
        self.metadata().usize(&self.key(field))
    }

    pub fn opt_size(&self, field: &str) -> Result<Option<usize>> {
        self.metadata().opt_usize(&self.key(field))
    }

    pub fn number(&self, field: &str) -> Result<f32> {
        self.metadata().f32(&self.key(field))
    }

    pub fn opt_number(&self, field: &str) -> Result<Option<f32>> {
        self.metadata().opt_f32(&self.key(field))
    }

    pub fn opt_flag(&self, field: &str) -> Result<Option<bool>> {
        self.metadata().opt_bool(&self.key(field))
    }

    pub fn opt_text(&self, field: &str) -> Result<Option<&'a str>> {
        self.metadata().opt_str(&self.key(field))
    }

    /// Is there such a tensor?
    pub fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_some()
    }

    /// Rows of the embedding, or what the metadata says.
    pub fn vocab_size(&self) -> Result<usize> {
        match self.file.tensor("token_embd.weight").and_then(|t| t.shape.first().copied()) {
            Some(v) => Ok(v),
            None => self.size("vocab_size"),
        }
    }

    /// The token a sequence begins with.
    pub fn bos(&self) -> Result<Option<u32>> {
        self.metadata().opt_token_id("tokenizer.ggml.bos_token_id")
    }

    /// Every id that ends an answer.
    pub fn eos(&self) -> Result<Vec<u32>> {
        let mut eos = Vec::new();
        for k in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
            if let Some(id) = self.metadata().opt_token_id(k)?
                && !eos.contains(&id)
            {
                eos.push(id);
            }
        }
        Ok(eos)
    }

    /// Rotary positions. Factors that lie in a tensor of the file divide the frequencies later.
    ///
    /// # Errors
    /// [`Error::BadConfig`] with the key.
    pub fn rope(&self, head_dim: usize, context: usize) -> Result<Rope> {
        let original = self.opt_number("rope.scaling.original_context_length")?.map_or(context as f64, f64::from);
        let scaling_number =
            |k: &str, default: f64| -> Result<f64> { Ok(self.opt_number(&format!("rope.scaling.{k}"))?.map_or(default, f64::from)) };
        // Files without scaling may say 0.
        let factor = Some(scaling_number("factor", 1.0)?).filter(|f| *f != 0.0).unwrap_or(1.0);
        if !(factor.is_finite() && factor >= 1.0) {
            return Err(Error::config(self.key("rope.scaling.factor"), format!("is {factor}, expected at least 1")));
        }
        let scaling = match self.opt_text("rope.scaling.type")?.unwrap_or("none") {
            "none" => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor },
            "yarn" => RopeScaling::Yarn {
                factor,
                original,
                beta_fast: scaling_number("yarn_beta_fast", 32.0)?,
                beta_slow: scaling_number("yarn_beta_slow", 1.0)?,
                attention: scaling_number("attn_factor", 1.0)? * yarn_mscale(factor, 1.0),
                truncate: true,
            },
            other => {
                return Err(Error::config(self.key("rope.scaling.type"), format!("{other:?} is not supported (none, linear, yarn)")));
            }
        };
        Ok(Rope {
            theta: self.opt_number("rope.freq_base")?.map_or(10_000.0, f64::from),
            rotary: self.opt_size("rope.dimension_count")?.unwrap_or(head_dim),
            scaling,
        })
    }
}
