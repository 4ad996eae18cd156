//! Expressions, by the grammar of Jinja's parser.
use std::collections::HashMap;

use super::ast::{Apply, ArgList, Const, ConstId, Expr, Id, Target, Tree};
use super::compare::Cmp;
use super::fault::{Fault, Res, fail};
use super::filters::{is_filter, is_test};
use super::lex::Token;
use super::meter;
use super::ops::Math;

/// Expressions and blocks inside each other.
const MAX_NESTING: u32 = 80;
/// Attributes, calls, filters and tests of one tag: each may be a level of the tree.
const MAX_LINKS: u32 = 800;

pub(super) struct Parser {
    pub tokens: Vec<(Token, u32)>,
    pub at: usize,
    pub tree: Tree,
    names: HashMap<String, Id>,
    texts: HashMap<String, ConstId>,
    depth: u32,
    links: u32,
    /// Names in the order in which they are used, and whether they are set.
    pub uses: Vec<(Id, bool)>,
    /// Inside of a branch, where Jinja looks a filter up when it gets there.
    pub soft: bool,
}

impl Parser {
    pub fn new(tokens: Vec<(Token, u32)>) -> Self {
        Parser {
            tokens,
            at: 0,
            tree: Tree::default(),
            names: HashMap::new(),
            texts: HashMap::new(),
            depth: 0,
            links: 0,
            uses: Vec::new(),
            soft: false,
        }
    }

    pub fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    /// The token behind the next.
    pub fn second(&self) -> &Token {
        &self.tokens[(self.at + 1).min(self.tokens.len() - 1)].0
    }

    pub fn line(&self) -> u32 {
        self.tokens[self.at].1
    }

    pub fn next(&mut self) -> Token {
        let token = std::mem::replace(&mut self.tokens[self.at].0, Token::End);
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        if matches!(token, Token::Print | Token::Block) {
            self.links = 0;
        }
        token
    }

    pub fn is_op(&self, op: &str) -> bool {
        matches!(self.peek(), Token::Op(o) if *o == op)
    }

    pub fn skip_op(&mut self, op: &str) -> bool {
        let found = self.is_op(op);
        if found {
            self.next();
        }
        found
    }

