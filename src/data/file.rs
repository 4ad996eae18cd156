//! Files of rows: one JSON object per line (JSONL), a JSON array of objects, or a table (CSV, TSV). Rows are counted from 0; blank lines are none. A
//! byte order mark at the beginning means nothing.

use serde::Serialize;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::columns;
use super::csv;
use super::fault::{Fault, kind};
use super::found::{Columns, Found};
use crate::{Error, Result};

/// Longest row, in bytes: far beyond any context.
const MAX_ROW_BYTES: usize = 8 << 20;

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

/// How a file's columns are called: (a column of rows, its name in the file).
#[derive(Clone, Copy, Debug, Default)]
pub struct Source<'a> {
    pub columns: &'a [(String, String)],
}

impl Source<'_> {
    /// What a column of the file is called in rows; none where it is left out, as all are that nobody has named and rows do not have, once somebody
    /// has named some.
    fn name(&self, column: &str) -> Option<String> {
        let named = self.columns.iter().find(|c| c.1 == column);
        let taken = || self.columns.iter().any(|c| c.0 == column);
        match named {
            Some((own, _)) => Some(own.clone()),
            None if !self.columns.is_empty() && (taken() || !columns::is_known(column)) => None,
            None => Some(column.to_string()),
        }
    }
}

/// Everything in a text that should be a row, with its columns called as those of rows.
pub struct Named {
    pub found: Vec<Found>,
    /// Columns that are in none, because others were named.
    pub left_out: Vec<String>,
    /// The first of the named ones that no row has.
    pub missing: Option<(String, String)>,
}

/// What stands between the cells of a table, if a file of this name is one.
fn separator(name: &str) -> Option<char> {
    let lower = name.to_ascii_lowercase();
    [(".csv", ','), (".tsv", '\t')].into_iter().find(|s| lower.ends_with(s.0)).map(|s| s.1)
}

/// [`scan`] of a file with a name, which says whether it is a table, and with names of its columns.
pub fn scan_named(text: &str, first: usize, name: &str, source: Source<'_>) -> Named {
    let separator = separator(name);
    let found = match separator {
        Some(separator) => csv::scan(text, separator),
        None => scan(text, first),
    };
    let (mut left_out, mut seen): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut rename = |columns: Columns| -> Columns {
        let mut own = Columns::new();
        for (column, value) in columns {
            match source.name(&column) {
                Some(name) => {
                    let value = if separator.is_some() { csv::value(&name, value) } else { value };
                    own.insert(name, value);
                }
                None if !left_out.contains(&column) => left_out.push(column.clone()),
                None => {}
            }
            if !source.columns.is_empty() && !seen.contains(&column) {
                seen.push(column);
            }
        }
        own
    };
    let found = found.into_iter().map(|f| Found { line: f.line, row: f.row.map(&mut rename) }).collect();
    let missing = source.columns.iter().find(|c| !seen.contains(&c.1)).cloned();
    Named { found, left_out, missing }
}

/// The rows of a file.
pub struct RowFile {
    name: String,
    rows: Vec<Json>,
    lines: Vec<usize>,
    left_out: Vec<String>,
}

impl RowFile {
    /// Reads a text; `name` is its name for messages.
    ///
    /// # Errors
    /// [`Error::BadRow`] for the first thing that is no JSON object, [`Error::EmptyDataset`] without any.
    pub fn parse(name: &str, text: &str) -> Result<RowFile> {
        RowFile::of(name, text, Source::default())
    }

    /// The same with names of columns. A file whose name ends in `.csv` or `.tsv` is a table.
    ///
    /// # Errors
    /// As [`RowFile::parse`]; [`Error::BadConfig`] for a column that no row has.
    pub fn of(name: &str, text: &str, source: Source<'_>) -> Result<RowFile> {
        let mut file = RowFile { name: name.into(), rows: Vec::new(), lines: Vec::new(), left_out: Vec::new() };
        let named = scan_named(text, 1, name, source);
        for Found { line, row } in named.found {
            file.lines.push(line);
            let at = file.lines.len() - 1;
            file.rows.push(Json::Object(row.map_err(|fault| file.place(fault.of_row(at)))?));
        }
        file.left_out = named.left_out;
        if let Some((own, missing)) = named.missing.filter(|_| !file.rows.is_empty()) {
            return Err(Error::config("column", format!("{own}={missing}: no row of {name} has a column {missing:?}")));
        }
        match file.rows.is_empty() {
            true if separator(name).is_some() => Err(Error::EmptyDataset(format!("{name} has no rows below the names of its columns"))),
            true => Err(Error::EmptyDataset(format!("{name} has no rows; expected one JSON object per line, or a JSON array of them"))),
            false => Ok(file),
        }
    }

    /// The rows, each an object.
    pub fn rows(&self) -> &[Json] {
        &self.rows
    }

    /// Columns of the file that are in no row, because others were named.
    pub fn left_out(&self) -> &[String] {
        &self.left_out
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
