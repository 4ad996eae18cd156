//! Configurations with exactly the field names of TRL and PEFT, read by the table of methods. Every impossible value is an error that names its
//! field, and all that is wrong is said at once.

use serde_json::{Map, Value as Json};

use super::methods::field::{Field, Kind};
use super::methods::peft::every_peft_field;
use super::methods::trl::{self, Fixed};
use super::suggest::nearest;
use crate::data::RowOptions;
use crate::{Error, Result};

/// A method's configuration: each of its fields with a value that it takes.
#[derive(Clone, Debug)]
pub struct Values {
    pub(super) map: Map<String, Json>,
}

/// What is known of a method's fields.
pub struct Known<'a> {
    pub title: &'static str,
    pub fields: &'a [Field],
    pub fixed: &'static [Fixed],
    /// Shared fields that it does not have, and why.
    pub without: &'static [(&'static str, &'static str)],
}

/// A whole number, also one that is written with a fraction of 0.
fn whole(v: &Json) -> Option<i64> {
    v.as_i64().or_else(|| v.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64))
}

/// Values of a hostile length are not repeated in full.
const SHOWN: usize = 100;

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// A value as it stands in the configuration.
pub(super) fn shown(v: &Json) -> String {
    cut(&v.to_string())
}

/// Whether a value says what a text of JSON does: 0 is 0.0, and a list of one is that one.
fn says(v: &Json, text: &str) -> bool {
    let want: Json = serde_json::from_str(text).expect("JSON of the tables");
    let same = |v: &Json| *v == want || (v.is_number() && v.as_f64() == want.as_f64());
    same(v) || v.as_array().is_some_and(|l| l.len() == 1 && same(&l[0]))
}

/// A value in the form in which a field keeps it, or what was expected.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn check(field: &Field, v: &Json) -> std::result::Result<Json, String> {
    if v.is_null() && field.nullable {
        return Ok(Json::Null);
    }
    let texts = |v: &Json| v.is_string() || v.as_array().is_some_and(|l| l.iter().all(Json::is_string));
    let wholes = |v: &Json| whole(v).is_some() || v.as_array().is_some_and(|l| l.iter().all(|n| whole(n).is_some()));
    let taken = match field.kind {
        // Python's configurations also hold numbers such as "5e-4" that YAML turned into text.
        Kind::Number { low, high, .. } => v
            .as_array()
            .filter(|l| l.len() == 1)
            .map_or(v, |l| &l[0])
            .as_f64()
            .or_else(|| v.as_str().and_then(|s| s.parse().ok()))
            .filter(|n| n.is_finite() && (low..=high).contains(n))
            .and_then(|n| serde_json::Number::from_f64(n).map(Json::Number)),
        Kind::Whole { low, high } => whole(v).filter(|n| (low..=high).contains(n)).map(Json::from),
        Kind::Switch => v.as_bool().map(Json::Bool),
        Kind::SwitchOr(_) => (v.is_boolean() || v.is_string()).then(|| v.clone()),
        Kind::Choice(list) => {
            // TRL's loss_type is a list where there may be several.
            let one = v.as_array().filter(|l| l.len() == 1).map_or(v, |l| &l[0]);
            one.as_str().filter(|s| list.contains(s)).map(Json::from)
        }
        Kind::Choices(list) => {
            let all = v.as_array().map_or(std::slice::from_ref(v), Vec::as_slice);
            let known = |c: &Json| c.as_str().is_some_and(|s| list.contains(&s));
            (!all.is_empty() && all.iter().all(known)).then(|| if all.len() == 1 { all[0].clone() } else { v.clone() })
        }
        Kind::Numbers => v.as_array().filter(|l| !l.is_empty() && l.iter().all(Json::is_number)).map(|_| v.clone()),
        Kind::Text => v.is_string().then(|| v.clone()),
        Kind::Names => texts(v).then(|| v.clone()),
        Kind::Wholes => wholes(v).then(|| v.clone()),
        Kind::Patterns => v.as_object().filter(|m| m.values().all(Json::is_number)).map(|m| Json::Object(m.clone())),
    };
    let null = if field.nullable { " or null" } else { "" };
    taken.ok_or_else(|| format!("expected {}{null}, found {}", field.takes(), shown(v)))
}

/// What is wrong with fields, all of it that a person will read.
#[derive(Default)]
pub(super) struct Wrong {
    all: Vec<(String, String)>,
    /// How many more there are.
    more: usize,
}

/// Most faults that are told one by one: a file may have any number.
const MOST_TOLD: usize = 100;

impl Wrong {
    pub fn add(&mut self, field: &str, message: impl Into<String>) {
        match self.all.len() < MOST_TOLD {
            true => self.all.push((field.to_string(), message.into())),
            false => self.more += 1,
        }
    }

    /// A field that `title` does not have, with the one that may have been meant.
    pub fn unknown<'a>(&mut self, field: &str, title: &str, names: impl Iterator<Item = &'a str>) {
        let hint = if self.all.len() < MOST_TOLD { nearest(field, names) } else { String::new() };
        self.add(&cut(field), format!("is not a field of {title}{hint}"));
    }

    /// # Errors
    /// [`Error::BadConfig`] that names the first field, and the others behind it.
    pub fn done(self) -> Result<()> {
        let mut all = self.all.into_iter();
        let Some((field, mut message)) = all.next() else { return Ok(()) };
        for (other, more) in all {
            message += &format!("; {other}: {more}");
        }
        if self.more > 0 {
            message += &format!("; and {} more", self.more);
        }
        Err(Error::config(field, message))
    }
}

