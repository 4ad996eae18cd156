//! Reward models: an adapter with a scalar head that scores whole sequences, learned from comparisons (Bradley & Terry 1952 of pairs, Plackett 1975 and
//! Luce 1959 of rankings). The score is read at the last token of a sequence, after the last norm. Means over the rows of a micro-batch, then over the
//! micro-batches of an update; so are the metrics.

use super::field::{Default, Drawn, Field, Good, Group, Kind, Metric, Shown, en};
use super::table::MethodInfo;
use super::trl::fixed;
use crate::data::{BatchShape, Comparison, Example, RowKind};
use crate::graph::{Desc, Program, Tape};
use crate::ops::loss::{RANKING_METRICS, RANKING_NUMBERS, RankingLoss};
use crate::tune::agreement::Agreement;
use crate::tune::method::{Method, Recorded, digest};
use crate::tune::metrics::Metrics;
use crate::tune::micro::Micro;
use crate::tune::signals::Signals;
use crate::tune::values::Values;
use crate::{Error, Result};

pub const INFO: MethodInfo = MethodInfo {
    name: "reward",
    title: "Reward",
    learns: en("To score answers, from rankings"),
    what: en("Reward model: an adapter with a head that scores whole answers, so that the better one has the higher score."),
    config: "RewardConfig",
    notes: &[
        "Of a pair −ln σ(s_c − s_r − margin), with center_rewards_coefficient · (s_c + s_r)² beside it. Of a ranking the likelihood of its order \
         under Plackett and Luce, Σᵢ ln Σⱼ≥ᵢ exp(sⱼ) − sᵢ, which for two answers is the same; centred is twice the mean score. Ties stand for \
         all orders that agree with the ranks: see ties. Rankings are not in TRL, which takes pairs alone.",
        "The score is that of the last token of prompt and answer together. TRL looks for the last token that is not the pad token: with a tokenizer \
         that pads with its end token it reads one token earlier.",
        "Rows of which a sequence is longer than max_length are left out, not cut. accuracy and margin are those of all strict pairs. The adapter is \
         saved with task_type SEQ_CLS and its head in modules_to_save, as PEFT does.",
    ],
    rows: RowKind::Reward,
    fields: &[
        Field::new(
            "center_rewards_coefficient",
            Group::Method,
            Kind::Number { low: 0.0, high: 1e6, step: 0.01 },
            Default::Unset,
            "Weight of keeping the scores of a row around 0; TRL suggests 0.01.",
        ),
        Field::new(
            "ties",
            Group::Method,
            Kind::Choice(&["mean", "marginal"]),
            Default::Text("mean"),
            "Tied answers of a ranking: the mean loss of the orders that agree with it, or the loss of their summed probability. Not in TRL.",
        )
        .shown(Shown::Never),
        Field::new(
            "max_length",
            Group::Training,
            Kind::Whole { low: 2, high: 1 << 24 },
            Default::Whole(1024),
            "Rows with longer sequences are left out; null: those longer than the context are.",
        )
        .or_null(),
    ],
    defaults: &[("learning_rate", Default::Number(1e-4))],
    without: &[
        ("max_length", "it has its own"),
        ("report_kl", "a reward model has no distribution to be far from the base's"),
    ],
    fixed: &[
        fixed("chat_template_path", &["null"], "the model's own chat template is used"),
        fixed("eos_token", &["\"<EOS_TOKEN>\"", "null"], "the model's own is used"),
    ],
    metrics: &[
        Metric::new("loss", "nats", Good::Down, Drawn::Alone, "−ln of the likelihood of the rankings, and what centres the scores."),
        Metric::new("min_reward", "", Good::Neither, Drawn::With("rewards"), "The lowest score of a micro-batch."),
        Metric::new("mean_reward", "", Good::Neither, Drawn::With("rewards"), "The mean score."),
        Metric::new("max_reward", "", Good::Neither, Drawn::With("rewards"), "The highest score."),
        Metric::new("accuracy", "", Good::Up, Drawn::Alone, "Share of strict pairs whose better answer has the higher score.").within(0.0, 1.0),
        Metric::new("margin", "", Good::Up, Drawn::Alone, "By how much, in the mean over those pairs."),
        Metric::new("brier", "", Good::Down, Drawn::Never, "Mean of (1 − σ(better − worse))² of those pairs; 0.25 says nothing. Not in TRL.")
            .within(0.0, 1.0),
    ],
    more_metrics: &[],
    idle: |_| Vec::new(),
    whole: |_| true,
    build: |reader, values, rows| Ok(Box::new(Reward::new(reader.comparisons(rows)?, RewardOptions::read(values)))),
};

/// What the loss is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct RewardOptions {
    pub center_rewards_coefficient: f64,
    /// Of ties the sum of the orders' probabilities, rather than the mean of their losses.
    pub marginal: bool,
}

impl RewardOptions {
    fn read(v: &Values) -> RewardOptions {
        RewardOptions {
            center_rewards_coefficient: v.opt_number("center_rewards_coefficient").unwrap_or(0.0),
            marginal: v.text("ties") == "marginal",
        }
    }
}

/// See the module.
pub struct Reward {
    rows: Vec<Comparison>,
    options: RewardOptions,
}

