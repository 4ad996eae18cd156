//! Filters of texts and numbers.
use super::args::Args;
use super::compare::{float, length, truth};
use super::fault::{Fault, Res, fail};
use super::format::{escaped, percent};
use super::meter;
use super::ops::{Math, math};
use super::print::{marked, str_into, string, within_limit};
use super::strings::{self, is_space, lines};
use super::value::{Str, Value};
use crate::tokenizer::unicode;

/// Filters of texts and numbers; none if it is none of them.
pub(super) fn filter(name: &str, value: &Value, args: Args) -> Option<Res<Value>> {
    Some(match name {
        "abs" => abs(value, args),
        "capitalize" | "upper" | "lower" => of_str(value, name, args),
        "center" => center(value, args),
        "count" | "length" => args.none().and_then(|()| Ok(Value::Int(length(value).ok_or_else(|| no_length(value))? as i128))),
        "d" | "default" => default(value, args),
        "e" | "escape" => args.none().and_then(|()| escaped(value)),
        "forceescape" => args.none().and_then(|()| escaped(&Value::Str(text(value)?))),
        "filesizeformat" => file_size(value, args),
        "float" => Ok(float_of(value, args)).and_then(|r| r),
        "int" => int(value, args),
        "format" => format(value, args),
        "indent" => indent(value, args),
        "replace" => replace(value, args),
        "round" => round(value, args),
        "safe" => args.none().and_then(|()| Ok(marked(string(value)?))),
        "string" => args.none().and_then(|()| string(value)),
        "striptags" => args.none().and_then(|()| strip_tags(value)),
        "title" => args.none().and_then(|()| title(value)),
        "trim" => trim(value, args),
        "truncate" => truncate(value, args),
        "urlencode" => args.none().and_then(|()| url_encode(value)),
        "wordcount" => args.none().and_then(|()| word_count(value)),
        "wordwrap" => word_wrap(value, args),
        "xmlattr" => xml_attributes(value, args),
        _ => return None,
    })
}

fn no_length(value: &Value) -> Box<Fault> {
    Fault::new(format!("object of type '{}' has no len()", value.kind()))
}

/// `str(value)` as a text.
fn text(value: &Value) -> Res<Str> {
    match string(value)? {
        Value::Str(s) | Value::Safe(s) => Ok(s),
        _ => fail("expected a text"),
    }
}

fn of_str(value: &Value, name: &str, args: Args) -> Res<Value> {
    args.none()?;
    strings::method(&string(value)?, &text(value)?, name, Args::default())
}

fn abs(value: &Value, args: Args) -> Res<Value> {
    args.none()?;
    match value {
        Value::Float(f) => Ok(Value::Float(f.abs())),
        Value::Undefined(m) => Value::undefined(m),
        _ => match value.int().map(i128::checked_abs) {
            Some(Some(n)) => Ok(Value::Int(n)),
            _ => fail(format!("bad operand type for abs(): '{}'", value.kind())),
        },
    }
}

fn center(value: &Value, args: Args) -> Res<Value> {
    let width = args.bind(&["width"])?.size(0, 80)?;
    let out = strings::center(&text(value)?, width, ' ')?;
    Ok(if matches!(value, Value::Safe(_)) { marked(out) } else { out })
}

fn default(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["default_value", "boolean"])?;
    if matches!(value, Value::Undefined(_)) || args.flag(1) && !truth(value) {
        return args.get(0).cloned().map_or_else(|| Value::text(String::new()), Ok);
    }
    Ok(value.clone())
}

fn file_size(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["binary"])?;
    let bytes = to_float(value)?.ok_or_else(|| Fault::new("expected a number"))?;
    let binary = args.flag(0);
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    let units =
        if binary { ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"] } else { ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"] };
    if bytes == 1.0 {
        return Value::text("1 Byte".into());
    }
    if bytes < base {
        return Value::text(format!("{} Bytes", bytes as i128));
    }
    let mut unit = base;
    for (i, name) in units.iter().enumerate() {
        unit *= base;
        if bytes < unit || i + 1 == units.len() {
            return Value::text(format!("{:.1} {name}", base * bytes / unit));
        }
    }
    fail("expected a number")
}

