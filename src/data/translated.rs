//! Rows as encoder-decoders learn them.

use super::example::{Example, IGNORE};
use super::fault::Fault;
use super::message::TextOrMessages;
use super::reader::{RowReader, of_row};
use super::rows::SftRow;
use crate::Result;

impl RowReader<'_> {
    /// A row for an encoder-decoder: what it reads, and what is to be written.
    pub(super) fn translated(&self, source: Vec<u32>, mut labels: Vec<u32>) -> Example {
        // Behind the last token that is asked for nothing is learned.
        labels.truncate(labels.iter().rposition(|l| *l != IGNORE).map_or(0, |i| i + 1));
        let target: Vec<Option<u32>> = labels.iter().map(|l| Some(*l).filter(|l| *l != IGNORE)).collect();
        let ids = self.text().shifted(&target).unwrap_or_default();
        Example { source, ..Example::in_place(ids, &labels, Vec::new()) }
    }

    /// The same from texts, each with the tokens that belong around it.
    pub(super) fn pair_row(&self, row: usize, value: SftRow) -> Result<Example> {
        let (prompt, completion) = match value {
            SftRow::PromptCompletion { prompt: TextOrMessages::Text(p), completion: TextOrMessages::Text(c), .. } => (p, c),
            _ => {
                let reason =
                    "is of a kind that an encoder-decoder does not learn: expected prompt and completion as texts, or input_ids and labels";
                return Err(Fault::row(reason).of_row(row));
            }
        };
        let of = |text: &str| of_row(row, self.text().encode(text));
        let mut labels = of(&completion)?;
        // A tokenizer that puts no end there: the answer ends all the same.
        if let Some(end) = self.text().eos().filter(|end| !labels.contains(end)) {
            labels.push(end);
        }
        Ok(self.translated(of(&prompt)?, labels))
    }
}
