//! Online DPO (Guo et al. 2024): two completions of the policy, the better one by their rewards is the chosen one of a pair.

use super::field::{Default, Drawn, Field, Good, Group, Kind, Metric, en};
use super::grpo::KL_BASE;
use super::table::MethodInfo;
use super::trl::fixed;
use super::{rounds as own, shared};
use crate::data::{BatchShape, Example, RowKind};
use crate::graph::{Desc, Program, Tape};
use crate::ops::loss::{DPO_LOSSES, DPO_NUMBERS, DpoLoss, DpoNumbers, METRICS, SequenceSums};
use crate::tune::config::TrainingArguments;
use crate::tune::method::{Method, Recorded, digest};
use crate::tune::metrics::Metrics;
use crate::tune::micro::Micro;
use crate::tune::rounds::{GUARDS, RoundPlan, Rounds, SHARED_METRICS, Sample};
use crate::tune::signals::Signals;
use crate::{Error, Result};

pub const INFO: MethodInfo = MethodInfo {
    name: "online_dpo",
    title: "OnlineDPO",
    learns: en("From rewards of its own answers"),
    what: en("Online DPO: of two answers that the policy writes, the one with the higher reward is preferred."),
    config: "OnlineDPOConfig",
    notes: &[
        "Guo et al. (2024). Every update asks for two completions of per_device_train_batch_size · gradient_accumulation_steps prompts. The one with the \
         higher reward is chosen, a tie goes to the first. With Δ = (ln π/π_ref of the chosen) − (ln π/π_ref of the rejected), sums over their tokens: \
         sigmoid −ln σ(β·Δ), ipo (Δ − 1/(2β))². Mean over the pairs of a micro-batch, then over micro-batches (TRL adds the micro-batches' \
         gradients).",
        "Log-probabilities are those of temperature 1, whatever completions are sampled with. objective/kl, objective/entropy, \
         objective/non_score_reward and objective/rlhf_reward are means over completions of sums over their tokens; TRL's count padding, too.",
    ],
    rows: RowKind::Rollout,
    fields: &[
        shared::beta("How tightly answers are held to the reference."),
        Field::new(
            "loss_type",
            Group::Method,
            Kind::Choice(&["sigmoid", "ipo"]),
            Default::Text("sigmoid"),
            "What is made of a pair's log ratios.",
        ),
        own::longest("max_new_tokens", 64),
        own::temperature(0.9, "Of sampling alone."),
        own::TOP_P,
        own::TOP_K,
        own::MIN_P,
        own::REPETITION_PENALTY,
        Field::new(
            "missing_eos_penalty",
            Group::Method,
            Kind::Number { low: 0.0, high: 1e6, step: 0.5 },
            Default::Unset,
            "Taken off the reward of a completion that did not end by itself.",
        ),
        own::REWARD_WEIGHTS,
        GUARDS[0],
        GUARDS[1],
        GUARDS[2],
        GUARDS[3],
        GUARDS[4],
        GUARDS[5],
        shared::REFERENCE,
    ],
    defaults: &[("per_device_train_batch_size", Default::Whole(4)), ("learning_rate", Default::Number(1e-4))],
    without: own::WITHOUT,
    fixed: &[
        fixed("max_length", &["512", "null"], "prompts are never cut, and max_new_tokens is the limit of completions"),
        fixed("reward_model_path", &["null"], "judges are handed over beside the configuration"),
        fixed("generation_kwargs", &["null", "{}"], "temperature, top_p, top_k, min_p and repetition_penalty are fields"),
        fixed("use_vllm", &["false"], ""),
    ],
    metrics: &[
        Metric::new("loss", "", Good::Down, Drawn::Alone, "Mean over the pairs; sigmoid: ln 2 where policy and reference agree."),
        KL_BASE,
        shared::ENTROPY,
        Metric::new("objective/scores", "", Good::Up, Drawn::Alone, "Mean reward."),
        Metric::new("objective/scores_margin", "", Good::Neither, Drawn::Never, "Mean of chosen minus rejected."),
        Metric::new("objective/kl", "nats", Good::Neither, Drawn::Never, "ln π − ln π_ref of whole completions."),
        Metric::new("objective/entropy", "nats", Good::Neither, Drawn::Never, "−ln π of whole completions."),
        Metric::new("objective/non_score_reward", "", Good::Neither, Drawn::Never, "−β · objective/kl."),
        Metric::new("objective/rlhf_reward", "", Good::Up, Drawn::Never, "Reward and non_score_reward."),
        Metric::new("val/contain_eos_token", "", Good::Up, Drawn::Never, "Share of completions that ended by themselves.").within(0.0, 1.0),
        Metric::new("rewards/chosen", "", Good::Up, Drawn::With("rewards"), "β · (ln π − ln π_ref) of the chosen completion."),
        Metric::new("rewards/rejected", "", Good::Neither, Drawn::With("rewards"), "The same of the rejected one."),
        Metric::new("rewards/margins", "", Good::Up, Drawn::Alone, "Chosen minus rejected."),
        Metric::new(
            "rewards/accuracies",
            "",
            Good::Up,
            Drawn::Alone,
            "Share of pairs whose chosen completion has the higher β · log ratio.",
        )
        .within(0.0, 1.0),
        Metric::new("logps/chosen", "nats", Good::Up, Drawn::Never, "Log-probability of the whole chosen completion."),
        Metric::new("logps/rejected", "nats", Good::Neither, Drawn::Never, "The same of the rejected one."),
        Metric::new("beta", "", Good::Neither, Drawn::Never, "The field."),
    ],
    more_metrics: &[&SHARED_METRICS],
    idle: |values| {
        let said = "beta is 0: the loss is the same whatever the answers are, and nothing is learned";
        (values.number("beta") == 0.0).then(|| said.to_string()).into_iter().collect()
    },
    whole: |_| false,
    build: |reader, values, rows| {
        let args = TrainingArguments::of(values);
        let longest = values.whole("max_new_tokens") as usize;
        let (prompts, _) = own::prompts(reader, rows, Some(2), 2)?;
        let rounds = Rounds::new(prompts, RoundPlan::of_prompts(&args, 2), reader.ends(), longest).needing(false, false, true);
        let (beta, ipo) = (values.number("beta"), values.text("loss_type") == "ipo");
        if ipo && beta == 0.0 {
            return Err(Error::config("beta", "is 0, and ipo divides by it"));
        }
        Ok(Box::new(OnlineDpo { rounds, beta, ipo, missing_eos_penalty: values.opt_number("missing_eos_penalty").unwrap_or(0.0) }))
    },
};

