//! The methods of training: one file and one line each. From their table the command line's options, the package's types and defaults, the page's
//! form and charts and docs/methods.md are made.

pub mod cpo;
pub mod dpo;
pub mod field;
pub mod grpo;
pub mod kto;
pub mod online_dpo;
pub mod orpo;
pub mod peft;
pub mod ppo;
pub mod reward;
pub mod rloo;
mod rounds;
pub mod sft;
pub mod shared;
pub mod table;
pub mod trl;

use field::{Default, Field, Group};
use peft::every_peft_field;
use table::MethodInfo;

use crate::{Error, Result};

/// All of them, in the order in which people are offered them.
pub const METHODS: &[MethodInfo] =
    &[sft::INFO, dpo::INFO, kto::INFO, orpo::INFO, cpo::INFO, reward::INFO, grpo::INFO, rloo::INFO, online_dpo::INFO, ppo::INFO];

/// The method of a name.
///
/// # Errors
/// [`Error::BadConfig`] with the names there are.
pub fn by_name(name: &str) -> Result<&'static MethodInfo> {
    METHODS.iter().find(|m| m.name == name).ok_or_else(|| {
        let names: Vec<&str> = METHODS.iter().map(|m| m.name).collect();
        Error::config("method", format!("{name:?} is not a method ({})", names.join(", ")))
    })
}

/// Every field that any method has, each once, with the methods' defaults where they differ from the first one's: what the command line offers.
pub fn every_field() -> Vec<(Field, Vec<(&'static str, Default)>)> {
    let mut all: Vec<(Field, Vec<(&'static str, Default)>)> = Vec::new();
    for m in METHODS {
        for f in m.all_fields().into_iter().chain(every_peft_field()) {
            match all.iter_mut().find(|a| a.0.name == f.name) {
                None => all.push((f, vec![(m.name, f.default)])),
                Some(a) => a.1.push((m.name, f.default)),
            }
        }
    }
    all.sort_by_key(|a| Group::ALL.iter().position(|g| *g == a.0.group));
    all
}

#[cfg(test)]
mod tests {
    use super::field::Metric;
    use super::*;

    #[test]
    fn the_table_is_sound() {
        for m in METHODS {
            assert_eq!(m.metrics[0].name, "loss", "{}", m.name);
            let fields: Vec<Field> = m.all_fields().into_iter().chain(every_peft_field()).collect();
            for (i, f) in fields.iter().enumerate() {
                assert!(!fields[..i].iter().any(|g| g.name == f.name), "{}: {} is there twice", m.name, f.name);
                assert!(f.nullable || f.default != Default::Unset, "{}: {} has no default", m.name, f.name);
                assert!(!f.help.en.is_empty() && f.help.en.ends_with('.'), "{}: {} says nothing", m.name, f.name);
                let taken = crate::tune::values::check(f, &f.default.json());
                assert!(taken.is_ok(), "{}: the default of {} is none: {taken:?}", m.name, f.name);
            }
            let known = |name: &str| fields.iter().any(|f| f.name == name);
            assert!(m.defaults.iter().all(|d| known(d.0)), "{}: a default of no field", m.name);
            assert!(m.without.iter().all(|w| shared::FIELDS.iter().any(|f| f.name == w.0)), "{}: lacks what is none", m.name);
            // What is another field's old name elsewhere may be a field here (CPO's alpha), and what others have at one value only, too.
            for name in m.fixed.iter().map(|f| f.name) {
                assert!(!known(name), "{}: {name} is a field and fixed as well", m.name);
            }
            let metrics: Vec<&Metric> = m.all_metrics().collect();
            assert!((1..metrics.len()).all(|i| !metrics[..i].iter().any(|n| n.name == metrics[i].name)), "{}: a metric twice", m.name);
        }
        assert_eq!(by_name("pro").err().map(|e| e.code()), Some("bad-config"));
    }
}
