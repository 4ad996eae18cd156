//! Rows → tokens: what the model's tokenizer and template make of them, and which tokens count. Rows are counted from 0, and every error
//! names its row.

use std::cell::RefCell;

use serde_json::{Map, Value};

use super::columns::RowKind;
use super::example::{Comparison, Example, IGNORE, Pair, Preferred, Unpaired};
use super::fault::Fault;
use super::mask::Mask;
use super::message::{ForTemplate, Message, TextOrMessages};
use super::notes::{Note, Notes};
use super::ranking::Ranking;
use super::rows::{Answered, PreferenceRow, RankingRow, RewardRow, Row, SftRow, Sides, check_labels};
use crate::{Error, Result};

/// How rows become examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowOptions {
    /// Longer rows are cut; `None` = never, and rows longer than the model's context are left out.
    pub max_length: Option<usize>,
    /// They are cut at their beginning, not at their end.
    pub keep_end: bool,
    /// Rows of any length are taken as they are: what makes packs of them cuts them.
    pub whole: bool,
    /// Of rows with `prompt` and `completion`: only the completion counts.
    pub completion_only: bool,
    /// Of rows with `messages`: only the assistant's messages count.
    pub assistant_only: bool,
}

impl Default for RowOptions {
    fn default() -> RowOptions {
        RowOptions { max_length: None, keep_end: false, whole: false, completion_only: true, assistant_only: false }
    }
}

/// Text → ids, as the model's own tokenizer and chat template do it.
pub trait TextSource {
    /// As the tokenizer is called on a text: special tokens in it are read as such, one at the beginning is added where the tokenizer does so.
    ///
    /// # Errors
    /// When the model has no tokenizer.
    fn encode(&self, text: &str) -> Result<Vec<u32>>;

    /// A chat through the model's template, with the opening of an answer if `add_generation_prompt`; `variables` are the template's further ones,
    /// such as `tools`.
    ///
    /// # Errors
    /// When there is no template, or it refuses the messages.
    fn chat(&self, messages: &[Message], variables: &Map<String, Value>, add_generation_prompt: bool) -> Result<Vec<u32>>;

    /// Whether there is a template, that is, whether the model is one that people chat with.
    fn has_template(&self) -> bool;

    /// The id that ends a text.
    fn eos(&self) -> Option<u32>;

    /// The ids that end an answer.
    fn ends(&self) -> Vec<u32> {
        self.eos().into_iter().collect()
    }

    /// Ids are below this.
    fn vocab_size(&self) -> usize;

    /// Longest sequence the model was made for.
    fn context(&self) -> usize;

    /// Which keys its tokens see.
    fn mask(&self) -> Mask {
        Mask::Causal
    }

    /// Of an encoder: how many kinds of segments it tells apart.
    fn encoder(&self) -> Option<usize> {
        None
    }

    /// Of an encoder-decoder: what its decoder reads to learn a target, the ids in whose place nothing is asked being `None`.
    fn shifted(&self, _target: &[Option<u32>]) -> Option<Vec<u32>> {
        None
    }
}

/// Reads rows with one model's tokenizer.
pub struct RowReader<'a> {
    text: &'a dyn TextSource,
    options: RowOptions,
    notes: RefCell<Notes>,
    said: RefCell<Vec<String>>,
}

/// Errors of the template or tokenizer say which row they are about.
pub(super) fn of_row<T>(row: usize, r: Result<T>) -> Result<T> {
    r.map_err(|e| match e {
        Error::Template(m) => Fault::row(format!("chat template: {m}")).of_row(row),
        other => other,
    })
}

/// The prompt of Stanford's Alpaca, for models that nobody chats with.
fn alpaca(instruction: &str, input: Option<&str>) -> String {
    let (paired, input) = match input {
        Some(input) => (", paired with an input that provides further context", format!("### Input:\n{input}\n\n")),
        None => ("", String::new()),
    };
    format!(
        "Below is an instruction that describes a task{paired}. Write a response that appropriately completes the request.\n\n\
         ### Instruction:\n{instruction}\n\n{input}### Response:\n"
    )
}

fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

