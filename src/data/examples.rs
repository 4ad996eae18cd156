//! Dataset rows (TRL's columns) → token examples. Rows are counted from 0, and every error names its row.

use serde_json::Value;

use crate::{Error, Result};

/// Label and index that mean "not judged": −100 in files, this on the GPU.
pub const IGNORE: u32 = u32::MAX;

/// Tokens of one sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    pub ids: Vec<u32>,
    /// Per token: the id itself where it is to be learned, [`IGNORE`] elsewhere. Label t + 1 judges position t.
    pub labels: Vec<u32>,
}

impl Example {
    /// Tokens that are judged (the first has nothing before it).
    pub fn counted(&self) -> usize {
        self.labels.iter().skip(1).filter(|l| **l != IGNORE).count()
    }

    fn from_parts(ids: Vec<u32>, learn_from: usize) -> Example {
        let labels = ids.iter().enumerate().map(|(i, id)| if i < learn_from { IGNORE } else { *id }).collect();
        Example { ids, labels }
    }

    /// Keeps the beginning, as TRL's `truncation_mode="keep_start"`.
    fn truncate(&mut self, len: usize) {
        self.ids.truncate(len);
        self.labels.truncate(len);
    }
}

/// A preference.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub chosen: Example,
    pub rejected: Example,
    /// Multiplies its loss.
    pub weight: f32,
}

/// How rows become examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowOptions {
    /// Longer rows are cut at their end; `None` = never, and rows longer than the model's context are refused.
    pub max_length: Option<usize>,
    /// Of rows with `prompt` and `completion`: only the completion counts.
    pub completion_only: bool,
    /// Of rows with `messages`: only the assistant's messages count.
    pub assistant_only: bool,
}

impl Default for RowOptions {
    fn default() -> RowOptions {
        RowOptions { max_length: None, completion_only: true, assistant_only: false }
    }
}

/// Text → ids, as the model's own tokenizer and chat template do it.
pub trait TextSource {
    /// As the tokenizer is called on a text: special tokens in it are read as such, one at the beginning is added where the tokenizer does so.
    ///
    /// # Errors
    /// When the model has no tokenizer.
    fn encode(&self, text: &str) -> Result<Vec<u32>>;

    /// A chat through the model's template, with the opening of an answer if `add_generation_prompt`.
    ///
    /// # Errors
    /// When there is no template, or it refuses the messages.
    fn chat(&self, messages: &[(String, String)], add_generation_prompt: bool) -> Result<Vec<u32>>;

    /// The id that ends a text.
    fn eos(&self) -> Option<u32>;

    /// Ids are below this.
    fn vocab_size(&self) -> usize;

    /// Longest sequence the model was made for.
    fn context(&self) -> usize;
}

fn bad(row: usize, message: impl Into<String>) -> Error {
    Error::BadRow { row, message: message.into() }
}

/// Errors of the template or tokenizer say which row they are about.
fn of_row<T>(row: usize, r: Result<T>) -> Result<T> {
    r.map_err(|e| match e {
        Error::Template(m) => bad(row, format!("chat template: {m}")),
        other => other,
    })
}

/// A text, or messages.
enum Turns {
    Text(String),
    Messages(Vec<(String, String)>),
}

impl Turns {
    fn messages(self, role: &str) -> Vec<(String, String)> {
        match self {
            Turns::Text(t) => vec![(role.to_string(), t)],
            Turns::Messages(m) => m,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Turns::Text(t) => t.is_empty(),
            Turns::Messages(m) => m.iter().all(|(_, c)| c.is_empty()),
        }
    }
}

fn messages(row: usize, column: &str, list: &[Value]) -> Result<Vec<(String, String)>> {
    if list.is_empty() {
        return Err(bad(row, format!("{column} is an empty list")));
    }
    list.iter()
        .enumerate()
        .map(|(i, m)| match (m.get("role").and_then(Value::as_str), m.get("content").and_then(Value::as_str)) {
            (Some(role), Some(content)) => Ok((role.to_string(), content.to_string())),
            _ => Err(bad(row, format!("{column}[{i}] needs a role and a content, both texts, found {}", short(m)))),
        })
        .collect()
}

fn short(v: &Value) -> String {
    let s = v.to_string();
    if s.chars().count() > 80 { format!("{}…", s.chars().take(80).collect::<String>()) } else { s }
}

