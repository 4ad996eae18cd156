//! Rows of datasets in TRL's columns, read and written.

use serde::{Serialize, Serializer};
use serde_json::Value as Json;

use super::columns::{self, Present, RowKind, Shape, TEMPLATE};
use super::fault::{Fault, kind};
use super::found::Columns;
use super::message::{ForTemplate, Message, TextOrMessages, in_one_style};
use super::ranking::Ranking;
use super::rollouts::{PromptRow, RolloutRow};
use crate::{Error, Result};

/// Largest weight of a row: what is beyond is no weight but a mistake.
const MAX_WEIGHT: f64 = 1e6;

/// 2 rather than 2.0, as people write it.
fn number<S: Serializer>(v: &Option<f64>, s: S) -> std::result::Result<S::Ok, S::Error> {
    match v {
        Some(v) if v.fract() == 0.0 && v.abs() < 9e15 => s.serialize_i64(*v as i64),
        v => v.serialize(s),
    }
}

/// A row of supervised fine-tuning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SftRow {
    Messages {
        messages: Vec<Message>,
        #[serde(flatten)]
        with: ForTemplate,
    },
    PromptCompletion {
        prompt: TextOrMessages,
        completion: TextOrMessages,
        #[serde(flatten)]
        with: ForTemplate,
    },
    /// Alpaca's (Taori et al. 2023): a task, what it is about, and the answer.
    Instruction {
        instruction: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        input: Option<String>,
        output: String,
    },
    Text {
        text: String,
    },
    /// Labels are ids, or −100 for what is not learned; without them every id is.
    Ids {
        input_ids: Vec<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        labels: Option<Vec<i64>>,
        /// Tokens at the beginning that see one another; none of them is learned.
        #[serde(skip_serializing_if = "Option::is_none")]
        prefix_length: Option<usize>,
        /// The segment of each token, of an encoder's rows.
        #[serde(skip_serializing_if = "Option::is_none")]
        token_type_ids: Option<Vec<u32>>,
    },
}

/// Two answers to a prompt, the better one first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant, reason = "rows are held by the thousand as ids, and one at a time as turns")]
pub enum Sides {
    Turns {
        prompt: TextOrMessages,
        chosen: TextOrMessages,
        rejected: TextOrMessages,
        #[serde(flatten)]
        with: ForTemplate,
    },
    Ids {
        prompt_ids: Vec<u32>,
        chosen_ids: Vec<u32>,
        rejected_ids: Vec<u32>,
    },
}

/// A row of preference tuning.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PreferenceRow {
    #[serde(flatten)]
    pub sides: Sides,
    /// Multiplies the row's loss; 1 if it is missing.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "number")]
    pub weight: Option<f64>,
}

/// One answer to a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant, reason = "rows are held by the thousand as ids, and one at a time as turns")]
pub enum Answered {
    Turns {
        prompt: TextOrMessages,
        completion: TextOrMessages,
        #[serde(flatten)]
        with: ForTemplate,
    },
    Ids {
        prompt_ids: Vec<u32>,
        completion_ids: Vec<u32>,
    },
}

/// An answer that is good or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnpairedRow {
    #[serde(flatten)]
    pub answered: Answered,
    pub label: bool,
}

/// Several answers and how they stand.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankingRow {
    pub prompt: TextOrMessages,
    pub answers: Vec<TextOrMessages>,
    /// One per answer: 1 is best, equal ones are tied, no rank between them is unused; null is an answer that nobody has placed. In a file they
    /// may be any numbers, the smallest the best.
    pub ranks: Vec<Option<u32>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "number")]
    pub weight: Option<f64>,
    #[serde(flatten)]
    pub with: ForTemplate,
}

