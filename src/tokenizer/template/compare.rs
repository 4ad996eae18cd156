//! Truth, length, equality and order as Python has them.
use std::cmp::Ordering;
use std::rc::Rc;

use super::fault::{Res, fail};
use super::meter;
use super::print::iterate;
use super::value::{Dict, Value, View, range_len};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cmp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}

/// `bool(value)`.
#[inline(never)]
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Undefined(_) | Value::None => false,
        Value::Bool(b) => *b,
        Value::Int(n) => *n != 0,
        Value::Float(f) => *f != 0.0,
        _ => length(value).is_none_or(|n| n > 0),
    }
}

/// `len(value)`, where it has one.
#[inline(never)]
pub(super) fn length(value: &Value) -> Option<usize> {
    Some(match value {
        Value::Undefined(_) => 0,
        Value::Str(s) | Value::Safe(s) => s.chars().count(),
        Value::List(i) | Value::Tuple(i) => i.list.len(),
        Value::Dict(d) | Value::View(_, d) => d.entries.len(),
        Value::Range(a, b, s) => range_len(*a, *b, *s),
        Value::Loop(l) => l.items.list.len(),
        _ => return None,
    })
}

/// Numbers of any kind as floats.
#[inline(never)]
pub(super) fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(f) => Some(*f),
        other => other.int().map(|n| n as f64),
    }
}

/// An integer and a float without rounding the integer.
fn mixed(n: i128, f: f64) -> Option<Ordering> {
    if f.is_nan() {
        return None;
    }
    let whole = f.floor();
    if whole >= 1.7e38 {
        return Some(Ordering::Less);
    }
    if whole < -1.7e38 {
        return Some(Ordering::Greater);
    }
    Some(n.cmp(&(whole as i128)).then(if f > whole { Ordering::Less } else { Ordering::Equal }))
}

/// Compares numbers; none where one is no number (the outer) or not a number (the inner).
fn numbers(a: &Value, b: &Value) -> Option<Option<Ordering>> {
    Some(match (a, b) {
        (Value::Float(x), Value::Float(y)) => x.partial_cmp(y),
        (Value::Float(x), _) => mixed(b.int()?, *x).map(Ordering::reverse),
        (_, Value::Float(y)) => mixed(a.int()?, *y),
        _ => Some(a.int()?.cmp(&b.int()?)),
    })
}

/// `a == b`.
#[inline(never)]
pub(super) fn equal(a: &Value, b: &Value) -> Res<bool> {
    meter::work(1)?;
    let _level = meter::deeper()?;
    if let Some(order) = numbers(a, b) {
        return Ok(order == Some(Ordering::Equal));
    }
    if let (Some(x), Some(y)) = (a.str(), b.str()) {
        meter::bytes(if x.len() == y.len() { x.len() } else { 0 })?;
        return Ok(***x == ***y);
    }
    Ok(match (a, b) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::List(x), Value::List(y)) | (Value::Tuple(x), Value::Tuple(y)) => {
            if Rc::ptr_eq(x, y) {
                return Ok(true);
            }
            if x.list.len() != y.list.len() {
                return Ok(false);
            }
            for (v, w) in x.list.iter().zip(&y.list) {
                if !equal(v, w)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Dict(x), Value::Dict(y)) => {
            if Rc::ptr_eq(x, y) {
                return Ok(true);
            }
            if x.entries.len() != y.entries.len() {
                return Ok(false);
            }
            for (k, v) in &x.entries {
                match get(y, k)? {
                    Some(w) if equal(v, w)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Range(a, b, s), Value::Range(c, d, t)) => {
            let n = range_len(*a, *b, *s);
            n == range_len(*c, *d, *t) && (n == 0 || a == c && (n == 1 || s == t))
        }
        (Value::View(..), Value::View(..)) => return fail("comparing dict views is not supported"),
        (Value::Namespace(x), Value::Namespace(y)) => Rc::ptr_eq(x, y),
        (Value::Loop(x), Value::Loop(y)) => Rc::ptr_eq(x, y),
        (Value::Once(x), Value::Once(y)) => Rc::ptr_eq(x, y),
        (Value::Joiner(x), Value::Joiner(y)) => Rc::ptr_eq(x, y),
        (Value::Cycler(x), Value::Cycler(y)) => Rc::ptr_eq(x, y),
        (Value::Global(x), Value::Global(y)) => x == y,
        (Value::Macro(x, s), Value::Macro(y, t)) => (x, s) == (y, t),
        (Value::Method(x), Value::Method(y)) => **x.1 == **y.1 && equal(&x.0, &y.0)?,
        _ => false,
    })
}

/// The value of a key.
pub(super) fn get<'a>(dict: &'a Dict, key: &Value) -> Res<Option<&'a Value>> {
    meter::work(dict.entries.len() / 8)?;
    if let Some(wanted) = key.str() {
        return Ok(dict.entries.iter().find(|(k, _)| k.str().is_some_and(|k| ***k == ***wanted)).map(|e| &e.1));
    }
    if matches!(key, Value::List(_) | Value::Dict(_)) {
        return fail(format!("unhashable type: '{}'", key.kind()));
    }
    for (k, v) in &dict.entries {
        if equal(k, key)? {
            return Ok(Some(v));
        }
    }
    Ok(None)
}

