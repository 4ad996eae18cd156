//! Learning: datasets, schedules, losses, trainers, checkpoints. Names are TRL's and PEFT's.

mod best;
pub mod checkpoint;
pub mod config;
mod evaluation;
mod evaluator;
mod gpt_bench;
mod idle;
pub mod kl;
pub mod method;
pub mod methods;
pub mod metrics;
mod micro;
mod parameters;
mod pass;
mod references;
pub mod schedule;
mod signals;
mod start;
mod suggest;
mod trainer;
pub mod values;

pub use best::Best;
pub use checkpoint::Checkpoint;
pub use config::TrainingArguments;
pub use evaluation::EvalMetrics;
pub use evaluator::Evaluator;
pub use gpt_bench::{GptBench, GptStep};
pub use method::{Manner, Method, OwnParameters, Recorded};
pub use methods::dpo::Dpo;
pub use methods::sft::Sft;
pub use metrics::{Metrics, StepMetrics};
pub use micro::Micro;
pub use schedule::{Schedule, SchedulerType};
pub use signals::Signals;
pub use start::{ModelText, Training, check_config, prepare};
pub use trainer::{Target, Trainer};
