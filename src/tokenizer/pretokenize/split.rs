//! Pre-tokenizers: how a text falls into pieces before byte pairs are merged inside each of them.
//!
//! They are written out by hand instead of interpreted from their regular expressions: those need look-ahead and
//! Unicode tables that would weigh more than the rest of the tokenizer.
use crate::tokenizer::unicode::{is_letter, is_number};

/// How texts are split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splitter {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    Gpt2,
    /// Every number character by itself, then as [`Splitter::Gpt2`] between them.
    DigitsGpt2,
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    Llama3,
    /// The same with single number characters.
    Qwen2,
    /// Not at all.
    Whole,
}

/// Llama 3's regular expression up to the number of digits, and from there on.
const LLAMA3: [&str; 2] =
    [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}", r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"];
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

impl Splitter {
    /// The splitter of GGUF's `tokenizer.ggml.pre`.
    pub fn from_gguf(pre: &str) -> Option<Self> {
        Some(match pre {
            "gpt-2" | "gpt2" | "phi-2" | "mpt" | "olmo" => Splitter::Gpt2,
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" => Splitter::DigitsGpt2,
            "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "dbrx" | "smaug-bpe" => Splitter::Llama3,
            "qwen2" | "deepseek-r1-qwen" | "stablelm2" => Splitter::Qwen2,
            _ => return None,
        })
    }

    /// The splitter of a regular expression in a `tokenizer.json`.
    pub fn from_regex(regex: &str) -> Option<Self> {
        if regex == GPT2 || regex == GPT2.replace("'s|'t|'re|'ve|'m|'ll|'d", "'(?:[sdmt]|ll|ve|re)") {
            return Some(Splitter::Gpt2);
        }
        let digits = regex.strip_prefix(LLAMA3[0])?.strip_suffix(LLAMA3[1])?;
        match digits {
            "{1,3}" => Some(Splitter::Llama3),
            "" => Some(Splitter::Qwen2),
            _ => None,
        }
    }

    /// What [`from_gguf`](Self::from_gguf) knows, for messages.
    pub const GGUF_NAMES: &'static str = "gpt-2, smollm, starcoder, llama-bpe, qwen2 and their equals";

    /// Calls `on` with the pieces of `text` in order; together they are the text.
    pub fn split<'a>(self, text: &'a str, on: &mut dyn FnMut(&'a str)) {
        match self {
            Splitter::Whole if !text.is_empty() => on(text),
            Splitter::Whole => {}
            Splitter::Gpt2 => pieces(text, gpt2, on),
            Splitter::Llama3 => pieces(text, |s| llama3(s, 3), on),
            Splitter::Qwen2 => pieces(text, |s| llama3(s, 1), on),
            Splitter::DigitsGpt2 => {
                let mut rest = text;
                while let Some((at, c)) = rest.char_indices().find(|&(_, c)| is_number(c)) {
                    pieces(&rest[..at], gpt2, on);
                    on(&rest[at..at + c.len_utf8()]);
                    rest = &rest[at + c.len_utf8()..];
                }
                pieces(rest, gpt2, on);
            }
        }
    }
}

fn pieces<'a>(mut text: &'a str, first: impl Fn(&str) -> usize, on: &mut dyn FnMut(&'a str)) {
    while !text.is_empty() {
        let (piece, rest) = text.split_at(first(text));
        on(piece);
        text = rest;
    }
}

/// Bytes of the leading characters of `s` that satisfy `f`.
fn run(s: &str, f: impl Fn(char) -> bool) -> usize {
    s.find(|c| !f(c)).unwrap_or(s.len())
}

fn is_other(c: char) -> bool {
    !c.is_whitespace() && !is_letter(c) && !is_number(c)
}

/// `\s+(?!\S)|\s+` on a run of `n` bytes of white space: all of it at the end of the text; before anything else its
/// last character stays with what follows, unless it is the only one.
fn spaces(s: &str, n: usize) -> usize {
    if n == s.len() {
        return n;
    }
    let last = s[..n].chars().next_back().map_or(0, char::len_utf8);
    if n > last { n - last } else { n }
}

/// Length of the first piece of a text that is not empty.
fn gpt2(s: &str) -> usize {
    let c = s.chars().next().expect("not empty");
    if c == '\''
        && let Some(end) = ["s", "t", "re", "ve", "m", "ll", "d"].iter().find(|e| s[1..].starts_with(**e))
    {
        return 1 + end.len();
    }
    let skip = usize::from(c == ' ');
    if let Some(c) = s[skip..].chars().next() {
        for class in [is_letter, is_number, is_other] {
            if class(c) {
                return skip + run(&s[skip..], class);
            }
        }
    }
    spaces(s, run(s, char::is_whitespace))
}

/// The same for Llama 3 and Qwen 2: up to `digits` number characters in one piece.
fn llama3(s: &str, digits: usize) -> usize {
    let c = s.chars().next().expect("not empty");
    if c == '\'' {
        // Without regard to case, in which ſ is an s.
        let mut two = s[1..].chars().map(|c| if c == 'ſ' { 's' } else { c.to_ascii_lowercase() });
        let (a, b) = (two.next(), two.next());
        if let Some('s' | 't' | 'm' | 'd') = a {
            return 1 + s[1..].chars().next().map_or(0, char::len_utf8);
        }
        if let (Some('r' | 'v'), Some('e')) | (Some('l'), Some('l')) = (a, b) {
            return 3;
        }
    }
    let starts_word = |s: &str| s.chars().next().is_some_and(is_letter);
    if is_letter(c) {
        return run(s, is_letter);
    }
    let one = c.len_utf8();
    if c != '\r' && c != '\n' && !is_number(c) && starts_word(&s[one..]) {
        return one + run(&s[one..], is_letter);
    }
    if is_number(c) {
        return s.char_indices().take(digits).take_while(|&(_, c)| is_number(c)).map(|(i, c)| i + c.len_utf8()).last().unwrap_or(one);
    }
    let skip = usize::from(c == ' ');
    if s[skip..].chars().next().is_some_and(is_other) {
        let end = skip + run(&s[skip..], is_other);
        return end + run(&s[end..], |c| c == '\r' || c == '\n');
    }
    let n = run(s, char::is_whitespace);
    match s[..n].rfind(['\r', '\n']) {
        Some(newline) => newline + 1,
        None => spaces(s, n),
    }
}
