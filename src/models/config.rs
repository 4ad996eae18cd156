//! One configuration for every family here: the fields of a Hugging Face `config.json`, or of a GGUF's metadata, as far as they change
//! what is computed. Families fill it in; here every number is checked before anything is sized by it.

use super::names::{Names, Role};
use super::rope::Rope;
use super::shape::Shape;
use crate::nn::KvCacheDtype;
use crate::ops::Act;
use crate::{Error, Result};

/// Most layers a file may claim.
pub const MAX_LAYERS: usize = 512;

/// What norms compute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NormKind {
    /// RMSNorm; x is multiplied by `offset` + w (Gemma: 1).
    Rms {
        offset: f32,
    },
    Layer {
        bias: bool,
    },
}

/// Norms of q and k before the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNorm {
    None,
    /// Each head, all with one weight (Qwen 3, Gemma 3).
    Head,
    /// The whole row (OLMo 2).
    Whole,
    /// Each head with weights of its own (Cohere, StableLM).
    EachHead,
}

/// Where a block has norms, and how its two branches meet the residual stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    pub pre_attention: bool,
    pub post_attention: bool,
    /// Without one the MLP of a parallel block reads what attention reads.
    pub pre_mlp: bool,
    pub post_mlp: bool,
    /// Both branches read the block's input.
    pub parallel: bool,
    /// The norms behind the branches are of the sum with the residual stream (Vaswani et al. 2017).
    pub of_sum: bool,
    /// The first block's attention has no norm before it: what it reads is normed already (ModernBERT).
    pub first_is_normed: bool,
}

impl Recipe {
    /// A norm before each branch (Llama).
    pub const PRE: Recipe = Recipe {
        pre_attention: true,
        post_attention: false,
        pre_mlp: true,
        post_mlp: false,
        parallel: false,
        of_sum: false,
        first_is_normed: false,
    };
    /// A norm behind each branch, before it is added (OLMo 2).
    pub const POST: Recipe = Recipe { pre_attention: false, post_attention: true, pre_mlp: false, post_mlp: true, ..Recipe::PRE };
    /// A norm behind each branch, of what it is added to (BERT).
    pub const POST_SUM: Recipe = Recipe { of_sum: true, ..Recipe::POST };
    /// Before and behind (Gemma 2, GLM 4).
    pub const SANDWICH: Recipe = Recipe { post_attention: true, post_mlp: true, ..Recipe::PRE };
    /// Side by side, each with a norm of its own (GPT-NeoX).
    pub const PARALLEL: Recipe = Recipe { parallel: true, ..Recipe::PRE };
    /// Side by side behind one norm (Cohere).
    pub const PARALLEL_ONE_NORM: Recipe = Recipe { pre_mlp: false, ..Recipe::PARALLEL };
}

/// A Transformer of one stack. Names are those of `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub model_type: String,
    pub shape: Shape,
    /// What its family calls things.
    pub names: &'static Names,
    pub recipe: Recipe,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub max_position_embeddings: usize,
    pub norm: NormKind,
    /// `rms_norm_eps`, `layer_norm_epsilon`, …
    pub norm_eps: f32,
    /// Rotary positions; `None` = a learned table.
    pub rope: Option<Rope>,
    /// Those of windowed layers, where they differ (Gemma 3).
    pub local_rope: Option<Rope>,
    /// Pairs of channels that turn are neighbours (Cohere, GLM 4), not halves of the head.
    pub interleaved: bool,
    /// Per layer: is it turned? (SmolLM3 and Cohere 2 leave some out.)
    pub rotated: Vec<bool>,
    pub hidden_act: Act,
    pub tie_word_embeddings: bool,
    /// Biases of q, k, v.
    pub attention_bias: bool,
    /// Bias of the output projection.
    pub attention_out_bias: bool,
    pub mlp_bias: bool,
    pub qk_norm: QkNorm,
    /// Multiplies q·k; usually 1/√head_dim.
    pub attention_scale: f32,
    /// Scores of attention become cap·tanh(score/cap) (Gemma 2).
    pub attn_logit_softcapping: Option<f32>,
    /// The same for logits.
    pub final_logit_softcapping: Option<f32>,
    /// Multiplies embeddings (Gemma, Granite).
    pub embedding_multiplier: f32,
    /// It multiplies an adapter's virtual tokens, too (Granite): they come in before it.
    pub multiplies_prompts: bool,
    /// Multiplies what a branch adds to the residual stream (Granite).
    pub residual_multiplier: f32,
    /// Multiplies logits (Cohere; one over Granite's `logits_scaling`).
    pub logit_scale: f32,
    /// Keys a windowed layer sees, the query's own position included.
    pub sliding_window: Option<usize>,
    /// Per layer: does it use the window?
    pub windowed: Vec<bool>,
    pub bos_token_id: Option<u32>,
    /// Every id that ends an answer.
    pub eos_token_ids: Vec<u32>,
}

