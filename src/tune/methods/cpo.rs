//! Contrastive preference optimization (Xu et al. 2024) with SimPO (Meng et al. 2024) and AlphaPO: preferences without a reference policy, and
//! imitation of the chosen answers beside them. Means over the pairs (the imitation: over the tokens) of a micro-batch, then over the micro-batches of
//! an update; so are the metrics.

use super::field::{Default, Drawn, Field, Good, Group, Kind, Metric, Shown, en};
use super::shared;
use super::table::MethodInfo;
use super::trl::fixed;
use crate::data::{BatchShape, Example, Pair, RowKind};
use crate::graph::{Desc, Program, Tape};
use crate::ops::loss::{CPO_LOSSES, CPO_NUMBERS, CpoLoss, METRICS, SequenceSums};
use crate::tune::idle::smoothed_away;
use crate::tune::method::{Method, Recorded, digest};
use crate::tune::metrics::Metrics;
use crate::tune::micro::Micro;
use crate::tune::signals::Signals;
use crate::tune::values::Values;
use crate::{Error, Result};

pub const INFO: MethodInfo = MethodInfo {
    name: "cpo",
    title: "CPO",
    learns: en("From rankings, no reference, with imitation"),
    what: en(
        "Contrastive preference optimization, and SimPO: prefers the better of two answers without a reference policy, and imitates it.",
    ),
    config: "CPOConfig",
    notes: &[
        "With x the answer's summed log-probability (ipo, simpo: its mean over tokens), z = x of the chosen answer minus x of the rejected one, \
         ε = label_smoothing: sigmoid −(1−ε)·ln σ(βz) − ε·ln σ(−βz), hinge max(0, 1 − βz), ipo (z − 1/(2β))², simpo as sigmoid with βz − simpo_gamma; \
         each plus cpo_alpha times the chosen answers' negative log-likelihood, a mean over the tokens of a micro-batch.",
        "SimPO as its paper has it is loss_type simpo with cpo_alpha 0; loss_type simpo by itself is CPO-SimPO, as in TRL. alphapo is simpo with \
         cpo_alpha 0 and (1 − exp(−alpha·x))/alpha in place of x; until alpha is given it is plain SimPO.",
        "rewards/* are β·x. TRL's logits/* average over padding and are left out.",
    ],
    rows: RowKind::Preference,
    fields: &[
        shared::beta("How sharply the two answers are told apart. SimPO: 2."),
        Field::new(
            "cpo_alpha",
            Group::Method,
            Kind::Number { low: 0.0, high: 1e6, step: 0.1 },
            Default::Number(1.0),
            "Weight of imitating the chosen answers.",
        ),
        Field::new(
            "loss_type",
            Group::Method,
            Kind::Choice(&["sigmoid", "hinge", "ipo", "simpo", "alphapo"]),
            Default::Text("sigmoid"),
            "What is made of the two answers' log-probabilities.",
        ),
        Field::new(
            "label_smoothing",
            Group::Method,
            Kind::Number { low: 0.0, high: 0.5, step: 0.05 },
            Default::Number(0.0),
            "Share of rankings taken to be mistaken, of sigmoid and simpo.",
        )
        .shown(Shown::Never),
        Field::new(
            "simpo_gamma",
            Group::Method,
            Kind::Number { low: 0.0, high: 1e6, step: 0.1 },
            Default::Number(0.5),
            "SimPO: by how much the chosen answer's reward must be the larger one.",
        ),
        Field::new(
            "alpha",
            Group::Method,
            Kind::Number { low: -100.0, high: 100.0, step: 0.05 },
            Default::Number(0.0),
            "AlphaPO: bends the log-probabilities; 0: not at all.",
        )
        .shown(Shown::Never),
    ],
    defaults: &[("learning_rate", Default::Number(1e-4))],
    without: &[],
    fixed: &[fixed("is_encoder_decoder", &["null", "false"], ""), fixed("generate_during_eval", &["false"], "")],
    metrics: &[
        Metric::new("loss", "nats", Good::Down, Drawn::Alone, "The preference's loss plus cpo_alpha · nll_loss."),
        shared::KL,
        shared::ENTROPY,
        Metric::new(
            "rewards/chosen",
            "",
            Good::Up,
            Drawn::With("rewards"),
            "β · log-probability of the chosen answer (ipo, simpo: per token).",
        ),
        Metric::new("rewards/rejected", "", Good::Neither, Drawn::With("rewards"), "The same of the rejected answer."),
        Metric::new("rewards/margins", "", Good::Up, Drawn::Alone, "Chosen minus rejected."),
        Metric::new("rewards/accuracies", "", Good::Up, Drawn::Alone, "Share of pairs whose chosen answer has the higher reward.")
            .within(0.0, 1.0),
        Metric::new("logps/chosen", "nats", Good::Up, Drawn::Never, "Log-probability of the chosen answer (ipo, simpo: per token)."),
        Metric::new("logps/rejected", "nats", Good::Neither, Drawn::Never, "The same of the rejected answer."),
        Metric::new("nll_loss", "nats", Good::Down, Drawn::Alone, "Mean negative log-likelihood of the chosen answers' tokens."),
    ],
    more_metrics: &[],
    idle: |values| {
        let said = match (values.number("beta"), values.number("cpo_alpha")) {
            (0.0, 0.0) => Some("beta and cpo_alpha are 0: nothing is learned".to_string()),
            (0.0, _) => Some("beta is 0: nothing is learned from the rejected answers".into()),
            _ => None,
        };
        said.into_iter().chain(smoothed_away(values)).collect()
    },
    whole: |_| false,
    build: |reader, values, rows| Ok(Box::new(Cpo::new(reader.preferences(rows)?, CpoOptions::read(values)?)?)),
};

