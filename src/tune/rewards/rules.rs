//! Rewards from rules that a person writes down in a line.

use super::{RewardBatch, RewardSource, Scored};
use crate::tokenizer::Pattern;
use crate::{Error, Result};

/// A parameter of a rule.
pub struct Parameter {
    pub name: &'static str,
    pub help: &'static str,
}

/// A rule, as people are told of it.
pub struct RuleInfo {
    pub name: &'static str,
    pub help: &'static str,
    /// None: what stands behind the name is one text.
    pub parameters: &'static [Parameter],
}

const fn parameter(name: &'static str, help: &'static str) -> Parameter {
    Parameter { name, help }
}

/// All rules: `name:parameter=value,parameter=value`, a comma inside a value as `\,`; of the two with a pattern `name:PATTERN`.
pub const RULES: &[RuleInfo] = &[
    RuleInfo {
        name: "length",
        help: "1 for a completion that is neither shorter than min nor longer than max; beyond them it falls to 0 over soft units.",
        parameters: &[
            parameter("min", "fewest units (0)"),
            parameter("max", "most units (no limit)"),
            parameter("unit", "words (default), characters, sentences or tokens"),
            parameter("soft", "units over which it falls to 0 (0: at once)"),
        ],
    },
    RuleInfo {
        name: "format",
        help: "Share of the conditions that hold.",
        parameters: &[
            parameter("begins", "the completion begins with this"),
            parameter("ends", "it ends with this, spaces aside"),
            parameter("contains", "this occurs in it"),
            parameter("without", "this does not"),
            parameter("finished", "true: it ended by itself, not at the limit"),
        ],
    },
    RuleInfo { name: "regex", help: "1 where the pattern occurs in the completion, 0 elsewhere.", parameters: &[] },
    RuleInfo { name: "no_regex", help: "1 where the pattern does not occur, 0 elsewhere.", parameters: &[] },
    RuleInfo {
        name: "similarity",
        help: "How like a text it is, from 0 to 1: F1 of the longest sequence of words that both have (ROUGE-L), capitals and punctuation aside.",
        parameters: &[parameter("column", "the text is in this column of the row"), parameter("to", "the text itself")],
    },
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Words,
    Characters,
    Sentences,
    Tokens,
}

#[derive(Debug)]
enum Kind {
    Length { min: f64, max: f64, unit: Unit, soft: f64 },
    Format(Vec<(&'static str, String)>),
    Regex { pattern: Pattern, occurs: bool },
    SimilarTo(Vec<String>),
    SimilarColumn(String),
}

/// A rule that was read.
#[derive(Debug)]
pub struct Rule {
    name: &'static str,
    kind: Kind,
}

fn wrong(message: impl Into<String>) -> Error {
    Error::config("reward", message)
}

/// Words in small letters, without punctuation.
fn words(text: &str) -> Vec<String> {
    let letters = |w: &str| w.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    text.split_whitespace().map(letters).filter(|w| !w.is_empty()).collect()
}

/// Ends of sentences: the marks that close one, several side by side once; what stands behind the last is one, too.
fn sentences(text: &str) -> usize {
    let closes = |c: char| ".!?…。！？".contains(c);
    let mut n = 0;
    let mut open = false;
    for c in text.chars() {
        if closes(c) {
            n += usize::from(std::mem::take(&mut open));
        } else if c.is_alphanumeric() {
            open = true;
        }
    }
    n + usize::from(open)
}

/// F1 of the longest common subsequence of two lists of words.
fn similarity(a: &[String], b: &[String]) -> f64 {
    let mut row = vec![0usize; b.len() + 1];
    for x in a {
        let mut above_left = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { above_left + 1 } else { above.max(row[j]) };
            above_left = above;
        }
    }
    let common = row[b.len()] as f64;
    if common == 0.0 { 0.0 } else { 2.0 * common / (a.len() + b.len()) as f64 }
}

/// `a=b,c=d`, with `\,` for a comma.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&',') => parts.last_mut().expect("one").extend(chars.next()),
            ',' => parts.push(String::new()),
            c => parts.last_mut().expect("one").push(c),
        }
    }
    let pair = |p: &String| p.split_once('=').map_or((p.trim().to_string(), String::new()), |(a, b)| (a.trim().to_string(), b.to_string()));
    parts.iter().filter(|p| !p.trim().is_empty()).map(pair).collect()
}

