//! Direct preference optimization (Rafailov et al. 2023): −log σ(β·((π_chosen − ref_chosen) − (π_rejected − ref_rejected))), with label
//! smoothing. Mean over the pairs of a micro-batch, then over the micro-batches of an update; so are the metrics.

use super::field::{Default, Drawn, Field, Good, Group, Kind, Metric, Shown, en};
use super::shared;
use super::table::MethodInfo;
use super::trl::fixed;
use crate::Result;
use crate::data::{BatchShape, Example, Pair, RowKind};
use crate::graph::{Desc, Program, Tape};
use crate::ops::loss::{DpoLoss, METRICS, SequenceSums};
use crate::tune::kl::RowCache;
use crate::tune::method::{Method, Recorded, digest};
use crate::tune::metrics::Metrics;
use crate::tune::micro::Micro;
use crate::tune::signals::Signals;

pub const INFO: MethodInfo = MethodInfo {
    name: "dpo",
    title: "DPO",
    learns: en("From rankings"),
    what: en("Direct preference optimization: prefers the better of two answers, measured against a reference policy."),
    config: "DPOConfig",
    notes: &[
        "Rafailov et al. (2023), the sigmoid loss: −ln σ(β·((ln π/π_ref of the chosen answer) − (the same of the rejected one))).",
        "label_smoothing is the conservative DPO of that loss's authors: the share of preferences taken to be the wrong way round. TRL 1.16 \
         ignores it with the sigmoid loss.",
    ],
    rows: RowKind::Preference,
    fields: &[
        Field::new(
            "beta",
            Group::Method,
            Kind::Number { low: 0.0, high: 1e6, step: 0.05 },
            Default::Number(0.1),
            "How tightly answers are held to the reference.",
        ),
        Field::new(
            "label_smoothing",
            Group::Method,
            Kind::Number { low: 0.0, high: 0.5, step: 0.05 },
            Default::Number(0.0),
            "Share of rankings taken to be mistaken.",
        ),
        Field::new("loss_type", Group::Method, Kind::Choice(&["sigmoid"]), Default::Text("sigmoid"), "TRL's other losses are not there.")
            .shown(Shown::Never),
        shared::REFERENCE,
    ],
    defaults: &[("learning_rate", Default::Number(1e-4))],
    without: &[],
    fixed: &[
        fixed("loss_weights", &["null", "[1]", "[1.0]"], ""),
        fixed("ld_alpha", &["null"], ""),
        fixed("f_divergence_type", &["\"reverse_kl\""], ""),
        fixed("use_weighting", &["false"], ""),
        fixed("sync_ref_model", &["false"], ""),
        fixed("reference_free", &["false"], ""),
    ],
    metrics: &[
        Metric::new("loss", "nats", Good::Down, Drawn::Alone, "Mean over the pairs; ln 2 where policy and reference agree."),
        shared::KL,
        shared::ENTROPY,
        Metric::new("rewards/chosen", "", Good::Up, Drawn::With("rewards"), "β · (ln π − ln π_ref) of the chosen answer."),
        Metric::new("rewards/rejected", "", Good::Neither, Drawn::With("rewards"), "The same of the rejected answer."),
        Metric::new("rewards/margins", "", Good::Up, Drawn::Alone, "Chosen minus rejected."),
        Metric::new("rewards/accuracies", "", Good::Up, Drawn::Alone, "Share of pairs whose chosen answer has the higher reward.")
            .within(0.0, 1.0),
        Metric::new("logps/chosen", "nats", Good::Up, Drawn::Never, "Log-probability of the whole chosen answer."),
        Metric::new("logps/rejected", "nats", Good::Neither, Drawn::Never, "The same of the rejected answer."),
    ],
    build: |reader, values, rows| {
        Ok(Box::new(Dpo::new(reader.preferences(rows)?, values.number("beta"), values.number("label_smoothing"))))
    },
};

/// See the module.
pub struct Dpo {
    pairs: Vec<Pair>,
    beta: f32,
    label_smoothing: f32,
    /// Per pair: log-probabilities of both answers under the reference, computed once.
    references: RowCache,
}