/// Sequences that were compared, for a reward model: whole, prompt and answer together, unless there is a prompt beside them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant, reason = "rows are held by the thousand as ids, and one at a time as turns")]
pub enum RewardRow {
    /// A preference, and by how much the better answer's score should be the larger one, at least.
    Margin {
        #[serde(flatten)]
        sides: Sides,
        margin: f64,
    },
    Pair {
        chosen_ids: Vec<u32>,
        rejected_ids: Vec<u32>,
        #[serde(skip_serializing_if = "Option::is_none")]
        margin: Option<f64>,
    },
    /// Ranks as those of a [`RankingRow`].
    Ranked { ids: Vec<Vec<u32>>, ranks: Vec<Option<u32>> },
}

/// A row of any kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Row {
    Sft(SftRow),
    Preference(PreferenceRow),
    Unpaired(UnpairedRow),
    Ranking(RankingRow),
    Reward(RewardRow),
    Rollout(RolloutRow),
    Prompt(PromptRow),
}

impl Row {
    /// Reads a row of one of the kinds.
    ///
    /// # Errors
    /// A [`Fault`] that names the column.
    pub fn read(value: &Json, kinds: &[RowKind]) -> Result<Row, Fault> {
        let Json::Object(map) = value else { return Err(Fault::row(format!("is {}, expected an object", kind(Some(value))))) };
        Row::from_columns(map, kinds)
    }

    /// The row, for a model of one sequence: labels stand beside their tokens. Those of an encoder-decoder are of any length.
    ///
    /// # Errors
    /// A [`Fault`] that names the column.
    pub fn of_one_sequence(self) -> Result<Row, Fault> {
        if let Row::Sft(SftRow::Ids { input_ids, labels, .. }) = &self {
            check_labels(input_ids.len(), labels.as_deref(), false)?;
        }
        Ok(self)
    }

    /// The same of an object's columns.
    ///
    /// # Errors
    /// As [`Row::read`].
    pub fn from_columns(map: &Columns, kinds: &[RowKind]) -> Result<Row, Fault> {
        if kinds.contains(&RowKind::Prompt) && PromptRow::is_one(map) {
            return Ok(Row::Prompt(PromptRow::read(map)?));
        }
        let (columns, shape) = columns::open(map, kinds)?;
        Ok(match shape.kind {
            RowKind::Sft => Row::Sft(columns.sft(shape)?),
            RowKind::Preference => Row::Preference(columns.preference()?),
            RowKind::Unpaired => Row::Unpaired(columns.unpaired()?),
            RowKind::Ranking => Row::Ranking(columns.ranking()?),
            RowKind::Reward => Row::Reward(columns.reward()?),
            RowKind::Rollout => Row::Rollout(RolloutRow::read(|column| columns.get(column))?),
            RowKind::Prompt => Row::Prompt(PromptRow::read(map)?),
        })
    }

    /// What it teaches.
    pub fn kind(&self) -> RowKind {
        match self {
            Row::Sft(_) => RowKind::Sft,
            Row::Preference(_) => RowKind::Preference,
            Row::Unpaired(_) => RowKind::Unpaired,
            Row::Ranking(_) => RowKind::Ranking,
            Row::Reward(_) => RowKind::Reward,
            Row::Rollout(_) => RowKind::Rollout,
            Row::Prompt(_) => RowKind::Prompt,
        }
    }
}

impl RankingRow {
    /// All strict pairs, the better answer first, from the best answer on. Ties and answers without a place give none; neither do two
    /// answers of the same words, which teach nothing however they were ranked, nor one without any, which cannot be learned.
    ///
    /// # Errors
    /// [`Error::NoPairs`] where there is none.
    pub fn pairs(&self) -> Result<Vec<PreferenceRow>> {
        let ranking = Ranking::new(&self.ranks);
        let teaches = |&(a, b): &(usize, usize)| {
            let (a, b) = (&self.answers[a], &self.answers[b]);
            a != b && !a.is_wordless() && !b.is_wordless()
        };
        let side = |(better, worse): (usize, usize)| {
            let answers = [&self.answers[better], &self.answers[worse]].map(Clone::clone);
            let (prompt, [chosen, rejected]) = in_one_style(self.prompt.clone(), answers);
            PreferenceRow { sides: Sides::Turns { prompt, chosen, rejected, with: self.with.clone() }, weight: self.weight }
        };
        let strict = ranking.pairs();
        let rows: Vec<PreferenceRow> = strict.iter().copied().filter(teaches).map(side).collect();
        match rows.is_empty() {
            true if strict.is_empty() => Err(Error::NoPairs(format!("{ranking}: no answer is better than another"))),
            true => Err(Error::NoPairs(format!("{ranking}: no two answers in it have different words"))),
            false => Ok(rows),
        }
    }
}

