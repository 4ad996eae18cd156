//! Everything between a file and a batch, once: rows, rankings and their pairs, tokens and which of them count, batches, the order of rows.
//!
//! Nothing here knows a method's configuration: what matters of it comes as plain options.
mod assumed;
mod batch;
mod columns;
mod csv;
mod example;
mod fault;
mod file;
mod found;
mod mask;
mod message;
mod notes;
mod pack;
mod prompts;
mod ranking;
mod reader;
mod rollouts;
mod rows;
mod sampler;
mod source;
mod translated;

pub use batch::{Batch, BatchShape, Front, Layout, Sight, Sources, bucket};
pub use columns::RowKind;
pub use example::{BEGIN, BEGIN_SEEN, Comparison, Example, IGNORE, Pair, Preferred, SEEN, Unpaired};
pub use fault::Fault;
pub use file::{Named, RowFile, Source, scan, scan_named, write_jsonl};
pub use found::Found;
pub use mask::Mask;
pub use message::{ForTemplate, Message, TextOrMessages};
pub use pack::Packing;
pub use prompts::{Prompt, Recorded};
pub use ranking::Ranking;
pub use reader::{RowOptions, RowReader, TextSource};
pub use rollouts::{Asked, PromptRow, RolloutRow};
pub use rows::{Answered, PreferenceRow, RankingRow, RewardRow, Row, SftRow, Sides, UnpairedRow};
pub use sampler::Sampler;
