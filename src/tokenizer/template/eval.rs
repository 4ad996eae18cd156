//! Evaluates expressions.
use super::access::{attribute, item};
use super::args::Args;
use super::ast::{Apply, ArgList, Expr};
use super::compare::{compare, put, truth};
use super::fault::{Res, fail};
use super::filters::{filter, test};
use super::globals;
use super::meter;
use super::methods;
use super::ops::{math, sign, sliced};
use super::print::{iterate, str_into};
use super::run::{Evaluate, Run};
use super::value::{Str, Value};

/// The evaluator.
pub(super) struct Expressions;

impl<'t> Evaluate<'t> for Expressions {
    fn eval(run: &mut Run<'t>, e: &'t Expr) -> Res<Value> {
        eval(run, e)
    }

    fn call_with(run: &mut Run<'t>, e: &'t Expr, caller: Value) -> Res<Value> {
        match e {
            Expr::Call(apply) => call(run, apply, Some(caller)),
            _ => fail("expected call"),
        }
    }
}

/// The leaves at once, all else one level deeper.
fn eval<'t>(run: &mut Run<'t>, e: &'t Expr) -> Res<Value> {
    match e {
        Expr::Const(id) => Ok(run.consts[*id as usize].clone()),
        Expr::Name(id) => run.lookup(*id),
        _ => {
            meter::work(1)?;
            let _level = meter::deeper()?;
            inner(run, e)
        }
    }
}

fn name(run: &Run, id: u32) -> Res<Str> {
    match &run.consts[id as usize] {
        Value::Str(s) => Ok(s.clone()),
        _ => fail("expected a name"),
    }
}

fn inner<'t>(run: &mut Run<'t>, e: &'t Expr) -> Res<Value> {
    match e {
        Expr::Const(_) | Expr::Name(_) => eval(run, e),
        Expr::Captured => Ok(run.captured.last().cloned().unwrap_or(Value::None)),
        Expr::Attr(of, id) => {
            let value = eval(run, of)?;
            attribute(&value, &name(run, *id)?)
        }
        Expr::Item(both) => {
            let value = eval(run, &both.0)?;
            let key = eval(run, &both.1)?;
            item(&value, &key)
        }
        Expr::Filter(apply) => {
            let value = eval(run, &apply.of)?;
            let args = arguments(run, &apply.args)?;
            filter(&apply.name, &value, args).map_err(|e| e.at(apply.line))
        }
        Expr::Test(apply) => {
            let value = eval(run, &apply.of)?;
            let args = arguments(run, &apply.args)?;
            test(&apply.name, &value, args).map(Value::Bool).map_err(|e| e.at(apply.line))
        }
        Expr::Call(apply) => call(run, apply, None),
        Expr::Not(of) => Ok(Value::Bool(!truth(&eval(run, of)?))),
        Expr::Sign(of, negative) => sign(&eval(run, of)?, *negative),
        Expr::And(all) | Expr::Or(all) => {
            let and = matches!(e, Expr::And(_));
            let mut value = Value::None;
            for e in all {
                value = eval(run, e)?;
                if truth(&value) != and {
                    break;
                }
            }
            Ok(value)
        }
        Expr::If(all) => {
            if truth(&eval(run, &all.0)?) {
                return eval(run, &all.1);
            }
            match &all.2 {
                Some(otherwise) => eval(run, otherwise),
                None => Ok(Value::lacking("the inline if-expression evaluated to false and no else section was defined.")),
            }
        }
        _ => compound(run, e),
    }
}

