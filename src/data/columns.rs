//! The columns that rows may have: one table for every kind of row. What is not in it is refused by name, never dropped.

use serde::Serialize;
use serde_json::Value as Json;

use super::fault::Fault;
use super::found::Columns;

/// What a row teaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowKind {
    /// What to write.
    Sft,
    /// Which of two answers is better.
    Preference,
    /// Whether an answer is good.
    Unpaired,
    /// How several answers stand: all its strict pairs are preferences.
    Ranking,
    /// How whole sequences stand, and by how much: for reward models.
    Reward,
    /// What the policy wrote, and the reward of it.
    Rollout,
    /// What the policy is to answer.
    Prompt,
}

impl RowKind {
    /// The kinds of rows that can teach this: preferences may also come as rankings.
    pub fn taught_by(self) -> &'static [RowKind] {
        match self {
            RowKind::Sft => &[RowKind::Sft],
            RowKind::Preference | RowKind::Ranking => &[RowKind::Preference, RowKind::Ranking],
            RowKind::Unpaired => &[RowKind::Unpaired],
            RowKind::Reward => &[RowKind::Preference, RowKind::Ranking, RowKind::Reward],
            RowKind::Rollout | RowKind::Prompt => &[RowKind::Rollout, RowKind::Prompt],
        }
    }

    /// The columns that such rows may have: required ones, optional ones, one pair for each form.
    pub fn forms(self) -> impl Iterator<Item = (&'static [&'static str], &'static [&'static str])> {
        SHAPES.iter().filter(move |s| s.kind == self).map(|s| (s.required, s.optional))
    }

    /// What such a row is called.
    fn words(self) -> &'static str {
        match self {
            RowKind::Sft => "an example of supervised fine-tuning",
            RowKind::Preference => "a preference",
            RowKind::Unpaired => "an unpaired judgement",
            RowKind::Ranking => "a ranking",
            RowKind::Reward => "a comparison for a reward model",
            RowKind::Rollout => "a rollout",
            RowKind::Prompt => "a prompt",
        }
    }
}

/// Columns that go together.
pub(super) struct Shape {
    pub kind: RowKind,
    pub required: &'static [&'static str],
    pub optional: &'static [&'static str],
}

impl Shape {
    fn holds(&self, column: &str) -> bool {
        self.required.contains(&column) || self.optional.contains(&column)
    }
}

const SHAPES: &[Shape] = &[
    Shape { kind: RowKind::Sft, required: &["messages"], optional: TEMPLATE },
    Shape { kind: RowKind::Sft, required: &["prompt", "completion"], optional: TEMPLATE },
    Shape { kind: RowKind::Sft, required: &["instruction", "output"], optional: &["input"] },
    Shape { kind: RowKind::Sft, required: &["text"], optional: &[] },
    Shape { kind: RowKind::Sft, required: &["input_ids"], optional: &["labels", "prefix_length", "token_type_ids"] },
    Shape {
        kind: RowKind::Preference,
        required: &["chosen", "rejected"],
        optional: &["prompt", "weight", "tools", "chat_template_kwargs", "documents"],
    },
    Shape { kind: RowKind::Preference, required: &["prompt_ids", "chosen_ids", "rejected_ids"], optional: &["weight"] },
    Shape { kind: RowKind::Unpaired, required: &["prompt", "completion", "label"], optional: TEMPLATE },
    Shape { kind: RowKind::Unpaired, required: &["prompt_ids", "completion_ids", "label"], optional: &[] },
    Shape {
        kind: RowKind::Ranking,
        required: &["prompt", "answers", "ranks"],
        optional: &["weight", "tools", "chat_template_kwargs", "documents"],
    },
    Shape {
        kind: RowKind::Reward,
        required: &["chosen", "rejected", "margin"],
        optional: &["prompt", "tools", "chat_template_kwargs", "documents"],
    },
    Shape { kind: RowKind::Reward, required: &["chosen_ids", "rejected_ids"], optional: &["margin"] },
    Shape { kind: RowKind::Reward, required: &["ids", "ranks"], optional: &[] },
    Shape { kind: RowKind::Rollout, required: &["prompt_ids", "completion_ids", "rewards"], optional: RECORDED },
    Shape { kind: RowKind::Rollout, required: &["query_ids", "response_ids", "score"], optional: &[] },
    // With any other columns, which judges read: such rows are not read by this table.
    Shape { kind: RowKind::Prompt, required: &["prompt"], optional: TEMPLATE },
    Shape { kind: RowKind::Prompt, required: &["prompt_ids"], optional: &[] },
];

/// What else a recorded rollout says of itself.
const RECORDED: &[&str] =
    &["rewards_per_func", "prompt", "completions", "logprobs", "ref_logprobs", "entropies", "advantages", "seed", "round", "row"];

/// What a conversation may say to its chat template.
pub(super) const TEMPLATE: &[&str] = &["tools", "chat_template_kwargs", "documents"];

/// ShareGPT's name of `messages`.
const SHARED: &str = "conversations";

/// Columns of TRL that say something which is not heeded here.
const NOT_HEEDED: &[&str] =
    &["images", "image", "attention_mask", "completion_mask", "assistant_masks", "position_ids", "ref_chosen_logps", "ref_rejected_logps"];

