//! Generation: prefill in chunks, sampling on the device, several candidates as one batch, streamed text.

mod engine;
mod options;
mod profile;
mod session;
mod warm;

pub use options::{Candidate, Event, FinishReason, GenerateOptions, MAX_CANDIDATES, Seconds};
pub use session::Generator;
pub use warm::Warming;
