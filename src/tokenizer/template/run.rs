//! Runs a template: statements, and macros and loops, which are called from expressions.
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::ast::{Body, Const, Expr, For, Id, Stmt, Target, Tree, What};
use super::compare::truth;
use super::fault::{Res, fail};
use super::meter;
use super::print::{iterate, str_into};
use super::value::{Items, Loop, Namespace, Value, held};

/// How a statement was left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

/// Variables of a block.
struct Scope {
    vars: Vec<(Id, Value)>,
    parent: usize,
    /// A macro may come back to it.
    captured: bool,
    /// It has not been left.
    active: bool,
}

/// Text that is being written, counted while it is held.
#[derive(Default)]
struct Out(String);

impl Drop for Out {
    fn drop(&mut self) {
        meter::release(self.0.len());
    }
}

pub(super) struct Run<'t> {
    pub tree: &'t Tree,
    pub consts: Vec<Value>,
    scopes: Vec<Scope>,
    here: usize,
    out: Out,
    /// What the filter of a block is applied to.
    pub captured: Vec<Value>,
    /// What may hold itself: taken apart at the end.
    namespaces: Vec<Rc<Namespace>>,
    loops: Vec<Rc<Loop>>,
    loop_id: Option<Id>,
    caller_id: Option<Id>,
}

/// Evaluates expressions; written beside this file, which does not know it.
pub(super) trait Evaluate<'t> {
    fn eval(run: &mut Run<'t>, e: &'t Expr) -> Res<Value>;
    /// As [`eval`](Self::eval) of a call that gets one more argument, `caller`.
    fn call_with(run: &mut Run<'t>, e: &'t Expr, caller: Value) -> Res<Value>;
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        // Nothing that is dropped here is the last owner of another namespace or loop, so that no chain of them is followed.
        for ns in &self.namespaces {
            let fields = ns.fields.take();
            drop(fields);
        }
        for l in &self.loops {
            let changed = l.changed.take();
            drop(changed);
        }
    }
}

impl<'t> Run<'t> {
    /// `variables` are found by name.
    pub fn new(tree: &'t Tree, variables: &mut dyn FnMut(&str) -> Res<Option<Value>>) -> Res<Self> {
        let consts = tree.consts.iter().map(|c| match c {
            Const::None => Value::None,
            Const::Bool(b) => Value::Bool(*b),
            Const::Int(n) => Value::Int(*n),
            Const::Float(f) => Value::Float(*f),
            Const::Str(s) => Value::Str(held(s.clone())),
        });
        let mut vars = Vec::new();
        for (id, name) in tree.names.iter().enumerate() {
            if let Some(value) = variables(name)? {
                vars.push((id as Id, value));
            }
        }
        let id = |name: &str| tree.names.iter().position(|n| n == name).map(|i| i as Id);
        Ok(Run {
            tree,
            consts: consts.collect(),
            scopes: vec![Scope { vars, parent: 0, captured: true, active: true }],
            here: 0,
            out: Out::default(),
            captured: Vec::new(),
            namespaces: Vec::new(),
            loops: Vec::new(),
            loop_id: id("loop"),
            caller_id: id("caller"),
        })
    }