/// The sizes every decoder has.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub max_position_embeddings: usize,
}

impl Config {
    /// A plain decoder: pre-norms, a gated SiLU, no biases, no windows, no positions yet. Families change what they do otherwise.
    pub fn of(model_type: &str, names: &'static Names, s: Sizes) -> Config {
        // Checked later: a file may claim any number.
        let layers = s.num_hidden_layers.min(MAX_LAYERS);
        Config {
            model_type: model_type.to_string(),
            shape: Shape::Decoder,
            names,
            recipe: Recipe::PRE,
            vocab_size: s.vocab_size,
            hidden_size: s.hidden_size,
            intermediate_size: s.intermediate_size,
            num_hidden_layers: s.num_hidden_layers,
            num_attention_heads: s.num_attention_heads,
            num_key_value_heads: s.num_key_value_heads,
            head_dim: s.head_dim,
            max_position_embeddings: s.max_position_embeddings,
            norm: NormKind::Rms { offset: 0.0 },
            norm_eps: 1e-6,
            rope: None,
            local_rope: None,
            interleaved: false,
            rotated: vec![true; layers],
            hidden_act: Act::Silu,
            tie_word_embeddings: false,
            attention_bias: false,
            attention_out_bias: false,
            mlp_bias: false,
            qk_norm: QkNorm::None,
            attention_scale: 1.0 / (s.head_dim as f32).sqrt(),
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            embedding_multiplier: 1.0,
            multiplies_prompts: false,
            residual_multiplier: 1.0,
            logit_scale: 1.0,
            sliding_window: None,
            windowed: vec![false; layers],
            bos_token_id: None,
            eos_token_ids: Vec::new(),
        }
    }

    /// Layers i for which `windowed(i)` see `window` keys, where there is a window.
    pub fn set_window(&mut self, window: Option<usize>, windowed: impl Fn(usize) -> bool) {
        self.sliding_window = window;
        for (i, w) in self.windowed.iter_mut().enumerate() {
            *w = window.is_some() && windowed(i);
        }
    }