/// What the loss is made of.
#[derive(Clone, Copy, Debug)]
pub struct CpoOptions {
    pub beta: f64,
    /// A place in [`CPO_LOSSES`].
    pub loss: usize,
    pub cpo_alpha: f64,
    pub label_smoothing: f64,
    pub simpo_gamma: f64,
    pub alpha: f64,
}

impl CpoOptions {
    fn read(v: &Values) -> Result<CpoOptions> {
        let name = v.text("loss_type");
        let alphapo = name == "alphapo";
        let loss = CPO_LOSSES.iter().position(|l| *l == if alphapo { "simpo" } else { name }).unwrap_or(0);
        let beta = v.number("beta");
        if beta == 0.0 && name == "ipo" {
            return Err(Error::config("beta", "is 0, and ipo divides by it"));
        }
        Ok(CpoOptions {
            beta,
            loss,
            cpo_alpha: if alphapo { 0.0 } else { v.number("cpo_alpha") },
            label_smoothing: v.number("label_smoothing"),
            simpo_gamma: v.number("simpo_gamma"),
            alpha: v.number("alpha"),
        })
    }
}

/// See the module.
pub struct Cpo {
    pairs: Vec<Pair>,
    options: CpoOptions,
}

impl Cpo {
    /// # Errors
    /// [`Error::BadConfig`] for a pair with a weight: the loss has none.
    pub fn new(pairs: Vec<Pair>, options: CpoOptions) -> Result<Cpo> {
        if let Some(p) = pairs.iter().find(|p| p.weight != 1.0) {
            return Err(Error::config("weight", format!("is {} in a row; CPO has no weights of pairs: leave the column out", p.weight)));
        }
        Ok(Cpo { pairs, options })
    }

    /// Tokens of the chosen answers of some rows.
    fn chosen_tokens(&self, rows: &[u32]) -> usize {
        rows.iter().map(|r| self.pairs[*r as usize].chosen.counted()).sum()
    }
}