#[inline(never)]
fn compound<'t>(run: &mut Run<'t>, e: &'t Expr) -> Res<Value> {
    match e {
        Expr::List(all) => Value::list(values(run, all)?),
        Expr::Tuple(all) => Value::tuple(values(run, all)?),
        Expr::Dict(all) => {
            let mut entries = Vec::new();
            for (k, v) in all {
                let key = eval(run, k)?;
                let value = eval(run, v)?;
                put(&mut entries, key, value)?;
            }
            Value::dict(entries)
        }
        Expr::Math(first, all) => {
            let mut value = eval(run, first)?;
            for (op, e) in all {
                let other = eval(run, e)?;
                value = math(*op, &value, &other)?;
            }
            Ok(value)
        }
        Expr::Compare(first, all) => {
            let mut left = eval(run, first)?;
            for (op, e) in all {
                let right = eval(run, e)?;
                if !compare(*op, &left, &right)? {
                    return Ok(Value::Bool(false));
                }
                left = right;
            }
            Ok(Value::Bool(true))
        }
        Expr::Concat(all) => {
            let all = values(run, all)?;
            let mut out = String::new();
            all.iter().try_for_each(|v| str_into(v, &mut out))?;
            Value::text(out)
        }
        Expr::Slice(all) => {
            let value = eval(run, &all.0)?;
            let mut parts = [None; 3];
            for (part, e) in parts.iter_mut().zip(&all.1) {
                let Some(e) = e else { continue };
                *part = match eval(run, e)? {
                    Value::None => None,
                    v => match v.int() {
                        Some(n) => Some(n),
                        None => return fail("slice indices must be integers or None"),
                    },
                };
            }
            if let Value::Undefined(m) = &value {
                return Value::undefined(m);
            }
            sliced(&value, parts)
        }
        _ => fail("expected an expression"),
    }
}

fn values<'t>(run: &mut Run<'t>, all: &'t [Expr]) -> Res<Vec<Value>> {
    all.iter().map(|e| eval(run, e)).collect()
}

fn arguments<'t>(run: &mut Run<'t>, list: &'t ArgList) -> Res<Args> {
    let mut out = Args { pos: values(run, &list.pos)?, kw: Vec::new() };
    for (key, e) in &list.kw {
        let key = name(run, *key)?;
        out.kw.push((key, eval(run, e)?));
    }
    if let Some(e) = &list.star {
        out.pos.extend(iterate(&eval(run, e)?)?);
    }
    if let Some(e) = &list.stars {
        let Value::Dict(d) = eval(run, e)? else { return fail("argument after ** must be a mapping") };
        meter::work(d.entries.len())?;
        for (k, v) in &d.entries {
            let Value::Str(key) = k else { return fail("keywords must be strings") };
            meter::work(out.kw.len() / 8)?;
            if out.kw.iter().any(|(k, _)| ***k == ***key) {
                return fail(format!("got multiple values for keyword argument '{}'", &***key));
            }
            out.kw.push((key.clone(), v.clone()));
        }
    }
    Ok(out)
}

fn call<'t>(run: &mut Run<'t>, apply: &'t Apply, caller: Option<Value>) -> Res<Value> {
    let function = eval(run, &apply.of)?;
    let mut args = arguments(run, &apply.args)?;
    if let Some(caller) = caller {
        args.kw.push((super::value::held("caller".into()), caller));
    }
    called(run, &function, args).map_err(|e| e.at(apply.line))
}

#[inline(never)]
fn called(run: &mut Run<'_>, function: &Value, args: Args) -> Res<Value> {
    match function {
        Value::Method(m) => methods::call(&m.0, &m.1, args),
        Value::Macro(i, scope) => run.call_macro::<Expressions>(*i, *scope, args),
        Value::Global(g) => {
            let value = globals::call(*g, args)?;
            run.remember(&value);
            Ok(value)
        }
        Value::Loop(l) => run.recurse::<Expressions>(l, &args.one()?),
        Value::Joiner(j) => {
            args.none()?;
            if j.1.replace(true) { Ok(Value::Str(j.0.clone())) } else { Value::text(String::new()) }
        }
        Value::Undefined(m) => Value::undefined(m),
        other => fail(format!("'{}' object is not callable", other.kind())),
    }
}
