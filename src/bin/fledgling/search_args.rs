//! How tokens are searched for, in place of being sampled one by one.

use std::str::FromStr;

use clap::Args;
use fledgling::Result;
use fledgling::generate::{EarlyStopping, GenerateOptions};

#[derive(Args)]
pub struct SearchArgs {
    /// Beams of a beam search, of which the best --n are returned; 1 = none.
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub num_beams: usize,
    /// A beam's score is the sum of its log-probabilities divided by its length to this power.
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_negative_numbers = true)]
    pub length_penalty: f32,
    /// When a beam search ends: true (as many have ended as there are beams), false (no better one is likely), never (none is possible).
    #[arg(long, value_name = "WHEN", default_value = "false", value_parser = EarlyStopping::from_str)]
    pub early_stopping: EarlyStopping,
    /// No run of so many tokens comes a second time, the prompt's counted (0 = off).
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub no_repeat_ngram_size: usize,
    /// Guesses up to so many tokens by looking the last ones up in what was said, and checks them in one pass (0 = off): the same greedy answer, sooner
    /// where it repeats something.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub prompt_lookup_num_tokens: usize,
    /// Most tokens that are looked up.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub max_matching_ngram_size: usize,
    /// Of an encoder-decoder: what its decoder reads before an answer; without it what the model's files say.
    #[arg(long, value_name = "ID")]
    pub decoder_start_token_id: Option<u32>,
    /// Of an encoder-decoder: the first token of its answer (mBART: the language to translate to); without it what the model's files say.
    #[arg(long, value_name = "ID")]
    pub forced_bos_token_id: Option<u32>,
    /// With --json: so many of the likeliest tokens in the place of each.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub top_logprobs: usize,
}

impl SearchArgs {
    /// The options with these.
    ///
    /// # Errors
    /// What is out of range or does not go together, by its name.
    pub fn add_to(&self, options: GenerateOptions) -> Result<GenerateOptions> {
        let options = GenerateOptions {
            num_beams: self.num_beams,
            length_penalty: self.length_penalty,
            early_stopping: self.early_stopping,
            no_repeat_ngram_size: self.no_repeat_ngram_size,
            prompt_lookup_num_tokens: self.prompt_lookup_num_tokens,
            max_matching_ngram_size: self.max_matching_ngram_size,
            top_logprobs: self.top_logprobs,
            decoder_start_token_id: self.decoder_start_token_id,
            forced_bos_token_id: self.forced_bos_token_id,
            ..options
        };
        options.validate()?;
        Ok(options)
    }
}
