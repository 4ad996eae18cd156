//! What chat templates use of Python: methods of strings and dictionaries, `strftime`.
use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

fn wrong(name: &str, what: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("{name}(): {what}"))
}

/// Calls a Python method that Jinja values do not have by themselves.
pub(super) fn method(value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::String => string_method(value.as_str().unwrap_or_default(), name, args),
        ValueKind::Map => map_method(value, name, args),
        ValueKind::Seq if name == "count" || name == "index" => {
            let wanted = args.first().ok_or_else(|| wrong(name, "expected a value"))?;
            let mut items = value.try_iter()?;
            if name == "count" {
                return Ok(items.filter(|v| v == wanted).count().into());
            }
            items.position(|v| v == *wanted).map(Value::from).ok_or_else(|| wrong(name, "it is not in the list"))
        }
        _ => Err(unknown(value, name)),
    }
}

fn unknown(value: &Value, name: &str) -> Error {
    Error::new(ErrorKind::UnknownMethod, format!("{} has no method {name:?}", value.kind()))
}

fn map_method(value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match (name, args) {
        ("keys", []) => Ok(value.try_iter()?.collect()),
        ("values", []) => value.try_iter()?.map(|k| value.get_item(&k)).collect::<Result<Vec<_>, _>>().map(Value::from),
        ("items", []) => {
            let pair = |k: Value| Ok(Value::from(vec![k.clone(), value.get_item(&k)?]));
            value.try_iter()?.map(pair).collect::<Result<Vec<_>, Error>>().map(Value::from)
        }
        ("get", [key]) | ("get", [key, _]) => {
            let found = value.get_item(key)?;
            Ok(if found.is_undefined() { args.get(1).cloned().unwrap_or(().into()) } else { found })
        }
        _ => Err(unknown(value, name)),
    }
}

fn string_method(s: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let text = |i: usize| -> Result<Option<&str>, Error> {
        match args.get(i) {
            None => Ok(None),
            Some(v) if v.is_none() => Ok(None),
            Some(v) => v.as_str().map(Some).ok_or_else(|| wrong(name, "expected a text")),
        }
    };
    let needed = |i: usize| text(i)?.ok_or_else(|| wrong(name, "expected a text"));
    let any = |f: &dyn Fn(&str) -> bool| -> Result<Value, Error> {
        let v = args.first().ok_or_else(|| wrong(name, "expected a text"))?;
        if let Some(one) = v.as_str() {
            return Ok(f(one).into());
        }
        let mut found = false;
        for option in v.try_iter()? {
            found |= f(option.as_str().ok_or_else(|| wrong(name, "expected texts"))?);
        }
        Ok(found.into())
    };
    let strip = |chars: Option<&str>, left: bool, right: bool| {
        let is = |c: char| chars.map_or(c.is_whitespace(), |set| set.contains(c));
        let s = if left { s.trim_start_matches(is) } else { s };
        Value::from(if right { s.trim_end_matches(is) } else { s })
    };
    Ok(match name {
        "strip" => strip(text(0)?, true, true),
        "lstrip" => strip(text(0)?, true, false),
        "rstrip" => strip(text(0)?, false, true),
        "startswith" => return any(&|p| s.starts_with(p)),
        "endswith" => return any(&|p| s.ends_with(p)),
        "upper" => s.to_uppercase().into(),
        "lower" => s.to_lowercase().into(),
        "capitalize" => capitalized(s).into(),
        "title" => {
            // Every run of letters starts with a capital.
            let mut inside = false;
            let mut out = String::new();
            for c in s.chars() {
                if inside {
                    out.extend(c.to_lowercase())
                } else {
                    out.extend(c.to_uppercase())
                }
                inside = c.is_alphabetic();
            }
            out.into()
        }
        "replace" => {
            let (from, to) = (needed(0)?, needed(1)?);
            let (gaps, growth) = (s.matches(from).count(), to.len().saturating_sub(from.len()));
            if s.len().saturating_add(gaps.saturating_mul(growth)) > 64 << 20 {
                return Err(wrong(name, "the result is larger than 64 MiB"));
            }
            match args.get(2).map(|n| i64::try_from(n.clone())).transpose()? {
                Some(n) if n >= 0 => s.replacen(from, to, n as usize).into(),
                _ => s.replace(from, to).into(),
            }
        }
        "split" | "rsplit" => {
            let limit = args.get(1).map(|n| i64::try_from(n.clone())).transpose()?.filter(|&n| n >= 0).map(|n| n as usize + 1);
            let parts: Vec<&str> = match (text(0)?, limit, name == "rsplit") {
                (Some(""), ..) => return Err(wrong(name, "the separator is empty")),
                (None, None, _) => s.split_whitespace().collect(),
                (None, Some(_), _) => return Err(wrong(name, "a limit needs a separator")),
                (Some(sep), None, _) => s.split(sep).collect(),
                (Some(sep), Some(n), false) => s.splitn(n, sep).collect(),
                (Some(sep), Some(n), true) => {
                    let mut parts: Vec<&str> = s.rsplitn(n, sep).collect();
                    parts.reverse();
                    parts
                }
            };
            parts.into_iter().map(Value::from).collect()
        }
        "splitlines" => s.lines().map(Value::from).collect(),
        "find" => s.find(needed(0)?).map_or(-1, |at| s[..at].chars().count() as i64).into(),
        "rfind" => s.rfind(needed(0)?).map_or(-1, |at| s[..at].chars().count() as i64).into(),
        "count" => s.matches(needed(0)?).count().into(),
        "isdigit" | "isnumeric" => (!s.is_empty() && s.chars().all(char::is_numeric)).into(),
        "isalpha" => (!s.is_empty() && s.chars().all(char::is_alphabetic)).into(),
        "isspace" => (!s.is_empty() && s.chars().all(char::is_whitespace)).into(),
        "isupper" => (s.chars().any(char::is_uppercase) && !s.chars().any(char::is_lowercase)).into(),
        "islower" => (s.chars().any(char::is_lowercase) && !s.chars().any(char::is_uppercase)).into(),
        "removeprefix" => s.strip_prefix(needed(0)?).unwrap_or(s).into(),
        "removesuffix" => s.strip_suffix(needed(0)?).unwrap_or(s).into(),
        "join" => {
            let items = args.first().ok_or_else(|| wrong(name, "expected a list"))?.try_iter()?;
            let parts = items.map(|v| v.as_str().map(str::to_string).ok_or_else(|| wrong(name, "expected texts")));
            parts.collect::<Result<Vec<_>, _>>()?.join(s).into()
        }
        _ => return Err(unknown(&Value::from(s), name)),
    })
}

