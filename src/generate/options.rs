//! What a caller asks for and what comes back.

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
    /// The same seed and adapter give the same text on the same device.
    pub seed: u32,
    /// Text ends before any of these.
    pub stop_strings: Vec<String>,
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
            seed: 0,
            stop_strings: Vec::new(),
            ignore_eos: false,
            adapter: AdapterChoice::Active,
        }
    }
}

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
        number("repetition_penalty", self.repetition_penalty, self.repetition_penalty > 0.0, "above 0")
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
    pub finish_reason: FinishReason,
    pub prompt_tokens: usize,
    /// Name of the adapter, `null` for the base model.
    pub adapter: Option<String>,
    pub seconds: Seconds,
}
