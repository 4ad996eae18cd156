//! One configuration for every architecture here: the fields of a Hugging Face `config.json`, read from that file or from the
//! metadata of a GGUF. Files are hostile: every number is checked before anything is sized by it.

use serde_json::Value;

use super::rope::{Rope, RopeScaling, longrope_mscale, yarn_mscale};
use crate::formats::Container;
use crate::nn::KvCacheDtype;
use crate::ops::Act;
use crate::{Error, Result};

/// What the loader can run.
pub const SUPPORTED: &str = "llama, mistral, smollm, qwen2, qwen3, gpt2";

/// A decoder-only Transformer. Names are those of `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub model_type: String,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub max_position_embeddings: usize,
    /// RMSNorm; otherwise LayerNorm with biases.
    pub rms_norm: bool,
    /// `rms_norm_eps` or `layer_norm_epsilon`.
    pub norm_eps: f32,
    /// Rotary positions; `None` = a learned table.
    pub rope: Option<Rope>,
    pub hidden_act: Act,
    /// act(gate)·up; otherwise one layer with the activation.
    pub gated_mlp: bool,
    pub tie_word_embeddings: bool,
    /// Biases of q, k, v.
    pub attention_bias: bool,
    /// Bias of the output projection.
    pub attention_out_bias: bool,
    pub mlp_bias: bool,
    /// RMSNorm on every head of q and k before the rotation (Qwen3).
    pub qk_norm: bool,
    /// Keys a windowed layer sees, the query's own position included.
    pub sliding_window: Option<usize>,
    /// Per layer: does it use the window?
    pub windowed: Vec<bool>,
    pub bos_token_id: Option<u32>,
    /// Every id that ends an answer.
    pub eos_token_ids: Vec<u32>,
}

/// Reads fields of a JSON object with errors that name them.
struct Json<'a> {
    map: &'a Value,
}

impl Json<'_> {
    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    fn opt_size(&self, key: &str) -> Result<Option<usize>> {
        self.get(key)
            .map(|v| {
                v.as_u64().and_then(|v| usize::try_from(v).ok()).ok_or_else(|| Error::config(key, format!("expected a size, found {v}")))
            })
            .transpose()
    }

    fn size(&self, key: &str) -> Result<usize> {
        self.opt_size(key)?.ok_or_else(|| Error::config(key, "is missing"))
    }

    fn opt_number(&self, key: &str) -> Result<Option<f64>> {
        self.get(key).map(|v| v.as_f64().ok_or_else(|| Error::config(key, format!("expected a number, found {v}")))).transpose()
    }

    fn number(&self, key: &str) -> Result<f64> {
        self.opt_number(key)?.ok_or_else(|| Error::config(key, "is missing"))
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool> {
        self.get(key).map_or(Ok(default), |v| v.as_bool().ok_or_else(|| Error::config(key, format!("expected true or false, found {v}"))))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    /// One id or a list of ids.
    fn ids(&self, key: &str) -> Result<Vec<u32>> {
        let id = |v: &Value| {
            v.as_u64().and_then(|v| u32::try_from(v).ok()).ok_or_else(|| Error::config(key, format!("expected a token id, found {v}")))
        };
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(a)) => a.iter().map(id).collect(),
            Some(v) => Ok(vec![id(v)?]),
        }
    }
}

fn activation(name: &str) -> Result<Act> {
    Ok(match name {
        "silu" | "swish" => Act::Silu,
        "gelu" => Act::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Act::GeluTanh,
        "relu" => Act::Relu,
        other => {
            return Err(Error::config("hidden_act", format!("{other:?} is not supported (silu, gelu, gelu_new, gelu_pytorch_tanh, relu)")));
        }
    })
}

impl Config {
    /// From the text of a `config.json`.
    ///
    /// # Errors
    /// [`Error::BadFile`] when it is not JSON, [`Error::UnsupportedArchitecture`], [`Error::BadConfig`] with the field's name.
    pub fn from_json(file: &str, text: &str) -> Result<Config> {
        let value: Value = serde_json::from_str(text).map_err(|e| Error::file(file, format!("is not JSON: {e}")))?;
        let j = Json { map: &value };
        let model_type = j.text("model_type").ok_or_else(|| Error::config("model_type", format!("is missing in {file}")))?.to_string();
        let config = match model_type.as_str() {
            "llama" | "mistral" | "smollm" | "qwen2" | "qwen3" => Self::llama_json(&j, model_type.clone())?,
            "gpt2" => j.as_gpt2()?.config()?,
            other => return Err(Error::UnsupportedArchitecture { found: other.to_string(), supported: SUPPORTED.into() }),
        };
        config.checked()
    }