impl Values {
    /// Reads the fields of a method out of a JSON object. Those of TRL that change no number here may stand beside them. What cannot be taken
    /// is put to what is `wrong`, and its field has the default.
    pub(super) fn read(known: &Known<'_>, object: &Map<String, Json>, wrong: &mut Wrong) -> Values {
        let mut map = Map::new();
        for f in known.fields {
            let given = object.get(f.name).map(|v| check(f, v));
            let value = given.unwrap_or_else(|| Ok(f.default.json())).unwrap_or_else(|message| {
                wrong.add(f.name, message);
                f.default.json()
            });
            map.insert(f.name.into(), value);
        }
        for (name, v) in object.iter().filter(|(name, _)| !map.contains_key(*name)) {
            let named = |list: &'static [(&'static str, &'static str)]| list.iter().find(|l| l.0 == name).map(|l| l.1);
            if let Some(fixed) = known.fixed.iter().chain(trl::FIXED).find(|f| f.name == name) {
                if !v.is_null() && !fixed.values.iter().any(|t| says(v, t)) {
                    let hint = if fixed.hint.is_empty() { String::new() } else { format!("; {}", fixed.hint) };
                    wrong.add(name, format!("{} is not supported (only {}{hint})", shown(v), fixed.values.join(", ")));
                }
            } else if let Some(message) = named(trl::RENAMED) {
                if !v.is_null() {
                    wrong.add(name, message);
                }
            } else if let Some(message) = named(known.without) {
                wrong.add(name, format!("is not a field of {}: {message}", known.title));
            } else if !trl::IGNORED.contains(&name.as_str()) {
                let peft = every_peft_field();
                let names = known.fields.iter().chain(&peft).map(|f| f.name).chain(["peft_config", "adapter_name"]);
                wrong.unknown(name, known.title, names);
            }
        }
        Values { map }
    }

    fn get(&self, name: &str) -> &Json {
        self.map.get(name).unwrap_or_else(|| panic!("{name} is not in the method's table"))
    }

    /// # Panics
    /// As all of these, for a name that is not in the method's table, or is of another kind.
    pub fn number(&self, name: &str) -> f64 {
        self.get(name).as_f64().unwrap_or_else(|| panic!("{name} is no number"))
    }

    /// `None` where it is not set, or the method has no such field.
    pub fn opt_number(&self, name: &str) -> Option<f64> {
        self.map.get(name)?.as_f64()
    }

    pub fn whole(&self, name: &str) -> i64 {
        self.opt_whole(name).unwrap_or_else(|| panic!("{name} is no whole number"))
    }

    /// `None` where it is not set, or the method has no such field.
    pub fn opt_whole(&self, name: &str) -> Option<i64> {
        self.map.get(name)?.as_i64()
    }

    pub fn switch(&self, name: &str) -> bool {
        self.opt_switch(name).unwrap_or_else(|| panic!("{name} is no switch"))
    }

    /// `None` where it is not set.
    pub fn opt_switch(&self, name: &str) -> Option<bool> {
        self.get(name).as_bool()
    }

    /// True where there is such a field and it is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|v| v == true)
    }

    pub fn text(&self, name: &str) -> &str {
        self.opt_text(name).unwrap_or_else(|| panic!("{name} is no text"))
    }

    /// One text, or all of a list.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        match self.get(name) {
            Json::Array(list) => list.iter().filter_map(Json::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        }
    }

    /// A whole number that is not negative; `None` where it is not set, or the method has no such field.
    pub fn opt_count(&self, name: &str) -> Option<u64> {
        self.map.get(name)?.as_u64()
    }

    /// `None` where it is not set, or the method has no such field.
    pub fn opt_flag(&self, name: &str) -> Option<bool> {
        self.map.get(name)?.as_bool()
    }

    /// With another value of a field, if the method has it.
    pub(super) fn with(mut self, name: &str, value: Json) -> Values {
        if let Some(v) = self.map.get_mut(name) {
            *v = value;
        }
        self
    }

    /// `None` where it is not set.
    pub fn opt_numbers(&self, name: &str) -> Option<Vec<f64>> {
        Some(self.get(name).as_array()?.iter().filter_map(Json::as_f64).collect())
    }

    /// `None` where it is not set, or the method has no such field.
    pub fn opt_text(&self, name: &str) -> Option<&str> {
        self.map.get(name)?.as_str()
    }

    /// What of it rows are read by.
    pub fn row_options(&self) -> RowOptions {
        let plain = RowOptions::default();
        let switch = |name: &str, otherwise: bool| self.map.get(name).and_then(Json::as_bool).unwrap_or(otherwise);
        RowOptions {
            max_length: self.opt_whole("max_length").map(|n| n as usize),
            keep_end: self.opt_text("truncation_mode") == Some("keep_end"),
            whole: self.is_on("packing") && self.opt_text("packing_strategy") != Some("bfd"),
            completion_only: switch("completion_only_loss", plain.completion_only),
            assistant_only: switch("assistant_only_loss", plain.assistant_only),
        }
    }
}
