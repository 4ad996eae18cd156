//! Which kernel variant to use for which class of work: measured on the adapter at hand and remembered (`device::calibrate`); where there is nothing to
//! choose from, by its kind, software or hardware.

use std::collections::BTreeMap;

use super::caps::Caps;
use crate::{Error, Result};

/// Every class of work that the ops ask about, and the forms of its variants (`#` stands for a number from 1 to 16). What they mean is said in
/// `docs/engine/kernels.md` and where they are picked, in `src/ops/`.
const CLASSES: &[(&str, &[&str])] = &[
    ("linear.m1", &["reg#x#", "block8", "block16", "vec", "vec#x#", "vecsub", "vecsub#x#", "tile", "tile#x#"]),
    ("linear.m8", &["reg#x#", "block8", "block16", "vec", "vec#x#", "vecsub", "vecsub#x#", "tile", "tile#x#"]),
    ("linear.big", &["reg#x#", "quad#", "tile", "tile#x#", "block8", "block16", "vec", "vec#x#", "vecsub", "vecsub#x#"]),
    ("linear_norm", &["fused", "apart"]),
    ("linear_dw", &["reg8", "quad#"]),
    ("linear_dx", &["reg8", "reg4", "quad#", "tile", "tile#x#"]),
    ("rows", &["serial", "group"]),
    ("embedding_dw", &["columns", "rows"]),
    ("attention", &["rows#x#", "query", "tile"]),
    ("attention_small", &["rows#x#", "query", "append"]),
    ("attention_dq", &["rows#x#", "tile"]),
    ("attention_dkv", &["rows#x#", "tile"]),
];

/// `linear` of `linear.m8`: a forced entry may name the whole family.
fn family(class: &str) -> &str {
    class.split('.').next().unwrap_or(class)
}

/// Variants of a class, or of the first class of a family.
fn forms(class: &str) -> Option<&'static [&'static str]> {
    CLASSES.iter().find(|(c, _)| *c == class || family(c) == class).map(|c| c.1)
}

/// Does `variant` have this form?
fn fits(form: &str, variant: &str) -> bool {
    let mut rest = variant;
    let mut parts = form.split('#');
    let Some(after) = parts.next().and_then(|first| rest.strip_prefix(first)) else { return false };
    rest = after;
    for part in parts {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..digits].parse::<u32>().is_ok_and(|n| (1..=16).contains(&n));
        match rest[digits..].strip_prefix(part) {
            Some(after) if number => rest = after,
            _ => return false,
        }
    }
    rest.is_empty()
}

/// Class of work → variant.
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
        tuning.force(forced.unwrap_or(""))?;
        Ok(tuning)
    }

    /// Forces variants, in the words of `kernels=` (class=variant,…), beside those forced before. What is recorded from now on uses them.
    ///
    /// # Errors
    /// [`Error::BadConfig`] with the class or variant that does not exist.
    pub fn force(&mut self, kernels: &str) -> Result<()> {
        let mut list = BTreeMap::new();
        for part in kernels.split(',').filter(|p| !p.trim().is_empty()) {
            let (class, variant) =
                part.split_once('=').ok_or_else(|| Error::config("kernels", format!("expected class=variant, found {part:?}")))?;
            let (class, variant) = (class.trim(), variant.trim());
            let Some(forms) = forms(class) else {
                let names: Vec<&str> = CLASSES.iter().map(|c| c.0).collect();
                return Err(Error::config("kernels", format!("{class:?} is no class of kernels (linear, {})", names.join(", "))));
            };
            if !forms.iter().any(|f| fits(f, variant)) {
                return Err(Error::config("kernels", format!("{variant:?} is no variant of {class} ({})", forms.join(", "))));
            }
            list.insert(class.to_string(), variant.to_string());
        }
        // A family holds for all of its classes, whatever was forced before.
        self.forced.retain(|c, _| !list.contains_key(family(c)));
        self.forced.extend(list);
        Ok(())
    }

    /// The variant for `class`: forced, measured, or a guess from the kind of adapter (`software`, otherwise `hardware`).
    pub fn pick<'a>(&'a self, class: &str, software: &'a str, hardware: &'a str) -> &'a str {
        debug_assert!(forms(class).is_some(), "{class} is missing in CLASSES");
        self.forced
            .get(class)
            .or_else(|| self.forced.get(family(class)))
            .or_else(|| self.chosen.get(class))
            .map_or(if self.software { software } else { hardware }, String::as_str)
    }

    /// True when `class` was measured or forced.
    pub fn known(&self, class: &str) -> bool {
        self.chosen.contains_key(class) || self.forced.contains_key(class) || self.forced.contains_key(family(class))
    }

    /// Remembers a measurement.
    pub fn choose(&mut self, class: &str, variant: &str) {
        self.chosen.insert(class.into(), variant.into());
    }

    /// What was measured, to be stored under the adapter's name and this crate's version.
    pub fn measured(&self) -> &BTreeMap<String, String> {
        &self.chosen
    }

    /// Takes back what [`Tuning::measured`] gave. What is no variant any more is measured again.
    pub fn restore(&mut self, chosen: BTreeMap<String, String>) {
        self.chosen = chosen.into_iter().filter(|(class, v)| forms(class).is_some_and(|f| f.iter().any(|f| fits(f, v)))).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn forms_of_variants() {
        for (form, variant) in [("reg#x#", "reg8x4"), ("reg#x#", "reg1x1"), ("tile", "tile"), ("rows#x#", "rows16x1")] {
            assert!(fits(form, variant), "{variant}");
        }
        for (form, variant) in
            [("reg#x#", "reg8"), ("reg#x#", "reg0x4"), ("reg#x#", "reg8x4x"), ("reg#x#", "reg17x1"), ("tile", "tiles"), ("tile", "")]
        {
            assert!(!fits(form, variant), "{variant}");
        }
    }
}