fn turns(row: usize, value: &Value, column: &str) -> Result<Option<Turns>> {
    match value.get(column) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(s)) => Ok(Some(Turns::Text(s.clone()))),
        Some(Value::Array(list)) => Ok(Some(Turns::Messages(messages(row, column, list)?))),
        Some(other) => Err(bad(row, format!("{column} is neither a text nor a list of messages: {}", short(other)))),
    }
}

fn ids(row: usize, value: &Value, column: &str, vocab: usize) -> Result<Option<Vec<u32>>> {
    let list = match value.get(column) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(bad(row, format!("{column} is not a list of token ids: {}", short(other)))),
    };
    list.iter()
        .enumerate()
        .map(|(i, v)| match v.as_u64() {
            Some(id) if (id as usize) < vocab => Ok(id as u32),
            _ => Err(bad(row, format!("{column}[{i}] is {}, expected a token id below {vocab}", short(v)))),
        })
        .collect::<Result<Vec<u32>>>()
        .map(Some)
}

fn labels(row: usize, value: &Value, ids: &[u32], vocab: usize) -> Result<Option<Vec<u32>>> {
    let list = match value.get("labels") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(bad(row, format!("labels is not a list: {}", short(other)))),
    };
    if list.len() != ids.len() {
        return Err(bad(row, format!("{} labels for {} input_ids", list.len(), ids.len())));
    }
    list.iter()
        .enumerate()
        .map(|(i, v)| match v.as_i64() {
            Some(-100) => Ok(IGNORE),
            Some(id) if id >= 0 && (id as usize) < vocab => Ok(id as u32),
            _ => Err(bad(row, format!("labels[{i}] is {}, expected −100 or a token id below {vocab}", short(v)))),
        })
        .collect::<Result<Vec<u32>>>()
        .map(Some)
}

fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// Prompt and completion as one sequence: (ids, first id of the completion). Texts get the end token, as TRL adds it; chats
/// have their template's.
fn joined(text: &dyn TextSource, row: usize, prompt: &Turns, completion: &Turns) -> Result<(Vec<u32>, usize)> {
    let (prompt_ids, all) = match (prompt, completion) {
        (Turns::Text(p), Turns::Text(c)) => {
            let mut all = of_row(row, text.encode(&format!("{p}{c}")))?;
            if let Some(eos) = text.eos()
                && all.last() != Some(&eos)
            {
                all.push(eos);
            }
            (of_row(row, text.encode(p))?, all)
        }
        _ => {
            let copy = |t: &Turns| match t {
                Turns::Text(t) => Turns::Text(t.clone()),
                Turns::Messages(m) => Turns::Messages(m.clone()),
            };
            let prompt = copy(prompt).messages("user");
            let mut both = prompt.clone();
            both.extend(copy(completion).messages("assistant"));
            (of_row(row, text.chat(&prompt, true))?, of_row(row, text.chat(&both, false))?)
        }
    };
    // Usually the whole prompt; fewer where the last characters of the prompt and the first of the completion share a token.
    let start = common_prefix(&prompt_ids, &all);
    Ok((all, start))
}

/// Positions that the assistant's messages take: whatever each adds to the chat before it.
fn assistant_labels(text: &dyn TextSource, row: usize, chat: &[(String, String)], all: &[u32]) -> Result<Vec<u32>> {
    let mut labels = vec![IGNORE; all.len()];
    for (i, (role, _)) in chat.iter().enumerate() {
        if role != "assistant" {
            continue;
        }
        let before = of_row(row, text.chat(&chat[..i], true))?;
        let after = of_row(row, text.chat(&chat[..=i], false))?;
        let end = common_prefix(&after, all);
        if common_prefix(&before, all) < before.len() || end < after.len() {
            return Err(bad(row, format!("assistant_only_loss: the chat template does not keep what precedes message {i} as it was")));
        }
        labels[before.len()..end].copy_from_slice(&all[before.len()..end]);
    }
    Ok(labels)
}

/// What a row may be long, and what becomes of longer ones.
struct Limit {
    cut: Option<usize>,
    context: usize,
}

impl Limit {
    fn new(options: &RowOptions, text: &dyn TextSource) -> Limit {
        Limit { cut: options.max_length.map(|n| n.min(text.context())), context: text.context() }
    }

    /// Cuts, refuses what does not fit, and refuses what nothing is left of.
    fn apply(&self, row: usize, what: &str, e: &mut Example) -> Result<()> {
        let (needed, had) = (e.ids.len(), e.counted());
        match self.cut {
            Some(n) => e.truncate(n),
            None if needed > self.context => return Err(Error::ContextOverflow { needed, available: self.context }),
            None => {}
        }
        if e.counted() == 0 {
            return Err(bad(
                row,
                if had > 0 {
                    format!("{what}: nothing to learn is left of its {needed} tokens after max_length {}", e.ids.len())
                } else {
                    format!("{what} holds nothing to learn")
                },
            ));
        }
        Ok(())
    }
}

