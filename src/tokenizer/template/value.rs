//! What templates compute with: Python's values, as far as a sandbox lets them be seen. All of them are immutable but for namespaces, loops,
//! and the few things that are counted on (iterators, joiners, cyclers).
use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

use serde_json::Value as Json;

use super::fault::{Res, fail};
use super::meter;

/// A text that is counted while it is held.
#[derive(Debug)]
pub(super) struct Text(String);

pub(super) type Str = Rc<Text>;

impl Drop for Text {
    fn drop(&mut self) {
        meter::release(self.0.len());
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

/// Counts what is there already.
pub(super) fn held(s: String) -> Str {
    meter::hold(s.len());
    Rc::new(Text(s))
}

/// The items of a list or tuple.
#[derive(Debug)]
pub(super) struct Items {
    pub list: Vec<Value>,
    depth: u32,
    /// What `groupby` gives: `grouper` and `list` by name.
    pub group: bool,
}

impl Drop for Items {
    fn drop(&mut self) {
        meter::release(self.list.len() * size_of::<Value>());
    }
}

/// Keys in the order in which they came.
#[derive(Debug)]
pub(super) struct Dict {
    pub entries: Vec<(Value, Value)>,
    depth: u32,
}

impl Drop for Dict {
    fn drop(&mut self) {
        meter::release(self.entries.len() * 2 * size_of::<Value>());
    }
}

/// What can be gone through once.
#[derive(Debug)]
pub(super) struct Once {
    pub left: RefCell<std::vec::IntoIter<Value>>,
    /// The error that comes behind the last.
    pub end: RefCell<Option<Box<super::fault::Fault>>>,
    depth: u32,
    size: usize,
}

impl Drop for Once {
    fn drop(&mut self) {
        meter::release(self.size);
    }
}

/// A loop as its body sees it.
#[derive(Debug)]
pub(super) struct Loop {
    pub items: Rc<Items>,
    pub at: Cell<usize>,
    pub depth0: u32,
    /// Which `for` it is, and the scope around it.
    pub node: usize,
    pub scope: usize,
    pub changed: RefCell<Option<Vec<Value>>>,
}

#[derive(Debug)]
pub(super) struct Namespace {
    pub fields: RefCell<Vec<(Str, Value)>>,
}

#[derive(Debug)]
pub(super) struct Cycler {
    pub items: Rc<Items>,
    pub at: Cell<usize>,
}

/// Global functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    Range,
    Dict,
    Namespace,
    Cycler,
    Joiner,
    Lipsum,
    Raise,
    Now,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Keys,
    Values,
    Items,
}

/// Why a value is not there.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    pub name: Option<Str>,
    /// The type that lacks it, or a sentence where there is no name; empty for variables.
    pub of: &'static str,
}

#[derive(Debug)]
pub(super) enum Value {
    Undefined(Missing),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Str),
    /// `Markup`.
    Safe(Str),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    Dict(Rc<Dict>),
    View(View, Rc<Dict>),
    /// Start, stop and step.
    Range(i64, i64, i64),
    Once(Rc<Once>),
    Namespace(Rc<Namespace>),
    Loop(Rc<Loop>),
    Cycler(Rc<Cycler>),
    Joiner(Rc<(Str, Cell<bool>)>),
    Global(Global),
    /// Which macro, and the scope it was made in.
    Macro(usize, usize),
    /// A value and the name of its method.
    Method(Rc<(Value, Str)>),
}

