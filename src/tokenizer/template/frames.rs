//! Which variables a block hides. Jinja decides when it compiles: one that is set in a block before anything in it reads it is undefined there
//! until it is set, even where the context has it (`{{ m() }}{% set messages = … %}` with a macro that reads `messages`).
use std::collections::{BTreeMap, BTreeSet};

use super::ast::{ArgList, Body, Expr, For, Id, Macro, Stmt, Target, Tree, What};

/// The names that a block knows, as `jinja2.idtracking` collects them.
#[derive(Clone, Default)]
struct Symbols {
    /// Names, and whether they begin undefined.
    refs: BTreeMap<Id, bool>,
    stores: BTreeSet<Id>,
}

struct Walk<'t> {
    tree: &'t Tree,
    hidden: Vec<Vec<Id>>,
    /// The blocks around, outermost first.
    outer: Vec<Symbols>,
}

/// For each body the variables that it hides.
pub(super) fn hidden(tree: &Tree) -> Vec<Vec<Id>> {
    let mut walk = Walk { tree, hidden: vec![Vec::new(); tree.hidden.len()], outer: Vec::new() };
    walk.frame(&tree.body, |_, _| {});
    walk.hidden
}

impl<'t> Walk<'t> {
    fn known(&self, id: Id) -> bool {
        self.outer.iter().any(|s| s.refs.contains_key(&id))
    }

    fn load(&self, s: &mut Symbols, id: Id) {
        if !self.known(id) {
            s.refs.entry(id).or_insert(false);
        }
    }

    fn store(&self, s: &mut Symbols, id: Id) {
        s.stores.insert(id);
        let begins_undefined = !self.known(id);
        s.refs.entry(id).or_insert(begins_undefined);
    }

    fn param(s: &mut Symbols, id: Id) {
        s.stores.insert(id);
        s.refs.insert(id, false);
    }

    fn target(&self, s: &mut Symbols, target: &Target, param: bool) {
        match target {
            Target::Name(id) if param => Self::param(s, *id),
            Target::Name(id) => self.store(s, *id),
            Target::Field(id, _) => self.load(s, *id),
            Target::Tuple(all) => all.iter().for_each(|t| self.target(s, t, param)),
        }
    }

    fn args(&self, s: &mut Symbols, args: &ArgList) {
        args.pos.iter().chain(args.kw.iter().map(|k| &k.1)).chain(&args.star).chain(&args.stars).for_each(|e| self.expr(s, e));
    }

    fn expr(&self, s: &mut Symbols, e: &Expr) {
        match e {
            Expr::Const(_) | Expr::Captured => {}
            Expr::Name(id) => self.load(s, *id),
            Expr::List(all) | Expr::Tuple(all) | Expr::Concat(all) | Expr::And(all) | Expr::Or(all) => {
                all.iter().for_each(|e| self.expr(s, e))
            }
            Expr::Dict(all) => all.iter().for_each(|(k, v)| {
                self.expr(s, k);
                self.expr(s, v);
            }),
            Expr::Attr(of, _) | Expr::Not(of) | Expr::Sign(of, _) => self.expr(s, of),
            Expr::Item(both) => {
                self.expr(s, &both.0);
                self.expr(s, &both.1);
            }
            Expr::Slice(all) => {
                self.expr(s, &all.0);
                all.1.iter().flatten().for_each(|e| self.expr(s, e));
            }
            Expr::Call(a) | Expr::Filter(a) | Expr::Test(a) => {
                self.expr(s, &a.of);
                self.args(s, &a.args);
            }
            Expr::Math(first, all) => {
                self.expr(s, first);
                all.iter().for_each(|e| self.expr(s, &e.1));
            }
            Expr::Compare(first, all) => {
                self.expr(s, first);
                all.iter().for_each(|e| self.expr(s, &e.1));
            }
            Expr::If(all) => {
                self.expr(s, &all.0);
                self.expr(s, &all.1);
                all.2.iter().for_each(|e| self.expr(s, e));
            }
        }
    }

    /// What a statement means for the block that it stands in.
    fn stmt(&self, s: &mut Symbols, stmt: &Stmt) {
        match &stmt.what {
            What::Text(_) | What::Block(_) | What::Break | What::Continue | What::Fail(_) => {}
            What::Print(e) => self.expr(s, e),
            What::Set(target, e) => {
                self.expr(s, e);
                self.target(s, target, false);
            }
            What::SetBlock(target, ..) => self.target(s, target, false),
            What::If(branches, last) => {
                let Some(((test, body), elifs)) = branches.split_first() else { return };
                self.expr(s, test);
                let mut all = vec![s.clone(), s.clone(), s.clone()];
                body.iter().for_each(|b| self.stmt(&mut all[0], b));
                for (test, body) in elifs {
                    self.expr(&mut all[1], test);
                    let mut branch = all[1].clone();
                    body.iter().for_each(|b| self.stmt(&mut branch, b));
                    Self::merge(&mut all[1], vec![branch]);
                }
                last.iter().for_each(|b| self.stmt(&mut all[2], b));
                Self::merge(s, all);
            }
            What::For(i) => self.expr(s, &self.tree.fors[*i].iter),
            What::Macro(id, _) => self.store(s, *id),
            What::Call(call, _) => self.expr(s, call),
            What::Filter(filter, _) => self.expr(s, filter),
            What::With(all, _) => all.iter().for_each(|e| self.expr(s, &e.1)),
        }
    }

    /// What is set in some branch may come from elsewhere.
    fn merge(s: &mut Symbols, branches: Vec<Symbols>) {
        let before = s.stores.clone();
        for branch in branches {
            s.refs.extend(branch.refs);
            s.stores.extend(branch.stores);
        }
        for id in s.stores.difference(&before) {
            s.refs.insert(*id, false);
        }
    }

    /// One body: its own names first, then the bodies in it.
    fn frame(&mut self, body: &'t Body, declare: impl FnOnce(&Self, &mut Symbols)) {
        let mut s = Symbols::default();
        declare(self, &mut s);
        body.list.iter().for_each(|b| self.stmt(&mut s, b));
        self.hidden[body.frame] = s.refs.iter().filter(|r| *r.1).map(|r| *r.0).collect();
        self.outer.push(s);
        self.inside(&body.list);
        self.outer.pop();
    }

    fn inside(&mut self, list: &'t [Stmt]) {
        let tree = self.tree;
        for stmt in list {
            match &stmt.what {
                What::If(branches, last) => {
                    branches.iter().for_each(|b| self.inside(&b.1));
                    self.inside(last);
                }
                What::For(i) => {
                    let For { target, body, otherwise, .. } = &tree.fors[*i];
                    self.frame(body, |w, s| w.target(s, target, true));
                    self.frame(otherwise, |_, _| {});
                }
                What::Macro(_, i) | What::Call(_, i) => {
                    let Macro { params, defaults, body, .. } = &tree.macros[*i];
                    self.frame(body, |w, s| {
                        params.iter().for_each(|p| Self::param(s, *p));
                        defaults.iter().for_each(|d| w.expr(s, d));
                    });
                }
                What::SetBlock(_, _, body) | What::Filter(_, body) => self.frame(body, |_, _| {}),
                What::With(all, body) => self.frame(body, |w, s| all.iter().for_each(|e| w.target(s, &e.0, true))),
                What::Block(body) => {
                    // A block sees the context only.
                    let outer = std::mem::take(&mut self.outer);
                    self.frame(body, |_, _| {});
                    self.outer = outer;
                }
                _ => {}
            }
        }
    }
}
