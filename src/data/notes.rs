//! What a person should know about rows that were read, and those that were too long to learn from.

use super::fault::numbers;
use crate::{Error, Result};

/// What may be so with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Longer than `max_length`.
    Cut,
    /// The prompt's last token is not the same with the answer behind it.
    Merged,
    /// The prompt is a text, and the model has a chat template.
    Text,
    /// Both answers are the same tokens, as they are learned.
    Same,
    /// Both answers are texts that begin with the prompt.
    Twice,
    /// The answers differ only behind `max_length`.
    SameWhenCut,
}

/// A row of which nothing can be learned for its length.
pub(super) struct Long {
    row: usize,
    message: String,
    /// Too long for the model, rather than cut down to nothing.
    overflow: bool,
}

/// Rows about which something should be known.
#[derive(Default)]
pub(super) struct Notes {
    /// Rows in all.
    rows: usize,
    noted: Vec<(Note, Vec<usize>)>,
    long: Vec<Long>,
}

impl Notes {
    pub fn of(rows: usize) -> Notes {
        Notes { rows, ..Notes::default() }
    }

    pub fn add(&mut self, note: Note, row: usize) {
        let rows = match self.noted.iter_mut().find(|n| n.0 == note) {
            Some((_, rows)) => rows,
            None => {
                self.noted.push((note, Vec::new()));
                &mut self.noted.last_mut().expect("just pushed").1
            }
        };
        if rows.last() != Some(&row) {
            rows.push(row);
        }
    }

    /// A row that is left out. `overflow`: it is longer than the model's context and nothing says to cut it.
    pub fn too_long(&mut self, row: usize, message: String, overflow: bool) {
        self.long.push(Long { row, message, overflow });
    }

    /// Rows that were left out.
    fn left_out(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = self.long.iter().map(|l| l.row).collect();
        rows.dedup();
        rows
    }

    /// Where nothing is left, that is an error about the first row, with how many others there are like it.
    ///
    /// # Errors
    /// [`Error::BadRow`], [`Error::LongRow`].
    pub fn none_left(&mut self) -> Result<()> {
        let rows = self.left_out();
        let Some(Long { row, message, overflow }) = self.long.drain(..).next() else { return Ok(()) };
        let more = match rows.len() {
            0 | 1 => String::new(),
            n => format!("; so it is with {n} of {} rows: {}", self.rows, numbers(&rows)),
        };
        let message = message + &more;
        Err(if overflow { Error::LongRow { row, message } } else { Error::BadRow { row, message } })
    }

    /// Whether all rows that were kept have a note.
    pub fn all(&self, note: Note) -> bool {
        let kept = self.rows - self.left_out().len();
        self.noted.iter().any(|(n, rows)| *n == note && rows.len() >= kept)
    }

    /// Sentences, none where there is nothing to say. `cut` says how many tokens a row may have.
    pub fn sentences(&self, cut: &str) -> Vec<String> {
        let many = |rows: &[usize]| match rows.len() {
            1 => format!("row {}", rows[0]),
            k => format!("{k} of {} rows ({})", self.rows, numbers(rows)),
        };
        let mut said = Vec::new();
        let left_out = self.left_out();
        if let Some(first) = self.long.first() {
            let row = first.row;
            said.push(format!("left out for its length: {}. Row {row}: {}", many(&left_out), first.message));
        }
        for (note, rows) in &self.noted {
            let many = many(rows);
            said.push(match note {
                Note::Cut => format!("cut to {cut}: {many}"),
                Note::Merged => format!(
                    "the end of the prompt merges with the beginning of the answer into one token, which counts to the answer: {many}. \
                     End prompts where a token ends"
                ),
                Note::Text => format!(
                    "the prompt is a text, which is learned as it stands, without the chat template through which this model is asked: {many}. \
                     Write messages to learn in its chat"
                ),
                Note::Same => format!("chosen and rejected are the same, which teaches nothing: {many}"),
                Note::SameWhenCut => format!("chosen and rejected differ only behind {cut}, which teaches nothing: {many}"),
                Note::Twice => format!(
                    "chosen and rejected begin with the prompt, which then stands there twice: {many}. Leave the column prompt out, or its words"
                ),
            });
        }
        said
    }
}
