//! Arguments of filters, tests, functions and methods.
use super::fault::{Fault, Res, fail};
use super::value::{Str, Value};

/// What stands between the parentheses.
#[derive(Default)]
pub(super) struct Args {
    pub pos: Vec<Value>,
    pub kw: Vec<(Str, Value)>,
}

/// Arguments at the places of their parameters.
pub(super) struct Bound(Vec<Option<Value>>);

impl Args {
    /// Sorts them by the names of parameters; one without a name can be given by its place only.
    #[inline(never)]
    pub fn bind(self, params: &[&str]) -> Res<Bound> {
        if self.pos.len() > params.len() {
            return fail(format!("{} arguments are too many, at most {} are taken", self.pos.len(), params.len()));
        }
        let mut out: Vec<Option<Value>> = self.pos.into_iter().map(Some).collect();
        out.resize(params.len(), None);
        for (key, value) in self.kw {
            match params.iter().position(|p| !p.is_empty() && **p == **key) {
                Some(i) if out[i].is_none() => out[i] = Some(value),
                Some(_) => return fail(format!("got multiple values for argument '{}'", &**key)),
                None => return fail(format!("got an unexpected keyword argument '{}'", &**key)),
            }
        }
        Ok(Bound(out))
    }

    /// No arguments.
    #[inline(never)]
    pub fn none(self) -> Res<()> {
        self.bind(&[]).map(|_| ())
    }

    /// One argument.
    #[inline(never)]
    pub fn one(self) -> Res<Value> {
        self.bind(&[""])?.need(0)
    }
}

impl Bound {
    /// The argument at a place, as it is; none if it was not given.
    pub fn get(&self, i: usize) -> Option<&Value> {
        self.0[i].as_ref()
    }

    /// As [`get`](Self::get); `None` counts as not given.
    pub fn some(&self, i: usize) -> Option<&Value> {
        self.get(i).filter(|v| !matches!(v, Value::None))
    }

    #[inline(never)]
    pub fn need(&self, i: usize) -> Res<Value> {
        self.get(i).cloned().ok_or_else(|| Fault::new("an argument is missing"))
    }

    /// A text that must be there.
    #[inline(never)]
    pub fn text(&self, i: usize) -> Res<Str> {
        match self.need(i)? {
            Value::Str(s) | Value::Safe(s) => Ok(s),
            Value::Undefined(m) => Value::undefined(&m),
            other => fail(format!("expected a text, found {}", other.kind())),
        }
    }

    /// A text, if one was given.
    pub fn text_or_none(&self, i: usize) -> Res<Option<Str>> {
        self.some(i).map(|_| self.text(i)).transpose()
    }

    /// An integer, if one was given.
    #[inline(never)]
    pub fn int(&self, i: usize) -> Res<Option<i128>> {
        match self.some(i) {
            None => Ok(None),
            Some(Value::Undefined(m)) => Value::undefined(m),
            Some(v) => v.int().map(Some).ok_or_else(|| Fault::new(format!("expected an integer, found {}", v.kind()))),
        }
    }

    /// A number of things: what is negative is 0, what is huge ends at the limit of what can be made.
    #[inline(never)]
    pub fn size(&self, i: usize, default: usize) -> Res<usize> {
        Ok(self.int(i)?.map_or(default, |n| usize::try_from(n.max(0)).unwrap_or(usize::MAX)))
    }

    pub fn flag(&self, i: usize) -> bool {
        self.get(i).is_some_and(super::compare::truth)
    }
}
