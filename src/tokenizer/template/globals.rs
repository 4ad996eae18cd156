//! Global functions of templates, and `strftime`.
use std::cell::RefCell;
use std::rc::Rc;

use super::args::Args;
use super::compare::put;
use super::fault::{Fault, Res, fail};
use super::meter;
use super::print::{iterate, str_into};
use super::value::{Global, Namespace, Str, Value, range_len};
use crate::clock;

/// The function of a name.
pub(super) fn global(name: &str) -> Option<Global> {
    Some(match name {
        "range" => Global::Range,
        "dict" => Global::Dict,
        "namespace" => Global::Namespace,
        "cycler" => Global::Cycler,
        "joiner" => Global::Joiner,
        "lipsum" => Global::Lipsum,
        "raise_exception" => Global::Raise,
        "strftime_now" => Global::Now,
        _ => return None,
    })
}

/// The sandbox makes no longer ones.
const MAX_RANGE: usize = 100_000;

pub(super) fn call(function: Global, args: Args) -> Res<Value> {
    match function {
        Global::Range => {
            let args = args.bind(&["", "", ""])?;
            let number = |i: usize| -> Res<Option<i64>> {
                match args.get(i) {
                    Some(Value::None) => fail("'NoneType' object cannot be interpreted as an integer"),
                    _ => args.int(i)?.map(|n| i64::try_from(n).map_err(|_| Fault::new("the number is too large"))).transpose(),
                }
            };
            let first = number(0)?.ok_or_else(|| Fault::new("range expected at least 1 argument, got 0"))?;
            let (start, stop) = number(1)?.map_or((0, first), |stop| (first, stop));
            let step = number(2)?.unwrap_or(1);
            if step == 0 {
                return fail("range() arg 3 must not be zero");
            }
            if range_len(start, stop, step) > MAX_RANGE {
                return fail(format!("Range too big. The sandbox blocks ranges larger than {MAX_RANGE}."));
            }
            Ok(Value::Range(start, stop, step))
        }
        Global::Dict => Value::dict(entries(args)?),
        Global::Namespace => {
            let mut fields = Vec::new();
            for (key, value) in entries(args)? {
                let Some(key) = key.str() else { return fail("keys must be strings") };
                check_field(key)?;
                fields.push((key.clone(), value));
            }
            // It is kept until the end.
            meter::work(20)?;
            Ok(Value::Namespace(Rc::new(Namespace { fields: RefCell::new(fields) })))
        }
        Global::Cycler if args.pos.is_empty() => fail("at least one item has to be provided"),
        Global::Cycler => Value::cycler(args.pos),
        Global::Joiner => {
            let args = args.bind(&["sep"])?;
            let sep = match args.get(0) {
                Some(_) => args.text(0)?,
                None => super::value::held(", ".into()),
            };
            Ok(Value::Joiner(Rc::new((sep, std::cell::Cell::new(false)))))
        }
        Global::Lipsum => fail("is not supported: it gives another text each time"),
        Global::Raise => {
            let mut message = String::new();
            str_into(&args.bind(&["message"])?.need(0)?, &mut message)?;
            Err(Fault::raised(message))
        }
        Global::Now => {
            let format = args.bind(&["format"])?.text(0)?;
            Value::text(strftime(&format, civil(clock::unix_seconds() as i64))?)
        }
    }
}

/// `dict(mapping or pairs, **kwargs)`.
fn entries(args: Args) -> Res<Vec<(Value, Value)>> {
    let mut out = match args.pos.first() {
        None => Vec::new(),
        Some(_) if args.pos.len() > 1 => return fail("expected at most 1 argument"),
        Some(Value::Dict(d)) => {
            meter::work(d.entries.len())?;
            d.entries.clone()
        }
        Some(other) => {
            let mut out = Vec::new();
            for pair in iterate(other)? {
                match <[Value; 2]>::try_from(iterate(&pair)?) {
                    Ok([k, v]) => put(&mut out, k, v)?,
                    Err(_) => return fail("expected pairs"),
                }
            }
            out
        }
    };
    for (k, v) in args.kw {
        put(&mut out, Value::Str(k), v)?;
    }
    Ok(out)
}

/// May a namespace have it?
pub(super) fn check_field(name: &Str) -> Res<()> {
    if name.starts_with('_') {
        return fail(format!("Chat templates cannot store underscore-prefixed attributes on a namespace, but got '{}'", &***name));
    }
    Ok(())
}

/// A moment in UTC.
pub(super) struct Civil {
    year: i64,
    /// 1 to 12.
    month: usize,
    day: i64,
    day_of_year: i64,
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
    let leap = |y: i64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    // Counted from March on, days of January and February come last.
    let in_year = if month > 2 { day_of_year + 60 + i64::from(leap(year)) } else { day_of_year - 305 };
    Civil {
        year,
        day_of_year: in_year,
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
pub(super) fn strftime(format: &str, t: Civil) -> Res<String> {
    meter::bytes(format.len() * 16)?;
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
            // The time has no zone.
            Some('Z' | 'z') => String::new(),
            Some('%') => "%".to_string(),
            Some('j') if plain => t.day_of_year.to_string(),
            Some('j') => format!("{:03}", t.day_of_year),
            Some('D' | 'x') => format!("{:02}/{:02}/{:02}", t.month, t.day, t.year.rem_euclid(100)),
            Some('X') => format!("{h:02}:{m:02}:{s:02}"),
            Some('R') => format!("{h:02}:{m:02}"),
            Some('c') => {
                let (day, month) = (&DAYS[t.weekday][..3], &MONTHS[t.month - 1][..3]);
                format!("{day} {month} {:2} {h:02}:{m:02}:{s:02} {}", t.day, t.year)
            }
            Some('w') => t.weekday.to_string(),
            Some('u') => ((t.weekday + 6) % 7 + 1).to_string(),
            Some('C') => two(t.year.div_euclid(100)),
            Some('k') => format!("{h:2}"),
            Some('l') => format!("{:2}", (h + 11) % 12 + 1),
            Some('n') => "\n".to_string(),
            Some('t') => "\t".to_string(),
            other => return fail(format!("the directive %{} is not supported", other.unwrap_or(' '))),
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests_of_dates {
    use super::{civil, strftime};

    #[test]
    fn dates() {
        crate::tokenizer::template::meter::start();
        let at = |unix, format| strftime(format, civil(unix)).unwrap();
        assert_eq!(at(0, "%A %d %B %Y %H:%M:%S"), "Thursday 01 January 1970 00:00:00");
        assert_eq!(at(951_782_400, "%a %-d %b %y"), "Tue 29 Feb 00");
        assert_eq!(at(1_795_478_399, "%F %T %I %p"), "2026-11-23 23:59:59 11 PM");
        assert_eq!(at(-1, "%F"), "1969-12-31");
        assert_eq!(at(0, "%j %x %X %c %w %u"), "001 01/01/70 00:00:00 Thu Jan  1 00:00:00 1970 4 4");
        assert_eq!((at(951_782_400, "%j"), at(951_868_800, "%j"), at(-1, "%-j")), ("060".into(), "061".into(), "365".into()));
        assert!(strftime("%Q", civil(0)).is_err());
    }
}
