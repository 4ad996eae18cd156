//! Methods of Python's `str`.
use super::args::{Args, Bound};
use super::fault::{Fault, Res, fail};
use super::fields::format_method;
use super::format::padded;
use super::meter;
use super::print::{is_printable, iterate, within_limit};
use super::value::{Str, Value};
use crate::tokenizer::unicode;

/// What Python takes for white space.
#[inline(never)]
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn is_title(c: char) -> bool {
    !c.is_lowercase() && !c.is_uppercase() && unicode::is_in(c, unicode::categories("Lt").unwrap_or(0))
}

fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase() || is_title(c)
}

/// Appends the title case of a character, which for some is not its upper case.
fn title_into(c: char, out: &mut String) -> Res<()> {
    match c {
        'Ǆ'..='ǆ' => out.push('ǅ'),
        'Ǉ'..='ǉ' => out.push('ǈ'),
        'Ǌ'..='ǌ' => out.push('ǋ'),
        'Ǳ'..='ǳ' => out.push('ǲ'),
        '\u{10d0}'..='\u{10ff}' => out.push(c),
        '\u{1f80}'..='\u{1fff}' if c.to_uppercase().count() > 1 => return fail(format!("the title case of {c} is not supported")),
        'ß' | '\u{587}' | '\u{fb00}'..='\u{fb17}' => {
            let mut upper = c.to_uppercase();
            out.extend(upper.next());
            out.extend(upper.flat_map(char::to_lowercase));
        }
        c => out.extend(c.to_uppercase()),
    }
    Ok(())
}

pub(super) fn capitalized(s: &str) -> Res<String> {
    let mut out = String::new();
    if let Some(first) = s.chars().next() {
        title_into(first, &mut out)?;
        out.extend(s.to_lowercase().chars().skip(first.to_lowercase().count()));
    }
    Ok(out)
}

fn titled(s: &str) -> Res<String> {
    if s.contains('Σ') {
        return fail("title() of a text with Σ is not supported");
    }
    let mut out = String::new();
    let mut inside = false;
    for c in s.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            title_into(c, &mut out)?;
        }
        inside = is_cased(c);
    }
    Ok(out)
}

fn folded(s: &str) -> Res<String> {
    let mut out = String::new();
    for c in s.chars() {
        match c {
            '\u{13a0}'..='\u{13ff}' | '\u{ab70}'..='\u{abbf}' => return fail(format!("casefold() of {c} is not supported")),
            'ı' => out.push(c),
            'İ' => out.extend(c.to_lowercase()),
            c => out.extend(c.to_uppercase().flat_map(char::to_lowercase)),
        }
    }
    Ok(out)
}

fn is_digit(c: char) -> Res<bool> {
    if unicode::is_in(c, unicode::DECIMAL) {
        return Ok(true);
    }
    if matches!(c, '²' | '³' | '¹' | '⁰' | '⁴'..='⁹' | '₀'..='₉') {
        return Ok(true);
    }
    if unicode::is_in(c, unicode::categories("No").unwrap_or(0)) {
        return fail(format!("isdigit() of {c} is not supported"));
    }
    Ok(false)
}

fn is_numeric(c: char) -> Res<bool> {
    if unicode::is_han(c) {
        return fail(format!("isnumeric() of {c} is not supported"));
    }
    Ok(unicode::is_in(c, unicode::categories("N").unwrap_or(0)))
}

fn is_alnum(c: char) -> Res<bool> {
    Ok(unicode::is_in(c, unicode::LETTER) || is_numeric(c)?)
}

pub(super) fn is_upper(s: &str) -> bool {
    s.chars().any(char::is_uppercase) && !s.chars().any(|c| c.is_lowercase() || is_title(c))
}

pub(super) fn is_lower(s: &str) -> bool {
    s.chars().any(char::is_lowercase) && !s.chars().any(|c| c.is_uppercase() || is_title(c))
}

fn is_titled(s: &str) -> bool {
    let (mut any, mut inside) = (false, false);
    for c in s.chars() {
        if c.is_uppercase() || is_title(c) {
            if inside {
                return false;
            }
            (any, inside) = (true, true);
        } else if c.is_lowercase() {
            if !inside {
                return false;
            }
            any = true;
        } else {
            inside = false;
        }
    }
    any
}