impl Rule {
    /// Reads `name:parameters`.
    ///
    /// # Errors
    /// [`Error::BadConfig`] that says what there is.
    pub fn parse(text: &str) -> Result<Rule> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let info = RULES.iter().find(|r| r.name == name.trim()).ok_or_else(|| {
            let names: Vec<&str> = RULES.iter().map(|r| r.name).collect();
            wrong(format!("{name:?} is not a rule ({})", names.join(", ")))
        })?;
        let given = if info.parameters.is_empty() { Vec::new() } else { pairs(rest) };
        for (i, (parameter, _)) in given.iter().enumerate() {
            if !info.parameters.iter().any(|p| p.name == parameter) {
                let names: Vec<&str> = info.parameters.iter().map(|p| p.name).collect();
                return Err(wrong(format!("{parameter:?} is not a parameter of {} ({})", info.name, names.join(", "))));
            }
            if given[..i].iter().any(|g| g.0 == *parameter) {
                return Err(wrong(format!("{}: {parameter} is there twice", info.name)));
            }
        }
        let value = |parameter: &str| given.iter().find(|g| g.0 == parameter).map(|g| g.1.as_str());
        let number = |parameter: &str, otherwise: f64| match value(parameter) {
            None => Ok(otherwise),
            Some(v) => {
                let n = v.trim().parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0);
                n.ok_or_else(|| wrong(format!("{}: {parameter} is {v:?}, expected a number of 0 or more", info.name)))
            }
        };
        let kind = match info.name {
            "length" => {
                let unit = match value("unit").map_or("words", str::trim) {
                    "words" => Unit::Words,
                    "characters" => Unit::Characters,
                    "sentences" => Unit::Sentences,
                    "tokens" => Unit::Tokens,
                    other => return Err(wrong(format!("length: unit is {other:?}, expected words, characters, sentences or tokens"))),
                };
                let (min, max, soft) = (number("min", 0.0)?, number("max", f64::INFINITY)?, number("soft", 0.0)?);
                if min > max || (min == 0.0 && max == f64::INFINITY) {
                    return Err(wrong("length: expected a min or a max, and no min above the max"));
                }
                Kind::Length { min, max, unit, soft }
            }
            "format" => {
                let of = |p: &Parameter| value(p.name).map(|v| (p.name, v.to_string()));
                let conditions: Vec<_> = info.parameters.iter().filter_map(of).collect();
                if conditions.is_empty() || conditions.iter().any(|c| c.1.is_empty() || (c.0 == "finished" && c.1 != "true")) {
                    return Err(wrong("format: expected begins, ends, contains or without with a text, or finished=true"));
                }
                Kind::Format(conditions)
            }
            "similarity" => match (value("column"), value("to")) {
                (Some(column), None) if !column.trim().is_empty() => Kind::SimilarColumn(column.trim().into()),
                (None, Some(text)) if !words(text).is_empty() => Kind::SimilarTo(words(text)),
                _ => return Err(wrong("similarity: expected either column=NAME or to=TEXT")),
            },
            name => {
                if rest.is_empty() {
                    return Err(wrong(format!("{name}: expected a pattern behind the colon")));
                }
                let pattern = Pattern::new(rest).map_err(|e| wrong(format!("{name}: {e}")))?;
                Kind::Regex { pattern, occurs: name == "regex" }
            }
        };
        Ok(Rule { name: info.name, kind })
    }

    fn one(&self, batch: &RewardBatch, i: usize) -> Result<f64> {
        let text = &batch.completions[i];
        let flag = |b: bool| f64::from(u8::from(b));
        Ok(match &self.kind {
            Kind::Length { min, max, unit, soft } => {
                let n = match unit {
                    Unit::Words => text.split_whitespace().count(),
                    Unit::Characters => text.chars().count(),
                    Unit::Sentences => sentences(text),
                    Unit::Tokens => batch.completion_ids[i].len(),
                } as f64;
                let beyond = (min - n).max(n - max).max(0.0);
                if beyond == 0.0 { 1.0 } else { (1.0 - beyond / soft.max(f64::MIN_POSITIVE)).max(0.0) }
            }
            Kind::Format(conditions) => {
                let holds = |(name, value): &(&str, String)| match *name {
                    "begins" => text.trim_start().starts_with(value.as_str()),
                    "ends" => text.trim_end().ends_with(value.as_str()),
                    "contains" => text.contains(value.as_str()),
                    "without" => !text.contains(value.as_str()),
                    _ => !batch.cut[i],
                };
                conditions.iter().filter(|c| holds(c)).count() as f64 / conditions.len() as f64
            }
            Kind::Regex { pattern, occurs } => flag(pattern.matches(text).is_empty() != *occurs),
            Kind::SimilarTo(to) => similarity(&words(text), to),
            Kind::SimilarColumn(column) => match batch.column(column, i) {
                Some(serde_json::Value::String(to)) => similarity(&words(text), &words(to)),
                _ => return Err(batch.fault(self.name, i, format!("the row has no text in its column {column:?}"))),
            },
        })
    }
}

