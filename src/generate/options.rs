//! What a caller asks for and what comes back.

use std::str::FromStr;

use serde::Serialize;

use crate::adapters::AdapterChoice;
use crate::graph::StepParams;
use crate::{Error, Result};

/// Names are those of Transformers' GenerationConfig.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    /// Candidates from one prompt (`num_return_sequences`).
    pub n: usize,
    pub max_new_tokens: usize,
    /// 0 = greedy.
    pub temperature: f32,
    /// 0 = off.
    pub top_k: u32,
    /// 1 = off.
    pub top_p: f32,
    /// 0 = off.
    pub min_p: f32,
    /// 1 = off.
    pub repetition_penalty: f32,
    /// No run of so many tokens comes a second time, the prompt's counted; 0 = off.
    pub no_repeat_ngram_size: usize,
    /// Beams of a beam search, of which the best `n` are returned; 1 = none.
    pub num_beams: usize,
    /// A beam's score is the sum of its log-probabilities divided by its length to this power.
    pub length_penalty: f32,
    /// When a beam search ends.
    pub early_stopping: EarlyStopping,
    /// Most tokens that are guessed by looking the last ones up in what was said, and checked in one pass; 0 = off. What is written stays the same.
    pub prompt_lookup_num_tokens: usize,
    /// Most tokens that are looked up.
    pub max_matching_ngram_size: usize,
    /// So many of the likeliest tokens are told in the place of each; 0 = none.
    pub top_logprobs: usize,
    /// The same seed and adapter give the same text on the same device.
    pub seed: u32,
    /// Text ends before any of these.
    pub stop_strings: Vec<String>,
    /// What the decoder of an encoder-decoder reads before an answer; without it what the model's files say.
    pub decoder_start_token_id: Option<u32>,
    /// The first token of its answer (mBART: the language); without it what the files say.
    pub forced_bos_token_id: Option<u32>,
    /// Ends only by length, stop string or abort: for measuring.
    pub ignore_eos: bool,
    pub adapter: AdapterChoice,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        GenerateOptions {
            n: 1,
            max_new_tokens: 256,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            num_beams: 1,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::False,
            prompt_lookup_num_tokens: 0,
            max_matching_ngram_size: 2,
            top_logprobs: 0,
            seed: 0,
            stop_strings: Vec::new(),
            decoder_start_token_id: None,
            forced_bos_token_id: None,
            ignore_eos: false,
            adapter: AdapterChoice::Active,
        }
    }
}

/// When a beam search ends, by Transformers' names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EarlyStopping {
    /// Once no beam of its length could be better than the worst of those that have ended: a heuristic.
    #[default]
    False,
    /// Once as many have ended as there are beams.
    True,
    /// Once no beam can be better, however long it becomes.
    Never,
}

impl FromStr for EarlyStopping {
    type Err = Error;

    fn from_str(s: &str) -> Result<EarlyStopping> {
        match s {
            "false" => Ok(EarlyStopping::False),
            "true" => Ok(EarlyStopping::True),
            "never" => Ok(EarlyStopping::Never),
            other => Err(Error::config("early_stopping", format!("expected true, false or never, found {other:?}"))),
        }
    }
}

/// Most alternatives of a token that are told.
pub const MAX_TOP_LOGPROBS: usize = 20;

/// Most tokens that are guessed at once, or looked up.
pub const MAX_LOOKUP: usize = 64;

/// Most candidates of one prompt.
pub const MAX_CANDIDATES: usize = 64;

