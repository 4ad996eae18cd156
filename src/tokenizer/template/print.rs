//! Python's printed forms: `str()` and `repr()`.
use std::fmt::Write;

use super::fault::{Fault, Res, fail};
use super::meter;
use super::value::{Value, View, range_at, range_len};
use crate::tokenizer::unicode;

/// Fails if a text that is being made has become too long.
#[inline(never)]
pub(super) fn within_limit(out: &str) -> Res<()> {
    if out.len() > meter::MAX_TEXT {
        return fail(format!("a text of more than {} MiB", meter::MAX_TEXT >> 20));
    }
    Ok(())
}

/// `str(value)`, without a copy where it is a text.
#[inline(never)]
pub(super) fn string(value: &Value) -> Res<Value> {
    match value {
        Value::Str(_) | Value::Safe(_) => Ok(value.clone()),
        _ => {
            let mut out = String::new();
            str_into(value, &mut out)?;
            Value::text(out)
        }
    }
}

/// Appends `str(value)`.
#[inline(never)]
pub(super) fn str_into(value: &Value, out: &mut String) -> Res<()> {
    match value {
        Value::Undefined(_) => Ok(()),
        Value::Str(s) | Value::Safe(s) => {
            // Copied whole, which is the cheapest that can be done with it.
            meter::work(s.len() / 256)?;
            out.push_str(s);
            within_limit(out)
        }
        _ => repr_into(value, out, 0),
    }
}

/// Appends `repr(value)`.
pub(super) fn repr_into(value: &Value, out: &mut String, depth: u32) -> Res<()> {
    meter::work(1)?;
    if depth > meter::MAX_NESTING {
        return fail("a value that holds itself cannot be printed");
    }
    let _level = meter::deeper()?;
    match value {
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(b) => out.push_str(if *b { "True" } else { "False" }),
        Value::Int(n) => drop(write!(out, "{n}")),
        Value::Float(f) => float_into(*f, out),
        Value::Str(s) => quote_into(s, out)?,
        Value::Safe(s) => {
            out.push_str("Markup(");
            quote_into(s, out)?;
            out.push(')');
        }
        Value::List(items) => {
            out.push('[');
            each(items.list.iter(), out, depth)?;
            out.push(']');
        }
        Value::Tuple(items) => {
            out.push('(');
            each(items.list.iter(), out, depth)?;
            out.push_str(if items.list.len() == 1 { ",)" } else { ")" });
        }
        Value::Dict(dict) => {
            out.push('{');
            for (i, (k, v)) in dict.entries.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                repr_into(k, out, depth + 1)?;
                out.push_str(": ");
                repr_into(v, out, depth + 1)?;
            }
            out.push('}');
        }
        Value::View(kind, dict) => {
            out.push_str(value.kind());
            out.push_str("([");
            for (i, (k, v)) in dict.entries.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                match kind {
                    View::Keys => repr_into(k, out, depth + 1)?,
                    View::Values => repr_into(v, out, depth + 1)?,
                    View::Items => {
                        out.push('(');
                        repr_into(k, out, depth + 1)?;
                        out.push_str(", ");
                        repr_into(v, out, depth + 1)?;
                        out.push(')');
                    }
                }
            }
            out.push_str("])");
        }
        Value::Range(a, b, 1) => drop(write!(out, "range({a}, {b})")),
        Value::Range(a, b, s) => drop(write!(out, "range({a}, {b}, {s})")),
        Value::Namespace(ns) => {
            out.push_str("<Namespace {");
            for (i, (k, v)) in ns.fields.borrow().iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                quote_into(k, out)?;
                out.push_str(": ");
                repr_into(v, out, depth + 1)?;
            }
            out.push_str("}>");
        }
        Value::Loop(l) => drop(write!(out, "<LoopContext {}/{}>", l.at.get() + 1, l.items.list.len())),
        _ => return fail(format!("a {} is printed: its form is another one each time", value.kind())),
    }
    within_limit(out)
}

fn each<'a>(values: impl Iterator<Item = &'a Value>, out: &mut String, depth: u32) -> Res<()> {
    for (i, v) in values.enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        repr_into(v, out, depth + 1)?;
    }
    Ok(())
}

/// True for what Python shows as it is.
pub(super) fn is_printable(c: char) -> bool {
    c == ' ' || !unicode::is_in(c, unicode::HIDDEN)
}

