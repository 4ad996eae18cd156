//! What a model says of whole texts: how likely they are, or with a reward model which scores they have; and how well scores agree with comparisons.

use serde::Serialize;
use serde_json::Value;

use super::agreement::Agreement;
use super::scorer::Scorer;
use super::text::ModelText;
use crate::adapters::{AdapterChoice, LoadedModel};
use crate::data::{Comparison, Example, RowKind, RowOptions, RowReader, TextSource};
use crate::{Error, Result};

/// What is said of one sequence.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Said {
    /// How likely its tokens are.
    Likelihood {
        /// Tokens that were judged: the first has nothing before it, and what a row says is not learned is not judged.
        tokens: usize,
        /// Sum of their log-probabilities, in nats.
        logprob: f64,
        /// exp(−logprob / tokens).
        perplexity: f64,
    },
    /// Of a reward model.
    Scores {
        /// Tokens of the sequence.
        tokens: usize,
        /// One for each criterion; usually one.
        scores: Vec<f32>,
    },
    /// Of a row that compares answers: their scores, the best one first.
    Compared { ranks: Vec<u32>, scores: Vec<f32> },
}

/// What is said of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub rows: Vec<Said>,
    /// Of rows that compare answers.
    pub agreement: Option<Agreement>,
    /// What a person should know about the rows.
    pub notes: Vec<String>,
}

/// The rows that can be scored: with a reward model comparisons, too.
pub fn scored_rows(reward: bool) -> Vec<RowKind> {
    let more = if reward { RowKind::Reward.taught_by() } else { &[] };
    [RowKind::Sft].iter().chain(more).copied().collect()
}

/// What a model with an adapter says of rows: all of them as supervised fine-tuning has them, or, to a reward model, all as its training does.
///
/// # Errors
/// [`Error::BadRow`], [`Error::LongRow`], [`Error::EmptyDataset`]; [`Error::BadAdapter`]; whatever the device reports.
pub async fn score_rows(model: &LoadedModel, adapter: &AdapterChoice, rows: &[Value]) -> Result<Report> {
    let mut scorer = Scorer::new(model, adapter)?;
    let text = ModelText::of(model);
    let reader = RowReader::new(&text, RowOptions::default());
    let compares = |row: &Value| crate::data::Row::read(row, RowKind::Reward.taught_by()).is_ok();
    if scorer.scores() > 0 && rows.iter().any(compares) {
        let rows = reader.comparisons(rows)?;
        let (said, agreement) = agreement(&mut scorer, &rows).await?;
        return Ok(Report { rows: said, agreement: Some(agreement), notes: reader.notes() });
    }
    let examples = reader.sft(rows)?;
    let examples: Vec<Example> =
        if scorer.scores() > 0 { examples.into_iter().map(|e| Example::scored(e.ids)).collect() } else { examples };
    Ok(Report { rows: said(&mut scorer, &examples).await?, agreement: None, notes: reader.notes() })
}

/// The same of texts as they stand, without a chat template. A reward model reads them with the end token behind them, as it has learned to.
///
/// # Errors
/// As [`score_rows`]; [`Error::BadConfig`] for a text that has too few tokens, [`Error::ContextOverflow`] for one with too many.
pub async fn score_texts(model: &LoadedModel, adapter: &AdapterChoice, texts: &[String]) -> Result<Vec<Said>> {
    let mut scorer = Scorer::new(model, adapter)?;
    let text = ModelText::of(model);
    let mut examples = Vec::with_capacity(texts.len());
    for (i, t) in texts.iter().enumerate() {
        let mut ids = text.encode(t)?;
        if scorer.scores() > 0 {
            ids.extend(text.eos().filter(|eos| ids.last() != Some(eos)));
        }
        let least = if scorer.scores() > 0 { 1 } else { 2 };
        if ids.len() < least {
            return Err(Error::config("text", format!("number {i} has {} tokens: nothing in it can be judged", ids.len())));
        }
        if ids.len() > text.context() {
            return Err(Error::ContextOverflow { needed: ids.len(), available: text.context() });
        }
        examples.push(if scorer.scores() > 0 { Example::scored(ids) } else { Example::from_parts(ids, 0) });
    }
    said(&mut scorer, &examples).await
}

async fn said(scorer: &mut Scorer, examples: &[Example]) -> Result<Vec<Said>> {
    let scores = scorer.scores() > 0;
    let judged = scorer.judge(&examples.iter().collect::<Vec<_>>()).await?;
    let of = |(e, values): (&Example, Vec<f32>)| {
        if scores {
            return Said::Scores { tokens: e.ids.len(), scores: values };
        }
        let logprob = values.iter().map(|v| f64::from(*v)).sum::<f64>();
        Said::Likelihood { tokens: values.len(), logprob, perplexity: (-logprob / values.len().max(1) as f64).exp() }
    };
    Ok(examples.iter().zip(judged).map(of).collect())
}

/// The scores of comparisons, and how well they agree with them: held-out rows of a reward model.
///
/// # Errors
/// [`Error::BadAdapter`] for what has not one score; whatever the device reports.
pub async fn agreement(scorer: &mut Scorer, rows: &[Comparison]) -> Result<(Vec<Said>, Agreement)> {
    if scorer.scores() != 1 {
        return Err(Error::BadAdapter(format!("it gives {} scores; comparisons are judged by a reward model with one", scorer.scores())));
    }
    let examples: Vec<&Example> = rows.iter().flat_map(|c| &c.answers).collect();
    let mut scores = scorer.judge(&examples).await?.into_iter().map(|v| v[0]);
    let (mut said, mut gaps) = (Vec::new(), Vec::new());
    for c in rows {
        let own: Vec<f32> = scores.by_ref().take(c.answers.len()).collect();
        gaps.extend(c.pairs().map(|(a, b)| f64::from(own[a]) - f64::from(own[b])));
        said.push(Said::Compared { ranks: c.ranks.clone(), scores: own });
    }
    Ok((said, Agreement::of(&gaps)))
}