/// Lines as `splitlines` finds them.
pub(super) fn lines(s: &str, keep: bool) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut chars = s.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        if !matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}') {
            continue;
        }
        let mut end = i + c.len_utf8();
        if c == '\r' && chars.next_if(|n| n.1 == '\n').is_some() {
            end += 1;
        }
        out.push(&s[start..if keep { end } else { i }]);
        start = end;
    }
    if start < s.len() {
        out.push(&s[start..]);
    }
    out
}

/// The bytes between two places that are counted in characters, and the characters in front; none where they are apart.
fn window<'a>(s: &'a str, args: &Bound, from: usize) -> Res<Option<(&'a str, usize)>> {
    let n = s.chars().count() as i128;
    let place = |at: Option<i128>, default: i128| match at {
        Some(i) if i < 0 => (i.saturating_add(n)).max(0),
        Some(i) => i,
        None => default,
    };
    let (start, end) = (place(args.int(from)?, 0), place(args.int(from + 1)?, n).min(n));
    if start > end {
        return Ok(None);
    }
    let byte = |i: i128| s.char_indices().nth(i as usize).map_or(s.len(), |p| p.0);
    Ok(Some((&s[byte(start)..byte(end)], start as usize)))
}

fn trimmed<'a>(s: &'a str, chars: Option<&str>, left: bool, right: bool) -> &'a str {
    let is = |c: char| chars.map_or_else(|| is_space(c), |set| set.contains(c));
    let s = if left { s.trim_start_matches(is) } else { s };
    if right { s.trim_end_matches(is) } else { s }
}

pub(super) fn strip(s: &str, chars: Option<&str>) -> Res<Value> {
    meter::bytes(s.len())?;
    Value::copied(trimmed(s, chars, true, true))
}

pub(super) fn center(s: &str, width: usize, fill: char) -> Res<Value> {
    let missing = width.saturating_sub(s.chars().count());
    let left = missing / 2 + (missing & width & 1);
    let mut out = String::new();
    meter::room(missing.saturating_mul(fill.len_utf8()).saturating_add(s.len()))?;
    out.extend(std::iter::repeat_n(fill, left));
    out.push_str(s);
    out.extend(std::iter::repeat_n(fill, missing - left));
    Value::text(out)
}

pub(super) fn replace(s: &str, from: &str, to: &str, count: Option<i128>) -> Res<Value> {
    meter::bytes(s.len())?;
    let times = count.filter(|n| *n >= 0).map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let found = s.matches(from).count().min(times);
    meter::work(found)?;
    meter::room(s.len().saturating_add(found.saturating_mul(to.len().saturating_sub(from.len()))))?;
    Value::text(s.replacen(from, to, times))
}

fn pieces(parts: Vec<&str>) -> Res<Value> {
    meter::space(parts.len() * 96)?;
    Value::list(parts.into_iter().map(Value::copied).collect::<Res<Vec<_>>>()?)
}

/// `split` and `rsplit` at white space.
fn words(s: &str, limit: usize, from_right: bool) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = trimmed(s, None, true, true);
    if limit == usize::MAX {
        return rest.split(is_space).filter(|w| !w.is_empty()).collect();
    }
    if !from_right {
        rest = trimmed(s, None, true, false);
    } else {
        rest = if rest.is_empty() { rest } else { trimmed(s, None, false, true) };
    }
    while !rest.is_empty() {
        let gap = if from_right { rest.rfind(is_space) } else { rest.find(is_space) };
        match gap {
            Some(at) if out.len() < limit && from_right => {
                out.push(&rest[at + rest[at..].chars().next().map_or(0, char::len_utf8)..]);
                rest = trimmed(&rest[..at], None, false, true);
            }
            Some(at) if out.len() < limit => {
                out.push(&rest[..at]);
                rest = trimmed(&rest[at..], None, true, false);
            }
            _ => {
                out.push(rest);
                break;
            }
        }
    }
    if from_right {
        out.reverse();
    }
    out
}

fn split(s: &str, args: &Bound, from_right: bool) -> Res<Value> {
    meter::bytes(s.len() * 2)?;
    let limit = args.int(1)?.filter(|n| *n >= 0).map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let Some(at) = args.text_or_none(0)? else { return pieces(words(s, limit, from_right)) };
    if at.is_empty() {
        return fail("empty separator");
    }
    let n = limit.saturating_add(1);
    meter::space(s.matches(&**at).count() * 64)?;
    let mut parts: Vec<&str> = if from_right { s.rsplitn(n, &**at).collect() } else { s.splitn(n, &**at).collect() };
    if from_right {
        parts.reverse();
    }
    pieces(parts)
}

