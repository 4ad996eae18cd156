//! `str.format`.
use super::access::{attribute, item};
use super::args::Args;
use super::compare::get;
use super::fault::{Fault, Res, fail};
use super::format::{ascii_into, format_into};
use super::meter;
use super::print::{repr_into, str_into, within_limit};
use super::value::{Value, held};

/// Which argument comes next where none is named.
enum Numbering {
    Open,
    Automatic(usize),
    Manual,
}

struct Fields<'a> {
    args: &'a Args,
    map: Option<Value>,
    numbering: Numbering,
}

pub(super) fn format_method(s: &str, map: bool, args: Args) -> Res<Value> {
    let map = if map { Some(args.bind(&[""])?.need(0)?) } else { return formatted(s, &args, None) };
    formatted(s, &Args::default(), map)
}

fn formatted(s: &str, args: &Args, map: Option<Value>) -> Res<Value> {
    meter::bytes(s.len())?;
    let mut out = String::new();
    Fields { args, map, numbering: Numbering::Open }.fill(s, 3, &mut out)?;
    Value::text(out)
}

impl Fields<'_> {
    fn fill(&mut self, s: &str, levels: u32, out: &mut String) -> Res<()> {
        if levels == 0 {
            return fail("Max string recursion exceeded");
        }
        let mut rest = s;
        while let Some(at) = rest.find(['{', '}']) {
            out.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if after.starts_with(brace) {
                out.push_str(brace);
                rest = &after[1..];
                continue;
            }
            if brace == "}" {
                return fail("Single '}' encountered in format string");
            }
            let mut open = 1;
            let end = after.find(|c: char| {
                open += i32::from(c == '{') - i32::from(c == '}');
                open == 0
            });
            let Some(end) = end else { return fail("expected '}' before end of string") };
            self.field(&after[..end], levels, out)?;
            within_limit(out)?;
            rest = &after[end + 1..];
        }
        out.push_str(rest);
        within_limit(out)
    }

    fn field(&mut self, field: &str, levels: u32, out: &mut String) -> Res<()> {
        meter::work(1)?;
        // The name goes to a colon or an exclamation mark outside of brackets.
        let mut inside = false;
        let end = field.find(|c: char| {
            inside = c == '[' || inside && c != ']';
            !inside && (c == ':' || c == '!')
        });
        let (name, rest) = field.split_at(end.unwrap_or(field.len()));
        let (conversion, spec) = match rest.strip_prefix('!') {
            Some(r) => {
                let kind = r.chars().next().ok_or_else(|| Fault::new("end of string while looking for conversion specifier"))?;
                let after = &r[kind.len_utf8()..];
                match (after.strip_prefix(':'), after) {
                    (Some(spec), _) => (Some(kind), spec),
                    (None, "") => (Some(kind), ""),
                    _ => return fail("expected ':' after conversion specifier"),
                }
            }
            None => (None, rest.strip_prefix(':').unwrap_or(rest)),
        };
        let mut value = self.value(name)?;
        let mut text = String::new();
        match conversion {
            None => {}
            Some('s') => str_into(&value, &mut text)?,
            Some('r') => repr_into(&value, &mut text, 0)?,
            Some('a') => ascii_into(&value, &mut text)?,
            Some(c) => return fail(format!("Unknown conversion specifier {c}")),
        }
        if conversion.is_some() {
            value = Value::text(text)?;
        }
        let mut filled = String::new();
        self.fill(spec, levels - 1, &mut filled).or_else(|e| if spec.is_empty() { Ok(()) } else { Err(e) })?;
        format_into(&value, &filled, out)
    }

    fn value(&mut self, name: &str) -> Res<Value> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut rest) = name.split_at(end);
        let index = if first.is_empty() {
            let n = match self.numbering {
                Numbering::Open => 0,
                Numbering::Automatic(n) => n,
                Numbering::Manual => return fail("cannot switch from manual field specification to automatic field numbering"),
            };
            self.numbering = Numbering::Automatic(n + 1);
            Some(n)
        } else if first.bytes().all(|b| b.is_ascii_digit()) {
            if let Numbering::Automatic(_) = self.numbering {
                return fail("cannot switch from automatic field numbering to manual field specification");
            }
            self.numbering = Numbering::Manual;
            Some(first.parse().unwrap_or(usize::MAX))
        } else {
            None
        };
        let found = match (index, &self.map) {
            (Some(_), Some(_)) => None,
            (Some(i), None) => self.args.pos.get(i).cloned(),
            (None, Some(Value::Dict(d))) => get(d, &Value::text(first.to_string())?)?.cloned(),
            (None, Some(other)) => return fail(format!("format_map() of {} is not supported", other.kind())),
            (None, None) => self.args.kw.iter().find(|(k, _)| ***k == *first).map(|e| e.1.clone()),
        };
        let mut value = found.ok_or_else(|| Fault::new(format!("the format's field {{{first}}} has no argument")))?;
        while !rest.is_empty() {
            meter::work(1)?;
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                value = attribute(&value, &held(after[..end].to_string()))?;
                rest = &after[end..];
            } else {
                let end = rest.find(']').ok_or_else(|| Fault::new("Missing ']' in format string"))?;
                let key = &rest[1..end];
                let key = match key.parse::<i64>() {
                    Ok(n) if key.bytes().all(|b| b.is_ascii_digit()) => Value::Int(n.into()),
                    _ => Value::text(key.to_string())?,
                };
                value = item(&value, &key)?;
                rest = &rest[end + 1..];
                if !rest.is_empty() && !rest.starts_with(['.', '[']) {
                    return fail("Only '.' or '[' may follow ']' in format field specifier");
                }
            }
        }
        Ok(value)
    }
}
