//! Rows of datasets in TRL's columns, as JSONL. Rows are counted from 0; blank lines are none.
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::jsonl::{kind, parse_jsonl};
use crate::error::{Error, Result};

/// Most messages of a conversation.
const MAX_MESSAGES: usize = 10_000;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub role: String,
    pub content: String,
}

impl Message {
    /// A message of that role.
    pub fn new(role: &str, content: impl Into<String>) -> Self {
        Message { role: role.into(), content: content.into() }
    }
}

/// What TRL allows for prompt, completion, chosen and rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum TextOrMessages {
    Text(String),
    Messages(Vec<Message>),
}

impl TextOrMessages {
    /// True without any text.
    pub fn is_empty(&self) -> bool {
        match self {
            TextOrMessages::Text(t) => t.is_empty(),
            TextOrMessages::Messages(m) => m.iter().all(|m| m.content.is_empty()),
        }
    }
}

/// A row of supervised fine-tuning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SftRow {
    Messages {
        messages: Vec<Message>,
    },
    PromptCompletion {
        prompt: TextOrMessages,
        completion: TextOrMessages,
    },
    Text {
        text: String,
    },
    /// Labels are ids, or −100 for what is not learned; without them every id is.
    Ids {
        input_ids: Vec<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        labels: Option<Vec<i64>>,
    },
}

/// A row of preference tuning.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DpoRow {
    pub prompt: TextOrMessages,
    pub chosen: TextOrMessages,
    pub rejected: TextOrMessages,
    /// Multiplies the row's loss; 1 if it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// A row that may be either.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Row {
    Sft(SftRow),
    Dpo(DpoRow),
}

/// A row's columns with its number, for messages.
struct Columns<'a> {
    row: usize,
    map: &'a Map<String, Json>,
}

impl Columns<'_> {
    fn bad(&self, message: impl Into<String>) -> Error {
        Error::BadRow { row: self.row, message: message.into() }
    }

    /// The column, unless it is missing or null.
    fn get(&self, column: &str) -> Option<&Json> {
        self.map.get(column).filter(|v| !v.is_null())
    }

    fn messages(&self, column: &str) -> Result<Vec<Message>> {
        let wanted = |found: String| self.bad(format!("{column} is {found}, expected a list of messages"));
        let list = self.get(column).and_then(Json::as_array).filter(|l| !l.is_empty());
        let list = list.ok_or_else(|| wanted(kind(self.map.get(column))))?;
        if list.len() > MAX_MESSAGES {
            return Err(self.bad(format!("{column} has {} messages, at most {MAX_MESSAGES} are supported", list.len())));
        }
        let field = |i: usize, m: &Json, name: &str| {
            let value = m.get(name).and_then(Json::as_str).map(str::to_string);
            value.ok_or_else(|| self.bad(format!("{column}[{i}].{name} is {}, expected a text", kind(m.get(name)))))
        };
        list.iter().enumerate().map(|(i, m)| Ok(Message { role: field(i, m, "role")?, content: field(i, m, "content")? })).collect()
    }

    /// A text or messages; an empty one only where `may_be_empty`.
    fn turns(&self, column: &str, may_be_empty: bool) -> Result<TextOrMessages> {
        let turns = match self.get(column) {
            Some(Json::String(s)) => TextOrMessages::Text(s.clone()),
            Some(Json::Array(_)) => TextOrMessages::Messages(self.messages(column)?),
            other => return Err(self.bad(format!("{column} is {}, expected a text or a list of messages", kind(other)))),
        };
        if turns.is_empty() && !may_be_empty {
            return Err(self.bad(format!("{column} is empty: the row has no answer to learn from")));
        }
        Ok(turns)
    }

    fn ids(&self) -> Result<SftRow> {
        let list = |column: &str| match self.get(column) {
            Some(Json::Array(list)) if !list.is_empty() => Ok(list),
            other => Err(self.bad(format!("{column} is {}, expected a list of token ids", kind(other)))),
        };
        let number = |column: &str, i: usize, v: &Json, lowest: i64| {
            let found = v.as_i64().filter(|&n| (n >= 0 || n == lowest) && n <= u32::MAX.into());
            found.ok_or_else(|| self.bad(format!("{column}[{i}] is {}, expected a token id", kind(Some(v)))))
        };
        let read = |column: &str, lowest: i64| {
            list(column)?.iter().enumerate().map(|(i, v)| number(column, i, v, lowest)).collect::<Result<Vec<i64>>>()
        };
        let input_ids: Vec<u32> = read("input_ids", 0)?.into_iter().map(|id| id as u32).collect();
        let labels = if self.get("labels").is_some() { Some(read("labels", -100)?) } else { None };
        if let Some(labels) = &labels {
            if labels.len() != input_ids.len() {
                return Err(self.bad(format!("{} labels for {} input_ids", labels.len(), input_ids.len())));
            }
            if labels.iter().skip(1).all(|&l| l == -100) {
                return Err(self.bad("every label is -100: the row has nothing to learn from"));
            }
        }
        Ok(SftRow::Ids { input_ids, labels })
    }

    fn sft(&self) -> Result<SftRow> {
        if self.get("input_ids").is_some() {
            return self.ids();
        }
        if self.get("messages").is_some() {
            let messages = self.messages("messages")?;
            if !messages.iter().any(|m| m.role == "assistant" && !m.content.is_empty()) {
                return Err(self.bad("messages has no answer: expected at least one message of the role assistant with a text"));
            }
            return Ok(SftRow::Messages { messages });
        }
        if self.map.contains_key("completion") || self.map.contains_key("prompt") {
            let (prompt, completion) = (self.turns("prompt", true)?, self.turns("completion", false)?);
            return Ok(SftRow::PromptCompletion { prompt, completion });
        }
        match self.get("text") {
            Some(Json::String(text)) if !text.is_empty() => Ok(SftRow::Text { text: text.clone() }),
            Some(other) => Err(self.bad(format!("text is {}, expected a text", kind(Some(other))))),
            None => Err(self.no_columns("messages · prompt, completion · text · input_ids")),
        }
    }

    fn no_columns(&self, expected: &str) -> Error {
        let found: Vec<&str> = self.map.keys().take(6).map(String::as_str).collect();
        let found = if found.is_empty() { "none".into() } else { found.join(", ") };
        self.bad(format!("has the columns {found}, expected {expected}"))
    }

    fn dpo(&self) -> Result<DpoRow> {
        if !self.map.contains_key("chosen") && !self.map.contains_key("rejected") {
            return Err(self.no_columns("prompt, chosen, rejected"));
        }
        let (chosen, rejected) = (self.turns("chosen", false)?, self.turns("rejected", false)?);
        if chosen == rejected {
            return Err(self.bad("chosen and rejected are the same"));
        }
        let weight = match self.get("weight") {
            None => None,
            Some(v) => {
                let w = v.as_f64().filter(|w| w.is_finite() && *w >= 0.0);
                Some(w.ok_or_else(|| self.bad(format!("weight is {}, expected a number from 0 on", kind(Some(v)))))?)
            }
        };
        if self.get("prompt").is_some() {
            return Ok(DpoRow { prompt: self.turns("prompt", true)?, chosen, rejected, weight });
        }
        let (prompt, chosen, rejected) = split_prompt(chosen, rejected)
            .ok_or_else(|| self.bad("has no prompt, and chosen and rejected do not begin with the same one"))?;
        Ok(DpoRow { prompt, chosen, rejected, weight })
    }
}

