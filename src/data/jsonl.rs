//! One JSON object per line. Rows are counted from 0; blank lines are none.

use serde::Serialize;
use serde_json::Value as Json;

use crate::error::{Error, Result};

/// Longest line, in bytes: far beyond any context.
const MAX_LINE_BYTES: usize = 8 << 20;

/// What a value is, for messages.
pub(super) fn kind(v: Option<&Json>) -> String {
    match v {
        None => "nothing".into(),
        Some(Json::Null) => "null".into(),
        Some(Json::Bool(_)) => "a bool".into(),
        Some(Json::Number(n)) => n.to_string(),
        Some(Json::String(s)) if s.is_empty() => "an empty text".into(),
        Some(Json::String(_)) => "a text".into(),
        Some(Json::Array(a)) if a.is_empty() => "an empty list".into(),
        Some(Json::Array(_)) => "a list".into(),
        Some(Json::Object(_)) => "an object".into(),
    }
}

/// The rows of a JSONL text, each an object; `name` is its name for messages. A byte order mark at the beginning means nothing.
///
/// # Errors
/// [`Error::BadRow`] for a line that is no JSON object, [`Error::EmptyDataset`] without any.
pub fn parse_jsonl(name: &str, text: &str) -> Result<Vec<Json>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let bad = |what: String| Error::BadRow { row: rows.len(), message: format!("line {} of {name} {what}", number + 1) };
        if line.len() > MAX_LINE_BYTES {
            return Err(bad(format!("has {} bytes, at most {MAX_LINE_BYTES} are supported", line.len())));
        }
        match serde_json::from_str(line) {
            Ok(row @ Json::Object(_)) => rows.push(row),
            Ok(other) => return Err(bad(format!("is {}, expected a JSON object", kind(Some(&other))))),
            Err(e) => return Err(bad(format!("is not JSON: {e}"))),
        }
    }
    match rows.is_empty() {
        true => Err(Error::EmptyDataset(format!("{name} has no rows; expected one JSON object per line"))),
        false => Ok(rows),
    }
}

/// One JSON object per line.
pub fn write_jsonl<T: Serialize>(rows: &[T]) -> String {
    rows.iter().map(|row| serde_json::to_string(row).expect("rows are plain JSON") + "\n").collect()
}
