//! Tables as spreadsheets write them (RFC 4180): a line of column names, then one row a line; a cell in quotes may hold commas, line breaks and, doubled,
//! quotes.

use serde_json::{Value as Json, json};

use super::fault::Fault;
use super::found::{Columns, Found};

/// Columns whose cells are texts, whatever stands in them. Those of others are JSON: numbers, true and false, lists.
const TEXTS: &[&str] = &["prompt", "completion", "chosen", "rejected", "text", "instruction", "input", "output"];

/// One line of cells.
struct Line {
    /// On which it begins, from 1.
    number: usize,
    cells: Vec<String>,
}

/// The lines of a table; the last one may be a fault.
fn lines(text: &str, separator: char) -> (Vec<Line>, Option<(usize, Fault)>) {
    let (mut all, mut cells, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut number, mut begun) = (1, 1);
    let (mut quoted, mut was_quoted) = (None, false);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        number += usize::from(c == '\n');
        match c {
            '"' if quoted.is_some() && rest.peek() == Some(&'"') => cell.extend(rest.next()),
            '"' if quoted.is_some() => quoted = None,
            _ if quoted.is_some() => cell.push(c),
            '"' if cell.is_empty() && !was_quoted => (quoted, was_quoted) = (Some(number), true),
            '\r' if rest.peek() == Some(&'\n') => {}
            '\n' => {
                cells.push(std::mem::take(&mut cell));
                let blank = cells.len() == 1 && cells[0].trim().is_empty() && !was_quoted;
                let cells = std::mem::take(&mut cells);
                if !blank {
                    all.push(Line { number: begun, cells });
                }
                (begun, was_quoted) = (number, false);
            }
            c if c == separator => {
                cells.push(std::mem::take(&mut cell));
                was_quoted = false;
            }
            c => cell.push(c),
        }
    }
    if let Some(opened) = quoted {
        return (all, Some((begun, Fault::row(format!("has a quote on line {opened} that nothing closes")))));
    }
    if !cells.is_empty() || !cell.trim().is_empty() || was_quoted {
        cells.push(cell);
        all.push(Line { number: begun, cells });
    }
    (all, None)
}

/// What a cell of a column says. Nothing is what is not there.
pub(super) fn value(column: &str, cell: Json) -> Json {
    let Json::String(cell) = cell else { return cell };
    if cell.is_empty() {
        return Json::Null;
    }
    if TEXTS.contains(&column) {
        return Json::String(cell);
    }
    match (column, cell.trim().to_ascii_lowercase().as_str()) {
        ("label", "true" | "1" | "yes") => json!(true),
        ("label", "false" | "0" | "no") => json!(false),
        _ => serde_json::from_str(&cell).unwrap_or(Json::String(cell)),
    }
}

/// Everything in a table that should be a row, all of its cells as texts: see [`value`].
pub(super) fn scan(text: &str, separator: char) -> Vec<Found> {
    let (lines, fault) = lines(crate::text::without_bom(text), separator);
    let mut lines = lines.into_iter();
    let Some(head) = lines.next() else {
        return fault.map(|(line, fault)| Found { line, row: Err(fault) }).into_iter().collect();
    };
    let header: Vec<String> = head.cells.iter().map(|c| c.trim().to_string()).collect();
    if let Some(i) = (0..header.len()).find(|i| !header[*i].is_empty() && header[..*i].contains(&header[*i])) {
        let fault = Fault::row(format!("names the column {:?} twice: the first line of a table names its columns", header[i]));
        return vec![Found { line: head.number, row: Err(fault) }];
    }
    let row = |cells: Vec<String>| -> Result<Columns, Fault> {
        if cells.len() != header.len() {
            return Err(Fault::row(format!("has {} cells for {} columns", cells.len(), header.len())));
        }
        let mut columns = Columns::new();
        for (column, cell) in header.iter().zip(cells) {
            match column.is_empty() {
                false => drop(columns.insert(column.clone(), Json::String(cell))),
                true if cell.is_empty() => {}
                true => return Err(Fault::row("has a cell in a column without a name")),
            }
        }
        Ok(columns)
    };
    let mut found: Vec<Found> = lines.map(|l| Found { line: l.number, row: row(l.cells) }).collect();
    found.extend(fault.map(|(line, fault)| Found { line, row: Err(fault) }));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<(usize, Result<Json, String>)> {
        let own = |c: Columns| Json::Object(c.into_iter().map(|(name, cell)| (name.clone(), value(&name, cell))).collect());
        scan(text, ',').into_iter().map(|f| (f.line, f.row.map(own).map_err(|e| e.to_string()))).collect()
    }

    #[test]
    fn cells_may_hold_anything() {
        let text = "\u{feff}prompt,completion,label\r\n\"Say \"\"hi\"\",\nplease\",hi,1\n\nplain, 42 ,FALSE\n\"\",5,\n";
        let want = [
            (2, json!({"prompt": "Say \"hi\",\nplease", "completion": "hi", "label": true})),
            (5, json!({"prompt": "plain", "completion": " 42 ", "label": false})),
            (6, json!({"prompt": null, "completion": "5", "label": null})),
        ];
        assert_eq!(rows(text).into_iter().map(|(l, r)| (l, r.unwrap())).collect::<Vec<_>>(), want);
        assert_eq!(rows("input_ids\n\"[1, 2]\"")[0].1, Ok(json!({"input_ids": [1, 2]})));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        for (text, line, said) in [
            ("a,b\n1,2\n3\n", 3, "1 cells for 2 columns"),
            ("a,b\n1,2,3\n", 2, "3 cells for 2 columns"),
            ("a,a\n1,2\n", 1, "twice"),
            ("a,\n1,2\n", 2, "without a name"),
            ("a,b\n1,\"2\n3,4\n", 2, "a quote on line 2 that nothing closes"),
        ] {
            let found = rows(text);
            let (at, error) = found.last().cloned().unwrap();
            assert!(at == line && error.clone().is_err_and(|e| e.contains(said)), "{text:?}: {at} {error:?}");
        }
        assert!(rows("").is_empty() && rows("a,b\n").is_empty());
    }
}
