//! Python's arithmetic, indices and slices.
use super::compare::{float, length};
use super::fault::{Res, fail};
use super::format::{escaped, percent};
use super::meter;
use super::print::{float_into, marked};
use super::value::{Value, range_at};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Math {
    Add,
    Sub,
    Mul,
    Div,
    Floor,
    Mod,
    Pow,
}

const TOO_LARGE: &str = "the number is too large";

fn checked(n: Option<i128>) -> Res<Value> {
    n.map(Value::Int).map_or_else(|| fail(TOO_LARGE), Ok)
}

/// `-value` and `+value`.
pub(super) fn sign(value: &Value, negative: bool) -> Res<Value> {
    match value {
        Value::Float(f) => Ok(Value::Float(if negative { -f } else { *f })),
        Value::Undefined(m) => Value::undefined(m),
        _ => match value.int() {
            Some(n) => checked(if negative { n.checked_neg() } else { Some(n) }),
            None => fail(format!("bad operand type for unary {}: '{}'", if negative { '-' } else { '+' }, value.kind())),
        },
    }
}

/// One operation of arithmetic.
#[inline(never)]
pub(super) fn math(op: Math, a: &Value, b: &Value) -> Res<Value> {
    if let Value::Undefined(m) = a {
        return Value::undefined(m);
    }
    if let (Math::Mod, Value::Str(format)) = (op, a) {
        return percent(format, b);
    }
    if let Value::Undefined(m) = b {
        return Value::undefined(m);
    }
    if let (Some(x), Some(y)) = (a.int(), b.int()) {
        return integers(op, x, y);
    }
    if let (Some(x), Some(y)) = (float(a), float(b)) {
        return floats(op, x, y);
    }
    match (op, a, b) {
        (Math::Add, Value::Str(x), Value::Str(y)) => joined(x, y),
        (Math::Add, Value::Safe(_), Value::Str(_) | Value::Safe(_)) | (Math::Add, Value::Str(_), Value::Safe(_)) => {
            let (x, y) = (escaped(a)?, escaped(b)?);
            let (Some(x), Some(y)) = (x.str(), y.str()) else { return fail("expected texts") };
            Ok(marked(joined(x, y)?))
        }
        (Math::Add, Value::List(x), Value::List(y)) => {
            meter::space((x.list.len() + y.list.len()) * size_of::<Value>())?;
            Value::list(x.list.iter().chain(&y.list).cloned().collect())
        }
        (Math::Add, Value::Tuple(x), Value::Tuple(y)) => {
            meter::space((x.list.len() + y.list.len()) * size_of::<Value>())?;
            Value::tuple(x.list.iter().chain(&y.list).cloned().collect())
        }
        (Math::Mul, _, _) if b.int().is_some() => repeated(a, b.int().unwrap_or_default()),
        (Math::Mul, _, _) if a.int().is_some() => repeated(b, a.int().unwrap_or_default()),
        _ => unsupported(op, a, b),
    }
}

fn unsupported(op: Math, a: &Value, b: &Value) -> Res<Value> {
    let sign = match op {
        Math::Add => "+",
        Math::Sub => "-",
        Math::Mul => "*",
        Math::Div => "/",
        Math::Floor => "//",
        Math::Mod => "%",
        Math::Pow => "**",
    };
    fail(format!("unsupported operand types for {sign}: '{}' and '{}'", a.kind(), b.kind()))
}

fn joined(x: &str, y: &str) -> Res<Value> {
    meter::room(x.len() + y.len())?;
    Value::text([x, y].concat())
}

/// A sequence several times.
fn repeated(value: &Value, times: i128) -> Res<Value> {
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    match value {
        Value::Str(s) | Value::Safe(s) => {
            meter::room(s.len().saturating_mul(times))?;
            let out = Value::text(s.repeat(times))?;
            Ok(if matches!(value, Value::Safe(_)) { marked(out) } else { out })
        }
        Value::List(items) | Value::Tuple(items) => {
            let n = items.list.len().saturating_mul(times);
            meter::work(n)?;
            meter::space(n.saturating_mul(size_of::<Value>()))?;
            let list = items.list.iter().cycle().take(n).cloned().collect();
            if matches!(value, Value::List(_)) { Value::list(list) } else { Value::tuple(list) }
        }
        _ => unsupported(Math::Mul, value, &Value::Int(0)),
    }
}

/// Python's quotient, rounded down, and the remainder of the divisor's sign.
fn floor_div(x: i128, y: i128) -> Option<(i128, i128)> {
    let (q, r) = (x.checked_div(y)?, x.checked_rem(y)?);
    Some(if r != 0 && (r < 0) != (y < 0) { (q - 1, r + y) } else { (q, r) })
}

