//! Supervised fine-tuning: the mean negative log-likelihood of the counted tokens of an update, over all its micro-batches together.

use super::field::{Default, Drawn, Field, Good, Group, Kind, Metric, Shown, en};
use super::shared;
use super::table::MethodInfo;
use super::trl::fixed;
use crate::data::{BatchShape, Example, Layout, Mask, Packing, RowKind, RowReader};
use crate::graph::{Desc, Program, Tape};
use crate::ops::loss::{METRICS, SftLoss};
use crate::tune::method::{Manner, Method, Recorded, digest};
use crate::tune::metrics::Metrics;
use crate::tune::micro::Micro;
use crate::tune::signals::Signals;
use crate::tune::values::Values;
use crate::{Error, Result};

pub const INFO: MethodInfo = MethodInfo {
    name: "sft",
    title: "SFT",
    learns: en("From ideal answers"),
    what: en("Supervised fine-tuning: imitates the answers in the rows."),
    config: "SFTConfig",
    notes: &[
        "The loss is the mean over the counted tokens of the whole update, as in TRL, packed or not.",
        "Packs are TRL's: in bfd and bfd_split documents do not see each other, positions begin anew and a document's first token is not judged, so \
         that losses and gradients are those of the documents one by one. A pack counts as a row: per_device_train_batch_size is of packs.",
        "Rows of a batch are laid one after the other without padding wherever that is shorter, with or without padding_free.",
        "NEFTune's noise is alpha/√(L·d) with L the tokens of the row (of the document in a pack), as its authors' code has it; Transformers takes the \
         padded length of the batch.",
    ],
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
        Field::new(
            "loss_type",
            Group::Method,
            Kind::Choice(&["nll", "dft"]),
            Default::Text("nll"),
            "nll: the negative log-likelihood. dft: each token's is weighed by its own probability (Dynamic Fine-Tuning, Wu et al. 2025).",
        )
        .shown(Shown::Never),
        Field::new(
            "label_smoothing_factor",
            Group::Method,
            Kind::Number { low: 0.0, high: 0.999_999, step: 0.05 },
            Default::Number(0.0),
            "Share of the loss that is the mean over the whole vocabulary, of nll.",
        )
        .shown(Shown::Never),
        Field::new(
            "neftune_noise_alpha",
            Group::Method,
            Kind::Number { low: 0.0, high: 1e6, step: 1.0 },
            Default::Unset,
            "NEFTune: noise of this size, divided by √(tokens · width), on the embeddings while learning. 5 is usual.",
        )
        .shown(Shown::Never),
        Field::new(
            "packing",
            Group::Training,
            Kind::Switch,
            Default::Switch(false),
            "Short rows share a sequence of max_length tokens, each by itself: faster where lengths differ.",
        ),
        Field::new(
            "packing_strategy",
            Group::Training,
            Kind::Choice(&["bfd", "bfd_split", "wrapped"]),
            Default::Text("bfd"),
            "bfd: longer rows are cut; bfd_split: into several; wrapped: one after the other, and rows see those before them.",
        )
        .shown(Shown::Never),
        Field::new(
            "eval_packing",
            Group::Training,
            Kind::Switch,
            Default::Unset,
            "Whether rows for evaluation are packed; not set: as packing.",
        )
        .shown(Shown::Never),
        Field::new(
            "padding_free",
            Group::Memory,
            Kind::Switch,
            Default::Switch(false),
            "The rows of a batch are laid one after the other, however long that is. Without it, where that is up to 1,024 tokens.",
        )
        .shown(Shown::Never),
        Field::new(
            "truncation_mode",
            Group::Training,
            Kind::Choice(&["keep_start", "keep_end"]),
            Default::Text("keep_start"),
            "Which part of a row longer than max_length is kept.",
        )
        .shown(Shown::Never),
    ],
    defaults: &[],
    without: &[("disable_dropout", "lora_dropout is all the dropout there is")],
    fixed: &[
        fixed("shuffle_dataset", &["false"], "shuffle mixes the rows in every epoch"),
        fixed("dataset_text_field", &["\"text\""], "call the column text"),
        fixed("dataset_kwargs", &["null", "{}", "{\"skip_prepare_dataset\":false}"], ""),
        fixed("chat_template_path", &["null"], "the model has its template"),
        fixed("eos_token", &["null", "\"<EOS_TOKEN>\""], "the tokenizer has its end token"),
    ],
    metrics: &[
        Metric::new(
            "loss",
            "nats",
            Good::Down,
            Drawn::Alone,
            "Mean negative log-likelihood of the counted tokens, as loss_type and smoothing make it.",
        ),
        shared::KL,
        shared::ENTROPY,
    ],
    more_metrics: &[],
    idle,
    whole: |_| false,
    build: |reader, values, rows| Ok(Box::new(Sft::read(reader, values, rows)?)),
};