    pub fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Name(n) if n == word)
    }

    pub fn skip_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.next();
        }
        found
    }

    pub fn expect_op(&mut self, op: &str) -> Res<()> {
        if self.skip_op(op) { Ok(()) } else { fail(format!("expected '{op}', found {}", self.shown())) }
    }

    pub fn expect_name(&mut self) -> Res<String> {
        match self.peek() {
            Token::Name(_) => match self.next() {
                Token::Name(n) => Ok(n),
                _ => fail("expected a name"),
            },
            _ => fail(format!("expected a name, found {}", self.shown())),
        }
    }

    /// What stands next, in words.
    pub fn shown(&self) -> String {
        match self.peek() {
            Token::Data(_) => "text".into(),
            Token::Print => "'{{'".into(),
            Token::EndPrint => "the end of the print statement".into(),
            Token::Block => "'{%'".into(),
            Token::EndBlock => "the end of the tag".into(),
            Token::Name(n) => format!("'{}'", n.chars().take(60).collect::<String>()),
            Token::Str(_) => "a text".into(),
            Token::Int(_) | Token::Float(_) => "a number".into(),
            Token::Op(o) => format!("'{o}'"),
            Token::End => "the end of the template".into(),
        }
    }

    /// One level deeper in the grammar.
    pub fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        let _level = meter::deeper()?;
        if self.depth >= MAX_NESTING {
            return fail(format!("it is nested deeper than {MAX_NESTING} levels"));
        }
        self.depth += 1;
        let out = parse(self);
        self.depth -= 1;
        out
    }

    fn link(&mut self) -> Res<()> {
        self.links += 1;
        if self.links > MAX_LINKS { fail(format!("a tag with more than {MAX_LINKS} links")) } else { Ok(()) }
    }

    pub fn id(&mut self, name: &str) -> Id {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let id = self.tree.names.len() as Id;
        self.names.insert(name.to_string(), id);
        self.tree.names.push(name.to_string());
        id
    }

    pub fn constant(&mut self, value: Const) -> ConstId {
        if let Const::Str(s) = &value {
            if let Some(id) = self.texts.get(s) {
                return *id;
            }
            self.texts.insert(s.clone(), self.tree.consts.len() as ConstId);
        }
        self.tree.consts.push(value);
        self.tree.consts.len() as ConstId - 1
    }

    pub fn text(&mut self, s: &str) -> ConstId {
        self.constant(Const::Str(s.to_string()))
    }

    fn load(&mut self, name: &str) -> Expr {
        let id = self.id(name);
        self.uses.push((id, false));
        Expr::Name(id)
    }

    /// A variable that is set.
    pub fn store(&mut self, name: &str) -> Res<Id> {
        if matches!(name, "true" | "false" | "none" | "True" | "False" | "None") {
            return fail(format!("can't assign to '{name}'"));
        }
        let id = self.id(name);
        self.uses.push((id, true));
        Ok(id)
    }

    pub fn expression(&mut self) -> Res<Expr> {
        self.conditional(true)
    }

    fn conditional(&mut self, allowed: bool) -> Res<Expr> {
        let mut first = self.or()?;
        while allowed && self.is_word("if") {
            self.next();
            self.link()?;
            let soft = std::mem::replace(&mut self.soft, true);
            let test = self.or()?;
            let otherwise = if self.skip_word("else") { Some(self.nested(|p| p.conditional(true))?) } else { None };
            self.soft = soft;
            first = Expr::If(Box::new((test, first, otherwise)));
        }
        Ok(first)
    }

    fn or(&mut self) -> Res<Expr> {
        let mut all = vec![self.and()?];
        while self.skip_word("or") {
            all.push(self.and()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::Or(all) })
    }

    fn and(&mut self) -> Res<Expr> {
        let mut all = vec![self.not()?];
        while self.skip_word("and") {
            all.push(self.not()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::And(all) })
    }

    fn not(&mut self) -> Res<Expr> {
        if self.skip_word("not") {
            return Ok(Expr::Not(Box::new(self.nested(Self::not)?)));
        }
        let first = self.sum()?;
        let mut all = Vec::new();
        loop {
            let op = match self.peek() {
                Token::Op("==") => Cmp::Eq,
                Token::Op("!=") => Cmp::Ne,
                Token::Op("<") => Cmp::Lt,
                Token::Op("<=") => Cmp::Le,
                Token::Op(">") => Cmp::Gt,
                Token::Op(">=") => Cmp::Ge,
                Token::Name(n) if n == "in" => Cmp::In,
                Token::Name(n) if n == "not" && matches!(self.second(), Token::Name(n) if n == "in") => {
                    self.next();
                    Cmp::NotIn
                }
                _ => break,
            };
            self.next();
            all.push((op, self.sum()?));
        }
        Ok(if all.is_empty() { first } else { Expr::Compare(Box::new(first), all) })
    }

    fn sum(&mut self) -> Res<Expr> {
        let first = self.concat()?;
        let mut all = Vec::new();
        while let Token::Op(op @ ("+" | "-")) = self.peek() {
            let op = if *op == "+" { Math::Add } else { Math::Sub };
            self.next();
            all.push((op, self.concat()?));
        }
        Ok(if all.is_empty() { first } else { Expr::Math(Box::new(first), all) })
    }

    fn concat(&mut self) -> Res<Expr> {
        let mut all = vec![self.product()?];
        while self.skip_op("~") {
            all.push(self.product()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::Concat(all) })
    }

    fn product(&mut self) -> Res<Expr> {
        let first = self.power()?;
        let mut all = Vec::new();
        while let Token::Op(op @ ("*" | "/" | "//" | "%")) = self.peek() {
            let op = match *op {
                "*" => Math::Mul,
                "/" => Math::Div,
                "//" => Math::Floor,
                _ => Math::Mod,
            };
            self.next();
            all.push((op, self.power()?));
        }
        Ok(if all.is_empty() { first } else { Expr::Math(Box::new(first), all) })
    }

    /// From left to right, other than in Python.
    fn power(&mut self) -> Res<Expr> {
        let first = self.unary(true)?;
        let mut all = Vec::new();
        while self.skip_op("**") {
            all.push((Math::Pow, self.unary(true)?));
        }
        Ok(if all.is_empty() { first } else { Expr::Math(Box::new(first), all) })
    }

    fn unary(&mut self, with_filter: bool) -> Res<Expr> {
        let node = match self.peek() {
            Token::Op(op @ ("-" | "+")) => {
                let negative = *op == "-";
                self.next();
                Expr::Sign(Box::new(self.nested(|p| p.unary(false))?), negative)
            }
            _ => self.primary()?,
        };
        let node = self.postfix(node)?;
        if with_filter { self.filters_and_tests(node) } else { Ok(node) }
    }

    fn primary(&mut self) -> Res<Expr> {
        let constant = match self.peek() {
            Token::Op("(") => {
                self.next();
                let inside = self.nested(|p| p.tuple(true, true, &[]))?;
                self.expect_op(")")?;
                return Ok(inside);
            }
            Token::Op("[") => return self.nested(Self::list),
            Token::Op("{") => return self.nested(Self::dict),
            Token::Name(_) | Token::Str(_) | Token::Int(_) | Token::Float(_) => match self.next() {
                Token::Name(n) => match &*n {
                    "true" | "True" => Const::Bool(true),
                    "false" | "False" => Const::Bool(false),
                    "none" | "None" => Const::None,
                    _ => return Ok(self.load(&n)),
                },
                Token::Str(mut s) => {
                    while let Token::Str(more) = self.peek() {
                        s.push_str(more);
                        self.next();
                    }
                    Const::Str(s)
                }
                Token::Int(n) => Const::Int(n),
                Token::Float(f) => Const::Float(f),
                _ => Const::None,
            },
            _ => return fail(format!("unexpected {}", self.shown())),
        };
        Ok(Expr::Const(self.constant(constant)))
    }

    fn list(&mut self) -> Res<Expr> {
        self.expect_op("[")?;
        let mut all = Vec::new();
        while !self.is_op("]") {
            if !all.is_empty() {
                self.expect_op(",")?;
                if self.is_op("]") {
                    break;
                }
            }
            all.push(self.expression()?);
        }
        self.expect_op("]")?;
        Ok(Expr::List(all))
    }

    fn dict(&mut self) -> Res<Expr> {
        self.expect_op("{")?;
        let mut all = Vec::new();
        while !self.is_op("}") {
            if !all.is_empty() {
                self.expect_op(",")?;
                if self.is_op("}") {
                    break;
                }
            }
            let key = self.expression()?;
            self.expect_op(":")?;
            all.push((key, self.expression()?));
        }
        self.expect_op("}")?;
        Ok(Expr::Dict(all))
    }

    /// One expression, or several with commas.
    pub fn tuple(&mut self, conditional: bool, parentheses: bool, ends: &[&str]) -> Res<Expr> {
        let mut all = Vec::new();
        let mut is_tuple = false;
        loop {
            if is_tuple && !self.skip_op(",") {
                return fail("expected ','");
            }
            if self.is_tuple_end(ends) {
                break;
            }
            all.push(self.conditional(conditional)?);
            if !self.is_op(",") {
                break;
            }
            is_tuple = true;
        }
        if !is_tuple {
            match all.pop() {
                Some(one) => return Ok(one),
                None if !parentheses => return fail(format!("expected an expression, found {}", self.shown())),
                None => {}
            }
        }
        Ok(Expr::Tuple(all))
    }

    fn is_tuple_end(&self, ends: &[&str]) -> bool {
        matches!(self.peek(), Token::EndPrint | Token::EndBlock | Token::Op(")")) || ends.iter().any(|e| self.is_word(e))
    }

    fn postfix(&mut self, mut node: Expr) -> Res<Expr> {
        loop {
            node = match self.peek() {
                Token::Op(".") => self.dotted(node)?,
                Token::Op("[") => self.nested(|p| p.subscript(node))?,
                Token::Op("(") => self.call(node)?,
                _ => return Ok(node),
            };
            self.link()?;
        }
    }

    fn filters_and_tests(&mut self, mut node: Expr) -> Res<Expr> {
        loop {
            node = match self.peek() {
                Token::Op("|") => self.filter(node)?,
                Token::Name(n) if n == "is" => self.test(node)?,
                Token::Op("(") => self.call(node)?,
                _ => return Ok(node),
            };
            self.link()?;
        }
    }

    fn dotted(&mut self, node: Expr) -> Res<Expr> {
        self.expect_op(".")?;
        match self.next() {
            Token::Name(n) => {
                let name = self.text(&n);
                Ok(Expr::Attr(Box::new(node), name))
            }
            Token::Int(n) => {
                let index = self.constant(Const::Int(n));
                Ok(Expr::Item(Box::new((node, Expr::Const(index)))))
            }
            _ => fail("expected name or number"),
        }
    }

    fn subscript(&mut self, node: Expr) -> Res<Expr> {
        self.expect_op("[")?;
        let mut all = Vec::new();
        while !self.is_op("]") {
            if !all.is_empty() {
                self.expect_op(",")?;
            }
            let first = if self.is_op(":") { None } else { Some(self.expression()?) };
            match first {
                Some(e) if !self.is_op(":") => all.push(e),
                first => {
                    let mut parts = [first, None, None];
                    for part in &mut parts[1..] {
                        if self.skip_op(":") && !matches!(self.peek(), Token::Op(":" | "]" | ",")) {
                            *part = Some(self.expression()?);
                        }
                    }
                    if !self.is_op("]") || !all.is_empty() {
                        return fail("a slice beside other indices");
                    }
                    self.expect_op("]")?;
                    return Ok(Expr::Slice(Box::new((node, parts))));
                }
            }
        }
        self.expect_op("]")?;
        let index = if all.len() == 1 { all.remove(0) } else { Expr::Tuple(all) };
        Ok(Expr::Item(Box::new((node, index))))
    }

    fn call(&mut self, node: Expr) -> Res<Expr> {
        let line = self.line();
        let args = self.nested(Self::arguments)?;
        Ok(Expr::Call(Box::new(Apply { name: String::new(), of: node, args, line })))
    }

    fn arguments(&mut self) -> Res<ArgList> {
        self.expect_op("(")?;
        let mut out = ArgList::default();
        let mut comma = false;
        let wrong = || fail("invalid syntax for function call expression");
        while !self.is_op(")") {
            if comma {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            comma = true;
            if self.skip_op("*") {
                if out.star.is_some() || out.stars.is_some() {
                    return wrong();
                }
                out.star = Some(self.expression()?);
            } else if self.skip_op("**") {
                if out.stars.is_some() {
                    return wrong();
                }
                out.stars = Some(self.expression()?);
            } else if matches!(self.peek(), Token::Name(_)) && matches!(self.second(), Token::Op("=")) {
                if out.stars.is_some() {
                    return wrong();
                }
                let name = self.expect_name()?;
                self.next();
                let key = self.text(&name);
                if out.kw.iter().any(|k| k.0 == key) {
                    return fail(format!("keyword argument repeated: {name}"));
                }
                out.kw.push((key, self.expression()?));
            } else {
                if out.star.is_some() || out.stars.is_some() || !out.kw.is_empty() {
                    return wrong();
                }
                out.pos.push(self.expression()?);
            }
        }
        self.expect_op(")")?;
        Ok(out)
    }

    /// The name of a filter or test, which may have dots.
    fn dotted_name(&mut self) -> Res<String> {
        let mut name = self.expect_name()?;
        while self.skip_op(".") {
            name = name + "." + &self.expect_name()?;
        }
        Ok(name)
    }

    fn filter(&mut self, node: Expr) -> Res<Expr> {
        self.expect_op("|")?;
        self.named_filter(node)
    }

    /// A filter behind its `|`.
    fn named_filter(&mut self, node: Expr) -> Res<Expr> {
        let line = self.line();
        let name = self.dotted_name()?;
        if !self.soft && !is_filter(&name) {
            return Err(Fault::new(format!("No filter named '{name}'")).at(line));
        }
        let args = if self.is_op("(") { self.nested(Self::arguments)? } else { ArgList::default() };
        Ok(Expr::Filter(Box::new(Apply { name, of: node, args, line })))
    }

    /// Filters of a block: the first without a `|` in front if it stands behind `filter`.
    pub fn block_filters(&mut self, inline: bool) -> Res<Option<Expr>> {
        let mut node = None;
        if inline {
            node = Some(self.named_filter(Expr::Captured)?);
        }
        while self.skip_op("|") {
            self.link()?;
            node = Some(self.named_filter(node.unwrap_or(Expr::Captured))?);
        }
        Ok(node)
    }

    fn test(&mut self, node: Expr) -> Res<Expr> {
        let line = self.line();
        self.next();
        let negated = self.skip_word("not");
        let name = self.dotted_name()?;
        if !self.soft && !is_test(&name) {
            return Err(Fault::new(format!("No test named '{name}'")).at(line));
        }
        let args = match self.peek() {
            Token::Op("(") => self.nested(Self::arguments)?,
            Token::Name(n) if matches!(&**n, "else" | "or" | "and") => ArgList::default(),
            Token::Name(n) if n == "is" => return fail("You cannot chain multiple tests with is"),
            Token::Name(_) | Token::Str(_) | Token::Int(_) | Token::Float(_) | Token::Op("[" | "{") => {
                let arg = self.nested(|p| {
                    let arg = p.primary()?;
                    p.postfix(arg)
                })?;
                ArgList { pos: vec![arg], ..ArgList::default() }
            }
            _ => ArgList::default(),
        };
        let test = Expr::Test(Box::new(Apply { name, of: node, args, line }));
        Ok(if negated { Expr::Not(Box::new(test)) } else { test })
    }

    /// What is assigned to: names, fields of namespaces, and tuples of them up to one of `ends`.
    pub fn target(&mut self, ends: &[&str], fields: bool) -> Res<Target> {
        let mut all = Vec::new();
        let mut is_tuple = false;
        loop {
            if is_tuple && !self.skip_op(",") {
                return fail("expected ','");
            }
            if self.is_tuple_end(ends) {
                break;
            }
            all.push(self.one_target(fields)?);
            if !self.is_op(",") {
                break;
            }
            is_tuple = true;
        }
        match all.pop() {
            Some(one) if !is_tuple => Ok(one),
            Some(last) => {
                all.push(last);
                Ok(Target::Tuple(all))
            }
            None => fail(format!("expected an expression, found {}", self.shown())),
        }
    }

    fn one_target(&mut self, fields: bool) -> Res<Target> {
        if self.skip_op("(") {
            let inside = self.nested(|p| p.target(&[], fields))?;
            self.expect_op(")")?;
            return Ok(inside);
        }
        let name = self.expect_name()?;
        if fields && self.skip_op(".") {
            let id = self.id(&name);
            self.uses.push((id, false));
            let field = self.expect_name()?;
            return Ok(Target::Field(id, self.text(&field)));
        }
        Ok(Target::Name(self.store(&name)?))
    }
}