impl<'a> RowReader<'a> {
    pub fn new(text: &'a dyn TextSource, options: RowOptions) -> RowReader<'a> {
        RowReader { text, options, notes: RefCell::default(), said: RefCell::default() }
    }

    /// What a person should know about the rows that were read: sentences, none where there is nothing to say.
    pub fn notes(&self) -> Vec<String> {
        let mut all = self.notes.borrow().sentences(&self.limit());
        all.extend(self.said.borrow().iter().cloned());
        all
    }

    /// Something else that a person should know of the rows: a sentence.
    pub fn say(&self, sentence: String) {
        self.said.borrow_mut().push(sentence);
    }

    fn note(&self, note: Note, row: usize) {
        self.notes.borrow_mut().add(note, row);
    }

    /// Where text becomes tokens.
    pub(super) fn text(&self) -> &dyn TextSource {
        self.text
    }

    /// A row's prompt is a text that goes through no template.
    pub(super) fn note_text(&self, row: usize) {
        if self.text.has_template() {
            self.note(Note::Text, row);
        }
    }

    /// A row is longer than the model's context.
    pub(super) fn leave_out(&self, row: usize, message: String) {
        self.notes.borrow_mut().too_long(row, message, true);
    }

    /// Which keys the model's tokens see.
    pub fn mask(&self) -> Mask {
        self.text.mask()
    }

    /// Tokens that end an answer.
    pub fn ends(&self) -> Vec<u32> {
        self.text.ends()
    }

    /// Tokens that a sequence may have.
    pub fn cut(&self) -> usize {
        self.options.max_length.unwrap_or(usize::MAX).min(self.text.context())
    }

    /// The same in words.
    fn limit(&self) -> String {
        match self.options.max_length {
            Some(n) if n <= self.text.context() => format!("max_length {n}"),
            _ => format!("the model's context of {} tokens", self.text.context()),
        }
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
    fn joined(
        &self,
        row: usize,
        prompt: &TextOrMessages,
        answers: &[&TextOrMessages],
        with: &ForTemplate,
    ) -> Result<(Vec<u32>, Vec<Vec<u32>>)> {
        if let TextOrMessages::Text(p) = prompt
            && answers.iter().all(|a| !a.is_chat())
        {
            self.note_text(row);
            let joined = |a: &&TextOrMessages| match a {
                TextOrMessages::Text(a) => self.ended(&format!("{p}{a}")),
                TextOrMessages::Messages(_) => unreachable!("all are texts"),
            };
            let all = answers.iter().map(joined).collect::<Result<Vec<_>>>();
            return Ok((of_row(row, self.text.encode(p))?, of_row(row, all)?));
        }
        let prompt = prompt.clone().into_messages("user");
        let variables = with.variables();
        let joined = |a: &&TextOrMessages| {
            let both = [prompt.clone(), (*a).clone().into_messages("assistant")].concat();
            self.text.chat(&both, &variables, false)
        };
        let all = answers.iter().map(joined).collect::<Result<Vec<_>>>();
        Ok((of_row(row, self.text.chat(&prompt, &variables, true))?, of_row(row, all)?))
    }

    /// Where answers begin: usually behind the whole prompt; earlier where the last characters of the prompt and the first of an answer
    /// share a token, and then in the same place for all of them (TRL's `common_prefix_length`).
    fn start(&self, row: usize, prompt: &[u32], all: &[Vec<u32>]) -> usize {
        let start = all.iter().map(|a| common_prefix(prompt, a)).min().unwrap_or(0);
        if start < prompt.len() {
            self.note(Note::Merged, row);
        }
        start
    }

    /// Positions that the assistant's messages take: whatever each adds to the chat before it.
    fn assistant_labels(&self, row: usize, chat: &[Message], variables: &Map<String, Value>, all: &[u32]) -> Result<Vec<u32>> {
        let mut labels = vec![IGNORE; all.len()];
        for (i, _) in chat.iter().enumerate().filter(|(_, m)| m.role() == "assistant") {
            let before = of_row(row, self.text.chat(&chat[..i], variables, true))?;
            let after = of_row(row, self.text.chat(&chat[..=i], variables, false))?;
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
    pub(super) fn known(&self, row: usize, column: &str, ids: Vec<u32>) -> Result<Vec<u32>> {
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
        if self.text.encoder().is_some() && !matches!(value, SftRow::Ids { .. }) {
            let reason = "is of texts, and the model is an encoder: expected input_ids and labels (-100 where nothing is asked)";
            return Err(Fault::row(reason).of_row(row));
        }
        if self.text.shifted(&[]).is_some() && !matches!(value, SftRow::Ids { .. }) {
            return self.pair_row(row, value);
        }
        match value {
            SftRow::Ids { input_ids, labels, prefix_length, token_type_ids } => {
                let ids = self.known(row, "input_ids", input_ids)?;
                let pair = self.text.shifted(&[]).is_some();
                check_labels(ids.len(), labels.as_deref(), pair).map_err(|fault| fault.of_row(row))?;
                if pair {
                    for (column, there) in [("token_type_ids", token_type_ids.is_some()), ("prefix_length", prefix_length.is_some())] {
                        if there {
                            return Err(Fault::at(column, "is there, and the model is an encoder-decoder").of_row(row));
                        }
                    }
                }
                let kinds = self.text.encoder();
                if let (None, Some(_)) = (kinds, &token_type_ids) {
                    return Err(Fault::at("token_type_ids", "is an encoder's, and the model is a decoder").of_row(row));
                }
                if let (Some(_), Some(_)) = (kinds, prefix_length) {
                    return Err(Fault::at("prefix_length", "is a decoder's, and the model is an encoder").of_row(row));
                }
                let types = token_type_ids.unwrap_or_default();
                if let Some(i) = types.iter().position(|t| *t as usize >= kinds.unwrap_or(0).max(1)) {
                    let reason = format!("is {}, the model has {} kinds of segments", types[i], kinds.unwrap_or(0).max(1));
                    return Err(Fault::at(format!("token_type_ids[{i}]"), reason).of_row(row));
                }
                if labels.is_none() && kinds.is_some() {
                    return Err(Fault::at("labels", "is missing: an encoder learns what its masked tokens are").of_row(row));
                }
                let prefixed = |mut e: Example| {
                    prefix_length.iter().for_each(|n| e.set_prefix(*n));
                    e
                };
                let Some(labels) = labels else { return Ok(prefixed(Example { labels: ids.clone(), ids, ..Example::default() })) };
                let labels = labels.into_iter().map(|l| u32::try_from(l).unwrap_or(IGNORE)).collect::<Vec<u32>>();
                let vocab = self.text.vocab_size();
                if let Some(i) = labels.iter().position(|l| *l != IGNORE && *l as usize >= vocab) {
                    let reason = format!("is {}, expected −100 or a token id below {vocab}", labels[i]);
                    return Err(Fault::at(format!("labels[{i}]"), reason).of_row(row));
                }
                if pair {
                    return Ok(self.translated(ids, labels));
                }
                if kinds.is_some() {
                    return Ok(Example::in_place(ids, &labels, types));
                }
                Ok(prefixed(Example { ids, labels, types, ..Example::default() }))
            }
            SftRow::Messages { messages, with } => {
                let variables = with.variables();
                let ids = of_row(row, self.text.chat(&messages, &variables, false))?;
                let labels = match self.options.assistant_only {
                    true => self.assistant_labels(row, &messages, &variables, &ids)?,
                    false => ids.clone(),
                };
                Ok(Example { ids, labels, ..Example::default() })
            }
            SftRow::PromptCompletion { prompt, completion, with } => {
                let (prompt, mut all) = self.joined(row, &prompt, &[&completion], &with)?;
                let start = if self.options.completion_only { self.start(row, &prompt, &all) } else { 0 };
                Ok(Example::from_parts(all.remove(0), start))
            }
            SftRow::Instruction { instruction, input, output } => {
                let row_of = |prompt, completion| SftRow::PromptCompletion { prompt, completion, with: ForTemplate::default() };
                if self.text.has_template() {
                    let asked = input.map_or(instruction.clone(), |input| format!("{instruction}\n{input}"));
                    let turns = |role: &str, text| TextOrMessages::Text(text).into_messages(role);
                    let (prompt, answer) = (turns("user", asked), turns("assistant", output));
                    return self.sft_row(row, row_of(TextOrMessages::Messages(prompt), TextOrMessages::Messages(answer)));
                }
                self.sft_row(row, row_of(TextOrMessages::Text(alpaca(&instruction, input.as_deref())), TextOrMessages::Text(output)))
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
            Sides::Turns { prompt, chosen, rejected, with } => {
                if let (TextOrMessages::Text(p), TextOrMessages::Text(a), TextOrMessages::Text(b)) = (&prompt, &chosen, &rejected)
                    && !p.trim().is_empty()
                    && a.starts_with(p.as_str())
                    && b.starts_with(p.as_str())
                {
                    self.note(Note::Twice, row);
                }
                let (prompt, mut all) = self.joined(row, &prompt, &[&chosen, &rejected], &with)?;
                let start = self.start(row, &prompt, &all);
                let rejected = all.remove(1);
                (all.remove(0), rejected, start)
            }
        };
        Ok(Pair { chosen: Example::from_parts(chosen, start), rejected: Example::from_parts(rejected, start), weight })
    }

    /// Cuts it, and says whether anything is left to learn; otherwise the row is noted as one that is left out.
    fn fit(&self, row: usize, what: &str, e: &mut Example) -> Result<bool> {
        let (needed, had, cut) = (e.ids.len().max(e.source.len()), e.counted(), self.cut());
        if had == 0 {
            return Err(Fault::row(format!("{what} holds nothing to learn")).of_row(row));
        }
        if self.options.whole {
            return Ok(true);
        }
        if self.options.max_length.is_none() && needed > cut {
            let message = format!("{what} takes {needed} tokens, the model's context is {cut}; max_length cuts longer ones");
            self.notes.borrow_mut().too_long(row, message, true);
            return Ok(false);
        }
        if needed > cut {
            if self.options.keep_end {
                e.keep_end(cut)
            } else {
                e.truncate(cut)
            }
            if e.counted() == 0 {
                let message = format!("{what}: nothing to learn is left of its {needed} tokens, cut to {}", self.limit());
                self.notes.borrow_mut().too_long(row, message, false);
                return Ok(false);
            }
            self.note(Note::Cut, row);
        }
        Ok(true)
    }

    /// All rows, each with its number.
    pub(super) fn read(&self, rows: &[Value], teaches: RowKind, what: &str) -> Result<Vec<(usize, Row)>> {
        if rows.is_empty() {
            return Err(Error::EmptyDataset(format!("there are no {what} to train on")));
        }
        *self.notes.borrow_mut() = Notes::of(rows.len());
        let read = |(i, value)| Row::read(value, teaches.taught_by()).map(|row| (i, row)).map_err(|fault| fault.of_row(i));
        rows.iter().enumerate().map(read).collect()
    }

    /// What is left of rows, of which there must be some.
    pub(super) fn some<T>(&self, kept: Vec<T>) -> Result<Vec<T>> {
        if kept.is_empty() {
            self.notes.borrow_mut().none_left()?;
        }
        Ok(kept)
    }

    /// Rows for supervised fine-tuning: `messages` · `prompt, completion` · `text` · `input_ids` (`labels`, `prefix_length`).
    ///
    /// # Errors
    /// [`Error::BadRow`] and [`Error::LongRow`] with the row's number, [`Error::EmptyDataset`].
    pub fn sft(&self, rows: &[Value]) -> Result<Vec<Example>> {
        let mut examples = Vec::new();
        for (i, row) in self.read(rows, RowKind::Sft, "rows")? {
            let Row::Sft(row) = row else { unreachable!("of this kind") };
            let mut e = self.sft_row(i, row)?;
            if self.fit(i, "the row", &mut e)? {
                examples.push(e);
            }
        }
        self.some(examples)
    }

    /// Rows of preferences: `prompt, chosen, rejected` (texts or messages) or `prompt_ids, chosen_ids, rejected_ids`, with a `weight`; or
    /// rankings `prompt, answers, ranks`, each of which gives all its strict pairs. Rankings in which nothing is better than anything are
    /// passed over.
    ///
    /// # Errors
    /// As [`RowReader::sft`]; [`Error::NoPairs`] where no row prefers anything.
    pub fn preferences(&self, rows: &[Value]) -> Result<Vec<Pair>> {
        Ok(self.pairs_of(rows)?.concat())
    }

    /// The same rows, each as a whole: the pairs of a ranking share their answers.
    ///
    /// # Errors
    /// As [`RowReader::preferences`].
    pub fn preferred(&self, rows: &[Value]) -> Result<Vec<Preferred>> {
        Ok(self.pairs_of(rows)?.into_iter().map(Preferred::new).collect())
    }

    /// The pairs of every row that has some.
    fn pairs_of(&self, rows: &[Value]) -> Result<Vec<Vec<Pair>>> {
        let (mut all, mut tied) = (Vec::new(), 0);
        for (i, row) in self.read(rows, RowKind::Preference, "preferences")? {
            let found = match row {
                Row::Preference(row) => vec![row],
                Row::Ranking(row) => row.pairs().unwrap_or_default(),
                _ => unreachable!("of these kinds"),
            };
            tied += usize::from(found.is_empty());
            let mut pairs = Vec::new();
            for row in found {
                let mut pair = self.pair(i, row)?;
                let differ = pair.chosen != pair.rejected;
                let fits = [self.fit(i, "the chosen answer", &mut pair.chosen)?, self.fit(i, "the rejected answer", &mut pair.rejected)?];
                if fits == [true, true] {
                    if pair.chosen == pair.rejected {
                        self.note(if differ { Note::SameWhenCut } else { Note::Same }, i);
                    }
                    pairs.push(pair);
                }
            }
            if !pairs.is_empty() {
                all.push(pairs);
            }
        }
        let all = self.some(all)?;
        let pairs = || all.iter().flatten();
        match pairs().count() {
            0 => Err(Error::NoPairs(format!("in each of the {tied} rankings no answer is better than another of other words"))),
            n if pairs().all(|p| p.chosen == p.rejected) => {
                let cut = if self.notes.borrow().all(Note::Same) { String::new() } else { format!(", cut to {},", self.limit()) };
                Err(Error::NoPairs(format!("chosen and rejected are the same{cut} in all {n} rows: nothing can be learned")))
            }
            n if pairs().all(|p| p.weight == 0.0) => {
                Err(Error::NoPairs(format!("the weight of all {n} rows is 0: nothing can be learned")))
            }
            _ => Ok(all),
        }
    }

    /// Rows for a reward model: preferences, with a `margin` or without; rankings `prompt, answers, ranks`, each as a whole; whole sequences
    /// `chosen_ids, rejected_ids` (`margin`) and `ids, ranks`. Nothing is cut: rows of which a sequence is longer than it may be are left out, as TRL
    /// does, and rankings with fewer than two answers that have a place are passed over.
    ///
    /// # Errors
    /// As [`RowReader::sft`]; [`Error::NoPairs`] where no row compares anything.
    pub fn comparisons(&self, rows: &[Value]) -> Result<Vec<Comparison>> {
        let (mut all, mut placeless) = (Vec::new(), 0);
        for (i, row) in self.read(rows, RowKind::Reward, "comparisons")? {
            let weight = match &row {
                Row::Preference(row) => row.weight,
                Row::Ranking(row) => row.weight,
                _ => None,
            };
            if let Some(weight) = weight.filter(|w| *w != 1.0) {
                return Err(Fault::at("weight", format!("is {weight}; a reward model has no weights of rows: leave it out")).of_row(i));
            }
            let two = |pair: Pair, margin: Option<f64>| (vec![pair.chosen.ids, pair.rejected.ids], vec![Some(1), Some(2)], margin);
            let (ids, ranks, margin) = match row {
                Row::Preference(row) => two(self.pair(i, row)?, None),
                Row::Reward(RewardRow::Margin { sides, margin }) => two(self.pair(i, PreferenceRow { sides, weight: None })?, Some(margin)),
                Row::Reward(RewardRow::Pair { chosen_ids, rejected_ids, margin }) => (
                    vec![self.known(i, "chosen_ids", chosen_ids)?, self.known(i, "rejected_ids", rejected_ids)?],
                    vec![Some(1), Some(2)],
                    margin,
                ),
                Row::Reward(RewardRow::Ranked { ids, ranks }) => {
                    let ids =
                        ids.into_iter().enumerate().map(|(k, ids)| self.known(i, &format!("ids[{k}]"), ids)).collect::<Result<_>>()?;
                    (ids, ranks, None)
                }
                Row::Ranking(row) => self.ranked(i, &row)?,
                _ => unreachable!("of these kinds"),
            };
            if ids.len() < 2 {
                return Err(Fault::row("ranks one answer: a ranking needs two to compare").of_row(i));
            }
            let ranking = Ranking::new(&ranks);
            let groups = ranking.groups();
            if let Some(tied) = groups.iter().map(Vec::len).find(|n| *n > Ranking::MAX_TIED) {
                let reason =
                    format!("has {tied} tied answers, at most {} can be: rank some of them, or leave some out (null)", Ranking::MAX_TIED);
                return Err(Fault::at("ranks", reason).of_row(i));
            }
            let (order, cut): (Vec<usize>, usize) = (groups.concat(), self.cut());
            if order.len() < 2 {
                placeless += 1;
                continue;
            }
            if let Some(long) = order.iter().find(|k| ids[**k].len() > cut) {
                let message = format!("one of its sequences takes {} tokens, {} is the limit", ids[*long].len(), self.limit());
                self.notes.borrow_mut().too_long(i, message, true);
                continue;
            }
            if order.iter().all(|k| ids[*k] == ids[order[0]]) {
                self.note(Note::Same, i);
            }
            let ranks = order.iter().map(|k| ranking.ranks()[*k].unwrap_or(1)).collect();
            let answers = order.into_iter().map(|k| Example::scored(ids[k].clone())).collect();
            all.push(Comparison { answers, ranks, margin: margin.unwrap_or(0.0) as f32 });
        }
        let all = self.some(all)?;
        match &all[..] {
            [] => Err(Error::NoPairs(format!("in each of the {placeless} rankings fewer than two answers have a place"))),
            all if all.iter().all(|c| c.answers.iter().all(|a| *a == c.answers[0])) => {
                Err(Error::NoPairs(format!("the answers are the same in all {} rows: nothing can be learned", all.len())))
            }
            _ => Ok(all),
        }
    }

    /// The whole sequences of a ranking of texts or messages, with their ranks; an answer without words has no place.
    #[allow(clippy::type_complexity, reason = "what a row is, in parts")]
    fn ranked(&self, row: usize, r: &RankingRow) -> Result<(Vec<Vec<u32>>, Vec<Option<u32>>, Option<f64>)> {
        let answers: Vec<&TextOrMessages> = r.answers.iter().collect();
        let (_, all) = self.joined(row, &r.prompt, &answers, &r.with)?;
        let ranks = r.ranks.iter().zip(&answers).map(|(rank, a)| rank.filter(|_| !a.is_wordless())).collect();
        Ok((all, ranks, None))
    }

    /// Rows of unpaired judgements: `prompt, completion, label` or `prompt_ids, completion_ids, label`.
    ///
    /// # Errors
    /// As [`RowReader::sft`].
    pub fn unpaired(&self, rows: &[Value]) -> Result<Vec<Unpaired>> {
        let mut all = Vec::new();
        for (i, row) in self.read(rows, RowKind::Unpaired, "judgements")? {
            let Row::Unpaired(row) = row else { unreachable!("of this kind") };
            let (prompt, completion) = match row.answered {
                Answered::Ids { prompt_ids, completion_ids } => {
                    (self.known(i, "prompt_ids", prompt_ids)?, self.known(i, "completion_ids", completion_ids)?)
                }
                Answered::Turns { prompt, completion, with } => {
                    let (mut prompt, mut both) = self.joined(i, &prompt, &[&completion], &with)?;
                    let start = self.start(i, &prompt, &both);
                    prompt.truncate(start);
                    (prompt, both.remove(0).split_off(start))
                }
            };
            let unpaired = Unpaired { prompt, completion, label: row.label, max_length: self.cut() };
            // Looked at uncut: whether it is to be cut at all is asked here.
            let mut whole = Unpaired { max_length: usize::MAX, ..unpaired.clone() }.example();
            if self.fit(i, "the completion", &mut whole)? {
                all.push(unpaired);
            }
        }
        self.some(all)
    }
}

#[cfg(test)]
mod tests;
