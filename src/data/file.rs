//! Files of rows: one JSON object per line (JSONL), or a JSON array of objects. Rows are counted from 0; blank lines are none. A byte order
//! mark at the beginning means nothing.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use super::fault::{Fault, kind};
use crate::{Error, Result};

/// Longest row, in bytes: far beyond any context.
const MAX_ROW_BYTES: usize = 8 << 20;

/// A row's columns.
pub type Columns = Map<String, Json>;

/// What stands where a row was expected.
pub struct Found {
    /// Line that it begins on, from 1.
    pub line: usize,
    /// Its columns, or why it is no row.
    pub row: Result<Columns, Fault>,
}

fn object(text: &str) -> Result<Columns, Fault> {
    if text.len() > MAX_ROW_BYTES {
        return Err(Fault::row(format!("has {} bytes, at most {MAX_ROW_BYTES} are supported", text.len())));
    }
    match serde_json::from_str(text) {
        Ok(Json::Object(map)) => Ok(map),
        Ok(other) => Err(Fault::row(format!("is {}, expected a JSON object", kind(Some(&other))))),
        // A list written down row by row.
        Err(_) if text.trim_end().strip_suffix(',').is_some_and(|t| serde_json::from_str::<&RawValue>(t).is_ok()) => {
            Err(Fault::row("ends with a comma: expected one JSON object per line and nothing between the lines"))
        }
        Err(e) => Err(Fault::row(format!("is not JSON: {e}"))),
    }
}

/// Everything in a text that should be a row. `first` is the number of the text's first line, where it is the middle of a file.
pub fn scan(text: &str, first: usize) -> Vec<Found> {
    let text = crate::text::without_bom(text);
    if !text.trim_start().starts_with('[') {
        let lines = text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty());
        return lines.map(|(i, l)| Found { line: first + i, row: object(l) }).collect();
    }
    match serde_json::from_str::<Vec<&RawValue>>(text) {
        Ok(list) => {
            // The elements are slices of the text: how far into it each begins tells its line.
            let (mut line, mut seen) = (first, 0);
            let found = |element: &&RawValue| {
                let at = element.get().as_ptr() as usize - text.as_ptr() as usize;
                line += text.as_bytes()[seen..at].iter().filter(|b| **b == b'\n').count();
                seen = at;
                Found { line, row: object(element.get()) }
            };
            list.iter().map(found).collect()
        }
        Err(e) => vec![Found { line: first + e.line().saturating_sub(1), row: Err(Fault::row(format!("is not a JSON array: {e}"))) }],
    }
}

/// The rows of a file.
pub struct RowFile {
    name: String,
    rows: Vec<Json>,
    lines: Vec<usize>,
}

impl RowFile {
    /// Reads a text; `name` is its name for messages.
    ///
    /// # Errors
    /// [`Error::BadRow`] for the first thing that is no JSON object, [`Error::EmptyDataset`] without any.
    pub fn parse(name: &str, text: &str) -> Result<RowFile> {
        let mut file = RowFile { name: name.into(), rows: Vec::new(), lines: Vec::new() };
        for Found { line, row } in scan(text, 1) {
            file.lines.push(line);
            let row = row.map_err(|fault| file.place(fault.of_row(file.lines.len() - 1)))?;
            file.rows.push(Json::Object(row));
        }
        match file.rows.is_empty() {
            true => Err(Error::EmptyDataset(format!("{name} has no rows; expected one JSON object per line, or a JSON array of them"))),
            false => Ok(file),
        }
    }

    /// The rows, each an object.
    pub fn rows(&self) -> &[Json] {
        &self.rows
    }

    /// An error of one of the rows, with the line that it stands on.
    pub fn place(&self, error: Error) -> Error {
        let at = |row: usize| self.lines.get(row).map(|line| format!("line {line} of {}", self.name));
        match error {
            Error::BadRow { row, message } if at(row).is_some() => {
                Error::BadRow { row, message: format!("{}: {message}", at(row).unwrap_or_default()) }
            }
            Error::LongRow { row, message } if at(row).is_some() => {
                Error::LongRow { row, message: format!("{}: {message}", at(row).unwrap_or_default()) }
            }
            other => other,
        }
    }
}

/// One JSON object per line.
pub fn write_jsonl<T: Serialize>(rows: &[T]) -> String {
    rows.iter().map(|row| serde_json::to_string(row).expect("rows are plain JSON") + "\n").collect()
}
