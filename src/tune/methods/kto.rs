//! Kahneman–Tversky optimization (Ethayarajh et al. 2024): answers that were judged one by one, good or bad. 1 − σ(β·(u − KL)) of a good one,
//! 1 − σ(β·(KL − u)) of a bad one, u the log ratio of policy and reference; KL is estimated from prompts with other rows' answers, has no gradient
//! and is never below 0. Mean over the rows of a micro-batch, then over the micro-batches of an update.

use super::field::{Default, Drawn, Field, Good, Group, Kind, Metric, en};
use super::shared;
use super::table::MethodInfo;
use super::trl::fixed;
use crate::Result;
use crate::data::{BatchShape, Example, RowKind, Unpaired};
use crate::graph::{Desc, Program, Tape};
use crate::ops::loss::{KtoLoss, METRICS, SequenceSums};
use crate::tune::kl::RowCache;
use crate::tune::method::{Method, PRESENT, Recorded, digest};
use crate::tune::metrics::Metrics;
use crate::tune::micro::Micro;
use crate::tune::signals::Signals;

const WEIGHT: Kind = Kind::Number { low: 0.0, high: 1e6, step: 0.05 };

pub const INFO: MethodInfo = MethodInfo {
    name: "kto",
    title: "KTO",
    learns: en("From good and bad answers"),
    what: en("Kahneman–Tversky optimization: answers judged one by one, good or bad, measured against a reference policy."),
    config: "KTOConfig",
    notes: &[
        "Ethayarajh et al. (2024). The KL is max(0, mean over the batch of ln π − ln π_ref of mismatched pairs): each prompt with the answer of the \
         row before it, the first with the last one's, in groups of per_device_train_batch_size rows as they stand in the dataset; a lone last row is \
         paired with itself. The pairing is fixed when the data is prepared, which is why rows are taken as they come unless shuffle is set.",
        "Metrics of good (chosen) and bad (rejected) rows are there only in updates that have such rows, means of the micro-batches' means.",
        "loss_type apo_zero_unpaired (D'Oosterlinck et al. 2024) is the same without the KL.",
    ],
    rows: RowKind::Unpaired,
    fields: &[
        shared::beta("How tightly answers are held to the reference."),
        Field::new("desirable_weight", Group::Method, WEIGHT, Default::Number(1.0), "Weight of good answers."),
        Field::new(
            "undesirable_weight",
            Group::Method,
            WEIGHT,
            Default::Number(1.0),
            "Weight of bad answers. Weight times number should be 1 to 1.33 times as much for good answers as for bad ones.",
        ),
        Field::new(
            "loss_type",
            Group::Method,
            Kind::Choice(&["kto", "apo_zero_unpaired"]),
            Default::Text("kto"),
            "With or without the KL of mismatched pairs.",
        ),
        shared::REFERENCE,
    ],
    defaults: &[
        ("learning_rate", Default::Number(1e-4)),
        // The KL is a mean over a batch.
        ("per_device_train_batch_size", Default::Whole(4)),
        ("shuffle", Default::Switch(false)),
    ],
    without: &[("report_kl", "kl is a metric of its own here: that of mismatched pairs")],
    fixed: &[
        fixed("sync_ref_model", &["false"], ""),
        fixed("train_sampling_strategy", &["\"sequential\""], "shuffle: true mixes the rows"),
    ],
    metrics: &[
        Metric::new("loss", "", Good::Down, Drawn::Alone, "Mean over the rows; half the weight where policy and reference agree."),
        shared::ENTROPY,
        Metric::new("kl", "nats", Good::Neither, Drawn::Alone, "max(0, mean of ln π − ln π_ref of the batch's mismatched pairs).")
            .within(0.0, f64::INFINITY),
        Metric::new("rewards/chosen", "", Good::Up, Drawn::With("rewards"), "β · (ln π − ln π_ref) of good answers."),
        Metric::new("rewards/rejected", "", Good::Down, Drawn::With("rewards"), "The same of bad answers."),
        Metric::new("rewards/margins", "", Good::Up, Drawn::Alone, "Good minus bad."),
        Metric::new("logps/chosen", "nats", Good::Up, Drawn::Never, "Log-probability of whole good answers."),
        Metric::new("logps/rejected", "nats", Good::Down, Drawn::Never, "The same of bad answers."),
    ],
    more_metrics: &[],
    idle: |values| {
        let mut said = Vec::new();
        if values.number("beta") == 0.0 {
            said.push("beta is 0: the loss is the same whatever the answers are, and nothing is learned".into());
        }
        if ["desirable_weight", "undesirable_weight"].iter().all(|name| values.number(name) == 0.0) {
            said.push("desirable_weight and undesirable_weight are 0: nothing is learned".into());
        }
        said
    },
    whole: |_| false,
    build: |reader, values, rows| {
        let rows = reader.unpaired(rows)?;
        let kto = Kto {
            rows: Vec::new(),
            group: values.whole("per_device_train_batch_size") as usize,
            beta: values.number("beta") as f32,
            weights: ["undesirable_weight", "desirable_weight"].map(|name| values.number(name) as f32),
            paired: values.text("loss_type") == "kto",
            references: RowCache::default(),
        };
        Ok(Box::new(kto.with(&rows)))
    },
};

