//! Generation: prefill in chunks, sampling on the device, several candidates as one batch, streamed text.

mod engine;
mod options;
mod profile;
mod session;

pub use options::{Candidate, Event, FinishReason, GenerateOptions, Seconds};
pub use session::Generator;