/// By hand, so that it is compiled once: it is called everywhere.
impl Clone for Value {
    #[inline(never)]
    fn clone(&self) -> Value {
        match self {
            Value::Undefined(m) => Value::Undefined(m.clone()),
            Value::None => Value::None,
            Value::Bool(b) => Value::Bool(*b),
            Value::Int(n) => Value::Int(*n),
            Value::Float(f) => Value::Float(*f),
            Value::Str(s) => Value::Str(s.clone()),
            Value::Safe(s) => Value::Safe(s.clone()),
            Value::List(i) => Value::List(i.clone()),
            Value::Tuple(i) => Value::Tuple(i.clone()),
            Value::Dict(d) => Value::Dict(d.clone()),
            Value::View(v, d) => Value::View(*v, d.clone()),
            Value::Range(a, b, s) => Value::Range(*a, *b, *s),
            Value::Once(o) => Value::Once(o.clone()),
            Value::Namespace(n) => Value::Namespace(n.clone()),
            Value::Loop(l) => Value::Loop(l.clone()),
            Value::Cycler(c) => Value::Cycler(c.clone()),
            Value::Joiner(j) => Value::Joiner(j.clone()),
            Value::Global(g) => Value::Global(*g),
            Value::Macro(i, s) => Value::Macro(*i, *s),
            Value::Method(m) => Value::Method(m.clone()),
        }
    }
}

impl Value {
    /// A text that a template has made.
    #[inline(never)]
    pub fn text(s: String) -> Res<Value> {
        meter::space(s.len())?;
        Ok(Value::Str(held(s)))
    }

    /// As [`text`](Self::text) of a copy, which is charged first.
    #[inline(never)]
    pub fn copied(s: &str) -> Res<Value> {
        meter::room(s.len())?;
        Ok(Value::Str(held(s.to_string())))
    }

    #[inline(never)]
    fn items(list: Vec<Value>, group: bool) -> Res<Rc<Items>> {
        let size = list.len() * size_of::<Value>();
        meter::work(list.len())?;
        meter::space(size)?;
        let depth = inside(list.iter())?;
        meter::hold(size);
        Ok(Rc::new(Items { list, depth, group }))
    }

    #[inline(never)]
    pub fn list(list: Vec<Value>) -> Res<Value> {
        Ok(Value::List(Self::items(list, false)?))
    }

    #[inline(never)]
    pub fn tuple(list: Vec<Value>) -> Res<Value> {
        Ok(Value::Tuple(Self::items(list, false)?))
    }

    /// A group of `groupby`.
    pub fn group(by: Value, list: Value) -> Res<Value> {
        Ok(Value::Tuple(Self::items(vec![by, list], true)?))
    }

    pub fn cycler(list: Vec<Value>) -> Res<Value> {
        Ok(Value::Cycler(Rc::new(Cycler { items: Self::items(list, false)?, at: Cell::new(0) })))
    }

    /// Keys must be different.
    #[inline(never)]
    pub fn dict(entries: Vec<(Value, Value)>) -> Res<Value> {
        let size = entries.len() * 2 * size_of::<Value>();
        meter::work(entries.len())?;
        meter::space(size)?;
        let depth = inside(entries.iter().flat_map(|(k, v)| [k, v]))?;
        meter::hold(size);
        Ok(Value::Dict(Rc::new(Dict { entries, depth })))
    }

    pub fn once(list: Vec<Value>) -> Res<Value> {
        Self::once_until(list, None)
    }

    /// Items, and the error that follows them.
    #[inline(never)]
    pub fn once_until(list: Vec<Value>, end: Option<Box<super::fault::Fault>>) -> Res<Value> {
        let size = list.len() * size_of::<Value>();
        meter::work(list.len())?;
        meter::space(size)?;
        let depth = inside(list.iter())?;
        meter::hold(size);
        Ok(Value::Once(Rc::new(Once { left: RefCell::new(list.into_iter()), end: RefCell::new(end), depth, size })))
    }

    #[inline(never)]
    pub fn missing(name: &Str, of: &'static str) -> Value {
        Value::Undefined(Missing { name: Some(name.clone()), of })
    }

    #[inline(never)]
    pub fn lacking(what: &'static str) -> Value {
        Value::Undefined(Missing { name: None, of: what })
    }

    pub fn method(of: Value, name: &Str) -> Res<Value> {
        if of.depth() >= meter::MAX_NESTING {
            return fail("values are nested too deeply");
        }
        Ok(Value::Method(Rc::new((of, name.clone()))))
    }