/// Token ids, or `lowest` where that is below 0.
fn numbers(column: &str, value: Option<&Json>, lowest: i64) -> Result<Vec<i64>, Fault> {
    let list = match value {
        Some(Json::Array(list)) if !list.is_empty() => list,
        other => return Err(Fault::at(column, format!("is {}, expected a list of token ids", kind(other)))),
    };
    let or = if lowest < 0 { format!(" or {lowest}") } else { String::new() };
    let number = |(i, v): (usize, &Json)| {
        let found = v.as_i64().filter(|&n| (n >= 0 || n == lowest) && n <= u32::MAX.into());
        found.ok_or_else(|| Fault::at(format!("{column}[{i}]"), format!("is {}, expected a token id{or}", kind(Some(v)))))
    };
    list.iter().enumerate().map(number).collect()
}

fn ids(column: &str, value: Option<&Json>) -> Result<Vec<u32>, Fault> {
    Ok(numbers(column, value, 0)?.into_iter().map(|id| id as u32).collect())
}

impl Present<'_> {
    /// What the row says to its chat template, which must then be used.
    fn with(&self, chat: bool) -> Result<ForTemplate, Fault> {
        let with = ForTemplate::read(|column| self.get(column))?;
        match TEMPLATE.iter().find(|c| !chat && self.get(c).is_some()) {
            Some(column) => Err(Fault::at(*column, "has no effect on texts, which go through no chat template: write messages")),
            None => Ok(with),
        }
    }

    /// A text or messages.
    fn turns(&self, column: &str) -> Result<TextOrMessages, Fault> {
        TextOrMessages::read(column, self.get(column))
    }

    /// The same, not without words.
    fn answer(&self, column: &str) -> Result<TextOrMessages, Fault> {
        let turns = self.turns(column)?;
        match turns.is_wordless() {
            true => Err(Fault::at(column, "has no words: the row has no answer to learn from")),
            false => Ok(turns),
        }
    }

    fn ids(&self, column: &str) -> Result<Vec<u32>, Fault> {
        ids(column, self.get(column))
    }

    fn weight(&self) -> Result<Option<f64>, Fault> {
        let Some(v) = self.get("weight") else { return Ok(None) };
        let weight = v.as_f64().filter(|w| (0.0..=MAX_WEIGHT).contains(w));
        let wrong = || Fault::at("weight", format!("is {}, expected a number from 0 to {MAX_WEIGHT}", kind(Some(v))));
        weight.map(Some).ok_or_else(wrong)
    }

    fn label(&self) -> Result<bool, Fault> {
        let v = self.get("label");
        v.and_then(Json::as_bool).ok_or_else(|| Fault::at("label", format!("is {}, expected true or false", kind(v))))
    }

    fn sft(&self, shape: &Shape) -> Result<SftRow, Fault> {
        match shape.required[0] {
            "messages" => {
                let messages = Message::read_all("messages", self.get("messages"))?;
                if !messages.iter().any(|m| m.role() == "assistant" && !m.is_wordless()) {
                    return Err(Fault::at("messages", "has no answer: expected at least one message of the role assistant with words"));
                }
                Ok(SftRow::Messages { messages, with: self.with(true)? })
            }
            "prompt" => {
                let (prompt, completion) = without_prompt("completion", &self.turns("prompt")?, self.answer("completion")?)?;
                let (prompt, [completion]) = in_one_style(prompt, [completion]);
                let with = self.with(prompt.is_chat())?;
                Ok(SftRow::PromptCompletion { prompt, completion, with })
            }
            "instruction" => {
                let text = |column: &str| match self.get(column) {
                    Some(Json::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
                    other => Err(Fault::at(column, format!("is {}, expected a text", kind(other)))),
                };
                let about = self.get("input").filter(|v| v.as_str().is_none_or(|t| !t.trim().is_empty()));
                let input = about.map(|_| text("input")).transpose()?;
                Ok(SftRow::Instruction { instruction: text("instruction")?, input, output: text("output")? })
            }
            "text" => match self.get("text") {
                Some(Json::String(text)) if !text.is_empty() => Ok(SftRow::Text { text: text.clone() }),
                other => Err(Fault::at("text", format!("is {}, expected a text", kind(other)))),
            },
            _ => {
                let input_ids = self.ids("input_ids")?;
                let labels = self.get("labels").map(|_| numbers("labels", self.get("labels"), -100)).transpose()?;
                let prefix_length = self.prefix_length(input_ids.len(), labels.as_deref())?;
                let token_type_ids = match self.get("token_type_ids") {
                    None => None,
                    Some(_) => Some(self.ids("token_type_ids")?),
                };
                if let Some(types) = token_type_ids.as_ref().filter(|t| t.len() != input_ids.len()) {
                    let message = format!("has {} numbers for {} input_ids", types.len(), input_ids.len());
                    return Err(Fault::at("token_type_ids", message));
                }
                Ok(SftRow::Ids { input_ids, labels, prefix_length, token_type_ids })
            }
        }
    }

    /// How many of so many tokens are a prefix; those must not be learned, for others see them before they are said.
    fn prefix_length(&self, tokens: usize, labels: Option<&[i64]>) -> Result<Option<usize>, Fault> {
        let Some(v) = self.get("prefix_length") else { return Ok(None) };
        let found = v.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n < tokens);
        let Some(n) = found else {
            return Err(Fault::at("prefix_length", format!("is {v}, expected fewer than the {tokens} input_ids")));
        };
        if let Some(i) = labels.and_then(|l| (1..n.min(l.len())).find(|i| l[*i] != -100)) {
            return Err(Fault::at(format!("labels[{i}]"), format!("is inside the prefix of {n} tokens, which see it: expected -100")));
        }
        Ok(Some(n))
    }

    fn preference(&self) -> Result<PreferenceRow, Fault> {
        Ok(PreferenceRow { weight: self.weight()?, sides: self.sides()? })
    }

    fn margin(&self) -> Result<Option<f64>, Fault> {
        let Some(v) = self.get("margin") else { return Ok(None) };
        let margin = v.as_f64().filter(|m| m.abs() <= MAX_WEIGHT);
        margin.map(Some).ok_or_else(|| Fault::at("margin", format!("is {}, expected a number of at most {MAX_WEIGHT}", kind(Some(v)))))
    }

    fn reward(&self) -> Result<RewardRow, Fault> {
        let margin = self.margin()?;
        if self.get("chosen_ids").is_some() {
            return Ok(RewardRow::Pair { chosen_ids: self.ids("chosen_ids")?, rejected_ids: self.ids("rejected_ids")?, margin });
        }
        if let Some(margin) = margin {
            return Ok(RewardRow::Margin { sides: self.sides()?, margin });
        }
        let one = |(i, v): (usize, &Json)| ids(&format!("ids[{i}]"), Some(v));
        let all = self.list("ids", "sequences of token ids")?.iter().enumerate().map(one).collect::<Result<Vec<_>, Fault>>()?;
        let ranks = self.ranks(all.len())?;
        Ok(RewardRow::Ranked { ids: all, ranks })
    }

    /// The two answers of a preference.
    fn sides(&self) -> Result<Sides, Fault> {
        if self.get("prompt_ids").is_some() {
            let (prompt_ids, chosen_ids, rejected_ids) = (self.ids("prompt_ids")?, self.ids("chosen_ids")?, self.ids("rejected_ids")?);
            return Ok(Sides::Ids { prompt_ids, chosen_ids, rejected_ids });
        }
        let (chosen, rejected) = (self.answer("chosen")?, self.answer("rejected")?);
        let with = self.with([&chosen, &rejected].iter().any(|a| a.is_chat()) || self.get("prompt").is_some_and(Json::is_array))?;
        let sides = match self.get("prompt") {
            None => common_prompt(chosen, rejected, with)
                .ok_or_else(|| Fault::at("prompt", "is missing, and chosen and rejected do not begin with the same one"))?,
            Some(_) => {
                let prompt = self.turns("prompt")?;
                let (own, chosen) = without_prompt("chosen", &prompt, chosen)?;
                let (prompt, rejected) = without_prompt("rejected", &prompt, rejected)?;
                if own.clone().into_messages("user") != prompt.clone().into_messages("user") {
                    return Err(Fault::at("rejected", "does not begin with the same prompt as chosen"));
                }
                let (prompt, [chosen, rejected]) = in_one_style(if own.is_chat() { own } else { prompt }, [chosen, rejected]);
                Sides::Turns { prompt, chosen, rejected, with }
            }
        };
        Ok(sides)
    }

    fn unpaired(&self) -> Result<UnpairedRow, Fault> {
        let label = self.label()?;
        if self.get("prompt_ids").is_some() {
            let answered = Answered::Ids { prompt_ids: self.ids("prompt_ids")?, completion_ids: self.ids("completion_ids")? };
            return Ok(UnpairedRow { answered, label });
        }
        let (prompt, completion) = without_prompt("completion", &self.turns("prompt")?, self.answer("completion")?)?;
        let (prompt, [completion]) = in_one_style(prompt, [completion]);
        let with = self.with(prompt.is_chat())?;
        Ok(UnpairedRow { answered: Answered::Turns { prompt, completion, with }, label })
    }

    fn list(&self, column: &str, of: &str) -> Result<&Vec<Json>, Fault> {
        match self.get(column) {
            Some(Json::Array(list)) if !list.is_empty() => Ok(list),
            other => Err(Fault::at(column, format!("is {}, expected a list of {of}", kind(other)))),
        }
    }

    /// The ranks of so many answers.
    fn ranks(&self, answers: usize) -> Result<Vec<Option<u32>>, Fault> {
        let rank = |(i, v): (usize, &Json)| match v {
            Json::Null => Ok(None),
            v => v.as_f64().map(Some).ok_or_else(|| Fault::at(format!("ranks[{i}]"), format!("is {}, expected a number", kind(Some(v))))),
        };
        let ranks = self.list("ranks", "numbers")?.iter().enumerate().map(rank).collect::<Result<Vec<_>, Fault>>()?;
        if ranks.len() != answers {
            return Err(Fault::at("ranks", format!("has {} numbers for {answers} answers", ranks.len())));
        }
        if answers > Ranking::MAX_ANSWERS {
            let column = if self.get("ids").is_some() { "ids" } else { "answers" };
            return Err(Fault::at(column, format!("has {answers} answers, at most {} can be ranked", Ranking::MAX_ANSWERS)));
        }
        Ok(Ranking::from_numbers(&ranks).ranks().to_vec())
    }

    fn ranking(&self) -> Result<RankingRow, Fault> {
        let mut prompt = self.turns("prompt")?;
        let answers = self.list("answers", "answers")?.iter().enumerate();
        let mut answers =
            answers.map(|(i, v)| TextOrMessages::read(&format!("answers[{i}]"), Some(v))).collect::<Result<Vec<_>, Fault>>()?;
        let ranks = self.ranks(answers.len())?;
        // Whole conversations beside their prompt.
        let asked = prompt.clone();
        for (i, answer) in answers.iter_mut().enumerate() {
            let (own, rest) = without_prompt(&format!("answers[{i}]"), &asked, answer.clone())?;
            if i > 0 && own.clone().into_messages("user") != prompt.clone().into_messages("user") {
                return Err(Fault::at(format!("answers[{i}]"), "does not begin with the same prompt as the answer before it"));
            }
            (prompt, *answer) = (own, rest);
        }
        let with = self.with(prompt.is_chat() || answers.iter().any(TextOrMessages::is_chat))?;
        Ok(RankingRow { prompt, answers, ranks, weight: self.weight()?, with })
    }
}

