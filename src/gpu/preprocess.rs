//! The shader preprocessor: `#include "file"`, `#define NAME [value]`, `#if EXPR`, `#ifdef`, `#ifndef`, `#elif`, `#else`, `#endif`,
//! `#repeat I N` … `#endrepeat` (the lines N times with `$I` replaced by 0…N−1: registers have names, not indices), and
//! `@binding(auto)`, which numbers the bindings that survive in the order of their declaration.
//!
//! Defines choose types, bindings and features; `override` constants choose numbers; uniforms carry shapes.

use std::collections::{BTreeMap, BTreeSet};

include!(concat!(env!("OUT_DIR"), "/shaders.rs"));

/// Name → value of the defines a kernel is compiled with.
pub type Defines = BTreeMap<String, String>;

/// What a binding of a kernel is, in the order of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// `var<uniform> p`: the constants of one dispatch.
    Params,
    /// `var<uniform> step`: the one small uniform that changes between replays.
    Step,
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    Write,
}

/// Expanded text and its bindings.
#[derive(Clone, Debug)]
pub struct Expanded {
    pub text: String,
    pub bindings: Vec<Binding>,
}

/// The embedded text of `shaders/<path>`.
pub fn source(path: &str) -> Option<&'static str> {
    SHADERS.iter().find(|(n, _)| *n == path).map(|(_, t)| *t)
}

/// Expands the kernel file `<name>.wgsl` under `defines`.
///
/// # Panics
/// On a missing file or a malformed directive: both are bugs of this crate, and a test expands every kernel.
pub fn expand(name: &str, defines: &Defines) -> Expanded {
    let mut state = State { defines: defines.clone(), included: BTreeSet::new(), out: String::new() };
    state.file(&format!("{name}.wgsl"));
    number_bindings(name, &state.out)
}

struct State {
    defines: Defines,
    included: BTreeSet<String>,
    out: String,
}

impl State {
    fn file(&mut self, path: &str) {
        if !self.included.insert(path.to_string()) {
            return; // each file once, like `#pragma once`
        }
        let text = source(path).unwrap_or_else(|| panic!("shader {path} is not in shaders/"));
        let text = &repeat(path, text, &self.defines);
        // One entry per open #if: (this branch is active, some branch was already taken, the parent is active).
        let mut stack: Vec<(bool, bool, bool)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            let active = stack.last().is_none_or(|s| s.0);
            let Some(directive) = trimmed.strip_prefix('#') else {
                if active {
                    let line = self.substitute(line);
                    self.out.push_str(&line);
                    self.out.push('\n');
                }
                continue;
            };
            let (word, rest) = match directive.split_once(char::is_whitespace) {
                Some((w, r)) => (w, r.split("//").next().unwrap_or("").trim()),
                None => (directive.trim(), ""),
            };
            let at = || format!("{path}:{}", number + 1);
            match word {
                "if" | "ifdef" | "ifndef" => {
                    let cond = active
                        && match word {
                            "if" => self.eval(rest, &at()),
                            "ifdef" => self.defines.contains_key(rest),
                            _ => !self.defines.contains_key(rest),
                        };
                    stack.push((cond, cond, active));
                }
                "elif" => {
                    let taken = stack.last().unwrap_or_else(|| panic!("{}: #elif without #if", at())).1;
                    let cond = !taken && self.eval(rest, &at());
                    let top = stack.last_mut().expect("checked above");
                    top.0 = top.2 && cond;
                    top.1 |= cond;
                }
                "else" => {
                    let top = stack.last_mut().unwrap_or_else(|| panic!("{}: #else without #if", at()));
                    top.0 = top.2 && !top.1;
                    top.1 = true;
                }
                "endif" => {
                    stack.pop().unwrap_or_else(|| panic!("{}: #endif without #if", at()));
                }
                "include" if active => self.file(rest.trim_matches('"')),
                "define" if active => {
                    let (key, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, "1"));
                    let value = self.substitute(value.trim());
                    self.defines.entry(key.to_string()).or_insert(value);
                }
                "include" | "define" => {}
                other => panic!("{}: unknown directive #{other}", at()),
            }
        }
        assert!(stack.is_empty(), "{path}: #if without #endif");
    }

    /// Replaces whole identifiers that are defined.
    fn substitute(&self, line: &str) -> String {
        let code_end = line.find("//").unwrap_or(line.len());
        let (code, comment) = line.split_at(code_end);
        let mut out = String::with_capacity(line.len());
        let mut word = String::new();
        let flush = |word: &mut String, out: &mut String| {
            if !word.is_empty() {
                match self.defines.get(word.as_str()) {
                    Some(v) => out.push_str(v),
                    None => out.push_str(word),
                }
                word.clear();
            }
        };
        for c in code.chars() {
            if c.is_ascii_alphanumeric() || c == '_' {
                word.push(c);
            } else {
                flush(&mut word, &mut out);
                out.push(c);
            }
        }
        flush(&mut word, &mut out);
        out.push_str(comment);
        out
    }

    /// `A`, `!A`, `defined(A)`, `A == v`, `A != v`, joined by `&&` and `||` (no parentheses beyond `defined`).
    fn eval(&self, expr: &str, at: &str) -> bool {
        expr.split("||").any(|all| all.split("&&").all(|term| self.term(term.trim(), at)))
    }

    fn term(&self, term: &str, at: &str) -> bool {
        if let Some(rest) = term.strip_prefix('!').filter(|r| !r.starts_with('=')) {
            return !self.term(rest.trim(), at);
        }
        if let Some(name) = term.strip_prefix("defined(") {
            return self.defines.contains_key(name.trim_end_matches(')').trim());
        }
        let value = |t: &str| self.defines.get(t.trim()).cloned().unwrap_or_else(|| t.trim().to_string());
        if let Some((a, b)) = term.split_once("==") {
            return value(a) == value(b);
        }
        if let Some((a, b)) = term.split_once("!=") {
            return value(a) != value(b);
        }
        assert!(!term.is_empty() && term.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{at}: cannot read #if {term}");
        self.defines.get(term).is_some_and(|v| v != "0") || (term.parse::<u32>().is_ok_and(|v| v != 0))
    }
}

