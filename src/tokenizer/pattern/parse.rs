//! From the text of a pattern to a tree.
use super::class::{Class, Item};
use crate::tokenizer::unicode::{self, DECIMAL};

/// Groups and classes in each other.
const MAX_DEPTH: usize = 40;
/// `{n,m}`
const MAX_COUNT: u32 = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Greedy,
    Lazy,
    Possessive,
}

/// A place between two characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `^`: at the beginning of a line.
    LineStart,
    /// `$`: at the end of a line.
    LineEnd,
    /// `\A`
    Start,
    /// `\z`
    End,
    /// `\Z`: at the end, or before a newline there.
    LastEnd,
    /// `\b`
    WordEdge,
    /// `\B`
    NoWordEdge,
}

#[derive(Clone, Debug)]
pub enum Node {
    One(Class),
    At(Place),
    Sequence(Vec<Node>),
    Choice(Vec<Node>),
    Repeat { inner: Box<Node>, min: u32, max: Option<u32>, kind: Kind },
    Look { ahead: bool, negative: bool, inner: Box<Node> },
}

impl Node {
    fn may_be_empty(&self) -> bool {
        match self {
            Node::One(_) => false,
            Node::At(_) | Node::Look { .. } => true,
            Node::Sequence(parts) => parts.iter().all(Node::may_be_empty),
            Node::Choice(parts) => parts.iter().any(Node::may_be_empty),
            Node::Repeat { inner, min, .. } => *min == 0 || inner.may_be_empty(),
        }
    }
}

pub fn parse(source: &str) -> Result<Node, String> {
    let mut p = Parser { rest: source, folds: false, depth: 0 };
    let node = p.choice()?;
    if p.rest.is_empty() { Ok(node) } else { Err(format!("a group is closed that was not opened: {:?}", p.rest)) }
}

/// (at least, whether it was a count in braces), at most.
type Count = ((u32, bool), Option<u32>);

struct Parser<'a> {
    rest: &'a str,
    /// Inside `(?i)`.
    folds: bool,
    depth: usize,
}