impl Method for Cpo {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn digest(&self) -> String {
        digest(self.pairs.iter().flat_map(|p| [&p.chosen.ids, &p.chosen.labels, &p.rejected.ids, &p.rejected.labels].map(Vec::clone)))
    }

    fn rows(&self) -> usize {
        self.pairs.len()
    }

    /// All chosen, then all rejected.
    fn examples(&self, rows: &[u32]) -> Vec<&Example> {
        let pair = |r: &u32| &self.pairs[*r as usize];
        rows.iter().map(|r| &pair(r).chosen).chain(rows.iter().map(|r| &pair(r).rejected)).collect()
    }

    fn record(&self, tape: &mut Tape, shape: &BatchShape, signals: &mut Signals<'_>) -> Result<Recorded> {
        let (logp, seq) = (signals.logps(tape)?, signals.seq(tape));
        let sums = tape.push1(SequenceSums::new(shape.seqs), &[logp, seq])?;
        let counts = tape.input("counts", Desc::f32(&[shape.seqs]));
        let numbers = tape.input("numbers", Desc::f32(&[CPO_NUMBERS]));
        let out = tape.push(CpoLoss, &[sums, counts, numbers])?;
        Ok(Recorded { metrics: out[0], seeds: vec![(sums, out[1])] })
    }

    fn metric_words(&self, shape: &BatchShape) -> usize {
        METRICS * (shape.seqs / 2)
    }

    fn arguments(&self) -> Vec<(&'static str, String)> {
        let o = &self.options;
        vec![
            ("beta", o.beta.to_string()),
            ("loss_type", CPO_LOSSES[o.loss].to_string()),
            ("cpo_alpha", o.cpo_alpha.to_string()),
            ("label_smoothing", o.label_smoothing.to_string()),
            ("simpo_gamma", o.simpo_gamma.to_string()),
            ("alpha", o.alpha.to_string()),
        ]
    }

    fn write(&self, program: &Program, micro: &Micro, all: &[Micro]) {
        let o = &self.options;
        let counts: Vec<f32> = self.examples(&micro.rows).iter().map(|e| e.counted() as f32).collect();
        program.write("counts", &counts);
        let (pairs, micros) = (micro.rows.len() as f32, all.len() as f32);
        let imitation = o.cpo_alpha as f32 / (self.chosen_tokens(&micro.rows).max(1) as f32 * micros);
        let scale = 1.0 / (pairs * micros);
        let [beta, smoothing, gamma, alpha] = [o.beta, o.label_smoothing, o.simpo_gamma, o.alpha].map(|v| v as f32);
        program.write("numbers", &[beta, smoothing, scale, imitation, o.loss as f32, gamma, alpha]);
    }

    fn metrics(&self, micros: &[Micro], words: &[Vec<f32>]) -> Metrics {
        let (mut nll, mut means) = (0.0, [0.0; 6]);
        for (micro, words) in micros.iter().zip(words) {
            let tokens = self.chosen_tokens(&micro.rows).max(1);
            let share = 1.0 / (micro.rows.len() * micros.len()) as f64;
            for w in words.chunks(METRICS).take(micro.rows.len()) {
                let at = |i: usize| f64::from(w[i]);
                nll += at(5) / (tokens * micros.len()) as f64;
                let values = [at(0), at(1), at(2), f64::from(u8::from(w[1] > w[2])), at(3), at(4)];
                means.iter_mut().zip(values).for_each(|(m, v)| *m += share * v);
            }
        }
        let [loss, chosen, rejected, right, logp_chosen, logp_rejected] = means;
        let mut metrics = Metrics::new(loss + self.options.cpo_alpha * nll);
        for (name, value) in [
            ("rewards/chosen", chosen),
            ("rewards/rejected", rejected),
            ("rewards/margins", chosen - rejected),
            ("rewards/accuracies", right),
            ("logps/chosen", logp_chosen),
            ("logps/rejected", logp_rejected),
            ("nll_loss", nll),
        ] {
            metrics.set(name, value);
        }
        metrics
    }
}