/// `float(text)`.
fn parse_float(s: &str) -> Option<f64> {
    let s = digits(s)?;
    let bare = s.trim_start_matches(['+', '-']).to_ascii_lowercase();
    if s.len() - bare.len() > 1
        || !(bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') || matches!(&*bare, "inf" | "infinity" | "nan"))
    {
        return None;
    }
    s.parse().ok()
}

/// A number's text without white space around it and underscores between digits.
fn digits(s: &str) -> Option<String> {
    let s = s.trim_matches(is_space);
    let b = s.as_bytes();
    let misplaced =
        |i: usize| b[i] == b'_' && !(i > 0 && b[i - 1].is_ascii_alphanumeric() && b.get(i + 1).is_some_and(u8::is_ascii_alphanumeric));
    if (0..b.len()).any(misplaced) || s.is_empty() {
        return None;
    }
    Some(s.replace('_', ""))
}

/// `float(value)`: none where Python raises a `TypeError` or `ValueError`.
fn to_float(value: &Value) -> Res<Option<f64>> {
    match value {
        Value::Undefined(m) => Value::undefined(m),
        Value::Str(s) | Value::Safe(s) => {
            if !s.is_ascii() && s.chars().any(|c| !c.is_ascii() && unicode::is_in(c, unicode::DECIMAL)) {
                return fail("digits of other scripts are not supported");
            }
            Ok(parse_float(s))
        }
        _ => Ok(float(value)),
    }
}

fn float_of(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["default"])?;
    Ok(match to_float(value)? {
        Some(f) => Value::Float(f),
        None => args.get(0).cloned().unwrap_or(Value::Float(0.0)),
    })
}

/// `int(text, base)`.
fn parse_int(s: &str, base: u32) -> Res<Option<i128>> {
    let Some(s) = digits(s) else { return Ok(None) };
    let (negative, bare) = match s.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, s.strip_prefix('+').unwrap_or(&s)),
    };
    let lower = bare.to_ascii_lowercase();
    let prefixed = |p: &str| lower.strip_prefix(p).map(str::to_string);
    let (base, body) = match (base, prefixed("0x"), prefixed("0o"), prefixed("0b")) {
        (0 | 16, Some(b), ..) => (16, b),
        (0 | 8, _, Some(b), _) => (8, b),
        (0 | 2, _, _, Some(b)) => (2, b),
        (0, ..) if lower.len() > 1 && lower.starts_with('0') && lower.bytes().any(|b| b != b'0') => return Ok(None),
        (0, ..) => (10, lower),
        (b, ..) => (b, lower),
    };
    if body.is_empty() || !body.chars().all(|c| c.is_digit(base)) {
        return Ok(None);
    }
    match i128::from_str_radix(&body, base) {
        Ok(n) => Ok(Some(if negative { -n } else { n })),
        Err(_) => fail("the number is too large"),
    }
}

fn whole(f: f64) -> Res<i128> {
    if f.abs() < 1e37 { Ok(f as i128) } else { fail("the number is too large") }
}

fn int(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["default", "base"])?;
    let default = || args.get(0).cloned().unwrap_or(Value::Int(0));
    let base = args.int(1)?.unwrap_or(10);
    match value {
        Value::Str(s) | Value::Safe(s) => {
            let Some(base) = u32::try_from(base).ok().filter(|b| *b == 0 || (2..=36).contains(b)) else {
                return fail("int() base must be >= 2 and <= 36, or 0");
            };
            if let Some(n) = parse_int(s, base)? {
                return Ok(Value::Int(n));
            }
            match to_float(value)? {
                Some(f) if f.is_finite() => Ok(Value::Int(whole(f)?)),
                _ => Ok(default()),
            }
        }
        Value::Float(f) if f.is_nan() => Ok(default()),
        Value::Float(f) => Ok(Value::Int(whole(*f)?)),
        Value::Undefined(m) => Value::undefined(m),
        _ => Ok(value.int().map_or_else(default, Value::Int)),
    }
}

