//! Learning: datasets, schedules, losses, trainers, checkpoints. Names are TRL's and PEFT's.

pub mod batch;
pub mod config;
pub mod data;
pub mod schedule;

pub use batch::{Batch, BatchShape, Sampler};
pub use config::{DpoConfig, SftConfig, TrainingArguments};
pub use data::{Example, IGNORE, Pair, TextSource, dpo_pairs, parse_jsonl, sft_examples};
pub use schedule::{Schedule, SchedulerType};