pub(super) fn join(by: &str, items: Vec<Value>) -> Res<Value> {
    let mut out = String::new();
    for (i, item) in items.iter().enumerate() {
        let Some(s) = item.str() else { return fail(format!("sequence item {i}: expected str instance, {} found", item.kind())) };
        meter::bytes(by.len() + s.len())?;
        if i > 0 {
            out.push_str(by);
        }
        out.push_str(s);
        within_limit(&out)?;
    }
    Value::text(out)
}

fn expand_tabs(s: &str, size: usize) -> Res<Value> {
    let (mut out, mut column) = (String::new(), 0);
    for c in s.chars() {
        match c {
            '\t' => {
                let n = if size > 0 { size - column % size } else { 0 };
                meter::room(out.len().saturating_add(n))?;
                out.extend(std::iter::repeat_n(' ', n));
                column += n;
            }
            c => {
                out.push(c);
                column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
            }
        }
    }
    Value::text(out)
}

/// Methods that give a marked text where they are called on one.
const SAFE: &str = " strip lstrip rstrip upper lower title capitalize swapcase casefold center ljust rjust zfill expandtabs ";

/// Calls a method of a text.
pub(super) fn method(value: &Value, s: &Str, name: &str, args: Args) -> Res<Value> {
    if let Value::Safe(_) = value {
        if !SAFE.contains(&format!(" {name} ")) {
            return fail("the method of a text that is marked as safe is not supported");
        }
        return Ok(super::print::marked(plain(s, name, args)?));
    }
    plain(s, name, args)
}

