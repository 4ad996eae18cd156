//! Filters of lists and dictionaries.
use std::cmp::Ordering;

use super::access::item;
use super::args::Args;
use super::compare::{equal, order, truth};
use super::fault::{Fault, Res, fail};
use super::meter;
use super::ops::{Math, math};
use super::print::{expect_str, iterate, repr_into};
use super::value::Value;

/// Sorts as Python does: stable, by an order that may fail.
pub(super) fn sorted<T: Clone>(list: Vec<T>, by: impl Fn(&T, &T) -> Res<Option<Ordering>>) -> Res<Vec<T>> {
    let mut list = list;
    let mut other = Vec::with_capacity(list.len());
    let mut run = 1;
    while run < list.len() {
        meter::work(list.len())?;
        for start in (0..list.len()).step_by(run * 2) {
            let (middle, end) = ((start + run).min(list.len()), (start + run * 2).min(list.len()));
            let (mut a, mut b) = (start, middle);
            while a < middle || b < end {
                let second = match (a < middle, b < end) {
                    (true, true) => by(&list[b], &list[a])?.ok_or_else(|| Fault::new("what is not a number has no order"))?.is_lt(),
                    (left, _) => !left,
                };
                let at = if second { &mut b } else { &mut a };
                other.push(list[*at].clone());
                *at += 1;
            }
        }
        std::mem::swap(&mut list, &mut other);
        other.clear();
        run *= 2;
    }
    Ok(list)
}

/// Where an attribute is found: `a.0.b` as its parts.
pub(super) struct Getter {
    parts: Vec<Value>,
    default: Option<Value>,
}

impl Getter {
    pub fn new(attribute: Option<&Value>, default: Option<Value>) -> Res<Self> {
        let parts = match attribute {
            None => Vec::new(),
            Some(Value::Str(s) | Value::Safe(s)) => s
                .split('.')
                .map(|p| match p.parse::<i64>() {
                    Ok(n) if p.bytes().all(|b| b.is_ascii_digit()) => Ok(Value::Int(n.into())),
                    _ => Value::copied(p),
                })
                .collect::<Res<_>>()?,
            Some(other) => vec![other.clone()],
        };
        Ok(Getter { parts, default })
    }

    pub fn get(&self, value: &Value) -> Res<Value> {
        let mut value = value.clone();
        for part in &self.parts {
            meter::work(1)?;
            value = item(&value, part)?;
            if let (Value::Undefined(_), Some(default)) = (&value, &self.default) {
                value = default.clone();
            }
        }
        Ok(value)
    }
}

/// Lower case for texts, unless case counts.
fn folded(value: Value, case_sensitive: bool) -> Res<Value> {
    match value.str() {
        Some(s) if !case_sensitive => {
            meter::room(s.len())?;
            meter::work(s.len() / 16)?;
            Value::text(s.to_lowercase())
        }
        _ => Ok(value),
    }
}

fn flipped(order: Option<Ordering>, reverse: bool) -> Option<Ordering> {
    if reverse { order.map(Ordering::reverse) } else { order }
}

/// Filters of lists; none if it is none of them.
pub(super) fn filter(name: &str, value: &Value, args: Args) -> Option<Res<Value>> {
    Some(match name {
        "first" => first(value),
        "last" => last(value),
        "list" => args.none().and_then(|()| Value::list(iterate(value)?)),
        "items" => items(value),
        "reverse" => reverse(value),
        "sort" => sort(value, args),
        "dictsort" => dictsort(value, args),
        "unique" => unique(value, args),
        "groupby" => groupby(value, args),
        "min" | "max" => extreme(value, args, name == "max"),
        "sum" => sum(value, args),
        "batch" => batch(value, args),
        "slice" => slice(value, args),
        "join" => join(value, args),
        "pprint" => pprint(value),
        _ => return None,
    })
}

fn first(value: &Value) -> Res<Value> {
    const NONE: &str = "No first item, sequence was empty.";
    match value {
        Value::Once(once) => {
            if let Some(v) = once.left.borrow_mut().next() {
                return Ok(v);
            }
            match once.end.borrow_mut().take() {
                Some(e) => Err(e),
                None => Ok(Value::lacking(NONE)),
            }
        }
        Value::List(items) | Value::Tuple(items) => Ok(items.list.first().cloned().unwrap_or(Value::lacking(NONE))),
        _ => Ok(iterate(value)?.into_iter().next().unwrap_or(Value::lacking(NONE))),
    }
}

