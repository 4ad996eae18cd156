//! Supervised fine-tuning: the mean negative log-likelihood of the counted tokens of an update, over all its micro-batches together.

use super::field::{Default, Drawn, Field, Good, Group, Kind, Metric, en};
use super::shared;
use super::table::MethodInfo;
use super::trl::fixed;
use crate::Result;
use crate::data::{BatchShape, Example, RowKind};
use crate::graph::{Desc, Program, Tape};
use crate::ops::loss::{METRICS, SftLoss};
use crate::tune::method::{Method, Recorded, digest};
use crate::tune::metrics::Metrics;
use crate::tune::micro::Micro;
use crate::tune::signals::Signals;

pub const INFO: MethodInfo = MethodInfo {
    name: "sft",
    title: "SFT",
    learns: en("From ideal answers"),
    what: en("Supervised fine-tuning: imitates the answers in the rows."),
    config: "SFTConfig",
    notes: &["The loss is the mean over the counted tokens of the whole update, as in TRL."],
    rows: RowKind::Sft,
    fields: &[
        Field::new(
            "completion_only_loss",
            Group::Method,
            Kind::Switch,
            Default::Switch(true),
            "Of rows with prompt and completion: only the completion counts.",
        )
        .or_null(),
        Field::new(
            "assistant_only_loss",
            Group::Method,
            Kind::Switch,
            Default::Switch(false),
            "Of rows with messages: only the assistant's messages count.",
        ),
    ],
    defaults: &[],
    without: &[("disable_dropout", "lora_dropout is all the dropout there is")],
    fixed: &[
        fixed("loss_type", &["\"nll\""], ""),
        fixed("eval_packing", &["false", "null"], ""),
        fixed("shuffle_dataset", &["false"], "shuffle mixes the rows in every epoch"),
        fixed("dataset_text_field", &["\"text\""], "call the column text"),
        fixed("dataset_kwargs", &["null", "{}", "{\"skip_prepare_dataset\":false}"], ""),
        fixed("chat_template_path", &["null"], "the model has its template"),
        fixed("eos_token", &["null", "\"<EOS_TOKEN>\""], "the tokenizer has its end token"),
    ],
    metrics: &[
        Metric::new("loss", "nats", Good::Down, Drawn::Alone, "Mean negative log-likelihood of the counted tokens."),
        shared::KL,
        shared::ENTROPY,
    ],
    idle: |_| Vec::new(),
    build: |reader, _, rows| Ok(Box::new(Sft::new(reader.sft(rows)?))),
};

/// See the module.
pub struct Sft {
    examples: Vec<Example>,
}

impl Sft {
    pub fn new(examples: Vec<Example>) -> Sft {
        Sft { examples }
    }

    /// More rows, in the middle of a training: they take part from the next epoch on.
    pub fn append(&mut self, examples: Vec<Example>) {
        self.examples.extend(examples);
    }
}

impl Method for Sft {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn digest(&self) -> String {
        digest(self.examples.iter().flat_map(|e| [e.ids.clone(), e.labels.clone()]))
    }

    fn rows(&self) -> usize {
        self.examples.len()
    }

    fn examples(&self, rows: &[u32]) -> Vec<&Example> {
        rows.iter().map(|r| &self.examples[*r as usize]).collect()
    }

    fn key(&self, shape: BatchShape) -> BatchShape {
        // Sequences are told apart by their spans alone.
        BatchShape { seqs: 0, ..shape }
    }

    fn record(&self, tape: &mut Tape, shape: &BatchShape, signals: &mut Signals<'_>) -> Result<Recorded> {
        let logp = signals.logps(tape)?;
        let weights = tape.input("weights", Desc::f32(&[shape.rows]));
        let numbers = tape.input("numbers", Desc::f32(&[1]));
        let out = tape.push(SftLoss, &[logp, weights, numbers])?;
        Ok(Recorded { metrics: out[0], seeds: vec![(logp, out[1])] })
    }

    fn metric_words(&self, _shape: &BatchShape) -> usize {
        METRICS
    }

    fn write(&self, program: &Program, micro: &Micro, all: &[Micro]) {
        let mut weights = vec![0f32; micro.shape.rows];
        weights[..micro.batch.counted].fill(1.0);
        program.write("weights", &weights);
        let counted: usize = all.iter().map(|m| m.batch.counted).sum();
        program.write("numbers", &[1.0 / counted.max(1) as f32]);
    }

    fn metrics(&self, _micros: &[Micro], words: &[Vec<f32>]) -> Metrics {
        Metrics::new(words.iter().map(|w| f64::from(w[0])).sum())
    }
}
