//! What is wrong with a row, and where.

use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

use crate::Error;

/// Why a row cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The column, or the place in it such as `messages[1].content`; none where the row as a whole is meant.
    pub column: Option<String>,
    /// What is wrong with it, and what was expected: a sentence that goes on after the column's name.
    pub reason: String,
    /// True for a name that is no column: it is put in quotes.
    #[serde(skip)]
    quoted: bool,
}

impl Fault {
    /// About the row as a whole.
    pub fn row(reason: impl Into<String>) -> Fault {
        Fault { column: None, reason: reason.into(), quoted: false }
    }

    /// About a place in it.
    pub fn at(column: impl Into<String>, reason: impl Into<String>) -> Fault {
        Fault { column: Some(column.into()), reason: reason.into(), quoted: false }
    }

    /// About a name that is no column.
    pub(super) fn name(name: &str, reason: impl Into<String>) -> Fault {
        Fault { column: Some(name.into()), reason: reason.into(), quoted: true }
    }

    /// As an error of row `row`, counted from 0.
    pub fn of_row(self, row: usize) -> Error {
        Error::BadRow { row, message: self.to_string() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (&self.column, self.quoted) {
            (None, _) => f.write_str(&self.reason),
            (Some(c), false) => write!(f, "{c} {}", self.reason),
            (Some(c), true) => write!(f, "column {c:?} {}", self.reason),
        }
    }
}

/// What a value is, for messages.
pub(super) fn kind(v: Option<&Json>) -> String {
    match v {
        None => "nothing".into(),
        Some(Json::Null) => "null".into(),
        Some(Json::Bool(b)) => b.to_string(),
        Some(Json::Number(n)) => n.to_string(),
        Some(Json::String(s)) if s.is_empty() => "an empty text".into(),
        Some(Json::String(_)) => "a text".into(),
        Some(Json::Array(a)) if a.is_empty() => "an empty list".into(),
        Some(Json::Array(_)) => "a list".into(),
        Some(Json::Object(_)) => "an object".into(),
    }
}

/// Rows by their numbers, the first few of many.
pub(super) fn numbers(rows: &[usize]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = rows.iter().take(SHOWN).map(usize::to_string).collect();
    shown.join(", ") + if rows.len() > SHOWN { ", …" } else { "" }
}