fn last(value: &Value) -> Res<Value> {
    match value {
        Value::Once(_) | Value::Undefined(_) => fail(format!("'{}' object is not reversible", value.kind())),
        _ => Ok(iterate(value)?.pop().unwrap_or(Value::lacking("No last item, sequence was empty."))),
    }
}

fn items(value: &Value) -> Res<Value> {
    match value {
        Value::Undefined(_) => Value::once(Vec::new()),
        Value::Dict(d) => Value::once(iterate(&Value::View(super::value::View::Items, d.clone()))?),
        _ => fail("Can only get item pairs from a mapping."),
    }
}

fn reverse(value: &Value) -> Res<Value> {
    match value {
        Value::Str(s) => {
            meter::room(s.len())?;
            Value::text(s.chars().rev().collect())
        }
        Value::Safe(_) => fail("a text that is marked as safe is not supported"),
        Value::Once(_) | Value::Undefined(_) => Value::list(iterate(value)?.into_iter().rev().collect()),
        _ => Value::once(iterate(value)?.into_iter().rev().collect()),
    }
}

fn sort(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["reverse", "case_sensitive", "attribute"])?;
    let getters: Vec<Getter> = match args.some(2) {
        Some(Value::Str(s)) => s.split(',').map(|p| Getter::new(Some(&Value::copied(p)?), None)).collect::<Res<_>>()?,
        other => vec![Getter::new(other, None)?],
    };
    let keyed = iterate(value)?.into_iter().map(|v| {
        let keys = getters.iter().map(|g| folded(g.get(&v)?, args.flag(1))).collect::<Res<Vec<_>>>()?;
        Ok((Value::list(keys)?, v))
    });
    let keyed: Vec<(Value, Value)> = keyed.collect::<Res<_>>()?;
    let list = sorted(keyed, |a, b| Ok(flipped(order(&a.0, &b.0, "<")?, args.flag(0))))?;
    Value::list(list.into_iter().map(|e| e.1).collect())
}

fn dictsort(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["case_sensitive", "by", "reverse"])?;
    let Value::Dict(d) = value else {
        return match value {
            Value::Undefined(m) => Value::undefined(m),
            _ => fail(format!("'{}' object has no attribute 'items'", value.kind())),
        };
    };
    let by_value = match args.get(1).map(|v| v.str().map(|s| s.to_string())) {
        None => false,
        Some(Some(by)) if by == "key" || by == "value" => by == "value",
        _ => return fail("You can only sort by either \"key\" or \"value\""),
    };
    let keyed = d.entries.iter().map(|(k, v)| {
        let key = folded(if by_value { v } else { k }.clone(), args.flag(0))?;
        Ok((key, Value::tuple(vec![k.clone(), v.clone()])?))
    });
    let keyed: Vec<(Value, Value)> = keyed.collect::<Res<_>>()?;
    let list = sorted(keyed, |a, b| Ok(flipped(order(&a.0, &b.0, "<")?, args.flag(2))))?;
    Value::list(list.into_iter().map(|e| e.1).collect())
}

fn unique(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["case_sensitive", "attribute"])?;
    let getter = Getter::new(args.some(1), None)?;
    let (mut seen, mut out): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    'all: for v in iterate(value)? {
        let key = folded(getter.get(&v)?, args.flag(0))?;
        if matches!(key, Value::List(_) | Value::Dict(_)) {
            return Value::once_until(out, Some(Fault::new(format!("unhashable type: '{}'", key.kind()))));
        }
        for s in &seen {
            if equal(s, &key)? {
                continue 'all;
            }
        }
        seen.push(key);
        out.push(v);
    }
    Value::once(out)
}

fn groupby(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["attribute", "default", "case_sensitive"])?;
    let attribute = args.need(0)?;
    let getter = Getter::new(Some(&attribute), args.some(1).cloned())?;
    let keyed: Vec<(Value, Value)> =
        iterate(value)?.into_iter().map(|v| Ok((folded(getter.get(&v)?, args.flag(2))?, v))).collect::<Res<_>>()?;
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for (key, v) in sorted(keyed, |a, b| order(&a.0, &b.0, "<"))? {
        match groups.last_mut() {
            Some((last, list)) if equal(last, &key)? => list.push(v),
            _ => groups.push((key, vec![v])),
        }
    }
    let groups = groups.into_iter().map(|(key, list)| {
        let key = if args.flag(2) { key } else { getter.get(&list[0])? };
        Value::group(key, Value::list(list)?)
    });
    Value::list(groups.collect::<Res<_>>()?)
}

