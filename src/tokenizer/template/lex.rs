//! A template's source as tokens, by the rules of Jinja's lexer with `trim_blocks` and `lstrip_blocks`.
use super::fault::{Fault, Res, fail};
use super::strings::is_space;

/// More tokens than any chat template has.
const MAX_TOKENS: usize = 200_000;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Data(String),
    /// `{{` and `}}`.
    Print,
    EndPrint,
    /// `{%` and `%}`.
    Block,
    EndBlock,
    Name(String),
    Str(String),
    Int(i128),
    Float(f64),
    Op(&'static str),
    End,
}

/// Longer ones first.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
];

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: u32,
    out: Vec<(Token, u32)>,
    /// The last thing that was read ended a line.
    line_starting: bool,
}

/// The tokens with their lines; the last is `End`.
pub(super) fn tokens(source: &str) -> Res<Vec<(Token, u32)>> {
    let mut text = source.replace("\r\n", "\n").replace('\r', "\n");
    if text.ends_with('\n') {
        text.pop();
    }
    let mut lexer = Lexer { source: &text, at: 0, line: 1, out: Vec::new(), line_starting: true };
    match lexer.root() {
        Ok(()) => {
            let line = lexer.line;
            lexer.out.push((Token::End, line));
            Ok(lexer.out)
        }
        Err(e) => Err(e.at(lexer.line)),
    }
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn push(&mut self, token: Token) -> Res<()> {
        if self.out.len() >= MAX_TOKENS {
            return fail(format!("it has more than {MAX_TOKENS} parts"));
        }
        self.out.push((token, self.line));
        Ok(())
    }

    /// Goes on by some bytes.
    fn take(&mut self, n: usize) -> &'a str {
        let taken = &self.source[self.at..self.at + n];
        self.at += n;
        self.line += taken.matches('\n').count() as u32;
        self.line_starting = taken.ends_with('\n');
        taken
    }

    fn space(text: &str) -> usize {
        text.find(|c| !is_space(c)).unwrap_or(text.len())
    }

    /// `-` or `+` behind the opening of a tag.
    fn sign(text: &str) -> Option<char> {
        text.chars().next().filter(|c| matches!(c, '-' | '+'))
    }

    /// The text in front of a tag.
    fn data(&mut self, n: usize, sign: Option<char>, keeps_indent: bool) -> Res<()> {
        let starting = self.line_starting;
        let text = &self.source[self.at..self.at + n];
        let start = text.rfind('\n').map_or(0, |i| i + 1);
        let kept = match sign {
            Some('-') => text.trim_end_matches(is_space),
            None if !keeps_indent && (start > 0 || starting) && text[start..].chars().all(is_space) => &text[..start],
            _ => text,
        };
        if !kept.is_empty() {
            self.push(Token::Data(kept.to_string()))?;
        }
        self.take(n);
        Ok(())
    }

    /// Bytes of a raw block's opening: `{%- raw -%}` behind the sign.
    fn raw(text: &str) -> Option<usize> {
        let after = text.get(Self::space(text)..)?.strip_prefix("raw")?;
        let after = &after[Self::space(after)..];
        match after.strip_prefix("-%}") {
            Some(rest) => Some(text.len() - rest.len() + Self::space(rest)),
            None => after.strip_prefix("%}").map(|rest| text.len() - rest.len()),
        }
    }

    fn root(&mut self) -> Res<()> {
        loop {
            let rest = self.rest();
            let found = rest.match_indices('{').map(|m| m.0).find(|i| rest[i + 1..].starts_with(['{', '%', '#']));
            let Some(i) = found else {
                if !rest.is_empty() {
                    self.push(Token::Data(rest.to_string()))?;
                }
                return Ok(());
            };
            let kind = rest.as_bytes()[i + 1];
            let sign = Self::sign(&rest[i + 2..]);
            self.data(i, sign, kind == b'{')?;
            let open = 2 + usize::from(sign.is_some());
            match kind {
                b'#' => {
                    self.take(open);
                    self.comment()?;
                }
                b'{' => {
                    self.push(Token::Print)?;
                    self.take(open);
                    self.tag("}}", Token::EndPrint)?;
                }
                _ => match Self::raw(&self.rest()[open..]) {
                    Some(n) => {
                        self.take(open + n);
                        self.raw_block()?;
                    }
                    None => {
                        self.push(Token::Block)?;
                        self.take(open);
                        self.tag("%}", Token::EndBlock)?;
                    }
                },
            }
        }
    }

    fn comment(&mut self) -> Res<()> {
        let rest = self.rest();
        let Some(end) = rest.find("#}") else { return fail("Missing end of comment tag") };
        self.take(end + 2);
        self.after_tag(rest[..end].chars().next_back());
        Ok(())
    }

    /// White space behind a tag's end goes with `-`, one line's end without a sign.
    fn after_tag(&mut self, sign: Option<char>) {
        let rest = self.rest();
        match sign {
            Some('-') => {
                let n = Self::space(rest);
                if n > 0 {
                    self.take(n);
                }
            }
            Some('+') => {}
            _ if rest.starts_with('\n') => drop(self.take(1)),
            _ => {}
        }
    }

    fn raw_block(&mut self) -> Res<()> {
        let rest = self.rest();
        for (i, _) in rest.match_indices("{%") {
            let sign = Self::sign(&rest[i + 2..]);
            let inside = &rest[i + 2 + usize::from(sign.is_some())..];
            let Some(after) = inside[Self::space(inside)..].strip_prefix("endraw") else { continue };
            let after = &after[Self::space(after)..];
            let end = Self::sign(after).filter(|_| after[1..].starts_with("%}"));
            let Some(behind) = after[usize::from(end.is_some())..].strip_prefix("%}") else { continue };
            self.data(i, sign, false)?;
            self.take(rest.len() - i - behind.len());
            self.after_tag(end);
            return Ok(());
        }
        fail("Missing end of raw directive")
    }

    /// The inside of a tag and its end.
    fn tag(&mut self, end: &str, token: Token) -> Res<()> {
        let mut open: Vec<&str> = Vec::new();
        loop {
            let gap = Self::space(self.rest());
            if gap > 0 {
                self.take(gap);
            }
            let rest = self.rest();
            if open.is_empty() {
                let sign = Self::sign(rest).filter(|s| rest[1..].starts_with(end) && (*s == '-' || end == "%}"));
                if sign.is_some() || rest.starts_with(end) {
                    self.push(token)?;
                    self.take(end.len() + usize::from(sign.is_some()));
                    // A printed value keeps the line's end behind it.
                    if sign.is_some() || end == "%}" {
                        self.after_tag(sign);
                    }
                    return Ok(());
                }
            }
            let Some(c) = rest.chars().next() else { return fail("unexpected end of template") };
            if c.is_ascii_digit() {
                self.number()?;
            } else if c == '_' || c.is_alphanumeric() {
                let n = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
                let name = rest[..n].to_string();
                self.push(Token::Name(name))?;
                self.take(n);
            } else if c == '\'' || c == '"' {
                self.text(c)?;
            } else {
                let Some(op) = OPERATORS.iter().find(|o| rest.starts_with(**o)) else { return fail(format!("unexpected char {c:?}")) };
                match *op {
                    "{" => open.push("}"),
                    "(" => open.push(")"),
                    "[" => open.push("]"),
                    "}" | ")" | "]" if open.pop() != Some(op) => return fail(format!("unexpected '{op}'")),
                    _ => {}
                }
                self.push(Token::Op(op))?;
                self.take(op.len());
            }
        }
    }

    fn number(&mut self) -> Res<()> {
        let rest = self.rest();
        // Digits with single underscores between them.
        let run = |from: usize, is: fn(u8) -> bool| {
            let b = rest.as_bytes();
            let mut i = from;
            while i < b.len() && (is(b[i]) || b[i] == b'_' && i > from && b.get(i + 1).is_some_and(|n| is(*n)) && b[i - 1] != b'_') {
                i += 1;
            }
            i
        };
        let decimal: fn(u8) -> bool = |b| b.is_ascii_digit();
        let b = rest.as_bytes();
        let whole = run(0, decimal);
        let mut end = whole;
        if b.get(end) == Some(&b'.') && b.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end = run(end + 1, decimal);
        }
        if matches!(b.get(end), Some(b'e' | b'E')) {
            let digits = end + 1 + usize::from(matches!(b.get(end + 1), Some(b'+' | b'-')));
            if b.get(digits).is_some_and(u8::is_ascii_digit) {
                end = run(digits, decimal);
            }
        }
        let preceded = self.source[..self.at].ends_with('.');
        if end > whole && !preceded {
            let f = rest[..end].replace('_', "").parse().map_err(|_| Fault::new("a number that is none"))?;
            self.push(Token::Float(f))?;
            self.take(end);
            return Ok(());
        }
        let radix: (u32, fn(u8) -> bool) = match b.get(1) {
            Some(b'x' | b'X') if b[0] == b'0' => (16, |b| b.is_ascii_hexdigit()),
            Some(b'o' | b'O') if b[0] == b'0' => (8, |b| (b'0'..b'8').contains(&b)),
            Some(b'b' | b'B') if b[0] == b'0' => (2, |b| b == b'0' || b == b'1'),
            _ => (10, decimal),
        };
        let (start, end) = match radix {
            (10, _) if b[0] == b'0' => (0, run(0, |b| b == b'0')),
            (10, _) => (0, whole),
            (_, is) => (2, run(2 + usize::from(b.get(2) == Some(&b'_')), is)),
        };
        let digits = rest[start..end].replace('_', "");
        let n = i128::from_str_radix(&digits, radix.0).map_err(|_| Fault::new("the number is too large"))?;
        self.push(Token::Int(n))?;
        self.take(end);
        Ok(())
    }

    fn text(&mut self, quote: char) -> Res<()> {
        let rest = self.rest();
        let mut end = None;
        let mut escaped = false;
        for (i, c) in rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    end = Some(i);
                    break;
                }
                _ => {}
            }
        }
        let Some(end) = end else { return fail(format!("unexpected char {quote:?}: the text has no end")) };
        let text = unescaped(&rest[1..end])?;
        self.push(Token::Str(text))?;
        self.take(end + 1);
        Ok(())
    }
}

/// A literal's text as Python's `unicode-escape` reads it.
fn unescaped(text: &str) -> Res<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else { return fail("\\ at end of string") };
        let mut length = c.len_utf8();
        let simple = match c {
            '\n' => None,
            '\\' | '\'' | '"' => Some(c),
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            '0'..='7' => {
                length = rest.bytes().take(3).take_while(|b| (b'0'..b'8').contains(b)).count();
                char::from_u32(u32::from_str_radix(&rest[..length], 8).unwrap_or(0))
            }
            'x' | 'u' | 'U' => {
                let digits = match c {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                length += digits;
                let n = rest.get(1..length).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                let n = n.and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or_else(|| Fault::new(format!("truncated \\{c} escape")))?;
                Some(char::from_u32(n).ok_or_else(|| Fault::new(format!("\\{c}{n:x} is no character")))?)
            }
            'N' => return fail("characters by name are not supported"),
            c if !c.is_ascii() => return fail(format!("\\{c} is not supported")),
            c => {
                out.push('\\');
                Some(c)
            }
        };
        out.extend(simple);
        rest = &rest[length..];
    }
    out.push_str(rest);
    Ok(out)
}
