//! Which kernel variant to use for which class of work: measured on the adapter at hand and remembered, never
//! hard-wired to what happened to be fast on one machine.

use std::collections::BTreeMap;

use super::Caps;
use crate::{Error, Result};

/// Class of work → variant. Classes and variants are named by the ops; see `docs/kernels.md`.
#[derive(Clone, Debug, Default)]
pub struct Tuning {
    chosen: BTreeMap<String, String>,
    /// From the user: wins over what was measured.
    forced: BTreeMap<String, String>,
    software: bool,
}

impl Tuning {
    pub(super) fn new(caps: &Caps, forced: Option<&str>) -> Result<Self> {
        let mut tuning = Tuning { software: caps.is_software, ..Default::default() };
        for part in forced.unwrap_or("").split(',').filter(|p| !p.trim().is_empty()) {
            let (class, variant) =
                part.split_once('=').ok_or_else(|| Error::config("kernels", format!("expected class=variant, found {part:?}")))?;
            tuning.forced.insert(class.trim().into(), variant.trim().into());
        }
        Ok(tuning)
    }

    /// The variant for `class`: forced, measured, or a guess from the kind of adapter (`software`, otherwise `hardware`).
    pub fn pick<'a>(&'a self, class: &str, software: &'a str, hardware: &'a str) -> &'a str {
        // A forced entry may name a whole family: `linear=reg` covers `linear.q4.m128`.
        let family = class.split('.').next().unwrap_or(class);
        self.forced
            .get(class)
            .or_else(|| self.forced.get(family))
            .or_else(|| self.chosen.get(class))
            .map_or(if self.software { software } else { hardware }, String::as_str)
    }

    /// True when `class` was measured or forced.
    pub fn known(&self, class: &str) -> bool {
        let family = class.split('.').next().unwrap_or(class);
        self.chosen.contains_key(class) || self.forced.contains_key(class) || self.forced.contains_key(family)
    }

    /// Remembers a measurement.
    pub fn choose(&mut self, class: &str, variant: &str) {
        self.chosen.insert(class.into(), variant.into());
    }

    /// What was measured, to be stored under the adapter's name and this crate's version.
    pub fn measured(&self) -> &BTreeMap<String, String> {
        &self.chosen
    }

    /// Takes back what [`Tuning::measured`] gave.
    pub fn restore(&mut self, chosen: BTreeMap<String, String>) {
        self.chosen = chosen;
    }
}