fn extreme(value: &Value, args: Args, most: bool) -> Res<Value> {
    let args = args.bind(&["case_sensitive", "attribute"])?;
    let getter = Getter::new(args.some(1), None)?;
    let mut best: Option<(Value, Value)> = None;
    for v in iterate(value)? {
        let key = folded(getter.get(&v)?, args.flag(0))?;
        let better = match &best {
            None => true,
            Some((b, _)) if most => order(&key, b, ">")?.is_some_and(Ordering::is_gt),
            Some((b, _)) => order(&key, b, "<")?.is_some_and(Ordering::is_lt),
        };
        if better {
            best = Some((key, v));
        }
    }
    Ok(best.map_or(Value::lacking("No aggregated item, sequence was empty."), |b| b.1))
}

fn sum(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["attribute", "start"])?;
    let getter = Getter::new(args.some(0), None)?;
    let mut all = args.get(1).cloned().unwrap_or(Value::Int(0));
    if all.str().is_some() {
        return fail("sum() can't sum strings");
    }
    for v in iterate(value)? {
        all = math(Math::Add, &all, &getter.get(&v)?)?;
    }
    Ok(all)
}

fn batch(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["linecount", "fill_with"])?;
    args.need(0)?;
    // As in Python: a batch of none is never full.
    let given = match args.int(0)? {
        Some(0) => return fail("batches of 0 items are not supported"),
        Some(n) if n > 0 => Some(usize::try_from(n).unwrap_or(usize::MAX)),
        _ => None,
    };
    let n = given.unwrap_or(usize::MAX);
    let list = iterate(value)?;
    let mut out = Vec::new();
    for part in list.chunks(n) {
        let mut part = part.to_vec();
        if let Some(fill) = args.some(1)
            && given.is_some()
        {
            meter::work(n - part.len())?;
            meter::space((n - part.len()).saturating_mul(size_of::<Value>()))?;
            part.resize(n, fill.clone());
        }
        out.push(Value::list(part)?);
    }
    Value::once(out)
}

fn slice(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["slices", "fill_with"])?;
    args.need(0)?;
    let slices = args.size(0, 0)?;
    if slices == 0 {
        return fail("integer division or modulo by zero");
    }
    meter::work(slices)?;
    let list = iterate(value)?;
    let (each, extra) = (list.len() / slices, list.len() % slices);
    let (mut at, mut out) = (0, Vec::new());
    for i in 0..slices {
        let end = at + each + usize::from(i < extra);
        let mut part = list[at..end].to_vec();
        if let Some(fill) = args.some(1)
            && i >= extra
        {
            part.push(fill.clone());
        }
        out.push(Value::list(part)?);
        at = end;
    }
    Value::once(out)
}

fn join(value: &Value, args: Args) -> Res<Value> {
    let args = args.bind(&["d", "attribute"])?;
    let getter = Getter::new(args.some(1), None)?;
    let by = match args.get(0) {
        Some(d) => super::print::string(d)?,
        None => Value::text(String::new())?,
    };
    let parts = iterate(value)?.into_iter().map(|v| super::print::string(&getter.get(&v)?)).collect::<Res<Vec<_>>>()?;
    super::strings::join(expect_str(&by)?, parts)
}

/// `pprint` of what fits into one line; keys are sorted.
fn pprint(value: &Value) -> Res<Value> {
    let mut out = String::new();
    repr_into(&with_sorted_keys(value)?, &mut out, 0)?;
    if out.chars().count() > 80 {
        return fail("what does not fit into a line of 80 characters is not supported");
    }
    Value::text(out)
}

fn with_sorted_keys(value: &Value) -> Res<Value> {
    let _level = meter::deeper()?;
    match value {
        Value::List(items) => Value::list(items.list.iter().map(with_sorted_keys).collect::<Res<_>>()?),
        Value::Tuple(items) => Value::tuple(items.list.iter().map(with_sorted_keys).collect::<Res<_>>()?),
        Value::Dict(d) => {
            let entries: Vec<(Value, Value)> = d.entries.iter().map(|(k, v)| Ok((k.clone(), with_sorted_keys(v)?))).collect::<Res<_>>()?;
            Value::dict(sorted(entries, |a, b| order(&a.0, &b.0, "<"))?)
        }
        _ => Ok(value.clone()),
    }
}

/// Is there anything to go through? `map` and `select` do not look into what counts as false.
pub(super) fn any(value: &Value) -> Res<Vec<Value>> {
    if truth(value) { iterate(value) } else { Ok(Vec::new()) }
}
