//! Jinja's filters and tests by name.
use super::access::python_attribute;
use super::args::Args;
use super::compare::{Cmp, compare, contains, length, truth};
use super::fault::{Fault, Res, fail};
use super::json::tojson;
use super::lists::{self, Getter, any};
use super::meter;
use super::ops::{Math, math};
use super::print::string;
use super::strings::{is_lower, is_upper};
use super::texts;
use super::value::Value;

/// Jinja's own, with Transformers' `tojson`.
const FILTERS: &str = " abs attr batch capitalize center count d default dictsort e escape filesizeformat first float forceescape format groupby \
    indent int items join last length list lower map max min pprint random reject rejectattr replace reverse round safe select selectattr slice \
    sort string striptags sum title tojson trim truncate unique upper urlencode urlize wordcount wordwrap xmlattr ";
const TESTS: &str = " != < <= == > >= boolean callable defined divisibleby eq equalto escaped even false filter float ge gt greaterthan in \
    integer iterable le lessthan lower lt mapping ne none number odd sameas sequence string test true undefined upper ";

pub(super) fn is_filter(name: &str) -> bool {
    !name.contains(' ') && FILTERS.contains(&format!(" {name} "))
}

pub(super) fn is_test(name: &str) -> bool {
    !name.contains(' ') && TESTS.contains(&format!(" {name} "))
}

/// Applies a filter.
pub(super) fn filter(name: &str, value: &Value, args: Args) -> Res<Value> {
    let _level = meter::deeper()?;
    meter::work(1)?;
    apply(name, value, args).map_err(|e| e.within(format_args!("the filter {name}")))
}

fn apply(name: &str, value: &Value, args: Args) -> Res<Value> {
    match name {
        "tojson" => return tojson(value, args),
        "map" => return map(value, args),
        "select" | "reject" => return select(value, args, name == "select", false),
        "selectattr" | "rejectattr" => return select(value, args, name == "selectattr", true),
        "attr" => {
            let name = args.bind(&["name"])?.text(0)?;
            if let Value::Undefined(_) = value {
                return fail("an attribute of what is undefined is not supported");
            }
            return Ok(python_attribute(value, &name)?.unwrap_or_else(|| Value::missing(&name, value.kind())));
        }
        _ => {}
    }
    if ["random", "urlize"].contains(&name) {
        return fail("is not supported");
    }
    // Arguments are moved to whichever knows the name.
    if let Some(done) = if is_of_lists(name) { lists::filter(name, value, args) } else { texts::filter(name, value, args) } {
        return done;
    }
    fail(format!("No filter named '{name}'"))
}

fn is_of_lists(name: &str) -> bool {
    const NAMES: &str = " batch dictsort first groupby items join last list max min pprint reverse slice sort sum unique ";
    NAMES.contains(&format!(" {name} "))
}

/// Items one after the other until one fails: Python's generators raise when they get there.
fn lazily(list: Vec<Value>, mut each: impl FnMut(Value) -> Res<Option<Value>>) -> Res<Value> {
    let mut out = Vec::new();
    for v in list {
        match each(v) {
            Ok(v) => out.extend(v),
            Err(e) => return Value::once_until(out, Some(e)),
        }
    }
    Value::once(out)
}

fn name_of(value: &Value) -> Res<String> {
    value.str().map(|s| s.to_string()).ok_or_else(|| Fault::new("expected a name"))
}

fn map(value: &Value, mut args: Args) -> Res<Value> {
    let list = any(value)?;
    if args.pos.is_empty() && args.kw.iter().any(|(k, _)| &***k == "attribute") {
        let args = args.bind(&["attribute", "default"])?;
        let getter = Getter::new(args.some(0), args.some(1).cloned())?;
        return lazily(list, |v| getter.get(&v).map(Some));
    }
    if list.is_empty() {
        return Value::once(list);
    }
    if args.pos.is_empty() {
        return fail("map requires a filter argument");
    }
    let name = name_of(&args.pos.remove(0))?;
    lazily(list, |v| filter(&name, &v, Args { pos: args.pos.clone(), kw: args.kw.clone() }).map(Some))
}