/// See the module.
pub struct OnlineDpo {
    rounds: Rounds,
    beta: f64,
    ipo: bool,
    missing_eos_penalty: f64,
}

impl OnlineDpo {
    fn score(&self, s: &Sample) -> f64 {
        s.reward - if s.cut { self.missing_eos_penalty } else { 0.0 }
    }

    /// Numbers of the chosen and the rejected completion of a pair.
    fn pair(&self, row: u32) -> [u32; 2] {
        let both = [2 * row, 2 * row + 1];
        let [first, second] = both.map(|i| self.score(self.rounds.sample(i)));
        if first >= second { both } else { [both[1], both[0]] }
    }

    fn all<'a>(&'a self, rows: &'a [u32]) -> impl Iterator<Item = &'a Sample> {
        self.samples(rows).into_iter().map(|i| self.rounds.sample(i))
    }
}

impl Method for OnlineDpo {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn digest(&self) -> String {
        digest(self.rounds.words())
    }

    fn rows(&self) -> usize {
        self.rounds.prompts().len()
    }

    /// All chosen ones, then all rejected ones.
    fn examples(&self, rows: &[u32]) -> Vec<&Example> {
        self.samples(rows).into_iter().map(|i| &self.rounds.sample(i).example).collect()
    }

    fn samples(&self, rows: &[u32]) -> Vec<u32> {
        let pairs: Vec<[u32; 2]> = rows.iter().map(|r| self.pair(*r)).collect();
        pairs.iter().map(|p| p[0]).chain(pairs.iter().map(|p| p[1])).collect()
    }

    fn record(&self, tape: &mut Tape, shape: &BatchShape, signals: &mut Signals<'_>) -> Result<Recorded> {
        let (logp, seq) = (signals.logps(tape)?, signals.seq(tape));
        let sums = tape.push1(SequenceSums::new(shape.seqs), &[logp, seq])?;
        let mut inputs = vec![sums];
        inputs.extend(["reference", "counts"].map(|name| tape.input(name, Desc::f32(&[shape.seqs]))));
        inputs.push(tape.input("weights", Desc::f32(&[shape.seqs / 2])));
        inputs.push(tape.input("numbers", Desc::f32(&[DPO_NUMBERS])));
        let out = tape.push(DpoLoss { aligned: false }, &inputs)?;
        Ok(Recorded { metrics: out[0], seeds: vec![(sums, out[1])] })
    }

