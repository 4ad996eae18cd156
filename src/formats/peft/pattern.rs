//! The regular expressions of PEFT configs (`target_modules` as a string, keys of `rank_pattern`), matched in time
//! linear in text × pattern: a set of states is advanced character by character, so no pattern can blow up.
//!
//! Supported: literals, `.`, `[…]`, `\d \w \s` and their complements, `\b`, groups (plain, `(?:…)`, `(?P<name>…)`),
//! `|`, `* + ? {m} {m,} {m,n}` (greedy or lazy: the same for a yes-or-no answer), `^ $`. Look-around and
//! back-references are refused.
use crate::error::{Error, Result};

/// A set of characters.
#[derive(Clone, Debug, Default)]
struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
    /// `d`, `w`, `s` and `D`, `W`, `S`.
    named: Vec<char>,
}

impl Class {
    fn has(&self, c: char) -> bool {
        let named = |n: char| match n {
            'd' => c.is_ascii_digit(),
            'D' => !c.is_ascii_digit(),
            'w' => is_word(c),
            'W' => !is_word(c),
            's' => c.is_whitespace(),
            _ => !c.is_whitespace(),
        };
        let found = self.ranges.iter().any(|&(a, b)| (a..=b).contains(&c)) || self.named.iter().any(|&n| named(n));
        found != self.negated
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

enum Node {
    Class(Class),
    Start,
    End,
    WordBoundary(bool),
    Concat(Vec<Node>),
    Either(Vec<Node>),
    Repeat(Box<Node>, u32, Option<u32>),
}

enum Inst {
    Class(Class),
    Split(usize, usize),
    Jump(usize),
    Start,
    End,
    WordBoundary(bool),
    Match,
}

/// A compiled pattern.
pub struct Pattern(Vec<Inst>);

/// No pattern may compile to more steps, or nest deeper.
const MAX_STEPS: usize = 20_000;
const MAX_DEPTH: usize = 64;
/// Parts that may be looked at on the way there: a step has one, and a group around it now and then.
const MAX_WORK: usize = 8 * MAX_STEPS;

struct Parser<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    depth: usize,
}

type Parsed<T> = Result<T, String>;

impl Parser<'_> {
    fn eat(&mut self, c: char) -> bool {
        self.rest.next_if_eq(&c).is_some()
    }

    fn either(&mut self) -> Parsed<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("groups are nested deeper than {MAX_DEPTH}"));
        }
        let mut all = vec![self.concat()?];
        while self.eat('|') {
            all.push(self.concat()?);
        }
        self.depth -= 1;
        Ok(if all.len() == 1 { all.remove(0) } else { Node::Either(all) })
    }

    fn concat(&mut self) -> Parsed<Node> {
        let mut all = Vec::new();
        while let Some(&c) = self.rest.peek() {
            if c == '|' || c == ')' {
                break;
            }
            let atom = self.atom()?;
            all.push(self.repeated(atom)?);
        }
        Ok(Node::Concat(all))
    }

    fn repeated(&mut self, atom: Node) -> Parsed<Node> {
        let (min, max) = match self.rest.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => return self.counted(atom),
            _ => return Ok(atom),
        };
        self.rest.next();
        self.lazy()?;
        Ok(Node::Repeat(Box::new(atom), min, max))
    }

    /// A `?` after a repetition makes it lazy, which does not change whether the whole text matches.
    fn lazy(&mut self) -> Parsed<()> {
        self.eat('?');
        match self.rest.peek() {
            Some(c @ ('*' | '+' | '?')) => Err(format!("a repetition is repeated by {c:?}")),
            _ => Ok(()),
        }
    }

    fn counted(&mut self, atom: Node) -> Parsed<Node> {
        self.rest.next();
        let inside: String = std::iter::from_fn(|| self.rest.next_if(|&c| c != '}')).collect();
        if !self.eat('}') {
            return Err("a { is not closed".into());
        }
        let number = |s: &str| s.parse::<u32>().ok().filter(|&n| n <= 1000);
        let (min, max) = match inside.split_once(',') {
            None => (number(&inside), Some(number(&inside))),
            Some((a, "")) => (number(a), None),
            Some(("", b)) => (Some(0), Some(number(b))),
            Some((a, b)) => (number(a), Some(number(b))),
        };
        let bad = || format!("{{{inside}}} is not a repetition of at most 1000");
        let (min, max) = (min.ok_or_else(bad)?, max.map(|m| m.ok_or_else(bad)).transpose()?);
        if max.is_some_and(|m| m < min) {
            return Err(bad());
        }
        self.lazy()?;
        Ok(Node::Repeat(Box::new(atom), min, max))
    }

    fn atom(&mut self) -> Parsed<Node> {
        let one = |c: char| Node::Class(Class { ranges: vec![(c, c)], ..Class::default() });
        Ok(match self.rest.next().ok_or("it ends too early")? {
            '.' => Node::Class(Class { negated: true, ranges: vec![('\n', '\n')], ..Class::default() }),
            '^' => Node::Start,
            '$' => Node::End,
            '[' => Node::Class(self.class()?),
            '(' => {
                if self.eat('?') && !self.eat(':') {
                    if !(self.eat('P') && self.eat('<')) {
                        return Err("only (…), (?:…) and (?P<name>…) groups are supported".into());
                    }
                    while self.rest.next_if(|&c| is_word(c)).is_some() {}
                    if !self.eat('>') {
                        return Err("a group's name is not closed".into());
                    }
                }
                let inside = self.either()?;
                if !self.eat(')') {
                    return Err("a ( is not closed".into());
                }
                inside
            }
            c @ ('*' | '+' | '?') => return Err(format!("nothing stands before {c:?}")),
            '\\' => match self.rest.next().ok_or("it ends in a backslash")? {
                c @ ('d' | 'D' | 'w' | 'W' | 's' | 'S') => Node::Class(Class { named: vec![c], ..Class::default() }),
                'b' => Node::WordBoundary(true),
                'B' => Node::WordBoundary(false),
                'A' => Node::Start,
                'Z' => Node::End,
                c => one(escaped(c)?),
            },
            c => one(c),
        })
    }

    fn class(&mut self) -> Parsed<Class> {
        let mut class = Class { negated: self.eat('^'), ..Class::default() };
        let mut first = true;
        loop {
            let c = self.rest.next().ok_or("a [ is not closed")?;
            let from = match c {
                ']' if !first => return Ok(class),
                '\\' => match self.rest.next().ok_or("a [ is not closed")? {
                    n @ ('d' | 'D' | 'w' | 'W' | 's' | 'S') => {
                        class.named.push(n);
                        first = false;
                        continue;
                    }
                    e => escaped(e)?,
                },
                c => c,
            };
            first = false;
            if !self.eat('-') {
                class.ranges.push((from, from));
                continue;
            }
            let to = match self.rest.next().ok_or("a [ is not closed")? {
                ']' => {
                    class.ranges.extend([(from, from), ('-', '-')]);
                    return Ok(class);
                }
                '\\' => escaped(self.rest.next().ok_or("a [ is not closed")?)?,
                c => c,
            };
            if to < from {
                return Err(format!("the range {from}-{to} is empty"));
            }
            class.ranges.push((from, to));
        }
    }
}