struct Row {
    own: Example,
    /// Its prompt with the answer of another row.
    mismatched: Example,
    good: bool,
}

/// See the module.
pub struct Kto {
    rows: Vec<Row>,
    /// Rows among which prompts and answers are mismatched.
    group: usize,
    beta: f32,
    /// Of bad and of good rows.
    weights: [f32; 2],
    /// A KL is estimated.
    paired: bool,
    /// Per row: log-probabilities of the answer and of the mismatched answer under the reference, computed once.
    references: RowCache,
}

impl Kto {
    /// With these rows behind those that are there; they are mismatched among themselves.
    fn with(mut self, rows: &[Unpaired]) -> Kto {
        for group in rows.chunks(self.group.max(1)) {
            for (i, row) in group.iter().enumerate() {
                let other = &group[(i + group.len() - 1) % group.len()];
                self.rows.push(Row { own: row.example(), mismatched: row.with_completion(&other.completion), good: row.label });
            }
        }
        self
    }

    fn of(&self, row: u32) -> &Row {
        &self.rows[row as usize]
    }

    fn weight(&self, row: u32) -> f32 {
        self.weights[usize::from(self.of(row).good)]
    }
}

impl Method for Kto {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn digest(&self) -> String {
        digest(self.rows.iter().flat_map(|r| {
            let parts = [&r.own.ids, &r.own.labels, &r.mismatched.ids, &r.mismatched.labels];
            parts.map(Vec::clone).into_iter().chain([vec![u32::from(r.good)]])
        }))
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn examples(&self, rows: &[u32]) -> Vec<&Example> {
        rows.iter().map(|r| &self.of(*r).own).collect()
    }

    fn record(&self, tape: &mut Tape, shape: &BatchShape, signals: &mut Signals<'_>) -> Result<Recorded> {
        let n = shape.seqs;
        let (logp, seq) = (signals.logps(tape)?, signals.seq(tape));
        let sums = tape.push1(SequenceSums::new(n), &[logp, seq])?;
        let mut ins = vec![
            sums,
            tape.input("reference", Desc::f32(&[n])),
            tape.input("weights", Desc::f32(&[n])),
            tape.input("numbers", Desc::f32(&[2])),
        ];
        if self.paired {
            ins.extend([tape.input(PRESENT, Desc::f32(&[n])), tape.input("reference_mismatched", Desc::f32(&[n]))]);
        }
        let out = tape.push(KtoLoss, &ins)?;
        Ok(Recorded { metrics: out[0], seeds: vec![(sums, out[1])] })
    }

    fn metric_words(&self, shape: &BatchShape) -> usize {
        METRICS * shape.seqs
    }

    fn arguments(&self) -> Vec<(&'static str, String)> {
        let [undesirable, desirable] = self.weights.map(|w| w.to_string());
        let kind = if self.paired { "kto" } else { "apo_zero_unpaired" };
        vec![
            ("beta", self.beta.to_string()),
            ("desirable_weight", desirable),
            ("undesirable_weight", undesirable),
            ("loss_type", kind.into()),
        ]
    }

