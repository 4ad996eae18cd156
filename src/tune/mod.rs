//! Learning: datasets, schedules, losses, trainers, checkpoints. Names are TRL's and PEFT's.

pub mod checkpoint;
pub mod config;
mod dpo;
mod gpt_bench;
pub mod kl;
pub mod objective;
pub mod schedule;
mod sft;
mod start;
mod trainer;

pub use checkpoint::Checkpoint;
pub use config::{DpoConfig, SftConfig, TrainingArguments};
pub use dpo::Dpo;
pub use gpt_bench::{GptBench, GptStep};
pub use objective::{Metrics, Objective, PreferenceMetrics, StepMetrics};
pub use schedule::{Schedule, SchedulerType};
pub use sft::Sft;
pub use start::{AnyTrainer, ModelText};
pub use trainer::{Target, Trainer};
