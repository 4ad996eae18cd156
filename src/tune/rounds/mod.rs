//! Learning from what the policy itself writes, in rounds: a batch of prompts with several completions each, their rewards, what the present policy and
//! the reference say of them, advantages; then updates over all of it, once or several times; then the next round.
//!
//! A method that learns so holds [`Rounds`]. The trainer asks it for micro-batches, and for a new round where none is left: a round is replayed from
//! rows that bring completions and rewards, or sampled. All numbers between sampling and loss are computed on the host, in f64.

mod figures;
mod guards;
mod judge;
mod plan;
mod policy;
mod ppo;
mod record;
mod round;
mod sampled;
mod saved;
mod source;
mod sources;

pub use figures::{SHARED_METRICS, UNGROUPED_METRICS, mean_of, means, std_of};
pub use guards::{GUARDS, Guards};
pub use plan::RoundPlan;
pub use policy::{Estimator, Policy, PolicyOptions, Share};
pub use ppo::{Adaptive, Ppo, PpoOptions};
pub use record::record;
pub use round::{Round, Rounds, Sample};
pub use sampled::{Recorder, Sampled, Stop};
pub(super) use saved::Saved;
pub use source::{Awaited, Rollouts};
pub use sources::Sources;
pub(super) use sources::rollouts;