/// One row of supervised fine-tuning: `input_ids` (with `labels`), `messages`, `prompt` with `completion`, or `text`.
fn sft_row(text: &dyn TextSource, options: &RowOptions, row: usize, value: &Value) -> Result<Example> {
    if !value.is_object() {
        return Err(bad(row, format!("expected an object, found {}", short(value))));
    }
    let vocab = text.vocab_size();
    if let Some(ids) = ids(row, value, "input_ids", vocab)? {
        let labels = labels(row, value, &ids, vocab)?.unwrap_or_else(|| ids.clone());
        return Ok(Example { ids, labels });
    }
    match value.get("messages") {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) => {
            let chat = messages(row, "messages", list)?;
            if !chat.iter().any(|(role, content)| role == "assistant" && !content.is_empty()) {
                return Err(bad(row, "messages holds no answer of the assistant"));
            }
            let all = of_row(row, text.chat(&chat, false))?;
            let labels = if options.assistant_only { assistant_labels(text, row, &chat, &all)? } else { all.clone() };
            return Ok(Example { ids: all, labels });
        }
        Some(other) => return Err(bad(row, format!("messages is not a list: {}", short(other)))),
    }
    match (turns(row, value, "prompt")?, turns(row, value, "completion")?) {
        (Some(prompt), Some(completion)) => {
            if completion.is_empty() {
                return Err(bad(row, "completion is empty"));
            }
            let (all, start) = joined(text, row, &prompt, &completion)?;
            let from = if options.completion_only { start } else { 0 };
            return Ok(Example::from_parts(all, from));
        }
        (Some(_), None) => return Err(bad(row, "has a prompt but no completion")),
        (None, Some(_)) => return Err(bad(row, "has a completion but no prompt")),
        (None, None) => {}
    }
    match value.get("text") {
        Some(Value::String(s)) if s.is_empty() => Err(bad(row, "text is empty")),
        Some(Value::String(s)) => {
            let mut all = text.encode(s)?;
            if let Some(eos) = text.eos()
                && all.last() != Some(&eos)
            {
                all.push(eos);
            }
            Ok(Example::from_parts(all, 0))
        }
        Some(other) => Err(bad(row, format!("text is not a text: {}", short(other)))),
        None => Err(bad(row, "none of the columns messages, prompt and completion, text, input_ids")),
    }
}

/// All rows for supervised fine-tuning.
///
/// # Errors
/// [`Error::BadRow`] with the row's number, [`Error::ContextOverflow`], [`Error::EmptyDataset`].
pub fn sft_examples(text: &dyn TextSource, options: &RowOptions, rows: &[Value]) -> Result<Vec<Example>> {
    if rows.is_empty() {
        return Err(Error::EmptyDataset("there are no rows to train on".into()));
    }
    let limit = Limit::new(options, text);
    rows.iter()
        .enumerate()
        .map(|(i, value)| {
            let mut e = sft_row(text, options, i, value)?;
            limit.apply(i, "the row", &mut e)?;
            Ok(e)
        })
        .collect()
}

fn weight(row: usize, value: &Value) -> Result<f32> {
    match value.get("weight") {
        None | Some(Value::Null) => Ok(1.0),
        Some(v) => match v.as_f64() {
            Some(w) if w.is_finite() && (0.0..=1e6).contains(&w) => Ok(w as f32),
            _ => Err(bad(row, format!("weight is {}, expected a number from 0 to 1000000", short(v)))),
        },
    }
}

/// The messages that chosen and rejected begin with together are the prompt, where there is no other.
fn implicit_prompt(chosen: &mut Turns, rejected: &mut Turns) -> Option<Turns> {
    let (Turns::Messages(a), Turns::Messages(b)) = (chosen, rejected) else { return None };
    let n = a.iter().zip(b.iter()).take_while(|(x, y)| x == y).count();
    (n > 0 && n < a.len() && n < b.len()).then(|| {
        b.drain(..n);
        Turns::Messages(a.drain(..n).collect())
    })
}