fn integers(op: Math, x: i128, y: i128) -> Res<Value> {
    if y == 0 && matches!(op, Math::Div | Math::Floor | Math::Mod) || x == 0 && y < 0 && op == Math::Pow {
        return fail("division by zero");
    }
    match op {
        Math::Add => checked(x.checked_add(y)),
        Math::Sub => checked(x.checked_sub(y)),
        Math::Mul => checked(x.checked_mul(y)),
        Math::Floor => checked(floor_div(x, y).map(|r| r.0)),
        Math::Mod => checked(floor_div(x, y).map(|r| r.1)),
        // Above 2^53 a quotient of floats is not the rounded quotient of integers.
        Math::Div if x.unsigned_abs().max(y.unsigned_abs()) > 1 << 53 => fail(TOO_LARGE),
        Math::Div => Ok(Value::Float(x as f64 / y as f64)),
        Math::Pow if y >= 0 => match (x, y) {
            (0 | 1, _) => Ok(Value::Int(if y == 0 { 1 } else { x })),
            (-1, _) => Ok(Value::Int(if y % 2 == 0 { 1 } else { -1 })),
            _ => checked(u32::try_from(y).ok().and_then(|y| x.checked_pow(y))),
        },
        Math::Pow => floats(op, x as f64, y as f64),
    }
}

fn floats(op: Math, x: f64, y: f64) -> Res<Value> {
    if y == 0.0 && matches!(op, Math::Div | Math::Floor | Math::Mod) {
        return fail("division by zero");
    }
    // As CPython computes them, signs of zeros included.
    let divmod = || {
        let mut rest = x % y;
        let mut div = (x - rest) / y;
        if rest == 0.0 {
            rest = 0f64.copysign(y);
        } else if (y < 0.0) != (rest < 0.0) {
            rest += y;
            div -= 1.0;
        }
        let floor = if div == 0.0 {
            0f64.copysign(x / y)
        } else {
            let f = div.floor();
            if div - f > 0.5 { f + 1.0 } else { f }
        };
        (floor, rest)
    };
    let out = match op {
        Math::Add => x + y,
        Math::Sub => x - y,
        Math::Mul => x * y,
        Math::Div => x / y,
        Math::Floor => divmod().0,
        Math::Mod => divmod().1,
        Math::Pow if x < 0.0 && y.is_finite() && y.fract() != 0.0 => return fail("complex numbers are not supported"),
        Math::Pow => x.powf(y),
    };
    if out.is_infinite() && x.is_finite() && y.is_finite() && op == Math::Pow {
        let mut shown = String::new();
        float_into(x, &mut shown);
        return fail(format!("a power of {shown} is too large"));
    }
    Ok(Value::Float(out))
}

/// The part of a sequence that a slice names.
pub(super) fn sliced(value: &Value, [start, stop, step]: [Option<i128>; 3]) -> Res<Value> {
    // No sequence is longer.
    let step = step.unwrap_or(1).clamp(-(1 << 62), 1 << 62);
    if step == 0 {
        return fail("slice step cannot be zero");
    }
    let Some(n) = length(value) else { return fail(format!("'{}' object cannot be sliced", value.kind())) };
    meter::work(n / 8)?;
    let n = n as i128;
    let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let place = |at: Option<i128>, default: i128| match at {
        Some(i) if i < 0 => (i.saturating_add(n)).clamp(low, high),
        Some(i) => i.clamp(low, high),
        None => default,
    };
    let (start, stop) = if step > 0 { (place(start, low), place(stop, high)) } else { (place(start, high), place(stop, low)) };
    let count = if step > 0 { (stop - start + step - 1).div_euclid(step) } else { (start - stop - step - 1).div_euclid(-step) }.max(0);
    let indices = (0..count).map(|i| (start + i * step) as usize);
    match value {
        Value::Str(s) | Value::Safe(s) => {
            meter::room(s.len())?;
            let out: String = if step == 1 {
                s.chars().skip(start as usize).take(count as usize).collect()
            } else {
                let chars: Vec<char> = s.chars().collect();
                indices.map(|i| chars[i]).collect()
            };
            let out = Value::text(out)?;
            Ok(if matches!(value, Value::Safe(_)) { marked(out) } else { out })
        }
        Value::List(items) => Value::list(indices.map(|i| items.list[i].clone()).collect()),
        Value::Tuple(items) => Value::tuple(indices.map(|i| items.list[i].clone()).collect()),
        Value::Range(a, _, s) => {
            let at = |i: i128| i64::try_from(i128::from(*a) + i128::from(*s) * i);
            let by = i64::try_from(i128::from(*s) * step);
            match (at(start), at(stop), by) {
                (Ok(a), Ok(b), Ok(s)) => Ok(Value::Range(a, b, s)),
                _ => fail(TOO_LARGE),
            }
        }
        _ => fail(format!("'{}' object cannot be sliced", value.kind())),
    }
}

/// `value[index]` of a sequence; none behind its end.
pub(super) fn indexed(value: &Value, index: i128) -> Res<Option<Value>> {
    let Some(n) = length(value) else { return Ok(None) };
    let at = if index < 0 { index.saturating_add(n as i128) } else { index };
    let Some(at) = usize::try_from(at).ok().filter(|i| *i < n) else { return Ok(None) };
    Ok(match value {
        Value::Str(s) | Value::Safe(s) => {
            meter::bytes(s.len())?;
            let c = Value::text(s.chars().nth(at).unwrap_or_default().to_string())?;
            Some(if matches!(value, Value::Safe(_)) { marked(c) } else { c })
        }
        Value::List(items) | Value::Tuple(items) => Some(items.list[at].clone()),
        Value::Range(a, _, s) => Some(range_at(*a, *s, at)),
        _ => None,
    })
}
