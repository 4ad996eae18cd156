//! Formatting of single values: `%` and format specifications.
use super::compare::{float, get};
use super::fault::{Fault, Res, fail};
use super::meter;
use super::print::{exponent_into, float_into, is_printable, marked, parts, plain_into, repr_into, str_into, within_limit};
use super::value::{Str, Value};

/// `markupsafe.escape`.
pub(super) fn escaped(value: &Value) -> Res<Value> {
    if let Value::Safe(_) = value {
        return Ok(value.clone());
    }
    let mut text = String::new();
    str_into(value, &mut text)?;
    meter::room(text.len())?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    within_limit(&out)?;
    Ok(marked(Value::text(out)?))
}

/// `ascii(value)`.
pub(super) fn ascii_into(value: &Value, out: &mut String) -> Res<()> {
    use std::fmt::Write;
    let mut text = String::new();
    repr_into(value, &mut text, 0)?;
    for c in text.chars() {
        let _ = match c as u32 {
            0..=0x7f => write!(out, "{c}"),
            n @ 0x80..=0xff => write!(out, "\\x{n:02x}"),
            n @ 0x100..=0xffff => write!(out, "\\u{n:04x}"),
            n => write!(out, "\\U{n:08x}"),
        };
    }
    within_limit(out)
}

/// A float as `e`, `f` or `g` write it, without a sign.
fn digits(f: f64, kind: char, precision: usize, keep: bool) -> String {
    if !f.is_finite() {
        let text = if f.is_nan() { "nan" } else { "inf" };
        return if kind.is_ascii_uppercase() { text.to_uppercase() } else { text.to_string() };
    }
    let f = f.abs();
    let mut out = String::new();
    match kind.to_ascii_lowercase() {
        'f' => return format!("{f:.precision$}"),
        'e' => {
            let (digits, exponent) = parts(&format!("{f:.precision$e}"));
            exponent_into(&digits, exponent, &mut out);
        }
        _ => {
            let precision = precision.max(1);
            let (mut digits, exponent) = parts(&format!("{f:.*e}", precision - 1));
            if !keep {
                digits.truncate(digits.trim_end_matches('0').len().max(1));
            }
            if (-4..precision as i32).contains(&exponent) {
                plain_into(&digits, exponent, &mut out);
            } else {
                exponent_into(&digits, exponent, &mut out);
            }
        }
    }
    if kind.is_ascii_uppercase() { out.to_uppercase() } else { out }
}

fn radix(n: u128, kind: char) -> String {
    match kind {
        'x' => format!("{n:x}"),
        'X' => format!("{n:X}"),
        'o' => format!("{n:o}"),
        'b' => format!("{n:b}"),
        _ => n.to_string(),
    }
}

/// How a value is laid out.
#[derive(Default)]
struct Layout {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    group: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

impl Layout {
    /// Puts what stands in front of a number (sign and radix) and its digits into the width.
    fn number(&self, prefix: &str, body: &str, out: &mut String) -> Res<()> {
        let mut body = body.to_string();
        let zeros = self.zero && self.align.is_none();
        if let Some(mark) = self.group {
            let size = if matches!(self.kind, Some('x' | 'X' | 'o' | 'b')) { 4 } else { 3 };
            let end = body.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(body.len());
            let (whole, rest) = body.split_at(end);
            let mut whole = whole.to_string();
            if zeros {
                // Zeros in front are grouped, too.
                let room = |digits: usize| digits + (digits - 1) / size + prefix.len() + rest.len();
                while !whole.is_empty() && room(whole.len()) < self.width {
                    whole.insert(0, '0');
                }
            }
            let grouped: Vec<&str> = {
                let first = whole.len() % size;
                let mut v: Vec<&str> = if first > 0 { vec![&whole[..first]] } else { Vec::new() };
                v.extend((first..whole.len()).step_by(size).map(|i| &whole[i..i + size]));
                v
            };
            body = grouped.join(mark.encode_utf8(&mut [0; 4])) + rest;
        }
        let fill = self.fill.unwrap_or(if self.zero { '0' } else { ' ' });
        let align = self.align.unwrap_or(if zeros { '=' } else { '>' });
        if align == '=' {
            out.push_str(prefix);
            return padded(&body, self.width.saturating_sub(prefix.chars().count()), fill, '>', out);
        }
        padded(&format!("{prefix}{body}"), self.width, fill, align, out)
    }

    fn sign(&self, negative: bool) -> &'static str {
        match (negative, self.sign) {
            (true, _) => "-",
            (_, Some('+')) => "+",
            (_, Some(' ')) => " ",
            _ => "",
        }
    }
}

/// A text in a width. `^` puts it in the middle with the odd place behind.
pub(super) fn padded(text: &str, width: usize, fill: char, align: char, out: &mut String) -> Res<()> {
    let missing = width.saturating_sub(text.chars().count());
    meter::room(missing.saturating_mul(fill.len_utf8()).saturating_add(text.len()))?;
    let before = match align {
        '<' => 0,
        '^' => missing / 2,
        _ => missing,
    };
    out.extend(std::iter::repeat_n(fill, before));
    out.push_str(text);
    out.extend(std::iter::repeat_n(fill, missing - before));
    within_limit(out)
}

