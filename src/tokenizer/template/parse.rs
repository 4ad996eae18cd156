//! Statements, by the grammar of Jinja's parser with Transformers' extensions.
use super::ast::{Body, Expr, For, Macro, Stmt, Target, Tree, What};
use super::expressions::Parser;
use super::fault::{Res, fail};
use super::frames;
use super::lex::{Token, tokens};

/// Parses a source.
pub(super) fn parse(source: &str) -> Res<Tree> {
    let mut p = Statements { p: Parser::new(tokens(source)?), loops: false, blocks: Vec::new() };
    let list = p.list(&[]);
    let line = p.p.line();
    let list = list.map_err(|e| e.at(line))?;
    let body = p.framed(list);
    let mut tree = p.p.tree;
    tree.body = body;
    tree.hidden = frames::hidden(&tree);
    Ok(tree)
}

struct Statements {
    p: Parser,
    /// A loop is around that can be left from here.
    loops: bool,
    blocks: Vec<u32>,
}

impl Statements {
    /// Statements up to one of the words, which comes next, or up to the end where there are none.
    fn list(&mut self, ends: &[&str]) -> Res<Vec<Stmt>> {
        let mut out = Vec::new();
        loop {
            let line = self.p.line();
            match self.p.peek() {
                Token::End if ends.is_empty() => return Ok(out),
                Token::End => return fail(format!("unexpected end of template, expected {}", ends.join(" or "))),
                Token::Data(_) => {
                    if let Token::Data(text) = self.p.next() {
                        let what = What::Text(self.p.text(&text));
                        out.push(Stmt { what, line });
                    }
                }
                Token::Print => {
                    self.p.next();
                    let value = self.p.tuple(true, false, &[])?;
                    match self.p.next() {
                        Token::EndPrint => out.push(Stmt { what: What::Print(value), line }),
                        _ => return fail("expected the end of the print statement"),
                    }
                }
                Token::Block => {
                    self.p.next();
                    if ends.iter().any(|e| self.p.is_word(e)) {
                        return Ok(out);
                    }
                    self.statement(line, &mut out)?;
                    self.end_of_tag()?;
                }
                _ => return fail(format!("unexpected {}", self.p.shown())),
            }
        }
    }

    fn end_of_tag(&mut self) -> Res<()> {
        if !matches!(self.p.peek(), Token::EndBlock) {
            return fail(format!("expected the end of the tag, found {}", self.p.shown()));
        }
        self.p.next();
        Ok(())
    }

    /// The statements behind a tag, up to one of the words; gives the word.
    fn block(&mut self, ends: &[&str]) -> Res<(Vec<Stmt>, String)> {
        self.p.skip_op(":");
        self.end_of_tag()?;
        let list = self.nested(|s| s.list(ends))?;
        Ok((list, self.p.expect_name()?))
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Res<T>) -> Res<T> {
        // The parser of expressions counts the levels of both.
        let mut parser = std::mem::replace(&mut self.p, Parser::new(vec![(Token::End, 0)]));
        let out = parser.nested(|p| {
            std::mem::swap(&mut self.p, p);
            let out = parse(self);
            std::mem::swap(&mut self.p, p);
            out
        });
        self.p = parser;
        out
    }

    /// A block with variables of its own.
    fn body(&mut self, ends: &[&str]) -> Res<(Body, String)> {
        let soft = std::mem::replace(&mut self.p.soft, false);
        let (list, end) = self.block(ends)?;
        self.p.soft = soft;
        Ok((self.framed(list), end))
    }

    fn framed(&mut self, list: Vec<Stmt>) -> Body {
        self.p.tree.hidden.push(Vec::new());
        Body { list, frame: self.p.tree.hidden.len() - 1 }
    }

    /// As [`body`](Self::body), from which no loop can be left.
    fn function(&mut self, end: &str) -> Res<Body> {
        let loops = std::mem::replace(&mut self.loops, false);
        let body = self.body(&[end])?.0;
        self.loops = loops;
        Ok(body)
    }

