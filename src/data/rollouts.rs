//! Rows of methods that learn from what the policy itself writes: prompts, and rollouts that were recorded.

use serde::Serialize;
use serde_json::Value as Json;

use super::columns::TEMPLATE;
use super::fault::{Fault, kind};
use super::found::Columns;
use super::message::{ForTemplate, TextOrMessages};

/// A prompt to be answered, a text or messages, or its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant, reason = "rows are read one at a time")]
pub enum Asked {
    Ids {
        prompt_ids: Vec<u32>,
    },
    Turns {
        prompt: TextOrMessages,
        #[serde(flatten)]
        with: ForTemplate,
    },
}

/// A prompt whose answers are sampled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PromptRow {
    #[serde(flatten)]
    pub asked: Asked,
    /// All other columns, for those who judge the answers.
    #[serde(flatten)]
    pub columns: Columns,
}

/// Answers that were sampled and judged before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolloutRow {
    pub prompt_ids: Vec<u32>,
    pub completion_ids: Vec<Vec<u32>>,
    /// One for each completion.
    pub rewards: Vec<f64>,
    /// What each judge said, by name, where that was recorded.
    #[serde(skip_serializing_if = "Columns::is_empty")]
    pub rewards_per_func: Columns,
}

/// The prompt itself.
const OWN: [&str; 3] = ["prompt", "prompt_ids", "promptIds"];

fn ids(column: &str, value: Option<&Json>) -> Result<Vec<u32>, Fault> {
    let list = match value {
        Some(Json::Array(list)) if !list.is_empty() => list,
        other => return Err(Fault::at(column, format!("is {}, expected a list of token ids", kind(other)))),
    };
    let id = |(i, v): (usize, &Json)| {
        let found = v.as_u64().and_then(|n| u32::try_from(n).ok());
        found.ok_or_else(|| Fault::at(format!("{column}[{i}]"), format!("is {}, expected a token id", kind(Some(v)))))
    };
    list.iter().enumerate().map(id).collect()
}

/// Rewards of `n` completions.
fn numbers(column: &str, value: Option<&Json>, n: usize) -> Result<Vec<f64>, Fault> {
    let list = match value {
        Some(Json::Array(list)) => list,
        other => return Err(Fault::at(column, format!("is {}, expected a list of numbers", kind(other)))),
    };
    if list.len() != n {
        return Err(Fault::at(column, format!("has {} numbers for {n} completions", list.len())));
    }
    let number = |(i, v): (usize, &Json)| {
        let found = v.as_f64().filter(|n| n.is_finite());
        found.ok_or_else(|| Fault::at(format!("{column}[{i}]"), format!("is {}, expected a number", kind(Some(v)))))
    };
    list.iter().enumerate().map(number).collect()
}

impl RolloutRow {
    /// Reads a row whose completions and rewards are there.
    pub(super) fn read<'a>(get: impl Fn(&str) -> Option<&'a Json>) -> Result<RolloutRow, Fault> {
        // As PPO calls them: one response.
        if get("query_ids").is_some() {
            let (prompt_ids, completion_ids) = (ids("query_ids", get("query_ids"))?, vec![ids("response_ids", get("response_ids"))?]);
            let score = get("score").and_then(Json::as_f64).filter(|s| s.is_finite());
            let score = score.ok_or_else(|| Fault::at("score", format!("is {}, expected a number", kind(get("score")))))?;
            return Ok(RolloutRow { prompt_ids, completion_ids, rewards: vec![score], rewards_per_func: Columns::new() });
        }
        let prompt_ids = ids("prompt_ids", get("prompt_ids"))?;
        let list = match get("completion_ids") {
            Some(Json::Array(list)) if list.iter().all(Json::is_array) && !list.is_empty() => list,
            other => return Err(Fault::at("completion_ids", format!("is {}, expected a list of lists of token ids", kind(other)))),
        };
        let completion = |(i, v): (usize, &Json)| ids(&format!("completion_ids[{i}]"), Some(v));
        let completion_ids = list.iter().enumerate().map(completion).collect::<Result<Vec<_>, Fault>>()?;
        let rewards = numbers("rewards", get("rewards"), completion_ids.len())?;
        let rewards_per_func = match get("rewards_per_func") {
            None => Columns::new(),
            Some(Json::Object(map)) => {
                for (name, list) in map {
                    numbers(&format!("rewards_per_func.{name}"), Some(list), completion_ids.len())?;
                }
                map.clone()
            }
            other => return Err(Fault::at("rewards_per_func", format!("is {}, expected lists of numbers by name", kind(other)))),
        };
        Ok(RolloutRow { prompt_ids, completion_ids, rewards, rewards_per_func })
    }
}

impl PromptRow {
    /// Whether some columns are a prompt's: it has no completions, and any other column.
    pub(super) fn is_one(row: &Columns) -> bool {
        let has = |name: &str| row.get(name).is_some_and(|v| !v.is_null());
        OWN.iter().any(|c| has(c)) && !has("completion_ids") && !has("completionIds")
    }

    /// Reads such a row.
    pub(super) fn read(row: &Columns) -> Result<PromptRow, Fault> {
        let get = |name: &str| row.get(name).filter(|v| !v.is_null());
        let mut columns = row.clone();
        let asked = match (get("prompt"), get("prompt_ids").or(get("promptIds"))) {
            (Some(_), Some(_)) => return Err(Fault::at("prompt_ids", "does not go with prompt")),
            (None, prompt_ids) => Asked::Ids { prompt_ids: ids("prompt_ids", prompt_ids)? },
            (Some(_), None) => {
                let prompt = TextOrMessages::read("prompt", get("prompt"))?;
                if prompt.is_wordless() {
                    return Err(Fault::at("prompt", "has no words: there is nothing to answer"));
                }
                Asked::Turns { prompt, with: ForTemplate::read(get)? }
            }
        };
        let own = |name: &str| OWN.contains(&name) || (matches!(asked, Asked::Turns { .. }) && TEMPLATE.contains(&name));
        columns.retain(|name, v| !own(name) && !v.is_null());
        Ok(PromptRow { asked, columns })
    }
}
