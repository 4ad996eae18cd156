//! The regular expressions of tokenizers: what `tokenizer.json` and GGUF's named pre-tokenizers use of Oniguruma's syntax.
//!
//! A crate for them all (look-around and Unicode classes) weighs more than the rest of the tokenizer. Matching goes back over its choices, as
//! Oniguruma does, and finds the same pieces. A text that makes it go back often is matched with a memory of what has failed: the time is then
//! bounded by the length of the text times that of the pattern.
mod class;
mod parse;
mod search;

use parse::Node;
use search::{Inst, Program};

/// No pattern may be longer, in bytes.
const MAX_PATTERN: usize = 16 << 10;

/// A compiled regular expression.
#[derive(Debug)]
pub struct Pattern {
    /// A class repeated is one instruction.
    fast: Program,
    /// It is a loop over single characters, whose failures can be remembered.
    bounded: Program,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A sentence about what is not supported in it.
    pub fn new(source: &str) -> Result<Pattern, String> {
        if source.len() > MAX_PATTERN {
            return Err(format!("it has {} bytes, at most {MAX_PATTERN} are supported", source.len()));
        }
        let node = parse::parse(source)?;
        Ok(Pattern { fast: compile(&node, true)?, bounded: compile(&node, false)? })
    }

    /// A pattern that matches `text` itself.
    pub fn literal(text: &str) -> Pattern {
        let node = Node::Sequence(text.chars().map(|c| Node::One(class::Class::of(c))).collect());
        let compiled = |fast| compile(&node, fast).expect("few instructions");
        Pattern { fast: compiled(true), bounded: compiled(false) }
    }

    /// The matches in `text`, from left to right, as byte ranges. An empty one does not follow another match directly.
    pub fn matches(&self, text: &str) -> Vec<(usize, usize)> {
        search::all(&self.fast, &self.bounded, text)
    }
}

fn compile(node: &Node, fast: bool) -> Result<Program, String> {
    let mut program = Program::default();
    emit(node, fast, &mut program)?;
    program.push(Inst::Accept)?;
    Ok(program)
}

fn emit(node: &Node, fast: bool, p: &mut Program) -> Result<(), String> {
    match node {
        Node::One(class) => {
            let class = p.class(class);
            p.push(Inst::One(class))
        }
        Node::At(place) => p.push(Inst::At(*place)),
        Node::Sequence(parts) => parts.iter().try_for_each(|n| emit(n, fast, p)),
        Node::Choice(parts) => {
            let mut ends = Vec::new();
            for (i, part) in parts.iter().enumerate() {
                if i + 1 == parts.len() {
                    emit(part, fast, p)?;
                    break;
                }
                let split = p.len();
                p.push(Inst::Split(split + 1, 0))?;
                emit(part, fast, p)?;
                ends.push(p.len());
                p.push(Inst::Jump(0))?;
                p.set(split, Inst::Split(split + 1, p.len()));
            }
            let end = p.len();
            ends.into_iter().for_each(|at| p.set(at, Inst::Jump(end)));
            Ok(())
        }
        Node::Look { ahead, negative, inner } => {
            let look = p.len();
            p.push(Inst::Accept)?;
            emit(inner, fast, p)?;
            p.push(Inst::Accept)?;
            p.set(look, Inst::Look { ahead: *ahead, negative: *negative, next: p.len() });
            Ok(())
        }
        Node::Repeat { inner, min, max, kind } => {
            if let (Node::One(class), true) = (inner.as_ref(), fast) {
                let class = p.class(class);
                return p.push(Inst::Run { class, min: *min, max: *max, kind: *kind });
            }
            if *kind == parse::Kind::Possessive {
                return emit(&given_nothing_back(inner, *min, *max), fast, p);
            }
            let split = |body, after| if *kind == parse::Kind::Lazy { Inst::Split(after, body) } else { Inst::Split(body, after) };
            for _ in 0..*min {
                emit(inner, fast, p)?;
            }
            match max {
                None => {
                    let at = p.len();
                    p.push(Inst::Accept)?;
                    emit(inner, fast, p)?;
                    p.push(Inst::Jump(at))?;
                    p.set(at, split(at + 1, p.len()));
                }
                Some(max) => {
                    let mut optional = Vec::new();
                    for _ in *min..*max {
                        optional.push(p.len());
                        p.push(Inst::Accept)?;
                        emit(inner, fast, p)?;
                    }
                    let end = p.len();
                    optional.into_iter().for_each(|at| p.set(at, split(at + 1, end)));
                }
            }
            Ok(())
        }
    }
}

