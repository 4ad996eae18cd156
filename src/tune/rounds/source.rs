//! Who writes a round's completions.

use std::future::Future;
use std::pin::Pin;

use super::round::{Round, Rounds};
use crate::Result;

/// A result that is waited for; on one thread, as everything that holds a device.
pub type Awaited<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// Who writes and rewards completions, where they are not replayed.
pub trait Rollouts {
    /// A round of some prompts by the policy as it is now: completions and rewards.
    fn write<'a>(&'a mut self, rounds: &'a Rounds, prompts: &'a [u32]) -> Awaited<'a, Round>;

    /// Hears of the round when policy and reference have judged it and its advantages are known, before its first update.
    ///
    /// # Errors
    /// Of writing it down.
    fn judged(&mut self, rounds: &Rounds) -> Result<()>;

    /// True where the log-probabilities of the policy that wrote are wanted whatever the method needs.
    fn wants_old(&self) -> bool;
}
