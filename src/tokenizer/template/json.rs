//! `json.dumps`, as Transformers defines the filter `tojson`.
use std::fmt::Write;

use super::args::Args;
use super::compare::{order, truth};
use super::fault::{Res, fail};
use super::lists::sorted;
use super::meter;
use super::print::{float_into, iterate, within_limit};
use super::value::Value;

struct Style {
    ascii: bool,
    indent: Option<String>,
    item: String,
    key: String,
    sort: bool,
}

/// Spaces that an indent may have.
const MAX_INDENT: i128 = 1000;

pub(super) fn tojson(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["ensure_ascii", "indent", "separators", "sort_keys"])?;
    let indent = match args.some(1) {
        None => None,
        Some(Value::Str(s)) => Some(s.to_string()),
        Some(_) => {
            let n = args.int(1)?.unwrap_or(0);
            if n > MAX_INDENT {
                return fail(format!("the indent is {n}, at most {MAX_INDENT} are supported"));
            }
            Some(" ".repeat(n.max(0) as usize))
        }
    };
    let mut style = Style {
        ascii: args.get(0).is_some_and(truth),
        item: if indent.is_some() { "," } else { ", " }.into(),
        key: ": ".into(),
        indent,
        sort: args.flag(3),
    };
    if let Some(given) = args.some(2) {
        match &iterate(given)?[..] {
            [Value::Str(item), Value::Str(key)] => (style.item, style.key) = (item.to_string(), key.to_string()),
            _ => return fail("separators are two texts"),
        }
    }
    let mut out = String::new();
    style.write(value, 0, &mut out)?;
    Value::text(out)
}

impl Style {
    fn line(&self, depth: usize, out: &mut String) -> Res<()> {
        if let Some(indent) = &self.indent {
            meter::room(out.len().min(1) + indent.len() * depth)?;
            out.push('\n');
            (0..depth).for_each(|_| out.push_str(indent));
        }
        within_limit(out)
    }

    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Res<()> {
        meter::work(1)?;
        let _level = meter::deeper()?;
        match value {
            Value::None => out.push_str("null"),
            Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Value::Int(n) => drop(write!(out, "{n}")),
            Value::Float(f) => number(*f, out),
            Value::Str(s) | Value::Safe(s) => self.text(s, out)?,
            Value::List(items) | Value::Tuple(items) => {
                out.push('[');
                for (i, v) in items.list.iter().enumerate() {
                    out.push_str(if i > 0 { &self.item } else { "" });
                    self.line(depth + 1, out)?;
                    self.write(v, depth + 1, out)?;
                }
                if !items.list.is_empty() {
                    self.line(depth, out)?;
                }
                out.push(']');
            }
            Value::Dict(d) => {
                let mut entries: Vec<&(Value, Value)> = d.entries.iter().collect();
                meter::work(entries.len())?;
                if self.sort {
                    entries = sorted(entries, |a, b| order(&a.0, &b.0, "<"))?;
                }
                out.push('{');
                for (i, (k, v)) in entries.iter().enumerate() {
                    out.push_str(if i > 0 { &self.item } else { "" });
                    self.line(depth + 1, out)?;
                    match k {
                        Value::Str(s) | Value::Safe(s) => self.text(s, out)?,
                        Value::Tuple(_) => return fail("keys must be str, int, float, bool or None, not tuple"),
                        Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
                            out.push('"');
                            self.write(k, depth, out)?;
                            out.push('"');
                        }
                        other => return fail(format!("keys must be str, int, float, bool or None, not {}", other.kind())),
                    }
                    out.push_str(&self.key);
                    self.write(v, depth + 1, out)?;
                }
                if !entries.is_empty() {
                    self.line(depth, out)?;
                }
                out.push('}');
            }
            other => return fail(format!("Object of type {} is not JSON serializable", other.kind())),
        }
        within_limit(out)
    }

    fn text(&self, s: &str, out: &mut String) -> Res<()> {
        meter::bytes(s.len() * 4)?;
        out.push('"');
        for c in s.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || self.ascii && !c.is_ascii() => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
        within_limit(out)
    }
}

fn number(f: f64, out: &mut String) {
    match f {
        f if f.is_nan() => out.push_str("NaN"),
        f if f.is_infinite() => out.push_str(if f > 0.0 { "Infinity" } else { "-Infinity" }),
        f => float_into(f, out),
    }
}
