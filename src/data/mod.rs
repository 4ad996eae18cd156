//! Everything between a file and a batch: rows, rankings and ratings, tokens and which of them count, batches, the order of rows.
//!
//! Nothing here knows a method's configuration: what matters of it comes as plain options.
mod batch;
mod criteria;
mod examples;
mod jsonl;
mod ranking;
mod record;
mod rows;
mod sampler;

pub use batch::{Batch, BatchShape, bucket};
pub use criteria::{Criteria, overall};
pub use examples::{Example, IGNORE, Pair, RowOptions, TextSource, preference_pairs, sft_examples};
pub use jsonl::{parse_jsonl, write_jsonl};
pub use ranking::{Ranking, StrictPair};
pub use record::{Candidate, Feedback, ideal_rows, preference_rows, read_feedback, write_feedback};
pub use rows::{DpoRow, Message, Row, SftRow, TextOrMessages, parse_dpo, parse_sft};
pub use sampler::Sampler;