impl RewardSource for Rule {
    fn name(&self) -> &str {
        self.name
    }

    fn reads_text(&self) -> bool {
        !matches!(self.kind, Kind::Length { unit: Unit::Tokens, .. })
    }

    fn score<'a>(&'a mut self, batch: &'a RewardBatch) -> Scored<'a> {
        let values = (0..batch.len()).map(|i| self.one(batch, i)).collect();
        Box::pin(std::future::ready(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn batch(text: &str) -> RewardBatch {
        RewardBatch {
            sequences: Vec::new(),
            prompts: vec![json!("q")],
            completions: vec![text.into()],
            completion_ids: vec![vec![1, 2, 3]],
            cut: vec![true],
            columns: json!({"answer": ["The cat, sat."]}).as_object().expect("an object").clone(),
            rows: vec![7],
        }
    }

    #[test]
    fn rules_say_what_their_table_says() {
        for (rule, text, want) in [
            ("length:max=3", "a b c", 1.0),
            ("length:max=3", "a b c d", 0.0),
            ("length:min=2,max=3,soft=4", "a b c d", 0.75),
            ("length:max=4,unit=characters", "abcde", 0.0),
            ("length:max=2,unit=sentences", "One. Two?! ", 1.0),
            ("length:max=1,unit=sentences", "One. Two", 0.0),
            ("length:max=3,unit=tokens", "whatever it says", 1.0),
            ("format:ends=?", "Is it? ", 1.0),
            ("format:begins=Yes\\, ,without=no", "Yes, indeed", 1.0),
            ("format:contains=x,ends=.", "x!", 0.5),
            ("format:finished=true", "x", 0.0),
            ("regex:[0-9]+", "in 1999", 1.0),
            ("no_regex:[0-9]", "in 1999", 0.0),
            ("similarity:to=the cat sat", "The cat SAT!", 1.0),
            ("similarity:column=answer", "the dog sat", 2.0 * 2.0 / 6.0),
        ] {
            let found = Rule::parse(rule).unwrap().one(&batch(text), 0).unwrap();
            assert!((found - want).abs() < 1e-12, "{rule} of {text:?}: {found}");
        }
        let e = Rule::parse("similarity:column=other").unwrap().one(&batch("x"), 0).unwrap_err();
        assert!(e.code() == "bad-reward" && e.to_string().contains("row 7"), "{e}");
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for (rule, part) in [
            ("lenght:max=3", "is not a rule"),
            ("length", "expected a min or a max"),
            ("length:max=x", "expected a number"),
            ("length:min=3,max=2", "no min above"),
            ("length:max=3,unit=lines", "unit is"),
            ("length:max=1,max=2", "twice"),
            ("format:ending=?", "is not a parameter"),
            ("format:ends=", "expected begins"),
            ("regex:", "expected a pattern"),
            ("regex:(", "regex: "),
            ("similarity:to=a,column=b", "either"),
        ] {
            let said = Rule::parse(rule).unwrap_err().to_string();
            assert!(said.contains(part), "{rule}: {said}");
        }
    }
}