/// A possessive repeat is a greedy one that no further character of the class follows.
fn given_nothing_back(inner: &Node, min: u32, max: Option<u32>) -> Node {
    let not = Node::Look { ahead: true, negative: true, inner: Box::new(inner.clone()) };
    match max {
        Some(_) => Node::Choice(vec![inner.clone(), not]),
        None => Node::Sequence(vec![Node::Repeat { inner: Box::new(inner.clone()), min, max, kind: parse::Kind::Greedy }, not]),
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    fn found<'a>(pattern: &str, text: &'a str) -> Vec<&'a str> {
        let p = Pattern::new(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        p.matches(text).into_iter().map(|(a, b)| &text[a..b]).collect()
    }

    #[test]
    fn syntax() {
        for (pattern, text, wanted) in [
            (r"a$", "a\na\nba", &["a", "a", "a"][..]),
            (r"^a", "aa\na", &["a", "a"]),
            (r"a\z", "aaa", &["a"]),
            (r"(?i:[st]x|ll)", "SXſxtXlL", &["SX", "ſx", "tX", "lL"]),
            (r"(?i)k|ab", "\u{212a}kAb", &["\u{212a}", "k", "Ab"]),
            (r"[^(\s|.,)]+", "ab (c|d) e.f", &["ab", "c", "d", "e", "f"]),
            (r".", "a\nb", &["a", "b"]),
            (r"[\w&&[^a]]+", "abcab", &["bc", "b"]),
            (r"[^\W\d]+", "ab1_é", &["ab", "_é"]),
            (r"\bfoo\b", "foo xfoo", &["foo"]),
            (r"x*", "axxb", &["", "xx", ""]),
            (r"(?=(\d{3})+(?!\d))", "1234567", &["", ""]),
            (r"\d{1,3}(?=(?:\d{3})*\b)", "1234567", &["1", "234", "567"]),
            (r"a{2}|b{,2}c|d{2,}", "aaabbbcdddd", &["aa", "bbc", "dddd"]),
            (r"a+?b??|c", "aabc", &["a", "a", "c"]),
            (r"(?<=a)b|(?<!a)c", "abcacbc", &["b", "c", "c"]),
            (r"\p{Lu}\P{L}|\p{^L}\p{Han}|[\x41-\x{43}é]", "A1 中Cé", &["A1", " 中", "C", "é"]),
            (r"[]a]|[b\-c]|[\]d-f]", "]a-be", &["]", "a", "-", "b", "e"]),
            (r"(?:ab|a)(?:c|bcd)", "abcd", &["abc"]),
            (r"\s++x| +y", "  x  y", &["  x", "  y"]),
            (r"[!-/:-@\[-`{-~]+", "a[b]\\{|}c", &["[", "]\\{|}"]),
        ] {
            assert_eq!(found(pattern, text), wanted, "{pattern}");
        }
    }

    #[test]
    fn what_is_not_supported_is_said() {
        for (pattern, words) in [
            (r"(a", "closed"),
            (r"a)", ")"),
            (r"[a", "closed"),
            (r"\1", "\\1"),
            (r"(?P<n>a)", "(?P"),
            (r"(?>a)", "(?>"),
            (r"\p{Greek}", "Greek"),
            (r"[[:alpha:]]", "[:"),
            (r"(a*)*", "empty"),
            (r"(?:ab)++", "possessive"),
            (r"a{9999}", "9999"),
            (r"*a", "*"),
            (r"\Kx", "\\K"),
            (r"(?<=ab)c", "look-behind"),
            (r"(?i:\p{Lu})", "(?i"),
            (r"[z-a]", "z-a"),
            ("(?:[ab]{200}){200}", "instructions"),
            (&"(".repeat(5000), "deep"),
        ] {
            let e = Pattern::new(pattern).err().unwrap_or_else(|| panic!("{pattern} is taken"));
            assert!(e.contains(words), "{pattern}: {e}");
        }
        assert!(Pattern::new(&"a".repeat(20_000)).unwrap_err().contains("bytes"));
    }

    /// Each would take time that grows with the square of the text or worse.
    #[test]
    fn no_text_takes_long() {
        for (pattern, text) in [
            (r"\s*x|\s", " ".repeat(200_000)),
            (r"(?:a|a)*b|a", "a".repeat(100_000)),
            (r"(?:a+)+b|a", "a".repeat(100_000)),
            (r"\d{1,3}(?=(?:\d{3})*\b)", "1".repeat(200_000)),
            (r"(?=(\d{3})+(?!\d))", "1".repeat(200_000)),
            (r"\s*\s*\s*\s*x|\s", " ".repeat(100_000)),
            (r"a(?=a*b)|a", "a".repeat(200_000)),
            (r"\s++x|\s?+y|\s", " ".repeat(200_000)),
        ] {
            let total: usize = Pattern::new(pattern).unwrap().matches(&text).iter().map(|(a, b)| b - a).sum();
            assert!(total == text.len() || pattern.starts_with("(?="), "{pattern}");
        }
    }
}