    fn llama_json(j: &Json<'_>, model_type: String) -> Result<Config> {
        let hidden_size = j.size("hidden_size")?;
        let heads = j.size("num_attention_heads")?;
        let layers = j.size("num_hidden_layers")?;
        let head_dim = match j.opt_size("head_dim")? {
            Some(d) => d,
            None if heads > 0 => hidden_size / heads,
            None => 0,
        };
        let max_position_embeddings = j.opt_size("max_position_embeddings")?.unwrap_or(2048);
        let rope = rope_json(j, head_dim, max_position_embeddings)?;
        let max_position_embeddings = rope.context().unwrap_or(max_position_embeddings).min(max_position_embeddings);
        let qwen2 = model_type == "qwen2";
        let attention_bias = if qwen2 { true } else { j.flag("attention_bias", false)? };
        // Mistral windows every layer; Qwen only with use_sliding_window, and layer_types has the last word.
        let windows_on = if model_type.starts_with("qwen") { j.flag("use_sliding_window", false)? } else { true };
        let sliding_window = if windows_on { j.opt_size("sliding_window")? } else { None };
        let from = if qwen2 || model_type == "qwen3" { j.opt_size("max_window_layers")?.unwrap_or(0) } else { 0 };
        let layers_capped = layers.min(MAX_LAYERS);
        let mut windowed: Vec<bool> = (0..layers_capped).map(|i| sliding_window.is_some() && i >= from).collect();
        if let Some(types) = j.get("layer_types").and_then(Value::as_array) {
            if types.len() != layers {
                return Err(Error::config("layer_types", format!("{} entries for {layers} layers", types.len())));
            }
            for (w, t) in windowed.iter_mut().zip(types) {
                *w = match t.as_str() {
                    Some("full_attention") => false,
                    Some("sliding_attention") => true,
                    _ => return Err(Error::config("layer_types", format!("{t} is not supported (full_attention, sliding_attention)"))),
                };
            }
        }
        if windowed.contains(&true) && sliding_window.is_none() {
            return Err(Error::config("sliding_window", "is missing, but layer_types names windowed layers"));
        }
        Ok(Config {
            vocab_size: j.size("vocab_size")?,
            hidden_size,
            intermediate_size: j.size("intermediate_size")?,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: j.opt_size("num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            max_position_embeddings,
            rms_norm: true,
            norm_eps: j.opt_number("rms_norm_eps")?.unwrap_or(1e-6) as f32,
            rope: Some(rope),
            hidden_act: activation(j.text("hidden_act").unwrap_or("silu"))?,
            gated_mlp: true,
            tie_word_embeddings: j.flag("tie_word_embeddings", false)?,
            attention_bias,
            // `attention_bias` of the Llama family covers all four projections, Qwen2 has it on q, k, v only.
            attention_out_bias: attention_bias && !qwen2,
            mlp_bias: j.flag("mlp_bias", false)?,
            qk_norm: model_type == "qwen3",
            sliding_window,
            windowed,
            bos_token_id: j.ids("bos_token_id")?.first().copied(),
            eos_token_ids: j.ids("eos_token_id")?,
            model_type,
        })
    }

    /// From the metadata of a GGUF and the names of its tensors (biases and an untied head are known by their presence).
    ///
    /// # Errors
    /// As [`Config::from_json`].
    pub fn from_gguf(file: &Container) -> Result<Config> {
        let m = &file.metadata;
        let arch = m.str("general.architecture")?.to_string();
        if !["llama", "qwen2", "qwen3"].contains(&arch.as_str()) {
            return Err(Error::UnsupportedArchitecture { found: arch, supported: "in a GGUF: llama, qwen2, qwen3".into() });
        }
        let key = |k: &str| format!("{arch}.{k}");
        let hidden_size = m.usize(&key("embedding_length"))?;
        let heads = m.usize(&key("attention.head_count"))?;
        let head_dim = match m.opt_usize(&key("attention.key_length"))? {
            Some(d) => d,
            None if heads > 0 => hidden_size / heads,
            None => 0,
        };
        let layers = m.usize(&key("block_count"))?;
        let context = m.usize(&key("context_length"))?;
        let original = m.opt_f32(&key("rope.scaling.original_context_length"))?.map_or(context as f64, f64::from);
        let scaling_number =
            |k: &str, default: f64| -> Result<f64> { Ok(m.opt_f32(&key(&format!("rope.scaling.{k}")))?.map_or(default, f64::from)) };
        // Files without scaling may say 0.
        let factor = Some(scaling_number("factor", 1.0)?).filter(|f| *f != 0.0).unwrap_or(1.0);
        if !(factor.is_finite() && factor >= 1.0) {
            return Err(Error::config(key("rope.scaling.factor"), format!("is {factor}, expected at least 1")));
        }
        let scaling = match m.opt_str(&key("rope.scaling.type"))?.unwrap_or("none") {
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
            other => return Err(Error::config(key("rope.scaling.type"), format!("{other:?} is not supported (none, linear, yarn)"))),
        };
        let window = m.opt_usize(&key("attention.sliding_window"))?.filter(|w| *w > 0);
        let vocab_size = match file.tensor("token_embd.weight").and_then(|t| t.shape.first().copied()) {
            Some(v) => v,
            None => m.usize(&key("vocab_size"))?,
        };
        let mut eos = Vec::new();
        for k in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
            if let Some(id) = m.opt_u32(k)?
                && !eos.contains(&id)
            {
                eos.push(id);
            }
        }
        Config {
            vocab_size,
            hidden_size,
            intermediate_size: m.usize(&key("feed_forward_length"))?,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: m.opt_usize(&key("attention.head_count_kv"))?.unwrap_or(heads),
            head_dim,
            max_position_embeddings: context,
            rms_norm: true,
            norm_eps: m.f32(&key("attention.layer_norm_rms_epsilon"))?,
            rope: Some(Rope {
                theta: m.opt_f32(&key("rope.freq_base"))?.map_or(10_000.0, f64::from),
                rotary: m.opt_usize(&key("rope.dimension_count"))?.unwrap_or(head_dim),
                scaling,
            }),
            hidden_act: Act::Silu,
            gated_mlp: true,
            tie_word_embeddings: file.tensor("output.weight").is_none(),
            attention_bias: file.tensor("blk.0.attn_q.bias").is_some(),
            attention_out_bias: file.tensor("blk.0.attn_output.bias").is_some(),
            mlp_bias: file.tensor("blk.0.ffn_gate.bias").is_some(),
            qk_norm: file.tensor("blk.0.attn_q_norm.weight").is_some(),
            sliding_window: window,
            windowed: vec![window.is_some(); layers.min(MAX_LAYERS)],
            bos_token_id: m.opt_u32("tokenizer.ggml.bos_token_id")?,
            eos_token_ids: eos,
            model_type: arch,
        }
        .checked()
    }

