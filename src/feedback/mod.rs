//! Rankings, criteria, datasets: what a person said about answers. No GPU.
mod criteria;
mod dataset;
mod ranking;
mod record;

pub use criteria::{Criteria, overall};
pub use dataset::{DpoRow, Message, Row, SftRow, TextOrMessages, parse_dpo, parse_jsonl, parse_sft, write_jsonl};
pub use ranking::{Ranking, StrictPair};
pub use record::{Candidate, Feedback, ideal_rows, preference_rows, read_feedback, write_feedback};