/// The first characters of a text.
fn first(s: &str, n: Option<usize>) -> &str {
    n.and_then(|n| s.char_indices().nth(n)).map_or(s, |(end, _)| &s[..end])
}

/// A number of a specification: what is larger than any text counts as that.
fn number(chars: &mut std::iter::Peekable<std::str::Chars>) -> Option<usize> {
    let mut n: Option<usize> = None;
    while let Some(d) = chars.peek().and_then(|c| c.to_digit(10)) {
        n = Some(n.unwrap_or(0).saturating_mul(10).saturating_add(d as usize));
        chars.next();
    }
    n
}

/// More digits than this are refused.
const MAX_PRECISION: usize = 1000;

/// `format % args`.
pub(super) fn percent(format: &Str, args: &Value) -> Res<Value> {
    meter::bytes(format.len())?;
    let list: Vec<Value> = match args {
        Value::Tuple(items) => items.list.clone(),
        other => vec![other.clone()],
    };
    let mut next = 0;
    let mut take = || {
        next += 1;
        list.get(next - 1).cloned().ok_or_else(|| Fault::new("not enough arguments for format string"))
    };
    let mut named = false;
    let mut out = String::new();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        meter::work(1)?;
        let mut key = None;
        if chars.peek() == Some(&'(') {
            chars.next();
            let (mut name, mut open) = (String::new(), 1);
            for c in chars.by_ref() {
                open += i32::from(c == '(') - i32::from(c == ')');
                if open == 0 {
                    break;
                }
                name.push(c);
            }
            let Value::Dict(dict) = args else { return fail("format requires a mapping") };
            let name = Value::text(name)?;
            named = true;
            key = Some(get(dict, &name)?.cloned().ok_or_else(|| Fault::new("a key of the format is not there"))?);
        }
        let mut layout = Layout::default();
        let mut left = false;
        while let Some(flag) = chars.next_if(|c| "-+ #0".contains(*c)) {
            match flag {
                '-' => left = true,
                '+' => layout.sign = Some('+'),
                ' ' if layout.sign.is_none() => layout.sign = Some(' '),
                '#' => layout.alternate = true,
                '0' => layout.zero = true,
                _ => {}
            }
        }
        if chars.next_if_eq(&'*').is_some() {
            let n = take()?.int().ok_or_else(|| Fault::new("* wants int"))?;
            left |= n < 0;
            layout.width = usize::try_from(n.unsigned_abs()).unwrap_or(usize::MAX);
        } else {
            layout.width = number(&mut chars).unwrap_or(0);
        }
        if chars.next_if_eq(&'.').is_some() {
            layout.precision = if chars.next_if_eq(&'*').is_some() {
                let n = take()?.int().ok_or_else(|| Fault::new("* wants int"))?;
                Some(usize::try_from(n.max(0)).unwrap_or(usize::MAX))
            } else {
                Some(number(&mut chars).unwrap_or(0))
            };
        }
        while chars.next_if(|c| "hlL".contains(*c)).is_some() {}
        let Some(kind) = chars.next() else { return fail("incomplete format") };
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = match key {
            Some(v) => v,
            None => take()?,
        };
        if left {
            layout.align = Some('<');
            layout.zero = false;
        }
        one(&value, kind, layout, &mut out)?;
        within_limit(&out)?;
    }
    if next < list.len() && !named && !matches!(args, Value::Dict(_)) {
        return fail("not all arguments converted during string formatting");
    }
    Value::text(out)
}

