//! Rows → tokens: what the model's tokenizer and template make of them, and which tokens count. Rows are counted from 0, and every error
//! names its row.

use std::cell::RefCell;

use serde_json::Value;

use super::columns::RowKind;
use super::example::{Example, IGNORE, Pair, Unpaired};
use super::fault::{Fault, numbers};
use super::rows::{Answered, Message, PreferenceRow, Row, SftRow, Sides, TextOrMessages};
use crate::{Error, Result};

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
    fn chat(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Vec<u32>>;

    /// Whether there is a template, that is, whether the model is one that people chat with.
    fn has_template(&self) -> bool;

    /// The id that ends a text.
    fn eos(&self) -> Option<u32>;

    /// Ids are below this.
    fn vocab_size(&self) -> usize;

    /// Longest sequence the model was made for.
    fn context(&self) -> usize;
}

/// Rows about which something should be known.
#[derive(Default)]
struct Notes {
    /// Rows in all.
    rows: usize,
    cut: Vec<usize>,
    merged: Vec<usize>,
    texts: Vec<usize>,
}

fn note(rows: &mut Vec<usize>, row: usize) {
    if rows.last() != Some(&row) {
        rows.push(row);
    }
}

/// A row of which nothing can be learned for its length.
struct Long {
    row: usize,
    message: String,
    /// Too long for the model, rather than cut down to nothing.
    overflow: bool,
}

/// Reads rows with one model's tokenizer.
pub struct RowReader<'a> {
    text: &'a dyn TextSource,
    options: RowOptions,
    notes: RefCell<Notes>,
}

/// Errors of the template or tokenizer say which row they are about.
fn of_row<T>(row: usize, r: Result<T>) -> Result<T> {
    r.map_err(|e| match e {
        Error::Template(m) => Fault::row(format!("chat template: {m}")).of_row(row),
        other => other,
    })
}

fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