    fn metric_words(&self, shape: &BatchShape) -> usize {
        METRICS * (shape.seqs / 2)
    }

    fn write(&self, program: &Program, micro: &Micro, all: &[Micro]) {
        let pairs = micro.rows.len();
        let sum = |s: &Sample| s.reference.iter().map(|l| f64::from(*l)).sum::<f64>() as f32;
        program.write("reference", &self.all(&micro.rows).map(sum).collect::<Vec<f32>>());
        // DPO's ipo divides by these: here it is of sums.
        program.write("counts", &vec![1f32; 2 * pairs]);
        program.write("weights", &vec![1f32; pairs]);
        let mut losses = [0.0; DPO_LOSSES.len()];
        losses[DPO_LOSSES.iter().position(|l| *l == if self.ipo { "ipo" } else { "sigmoid" }).expect("of the list")] = 1.0;
        let numbers = DpoNumbers {
            beta: self.beta as f32,
            label_smoothing: 0.0,
            scale: 1.0 / (pairs * all.len()) as f32,
            discopop_tau: 1.0,
            divergence: 0.0,
            f_alpha_divergence_coef: 0.5,
            sft_share: 0.0,
            losses,
        };
        program.write("numbers", &numbers.words());
    }

    fn metrics(&self, micros: &[Micro], words: &[Vec<f32>]) -> Metrics {
        let (mut loss, mut means) = (0.0, [0.0; 12]);
        for (micro, words) in micros.iter().zip(words) {
            let share = 1.0 / (micro.rows.len() * micros.len()) as f64;
            for (row, w) in micro.rows.iter().zip(words.chunks(METRICS)) {
                let at = |i: usize| f64::from(w[i]);
                let [chosen, rejected] = self.pair(*row).map(|i| self.rounds.sample(i));
                let reference = [chosen, rejected].map(|s| s.reference.iter().map(|l| f64::from(*l)).sum::<f64>());
                let scores = [chosen, rejected].map(|s| self.score(s));
                let kl = (at(3) - reference[0] + at(4) - reference[1]) / 2.0;
                let score = (scores[0] + scores[1]) / 2.0;
                let ended = [chosen, rejected].iter().filter(|s| !s.cut).count() as f64 / 2.0;
                loss += share * at(0);
                let values = [
                    score,
                    scores[0] - scores[1],
                    kl,
                    -(at(3) + at(4)) / 2.0,
                    score - self.beta * kl,
                    ended,
                    at(1),
                    at(2),
                    at(1) - at(2),
                    f64::from(u8::from(w[1] > w[2])),
                    at(3),
                    at(4),
                ];
                means.iter_mut().zip(values).for_each(|(m, v)| *m += share * v);
            }
        }
        let [score, margin, kl, entropy, rlhf, ended, chosen, rejected, margins, right, logp_chosen, logp_rejected] = means;
        let mut metrics = Metrics::new(loss);
        for (name, value) in [
            ("objective/scores", score),
            ("objective/scores_margin", margin),
            ("objective/kl", kl),
            ("objective/entropy", entropy),
            ("objective/non_score_reward", -self.beta * kl),
            ("objective/rlhf_reward", rlhf),
            ("val/contain_eos_token", ended),
            ("rewards/chosen", chosen),
            ("rewards/rejected", rejected),
            ("rewards/margins", margins),
            ("rewards/accuracies", right),
            ("logps/chosen", logp_chosen),
            ("logps/rejected", logp_rejected),
            ("beta", self.beta),
        ] {
            metrics.set(name, value);
        }
        self.rounds.report(&mut metrics);
        metrics
    }

    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![
            ("beta", self.beta.to_string()),
            ("loss_type", if self.ipo { "ipo" } else { "sigmoid" }.into()),
            ("missing_eos_penalty", self.missing_eos_penalty.to_string()),
        ]
    }

    fn rounds(&self) -> Option<&Rounds> {
        Some(&self.rounds)
    }

    fn rounds_mut(&mut self) -> Option<&mut Rounds> {
        Some(&mut self.rounds)
    }

    /// Nothing is estimated; pairs whose completions are equally good say nothing.
    fn weigh(&mut self) {
        let pairs = self.rounds.round().map_or(0, |r| r.prompts.len()) as u32;
        let score = |i: u32| self.score(self.rounds.sample(i));
        let tied = (0..pairs).filter(|p| score(2 * p) == score(2 * p + 1)).count();
        self.rounds.measure(tied as f64 / f64::from(pairs.max(1)));
    }
}
