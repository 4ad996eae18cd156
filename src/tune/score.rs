//! What a model says of whole texts: how likely they are, or with a reward model which scores they have; and how well scores agree with comparisons.

use serde::Serialize;
use serde_json::Value;

use super::scorer::Scorer;
use super::start::ModelText;
use crate::adapters::{AdapterChoice, LoadedModel};
use crate::data::{Comparison, Example, RowKind, RowOptions, RowReader, TextSource};
use crate::{Error, Result};

/// Parts into which confidences are sorted to compare them with what came true.
const BINS: usize = 10;

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

/// How well scores agree with comparisons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Agreement {
    /// Strict pairs.
    pub pairs: usize,
    /// Share of pairs whose better answer has the higher score.
    pub accuracy: f64,
    /// By how much, in the mean.
    pub margin: f64,
    /// Mean of −ln σ(better − worse), in nats: ln 2 says nothing.
    pub loss: f64,
    /// Mean of (1 − σ(better − worse))²: 0.25 says nothing.
    pub brier: f64,
    /// Expected calibration error: how far the share of right orders is from the probability σ(|difference|) that was given to them, the mean over ten
    /// equal parts of ½…1 by how many pairs are in each. 0 is a reward model whose probabilities are true.
    pub calibration_error: f64,
}

impl Agreement {
    /// Of differences better − worse.
    pub fn of(gaps: &[f64]) -> Agreement {
        let n = gaps.len();
        if n == 0 {
            return Agreement::default();
        }
        let mean = |f: &dyn Fn(f64) -> f64| gaps.iter().map(|g| f(*g)).sum::<f64>() / n as f64;
        let sigma = |x: f64| 1.0 / (1.0 + (-x).exp());
        let mut bins = [(0.0, 0.0); BINS];
        for gap in gaps {
            let sure = sigma(gap.abs());
            let bin = &mut bins[(((sure - 0.5) * 2.0 * BINS as f64) as usize).min(BINS - 1)];
            // Two equal scores say either order with one half.
            let right = if *gap == 0.0 { 0.5 } else { f64::from(u8::from(*gap > 0.0)) };
            *bin = (bin.0 + right, bin.1 + sure);
        }
        Agreement {
            pairs: n,
            accuracy: mean(&|g| f64::from(u8::from(g > 0.0))),
            margin: mean(&|g| g),
            loss: mean(&|g| (-g).max(0.0) + (-g.abs()).exp().ln_1p()),
            brier: mean(&|g| (1.0 - sigma(g)).powi(2)),
            calibration_error: bins.iter().map(|(right, sure)| (right - sure).abs()).sum::<f64>() / n as f64,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_is_what_it_says() {
        // As right as it is sure: three of four with ln 3 between them.
        let sure = 3f64.ln();
        let a = Agreement::of(&[sure, sure, sure, -sure]);
        assert!((a.accuracy - 0.75).abs() < 1e-12 && a.calibration_error < 1e-12, "{a:?}");
        assert!((a.brier - (3.0 * 0.0625 + 0.5625) / 4.0).abs() < 1e-12 && (a.margin - sure / 2.0).abs() < 1e-12, "{a:?}");
        // Sure and wrong.
        let a = Agreement::of(&[-40.0; 3]);
        assert!(a.accuracy == 0.0 && (a.calibration_error - 1.0).abs() < 1e-9 && (a.loss - 40.0).abs() < 1e-9, "{a:?}");
        // No opinion.
        let a = Agreement::of(&[0.0; 2]);
        assert!(a.accuracy == 0.0 && a.calibration_error == 0.0 && (a.loss - std::f64::consts::LN_2).abs() < 1e-12 && a.brier == 0.25);
        assert_eq!(Agreement::of(&[]).pairs, 0);
    }
}