fn format(value: &Value, args: Args) -> Res<Value> {
    if !args.pos.is_empty() && !args.kw.is_empty() {
        return fail("can't handle positional and keyword arguments at the same time");
    }
    if let Value::Safe(_) = value {
        return fail("a text that is marked as safe is not supported");
    }
    let given = if args.kw.is_empty() {
        Value::tuple(args.pos)?
    } else {
        Value::dict(args.kw.into_iter().map(|(k, v)| (Value::Str(k), v)).collect())?
    };
    percent(&text(value)?, &given)
}

fn indent(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["width", "first", "blank"])?;
    let Some(s) = value.str() else {
        return match value {
            Value::Undefined(m) => Value::undefined(m),
            _ => fail(format!("expected a text, found {}", value.kind())),
        };
    };
    let width = match args.get(0) {
        Some(Value::Str(s)) => s.to_string(),
        _ => {
            let n = args.size(0, 4)?;
            meter::room(n)?;
            " ".repeat(n)
        }
    };
    let whole = format!("{}\n", &***s);
    let mut out = String::new();
    for (i, line) in lines(&whole, false).iter().enumerate() {
        meter::bytes(line.len() + width.len())?;
        if i > 0 {
            out.push('\n');
        }
        if if i == 0 { args.flag(1) } else { args.flag(2) || !line.is_empty() } {
            out.push_str(&width);
        }
        out.push_str(line);
        within_limit(&out)?;
    }
    let out = Value::text(out)?;
    Ok(if matches!(value, Value::Safe(_)) { marked(out) } else { out })
}

fn replace(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["old", "new", "count"])?;
    strings::replace(&text(value)?, &text(&args.need(0)?)?, &text(&args.need(1)?)?, args.int(2)?)
}

fn round(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["precision", "method"])?;
    let precision = args.int(0)?.unwrap_or(0);
    let method = args.text_or_none(1)?;
    let method = method.as_ref().map_or("common", |m| &***m);
    if !["common", "ceil", "floor"].contains(&method) {
        return fail("method must be common, ceil or floor");
    }
    if let Value::Undefined(m) = value {
        return Value::undefined(m);
    }
    let Some(f) = float(value) else { return fail(format!("type {} doesn't define __round__ method", value.kind())) };
    if method != "common" {
        let scale = math(Math::Pow, &Value::Int(10), &Value::Int(precision))?;
        let scaled = math(Math::Mul, value, &scale)?;
        let cut = match scaled {
            Value::Float(x) if !x.is_finite() => return fail("cannot convert float to integer"),
            Value::Float(x) => Value::Int(whole(if method == "ceil" { x.ceil() } else { x.floor() })?),
            n => n,
        };
        return math(Math::Div, &cut, &scale);
    }
    if let Some(n) = value.int() {
        if precision >= 0 {
            return Ok(Value::Int(n));
        }
        // Half to even of tens, hundreds, …
        let Some(scale) = u32::try_from(-precision).ok().and_then(|p| 10i128.checked_pow(p)) else { return Ok(Value::Int(0)) };
        let (low, rest) = (n.div_euclid(scale), n.rem_euclid(scale));
        let up = rest * 2 > scale || rest * 2 == scale && low % 2 != 0;
        return low
            .checked_add(up.into())
            .and_then(|q| q.checked_mul(scale))
            .map_or_else(|| fail("the number is too large"), |n| Ok(Value::Int(n)));
    }
    if !f.is_finite() || precision > 300 {
        return Ok(Value::Float(f));
    }
    if precision >= 0 {
        return Ok(Value::Float(format!("{f:.*}", precision as usize).parse().unwrap_or(f)));
    }
    let scale = 10f64.powi(i32::try_from(-precision).unwrap_or(i32::MAX).min(400));
    let cut = (f / scale).round_ties_even();
    Ok(Value::Float(if cut == 0.0 { 0f64.copysign(f) } else { cut * scale }))
}