    fn statement(&mut self, line: u32, out: &mut Vec<Stmt>) -> Res<()> {
        let word = self.p.expect_name()?;
        let what = match &*word {
            "for" => self.for_()?,
            "if" => self.if_()?,
            "set" => self.set()?,
            "macro" => {
                let name = self.p.expect_name()?;
                let id = self.p.store(&name)?;
                What::Macro(id, self.signature(name, "endmacro")?)
            }
            "call" => {
                let params = if self.p.is_op("(") { self.params()? } else { (Vec::new(), Vec::new()) };
                let call = self.p.expression()?;
                if !matches!(call, Expr::Call(_)) {
                    return fail("expected call");
                }
                let mac = self.macro_of("caller".into(), params, "endcall")?;
                What::Call(call, mac)
            }
            // Marks the assistant's text for masks; what it sets is its own.
            "generation" => {
                let mac = self.macro_of("caller".into(), (Vec::new(), Vec::new()), "endgeneration")?;
                let id = self.p.id("caller");
                let call = super::ast::Apply { name: String::new(), of: Expr::Name(id), args: Default::default(), line };
                // A macro that is called at once: `caller` is bound in a scope around the call.
                let list = vec![Stmt { what: What::Macro(id, mac), line }, Stmt { what: What::Print(Expr::Call(Box::new(call))), line }];
                What::With(Vec::new(), self.framed(list))
            }
            "filter" => {
                let filter = self.p.block_filters(true)?.unwrap_or(Expr::Captured);
                What::Filter(filter, self.body(&["endfilter"])?.0)
            }
            "with" => self.with()?,
            "print" => {
                while !matches!(self.p.peek(), Token::EndBlock) {
                    let value = self.p.expression()?;
                    out.push(Stmt { what: What::Print(value), line });
                    if !matches!(self.p.peek(), Token::EndBlock) {
                        self.p.expect_op(",")?;
                    }
                }
                return Ok(());
            }
            "block" => {
                let name = self.p.expect_name()?;
                if self.p.skip_word("scoped") || self.p.skip_word("required") || self.loops || self.p.soft {
                    return fail("blocks other than plain ones at the top are not supported");
                }
                let id = self.p.id(&name);
                if self.blocks.contains(&id) {
                    return fail(format!("block '{name}' defined twice"));
                }
                self.blocks.push(id);
                let body = self.function("endblock")?;
                self.p.skip_word(&name);
                What::Block(body)
            }
            "break" | "continue" if !self.loops => return fail(format!("'{word}' outside loop")),
            "break" => What::Break,
            "continue" => What::Continue,
            "include" | "import" | "from" | "extends" => {
                while !matches!(self.p.peek(), Token::EndBlock | Token::End) {
                    self.p.next();
                }
                What::Fail("there are no other templates to include")
            }
            "autoescape" => return fail("autoescape is not supported"),
            _ => return fail(format!("Encountered unknown tag '{}'", word.chars().take(60).collect::<String>())),
        };
        out.push(Stmt { what, line });
        Ok(())
    }

    fn for_(&mut self) -> Res<What> {
        let target = self.p.target(&["in"], false)?;
        if !self.p.skip_word("in") {
            return fail(format!("expected 'in', found {}", self.p.shown()));
        }
        let iter = self.p.tuple(false, false, &["recursive"])?;
        let test = if self.p.skip_word("if") { Some(self.p.expression()?) } else { None };
        let recursive = self.p.skip_word("recursive");
        let from = self.p.uses.len();
        let loops = std::mem::replace(&mut self.loops, true);
        let (body, end) = self.body(&["endfor", "else"])?;
        self.loops = loops && !recursive;
        let extended = recursive || self.speaks_of("loop", from);
        let otherwise = if end == "else" { self.body(&["endfor"])?.0 } else { self.framed(Vec::new()) };
        self.loops = loops;
        let id = self.p.id("loop");
        if has(&target, id) || self.p.uses[from..].contains(&(id, true)) {
            return fail("Can't assign to special loop variable in for-loop target");
        }
        self.p.tree.fors.push(For { target, iter, test, body, otherwise, recursive, extended });
        Ok(What::For(self.p.tree.fors.len() - 1))
    }

