//! The critic that learns together with a policy: where it comes from, and what it is called.

use std::rc::Rc;

use crate::adapters::{AdapterSet, Adapters};
use crate::formats::peft::{LoraConfig, SAVED};
use crate::{Error, Result};

/// What the critic of a training is called.
pub(super) fn critic_of(name: &str) -> String {
    format!("{name}.critic")
}

/// The critic to train with a policy: a copy of the reward model that was named, of the one that an earlier training of the policy had, or a new one
/// in the policy's shape with a new head.
pub(super) fn critic(adapters: &Adapters, policy: &AdapterSet, name: &str, from: Option<&str>, seed: u32) -> Result<Rc<AdapterSet>> {
    // Both are passes over the same tokens: virtual ones in front are the policy's alone.
    let policy = policy.need_lora("learned together with a critic")?;
    let own = critic_of(name);
    let from = from.or_else(|| (adapters.scores(&own) == Some(1)).then_some(own.as_str()));
    let Some(from) = from else {
        let saved = SAVED.iter().rev().map(|s| s.to_string()).collect();
        let config = LoraConfig { task_type: Some("SEQ_CLS".into()), modules_to_save: Some(saved), ..policy.config().clone() };
        // Not the policy's own numbers.
        return adapters.fresh_with(&config, &adapters.score_head(1), u64::from(seed) ^ 0xC217_1C00_0000);
    };
    match adapters.scores(from) {
        Some(1) | None => adapters.copy_with(from, Some(0.0)),
        Some(n) => Err(Error::BadAdapter(format!("{from:?} gives {n} scores: a critic is a reward model with one"))),
    }
}
