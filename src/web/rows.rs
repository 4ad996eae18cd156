//! Rows of datasets for JavaScript: read, judged and written as training reads them, with or without a model.

use serde::Serialize;
use serde_json::Value;
use wasm_bindgen::prelude::*;

use super::convert::{from_js, js_error, to_js};
use crate::data::{Fault, Row, RowKind, Source, scan_named, write_jsonl};
use crate::{Error, Result};

/// A row of whatever kind it is.
const ANY: &[RowKind] = &[RowKind::Sft, RowKind::Preference, RowKind::Unpaired, RowKind::Ranking, RowKind::Reward];

/// What stands in a line of a file.
#[derive(Serialize)]
#[serde(untagged)]
enum Line {
    Row {
        line: usize,
        kind: RowKind,
        row: Row,
    },
    Refused {
        line: usize,
        #[serde(flatten)]
        fault: Fault,
    },
}

/// The rows of a text, JSONL, a JSON array or (by its name) a table, each in TRL's columns and one style, or why it is none; `first` is the number of
/// the first line, `columns` say what columns are called in the file.
#[wasm_bindgen]
pub fn read_rows(text: &str, first: usize, name: &str, columns: JsValue) -> Result<JsValue, JsValue> {
    let columns: std::collections::BTreeMap<String, String> =
        from_js::<Option<_>>("columns", columns).map_err(js_error)?.unwrap_or_default();
    let columns: Vec<(String, String)> = columns.into_iter().collect();
    let read = |found: crate::data::Found| {
        let line = found.line;
        match found.row.and_then(|columns| Row::from_columns(&columns, ANY)).and_then(Row::of_one_sequence) {
            Ok(row) => Line::Row { line, kind: row.kind(), row },
            Err(fault) => Line::Refused { line, fault },
        }
    };
    let named = scan_named(text, first, name, Source { columns: &columns });
    to_js(&named.found.into_iter().map(read).collect::<Vec<_>>()).map_err(js_error)
}

fn rows_of(rows: JsValue) -> Result<Vec<Row>> {
    let rows: Vec<Value> = from_js("rows", rows)?;
    rows.iter().enumerate().map(|(i, value)| Row::read(value, ANY).map_err(|fault| fault.of_row(i))).collect()
}

/// Rows as JSONL in TRL's columns. Of a ranking all pairs are written, and nothing where there is none.
#[wasm_bindgen]
pub fn write_rows(rows: JsValue) -> Result<String, JsValue> {
    let expand = |row: Row| -> Vec<Row> {
        match row {
            Row::Ranking(ranking) => ranking.pairs().unwrap_or_default().into_iter().map(Row::Preference).collect(),
            row => vec![row],
        }
    };
    let rows = rows_of(rows).map_err(js_error)?;
    Ok(write_jsonl(&rows.into_iter().flat_map(expand).collect::<Vec<Row>>()))
}

/// All strict pairs of a ranking, as preferences.
#[wasm_bindgen]
pub fn ranking_pairs(ranking: JsValue) -> Result<JsValue, JsValue> {
    let pairs = || -> Result<JsValue> {
        let value: Value = from_js("ranking", ranking)?;
        match Row::read(&value, &[RowKind::Ranking]) {
            Ok(Row::Ranking(ranking)) => to_js(&ranking.pairs()?),
            Ok(_) => unreachable!("of this kind"),
            // There is one row, and nobody counted it.
            Err(fault) => Err(Error::config("ranking", fault.to_string())),
        }
    };
    pairs().map_err(js_error)
}
