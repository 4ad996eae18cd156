//! Fields of the objects in `tokenizer.json`, with errors in its words.
use serde_json::Value as Json;

use super::pattern::Pattern;

/// The kind of a step: its `type`.
pub fn kind(v: &Json) -> Result<&str, String> {
    v["type"].as_str().ok_or_else(|| format!("has no type: {}", shown(v)))
}

/// A value, cut where it is long.
pub fn shown(v: &Json) -> String {
    let text = v.to_string();
    match text.char_indices().nth(120) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn wrong(v: &Json, name: &str, expected: &str) -> String {
    format!("{} is {}, expected {expected}", name, shown(&v[name]))
}

pub fn text<'a>(v: &'a Json, name: &str) -> Result<&'a str, String> {
    v[name].as_str().ok_or_else(|| wrong(v, name, "a text"))
}

/// Exactly one character.
pub fn one_char(v: &Json, name: &str) -> Result<char, String> {
    let mut chars = text(v, name)?.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(c),
        _ => Err(wrong(v, name, "one character")),
    }
}

/// True or false; `default` where it is left out.
pub fn flag(v: &Json, name: &str, default: bool) -> Result<bool, String> {
    match &v[name] {
        Json::Null => Ok(default),
        Json::Bool(b) => Ok(*b),
        _ => Err(wrong(v, name, "true or false")),
    }
}

pub fn number(v: &Json, name: &str) -> Result<usize, String> {
    v[name].as_u64().map(|n| n as usize).ok_or_else(|| wrong(v, name, "a whole number"))
}

pub fn list<'a>(v: &'a Json, name: &str) -> Result<&'a Vec<Json>, String> {
    v[name].as_array().ok_or_else(|| wrong(v, name, "a list"))
}

/// A `pattern`: `{"String": …}` or `{"Regex": …}`; none for an empty text, which matches nothing.
pub fn pattern(v: &Json) -> Result<Option<Pattern>, String> {
    let p = &v["pattern"];
    if let Some(text) = p["String"].as_str() {
        return Ok((!text.is_empty()).then(|| Pattern::literal(text)));
    }
    let regex = p["Regex"].as_str().ok_or_else(|| wrong(v, "pattern", "{\"String\": …} or {\"Regex\": …}"))?;
    Pattern::new(regex).map(Some).map_err(|e| format!("the regular expression {} cannot be used: {e}", shown(&p["Regex"])))
}