impl Parser<'_> {
    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    fn enter(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(format!("groups go more than {MAX_DEPTH} deep")) } else { Ok(()) }
    }

    fn choice(&mut self) -> Result<Node, String> {
        self.enter()?;
        let folds = self.folds;
        let mut parts = vec![self.sequence()?];
        while self.eat("|") {
            parts.push(self.sequence()?);
        }
        // `(?i)` reaches to the end of its group.
        self.folds = folds;
        self.depth -= 1;
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::Choice(parts) })
    }

    fn sequence(&mut self) -> Result<Node, String> {
        let mut parts: Vec<Node> = Vec::new();
        while !self.rest.is_empty() && !self.rest.starts_with(['|', ')']) {
            if self.eat("(?i)") {
                self.folds = true;
                continue;
            }
            let mut atom = self.atom()?;
            while let Some((min, max)) = self.quantifier()? {
                atom = self.repeat(atom, min, max)?;
            }
            // One sign may stand for two letters, which is not done here.
            if let (true, Some(Node::One(a)), Node::One(b)) = (self.folds, parts.last(), &atom)
                && let (Some(a), Some(b)) = (a.letter(), b.letter())
                && ["ff", "fi", "fl", "ss", "st"].contains(&[a, b].iter().collect::<String>().as_str())
            {
                return Err(format!("{a}{b} inside (?i) is not supported"));
            }
            parts.push(atom);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Node::Sequence(parts) })
    }

    fn repeat(&mut self, atom: Node, (min, counted): (u32, bool), max: Option<u32>) -> Result<Node, String> {
        // Behind a count, + and ? are quantifiers of their own.
        let kind = match (counted, self.rest.as_bytes().first()) {
            (false, Some(b'+')) => Kind::Possessive,
            (_, Some(b'?')) => Kind::Lazy,
            _ => Kind::Greedy,
        };
        if kind != Kind::Greedy {
            self.next();
        }
        if kind == Kind::Possessive && !matches!(atom, Node::One(_)) {
            return Err("a possessive repeat of more than one character class is not supported".into());
        }
        if matches!(atom, Node::At(_) | Node::Look { .. }) || (max.is_none() && atom.may_be_empty()) {
            return Err("a repeat of what may be empty is not supported".into());
        }
        Ok(Node::Repeat { inner: Box::new(atom), min, max, kind })
    }

    fn quantifier(&mut self) -> Result<Option<Count>, String> {
        for (sign, min, max) in [("*", 0, None), ("+", 1, None), ("?", 0, Some(1))] {
            if self.eat(sign) {
                return Ok(Some(((min, false), max)));
            }
        }
        let Some(inside) = self.rest.strip_prefix('{').and_then(|r| r.split_once('}')).map(|r| r.0) else { return Ok(None) };
        let (low, high) = inside.split_once(',').map_or((inside, None), |(a, b)| (a, Some(b)));
        let is_number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !(is_number(low) || low.is_empty() && high.is_some_and(is_number)) || high.is_some_and(|h| !h.is_empty() && !is_number(h)) {
            return Ok(None);
        }
        let number = |s: &str| s.parse::<u32>().ok().filter(|n| *n <= MAX_COUNT);
        let too_many = || format!("a repeat of {inside} is more than {MAX_COUNT}");
        let min = if low.is_empty() { 0 } else { number(low).ok_or_else(too_many)? };
        let max = match high {
            None => Some(min),
            Some("") => None,
            Some(h) => Some(number(h).ok_or_else(too_many)?),
        };
        if max.is_some_and(|m| m < min) {
            return Err(format!("a repeat of {{{inside}}} is not supported"));
        }
        self.rest = &self.rest[inside.len() + 2..];
        Ok(Some(((min, true), max)))
    }

    fn group(&mut self) -> Result<Node, String> {
        let node = self.choice()?;
        if self.eat(")") { Ok(node) } else { Err("a group is not closed".into()) }
    }

    fn atom(&mut self) -> Result<Node, String> {
        let whole = self.rest;
        let shown = |n| whole.chars().take(n).collect::<String>();
        let c = self.next().expect("not at the end");
        Ok(match c {
            '(' if self.eat("?:") => self.group()?,
            '(' if self.eat("?i:") => {
                let before = std::mem::replace(&mut self.folds, true);
                let node = self.group()?;
                self.folds = before;
                node
            }
            '(' if self.rest.starts_with('?') => {
                let looks = [("?=", true, false), ("?!", true, true), ("?<=", false, false), ("?<!", false, true)];
                let Some((_, ahead, negative)) = looks.into_iter().find(|l| self.eat(l.0)) else {
                    return Err(format!("a group {} is not supported", shown(3)));
                };
                let inner = self.group()?;
                if !ahead && !matches!(inner, Node::One(_)) {
                    return Err("a look-behind at more than one character is not supported".into());
                }
                Node::Look { ahead, negative, inner: Box::new(inner) }
            }
            '(' => self.group()?,
            '[' => Node::One(self.class()?),
            // Without the flag for it, Oniguruma's dot is everything but a newline.
            '.' => Node::One(Class::new(vec![Item::Range('\n', '\n')], true)),
            '^' => Node::At(Place::LineStart),
            '$' => Node::At(Place::LineEnd),
            '*' | '+' | '?' => return Err(format!("{c} repeats nothing")),
            '\\' => match self.rest.chars().next() {
                Some('b') => self.place(Place::WordEdge),
                Some('B') => self.place(Place::NoWordEdge),
                Some('A') => self.place(Place::Start),
                Some('z') => self.place(Place::End),
                Some('Z') => self.place(Place::LastEnd),
                _ => {
                    let item = self.escape()?;
                    Node::One(self.fold(Class::new(vec![item], false))?)
                }
            },
            c => Node::One(self.fold(Class::of(c))?),
        })
    }

    fn place(&mut self, place: Place) -> Node {
        self.next();
        Node::At(place)
    }

    fn fold(&self, class: Class) -> Result<Class, String> {
        if !self.folds {
            return Ok(class);
        }
        class.folded().ok_or_else(|| "only ASCII characters are supported inside (?i)".into())
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<Item, String> {
        let one = |c| Ok(Item::Range(c, c));
        let not = |item| Ok(Item::Class(Class::new(vec![item], true)));
        let c = self.next().ok_or("it ends in a backslash")?;
        match c {
            'n' => one('\n'),
            'r' => one('\r'),
            't' => one('\t'),
            'f' => one('\x0c'),
            'v' => one('\x0b'),
            's' => Ok(Item::Space),
            'S' => not(Item::Space),
            'd' => Ok(Item::In(DECIMAL)),
            'D' => not(Item::In(DECIMAL)),
            'w' => Ok(Item::Word),
            'W' => not(Item::Word),
            'x' | 'u' => {
                let digits = match self.rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
                    Some((digits, _)) if c == 'x' => {
                        self.rest = &self.rest[digits.len() + 2..];
                        digits
                    }
                    _ => {
                        let n = if c == 'x' { 2 } else { 4 };
                        let digits = self.rest.get(..n).unwrap_or_default();
                        self.rest = &self.rest[digits.len()..];
                        digits
                    }
                };
                let found = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                one(found.ok_or_else(|| format!("\\{c} with {digits:?} is no character"))?)
            }
            'p' | 'P' => {
                let inside = self.rest.strip_prefix('{').and_then(|r| r.split_once('}')).map(|r| r.0);
                let inside = inside.ok_or_else(|| format!("\\{c} without a name in braces is not supported"))?;
                self.rest = &self.rest[inside.len() + 2..];
                let (name, negated) = inside.strip_prefix('^').map_or((inside, false), |name| (name, true));
                let item = match name {
                    "Han" => Item::Han,
                    _ => Item::In(unicode::categories(name).ok_or_else(|| format!("\\{c}{{{name}}} is not supported"))?),
                };
                if negated == (c == 'P') { Ok(item) } else { not(item) }
            }
            c if c.is_ascii_alphanumeric() => Err(format!("\\{c} is not supported")),
            c => one(c),
        }
    }

    /// What follows an opening bracket.
    fn class(&mut self) -> Result<Class, String> {
        self.enter()?;
        let negated = self.eat("^");
        let mut items: Vec<Item> = Vec::new();
        let mut left: Option<Class> = None;
        let mut first = true;
        loop {
            if self.rest.starts_with("[:") {
                return Err("a class with [: is not supported".into());
            }
            if self.eat("&&") {
                left = Some(both(left, std::mem::take(&mut items)));
                first = false;
                continue;
            }
            let c = self.next().ok_or("a class is not closed")?;
            let item = match c {
                ']' if !first => break,
                '[' => Item::Class(self.class()?),
                '\\' => self.escape()?,
                c => Item::Range(c, c),
            };
            first = false;
            // A range, unless the hyphen is the last character.
            if let (Item::Range(a, _), true) = (&item, self.rest.starts_with('-') && !self.rest.starts_with("-]"))
                && !self.rest.starts_with("-[")
            {
                let a = *a;
                self.next();
                let end = match self.next().ok_or("a class is not closed")? {
                    '\\' => self.escape()?,
                    c => Item::Range(c, c),
                };
                match end {
                    Item::Range(b, _) if a <= b => items.push(Item::Range(a, b)),
                    Item::Range(b, _) => return Err(format!("the range {a}-{b} is empty")),
                    _ => return Err(format!("a range from {a:?} to a class is not supported")),
                }
                continue;
            }
            items.push(item);
        }
        let items = match left {
            Some(_) => vec![Item::Class(both(left, items))],
            None => items,
        };
        self.depth -= 1;
        if !self.folds {
            return Ok(Class::new(items, negated));
        }
        self.fold(Class::new(items, negated))
    }
}

fn both(left: Option<Class>, items: Vec<Item>) -> Class {
    let right = Class::new(items, false);
    match left {
        Some(left) => Class::new(vec![Item::Both(Box::new(left), Box::new(right))], false),
        None => right,
    }
}
