//! What GRPO, RLOO and online DPO share of their tables: fields of sampling, and what asks for a size of round that rows do not have.

use super::field::{Default, Field, Group, Kind, Shown};
use crate::data::{Prompt, RowReader};
use crate::tune::values::Values;
use crate::{Error, Result};

const fn share(low: f64, high: f64) -> Kind {
    Kind::Number { low, high, step: 0.05 }
}

const MANY: i64 = 1 << 20;

/// How completions are sampled.
pub const TOP_P: Field =
    Field::new("top_p", Group::Method, share(1e-9, 1.0), Default::Number(1.0), "Only the likeliest tokens that hold this share.")
        .shown(Shown::Never);
pub const TOP_K: Field = Field::new(
    "top_k",
    Group::Method,
    Kind::Whole { low: 0, high: MANY },
    Default::Whole(0),
    "Only so many of the likeliest tokens; 0: all.",
)
.shown(Shown::Never);
pub const MIN_P: Field =
    Field::new("min_p", Group::Method, share(0.0, 1.0), Default::Unset, "Only tokens at least this likely, relative to the likeliest.")
        .shown(Shown::Never);
pub const REPETITION_PENALTY: Field = Field::new(
    "repetition_penalty",
    Group::Method,
    share(1e-3, 1e3),
    Default::Number(1.0),
    "Above 1, tokens that were there before become less likely while sampling; the loss does not know of it.",
)
.shown(Shown::Never);

/// What logits are divided by.
pub const fn temperature(default: f64, help: &'static str) -> Field {
    Field::new("temperature", Group::Method, share(1e-2, 100.0), Default::Number(default), help)
}

/// Longest completion.
pub const fn longest(name: &'static str, default: i64) -> Field {
    Field::new(
        name,
        Group::Method,
        Kind::Whole { low: 1, high: 1 << 24 },
        Default::Whole(default),
        "Tokens that a sampled completion may have; one that has no end by then is cut.",
    )
}

/// Completions of each prompt.
pub const NUM_GENERATIONS: Field = Field::new(
    "num_generations",
    Group::Method,
    Kind::Whole { low: 2, high: 64 },
    Default::Unset,
    "Completions of each prompt, which are compared with each other. Not set: as many as the rows bring, or else 8 (RLOO: 2).",
);

pub const NUM_ITERATIONS: Field = Field::new(
    "num_iterations",
    Group::Method,
    Kind::Whole { low: 1, high: 1000 },
    Default::Whole(1),
    "How often a round is learned before the next one is sampled.",
);

pub const STEPS_PER_GENERATION: Field = Field::new(
    "steps_per_generation",
    Group::Method,
    Kind::Whole { low: 1, high: MANY },
    Default::Unset,
    "Micro-batches of a round; not set: gradient_accumulation_steps.",
)
.shown(Shown::Never);

pub const GENERATION_BATCH_SIZE: Field = Field::new(
    "generation_batch_size",
    Group::Method,
    Kind::Whole { low: 1, high: MANY },
    Default::Unset,
    "Completions of a round, in place of steps_per_generation.",
)
.shown(Shown::Never);

pub const EPSILON: Field = Field::new(
    "epsilon",
    Group::Method,
    share(0.0, 1.0),
    Default::Number(0.2),
    "Ratios of the present policy and the one that wrote below 1 − epsilon (and above 1 + epsilon) stop learning.",
);

pub const EPSILON_HIGH: Field =
    Field::new("epsilon_high", Group::Method, share(0.0, 1e6), Default::Unset, "The bound above; not set: epsilon.").shown(Shown::Never);

pub const MASK_TRUNCATED: Field = Field::new(
    "mask_truncated_completions",
    Group::Method,
    Kind::Switch,
    Default::Switch(false),
    "Completions that did not end by themselves teach nothing; their rewards still count in their group.",
)
.shown(Shown::Never);

pub const REWARD_WEIGHTS: Field = Field::new(
    "reward_weights",
    Group::Method,
    Kind::Numbers,
    Default::Unset,
    "Weights of several judges, whose rewards are added; not set: 1 each.",
)
.shown(Shown::Never);

pub const SHUFFLE_DATASET: Field = Field::new(
    "shuffle_dataset",
    Group::Training,
    Kind::Switch,
    Default::Switch(true),
    "TRL's name of shuffle: rows are taken as they come where either is off.",
)
.shown(Shown::Never);

/// Why there is no `max_length`.
pub const WITHOUT: &[(&str, &str)] = &[("max_length", "prompts are never cut, and completions have a limit of their own")];

/// Rows of a method of rounds, and the number of completions of each: that of the rows, of the field, or `otherwise`.
///
/// # Errors
/// [`Error::BadRow`] for a row with another number of completions; [`Error::BadConfig`] for a field that replayed rows do not agree with.
pub fn prompts(reader: &RowReader<'_>, rows: &[serde_json::Value], asked: Option<usize>, otherwise: usize) -> Result<(Vec<Prompt>, usize)> {
    let prompts = reader.prompts(rows)?;
    let recorded = |p: &Prompt| p.recorded.as_ref().map(|r| r.completions.len());
    let Some(first) = recorded(&prompts[0]) else { return Ok((prompts, asked.unwrap_or(otherwise))) };
    let generations = asked.unwrap_or(first);
    if let Some(p) = prompts.iter().find(|p| recorded(p) != Some(generations)) {
        let has = recorded(p).unwrap_or(0);
        let why = if asked.is_some() { "num_generations is" } else { "the first row has" };
        return Err(Error::BadRow { row: p.row, message: format!("completion_ids has {has} completions, {why} {generations}") });
    }
    if generations < 2 {
        let row = prompts[0].row;
        return Err(Error::BadRow { row, message: "completion_ids has one completion: there is nothing to compare it with".into() });
    }
    Ok((prompts, generations))
}

/// Bounds of the ratio.
pub fn clip(values: &Values) -> [f32; 2] {
    let low = values.number("epsilon");
    let high = values.opt_number("epsilon_high").unwrap_or(low);
    [(1.0 - low) as f32, (1.0 + high) as f32]
}

/// A whole number that may not be set.
pub fn size(values: &Values, name: &str) -> Option<usize> {
    values.opt_whole(name).map(|n| n as usize)
}