    /// Levels of values inside it.
    fn depth(&self) -> u32 {
        match self {
            Value::List(i) | Value::Tuple(i) => i.depth,
            Value::Dict(d) | Value::View(_, d) => d.depth,
            Value::Once(o) => o.depth,
            Value::Loop(l) => l.items.depth + 1,
            Value::Cycler(c) => c.items.depth + 1,
            Value::Method(m) => m.0.depth() + 1,
            _ => 0,
        }
    }

    /// The text of a string, marked or not.
    pub fn str(&self) -> Option<&Str> {
        match self {
            Value::Str(s) | Value::Safe(s) => Some(s),
            _ => None,
        }
    }

    /// An integer, as which `True` and `False` count too.
    pub fn int(&self) -> Option<i128> {
        match self {
            Value::Int(n) => Some(*n),
            Value::Bool(b) => Some(i128::from(*b)),
            _ => None,
        }
    }

    /// Python's name of the type.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::Safe(_) => "Markup",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::View(View::Keys, _) => "dict_keys",
            Value::View(View::Values, _) => "dict_values",
            Value::View(View::Items, _) => "dict_items",
            Value::Range(..) => "range",
            Value::Once(_) => "generator",
            Value::Namespace(_) => "Namespace",
            Value::Loop(_) => "LoopContext",
            Value::Cycler(_) => "Cycler",
            Value::Joiner(_) => "Joiner",
            Value::Global(_) => "function",
            Value::Macro(..) => "Macro",
            Value::Method(_) => "method",
        }
    }

    /// The error of using a value that is not there.
    pub fn undefined<T>(m: &Missing) -> Res<T> {
        match (&m.name, m.of) {
            (Some(name), "") => fail(format!("'{}' is undefined", &***name)),
            (Some(name), of) => fail(format!("'{of} object' has no attribute '{}'", &***name)),
            (None, what) => fail(what),
        }
    }
}

/// Levels of a value around these.
fn inside<'a>(values: impl Iterator<Item = &'a Value>) -> Res<u32> {
    let depth = values.map(Value::depth).max().unwrap_or(0) + 1;
    if depth > meter::MAX_NESTING {
        return fail(format!("values are nested deeper than {} levels", meter::MAX_NESTING));
    }
    Ok(depth)
}

/// Length of a range.
pub(super) fn range_len(start: i64, stop: i64, step: i64) -> usize {
    let (a, b, s) = (i128::from(start), i128::from(stop), i128::from(step));
    let n = if s > 0 { (b - a + s - 1) / s } else { (a - b - s - 1) / -s };
    // A tab counts to 2³² only.
    usize::try_from(n.max(0)).unwrap_or(usize::MAX)
}

/// Number `i` of a range.
pub(super) fn range_at(start: i64, step: i64, i: usize) -> Value {
    Value::Int(i128::from(start) + i128::from(step) * i as i128)
}

/// What comes from outside is as large as it is; only its nesting is checked. `None` where it is too deep.
pub(super) fn from_json(json: &Json, levels: u32) -> Res<Value> {
    if levels == 0 {
        return fail(format!("a variable is nested deeper than {} levels", meter::MAX_NESTING / 2));
    }
    Ok(match json {
        Json::Null => Value::None,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Value::Int(i.into()),
            (_, Some(u)) => Value::Int(u.into()),
            _ => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(s) => Value::Str(held(s.clone())),
        Json::Array(a) => {
            let list = a.iter().map(|v| from_json(v, levels - 1)).collect::<Res<Vec<_>>>()?;
            meter::hold(list.len() * size_of::<Value>());
            let depth = inside(list.iter())?;
            Value::List(Rc::new(Items { list, depth, group: false }))
        }
        Json::Object(o) => {
            let entries: Vec<_> =
                o.iter().map(|(k, v)| Ok((Value::Str(held(k.clone())), from_json(v, levels - 1)?))).collect::<Res<_>>()?;
            meter::hold(entries.len() * 2 * size_of::<Value>());
            let depth = inside(entries.iter().map(|e| &e.1))?;
            Value::Dict(Rc::new(Dict { entries, depth }))
        }
    })
}