fn pair_row(text: &dyn TextSource, row: usize, value: &Value) -> Result<Pair> {
    if !value.is_object() {
        return Err(bad(row, format!("expected an object, found {}", short(value))));
    }
    let weight = weight(row, value)?;
    let vocab = text.vocab_size();
    if let Some(prompt) = ids(row, value, "prompt_ids", vocab)? {
        let side = |column: &str| -> Result<Example> {
            let tail = ids(row, value, column, vocab)?.ok_or_else(|| bad(row, format!("has prompt_ids but no {column}")))?;
            Ok(Example::from_parts([&prompt[..], &tail].concat(), prompt.len()))
        };
        return Ok(Pair { chosen: side("chosen_ids")?, rejected: side("rejected_ids")?, weight });
    }
    let side = |column: &str| -> Result<Turns> {
        let t = turns(row, value, column)?.ok_or_else(|| bad(row, format!("has no {column} answer")))?;
        if t.is_empty() { Err(bad(row, format!("the {column} answer is empty"))) } else { Ok(t) }
    };
    let (mut chosen, mut rejected) = (side("chosen")?, side("rejected")?);
    let prompt = match turns(row, value, "prompt")? {
        Some(p) => p,
        None => implicit_prompt(&mut chosen, &mut rejected).ok_or_else(|| bad(row, "has no prompt"))?,
    };
    // One side as messages makes a chat of all.
    let chat = [&prompt, &chosen, &rejected].iter().any(|t| matches!(t, Turns::Messages(_)));
    let lift = |t: Turns, role: &str| if chat { Turns::Messages(t.messages(role)) } else { t };
    let (prompt, chosen, rejected) = (lift(prompt, "user"), lift(chosen, "assistant"), lift(rejected, "assistant"));
    let example = |side: &Turns| -> Result<Example> {
        let (all, start) = joined(text, row, &prompt, side)?;
        Ok(Example::from_parts(all, start))
    };
    Ok(Pair { chosen: example(&chosen)?, rejected: example(&rejected)?, weight })
}