    /// Adds the end-of-answer ids of a `generation_config.json`, which knows more of them than `config.json`.
    ///
    /// # Errors
    /// [`Error::BadFile`] or [`Error::BadConfig`].
    pub fn add_generation_config(&mut self, file: &str, text: &str) -> Result<()> {
        let value: Value = serde_json::from_str(text).map_err(|e| Error::file(file, format!("is not JSON: {e}")))?;
        for id in (Json { map: &value }).ids("eos_token_id")? {
            if !self.eos_token_ids.contains(&id) {
                self.eos_token_ids.push(id);
            }
        }
        Ok(())
    }

    /// Checks every number against what the engine can run.
    ///
    /// # Errors
    /// [`Error::BadConfig`] with the field, what was found and what is possible.
    pub fn checked(self) -> Result<Config> {
        let within = |field: &str, v: usize, lo: usize, hi: usize| {
            if (lo..=hi).contains(&v) { Ok(()) } else { Err(Error::config(field, format!("is {v}, expected {lo} to {hi}"))) }
        };
        within("vocab_size", self.vocab_size, 1, 1 << 21)?;
        within("hidden_size", self.hidden_size, 1, 1 << 16)?;
        within("intermediate_size", self.intermediate_size, 1, 1 << 18)?;
        within("num_hidden_layers", self.num_hidden_layers, 1, MAX_LAYERS)?;
        within("num_attention_heads", self.num_attention_heads, 1, 1024)?;
        within("num_key_value_heads", self.num_key_value_heads, 1, self.num_attention_heads)?;
        within("head_dim", self.head_dim, 1, 512)?;
        within("max_position_embeddings", self.max_position_embeddings, 1, 1 << 26)?;
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return Err(Error::config(
                "num_key_value_heads",
                format!("{} does not divide {} heads", self.num_key_value_heads, self.num_attention_heads),
            ));
        }
        if !(self.norm_eps.is_finite() && (0.0..1.0).contains(&self.norm_eps)) {
            return Err(Error::config("rms_norm_eps", format!("is {}, expected 0 to 1", self.norm_eps)));
        }
        if let Some(rope) = &self.rope {
            if rope.rotary == 0 || !rope.rotary.is_multiple_of(2) || rope.rotary > self.head_dim {
                return Err(Error::config(
                    "head_dim",
                    format!("{} rotated channels of {}: expected an even number up to it", rope.rotary, self.head_dim),
                ));
            }
            if !(rope.theta.is_finite() && rope.theta > 1.0) {
                return Err(Error::config("rope_theta", format!("is {}, expected a number above 1", rope.theta)));
            }
            rope.table()?;
        }
        if self.sliding_window == Some(0) {
            return Err(Error::config("sliding_window", "is 0, expected at least 1"));
        }
        if let Some(id) = self.eos_token_ids.iter().find(|id| **id as usize >= self.vocab_size) {
            return Err(Error::config("eos_token_id", format!("{id} is outside the vocabulary of {}", self.vocab_size)));
        }
        Ok(self)
    }

    /// Width of q: heads · head_dim.
    pub fn q_width(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of k and of v.
    pub fn kv_width(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// Bytes of the key/value cache per token.
    pub fn kv_bytes_per_token(&self, stored: KvCacheDtype) -> u64 {
        (self.num_hidden_layers * 2 * self.kv_width() * stored.dtype().block_bytes()) as u64
    }

    /// True when some layer sees all keys.
    pub fn has_full(&self) -> bool {
        self.windowed.contains(&false)
    }

    /// True when some layer has a window.
    pub fn has_windows(&self) -> bool {
        self.windowed.contains(&true)
    }
}

/// Most layers a file may claim.
const MAX_LAYERS: usize = 512;

fn rope_json(j: &Json<'_>, head_dim: usize, max_positions: usize) -> Result<Rope> {
    // Transformers 5 writes rope_parameters with theta inside, older files rope_theta and rope_scaling.
    let empty = Value::Object(Default::default());
    let inner = Json { map: j.get("rope_parameters").or_else(|| j.get("rope_scaling")).unwrap_or(&empty) };
    let theta = match inner.opt_number("rope_theta")? {
        Some(t) => t,
        None => j.opt_number("rope_theta")?.unwrap_or(10_000.0),
    };
    let partial = match inner.opt_number("partial_rotary_factor")? {
        Some(p) => p,
        None => j.opt_number("partial_rotary_factor")?.unwrap_or(1.0),
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
        "longrope" => {
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

impl Json<'_> {
    /// The fields GPT-2 has, under its own names.
    fn as_gpt2(&self) -> Result<super::gpt2::Gpt2Config> {
        if self.flag("scale_attn_by_inverse_layer_idx", false)? || !self.flag("scale_attn_weights", true)? {
            return Err(Error::config("scale_attn_by_inverse_layer_idx", "only the ordinary scale 1/sqrt(head_dim) is supported"));
        }
        Ok(super::gpt2::Gpt2Config {
            vocab_size: self.size("vocab_size")?,
            n_positions: self.size("n_positions")?,
            n_embd: self.size("n_embd")?,
            n_layer: self.size("n_layer")?,
            n_head: self.size("n_head")?,
            n_inner: self.opt_size("n_inner")?,
            activation_function: activation(self.text("activation_function").unwrap_or("gelu_new"))?,
            layer_norm_epsilon: self.opt_number("layer_norm_epsilon")?.unwrap_or(1e-5) as f32,
            tie_word_embeddings: self.flag("tie_word_embeddings", true)?,
            bos_token_id: self.ids("bos_token_id")?.first().copied(),
            eos_token_ids: self.ids("eos_token_id")?,
        })
    }
}