impl Dpo {
    pub fn new(pairs: Vec<Pair>, beta: f64, label_smoothing: f64) -> Dpo {
        Dpo { pairs, beta: beta as f32, label_smoothing: label_smoothing as f32, references: RowCache::default() }
    }

    /// More pairs, in the middle of a training: they take part from the next epoch on.
    pub fn append(&mut self, pairs: Vec<Pair>) {
        self.pairs.extend(pairs);
    }
}

impl Method for Dpo {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn digest(&self) -> String {
        digest(self.pairs.iter().flat_map(|p| {
            [&p.chosen.ids, &p.chosen.labels, &p.rejected.ids, &p.rejected.labels]
                .map(Vec::clone)
                .into_iter()
                .chain([vec![p.weight.to_bits()]])
        }))
    }

    fn rows(&self) -> usize {
        self.pairs.len()
    }

    /// All chosen, then all rejected, as TRL concatenates them.
    fn examples(&self, rows: &[u32]) -> Vec<&Example> {
        let pair = |r: &u32| &self.pairs[*r as usize];
        rows.iter().map(|r| &pair(r).chosen).chain(rows.iter().map(|r| &pair(r).rejected)).collect()
    }

    fn record(&self, tape: &mut Tape, shape: &BatchShape, signals: &mut Signals<'_>) -> Result<Recorded> {
        let (logp, seq) = (signals.logps(tape)?, signals.seq(tape));
        let sums = tape.push1(SequenceSums { seqs: shape.seqs }, &[logp, seq])?;
        let reference = tape.input("reference", Desc::f32(&[shape.seqs]));
        let weights = tape.input("weights", Desc::f32(&[shape.seqs / 2]));
        let numbers = tape.input("numbers", Desc::f32(&[3]));
        let out = tape.push(DpoLoss, &[sums, reference, weights, numbers])?;
        Ok(Recorded { metrics: out[0], seeds: vec![(sums, out[1])] })
    }

    fn metric_words(&self, shape: &BatchShape) -> usize {
        METRICS * (shape.seqs / 2)
    }

    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![("beta", self.beta.to_string()), ("label_smoothing", self.label_smoothing.to_string())]
    }

    fn references(&self) -> Option<&RowCache> {
        Some(&self.references)
    }

    fn references_mut(&mut self) -> Option<&mut RowCache> {
        Some(&mut self.references)
    }

    fn write(&self, program: &Program, micro: &Micro, all: &[Micro]) {
        let pairs = micro.rows.len();
        let of = |side: usize| micro.rows.iter().map(move |r| self.references.get(*r).map_or(0.0, |v| v[side]));
        program.write("reference", &of(0).chain(of(1)).collect::<Vec<f32>>());
        let weights: Vec<f32> = micro.rows.iter().map(|r| self.pairs[*r as usize].weight).collect();
        program.write("weights", &weights);
        program.write("numbers", &[self.beta, self.label_smoothing, 1.0 / (pairs * all.len()) as f32]);
    }

    fn metrics(&self, micros: &[Micro], words: &[Vec<f32>]) -> Metrics {
        let (mut loss, mut means) = (0.0, [0.0; 6]);
        for (micro, words) in micros.iter().zip(words) {
            let share = 1.0 / (micro.rows.len() * micros.len()) as f64;
            for (r, w) in micro.rows.iter().zip(words.chunks(METRICS)) {
                let at = |i: usize| f64::from(w[i]);
                loss += share * f64::from(self.pairs[*r as usize].weight) * at(0);
                let right = if w[1] > w[2] { share } else { 0.0 };
                let values = [share * at(1), share * at(2), share * (at(1) - at(2)), right, share * at(3), share * at(4)];
                means.iter_mut().zip(values).for_each(|(m, v)| *m += v);
            }
        }
        let names = ["rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected"];
        let mut metrics = Metrics::new(loss);
        names.into_iter().zip(means).for_each(|(name, mean)| metrics.set(name, mean));
        metrics
    }
}