    /// Is a name used, before it is set, since then?
    fn speaks_of(&mut self, name: &str, from: usize) -> bool {
        let id = self.p.id(name);
        self.p.uses[from..].iter().find(|u| u.0 == id).is_some_and(|u| !u.1)
    }

    fn if_(&mut self) -> Res<What> {
        let mut branches = Vec::new();
        loop {
            let soft = std::mem::replace(&mut self.p.soft, true);
            let test = self.p.tuple(false, false, &[])?;
            let (list, end) = self.block(&["elif", "else", "endif"])?;
            self.p.soft = soft;
            branches.push((test, list));
            match &*end {
                "elif" => {}
                "else" => {
                    let soft = std::mem::replace(&mut self.p.soft, true);
                    let last = self.block(&["endif"])?.0;
                    self.p.soft = soft;
                    return Ok(What::If(branches, last));
                }
                _ => return Ok(What::If(branches, Vec::new())),
            }
        }
    }

    fn set(&mut self) -> Res<What> {
        let target = self.p.target(&[], true)?;
        if self.p.skip_op("=") {
            return Ok(What::Set(target, self.p.tuple(true, false, &[])?));
        }
        let filter = self.p.block_filters(false)?;
        Ok(What::SetBlock(target, filter, self.body(&["endset"])?.0))
    }

    fn with(&mut self) -> Res<What> {
        let mut all: Vec<(Target, Expr)> = Vec::new();
        while !matches!(self.p.peek(), Token::EndBlock | Token::Op(":")) {
            if !all.is_empty() {
                self.p.expect_op(",")?;
            }
            let target = self.p.target(&[], false)?;
            self.p.expect_op("=")?;
            all.push((target, self.p.expression()?));
        }
        Ok(What::With(all, self.body(&["endwith"])?.0))
    }

    fn params(&mut self) -> Res<(Vec<u32>, Vec<Expr>)> {
        self.p.expect_op("(")?;
        let (mut params, mut defaults) = (Vec::new(), Vec::new());
        while !self.p.is_op(")") {
            if !params.is_empty() {
                self.p.expect_op(",")?;
            }
            let name = self.p.expect_name()?;
            let id = self.p.store(&name)?;
            if params.contains(&id) {
                return fail(format!("duplicate argument '{name}'"));
            }
            params.push(id);
            if self.p.skip_op("=") {
                defaults.push(self.p.expression()?);
            } else if !defaults.is_empty() {
                return fail("non-default argument follows default argument");
            }
        }
        self.p.expect_op(")")?;
        Ok((params, defaults))
    }

    fn signature(&mut self, name: String, end: &str) -> Res<usize> {
        let params = self.params()?;
        self.macro_of(name, params, end)
    }

    fn macro_of(&mut self, name: String, (params, defaults): (Vec<u32>, Vec<Expr>), end: &str) -> Res<usize> {
        let from = self.p.uses.len();
        let body = self.function(end)?;
        let [caller, kwargs, varargs] = ["caller", "kwargs", "varargs"].map(|n| {
            let id = self.p.id(n);
            self.speaks_of(n, from) && !params.contains(&id)
        });
        let id = self.p.id("caller");
        if params.contains(&id) {
            return fail("a macro whose parameter is named caller is not supported");
        }
        self.p.tree.macros.push(Macro { name, params, defaults, body, caller, kwargs, varargs });
        Ok(self.p.tree.macros.len() - 1)
    }
}

fn has(target: &Target, id: u32) -> bool {
    match target {
        Target::Name(n) => *n == id,
        Target::Field(..) => false,
        Target::Tuple(all) => all.iter().any(|t| has(t, id)),
    }
}