impl Reward {
    pub fn new(rows: Vec<Comparison>, options: RewardOptions) -> Reward {
        Reward { rows, options }
    }

    fn some<'a>(&'a self, rows: &'a [u32]) -> impl Iterator<Item = &'a Comparison> {
        rows.iter().map(|r| &self.rows[*r as usize])
    }
}

impl Method for Reward {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn digest(&self) -> String {
        let of = |c: &Comparison| {
            let parts = c.answers.iter().map(|a| a.ids.clone()).chain([c.ranks.clone(), vec![c.margin.to_bits()]]);
            parts.collect::<Vec<_>>()
        };
        digest(self.rows.iter().flat_map(of))
    }

    fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Row by row, the best answer first.
    fn examples(&self, rows: &[u32]) -> Vec<&Example> {
        rows.iter().flat_map(|r| &self.rows[*r as usize].answers).collect()
    }

    fn record(&self, tape: &mut Tape, shape: &BatchShape, signals: &mut Signals<'_>) -> Result<Recorded> {
        let head = signals.head().cloned().ok_or_else(|| Error::BadAdapter("it has no score head: it is no reward model".into()))?;
        let scores = signals.scores(tape, &head)?;
        let order = tape.input("order", Desc::u32(&[shape.seqs]));
        let places = tape.input("places", Desc::u32(&[shape.seqs, 2]));
        let offsets = tape.input("offsets", Desc::f32(&[shape.seqs]));
        let numbers = tape.input("numbers", Desc::f32(&[RANKING_NUMBERS]));
        let tied = self.rows.iter().map(Comparison::tied).max().unwrap_or(1);
        let out = tape.push(RankingLoss { marginal: self.options.marginal, tied }, &[scores, order, places, offsets, numbers])?;
        Ok(Recorded { metrics: out[0], seeds: vec![(scores, out[1])] })
    }

    fn metric_words(&self, shape: &BatchShape) -> usize {
        RANKING_METRICS * shape.seqs
    }

    fn write(&self, program: &Program, micro: &Micro, all: &[Micro]) {
        let (mut places, mut offsets, mut at) = (Vec::new(), Vec::new(), 0);
        for c in self.some(&micro.rows) {
            let n = c.answers.len();
            places.extend(c.ends().into_iter().flat_map(|end| [(at + end) as u32, (at + n) as u32]));
            offsets.extend((0..n).map(|k| if k == 0 { -c.margin } else { 0.0 }));
            at += n;
        }
        program.write("order", &(0..at as u32).collect::<Vec<_>>());
        program.write("places", &places);
        program.write("offsets", &offsets);
        program.write("numbers", &[1.0 / (micro.rows.len() * all.len()) as f32, self.options.center_rewards_coefficient as f32]);
    }

    fn metrics(&self, micros: &[Micro], words: &[Vec<f32>]) -> Metrics {
        let share = 1.0 / micros.len() as f64;
        let (mut loss, mut rewards, mut pairs, mut with_pairs) = (0.0, [0.0; 3], [0.0; 3], 0);
        for (micro, words) in micros.iter().zip(words) {
            let of = |k: usize| words.iter().skip(k).step_by(RANKING_METRICS).map(|v| f64::from(*v));
            loss += share * of(0).sum::<f64>() / micro.rows.len() as f64;
            let scores: Vec<f64> = of(1).collect();
            let found = [
                scores.iter().copied().fold(f64::INFINITY, f64::min),
                scores.iter().sum::<f64>() / scores.len() as f64,
                scores.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ];
            rewards.iter_mut().zip(found).for_each(|(r, v)| *r += share * v);
            let (mut at, mut gaps) = (0, Vec::new());
            for c in self.some(&micro.rows) {
                gaps.extend(c.pairs().map(|(a, b)| scores[at + a] - scores[at + b]));
                at += c.answers.len();
            }
            if !gaps.is_empty() {
                let found = Agreement::of(&gaps);
                pairs.iter_mut().zip([found.accuracy, found.margin, found.brier]).for_each(|(p, v)| *p += v);
                with_pairs += 1;
            }
        }
        let mut metrics = Metrics::new(loss);
        ["min_reward", "mean_reward", "max_reward"].into_iter().zip(rewards).for_each(|(name, v)| metrics.set(name, v));
        if with_pairs > 0 {
            ["accuracy", "margin", "brier"].into_iter().zip(pairs).for_each(|(name, v)| metrics.set(name, v / f64::from(with_pairs)));
        }
        metrics
    }

    /// What is of pairs counts as many as there are.
    fn share(&self, micro: &Micro, metric: &str) -> f64 {
        match metric {
            "accuracy" | "margin" | "brier" => self.some(&micro.rows).map(|c| c.pairs().count()).sum::<usize>() as f64,
            _ => micro.rows.len() as f64,
        }
    }

    fn arguments(&self) -> Vec<(&'static str, String)> {
        let o = &self.options;
        vec![
            ("center_rewards_coefficient", o.center_rewards_coefficient.to_string()),
            ("ties", if o.marginal { "marginal" } else { "mean" }.to_string()),
        ]
    }

    fn judges_tokens(&self) -> bool {
        false
    }

    fn scores(&self) -> usize {
        1
    }
}