/// Whether rows of any kind have a column of this name.
pub(super) fn is_known(name: &str) -> bool {
    let own = snake(name);
    name == SHARED || SHAPES.iter().flat_map(|s| s.required.iter().chain(s.optional)).any(|c| *c == own)
}

/// `inputIds` → `input_ids`: what JavaScript calls a column.
fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Letters to change, add or leave out to make one of the other; no more than `most` + 1 is told.
fn distance(a: &str, b: &str, most: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > most {
        return most + 1;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut above_left = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = (above_left + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            above_left = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

/// The one of some columns that a name is nearly.
pub(super) fn near<'a>(name: &str, columns: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // No column is longer than this.
    let own: String = snake(&name.chars().take(64).collect::<String>());
    columns.map(|c| (distance(&own, c, 2), c)).filter(|(d, c)| *d <= 2 && 2 * d < c.len()).min().map(|(_, c)| c)
}

fn unknown(name: &str, wanted: &[&'static Shape]) -> Fault {
    if NOT_HEEDED.contains(&name) {
        return Fault::name(name, "is not supported: the row would be learned without it");
    }
    let columns = wanted.iter().flat_map(|s| s.required.iter().chain(s.optional)).copied();
    Fault::name(
        &name.chars().take(100).collect::<String>(),
        match near(name, columns) {
            Some(c) => format!("is not known (did you mean {c}?)"),
            None => format!("is not known; expected {}", expected(wanted)),
        },
    )
}

/// What would have been right.
fn expected(wanted: &[&'static Shape]) -> String {
    let list = |s: &&Shape| {
        let optional = s.optional.iter().filter(|c| !TEMPLATE.contains(c)).map(|c| format!("({c})"));
        s.required.iter().map(|c| (*c).to_string()).chain(optional).collect::<Vec<_>>().join(", ")
    };
    wanted.iter().map(list).collect::<Vec<_>>().join(" · ")
}

/// A row's columns that hold something, by their names in the table.
pub(super) struct Present<'a>(Vec<(&'static str, &'a Json)>);

impl<'a> Present<'a> {
    pub fn get(&self, column: &str) -> Option<&'a Json> {
        self.0.iter().find(|(c, _)| *c == column).map(|(_, v)| *v)
    }

    fn names(&self) -> String {
        self.0.iter().map(|(c, _)| *c).collect::<Vec<_>>().join(", ")
    }
}

/// The columns of a row and which of the shapes they make. A null is a column that is not there, as tables write it.
pub(super) fn open<'a>(row: &'a Columns, kinds: &[RowKind]) -> Result<(Present<'a>, &'static Shape), Fault> {
    let wanted: Vec<&'static Shape> = SHAPES.iter().filter(|s| kinds.contains(&s.kind)).collect();
    let mut present = Present(Vec::new());
    for (name, value) in row.iter().filter(|(_, v)| !v.is_null()) {
        let own = if name == SHARED { "messages".to_string() } else { snake(name) };
        let column = SHAPES.iter().flat_map(|s| s.required.iter().chain(s.optional)).find(|c| **c == own);
        let column = *column.ok_or_else(|| unknown(name, &wanted))?;
        if present.get(column).is_some() {
            return Err(Fault::at(column, format!("is there twice, once as {name}")));
        }
        present.0.push((column, value));
    }
    if present.0.is_empty() {
        return Err(Fault::row(format!("has no columns, expected {}", expected(&wanted))));
    }
    let fits = |s: &&&Shape| present.0.iter().all(|(c, _)| s.holds(c)) && s.required.iter().all(|c| present.get(c).is_some());
    if let Some(shape) = wanted.iter().find(fits) {
        return Ok((present, shape));
    }
    let others: Vec<&'static Shape> = SHAPES.iter().filter(|s| !kinds.contains(&s.kind) && s.kind != RowKind::Prompt).collect();
    if let Some(other) = others.iter().find(fits) {
        return Err(Fault::row(format!("is {} ({}), expected {}", other.kind.words(), present.names(), expected(&wanted))));
    }
    // The nearest: what it lacks, or what is too much.
    let shared = |s: &&&Shape| present.0.iter().filter(|(c, _)| s.holds(c)).count();
    let required = |s: &&&Shape| present.0.iter().filter(|(c, _)| s.required.contains(c)).count();
    let near = wanted.iter().rev().max_by_key(|s| (required(s), shared(s))).filter(|s| shared(s) > 0);
    let Some(near) = near else {
        return Err(Fault::row(format!("has the columns {}, expected {}", present.names(), expected(&wanted))));
    };
    if let Some((extra, _)) = present.0.iter().find(|(c, _)| !near.holds(c)) {
        let with: Vec<&str> = present.0.iter().map(|(c, _)| *c).filter(|c| near.holds(c)).collect();
        return Err(Fault::at(*extra, format!("does not go with {}; expected {}", with.join(", "), expected(&wanted))));
    }
    let missing = near.required.iter().find(|c| present.get(c).is_none()).copied().unwrap_or_default();
    Err(Fault::at(missing, format!("is missing beside {}", present.names())))
}
