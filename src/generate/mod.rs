//! Generation: prefill in chunks, sampling on the device, several candidates as one batch, streamed text;
//! beams, looked-up tokens and processors of the host. Of an encoder-decoder the prompt is the encoder's.

mod answer;
mod beams;
mod driven;
mod driver;
mod engine;
mod options;
mod processors;
mod profile;
mod session;
mod source;
mod warm;

pub use options::{Candidate, EarlyStopping, Event, FinishReason, GenerateOptions, MAX_CANDIDATES, Seconds};
pub use session::Generator;
pub use warm::Warming;