fn capitalized(s: &str) -> String {
    let mut chars = s.chars();
    match chars.next() {
        Some(c) => c.to_uppercase().chain(chars.flat_map(char::to_lowercase)).collect(),
        None => String::new(),
    }
}

/// A moment in UTC.
pub(super) struct Civil {
    year: i64,
    /// 1 to 12.
    month: usize,
    day: i64,
    /// 0 is Sunday.
    weekday: usize,
    seconds: i64,
}

/// Date and time of a number of seconds since 1970.
pub(super) fn civil(unix: i64) -> Civil {
    let days = unix.div_euclid(86_400);
    // Years that begin in March make the leap day the last of the year; eras are 400 years of 146,097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    Civil {
        year: era * 400 + year_of_era + i64::from(month <= 2),
        month: month as usize,
        day: day_of_year - (153 * march_month + 2) / 5 + 1,
        weekday: (days + 4).rem_euclid(7) as usize,
        seconds: unix.rem_euclid(86_400),
    }
}

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Python's `strftime` for the directives of dates and times.
pub(super) fn strftime(format: &str, t: Civil) -> Result<String, Error> {
    let mut out = String::new();
    let mut chars = format.chars();
    let (h, m, s) = (t.seconds / 3600, t.seconds / 60 % 60, t.seconds % 60);
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = chars.next();
        let plain = directive == Some('-');
        if plain {
            directive = chars.next();
        }
        let two = |n: i64| if plain { n.to_string() } else { format!("{n:02}") };
        out.push_str(&match directive {
            Some('Y') => t.year.to_string(),
            Some('y') => two(t.year.rem_euclid(100)),
            Some('m') => two(t.month as i64),
            Some('d') => two(t.day),
            Some('e') => format!("{:2}", t.day),
            Some('B') => MONTHS[t.month - 1].to_string(),
            Some('b' | 'h') => MONTHS[t.month - 1][..3].to_string(),
            Some('A') => DAYS[t.weekday].to_string(),
            Some('a') => DAYS[t.weekday][..3].to_string(),
            Some('H') => two(h),
            Some('I') => two((h + 11) % 12 + 1),
            Some('M') => two(m),
            Some('S') => two(s),
            Some('p') => (if h < 12 { "AM" } else { "PM" }).to_string(),
            Some('F') => format!("{}-{:02}-{:02}", t.year, t.month, t.day),
            Some('T') => format!("{h:02}:{m:02}:{s:02}"),
            Some('Z') => "UTC".to_string(),
            Some('z') => "+0000".to_string(),
            Some('%') => "%".to_string(),
            other => return Err(wrong("strftime_now", &format!("the directive %{} is not supported", other.unwrap_or(' ')))),
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests_of_dates {
    use super::{civil, strftime};

    #[test]
    fn dates() {
        let at = |unix, format| strftime(format, civil(unix)).unwrap();
        assert_eq!(at(0, "%A %d %B %Y %H:%M:%S"), "Thursday 01 January 1970 00:00:00");
        assert_eq!(at(951_782_400, "%a %-d %b %y"), "Tue 29 Feb 00");
        assert_eq!(at(1_795_478_399, "%F %T %I %p"), "2026-11-23 23:59:59 11 PM");
        assert_eq!(at(-1, "%F"), "1969-12-31");
        assert!(strftime("%Q", civil(0)).is_err());
    }
}