/// Unrolls `#repeat`. The count is a number or a define of the kernel's key.
fn repeat(path: &str, text: &str, defines: &Defines) -> String {
    let mut out = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(head) = line.trim_start().strip_prefix("#repeat ") else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let mut words = head.split_whitespace();
        let (Some(var), Some(count)) = (words.next(), words.next()) else { panic!("{path}: #repeat needs a name and a count") };
        let value = defines.get(count).map_or(count, String::as_str);
        let count: usize = value.parse().unwrap_or_else(|_| panic!("{path}: #repeat {var} {value} is not a number"));
        let mut body = String::new();
        let mut depth = 1;
        for line in lines.by_ref() {
            let t = line.trim_start();
            depth += i32::from(t.starts_with("#repeat ")) - i32::from(t.starts_with("#endrepeat"));
            if depth == 0 {
                break;
            }
            body.push_str(line);
            body.push('\n');
        }
        assert_eq!(depth, 0, "{path}: #repeat without #endrepeat");
        let name = format!("${var}");
        for i in 0..count {
            out.push_str(&repeat(path, &body.replace(&name, &i.to_string()), defines));
        }
    }
    out
}

fn number_bindings(name: &str, text: &str) -> Expanded {
    let mut bindings = Vec::new();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let code = line.split("//").next().unwrap_or("");
        if code.contains("@binding(") {
            let kind = if code.contains("var<uniform> step") {
                Binding::Step
            } else if code.contains("var<uniform>") {
                Binding::Params
            } else if code.contains("read_write") {
                Binding::Write
            } else if code.contains("var<storage, read>") {
                Binding::Read
            } else {
                panic!("{name}: cannot classify the binding {line}")
            };
            assert!(code.contains("@binding(auto)"), "{name}: bindings are numbered by @binding(auto): {line}");
            out.push_str(&line.replace("@binding(auto)", &format!("@binding({})", bindings.len())));
            bindings.push(kind);
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    Expanded { text: out, bindings }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, defines: &[(&str, &str)]) -> String {
        let defines = defines.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let s = State { defines, included: BTreeSet::new(), out: String::new() };
        text.lines().map(|l| s.substitute(l) + "\n").collect()
    }

    #[test]
    fn substitutes_whole_words_outside_comments() {
        assert_eq!(run("let N = NN + N; // N", &[("N", "4")]), "let 4 = NN + 4; // N\n");
    }

    #[test]
    fn repeats_nest() {
        let defines: Defines = [("N".to_string(), "2".to_string())].into();
        assert_eq!(
            repeat("t", "#repeat I N\na$I\n#repeat J 2\nb$I_$J\n#endrepeat\n#endrepeat\nc", &defines),
            "a0\nb0_0\nb0_1\na1\nb1_0\nb1_1\nc\n"
        );
    }

    #[test]
    fn conditions() {
        let s = State {
            defines: [("A".to_string(), "1".to_string()), ("T".to_string(), "q4".to_string())].into(),
            included: BTreeSet::new(),
            out: String::new(),
        };
        assert!(s.eval("A", ""));
        assert!(!s.eval("!A", ""));
        assert!(s.eval("B || T == q4", ""));
        assert!(!s.eval("A && T != q4", ""));
        assert!(s.eval("defined(T) && !defined(U)", ""));
    }

    #[test]
    fn bindings_are_numbered_in_order() {
        let e = number_bindings(
            "t",
            "@group(0) @binding(auto) var<uniform> p: P;\n@group(0) @binding(auto) var<storage, read> x: array<f32>;\n\
             @group(0) @binding(auto) var<storage, read_write> y: array<f32>;",
        );
        assert_eq!(e.bindings, [Binding::Params, Binding::Read, Binding::Write]);
        assert!(e.text.contains("@binding(2) var<storage, read_write>"));
    }
}