fn select(value: &Value, mut args: Args, wanted: bool, of_attribute: bool) -> Res<Value> {
    let list = any(value)?;
    if list.is_empty() {
        return Value::once(list);
    }
    let getter = if of_attribute {
        if args.pos.is_empty() {
            return fail("Missing parameter for attribute name");
        }
        Getter::new(Some(&args.pos.remove(0)), None)?
    } else {
        Getter::new(None, None)?
    };
    let name = if args.pos.is_empty() { None } else { Some(name_of(&args.pos.remove(0))?) };
    lazily(list, |v| {
        let seen = getter.get(&v)?;
        let holds = match &name {
            Some(name) => test(name, &seen, Args { pos: args.pos.clone(), kw: args.kw.clone() })?,
            None => truth(&seen),
        };
        Ok((holds == wanted).then_some(v))
    })
}

/// Is the value what a test says?
pub(super) fn test(name: &str, value: &Value, args: Args) -> Res<bool> {
    meter::work(1)?;
    examine(name, value, args).map_err(|e| e.within(format_args!("the test {name}")))
}

fn examine(name: &str, value: &Value, args: Args) -> Res<bool> {
    let cmp = match name {
        "==" | "eq" | "equalto" => Some(Cmp::Eq),
        "!=" | "ne" => Some(Cmp::Ne),
        "<" | "lt" | "lessthan" => Some(Cmp::Lt),
        "<=" | "le" => Some(Cmp::Le),
        ">" | "gt" | "greaterthan" => Some(Cmp::Gt),
        ">=" | "ge" => Some(Cmp::Ge),
        _ => None,
    };
    if let Some(op) = cmp {
        return compare(op, value, &args.one()?);
    }
    let rest = |by: &Value| math(Math::Mod, value, by);
    match name {
        "divisibleby" => return super::compare::equal(&rest(&args.bind(&["num"])?.need(0)?)?, &Value::Int(0)),
        "in" => return contains(&args.bind(&["seq"])?.need(0)?, value),
        "sameas" => return same(value, &args.bind(&["other"])?.need(0)?),
        _ => args.none()?,
    }
    let text = |value: &Value| -> Res<_> { Ok(string(value)?.str().cloned()) };
    Ok(match name {
        "odd" => super::compare::equal(&rest(&Value::Int(2))?, &Value::Int(1))?,
        "even" => super::compare::equal(&rest(&Value::Int(2))?, &Value::Int(0))?,
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "filter" => value.str().is_some_and(|s| is_filter(s)),
        "test" => value.str().is_some_and(|s| is_test(s)),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "false" => matches!(value, Value::Bool(false)),
        "true" => matches!(value, Value::Bool(true)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_)),
        "lower" => text(value)?.is_some_and(|s| is_lower(&s)),
        "upper" => text(value)?.is_some_and(|s| is_upper(&s)),
        "string" => value.str().is_some(),
        "mapping" => matches!(value, Value::Dict(_)),
        "sequence" => !matches!(value, Value::View(..) | Value::Loop(_)) && length(value).is_some(),
        "iterable" => matches!(value, Value::Once(_)) || length(value).is_some(),
        "escaped" => matches!(value, Value::Safe(_)),
        "callable" => matches!(
            value,
            Value::Undefined(_) | Value::Loop(_) | Value::Joiner(_) | Value::Global(_) | Value::Macro(..) | Value::Method(_)
        ),
        _ => return fail(format!("No test named '{name}'")),
    })
}

/// `value is other`. Which equal texts and numbers are one object is CPython's secret.
fn same(a: &Value, b: &Value) -> Res<bool> {
    use std::rc::Rc;
    Ok(match (a, b) {
        (Value::None, Value::None) => true,
        (Value::Bool(x), Value::Bool(y)) => x == y,
        (Value::Int(x), Value::Int(y)) if x == y && !(-5..=256).contains(x) => return fail("of equal numbers is not supported"),
        (Value::Int(x), Value::Int(y)) => x == y,
        (Value::List(x), Value::List(y)) => Rc::ptr_eq(x, y),
        (Value::Dict(x), Value::Dict(y)) => Rc::ptr_eq(x, y),
        (Value::Namespace(x), Value::Namespace(y)) => Rc::ptr_eq(x, y),
        (Value::Undefined(_), Value::Undefined(_)) => return fail("of two undefined values is not supported"),
        _ if std::mem::discriminant(a) == std::mem::discriminant(b) && super::compare::equal(a, b)? => {
            return fail(format!("of equal values of type {} is not supported", a.kind()));
        }
        _ => false,
    })
}