fn quote_into(s: &str, out: &mut String) -> Res<()> {
    meter::bytes(s.len() * 4)?;
    let quote = if s.contains('\'') && !s.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in s.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            c if is_printable(c) => out.push(c),
            c => {
                let n = c as u32;
                let _ = match n {
                    0..=0xff => write!(out, "\\x{n:02x}"),
                    0x100..=0xffff => write!(out, "\\u{n:04x}"),
                    _ => write!(out, "\\U{n:08x}"),
                };
            }
        }
    }
    out.push(quote);
    within_limit(out)
}

/// `repr` of a float: the shortest digits that give it back.
pub(super) fn float_into(f: f64, out: &mut String) {
    if !f.is_finite() {
        out.push_str(if f.is_nan() {
            "nan"
        } else if f > 0.0 {
            "inf"
        } else {
            "-inf"
        });
        return;
    }
    let (digits, exponent) = parts(&format!("{f:e}"));
    if f.is_sign_negative() {
        out.push('-');
    }
    if (-4..16).contains(&exponent) {
        plain_into(&digits, exponent, out);
        if exponent >= digits.len() as i32 - 1 {
            out.push_str(".0");
        }
    } else {
        exponent_into(&digits, exponent, out);
    }
}

/// Digits without point and sign, and the exponent of the first, of a number in Rust's `e` form.
pub(super) fn parts(text: &str) -> (String, i32) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    (mantissa.chars().filter(char::is_ascii_digit).collect(), exponent.parse().unwrap_or(0))
}

/// Digits with the point at its place.
pub(super) fn plain_into(digits: &str, exponent: i32, out: &mut String) {
    if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', (-exponent - 1) as usize));
        out.push_str(digits);
        return;
    }
    let whole = exponent as usize + 1;
    for (i, d) in digits.chars().enumerate() {
        if i == whole {
            out.push('.');
        }
        out.push(d);
    }
    out.extend(std::iter::repeat_n('0', whole.saturating_sub(digits.len())));
}

/// Digits with an exponent of at least two digits.
pub(super) fn exponent_into(digits: &str, exponent: i32, out: &mut String) {
    out.push_str(&digits[..1]);
    if digits.len() > 1 {
        out.push('.');
        out.push_str(&digits[1..]);
    }
    let _ = write!(out, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
}

/// The items of whatever can be gone through, as Python's `iter`.
#[inline(never)]
pub(super) fn iterate(value: &Value) -> Res<Vec<Value>> {
    let list = match value {
        Value::Undefined(_) => Vec::new(),
        Value::Str(s) | Value::Safe(s) => {
            meter::work(s.len())?;
            meter::space(s.len() * 64)?;
            let safe = matches!(value, Value::Safe(_));
            return s.chars().map(|c| Value::text(c.to_string()).map(|v| if safe { marked(v) } else { v })).collect();
        }
        Value::List(items) | Value::Tuple(items) => {
            charge(items.list.len())?;
            items.list.clone()
        }
        Value::Dict(d) | Value::View(View::Keys, d) => {
            charge(d.entries.len())?;
            d.entries.iter().map(|e| e.0.clone()).collect()
        }
        Value::View(View::Values, d) => {
            charge(d.entries.len())?;
            d.entries.iter().map(|e| e.1.clone()).collect()
        }
        Value::View(View::Items, d) => {
            charge(d.entries.len() * 3)?;
            return d.entries.iter().map(|e| Value::tuple(vec![e.0.clone(), e.1.clone()])).collect();
        }
        Value::Range(a, b, s) => {
            let n = range_len(*a, *b, *s);
            charge(n)?;
            (0..n).map(|i| range_at(*a, *s, i)).collect()
        }
        Value::Once(once) => {
            let list: Vec<Value> = once.left.borrow_mut().by_ref().collect();
            if let Some(e) = once.end.borrow_mut().take() {
                return Err(e);
            }
            list
        }
        Value::Loop(_) => return fail("going through the loop variable is not supported"),
        _ => return fail(format!("'{}' object is not iterable", value.kind())),
    };
    Ok(list)
}

fn charge(n: usize) -> Res<()> {
    meter::work(n)?;
    meter::space(n * size_of::<Value>())
}

/// The same text, marked as safe.
#[inline(never)]
pub(super) fn marked(value: Value) -> Value {
    match value {
        Value::Str(s) => Value::Safe(s),
        other => other,
    }
}

/// The text of an argument that must be one.
pub(super) fn expect_str(value: &Value) -> Result<&super::value::Str, Box<Fault>> {
    value.str().ok_or_else(|| Fault::new(format!("expected a text, found {}", value.kind())))
}