/// TRL's implicit prompt (`extract_prompt`): what chosen and rejected begin with. Both keep at least one message (one character).
fn common_prompt(chosen: TextOrMessages, rejected: TextOrMessages, with: ForTemplate) -> Option<Sides> {
    match (chosen, rejected) {
        (TextOrMessages::Messages(mut a), TextOrMessages::Messages(mut b)) => {
            let same = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
            let n = same.min(a.len() - 1).min(b.len() - 1);
            let (chosen, rejected) = (a.split_off(n), b.split_off(n));
            let (prompt, chosen, rejected) =
                (TextOrMessages::Messages(a), TextOrMessages::Messages(chosen), TextOrMessages::Messages(rejected));
            (n > 0).then_some(Sides::Turns { prompt, chosen, rejected, with })
        }
        (TextOrMessages::Text(a), TextOrMessages::Text(b)) => {
            let same = a.char_indices().zip(b.chars()).take_while(|((_, x), y)| x == y).last();
            let mut n = same.map_or(0, |((at, c), _)| at + c.len_utf8());
            if n < a.len().min(b.len()) {
                // The space before an answer belongs to it.
                n = if a[..n].ends_with(' ') { n - 1 } else { n };
            } else {
                // One is the beginning of the other: neither answer may be empty.
                n = a[..n].char_indices().next_back().map_or(0, |(at, _)| at);
            }
            let text = |s: &str| TextOrMessages::Text(s.to_string());
            (n > 0).then(|| Sides::Turns { prompt: text(&a[..n]), chosen: text(&a[n..]), rejected: text(&b[n..]), with })
        }
        _ => None,
    }
}

