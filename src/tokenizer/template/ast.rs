//! The syntax tree. It holds no values, so that a template can be shared between threads.
use super::compare::Cmp;
use super::ops::Math;

/// A variable's number.
pub(super) type Id = u32;
/// Where a constant lies.
pub(super) type ConstId = u32;

#[derive(Debug, PartialEq)]
pub(super) enum Const {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(String),
}

#[derive(Debug, Default)]
pub(super) struct ArgList {
    pub pos: Vec<Expr>,
    pub kw: Vec<(ConstId, Expr)>,
    pub star: Option<Expr>,
    pub stars: Option<Expr>,
}

#[derive(Debug)]
pub(super) struct Apply {
    pub name: String,
    pub of: Expr,
    pub args: ArgList,
    pub line: u32,
}

#[derive(Debug)]
pub(super) enum Expr {
    Const(ConstId),
    Name(Id),
    /// What a filter of a block is applied to.
    Captured,
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    Attr(Box<Expr>, ConstId),
    Item(Box<(Expr, Expr)>),
    Slice(Box<(Expr, [Option<Expr>; 3])>),
    /// The name is not used.
    Call(Box<Apply>),
    Filter(Box<Apply>),
    Test(Box<Apply>),
    Not(Box<Expr>),
    Sign(Box<Expr>, bool),
    Math(Box<Expr>, Vec<(Math, Expr)>),
    Compare(Box<Expr>, Vec<(Cmp, Expr)>),
    Concat(Vec<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// Test, what holds if it is true, and what if not.
    If(Box<(Expr, Expr, Option<Expr>)>),
}

#[derive(Debug)]
pub(super) enum Target {
    Name(Id),
    Field(Id, ConstId),
    Tuple(Vec<Target>),
}

/// Statements with variables of their own.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub list: Vec<Stmt>,
    /// Its number.
    pub frame: usize,
}

#[derive(Debug)]
pub(super) struct For {
    pub target: Target,
    pub iter: Expr,
    pub test: Option<Expr>,
    pub body: Body,
    pub otherwise: Body,
    pub recursive: bool,
    /// Its body speaks of `loop`.
    pub extended: bool,
}

#[derive(Debug)]
pub(super) struct Macro {
    pub name: String,
    pub params: Vec<Id>,
    /// Of the last parameters.
    pub defaults: Vec<Expr>,
    pub body: Body,
    pub caller: bool,
    pub kwargs: bool,
    pub varargs: bool,
}

#[derive(Debug)]
pub(super) struct Stmt {
    pub what: What,
    pub line: u32,
}

#[derive(Debug)]
pub(super) enum What {
    Text(ConstId),
    Print(Expr),
    Set(Target, Expr),
    SetBlock(Target, Option<Expr>, Body),
    /// Tests with their branches, and the last.
    If(Vec<(Expr, Vec<Stmt>)>, Vec<Stmt>),
    For(usize),
    Macro(Id, usize),
    /// The call and the macro that it gets as `caller`.
    Call(Expr, usize),
    Filter(Expr, Body),
    With(Vec<(Target, Expr)>, Body),
    Block(Body),
    Break,
    Continue,
    /// What Transformers does not do either.
    Fail(&'static str),
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    pub body: Body,
    /// For each body the variables that are undefined until they are set, whatever the context has.
    pub hidden: Vec<Vec<Id>>,
    pub fors: Vec<For>,
    pub macros: Vec<Macro>,
    pub names: Vec<String>,
    pub consts: Vec<Const>,
}
