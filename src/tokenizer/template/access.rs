//! Attributes and items as the sandbox shows them: Python's attribute first for `a.b`, the item first for `a['b']`.
use super::compare::get;
use super::fault::{Res, fail};
use super::ops::indexed;
use super::value::{Global, Loop, Str, Value};

const STR: &str = " capitalize casefold center count encode endswith expandtabs find format format_map index isalnum isalpha isascii isdecimal \
    isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip maketrans partition removeprefix \
    removesuffix replace rfind rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title translate upper zfill ";
const MARKUP: &str = " escape striptags unescape ";
const LIST: &str = " copy count index ";
/// The sandbox shows no method that changes a value.
const LIST_CHANGES: &str = " append clear extend insert pop remove reverse sort ";
const TUPLE: &str = " count index ";
const DICT: &str = " copy fromkeys get items keys values ";
const DICT_CHANGES: &str = " clear pop popitem setdefault update ";
const INT: &str = " as_integer_ratio bit_count bit_length conjugate from_bytes to_bytes ";
const FLOAT: &str = " as_integer_ratio conjugate fromhex hex is_integer ";
const VIEW: &str = " isdisjoint mapping ";
const GENERATOR: &str = " close gi_frame gi_code gi_running gi_suspended gi_yieldfrom send throw ";
const MACRO: &str = " arguments caller catch_kwargs catch_varargs explicit_caller name ";

fn has(names: &str, name: &str) -> bool {
    !name.contains(' ') && names.contains(&format!(" {name} "))
}

const UNSAFE: &str = "access to the attribute is unsafe";

/// An attribute of the Python object; none if there is no such.
pub(super) fn python_attribute(value: &Value, name: &Str) -> Res<Option<Value>> {
    let n: &str = name;
    if let Value::Undefined(m) = value {
        return Value::undefined(m);
    }
    if n.starts_with("__") {
        if let Value::Dict(d) = value
            && get(d, &Value::Str(name.clone()))?.is_some()
        {
            return fail(format!("the key {n} is not supported"));
        }
        return Ok(Some(Value::lacking(UNSAFE)));
    }
    let (known, unsafe_ones) = match value {
        Value::Str(_) => (STR, ""),
        Value::Safe(_) if has(MARKUP, n) => (MARKUP, ""),
        Value::Safe(_) => (STR, ""),
        Value::List(_) => (LIST, LIST_CHANGES),
        Value::Tuple(items) if items.group && (n == "grouper" || n == "list") => {
            return Ok(items.list.get(usize::from(n == "list")).cloned());
        }
        Value::Tuple(_) => (TUPLE, ""),
        Value::Dict(_) => (DICT, DICT_CHANGES),
        Value::Int(_) | Value::Bool(_) => match n {
            "real" | "numerator" => return Ok(value.int().map(Value::Int)),
            "imag" => return Ok(Some(Value::Int(0))),
            "denominator" => return Ok(Some(Value::Int(1))),
            _ => (INT, ""),
        },
        Value::Float(_) => match n {
            "real" => return Ok(Some(value.clone())),
            "imag" => return Ok(Some(Value::Float(0.0))),
            _ => (FLOAT, ""),
        },
        Value::View(..) => (VIEW, ""),
        Value::Range(a, b, s) => match n {
            "start" => return Ok(Some(Value::Int((*a).into()))),
            "stop" => return Ok(Some(Value::Int((*b).into()))),
            "step" => return Ok(Some(Value::Int((*s).into()))),
            _ => (TUPLE, ""),
        },
        Value::Once(_) if has(GENERATOR, n) => return fail("attributes of generators are not supported"),
        Value::Macro(..) if has(MACRO, n) => return fail("attributes of macros are not supported"),
        Value::Namespace(ns) => return Ok(ns.fields.borrow().iter().find(|(k, _)| ***k == *n).map(|e| e.1.clone())),
        Value::Loop(l) => return loop_attribute(l, name),
        Value::Cycler(c) => match n {
            "current" => return Ok(c.items.list.get(c.at.get()).cloned()),
            "items" | "pos" => return fail("attributes of cyclers are not supported"),
            _ => (" next reset ", ""),
        },
        Value::Joiner(_) if has(" sep used ", n) => return fail("attributes of joiners are not supported"),
        Value::Global(Global::Dict) => (" fromkeys ", ""),
        _ => ("", ""),
    };
    if has(unsafe_ones, n) {
        return Ok(Some(Value::lacking(UNSAFE)));
    }
    Ok(if has(known, n) { Some(Value::method(value.clone(), name)?) } else { None })
}

fn loop_attribute(l: &std::rc::Rc<Loop>, name: &Str) -> Res<Option<Value>> {
    let (at, n) = (l.at.get(), l.items.list.len());
    let int = |i: usize| Value::Int(i as i128);
    Ok(Some(match &***name {
        "index" => int(at + 1),
        "index0" => int(at),
        "revindex" => int(n - at),
        "revindex0" => int(n - at - 1),
        "first" => Value::Bool(at == 0),
        "last" => Value::Bool(at + 1 == n),
        "length" => int(n),
        "depth" => int(l.depth0 as usize + 1),
        "depth0" => int(l.depth0 as usize),
        "previtem" if at == 0 => Value::lacking("there is no previous item"),
        "previtem" => l.items.list[at - 1].clone(),
        "nextitem" => l.items.list.get(at + 1).cloned().unwrap_or(Value::lacking("there is no next item")),
        "cycle" | "changed" => Value::method(Value::Loop(l.clone()), name)?,
        _ => return Ok(None),
    }))
}

/// `value.name`.
pub(super) fn attribute(value: &Value, name: &Str) -> Res<Value> {
    if let Some(found) = python_attribute(value, name)? {
        return Ok(found);
    }
    if let Value::Dict(d) = value
        && let Some(found) = get(d, &Value::Str(name.clone()))?
    {
        return Ok(found.clone());
    }
    Ok(Value::missing(name, value.kind()))
}

/// `value[key]`.
pub(super) fn item(value: &Value, key: &Value) -> Res<Value> {
    let found = match (value, key) {
        (Value::Undefined(m), _) => return Value::undefined(m),
        (Value::Dict(_), Value::List(_) | Value::Dict(_)) => None,
        (Value::Dict(d), _) => get(d, key)?.cloned(),
        _ => match key.int() {
            Some(i) => indexed(value, i)?,
            None => None,
        },
    };
    if let Some(found) = found {
        return Ok(found);
    }
    if let Some(name) = key.str() {
        return Ok(python_attribute(value, name)?.unwrap_or_else(|| Value::missing(name, value.kind())));
    }
    Ok(Value::lacking("there is no such item"))
}