/// An answer that is the whole conversation, beside its prompt (as UltraFeedback has it): the prompt is taken once. What begins with
/// another message than the assistant's and not with the prompt is no answer.
fn without_prompt(column: &str, prompt: &TextOrMessages, answer: TextOrMessages) -> Result<(TextOrMessages, TextOrMessages), Fault> {
    let asks = |m: &Message| ["system", "developer", "user"].contains(&m.role());
    let TextOrMessages::Messages(mut all) = answer else { return Ok((prompt.clone(), answer)) };
    if !all.first().is_some_and(asks) {
        return Ok((prompt.clone(), TextOrMessages::Messages(all)));
    }
    let n = match prompt {
        TextOrMessages::Messages(p) if all.starts_with(p) => p.len(),
        TextOrMessages::Messages(_) => 0,
        // The first question, behind what the system says.
        TextOrMessages::Text(t) => {
            let first = all.iter().position(|m| m.role() == "user").filter(|&i| all[..i].iter().all(asks));
            first.filter(|&i| all[i].text().is_some_and(|c| c.trim() == t.trim())).map_or(0, |i| i + 1)
        }
    };
    if n == 0 {
        let reason =
            format!("is {:?}, and what {column} begins with is not the prompt: expected an answer of the assistant", all[0].role());
        return Err(Fault::at(format!("{column}[0].role"), reason));
    }
    let answer = all.split_off(n);
    match answer.is_empty() {
        true => Err(Fault::at(column, "holds the prompt and no answer")),
        false => Ok((TextOrMessages::Messages(all), TextOrMessages::Messages(answer))),
    }
}

/// Labels of tokens: as many as those, unless they are a target, of which the first is judged too.
pub(super) fn check_labels(tokens: usize, labels: Option<&[i64]>, target: bool) -> std::result::Result<(), Fault> {
    let Some(labels) = labels else {
        return match target {
            true => Err(Fault::at("labels", "is missing: an encoder-decoder learns to write them")),
            false => Ok(()),
        };
    };
    if labels.len() != tokens && !target {
        return Err(Fault::at("labels", format!("has {} numbers for {tokens} input_ids", labels.len())));
    }
    if labels.iter().skip(usize::from(!target)).all(|&l| l == -100) {
        return Err(Fault::at("labels", "is -100 everywhere: the row has nothing to learn from"));
    }
    Ok(())
}