fn escaped(c: char) -> Parsed<char> {
    match c {
        'n' => Ok('\n'),
        't' => Ok('\t'),
        'r' => Ok('\r'),
        c if c.is_ascii_alphanumeric() => Err(format!("\\{c} is not supported")),
        c => Ok(c),
    }
}

impl Pattern {
    /// Compiles `text`; `field` names the config field in the error.
    pub fn new(field: &str, text: &str) -> Result<Self> {
        let compile = || -> Parsed<Pattern> {
            let mut parser = Parser { rest: text.chars().peekable(), depth: 0 };
            let node = parser.either()?;
            if parser.rest.next().is_some() {
                return Err("a ) is not opened".into());
            }
            let mut program = Pattern(Vec::new());
            program.emit(&node, &mut 0)?;
            program.0.push(Inst::Match);
            Ok(program)
        };
        compile().map_err(|why| Error::config(field, format!("the regular expression {text:?} cannot be used: {why}")))
    }

    /// `work` counts the parts that were looked at: a repeated group with nothing inside takes time, but no steps.
    fn emit(&mut self, node: &Node, work: &mut usize) -> Parsed<()> {
        *work += 1;
        if self.0.len() > MAX_STEPS || *work > MAX_WORK {
            return Err(format!("it needs more than {MAX_STEPS} steps"));
        }
        match node {
            Node::Class(c) => self.0.push(Inst::Class(c.clone())),
            Node::Start => self.0.push(Inst::Start),
            Node::End => self.0.push(Inst::End),
            Node::WordBoundary(yes) => self.0.push(Inst::WordBoundary(*yes)),
            Node::Concat(all) => all.iter().try_for_each(|n| self.emit(n, work))?,
            Node::Either(all) => {
                let mut ends = Vec::new();
                for (i, n) in all.iter().enumerate() {
                    if i + 1 == all.len() {
                        self.emit(n, work)?;
                        break;
                    }
                    let split = self.0.len();
                    self.0.push(Inst::Split(split + 1, 0));
                    self.emit(n, work)?;
                    ends.push(self.0.len());
                    self.0.push(Inst::Jump(0));
                    self.0[split] = Inst::Split(split + 1, self.0.len());
                }
                let end = self.0.len();
                ends.into_iter().for_each(|e| self.0[e] = Inst::Jump(end));
            }
            Node::Repeat(n, min, max) => {
                (0..*min).try_for_each(|_| self.emit(n, work))?;
                match max {
                    None => {
                        let split = self.0.len();
                        self.0.push(Inst::Split(split + 1, 0));
                        self.emit(n, work)?;
                        self.0.push(Inst::Jump(split));
                        self.0[split] = Inst::Split(split + 1, self.0.len());
                    }
                    Some(max) => {
                        let mut splits = Vec::new();
                        for _ in *min..*max {
                            splits.push(self.0.len());
                            self.0.push(Inst::Split(0, 0));
                            self.emit(n, work)?;
                        }
                        let end = self.0.len();
                        splits.into_iter().for_each(|s| self.0[s] = Inst::Split(s + 1, end));
                    }
                }
            }
        }
        Ok(())
    }