fn strip_tags(value: &Value) -> Res<Value> {
    let mut s = text(value)?.to_string();
    meter::bytes(s.len() * 4)?;
    for (open, close) in [("<!--", "-->"), ("<", ">")] {
        let mut out = String::new();
        let mut rest = &s[..];
        while let Some(start) = rest.find(open) {
            let Some(end) = rest[start..].find(close) else { break };
            out.push_str(&rest[..start]);
            rest = &rest[start + end + close.len()..];
        }
        out.push_str(rest);
        // What is left of two tags may make a new one, which Python finds.
        if out.find(open).is_some_and(|at| out[at..].contains(close)) {
            return fail("tags inside of tags are not supported");
        }
        s = out;
    }
    let s = s.split(is_space).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ");
    let mut out = String::new();
    let mut rest = &s[..];
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&#39;", '\''), ("&#34;", '"')];
        match known.iter().find(|k| rest.starts_with(k.0)) {
            Some((entity, c)) => {
                out.push(*c);
                rest = &rest[entity.len()..];
            }
            None if rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '#') => return fail("this entity is not supported"),
            None => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    Value::text(out)
}

fn title(value: &Value) -> Res<Value> {
    let s = text(value)?;
    meter::room(s.len())?;
    meter::work(s.len() / 16)?;
    let is_gap = |c: char| is_space(c) || "-({[<".contains(c);
    let mut out = String::new();
    let mut rest: &str = &s;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_gap(c) != is_gap(first)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        out.extend(first.to_uppercase());
        out.push_str(&word[first.len_utf8()..].to_lowercase());
        rest = after;
    }
    Value::text(out)
}

fn trim(value: &Value, args: Args) -> Res<Value> {
    let chars = args.bind(&["chars"])?.text_or_none(0)?;
    let out = strings::strip(&text(value)?, chars.as_ref().map(|c| &***c))?;
    Ok(if matches!(value, Value::Safe(_)) { marked(out) } else { out })
}

fn truncate(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["length", "killwords", "end", "leeway"])?;
    let Value::Str(s) = value else {
        return match value {
            Value::Undefined(_) => Ok(value.clone()),
            other => fail(format!("expected a text, found {}", other.kind())),
        };
    };
    let length = args.int(0)?.unwrap_or(255);
    let end = args.get(2).map(|_| args.text(2)).transpose()?;
    let end = end.as_ref().map_or("...", |e| &***e);
    let leeway = args.int(3)?.unwrap_or(5);
    let tail = end.chars().count() as i128;
    if length < tail || leeway < 0 {
        return fail(format!("expected length >= {tail}, got {length}"));
    }
    if s.chars().count() as i128 <= length.saturating_add(leeway) {
        return Ok(value.clone());
    }
    meter::room(s.len())?;
    let cut: String = s.chars().take((length - tail) as usize).collect();
    let cut = if args.flag(1) { &cut[..] } else { cut.rsplit_once(' ').map_or(&cut[..], |p| p.0) };
    Value::text([cut, end].concat())
}

fn quoted(value: &Value, query: bool, out: &mut String) -> Res<()> {
    let mut s = String::new();
    str_into(value, &mut s)?;
    meter::bytes(s.len() * 3)?;
    for b in s.bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(b as char),
            b'/' if !query => out.push('/'),
            b' ' if query => out.push('+'),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    within_limit(out)
}

fn url_encode(value: &Value) -> Res<Value> {
    let mut out = String::new();
    let pairs = match value {
        Value::Dict(d) => d.entries.clone(),
        Value::List(_) | Value::Tuple(_) | Value::View(..) | Value::Range(..) | Value::Once(_) | Value::Undefined(_) => {
            let mut pairs = Vec::new();
            for pair in super::print::iterate(value)? {
                match &super::print::iterate(&pair)?[..] {
                    [k, v] => pairs.push((k.clone(), v.clone())),
                    _ => return fail("expected pairs"),
                }
            }
            pairs
        }
        _ => {
            quoted(value, false, &mut out)?;
            return Value::text(out);
        }
    };
    for (i, (k, v)) in pairs.iter().enumerate() {
        out.push_str(if i > 0 { "&" } else { "" });
        quoted(k, true, &mut out)?;
        out.push('=');
        quoted(v, true, &mut out)?;
    }
    Value::text(out)
}

