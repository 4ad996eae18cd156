//! GPT-2 (Radford et al. 2019): LayerNorm, learned positions, GELU, a tied head. The small model that is trained from nothing.

use crate::models::config::{Config, NormKind, Sizes};
use crate::models::family::Family;
use crate::models::names::{Names, Role};
use crate::models::reading::json::{Json, activation};
use crate::ops::Act;
use crate::{Error, Result};

pub const FAMILY: Family = Family {
    name: "GPT-2",
    model_types: &["gpt2"],
    gguf: &[],
    from_json: |j| Gpt2Config::from_json(j)?.config(),
    from_gguf: |g| Err(Error::UnsupportedArchitecture { found: g.arch.to_string(), supported: "gpt2 as safetensors".into() }),
    to_gguf: None,
};

const NAMES: Names = Names {
    root: "transformer.",
    ends: &[
        (Role::Embed, "transformer.wte", "token_embd"),
        (Role::Positions, "transformer.wpe", "position_embd"),
        (Role::FinalNorm, "transformer.ln_f", "output_norm"),
        (Role::Head, "lm_head", "output"),
    ],
    blocks: "transformer.h.",
    block: &[
        (Role::PreAttention, "ln_1", "attn_norm"),
        (Role::Qkv, "attn.c_attn", "attn_qkv"),
        (Role::Out, "attn.c_proj", "attn_output"),
        (Role::PreMlp, "ln_2", "ffn_norm"),
        (Role::Up, "mlp.c_fc", "ffn_up"),
        (Role::Down, "mlp.c_proj", "ffn_down"),
    ],
    gguf_rows: &[],
    gguf_norm_offset: 0.0,
    transposed: true,
    split_head_norms: false,
    qkv_by_head: false,
    source: None,
};

/// `config.json` of GPT-2.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpt2Config {
    pub vocab_size: usize,
    pub n_positions: usize,
    pub n_embd: usize,
    pub n_layer: usize,
    pub n_head: usize,
    /// `None` = 4 · n_embd.
    pub n_inner: Option<usize>,
    pub activation_function: Act,
    pub layer_norm_epsilon: f32,
    pub tie_word_embeddings: bool,
    pub bos_token_id: Option<u32>,
    pub eos_token_ids: Vec<u32>,
}

impl Default for Gpt2Config {
    /// The GPT of the benchmark: 4 layers, 4 heads, width 128, context 128, 96 symbols.
    fn default() -> Self {
        Gpt2Config {
            vocab_size: 96,
            n_positions: 128,
            n_embd: 128,
            n_layer: 4,
            n_head: 4,
            n_inner: None,
            activation_function: Act::GeluTanh,
            layer_norm_epsilon: 1e-5,
            tie_word_embeddings: true,
            bos_token_id: None,
            eos_token_ids: Vec::new(),
        }
    }
}

impl Gpt2Config {
    /// The fields GPT-2 has, under its own names.
    fn from_json(j: &Json<'_>) -> Result<Gpt2Config> {
        if j.flag("scale_attn_by_inverse_layer_idx", false)? || !j.flag("scale_attn_weights", true)? {
            return Err(Error::config("scale_attn_by_inverse_layer_idx", "only the ordinary scale 1/sqrt(head_dim) is supported"));
        }
        Ok(Gpt2Config {
            vocab_size: j.size("vocab_size")?,
            n_positions: j.size("n_positions")?,
            n_embd: j.size("n_embd")?,
            n_layer: j.size("n_layer")?,
            n_head: j.size("n_head")?,
            n_inner: j.opt_size("n_inner")?,
            activation_function: activation(j.text("activation_function").unwrap_or("gelu_new"))?,
            layer_norm_epsilon: j.opt_number("layer_norm_epsilon")?.unwrap_or(1e-5) as f32,
            tie_word_embeddings: j.flag("tie_word_embeddings", true)?,
            bos_token_id: j.ids("bos_token_id")?.first().copied(),
            eos_token_ids: j.ids("eos_token_id")?,
        })
    }

    /// As the one configuration.
    ///
    /// # Errors
    /// [`Error::BadConfig`].
    pub fn config(&self) -> Result<Config> {
        if self.n_head == 0 || !self.n_embd.is_multiple_of(self.n_head) {
            return Err(Error::config("n_head", format!("{} heads do not divide a width of {}", self.n_head, self.n_embd)));
        }
        let sizes = Sizes {
            vocab_size: self.vocab_size,
            hidden_size: self.n_embd,
            intermediate_size: self.n_inner.unwrap_or(self.n_embd.saturating_mul(4)),
            num_hidden_layers: self.n_layer,
            num_attention_heads: self.n_head,
            num_key_value_heads: self.n_head,
            head_dim: self.n_embd / self.n_head,
            max_position_embeddings: self.n_positions,
        };
        let mut c = Config::of("gpt2", &NAMES, sizes);
        c.norm = NormKind::Layer { bias: true };
        c.norm_eps = self.layer_norm_epsilon;
        c.hidden_act = self.activation_function;
        c.tie_word_embeddings = self.tie_word_embeddings;
        (c.attention_bias, c.attention_out_bias, c.mlp_bias) = (true, true, true);
        c.bos_token_id = self.bos_token_id;
        c.eos_token_ids.clone_from(&self.eos_token_ids);
        c.checked()
    }
}