    /// True if the whole of `text` matches.
    pub fn full_match(&self, text: &str) -> bool {
        let (mut now, mut next) = (States::new(self.0.len()), States::new(self.0.len()));
        let mut before = None;
        let mut chars = text.chars().peekable();
        self.add(&mut now, 0, before, chars.peek().copied());
        while let Some(c) = chars.next() {
            next.clear();
            before = Some(c);
            for &at in &now.list {
                if let Inst::Class(class) = &self.0[at]
                    && class.has(c)
                {
                    self.add(&mut next, at + 1, before, chars.peek().copied());
                }
            }
            std::mem::swap(&mut now, &mut next);
        }
        now.list.iter().any(|&at| matches!(self.0[at], Inst::Match))
    }

    /// Adds a state and all that follow from it without a character.
    fn add(&self, states: &mut States, at: usize, before: Option<char>, after: Option<char>) {
        let mut todo = vec![at];
        while let Some(at) = todo.pop() {
            if std::mem::replace(&mut states.seen[at], true) {
                continue;
            }
            states.list.push(at);
            match self.0[at] {
                Inst::Jump(to) => todo.push(to),
                Inst::Split(a, b) => todo.extend([b, a]),
                Inst::Start if before.is_none() => todo.push(at + 1),
                Inst::End if after.is_none() => todo.push(at + 1),
                Inst::WordBoundary(yes) if (before.is_some_and(is_word) != after.is_some_and(is_word)) == yes => {
                    todo.push(at + 1);
                }
                _ => {}
            }
        }
    }
}

struct States {
    list: Vec<usize>,
    seen: Vec<bool>,
}

impl States {
    fn new(n: usize) -> Self {
        States { list: Vec::new(), seen: vec![false; n] }
    }

    fn clear(&mut self) {
        self.list.drain(..).for_each(|at| self.seen[at] = false);
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn m(pattern: &str, text: &str) -> bool {
        Pattern::new("p", pattern).unwrap().full_match(text)
    }

    #[test]
    fn matches_as_expected() {
        assert!(m(r".*\.layers\.[0-1]\..*(q|v)_proj", "model.layers.1.self_attn.v_proj"));
        assert!(!m(r".*\.layers\.[0-1]\..*(q|v)_proj", "model.layers.2.self_attn.v_proj"));
        assert!(!m(r"q_proj", "x.q_proj"));
        assert!(m(r"(.*\.)?(q_proj)", "q_proj") && m(r"(.*\.)?(q_proj)", "a.q_proj") && !m(r"(.*\.)?(q_proj)", "aq_proj"));
        assert!(m(r"a{2,3}", "aaa") && !m(r"a{2,3}", "a") && !m(r"a{2,3}", "aaaa") && m(r"a{2}", "aa") && m("a{1,}", "aaaa"));
        assert!(m(r"[^.]+\.\d+", "layers.12") && !m(r"[^.]+\.\d+", "la.yers.12"));
        assert!(m("", "") && !m("", "a") && m("a|", "") && m("(a*)*", "aaa") && m("^a$", "a") && !m("a^", "a"));
        assert!(m(r"(?P<n>x)(?:y)", "xy") && m(r"\bq\b.*", "q.x") && m("[]a]", "]") && m("[a-]", "-") && m(r"[\w.]+?", "a.b_c"));
        // Exponential for a backtracking matcher.
        assert!(!m("(a|aa)+(a|aa)+(a|aa)+b", &"a".repeat(500)));
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        for bad in ["(", ")", "[", "a**", "*", "(?=x)", r"\1", "a{5,2}", "a{99999}", "x{", r"\", "[b-a]", "((a{1000}){1000}){1000}"] {
            let e = Pattern::new("target_modules", bad).map(|_| ()).unwrap_err();
            assert!(e.code() == "bad-config" && e.to_string().starts_with("target_modules: "), "{bad}: {e}");
        }
        assert!(Pattern::new("p", &"(".repeat(100_000)).is_err());
        // Groups with nothing inside cost no steps, only time.
        for bad in [
            "((((){1000}){1000}){1000}){1000}",
            "((((){1000}){1000}){1000})*",
            "(((|){1000}){1000}){1000}",
            "((((^){0,1000}){1000}){1000}){2,}",
        ] {
            assert_eq!(Pattern::new("p", bad).map(|_| ()).unwrap_err().code(), "bad-config", "{bad}");
        }
        assert!(m("(){1000}a", "a"));
    }
}