impl GenerateOptions {
    /// Checks ranges.
    ///
    /// # Errors
    /// [`Error::BadConfig`] with the field.
    pub fn validate(&self) -> Result<()> {
        let number = |field: &str, v: f32, ok: bool, want: &str| {
            if v.is_finite() && ok { Ok(()) } else { Err(Error::config(field, format!("is {v}, expected {want}"))) }
        };
        if !(1..=MAX_CANDIDATES).contains(&self.n) {
            return Err(Error::config("n", format!("is {}, expected 1 to {MAX_CANDIDATES}", self.n)));
        }
        if self.max_new_tokens == 0 {
            return Err(Error::config("max_new_tokens", "is 0, expected at least 1"));
        }
        number("temperature", self.temperature, self.temperature >= 0.0, "0 or more")?;
        number("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0 up to 1")?;
        number("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "0 to 1")?;
        number("repetition_penalty", self.repetition_penalty, self.repetition_penalty > 0.0, "above 0")?;
        number("length_penalty", self.length_penalty, true, "a number")?;
        let within = |field: &str, v: usize, low: usize, high: usize| match (low..=high).contains(&v) {
            true => Ok(()),
            false => Err(Error::config(field, format!("is {v}, expected {low} to {high}"))),
        };
        within("num_beams", self.num_beams, 1, MAX_CANDIDATES)?;
        within("prompt_lookup_num_tokens", self.prompt_lookup_num_tokens, 0, MAX_LOOKUP - 1)?;
        within("max_matching_ngram_size", self.max_matching_ngram_size, 1, MAX_LOOKUP)?;
        within("top_logprobs", self.top_logprobs, 0, MAX_TOP_LOGPROBS)?;
        self.combine()
    }

    /// What does not go together.
    fn combine(&self) -> Result<()> {
        let refuse = |field: &str, when: bool, why: &str| if when { Err(Error::config(field, why)) } else { Ok(()) };
        if self.num_beams > 1 {
            refuse("n", self.n > self.num_beams, "is above num_beams: no more answers than beams can be returned")?;
            refuse("temperature", self.temperature > 0.0, "is above 0, and beams are searched, not sampled")?;
            refuse("stop_strings", !self.stop_strings.is_empty(), "do not end beams: expected none with num_beams")?;
            refuse("top_logprobs", self.top_logprobs > 0, "are not told of beams: expected 0 with num_beams")?;
        } else {
            refuse("length_penalty", self.length_penalty != 1.0, "is set, and there are no beams to score: num_beams is 1")?;
            refuse("early_stopping", self.early_stopping != EarlyStopping::False, "is set, and there are no beams to end: num_beams is 1")?;
        }
        if self.prompt_lookup_num_tokens > 0 {
            let field = "prompt_lookup_num_tokens";
            refuse(field, self.num_beams > 1, "guesses tokens of one greedy answer: expected num_beams 1")?;
            refuse(field, self.n > 1, "guesses tokens of one greedy answer: expected n 1")?;
            refuse(field, self.temperature > 0.0, "guesses what a greedy answer says: expected temperature 0")?;
            refuse(field, self.repetition_penalty != 1.0, "guesses repetitions: expected repetition_penalty 1")?;
            refuse(field, self.no_repeat_ngram_size > 0, "guesses repetitions: expected no_repeat_ngram_size 0")?;
            refuse(field, self.top_logprobs > 0, "checks several tokens at once: expected top_logprobs 0")?;
        } else {
            let set = self.max_matching_ngram_size != GenerateOptions::default().max_matching_ngram_size;
            refuse("max_matching_ngram_size", set, "is set, and nothing is looked up: prompt_lookup_num_tokens is 0")?;
        }
        Ok(())
    }

    /// Answers that are decoded at once: beams, or candidates.
    pub(super) fn lanes(&self) -> usize {
        if self.num_beams > 1 { self.num_beams } else { self.n }
    }

    /// The uniform of token number `counter`.
    pub(super) fn step(&self, counter: usize, lora: bool) -> StepParams {
        StepParams {
            seed: self.seed,
            counter: counter as u32,
            rows: self.n as u32,
            lora: f32::from(u8::from(lora)),
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            ..StepParams::default()
        }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// An end token or a stop string.
    Stop,
    /// `max_new_tokens` or the end of the context.
    Length,
    Abort,
}

/// What a step has brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Prompt tokens read so far, of all.
    Prefill {
        done: usize,
        total: usize,
    },
    /// More text of candidate `index`: whole characters, never part of a stop string.
    Text {
        index: usize,
        text: String,
    },
    Done {
        index: usize,
        reason: FinishReason,
    },
}

/// Wall-clock time of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Seconds {
    pub prefill: f64,
    pub decode: f64,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// Without control tokens.
    pub text: String,
    /// With the end token, if it came.
    pub token_ids: Vec<u32>,
    /// ln p of each token under the model (temperature and filters aside).
    pub logprobs: Vec<f32>,
    /// With `top_logprobs`: for each token the likeliest in its place and their ln p, the likeliest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top_logprobs: Vec<Vec<(u32, f32)>>,
    /// Of a beam: the sum of its log-probabilities, as processors left them, divided by its length to the power of `length_penalty`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    pub finish_reason: FinishReason,
    pub prompt_tokens: usize,
    /// Name of the adapter, `null` for the base model.
    pub adapter: Option<String>,
    pub seconds: Seconds,
}
