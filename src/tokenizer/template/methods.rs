//! Methods of values.
use super::args::Args;
use super::compare::{equal, get, put};
use super::fault::{Res, fail};
use super::print::iterate;
use super::strings;
use super::value::{Str, Value, View};

/// Calls `value.name(args)`. That there is such a method is known.
pub(super) fn call(value: &Value, name: &Str, args: Args) -> Res<Value> {
    call_of(value, name, args).map_err(|e| e.within(format_args!("{}.{}()", value.kind(), &***name)))
}

fn call_of(value: &Value, name: &Str, args: Args) -> Res<Value> {
    let name: &str = name;
    match value {
        Value::Str(s) | Value::Safe(s) => strings::method(value, s, name, args),
        Value::Dict(d) => match name {
            "keys" => args.none().map(|()| Value::View(View::Keys, d.clone())),
            "values" => args.none().map(|()| Value::View(View::Values, d.clone())),
            "items" => args.none().map(|()| Value::View(View::Items, d.clone())),
            "copy" => args.none().map(|()| value.clone()),
            "get" => {
                let args = args.bind(&["", ""])?;
                let found = get(d, &args.need(0)?)?.cloned();
                Ok(found.or_else(|| args.get(1).cloned()).unwrap_or(Value::None))
            }
            _ => from_keys(args),
        },
        Value::Global(_) => from_keys(args),
        Value::List(_) | Value::Tuple(_) | Value::Range(..) => match name {
            "copy" => args.none().map(|()| value.clone()),
            "count" => {
                let wanted = args.one()?;
                let mut n = 0;
                for v in iterate(value)? {
                    n += i128::from(equal(&v, &wanted)?);
                }
                Ok(Value::Int(n))
            }
            _ => {
                let args = args.bind(&["", "", ""])?;
                let wanted = args.need(0)?;
                let list = iterate(value)?;
                let n = list.len() as i128;
                let place = |at: i128| (if at < 0 { at.saturating_add(n) } else { at }).clamp(0, n) as usize;
                let (from, to) = (place(args.int(1)?.unwrap_or(0)), place(args.int(2)?.unwrap_or(n)));
                for (i, v) in list.iter().enumerate().take(to).skip(from) {
                    if equal(v, &wanted)? {
                        return Ok(Value::Int(i as i128));
                    }
                }
                fail("the value is not in it")
            }
        },
        Value::Int(_) | Value::Bool(_) => {
            let n = value.int().unwrap_or_default();
            args.none()?;
            match name {
                "bit_length" => Ok(Value::Int((128 - n.unsigned_abs().leading_zeros()).into())),
                "bit_count" => Ok(Value::Int(n.unsigned_abs().count_ones().into())),
                "conjugate" => Ok(Value::Int(n)),
                _ => fail("is not supported"),
            }
        }
        Value::Float(f) => {
            args.none()?;
            match name {
                "is_integer" => Ok(Value::Bool(f.fract() == 0.0)),
                "conjugate" => Ok(value.clone()),
                _ => fail("is not supported"),
            }
        }
        Value::Loop(l) => match name {
            "cycle" => {
                args.kw.is_empty().then_some(()).ok_or_else(|| super::fault::Fault::new("takes no keyword arguments"))?;
                match args.pos.len() {
                    0 => fail("no items for cycling given"),
                    n => Ok(args.pos[l.at.get() % n].clone()),
                }
            }
            _ => {
                let same = match &*l.changed.borrow() {
                    Some(last) if last.len() == args.pos.len() => {
                        let mut same = true;
                        for (a, b) in last.iter().zip(&args.pos) {
                            same = same && equal(a, b)?;
                        }
                        same
                    }
                    _ => false,
                };
                if !same {
                    // Its nesting is checked, and what was there is dropped behind the borrow.
                    Value::list(args.pos.clone())?;
                    let _before = l.changed.replace(Some(args.pos));
                }
                Ok(Value::Bool(!same))
            }
        },
        Value::Cycler(c) => {
            args.none()?;
            let at = c.at.get();
            if name == "reset" {
                c.at.set(0);
                return Ok(Value::None);
            }
            c.at.set((at + 1) % c.items.list.len());
            Ok(c.items.list[at].clone())
        }
        _ => fail("is not supported"),
    }
}

/// `dict.fromkeys`.
fn from_keys(args: Args) -> Res<Value> {
    let args = args.bind(&["", ""])?;
    let value = args.get(1).cloned().unwrap_or(Value::None);
    let mut entries = Vec::new();
    for key in iterate(&args.need(0)?)? {
        put(&mut entries, key, value.clone())?;
    }
    Value::dict(entries)
}