    /// The text of the whole template.
    pub fn render<E: Evaluate<'t>>(mut self) -> Res<String> {
        let tree = self.tree;
        self.frame::<E>(&tree.body, Vec::new())?;
        meter::release(self.out.0.len());
        Ok(std::mem::take(&mut self.out.0))
    }

    /// A variable, by the blocks around.
    pub fn lookup(&self, id: Id) -> Res<Value> {
        let mut at = self.here;
        loop {
            let scope = &self.scopes[at];
            meter::work(1)?;
            if let Some((_, value)) = scope.vars.iter().rev().find(|v| v.0 == id) {
                return Ok(value.clone());
            }
            if at == 0 {
                break;
            }
            at = scope.parent;
        }
        let name = &self.tree.names[id as usize];
        if name == "self" || name == "super" {
            return fail(format!("'{name}' is not supported"));
        }
        Ok(Value::missing(&held(name.clone()), ""))
    }

    fn put(&mut self, id: Id, value: Value) {
        let vars = &mut self.scopes[self.here].vars;
        match vars.iter_mut().find(|v| v.0 == id) {
            Some(slot) => slot.1 = value,
            None => vars.push((id, value)),
        }
    }

    fn assign(&mut self, target: &Target, value: Value) -> Res<()> {
        match target {
            Target::Name(id) => self.put(*id, value),
            Target::Field(id, field) => {
                let Value::Namespace(ns) = self.lookup(*id)? else { return fail("cannot assign attribute on non-namespace object") };
                let Value::Str(name) = &self.consts[*field as usize] else { return fail("expected a name") };
                super::globals::check_field(name)?;
                let mut fields = ns.fields.borrow_mut();
                meter::work(fields.len() / 8)?;
                let before = match fields.iter_mut().find(|f| **f.0 == ***name) {
                    Some(slot) => Some(std::mem::replace(&mut slot.1, value)),
                    None => {
                        fields.push((name.clone(), value));
                        None
                    }
                };
                drop(fields);
                drop(before);
            }
            Target::Tuple(all) => {
                let values = iterate(&value)?;
                if values.len() != all.len() {
                    return fail(format!("expected {} values to unpack, got {}", all.len(), values.len()));
                }
                for (t, v) in all.iter().zip(values) {
                    self.assign(t, v)?;
                }
            }
        }
        Ok(())
    }

    /// What a namespace holds is taken apart at the end.
    pub fn remember(&mut self, value: &Value) {
        if let Value::Namespace(ns) = value {
            self.namespaces.push(ns.clone());
        }
    }

    /// Marks the blocks around as ones that something may come back to.
    pub fn capture(&mut self) -> usize {
        let mut at = self.here;
        while !self.scopes[at].captured {
            self.scopes[at].captured = true;
            at = self.scopes[at].parent;
        }
        self.here
    }

    /// Runs with a new block of variables, below the one here.
    fn scoped<T>(&mut self, vars: Vec<(Id, Value)>, run: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        let before = self.here;
        let mark = self.scopes.len();
        self.scopes.push(Scope { vars, parent: before, captured: false, active: true });
        self.here = mark;
        let out = run(self);
        self.here = before;
        self.scopes[mark].active = false;
        while self.scopes.len() > mark && self.scopes.last().is_some_and(|s| !s.captured) {
            self.scopes.pop();
        }
        out
    }

    fn hide(&mut self, body: &Body) {
        for id in &self.tree.hidden[body.frame] {
            let name = held(self.tree.names[*id as usize].clone());
            self.put(*id, Value::missing(&name, ""));
        }
    }

    fn frame<E: Evaluate<'t>>(&mut self, body: &'t Body, vars: Vec<(Id, Value)>) -> Res<Flow> {
        self.scoped(vars, |run| {
            run.hide(body);
            run.list::<E>(&body.list)
        })
    }

    /// Python has forgotten what a block's variables were when it was left.
    fn check_active(&self, scope: usize) -> Res<()> {
        if !self.scopes[scope].active {
            return fail("calling what was made in a block that has been left is not supported");
        }
        Ok(())
    }

    /// The text that is written meanwhile.
    fn capturing<T>(&mut self, run: impl FnOnce(&mut Self) -> Res<T>) -> Res<(Value, T)> {
        let before = std::mem::take(&mut self.out);
        let out = run(self);
        let mut text = std::mem::replace(&mut self.out, before);
        let out = out?;
        meter::release(text.0.len());
        Ok((Value::text(std::mem::take(&mut text.0))?, out))
    }

    fn write(&mut self, value: &Value) -> Res<()> {
        let before = self.out.0.len();
        let done = str_into(value, &mut self.out.0);
        meter::hold(self.out.0.len() - before);
        done?;
        meter::space(0)
    }

    fn list<E: Evaluate<'t>>(&mut self, list: &'t [Stmt]) -> Res<Flow> {
        for stmt in list {
            meter::work(1)?;
            let flow = self.stmt::<E>(&stmt.what).map_err(|e| e.at(stmt.line))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn stmt<E: Evaluate<'t>>(&mut self, what: &'t What) -> Res<Flow> {
        let _level = meter::deeper()?;
        match what {
            What::Text(text) => {
                let text = self.consts[*text as usize].clone();
                self.write(&text)?;
            }
            What::Print(e) => {
                let value = E::eval(self, e)?;
                self.write(&value)?;
            }
            What::Set(target, e) => {
                let value = E::eval(self, e)?;
                self.assign(target, value)?;
            }
            What::If(branches, last) => {
                for (test, body) in branches {
                    if truth(&E::eval(self, test)?) {
                        return self.list::<E>(body);
                    }
                }
                return self.list::<E>(last);
            }
            What::For(i) => return self.for_::<E>(*i),
            What::Macro(id, i) => {
                let scope = self.capture();
                self.put(*id, Value::Macro(*i, scope));
            }
            What::Break => return Ok(Flow::Break),
            What::Continue => return Ok(Flow::Continue),
            What::Fail(why) => return fail(*why),
            other => return self.block::<E>(other),
        }
        Ok(Flow::Next)
    }

    /// Statements around other statements.
    #[inline(never)]
    fn block<E: Evaluate<'t>>(&mut self, what: &'t What) -> Res<Flow> {
        match what {
            What::SetBlock(target, filter, body) => {
                let (value, flow) = self.scoped(Vec::new(), |run| {
                    let (text, flow) = run.capturing(|run| {
                        run.hide(body);
                        run.list::<E>(&body.list)
                    })?;
                    match filter {
                        Some(f) if flow == Flow::Next => Ok((run.filtered::<E>(f, text)?, flow)),
                        _ => Ok((text, flow)),
                    }
                })?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                self.assign(target, value)?;
            }
            What::Filter(filter, body) => {
                let (value, flow) = self.scoped(Vec::new(), |run| {
                    let (text, flow) = run.capturing(|run| {
                        run.hide(body);
                        run.list::<E>(&body.list)
                    })?;
                    if flow == Flow::Next { Ok((run.filtered::<E>(filter, text)?, flow)) } else { Ok((text, flow)) }
                })?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                self.write(&value)?;
            }
            What::With(all, body) => {
                let values = all.iter().map(|(_, e)| E::eval(self, e)).collect::<Res<Vec<_>>>()?;
                return self.scoped(Vec::new(), |run| {
                    run.hide(body);
                    for ((target, _), value) in all.iter().zip(values) {
                        run.assign(target, value)?;
                    }
                    run.list::<E>(&body.list)
                });
            }
            What::Block(body) => return self.frame::<E>(body, Vec::new()),
            What::Call(call, i) => {
                let scope = self.capture();
                let value = E::call_with(self, call, Value::Macro(*i, scope))?;
                self.write(&value)?;
            }
            _ => {}
        }
        Ok(Flow::Next)
    }

    fn filtered<E: Evaluate<'t>>(&mut self, filter: &'t Expr, text: Value) -> Res<Value> {
        self.captured.push(text);
        let out = E::eval(self, filter);
        self.captured.pop();
        out
    }

    fn for_<E: Evaluate<'t>>(&mut self, i: usize) -> Res<Flow> {
        let node = &self.tree.fors[i];
        let value = E::eval(self, &node.iter)?;
        let scope = if node.recursive { self.capture() } else { self.here };
        self.each::<E>(i, &value, 0, scope)?;
        Ok(Flow::Next)
    }

    /// The body for each item of a value.
    fn each<E: Evaluate<'t>>(&mut self, i: usize, value: &Value, depth0: u32, scope: usize) -> Res<()> {
        let node = &self.tree.fors[i];
        let mut list = iterate(value)?;
        if node.test.is_some() && node.extended {
            let mut kept = Vec::new();
            for item in list {
                if self.passes::<E>(node, &item)? {
                    kept.push(item);
                }
            }
            list = kept;
        }
        let mut ran = false;
        let shared = if node.extended {
            let Value::List(items) = Value::list(std::mem::take(&mut list))? else { return fail("expected a list") };
            Some(Rc::new(Loop { items, at: Cell::new(0), depth0, node: i, scope, changed: RefCell::new(None) }))
        } else {
            None
        };
        let items: Option<Rc<Items>> = shared.as_ref().map(|s| s.items.clone());
        let n = items.as_ref().map_or(list.len(), |i| i.list.len());
        let mut left = n;
        #[expect(clippy::needless_range_loop, reason = "the items are in one of two lists")]
        let result = (|| -> Res<()> {
            for at in 0..n {
                let item = items.as_ref().map_or_else(|| std::mem::replace(&mut list[at], Value::None), |i| i.list[at].clone());
                left = n - at - 1;
                meter::work(1)?;
                if !node.extended && node.test.is_some() && !self.passes::<E>(node, &item)? {
                    continue;
                }
                ran = true;
                let vars = match (&shared, self.loop_id) {
                    (Some(l), Some(id)) => {
                        l.at.set(at);
                        vec![(id, Value::Loop(l.clone()))]
                    }
                    _ => Vec::new(),
                };
                let flow = self.scoped(vars, |run| {
                    run.assign(&node.target, item)?;
                    run.hide(&node.body);
                    run.list::<E>(&node.body.list)
                })?;
                if flow == Flow::Break {
                    break;
                }
            }
            Ok(())
        })();
        if let Some(l) = shared
            && Rc::strong_count(&l) > 1
        {
            self.loops.push(l);
        }
        result?;
        // What a loop has left in a generator is still there.
        if let Value::Once(once) = value
            && left > 0
        {
            let rest = items.map_or_else(|| list.split_off(n - left), |i| i.list[n - left..].to_vec());
            once.left.replace(rest.into_iter());
        }
        if !ran {
            self.frame::<E>(&node.otherwise, Vec::new())?;
        }
        Ok(())
    }

    /// Does an item pass the loop's own test?
    fn passes<E: Evaluate<'t>>(&mut self, node: &'t For, item: &Value) -> Res<bool> {
        let Some(test) = &node.test else { return Ok(true) };
        self.scoped(Vec::new(), |run| {
            run.assign(&node.target, item.clone())?;
            Ok(truth(&E::eval(run, test)?))
        })
    }

    /// `loop(items)` of a recursive loop.
    pub fn recurse<E: Evaluate<'t>>(&mut self, l: &Rc<Loop>, value: &Value) -> Res<Value> {
        if !self.tree.fors[l.node].recursive {
            return fail("The loop must have the 'recursive' marker to be called recursively.");
        }
        self.check_active(l.scope)?;
        let before = std::mem::replace(&mut self.here, l.scope);
        let out = self.capturing(|run| run.each::<E>(l.node, value, l.depth0 + 1, l.scope));
        self.here = before;
        Ok(out?.0)
    }

    /// Calls a macro.
    pub fn call_macro<E: Evaluate<'t>>(&mut self, i: usize, scope: usize, mut args: super::args::Args) -> Res<Value> {
        let _level = meter::deeper()?;
        self.check_active(scope)?;
        meter::work(10)?;
        let node = &self.tree.macros[i];
        let name = &node.name;
        let mut vars: Vec<(Id, Value)> = Vec::new();
        let more = if args.pos.len() > node.params.len() { args.pos.split_off(node.params.len()) } else { Vec::new() };
        if !more.is_empty() && !node.varargs {
            return fail(format!("macro '{name}' takes not more than {} argument(s)", node.params.len()));
        }
        let mut given: Vec<Option<Value>> = args.pos.into_iter().map(Some).collect();
        for param in &node.params[given.len()..] {
            let name = &self.tree.names[*param as usize];
            let at = args.kw.iter().position(|k| **k.0 == **name);
            given.push(at.map(|at| args.kw.remove(at).1));
        }
        let special = |name: &str| self.tree.names.iter().position(|n| n == name).map(|i| i as Id);
        if node.caller {
            let at = args.kw.iter().position(|k| **k.0 == *"caller");
            let caller = at.map(|at| args.kw.remove(at).1).filter(|c| !matches!(c, Value::None));
            vars.extend(self.caller_id.map(|id| (id, caller.unwrap_or(Value::lacking("No caller defined")))));
        }
        if node.kwargs {
            let entries = std::mem::take(&mut args.kw).into_iter().map(|(k, v)| (Value::Str(k), v)).collect();
            let kwargs = Value::dict(entries)?;
            vars.extend(special("kwargs").map(|id| (id, kwargs)));
        } else if let Some((key, _)) = args.kw.first() {
            return fail(format!("macro '{name}' takes no keyword argument '{}'", &***key));
        }
        if node.varargs {
            let varargs = Value::tuple(more)?;
            vars.extend(special("varargs").map(|id| (id, varargs)));
        }
        let before = std::mem::replace(&mut self.here, scope);
        let out = self.scoped(vars, |run| {
            // Parameters are not there until they have their values, in their order.
            for (param, value) in node.params.iter().zip(&given) {
                let value = value.clone().unwrap_or(Value::lacking("the parameter was not provided"));
                run.put(*param, value);
            }
            let first = node.params.len() - node.defaults.len();
            for (i, param) in node.params.iter().enumerate() {
                if let (None, Some(default)) = (&given[i], i.checked_sub(first).and_then(|d| node.defaults.get(d))) {
                    let value = E::eval(run, default)?;
                    run.put(*param, value);
                }
            }
            run.hide(&node.body);
            run.capturing(|run| run.list::<E>(&node.body.list))
        });
        self.here = before;
        Ok(out?.0)
    }
}