/// TRL's implicit prompt: what chosen and rejected begin with. Both keep at least one message (one character).
fn split_prompt(chosen: TextOrMessages, rejected: TextOrMessages) -> Option<(TextOrMessages, TextOrMessages, TextOrMessages)> {
    match (chosen, rejected) {
        (TextOrMessages::Messages(mut a), TextOrMessages::Messages(mut b)) => {
            let same = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
            let n = same.min(a.len() - 1).min(b.len() - 1);
            let (chosen, rejected) = (a.split_off(n), b.split_off(n));
            let all = (TextOrMessages::Messages(a), TextOrMessages::Messages(chosen), TextOrMessages::Messages(rejected));
            (n > 0).then_some(all)
        }
        (TextOrMessages::Text(a), TextOrMessages::Text(b)) => {
            let same = a.char_indices().zip(b.chars()).take_while(|((_, x), y)| x == y).last();
            let mut n = same.map_or(0, |((at, c), _)| at + c.len_utf8());
            // Neither answer may be empty, and the space before an answer belongs to it.
            let start_of_last = |s: &str| s.char_indices().next_back().map_or(0, |(at, _)| at);
            n = n.min(start_of_last(&a)).min(start_of_last(&b));
            n = if a[..n].ends_with(' ') { n - 1 } else { n };
            let text = |s: &str| TextOrMessages::Text(s.to_string());
            (n > 0).then(|| (text(&a[..n]), text(&a[n..]), text(&b[n..])))
        }
        _ => None,
    }
}

fn each<T>(name: &str, text: &str, read: impl Fn(&Columns) -> Result<T>) -> Result<Vec<T>> {
    let columns = |(row, value): (usize, &Json)| read(&Columns { row, map: value.as_object().expect("rows are objects") });
    parse_jsonl(name, text)?.iter().enumerate().map(columns).collect()
}

/// Rows for supervised fine-tuning: `messages` · `prompt, completion` · `text` · `input_ids` (`labels`).
pub fn parse_sft(name: &str, text: &str) -> Result<Vec<SftRow>> {
    each(name, text, |c| c.sft())
}

/// Rows for preference tuning: `prompt, chosen, rejected`, or whole conversations in `chosen` and `rejected`.
pub fn parse_dpo(name: &str, text: &str) -> Result<Vec<DpoRow>> {
    each(name, text, |c| c.dpo())
}

impl Row {
    /// Reads a row by the columns it has; `row` is its number for messages.
    pub fn from_columns(row: usize, map: &Map<String, Json>) -> Result<Row> {
        let columns = Columns { row, map };
        if map.contains_key("chosen") || map.contains_key("rejected") {
            return columns.dpo().map(Row::Dpo);
        }
        if map.contains_key("label") && map.contains_key("completion") {
            return Err(columns.bad("is unpaired (prompt, completion, label), which is not supported; expected prompt, chosen, rejected"));
        }
        columns.sft().map(Row::Sft)
    }
}