fn word_count(value: &Value) -> Res<Value> {
    let s = text(value)?;
    meter::work(s.len() / 16)?;
    let numeric = unicode::categories("N").unwrap_or(0);
    let parts = s.split(|c: char| c != '_' && !unicode::is_in(c, unicode::LETTER | numeric));
    Ok(Value::Int(parts.filter(|w| !w.is_empty()).count() as i128))
}

fn word_wrap(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["width", "break_long_words", "wrapstring", "break_on_hyphens"])?;
    let Some(s) = value.str() else { return fail(format!("expected a text, found {}", value.kind())) };
    let width = args.size(0, 79)?;
    let break_words = args.get(1).is_none_or(truth);
    let by = args.text_or_none(2)?;
    let by = by.as_ref().map_or("\n", |b| &***b);
    if args.get(3).is_none_or(truth) && s.contains('-') {
        return fail("breaking at hyphens is not supported");
    }
    if width == 0 {
        return fail("invalid width 0 (must be > 0)");
    }
    let is_gap = |c: char| "\t\n\u{b}\u{c}\r ".contains(c);
    meter::work(s.len() / 8)?;
    let mut out = String::new();
    for (i, line) in lines(s, false).iter().enumerate() {
        out.push_str(if i > 0 { by } else { "" });
        let (mut wrapped, mut row, mut used) = (0, String::new(), 0);
        let mut flush = |row: &mut String, out: &mut String| -> Res<()> {
            let shown = row.trim_end_matches(is_gap);
            // A row of nothing but a gap is no row.
            if !shown.is_empty() || !row.is_empty() && !row.chars().all(is_gap) {
                meter::bytes(by.len() + shown.len())?;
                out.push_str(if wrapped > 0 { by } else { "" });
                out.push_str(shown);
                wrapped += 1;
                within_limit(out)?;
            }
            row.clear();
            Ok(())
        };
        let mut rest: &str = line;
        let mut first = true;
        while let Some(c) = rest.chars().next() {
            let end = rest.find(|n| is_gap(n) != is_gap(c)).unwrap_or(rest.len());
            let chunk = &rest[..end];
            let n = chunk.chars().count();
            meter::work(1)?;
            if used == 0 && is_gap(c) && !first {
                rest = &rest[end..];
                continue;
            }
            if used + n <= width {
                row.push_str(chunk);
                used += n;
                rest = &rest[end..];
                continue;
            }
            if n > width && (break_words || used == 0) {
                let left = if break_words { width - used } else { n };
                let cut = chunk.char_indices().nth(left).map_or(chunk.len(), |p| p.0);
                row.push_str(&chunk[..cut]);
                rest = &rest[cut..];
            }
            flush(&mut row, &mut out)?;
            (used, first) = (0, false);
        }
        flush(&mut row, &mut out)?;
    }
    Value::text(out)
}

fn xml_attributes(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["autospace"])?;
    let Value::Dict(d) = value else { return fail(format!("'{}' object has no attribute 'items'", value.kind())) };
    let mut out = String::new();
    for (k, v) in &d.entries {
        if matches!(v, Value::None | Value::Undefined(_)) {
            continue;
        }
        let Some(key) = k.str() else { return fail("expected texts as keys") };
        if key.contains([' ', '\t', '\n', '\r', '\u{b}', '\u{c}', '/', '>', '=']) {
            return fail("Invalid character in attribute name");
        }
        let space = if out.is_empty() && !args.get(0).is_none_or(truth) { "" } else { " " };
        let (key, v) = (escaped(k)?, escaped(v)?);
        out.push_str(&format!("{space}{}=\"{}\"", &**text(&key)?, &**text(&v)?));
        within_limit(&out)?;
    }
    Value::text(out)
}
