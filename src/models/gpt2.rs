//! GPT-2 (Radford et al. 2019): LayerNorm, learned positions, GELU, a tied head. The small model that is trained from nothing.

use super::Config;
use crate::Result;
use crate::ops::Act;

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
    /// As the one configuration.
    ///
    /// # Errors
    /// [`crate::Error::BadConfig`].
    pub fn config(&self) -> Result<Config> {
        if self.n_head == 0 || !self.n_embd.is_multiple_of(self.n_head) {
            return Err(crate::Error::config("n_head", format!("{} heads do not divide a width of {}", self.n_head, self.n_embd)));
        }
        Config {
            model_type: "gpt2".into(),
            vocab_size: self.vocab_size,
            hidden_size: self.n_embd,
            intermediate_size: self.n_inner.unwrap_or(self.n_embd.saturating_mul(4)),
            num_hidden_layers: self.n_layer,
            num_attention_heads: self.n_head,
            num_key_value_heads: self.n_head,
            head_dim: self.n_embd / self.n_head,
            max_position_embeddings: self.n_positions,
            rms_norm: false,
            norm_eps: self.layer_norm_epsilon,
            rope: None,
            hidden_act: self.activation_function,
            gated_mlp: false,
            tie_word_embeddings: self.tie_word_embeddings,
            attention_bias: true,
            attention_out_bias: true,
            mlp_bias: true,
            qk_norm: false,
            sliding_window: None,
            windowed: vec![false; self.n_layer.min(512)],
            bos_token_id: self.bos_token_id,
            eos_token_ids: self.eos_token_ids.clone(),
        }
        .checked()
    }
}
