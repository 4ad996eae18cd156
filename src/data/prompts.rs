//! Prompts and rollouts → tokens.

use serde_json::{Value, json};

use super::columns::RowKind;
use super::fault::Fault;
use super::found::Columns;
use super::message::TextOrMessages;
use super::reader::{RowReader, of_row};
use super::rollouts::Asked;
use super::rows::Row;
use crate::{Error, Result};

/// Answers that were sampled and judged before.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub completions: Vec<Vec<u32>>,
    pub rewards: Vec<f64>,
    /// What each judge said of each completion.
    pub per_func: Vec<(String, Vec<f64>)>,
}

/// A prompt of a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// Number of its row.
    pub row: usize,
    pub ids: Vec<u32>,
    /// As it stands in its row: a text, messages or ids.
    pub asked: Value,
    /// The row's other columns.
    pub columns: Columns,
    /// What is replayed instead of sampled.
    pub recorded: Option<Recorded>,
}

impl RowReader<'_> {
    /// Rows of prompts, `prompt` (a text or messages) or `prompt_ids`, with whatever columns their judges read; or all of them rollouts, `prompt_ids,
    /// completion_ids, rewards`.
    ///
    /// # Errors
    /// As [`RowReader::sft`]; [`Error::BadRow`] for a rollout among prompts.
    pub fn prompts(&self, rows: &[Value]) -> Result<Vec<Prompt>> {
        let mut all: Vec<Prompt> = Vec::new();
        let mut replayed = None;
        for (i, row) in self.read(rows, RowKind::Rollout, "prompts")? {
            let prompt = match row {
                Row::Rollout(row) => {
                    let ids = self.known(i, "prompt_ids", row.prompt_ids)?;
                    let known = |(k, c): (usize, Vec<u32>)| self.known(i, &format!("completion_ids[{k}]"), c);
                    let completions = row.completion_ids.into_iter().enumerate().map(known).collect::<Result<Vec<_>>>()?;
                    let list = |v: Value| v.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
                    let per_func = row.rewards_per_func.into_iter().map(|(name, v)| (name, list(v))).collect();
                    let recorded = Recorded { completions, rewards: row.rewards, per_func };
                    Prompt { row: i, asked: json!(ids), ids, columns: Columns::new(), recorded: Some(recorded) }
                }
                Row::Prompt(row) => {
                    let (ids, asked) = match row.asked {
                        Asked::Ids { prompt_ids } => {
                            let ids = self.known(i, "prompt_ids", prompt_ids)?;
                            (ids.clone(), json!(ids))
                        }
                        Asked::Turns { prompt, with } => {
                            let ids = match &prompt {
                                TextOrMessages::Text(text) => {
                                    self.note_text(i);
                                    self.text().encode(text)
                                }
                                TextOrMessages::Messages(messages) => self.text().chat(messages, &with.variables(), true),
                            };
                            (of_row(i, ids)?, serde_json::to_value(&prompt).expect("texts"))
                        }
                    };
                    if ids.is_empty() {
                        return Err(Fault::at("prompt", "has no tokens").of_row(i));
                    }
                    Prompt { row: i, ids, asked, columns: row.columns, recorded: None }
                }
                _ => unreachable!("of these kinds"),
            };
            if *replayed.get_or_insert(prompt.recorded.is_some()) != prompt.recorded.is_some() {
                let is = if prompt.recorded.is_some() { "has completions and rewards" } else { "has no completions" };
                return Err(Fault::row(format!("{is}, unlike the rows before it: all are replayed, or none")).of_row(i));
            }
            let longest = prompt.recorded.as_ref().map_or(1, |r| r.completions.iter().map(Vec::len).max().unwrap_or(0));
            let needed = prompt.ids.len() + longest;
            if needed > self.text().context() {
                let message = format!("prompt and answer take {needed} tokens, the model's context is {}", self.text().context());
                self.leave_out(i, message);
                continue;
            }
            all.push(prompt);
        }
        let all = self.some(all)?;
        if all.is_empty() {
            return Err(Error::EmptyDataset("there are no prompts to answer".into()));
        }
        Ok(all)
    }
}