impl<'a> RowReader<'a> {
    pub fn new(text: &'a dyn TextSource, options: RowOptions) -> RowReader<'a> {
        RowReader { text, options, notes: RefCell::default() }
    }

    /// What a person should know about the rows that were read: sentences, none where there is nothing to say.
    pub fn notes(&self) -> Vec<String> {
        let n = self.notes.borrow();
        let many = |rows: &[usize]| match rows.len() {
            1 => format!("row {}", rows[0]),
            k => format!("{k} of {} rows ({})", n.rows, numbers(rows)),
        };
        let mut said = Vec::new();
        if !n.cut.is_empty() {
            said.push(format!("cut to max_length {}: {}", self.cut(), many(&n.cut)));
        }
        if !n.merged.is_empty() {
            said.push(format!(
                "the end of the prompt merges with the beginning of the answer into one token, which counts to the answer: {}. \
                 End prompts where a token ends",
                many(&n.merged)
            ));
        }
        if !n.texts.is_empty() {
            said.push(format!(
                "the prompt is a text, which is learned as it stands, without the chat template through which this model is asked: {}. \
                 Write messages to learn in its chat",
                many(&n.texts)
            ));
        }
        said
    }

    /// Tokens that a sequence may have.
    fn cut(&self) -> usize {
        self.options.max_length.unwrap_or(usize::MAX).min(self.text.context())
    }

    /// The text as a sequence of its own: it gets the end token, as TRL adds it.
    fn ended(&self, text: &str) -> Result<Vec<u32>> {
        let mut all = self.text.encode(text)?;
        if let Some(eos) = self.text.eos()
            && all.last() != Some(&eos)
        {
            all.push(eos);
        }
        Ok(all)
    }

    /// The prompt, and the prompt with each of the answers. Texts get the end token; chats have their template's, and one side as messages
    /// makes a chat of all.
    fn joined(&self, row: usize, prompt: &TextOrMessages, answers: &[&TextOrMessages]) -> Result<(Vec<u32>, Vec<Vec<u32>>)> {
        if let TextOrMessages::Text(p) = prompt
            && answers.iter().all(|a| !a.is_chat())
        {
            if self.text.has_template() {
                note(&mut self.notes.borrow_mut().texts, row);
            }
            let with = |a: &&TextOrMessages| match a {
                TextOrMessages::Text(a) => self.ended(&format!("{p}{a}")),
                TextOrMessages::Messages(_) => unreachable!("all are texts"),
            };
            let all = answers.iter().map(with).collect::<Result<Vec<_>>>();
            return Ok((of_row(row, self.text.encode(p))?, of_row(row, all)?));
        }
        let prompt = prompt.clone().into_messages("user");
        let with = |a: &&TextOrMessages| {
            let both = [prompt.clone(), (*a).clone().into_messages("assistant")].concat();
            self.text.chat(&both, false)
        };
        let all = answers.iter().map(with).collect::<Result<Vec<_>>>();
        Ok((of_row(row, self.text.chat(&prompt, true))?, of_row(row, all)?))
    }

    /// Where answers begin: usually behind the whole prompt; earlier where the last characters of the prompt and the first of an answer
    /// share a token, and then in the same place for all of them (TRL's `common_prefix_length`).
    fn start(&self, row: usize, prompt: &[u32], all: &[Vec<u32>]) -> usize {
        let start = all.iter().map(|a| common_prefix(prompt, a)).min().unwrap_or(0);
        if start < prompt.len() {
            note(&mut self.notes.borrow_mut().merged, row);
        }
        start
    }

    /// Positions that the assistant's messages take: whatever each adds to the chat before it.
    fn assistant_labels(&self, row: usize, chat: &[Message], all: &[u32]) -> Result<Vec<u32>> {
        let mut labels = vec![IGNORE; all.len()];
        for (i, _) in chat.iter().enumerate().filter(|(_, m)| m.role == "assistant") {
            let before = of_row(row, self.text.chat(&chat[..i], true))?;
            let after = of_row(row, self.text.chat(&chat[..=i], false))?;
            let end = common_prefix(&after, all);
            if common_prefix(&before, all) < before.len() || end < after.len() {
                let reason = format!("assistant_only_loss: the chat template does not keep what precedes message {i} as it was");
                return Err(Fault::row(reason).of_row(row));
            }
            labels[before.len()..end].copy_from_slice(&all[before.len()..end]);
        }
        Ok(labels)
    }

    /// Ids of a row, all of which the model must know.
    fn known(&self, row: usize, column: &str, ids: Vec<u32>) -> Result<Vec<u32>> {
        let vocab = self.text.vocab_size();
        match ids.iter().position(|id| *id as usize >= vocab) {
            Some(i) => {
                let reason = format!("is {}, expected a token id below {vocab}", ids[i]);
                Err(Fault::at(format!("{column}[{i}]"), reason).of_row(row))
            }
            None => Ok(ids),
        }
    }

    fn sft_row(&self, row: usize, value: SftRow) -> Result<Example> {
        match value {
            SftRow::Ids { input_ids, labels } => {
                let ids = self.known(row, "input_ids", input_ids)?;
                let Some(labels) = labels else { return Ok(Example { labels: ids.clone(), ids }) };
                let labels = labels.into_iter().map(|l| u32::try_from(l).unwrap_or(IGNORE)).collect::<Vec<u32>>();
                let vocab = self.text.vocab_size();
                if let Some(i) = labels.iter().position(|l| *l != IGNORE && *l as usize >= vocab) {
                    let reason = format!("is {}, expected −100 or a token id below {vocab}", labels[i]);
                    return Err(Fault::at(format!("labels[{i}]"), reason).of_row(row));
                }
                Ok(Example { ids, labels })
            }
            SftRow::Messages { messages } => {
                let ids = of_row(row, self.text.chat(&messages, false))?;
                let labels = if self.options.assistant_only { self.assistant_labels(row, &messages, &ids)? } else { ids.clone() };
                Ok(Example { ids, labels })
            }
            SftRow::PromptCompletion { prompt, completion } => {
                let (prompt, mut all) = self.joined(row, &prompt, &[&completion])?;
                let start = if self.options.completion_only { self.start(row, &prompt, &all) } else { 0 };
                Ok(Example::from_parts(all.remove(0), start))
            }
            SftRow::Text { text } => Ok(Example::from_parts(of_row(row, self.ended(&text))?, 0)),
        }
    }

    fn pair(&self, row: usize, value: PreferenceRow) -> Result<Pair> {
        let weight = value.weight.unwrap_or(1.0) as f32;
        let (chosen, rejected, start) = match value.sides {
            Sides::Ids { prompt_ids, chosen_ids, rejected_ids } => {
                let prompt = self.known(row, "prompt_ids", prompt_ids)?;
                let (chosen, rejected) = (self.known(row, "chosen_ids", chosen_ids)?, self.known(row, "rejected_ids", rejected_ids)?);
                ([&prompt[..], &chosen].concat(), [&prompt[..], &rejected].concat(), prompt.len())
            }
            Sides::Turns { prompt, chosen, rejected } => {
                let (prompt, mut all) = self.joined(row, &prompt, &[&chosen, &rejected])?;
                let start = self.start(row, &prompt, &all);
                let rejected = all.remove(1);
                (all.remove(0), rejected, start)
            }
        };
        Ok(Pair { chosen: Example::from_parts(chosen, start), rejected: Example::from_parts(rejected, start), weight })
    }

    /// Cuts, and tells what does not fit or what nothing is left of.
    fn fit(&self, row: usize, what: &str, e: &mut Example) -> Result<Option<Long>> {
        let (needed, had, cut) = (e.ids.len(), e.counted(), self.cut());
        if had == 0 {
            return Err(Fault::row(format!("{what} holds nothing to learn")).of_row(row));
        }
        if self.options.max_length.is_none() && needed > cut {
            let message = format!("{what} takes {needed} tokens, the model's context is {cut}; max_length cuts longer ones");
            return Ok(Some(Long { row, message, overflow: true }));
        }
        if needed > cut {
            e.truncate(cut);
            note(&mut self.notes.borrow_mut().cut, row);
        }
        if e.counted() > 0 {
            return Ok(None);
        }
        let message = format!("{what}: nothing to learn is left of its {needed} tokens after max_length {cut}");
        Ok(Some(Long { row, message, overflow: false }))
    }

    /// All rows, each with its number.
    fn read(&self, rows: &[Value], teaches: RowKind, what: &str) -> Result<Vec<(usize, Row)>> {
        if rows.is_empty() {
            return Err(Error::EmptyDataset(format!("there are no {what} to train on")));
        }
        *self.notes.borrow_mut() = Notes { rows: rows.len(), ..Notes::default() };
        let read = |(i, value)| Row::read(value, teaches.taught_by()).map(|row| (i, row)).map_err(|fault| fault.of_row(i));
        rows.iter().enumerate().map(read).collect()
    }

    /// Every row that is too long, told at once: who has to shorten them wants to know all.
    fn none_too_long(&self, long: Vec<Long>) -> Result<()> {
        let mut rows: Vec<usize> = Vec::new();
        long.iter().for_each(|l| note(&mut rows, l.row));
        let Some(Long { row, message, overflow }) = long.into_iter().next() else { return Ok(()) };
        let total = self.notes.borrow().rows;
        let more =
            if rows.len() > 1 { format!("; so it is with {} of {total} rows: {}", rows.len(), numbers(&rows)) } else { String::new() };
        let message = message + &more;
        Err(if overflow { Error::LongRow { row, message } } else { Error::BadRow { row, message } })
    }

    /// Rows for supervised fine-tuning: `messages` · `prompt, completion` · `text` · `input_ids` (`labels`).
    ///
    /// # Errors
    /// [`Error::BadRow`] and [`Error::LongRow`] with the row's number, [`Error::EmptyDataset`].
    pub fn sft(&self, rows: &[Value]) -> Result<Vec<Example>> {
        let (mut examples, mut long) = (Vec::new(), Vec::new());
        for (i, row) in self.read(rows, RowKind::Sft, "rows")? {
            let Row::Sft(row) = row else { unreachable!("of this kind") };
            let mut e = self.sft_row(i, row)?;
            long.extend(self.fit(i, "the row", &mut e)?);
            examples.push(e);
        }
        self.none_too_long(long)?;
        Ok(examples)
    }

    /// Rows of preferences: `prompt, chosen, rejected` (texts or messages) or `prompt_ids, chosen_ids, rejected_ids`, with a `weight`; or
    /// rankings `prompt, answers, ranks`, each of which gives all its strict pairs. Rankings in which nothing is better than anything are
    /// passed over.
    ///
    /// # Errors
    /// As [`RowReader::sft`]; [`Error::NoPairs`] where no row prefers anything.
    pub fn preferences(&self, rows: &[Value]) -> Result<Vec<Pair>> {
        let (mut pairs, mut long, mut tied) = (Vec::new(), Vec::new(), 0);
        for (i, row) in self.read(rows, RowKind::Preference, "preferences")? {
            let found = match row {
                Row::Preference(row) => vec![row],
                Row::Ranking(row) => row.pairs().unwrap_or_default(),
                _ => unreachable!("of these kinds"),
            };
            tied += usize::from(found.is_empty());
            for row in found {
                let mut pair = self.pair(i, row)?;
                long.extend(self.fit(i, "the chosen answer", &mut pair.chosen)?);
                long.extend(self.fit(i, "the rejected answer", &mut pair.rejected)?);
                pairs.push(pair);
            }
        }
        self.none_too_long(long)?;
        match &pairs[..] {
            [] => Err(Error::NoPairs(format!("in each of the {tied} rankings no answer is better than another of other words"))),
            all if all.iter().all(|p| p.chosen == p.rejected) => {
                Err(Error::NoPairs(format!("chosen and rejected are the same in all {} rows: nothing can be learned", all.len())))
            }
            all if all.iter().all(|p| p.weight == 0.0) => {
                Err(Error::NoPairs(format!("the weight of all {} rows is 0: nothing can be learned", all.len())))
            }
            _ => Ok(pairs),
        }
    }

    /// Rows of unpaired judgements: `prompt, completion, label` or `prompt_ids, completion_ids, label`.
    ///
    /// # Errors
    /// As [`RowReader::sft`].
    pub fn unpaired(&self, rows: &[Value]) -> Result<Vec<Unpaired>> {
        let (mut all, mut long) = (Vec::new(), Vec::new());
        for (i, row) in self.read(rows, RowKind::Unpaired, "judgements")? {
            let Row::Unpaired(row) = row else { unreachable!("of this kind") };
            let (prompt, completion) = match row.answered {
                Answered::Ids { prompt_ids, completion_ids } => {
                    (self.known(i, "prompt_ids", prompt_ids)?, self.known(i, "completion_ids", completion_ids)?)
                }
                Answered::Turns { prompt, completion } => {
                    let (mut prompt, mut both) = self.joined(i, &prompt, &[&completion])?;
                    let start = self.start(i, &prompt, &both);
                    prompt.truncate(start);
                    (prompt, both.remove(0).split_off(start))
                }
            };
            let unpaired = Unpaired { prompt, completion, label: row.label, max_length: self.cut() };
            // Looked at uncut: whether it is to be cut at all is asked here.
            let mut whole = Unpaired { max_length: usize::MAX, ..unpaired.clone() }.example();
            long.extend(self.fit(i, "the completion", &mut whole)?);
            all.push(unpaired);
        }
        self.none_too_long(long)?;
        Ok(all)
    }
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

        fn chat(&self, messages: &[Message], add: bool) -> Result<Vec<u32>> {
            let mut s = String::new();
            for Message { role, content } in messages {
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

        fn has_template(&self) -> bool {
            true
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
        Ok(RowReader::new(&Letters, *options).sft(&[json!({"text": "fine"}), row])?.remove(1))
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
        assert_eq!(RowReader::new(&Letters, cut).sft(&[]).unwrap_err().code(), "empty-dataset");
        let uncut = RowOptions { max_length: None, ..RowOptions::default() };
        match sft(json!({"text": "a".repeat(30)}), &uncut) {
            Err(Error::LongRow { row: 1, message }) if message.contains("31 tokens") && message.contains("24") => {}
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn preferences() {
        let c = RowOptions { max_length: Some(1024), ..RowOptions::default() };
        let one = |row: Value| RowReader::new(&Letters, c).preferences(&[row]).map(|mut p| p.remove(0));
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

    /// `ab` and `cd` side by side are one token each, over the boundary of prompt and answer too.
    struct Merging;

    impl TextSource for Merging {
        fn encode(&self, text: &str) -> Result<Vec<u32>> {
            let merged = text.replace("ab", "\u{64}").replace("cd", "\u{65}");
            Ok(merged.chars().map(|c| c as u32).collect())
        }

        fn chat(&self, _: &[Message], _: bool) -> Result<Vec<u32>> {
            Err(Error::Template("there is none".into()))
        }

        fn has_template(&self) -> bool {
            false
        }

        fn eos(&self) -> Option<u32> {
            None
        }

        fn vocab_size(&self) -> usize {
            200
        }

        fn context(&self) -> usize {
            24
        }
    }

    #[test]
    fn both_answers_count_from_where_either_leaves_the_prompt() {
        let options = RowOptions::default();
        let reader = RowReader::new(&Merging, options);
        let row = |prompt: &str, chosen: &str, rejected: &str| json!({"prompt": prompt, "chosen": chosen, "rejected": rejected});
        let plain = row("xa", "y", "z");
        for (merging, chosen, rejected) in [(row("xa", "b", "z"), 1, 2), (row("xa", "z", "b"), 2, 1)] {
            let pairs = reader.preferences(&[plain.clone(), merging]).unwrap();
            assert_eq!((pairs[0].chosen.counted(), pairs[0].rejected.counted()), (1, 1));
            assert_eq!((pairs[1].chosen.counted(), pairs[1].rejected.counted()), (chosen, rejected));
            let notes = reader.notes();
            assert!(notes.len() == 1 && notes[0].contains("merges") && notes[0].contains("row 1"), "{notes:?}");
        }
        let unpaired = reader.unpaired(&[json!({"prompt": "xa", "completion": "b", "label": true})]).unwrap().remove(0);
        assert_eq!((unpaired.prompt.len(), unpaired.completion.len()), (1, 1));
        reader.preferences(&[plain]).unwrap();
        assert!(reader.notes().is_empty());
    }

    #[test]
    fn unpaired_judgements() {
        let reader = RowReader::new(&Letters, RowOptions { max_length: Some(4), ..RowOptions::default() });
        let rows = [
            json!({"prompt": "ab", "completion": "cde", "label": false}),
            json!({"prompt_ids": [3, 4], "completion_ids": [5], "label": true}),
        ];
        let read = reader.unpaired(&rows).unwrap();
        // Cut at the end, as a sequence, not each of its parts.
        assert_eq!((read[0].completion.len(), learned(&read[0].example()).as_str(), read[0].label), (4, "cd", false));
        assert_eq!((read[1].example().ids, read[1].label), (vec![3, 4, 5], true));
        assert_eq!(read[1].with_completion(&read[0].completion).ids.len(), 4);
        let notes = reader.notes();
        assert!(notes.iter().any(|n| n.contains("max_length 4: row 0")) && notes.iter().any(|n| n.contains("template")), "{notes:?}");
        let long = json!({"prompt": "abcd", "completion": "e", "label": true});
        assert_eq!(reader.unpaired(&[long]).unwrap_err().code(), "bad-row");
        assert_eq!(reader.unpaired(&[]).unwrap_err().code(), "empty-dataset");
        assert_eq!(reader.unpaired(&[json!({"prompt": "a", "completion": "b"})]).unwrap_err().code(), "bad-row");
    }

    #[test]
    fn rankings_train_as_their_pairs() {
        let reader = RowReader::new(&Letters, RowOptions::default());
        let ranking = |ranks: [i32; 3]| json!({"prompt": "q", "answers": ["x", "y", "z"], "ranks": ranks});
        let pairs = reader.preferences(&[ranking([1, 1, 1]), ranking([2, 1, 2])]).unwrap();
        let words: Vec<_> = pairs.iter().map(|p| (learned(&p.chosen), learned(&p.rejected))).collect();
        assert_eq!(words, [("y$".into(), "x$".into()), ("y$".into(), "z$".into())] as [(String, String); 2]);
        assert_eq!(reader.preferences(&[ranking([1, 1, 1])]).unwrap_err().code(), "no-pairs");
    }

    #[test]
    fn what_cannot_teach_is_told() {
        let reader = RowReader::new(&Letters, RowOptions::default());
        let row = |chosen: &str, weight: f64| json!({"prompt": "q", "chosen": chosen, "rejected": "b", "weight": weight});
        for rows in [vec![row("b", 1.0), row("b", 1.0)], vec![row("a", 0.0)]] {
            assert_eq!(reader.preferences(&rows).unwrap_err().code(), "no-pairs");
        }
        assert_eq!(reader.preferences(&[row("b", 1.0), row("a", 1.0)]).unwrap().len(), 2);
    }

    #[test]
    fn all_rows_that_are_too_long_are_told_at_once() {
        let text = |n: usize| json!({"prompt": "a".repeat(n), "completion": "b"});
        let rows = [text(3), text(30), text(4), text(31)];
        let of = |max_length| RowReader::new(&Letters, RowOptions { max_length, ..RowOptions::default() }).sft(&rows).unwrap_err();
        let (cut, whole) = (of(Some(4)), of(None));
        assert_eq!((cut.code(), whole.code()), ("bad-row", "context-overflow"));
        assert!(cut.to_string().starts_with("row 1: ") && cut.to_string().ends_with("so it is with 3 of 4 rows: 1, 2, 3"), "{cut}");
        assert!(
            whole.to_string().starts_with("row 1: the row takes 32 tokens") && whole.to_string().ends_with("2 of 4 rows: 1, 3"),
            "{whole}"
        );
    }
}
