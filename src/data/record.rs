//! What a person said about the answers to one prompt, and the training rows that follow from it.
use serde::{Deserialize, Serialize};

use super::jsonl::{parse_jsonl, write_jsonl};
use super::rows::{DpoRow, Message, SftRow, TextOrMessages};
use super::{Criteria, Ranking, overall};
use crate::error::{Error, Result};

/// One answer of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    pub text: String,
    /// The adapter that wrote it; none for the base model.
    #[serde(default)]
    pub adapter: Option<String>,
}

/// Feedback on the answers to one prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    pub id: String,
    /// Seconds since 1970.
    #[serde(default)]
    pub time: f64,
    /// The conversation up to the question.
    pub messages: Vec<Message>,
    #[serde(default)]
    pub candidates: Vec<Candidate>,
    /// Per criterion one rating for each candidate, larger is better.
    #[serde(default)]
    pub ratings: Criteria<Vec<Option<f64>>>,
    /// The order set by hand, 1 is best; it counts before the ratings.
    #[serde(default)]
    pub ranks: Vec<Option<u32>>,
    /// An answer written or edited into the ideal one.
    #[serde(default)]
    pub ideal: Option<String>,
}

impl Feedback {
    fn check(&self) -> Result<(), String> {
        if !self.messages.iter().any(|m| m.role == "user") {
            return Err("messages has no question: expected a message of the role user".into());
        }
        let n = self.candidates.len();
        if !self.ranks.is_empty() && self.ranks.len() != n {
            return Err(format!("{} ranks for {n} candidates", self.ranks.len()));
        }
        for (name, ratings) in self.ratings.named() {
            if ratings.len() > n {
                return Err(format!("{} ratings of {name} for {n} candidates", ratings.len()));
            }
        }
        Ok(())
    }

    /// The order that trains: the one set by hand, otherwise the one that follows from the ratings.
    pub fn ranking(&self, weights: &Criteria<f64>) -> Result<Ranking> {
        if self.ranks.iter().any(Option::is_some) {
            return Ranking::from_places(&self.ranks);
        }
        overall(&self.ratings, weights, self.candidates.len())
    }

    /// One row per strict pair of candidates with different texts; [`Error::NoPairs`] where there is none.
    pub fn preference_rows(&self, weights: &Criteria<f64>) -> Result<Vec<DpoRow>> {
        let answer = |i: usize| TextOrMessages::Messages(vec![Message::new("assistant", self.candidates[i].text.clone())]);
        let ranking = self.ranking(weights)?;
        let rows: Vec<DpoRow> = ranking
            .pairs()?
            .into_iter()
            .filter(|p| self.candidates[p.chosen].text != self.candidates[p.rejected].text)
            .map(|p| DpoRow {
                prompt: TextOrMessages::Messages(self.messages.clone()),
                chosen: answer(p.chosen),
                rejected: answer(p.rejected),
                weight: None,
            })
            .collect();
        match rows.is_empty() {
            true => Err(Error::NoPairs(format!("{ranking}: all answers have the same text"))),
            false => Ok(rows),
        }
    }

    /// The ideal answer as an example.
    pub fn ideal_row(&self) -> Option<SftRow> {
        let text = self.ideal.as_ref().filter(|t| !t.is_empty())?;
        Some(SftRow::PromptCompletion {
            prompt: TextOrMessages::Messages(self.messages.clone()),
            completion: TextOrMessages::Messages(vec![Message::new("assistant", text.clone())]),
        })
    }
}

/// All preference rows. Records of ties only are passed over; if there is nothing else, that is [`Error::NoPairs`].
pub fn preference_rows(records: &[Feedback], weights: &Criteria<f64>) -> Result<Vec<DpoRow>> {
    let ranked: Vec<&Feedback> = records.iter().filter(|r| !r.candidates.is_empty()).collect();
    if ranked.is_empty() {
        return Err(Error::EmptyDataset("no answers were ranked".into()));
    }
    let mut rows = Vec::new();
    for record in &ranked {
        match record.preference_rows(weights) {
            Ok(more) => rows.extend(more),
            Err(Error::NoPairs(_)) => {}
            Err(e) => return Err(e),
        }
    }
    match rows.is_empty() {
        true => Err(Error::NoPairs(format!("all answers are tied in each of the {} rankings", ranked.len()))),
        false => Ok(rows),
    }
}

/// All ideal answers as examples; [`Error::EmptyDataset`] without any.
pub fn ideal_rows(records: &[Feedback]) -> Result<Vec<SftRow>> {
    let rows: Vec<SftRow> = records.iter().filter_map(Feedback::ideal_row).collect();
    match rows.is_empty() {
        true => Err(Error::EmptyDataset("no ideal answers were written".into())),
        false => Ok(rows),
    }
}

/// Reads records, one JSON object per line; `name` is the file's name for messages.
pub fn read_feedback(name: &str, text: &str) -> Result<Vec<Feedback>> {
    let rows = parse_jsonl(name, text)?.into_iter().enumerate();
    rows.map(|(row, value)| {
        let bad = |message: String| Error::BadRow { row, message };
        let record: Feedback = serde_json::from_value(value).map_err(|e| bad(format!("is no feedback: {e}")))?;
        record.check().map_err(bad)?;
        Ok(record)
    })
    .collect()
}

/// Writes records, one JSON object per line.
pub fn write_feedback(records: &[Feedback]) -> String {
    write_jsonl(records)
}