/// Puts a key into entries, or another value where it is there.
#[inline(never)]
pub(super) fn put(entries: &mut Vec<(Value, Value)>, key: Value, value: Value) -> Res<()> {
    meter::work(entries.len() / 4)?;
    if matches!(key, Value::List(_) | Value::Dict(_)) {
        return fail(format!("unhashable type: '{}'", key.kind()));
    }
    for (k, v) in entries.iter_mut() {
        let same = match (k.str(), key.str()) {
            (Some(a), Some(b)) => ***a == ***b,
            (None, None) => equal(k, &key)?,
            _ => false,
        };
        if same {
            *v = value;
            return Ok(());
        }
    }
    entries.push((key, value));
    Ok(())
}

/// `a < b` and its kin; an error where Python has no order.
#[inline(never)]
pub(super) fn order(a: &Value, b: &Value, sign: &str) -> Res<Option<Ordering>> {
    meter::work(1)?;
    let _level = meter::deeper()?;
    if let Some(order) = numbers(a, b) {
        return Ok(order);
    }
    if let (Some(x), Some(y)) = (a.str(), b.str()) {
        meter::bytes(x.len().min(y.len()))?;
        // UTF-8 sorts as code points do.
        return Ok(Some((***x).cmp(&***y)));
    }
    match (a, b) {
        (Value::Undefined(m), _) | (_, Value::Undefined(m)) => Value::undefined(m),
        (Value::List(x), Value::List(y)) | (Value::Tuple(x), Value::Tuple(y)) => {
            for (v, w) in x.list.iter().zip(&y.list) {
                if !equal(v, w)? {
                    return order(v, w, sign);
                }
            }
            Ok(Some(x.list.len().cmp(&y.list.len())))
        }
        _ => fail(format!("'{sign}' not supported between instances of '{}' and '{}'", a.kind(), b.kind())),
    }
}

/// `item in container`.
pub(super) fn contains(container: &Value, item: &Value) -> Res<bool> {
    Ok(match container {
        Value::Undefined(_) => false,
        Value::Str(s) | Value::Safe(s) => match item.str() {
            Some(part) => {
                meter::bytes(s.len())?;
                s.contains(&***part)
            }
            None => return fail(format!("'in <string>' requires string as left operand, not {}", item.kind())),
        },
        Value::List(items) | Value::Tuple(items) => {
            for v in &items.list {
                if equal(v, item)? {
                    return Ok(true);
                }
            }
            false
        }
        Value::Dict(d) | Value::View(View::Keys, d) => get(d, item)?.is_some(),
        Value::Range(a, b, s) if matches!(item, Value::Int(_) | Value::Bool(_)) => {
            let n = item.int().unwrap_or_default() - i128::from(*a);
            let step = i128::from(*s);
            n % step == 0 && (0..range_len(*a, *b, *s) as i128).contains(&(n / step))
        }
        Value::View(..) | Value::Range(..) | Value::Once(_) => {
            for v in iterate(container)? {
                if equal(&v, item)? {
                    return Ok(true);
                }
            }
            false
        }
        _ => return fail(format!("argument of type '{}' is not iterable", container.kind())),
    })
}

/// One comparison.
pub(super) fn compare(op: Cmp, a: &Value, b: &Value) -> Res<bool> {
    let by = |sign: &str, holds: fn(Ordering) -> bool| Ok(order(a, b, sign)?.is_some_and(holds));
    match op {
        Cmp::Eq => equal(a, b),
        Cmp::Ne => Ok(!equal(a, b)?),
        Cmp::Lt => by("<", Ordering::is_lt),
        Cmp::Le => by("<=", Ordering::is_le),
        Cmp::Gt => by(">", Ordering::is_gt),
        Cmp::Ge => by(">=", Ordering::is_ge),
        Cmp::In => contains(b, a),
        Cmp::NotIn => Ok(!contains(b, a)?),
    }
}