/// One conversion of `%`.
fn one(value: &Value, kind: char, mut layout: Layout, out: &mut String) -> Res<()> {
    let text = |s: &str, layout: &Layout, out: &mut String| {
        let short = first(s, layout.precision);
        padded(short, layout.width, ' ', layout.align.unwrap_or('>'), out)
    };
    let wrong = |what: &str| fail(format!("%{kind} format: {what} is required, not {}", value.kind()));
    let mut shown = String::new();
    match kind {
        's' => str_into(value, &mut shown)?,
        'r' => repr_into(value, &mut shown, 0)?,
        'a' => ascii_into(value, &mut shown)?,
        'c' => match (value.int().and_then(|n| u32::try_from(n).ok()).and_then(char::from_u32), value.str()) {
            (Some(c), _) => shown.push(c),
            (_, Some(s)) if s.chars().count() == 1 => shown.push_str(s),
            _ => return fail("%c requires int or char"),
        },
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
            let n = match value {
                Value::Float(f) if matches!(kind, 'd' | 'i' | 'u') && f.abs() < 1e37 => Some(*f as i128),
                other => other.int(),
            };
            let Some(n) = n else { return wrong("a number") };
            let mut body = radix(n.unsigned_abs(), kind);
            let wanted = layout.precision.unwrap_or(0);
            if wanted > MAX_PRECISION {
                return fail("the precision is too large");
            }
            body.insert_str(0, &"0".repeat(wanted.saturating_sub(body.len())));
            let mark = match kind {
                'x' if layout.alternate => "0x",
                'X' if layout.alternate => "0X",
                'o' if layout.alternate => "0o",
                _ => "",
            };
            let prefix = format!("{}{mark}", layout.sign(n < 0));
            return layout.number(&prefix, &body, out);
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let Some(f) = float(value) else { return wrong("a real number") };
            if layout.alternate {
                return fail(format!("%#{kind} is not supported"));
            }
            let precision = layout.precision.unwrap_or(6);
            if precision > MAX_PRECISION {
                return fail("the precision is too large");
            }
            layout.zero &= f.is_finite();
            return layout.number(layout.sign(f.is_sign_negative() && !f.is_nan()), &digits(f, kind, precision, false), out);
        }
        other => return fail(format!("unsupported format character '{}'", if is_printable(other) { other } else { '?' })),
    }
    text(&shown, &layout, out)
}

fn layout(spec: &str) -> Res<Layout> {
    let mut out = Layout::default();
    let mut chars = spec.chars().peekable();
    let second = spec.chars().nth(1);
    if second.is_some_and(|c| "<>=^".contains(c)) {
        out.fill = chars.next();
        out.align = chars.next();
    } else {
        out.align = chars.next_if(|c| "<>=^".contains(*c));
    }
    out.sign = chars.next_if(|c| "+- ".contains(*c));
    out.alternate = chars.next_if_eq(&'#').is_some();
    out.zero = chars.next_if_eq(&'0').is_some();
    out.width = number(&mut chars).unwrap_or(0);
    out.group = chars.next_if(|c| ",_".contains(*c));
    if chars.next_if_eq(&'.').is_some() {
        out.precision = Some(number(&mut chars).ok_or_else(|| Fault::new("Format specifier missing precision"))?);
    }
    out.kind = chars.next();
    if chars.next().is_some() {
        return fail("Invalid format specifier");
    }
    if out.precision.is_some_and(|p| p > MAX_PRECISION) && !matches!(out.kind, None | Some('s')) {
        return fail("the precision is too large");
    }
    Ok(out)
}

/// Appends `format(value, spec)`.
pub(super) fn format_into(value: &Value, spec: &str, out: &mut String) -> Res<()> {
    if spec.is_empty() {
        return str_into(value, out);
    }
    let mut l = layout(spec)?;
    let unknown = || fail(format!("Unknown format code for object of type '{}'", value.kind()));
    match value {
        Value::Str(s) => {
            if !matches!(l.kind, None | Some('s')) || l.align == Some('=') || l.sign.is_some() || l.alternate || l.group.is_some() {
                return unknown();
            }
            let short = first(s, l.precision);
            let fill = l.fill.unwrap_or(if l.zero { '0' } else { ' ' });
            padded(short, l.width, fill, l.align.unwrap_or('<'), out)
        }
        Value::Int(_) | Value::Bool(_) if !matches!(l.kind, Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')) => {
            let n = value.int().unwrap_or_default();
            if let (Some('c'), Some(c)) = (l.kind, u32::try_from(n).ok().and_then(char::from_u32)) {
                return padded(&c.to_string(), l.width, l.fill.unwrap_or(' '), l.align.unwrap_or('>'), out);
            }
            if l.precision.is_some() || !matches!(l.kind, None | Some('d' | 'b' | 'o' | 'x' | 'X')) {
                return unknown();
            }
            let kind = l.kind.unwrap_or('d');
            if l.group == Some(',') && kind != 'd' {
                return fail("Cannot specify ','");
            }
            let mark = if l.alternate && kind != 'd' { format!("0{kind}") } else { String::new() };
            let prefix = format!("{}{mark}", l.sign(n < 0));
            l.number(&prefix, &radix(n.unsigned_abs(), kind), out)
        }
        Value::Int(_) | Value::Bool(_) | Value::Float(_) => {
            let f = float(value).unwrap_or_default();
            if l.alternate || l.kind.is_none() && l.precision.is_some() {
                return fail("this format of a float is not supported");
            }
            let precision = l.precision.unwrap_or(6);
            let body = match l.kind {
                None => {
                    let mut text = String::new();
                    float_into(f.abs(), &mut text);
                    text
                }
                Some('%') => digits(f * 100.0, 'f', precision, false) + "%",
                Some(kind @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G')) => digits(f, kind, precision, false),
                _ => return unknown(),
            };
            if !f.is_finite() {
                l.group = None;
            }
            l.number(l.sign(f.is_sign_negative() && !f.is_nan()), &body, out)
        }
        _ => fail(format!("unsupported format string passed to {}.__format__", value.kind())),
    }
}
