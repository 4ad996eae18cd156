//! `fledgling score`: how likely texts are to a model, or which scores a reward model gives them.

use serde_json::{Value, json};

use super::args::{Cli, ScoreArgs};
use super::{files, load};
use fledgling::Result;
use fledgling::adapters::AdapterChoice;
use fledgling::data::{Row, RowFile};
use fledgling::models::LoadOptions;
use fledgling::tune::score::scored_rows;
use fledgling::tune::{Said, score_rows, score_texts};

pub async fn run(cli: &Cli, a: &ScoreArgs) -> Result<()> {
    // Everything that can be wrong is looked at before the model is loaded.
    let folder = a.model.adapter.as_deref();
    let adapter = folder.map(load::read_adapter).transpose()?;
    let reward = adapter.as_ref().is_some_and(|a| a.config().lora().is_some_and(|c| c.scores()));
    let rows = match &a.data {
        None => None,
        Some(path) => {
            let rows = RowFile::parse(&path.display().to_string(), &files::read_text(path)?)?;
            for (i, row) in rows.rows().iter().enumerate() {
                Row::read(row, &scored_rows(reward)).map_err(|fault| rows.place(fault.of_row(i)))?;
            }
            Some(rows)
        }
    };
    let mask = load::mask(&a.model.mask, a.model.adapter.iter())?;
    let how = LoadOptions { quantize: a.model.quantize, mask, ..LoadOptions::default() };
    let loaded = load::model(cli, &a.model.model, how, a.json).await?;
    let model = &loaded.model;
    let mut choice = AdapterChoice::Base;
    if let (Some(adapter), Some(folder)) = (&adapter, folder) {
        let name = load::name_of(folder);
        model.adapters.add(&name, adapter)?;
        if let Some(other) = adapter.config().base().filter(|b| !b.is_empty() && !same_model(b, &model.info.name)) {
            note!("the adapter was made on {other}, this is {}: on another base it says nothing", model.info.name);
        }
        choice = AdapterChoice::Named(name);
    }
    let mut number = 0;
    let mut tell = |said: &Said, text: Option<&str>| {
        if a.json {
            let mut record = json!({"event": "score", "row": number});
            if let (Value::Object(record), Ok(Value::Object(said))) = (&mut record, serde_json::to_value(said)) {
                record.extend(said);
            }
            say!("{record}");
        } else {
            say!("{}", plain(number, said, text));
        }
        number += 1;
    };
    let texts = score_texts(model, &choice, &a.text).await?;
    texts.iter().zip(&a.text).for_each(|(said, text)| tell(said, Some(text)));
    let mut all = texts;
    let mut agreement = None;
    if let Some(rows) = rows {
        let report = score_rows(model, &choice, rows.rows()).await.map_err(|e| rows.place(e))?;
        report.notes.iter().for_each(|n| note!("{n}"));
        report.rows.iter().for_each(|said| tell(said, None));
        all.extend(report.rows);
        agreement = report.agreement;
    }
    if a.json {
        let mut end = json!({"event": "end", "rows": all.len(), "adapter": a.model.adapter});
        if let (Value::Object(end), Some(Ok(Value::Object(found)))) = (&mut end, agreement.map(serde_json::to_value)) {
            end.extend(found);
        }
        say!("{end}");
    } else if let Some(found) = agreement {
        say!(
            "{} pairs  accuracy {:.4}  margin {:.4}  loss {:.4}  brier {:.4}  calibration_error {:.4}",
            found.pairs,
            found.accuracy,
            found.margin,
            found.loss,
            found.brier,
            found.calibration_error
        );
    }
    Ok(())
}

/// Whether two names end in the same model: a path or an address before it does not matter.
fn same_model(a: &str, b: &str) -> bool {
    let last = |s: &str| s.trim_end_matches('/').rsplit(['/', '\\']).next().unwrap_or_default().to_ascii_lowercase();
    last(a) == last(b)
}

fn plain(number: usize, said: &Said, text: Option<&str>) -> String {
    let list = |v: &[f32]| v.iter().map(|s| format!("{s:.4}")).collect::<Vec<_>>().join(" ");
    let begin: String = text.unwrap_or_default().chars().take(60).collect();
    let begin = if begin.is_empty() { format!("row {number}") } else { format!("{begin:?}") };
    match said {
        Said::Likelihood { tokens, logprob, perplexity } => {
            format!("{begin}: logprob {logprob:.4}  perplexity {perplexity:.4}  ({tokens} tokens)")
        }
        Said::Scores { tokens, scores } => format!("{begin}: {}  ({tokens} tokens)", list(scores)),
        Said::Compared { scores, .. } => format!("{begin}: {}  (the best one first)", list(scores)),
    }
}