/// All rows of preferences: `prompt, chosen, rejected` (texts or messages; `weight` optional), or `prompt_ids, chosen_ids, rejected_ids`.
///
/// # Errors
/// [`Error::BadRow`] with the row's number, [`Error::ContextOverflow`], [`Error::EmptyDataset`].
pub fn preference_pairs(text: &dyn TextSource, options: &RowOptions, rows: &[Value]) -> Result<Vec<Pair>> {
    if rows.is_empty() {
        return Err(Error::EmptyDataset("there are no preferences to train on".into()));
    }
    let limit = Limit::new(options, text);
    rows.iter()
        .enumerate()
        .map(|(i, value)| {
            let mut p = pair_row(text, i, value)?;
            limit.apply(i, "the chosen answer", &mut p.chosen)?;
            limit.apply(i, "the rejected answer", &mut p.rejected)?;
            Ok(p)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// One token per character; a chat is `<` role letter, content, `>` per message.
    struct Letters;

    impl TextSource for Letters {
        fn encode(&self, text: &str) -> Result<Vec<u32>> {
            Ok(text.chars().map(|c| c as u32).collect())
        }

        fn chat(&self, messages: &[(String, String)], add: bool) -> Result<Vec<u32>> {
            let mut s = String::new();
            for (role, content) in messages {
                if role == "wizard" {
                    return Err(Error::Template("no wizards".into()));
                }
                s.push_str(&format!("<{}{content}>", &role[..1]));
            }
            if add {
                s.push_str("<a");
            }
            self.encode(&s)
        }

        fn eos(&self) -> Option<u32> {
            Some(1)
        }

        fn vocab_size(&self) -> usize {
            200
        }

        fn context(&self) -> usize {
            24
        }
    }

    fn sft(row: Value, options: &RowOptions) -> Result<Example> {
        Ok(sft_examples(&Letters, options, &[json!({"text": "fine"}), row])?.remove(1))
    }

    fn learned(e: &Example) -> String {
        e.labels.iter().filter(|l| **l != IGNORE).map(|l| if *l == 1 { '$' } else { char::from_u32(*l).unwrap() }).collect()
    }

    #[test]
    fn columns() {
        let c = RowOptions { max_length: Some(1024), ..RowOptions::default() };
        assert_eq!(learned(&sft(json!({"prompt": "ab", "completion": "cd"}), &c).unwrap()), "cd$");
        assert_eq!(learned(&sft(json!({"text": "abc"}), &c).unwrap()), "abc$");
        let all = RowOptions { completion_only: false, ..c };
        assert_eq!(learned(&sft(json!({"prompt": "ab", "completion": "cd"}), &all).unwrap()), "abcd$");
        let turn = |role: &str, content: &str| json!({"role": role, "content": content});
        let chat = json!({"messages": [turn("user", "hi"), turn("assistant", "yo"), turn("user", "m"), turn("assistant", "k")]});
        assert_eq!(learned(&sft(chat.clone(), &c).unwrap()), "<uhi><ayo><um><ak>");
        let only = RowOptions { assistant_only: true, ..c };
        assert_eq!(learned(&sft(chat, &only).unwrap()), "yo>k>");
        let mixed = json!({"prompt": [{"role": "user", "content": "hi"}], "completion": "yo"});
        assert_eq!(learned(&sft(mixed, &c).unwrap()), "yo>");
        let ids = sft(json!({"input_ids": [3, 4, 5], "labels": [-100, 4, -100]}), &c).unwrap();
        assert_eq!((ids.ids, ids.labels), (vec![3, 4, 5], vec![IGNORE, 4, IGNORE]));
        // Cut at the end, and the end token is not put back.
        let short = RowOptions { max_length: Some(3), ..RowOptions::default() };
        assert_eq!(learned(&sft(json!({"prompt": "ab", "completion": "cd"}), &short).unwrap()), "c");
    }

    #[test]
    fn rows_that_cannot_be_used_are_named() {
        let cut = RowOptions { max_length: Some(4), ..RowOptions::default() };
        for row in [
            json!(3),
            json!({}),
            json!({"prompt": "a"}),
            json!({"completion": "a"}),
            json!({"prompt": "a", "completion": ""}),
            json!({"prompt": "abcdef", "completion": "g"}),
            json!({"messages": []}),
            json!({"messages": [{"role": "user", "content": "a"}]}),
            json!({"messages": [{"role": "user"}, {"role": "assistant", "content": "b"}]}),
            json!({"messages": [{"role": "wizard", "content": "a"}, {"role": "assistant", "content": "b"}]}),
            json!({"input_ids": [1, 200]}),
            json!({"input_ids": [1, -1]}),
            json!({"input_ids": [1]}),
            json!({"input_ids": [1, 2], "labels": [1]}),
            json!({"input_ids": [1, 2], "labels": [1, -100]}),
            json!({"text": ""}),
            json!({"text": 4}),
        ] {
            match sft(row.clone(), &cut) {
                Err(Error::BadRow { row: 1, .. }) => {}
                other => panic!("{row}: {other:?}"),
            }
        }
        assert_eq!(sft_examples(&Letters, &cut, &[]).unwrap_err().code(), "empty-dataset");
        let uncut = RowOptions { max_length: None, ..RowOptions::default() };
        match sft(json!({"text": "a".repeat(30)}), &uncut) {
            Err(Error::ContextOverflow { needed: 31, available: 24 }) => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn preferences() {
        let c = RowOptions { max_length: Some(1024), ..RowOptions::default() };
        let one = |row: Value| preference_pairs(&Letters, &c, &[row]).map(|mut p| p.remove(0));
        let p = one(json!({"prompt": "ab", "chosen": "c", "rejected": "dd", "weight": 0.5})).unwrap();
        assert_eq!((learned(&p.chosen), learned(&p.rejected), p.weight), ("c$".into(), "dd$".into(), 0.5));
        let p =
            one(json!({"prompt": [{"role": "user", "content": "q"}], "chosen": "c", "rejected": [{"role": "assistant", "content": "d"}]}))
                .unwrap();
        assert_eq!((learned(&p.chosen), learned(&p.rejected)), ("c>".into(), "d>".into()));
        let side = |answer: &str| json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}]);
        let p = one(json!({"chosen": side("c"), "rejected": side("d")})).unwrap();
        assert_eq!((learned(&p.chosen), p.chosen.ids.len()), ("c>".into(), 8));
        let p = one(json!({"prompt_ids": [3, 4], "chosen_ids": [5], "rejected_ids": [6, 7]})).unwrap();
        assert_eq!((p.chosen.ids, p.rejected.labels), (vec![3, 4, 5], vec![IGNORE, IGNORE, 6, 7]));
        for row in [
            json!({"prompt": "a", "chosen": "b"}),
            json!({"prompt": "a", "rejected": "b"}),
            json!({"chosen": "a", "rejected": "b"}),
            json!({"prompt": "a", "chosen": "", "rejected": "b"}),
            json!({"prompt": "a", "chosen": "c", "rejected": "b", "weight": -1}),
            json!({"prompt_ids": [1], "chosen_ids": [2]}),
        ] {
            assert_eq!(one(row.clone()).unwrap_err().code(), "bad-row", "{row}");
        }
    }
}