fn idle(v: &Values) -> Vec<String> {
    let mut said = Vec::new();
    if v.number("label_smoothing_factor") > 0.0 && v.text("loss_type") == "dft" {
        said.push("label_smoothing_factor has no effect: the loss dft takes no account of it".to_string());
    }
    if !v.is_on("packing") && v.text("packing_strategy") != "bfd" {
        said.push("packing_strategy has no effect without packing".into());
    }
    said
}

/// What the loss and its passes are made of.
#[derive(Clone, Copy, Debug, std::default::Default)]
pub struct SftOptions {
    /// `loss_type` dft.
    pub dft: bool,
    pub label_smoothing: f64,
    pub noise_alpha: Option<f64>,
    pub layout: Layout,
}

impl SftOptions {
    fn read(v: &Values) -> SftOptions {
        let dft = v.text("loss_type") == "dft";
        SftOptions {
            dft,
            label_smoothing: if dft { 0.0 } else { v.number("label_smoothing_factor") },
            noise_alpha: v.opt_number("neftune_noise_alpha").filter(|a| *a > 0.0),
            layout: if v.is_on("padding_free") { Layout::OneRow } else { Layout::Auto },
        }
    }
}

/// See the module.
pub struct Sft {
    examples: Vec<Example>,
    options: SftOptions,
}

impl Sft {
    /// With the plain loss.
    pub fn new(examples: Vec<Example>) -> Sft {
        Sft::with(examples, SftOptions::default())
    }

    pub fn with(examples: Vec<Example>, options: SftOptions) -> Sft {
        Sft { examples, options }
    }

    /// Rows, packed where that is asked for.
    fn read(reader: &RowReader<'_>, values: &Values, rows: &[serde_json::Value]) -> Result<Sft> {
        let packing = values.is_on("packing").then(|| Packing::from_name(values.text("packing_strategy")));
        if packing.is_some() && values.opt_whole("max_length").is_none() {
            return Err(Error::config("max_length", "is null, and packing fills sequences of max_length tokens"));
        }
        let mut examples = reader.sft(rows)?;
        let said = |e: &Example| e.prefix(&(0..e.ids.len()));
        let prefixes = reader.mask() == Mask::Prefix;
        if packing == Some(Packing::Wrapped) && (prefixes || examples.iter().any(|e| said(e).is_some())) {
            let why = "is wrapped, which makes one document of all rows: with prefixes take bfd";
            return Err(Error::config("packing_strategy", why));
        }
        if !prefixes && examples.iter().any(|e| said(e).is_some()) {
            let why = "is causal, and rows say how long their prefix is (prefix_length): expected the mask prefix";
            return Err(Error::config("mask", why));
        }
        let prefix = |e: &Example| said(e).unwrap_or_else(|| e.prompt(&(0..e.ids.len())));
        if prefixes && !examples.is_empty() && examples.iter().all(|e| prefix(e) < 2) {
            let why = "is prefix, and no row has a prompt that is not learned: expected prompt and completion, prefix_length, or messages \
                       with assistant_only_loss";
            return Err(Error::config("mask", why));
        }
        if let Some(packing) = packing {
            let len = reader.cut();
            let packs = packing.pack(&examples, len);
            if packs.is_empty() {
                return Err(Error::EmptyDataset(format!("packing: nothing to learn is left of the rows in pieces of {len} tokens")));
            }
            let tokens: usize = packs.iter().map(|p| p.ids.len()).sum();
            let (rows, share) = (examples.len(), 100.0 * tokens as f64 / (packs.len() * len) as f64);
            reader.say(format!("packing: {rows} rows are {} packs of up to {len} tokens, {share:.0} % full", packs.len()));
            examples = packs;
        }
        Ok(Sft::with(examples, SftOptions::read(values)))
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
        digest(self.examples.iter().flat_map(|e| {
            let more = [&e.types, &e.source].into_iter().filter(|v| !v.is_empty()).cloned();
            [e.ids.clone(), e.labels.clone()].into_iter().chain(more.collect::<Vec<_>>())
        }))
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
        let out = tape.push(SftLoss { dft: self.options.dft }, &[logp, weights, numbers])?;
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

    fn share(&self, micro: &Micro, _metric: &str) -> f64 {
        micro.batch.counted as f64
    }

    fn manner(&self) -> Manner {
        let o = &self.options;
        Manner { label_smoothing: o.label_smoothing as f32, noise_alpha: o.noise_alpha, layout: o.layout }
    }

    fn arguments(&self) -> Vec<(&'static str, String)> {
        let o = &self.options;
        let mut all = Vec::new();
        if o.dft {
            all.push(("loss_type", "dft".to_string()));
        }
        if o.label_smoothing > 0.0 {
            all.push(("label_smoothing_factor", o.label_smoothing.to_string()));
        }
        all.extend(o.noise_alpha.map(|a| ("neftune_noise_alpha", a.to_string())));
        all
    }

    fn metrics(&self, _micros: &[Micro], words: &[Vec<f32>]) -> Metrics {
        Metrics::new(words.iter().map(|w| f64::from(w[0])).sum())
    }
}