fn plain(s: &Str, name: &str, args: Args) -> Res<Value> {
    let s: &str = s;
    // Case mapping and classification look at every character.
    meter::work(s.len() / 16)?;
    let done = |text: String| {
        meter::room(text.len())?;
        Value::text(text)
    };
    let truth = |b: bool| Ok(Value::Bool(b));
    let every = |args: Args, test: &dyn Fn(char) -> Res<bool>| {
        args.none()?;
        let mut all = !s.is_empty();
        for c in s.chars() {
            all = all && test(c)?;
        }
        Ok(Value::Bool(all))
    };
    match name {
        "strip" | "lstrip" | "rstrip" => {
            let chars = args.bind(&[""])?.text_or_none(0)?;
            Value::copied(trimmed(s, chars.as_ref().map(|c| &***c), name != "rstrip", name != "lstrip"))
        }
        "upper" => args.none().and_then(|()| done(s.to_uppercase())),
        "lower" => args.none().and_then(|()| done(s.to_lowercase())),
        "capitalize" => args.none().and_then(|()| done(capitalized(s)?)),
        "title" => args.none().and_then(|()| done(titled(s)?)),
        "casefold" => args.none().and_then(|()| done(folded(s)?)),
        "swapcase" if s.contains('Σ') => fail("swapcase() of a text with Σ is not supported"),
        "swapcase" => {
            args.none()?;
            let mut out = String::new();
            for c in s.chars() {
                if c.is_uppercase() {
                    out.extend(c.to_lowercase());
                } else if c.is_lowercase() {
                    out.extend(c.to_uppercase());
                } else {
                    out.push(c);
                }
            }
            done(out)
        }
        "startswith" | "endswith" => {
            let args = args.bind(&["", "", ""])?;
            let Some((part, _)) = window(s, &args, 1)? else { return truth(false) };
            let fits = |p: &Value| match p.str() {
                Some(p) => Ok(if name == "startswith" { part.starts_with(&***p) } else { part.ends_with(&***p) }),
                None => fail(format!("{name} first arg must be str or a tuple of str, not {}", p.kind())),
            };
            match args.need(0)? {
                Value::Tuple(items) => {
                    for p in &items.list {
                        if fits(p)? {
                            return truth(true);
                        }
                    }
                    truth(false)
                }
                one => truth(fits(&one)?),
            }
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let args = args.bind(&["", "", ""])?;
            let wanted = args.text(0)?;
            meter::bytes(s.len())?;
            let part = window(s, &args, 1)?;
            if name == "count" {
                return Ok(Value::Int(part.map_or(0, |(p, _)| p.matches(&**wanted).count()) as i128));
            }
            let found = part.and_then(|(p, before)| {
                let at = if name.starts_with('r') { p.rfind(&**wanted) } else { p.find(&**wanted) }?;
                Some(before + p[..at].chars().count())
            });
            match found {
                Some(at) => Ok(Value::Int(at as i128)),
                None if name.ends_with("index") => fail("substring not found"),
                None => Ok(Value::Int(-1)),
            }
        }
        "replace" => {
            let args = args.bind(&["", "", "count"])?;
            replace(s, &args.text(0)?, &args.text(1)?, args.int(2)?)
        }
        "split" | "rsplit" => split(s, &args.bind(&["sep", "maxsplit"])?, name == "rsplit"),
        "splitlines" => pieces(lines(s, args.bind(&["keepends"])?.flag(0))),
        "partition" | "rpartition" => {
            let at = args.bind(&[""])?.text(0)?;
            if at.is_empty() {
                return fail("empty separator");
            }
            let found = if name == "partition" { s.split_once(&**at) } else { s.rsplit_once(&**at) };
            let parts = match found {
                Some((a, b)) => [a, &**at, b],
                None if name == "partition" => [s, "", ""],
                None => ["", "", s],
            };
            Value::tuple(parts.into_iter().map(Value::copied).collect::<Res<Vec<_>>>()?)
        }
        "join" => join(s, iterate(&args.one()?)?),
        "center" | "ljust" | "rjust" => {
            let args = args.bind(&["", ""])?;
            args.need(0)?;
            let width = args.size(0, 0)?;
            let fill = match args.get(1) {
                None => ' ',
                Some(_) => {
                    let f = args.text(1)?;
                    let mut chars = f.chars();
                    match (chars.next(), chars.next()) {
                        (Some(c), None) => c,
                        _ => return fail("The fill character must be exactly one character long"),
                    }
                }
            };
            if name == "center" {
                return center(s, width, fill);
            }
            let mut out = String::new();
            padded(s, width, fill, if name == "ljust" { '<' } else { '>' }, &mut out)?;
            Value::text(out)
        }
        "zfill" => {
            let width = args.bind(&[""])?.int(0)?.ok_or_else(|| Fault::new("an argument is missing"))?;
            let missing = usize::try_from(width.max(0)).unwrap_or(usize::MAX).saturating_sub(s.chars().count());
            meter::room(missing.saturating_add(s.len()))?;
            let sign = if s.starts_with(['+', '-']) { 1 } else { 0 };
            done([&s[..sign], &"0".repeat(missing), &s[sign..]].concat())
        }
        "expandtabs" => expand_tabs(s, args.bind(&["tabsize"])?.size(0, 8)?),
        "removeprefix" => {
            let p = args.bind(&[""])?.text(0)?;
            Value::copied(s.strip_prefix(&**p).unwrap_or(s))
        }
        "removesuffix" => {
            let p = args.bind(&[""])?.text(0)?;
            Value::copied(s.strip_suffix(&**p).filter(|_| !p.is_empty()).unwrap_or(s))
        }
        "isalpha" => every(args, &|c| Ok(unicode::is_in(c, unicode::LETTER))),
        "isdecimal" => every(args, &|c| Ok(unicode::is_in(c, unicode::DECIMAL))),
        "isdigit" => every(args, &is_digit),
        "isnumeric" => every(args, &is_numeric),
        "isalnum" => every(args, &is_alnum),
        "isspace" => every(args, &|c| Ok(is_space(c))),
        "isupper" => args.none().and_then(|()| truth(is_upper(s))),
        "islower" => args.none().and_then(|()| truth(is_lower(s))),
        "istitle" => args.none().and_then(|()| truth(is_titled(s))),
        "isascii" => args.none().and_then(|()| truth(s.is_ascii())),
        "isprintable" => args.none().and_then(|()| truth(s.chars().all(is_printable))),
        "isidentifier" if s.is_ascii() => args.none().and_then(|()| {
            truth(!s.is_empty() && !s.starts_with(|c: char| c.is_ascii_digit()) && s.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        }),
        "format" | "format_map" => format_method(s, name == "format_map", args),
        _ => fail("this method of texts is not supported"),
    }
}