    fn rows_meet(&self) -> bool {
        self.paired
    }

    fn references(&self) -> Option<&RowCache> {
        Some(&self.references)
    }

    fn references_mut(&mut self) -> Option<&mut RowCache> {
        Some(&mut self.references)
    }

    fn reference_examples(&self, rows: &[u32]) -> Vec<&Example> {
        self.examples(rows).into_iter().chain(self.present_examples(rows)).collect()
    }

    fn present_examples(&self, rows: &[u32]) -> Vec<&Example> {
        if self.paired { rows.iter().map(|r| &self.of(*r).mismatched).collect() } else { Vec::new() }
    }

    fn own_kl(&self) -> bool {
        true
    }

    fn write(&self, program: &Program, micro: &Micro, all: &[Micro]) {
        let of = |side: usize| micro.rows.iter().map(|r| self.references.get(*r).map_or(0.0, |v| v[side])).collect::<Vec<f32>>();
        program.write("reference", &of(0));
        if self.paired {
            program.write("reference_mismatched", &of(1));
        }
        let weights = micro.rows.iter().map(|r| if self.of(*r).good { self.weight(*r) } else { -self.weight(*r) });
        program.write("weights", &weights.collect::<Vec<f32>>());
        program.write("numbers", &[self.beta, 1.0 / (micro.rows.len() * all.len()) as f32]);
    }

    /// What is of one kind of row counts as many as there are of it.
    fn share(&self, micro: &Micro, metric: &str) -> f64 {
        let of = |good: bool| micro.rows.iter().filter(|r| self.of(**r).good == good).count() as f64;
        match metric {
            "rewards/chosen" | "logps/chosen" => of(true),
            "rewards/rejected" | "logps/rejected" => of(false),
            _ => micro.rows.len() as f64,
        }
    }

    fn metrics(&self, micros: &[Micro], words: &[Vec<f32>]) -> Metrics {
        let (mut loss, mut kl) = (0.0, 0.0);
        // Per kind of row: micro-batches that have such, and sums of their mean rewards and log-probabilities.
        let mut kinds = [(0.0, 0.0, 0.0); 2];
        let (mut both, mut margins) = (0.0, 0.0);
        for (micro, words) in micros.iter().zip(words) {
            let rows = || micro.rows.iter().zip(words.chunks(METRICS)).map(|(r, w)| (*r, [0, 1, 2, 3].map(|i| f64::from(w[i]))));
            let n = (micro.rows.len() * micros.len()) as f64;
            loss += rows().map(|(r, w)| f64::from(self.weight(r)) * w[0]).sum::<f64>() / n;
            kl += rows().next().map_or(0.0, |(_, w)| w[3]) / micros.len() as f64;
            let means = [false, true].map(|good| {
                let these = || rows().filter(move |(r, _)| self.of(*r).good == good).map(|(_, w)| w);
                let n = these().count() as f64;
                (n > 0.0).then(|| (these().map(|w| w[1]).sum::<f64>() / n, these().map(|w| w[2]).sum::<f64>() / n))
            });
            for (kind, (reward, logp)) in kinds.iter_mut().zip(means).filter_map(|(k, m)| Some((k, m?))) {
                *kind = (kind.0 + 1.0, kind.1 + reward, kind.2 + logp);
            }
            if let [Some(bad), Some(good)] = means {
                (both, margins) = (both + 1.0, margins + good.0 - bad.0);
            }
        }
        let [bad, good] = kinds;
        let mut metrics = Metrics::new(loss);
        metrics.set("kl", kl);
        for (name, sum, n) in [
            ("rewards/chosen", good.1, good.0),
            ("rewards/rejected", bad.1, bad.0),
            ("rewards/margins", margins, both),
            ("logps/chosen", good.2, good.0),
            ("logps/rejected", bad.2, bad.0),
        ] {
            if n > 0.0 {
                metrics.set(name, sum / n);
            }
        }
        metrics
    }
}