    /// Checks every number against what the engine can run.
    ///
    /// # Errors
    /// [`Error::BadConfig`] with the field, what was found and what is possible.
    pub fn checked(mut self) -> Result<Config> {
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
        if self.names.qkv_by_head && self.num_attention_heads != self.num_key_value_heads {
            let (kv, heads) = (self.num_key_value_heads, self.num_attention_heads);
            return Err(Error::config("num_key_value_heads", format!("is {kv}, expected {heads}, as many as heads")));
        }
        if !(self.norm_eps.is_finite() && (0.0..1.0).contains(&self.norm_eps)) {
            return Err(Error::config("rms_norm_eps", format!("is {}, expected 0 to 1", self.norm_eps)));
        }
        for rope in self.rope.iter().chain(&self.local_rope) {
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
        let factors = [
            ("attention scale", Some(self.attention_scale)),
            ("attn_logit_softcapping", self.attn_logit_softcapping),
            ("final_logit_softcapping", self.final_logit_softcapping),
            ("embedding_multiplier", Some(self.embedding_multiplier)),
            ("residual_multiplier", Some(self.residual_multiplier)),
            ("logit_scale", Some(self.logit_scale)),
        ];
        for (field, value) in factors {
            if value.is_some_and(|v| !(v.is_finite() && v > 0.0)) {
                return Err(Error::config(field, format!("is {}, expected a number above 0", value.unwrap_or(0.0))));
            }
        }
        if self.sliding_window == Some(0) {
            return Err(Error::config("sliding_window", "is 0, expected at least 1"));
        }
        if self.has_windows() && self.sliding_window.is_none() {
            return Err(Error::config("sliding_window", "is missing, but some layers have a window"));
        }
        if let (Some(source), Some(e)) = (self.source(), self.shape.encoder_decoder()) {
            source.checked()?;
            for (field, id) in [("decoder_start_token_id", e.start.token()), ("pad_token_id", Some(e.pad))] {
                if let Some(id) = id.filter(|id| *id as usize >= self.vocab_size) {
                    return Err(Error::config(field, format!("is {id}, outside the vocabulary of {}", self.vocab_size)));
                }
            }
        }
        self.check_rules()?;
        if let Some(e) = self.shape.encoder() {
            within("type_vocab_size", e.type_vocab_size, 0, 1 << 16)?;
            within("num_labels", e.classifier.labels.len(), 1, 1 << 16)?;
        }
        self.drop_ids_outside();
        Ok(self)
    }

    /// Tokens that the answers of an encoder-decoder must have are in its vocabulary.
    ///
    /// # Errors
    /// [`Error::BadConfig`] with the field.
    pub(super) fn check_rules(&self) -> Result<()> {
        let Some(e) = self.shape.encoder_decoder() else { return Ok(()) };
        let rules = &e.rules;
        let bad = rules.bad_words_ids.concat();
        for (field, ids) in [
            ("decoder_start_token_id", rules.decoder_start_token_id.as_slice()),
            ("forced_bos_token_id", rules.forced_bos_token_id.as_slice()),
            ("forced_eos_token_id", &rules.forced_eos_token_id),
            ("bad_words_ids", &bad),
        ] {
            if let Some(id) = ids.iter().find(|id| **id as usize >= self.vocab_size) {
                return Err(Error::config(field, format!("is {id}, outside the vocabulary of {}", self.vocab_size)));
            }
        }
        Ok(())
    }

    /// Ids without an embedding are never sampled and can begin nothing: files have such where tokens were added and not trained.
    pub(super) fn drop_ids_outside(&mut self) {
        let vocab = self.vocab_size;
        let known = |id: &u32| (*id as usize) < vocab;
        if let Some(id) = self.eos_token_ids.iter().chain(&self.bos_token_id).find(|id| !known(id)) {
            log::warn!("the special token {id} is outside the vocabulary of {vocab}, and left out of account");
        }
        self.eos_token_ids.retain(known);
        self.bos_token_id = self.bos_token_id.filter(known);
    }

    /// Width of q: heads · head_dim.
    pub fn q_width(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of k and of v.
    pub fn kv_width(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// act(gate)·up; otherwise one layer with the activation.
    pub fn gated_mlp(&self) -> bool {
        self.names.has(Role::Gate) || self.names.has(Role::GateUp)
    }

    /// Bytes of the key/value cache per token.
    pub fn kv_bytes_per_token(&self, stored: KvCacheDtype) -> u64 {
        (self.num_hidden_layers * 2 * self.kv_width() * stored.dtype().block_bytes()) as u64
    }

    /// Tables of frequencies that its layers use: of full layers, of windowed ones where they have their own, of those that are not
    /// turned. `None` = nothing turns.
    pub fn ropes(&self) -> Vec<Option<&Rope>> {
        let mut ropes = vec![self.rope.as_ref()];
        ropes.extend(self.local_rope.as_ref().map(Some));
        if self.rope.is_some() && self.rotated.contains(&false) {
            ropes.push(None);
        }
        ropes
    }

    /// Number of a layer's table among [`Config::ropes`].
    pub fn rope_of(&self, rotated: bool, windowed: bool) -> usize {
        match (rotated || self.rope.is_none(), windowed && self.local_rope.is_some()) {
            (false, _) => self.ropes().len() - 1,
            (true, own) => usize::from(own),
        }
    }

    /// True when some layer has a window.
    pub fn has_windows(&self) -> bool {
        self.windowed.contains(&true)
    }
}
