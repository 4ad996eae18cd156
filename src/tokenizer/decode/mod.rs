//! Decoders: from tokens to a text, all at once or as they come.
mod state;
mod step;
mod stop;

pub use state::State;
pub use step::{Decoder, Step};
pub use stop::StopMatcher;
