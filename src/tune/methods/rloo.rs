//! REINFORCE leave-one-out (Ahmadian et al. 2024): a completion's advantage is its reward less the mean of the others to its prompt; the divergence from
//! the reference is part of the reward, and whole completions are actions.

use super::field::{Default, Drawn, Field, Good, Group, Kind, Metric, Shown, en};
use super::grpo::{CLIPPED, FLAT, KL_BASE};
use super::table::MethodInfo;
use super::trl::fixed;
use super::{rounds as own, shared};
use crate::data::RowKind;
use crate::ops::loss::PolicyNumbers;
use crate::tune::config::TrainingArguments;
use crate::tune::metrics::Metrics;
use crate::tune::rounds::{
    Estimator, GUARDS, Policy, PolicyOptions, Round, RoundPlan, Rounds, SHARED_METRICS, Sample, Share, mean_of, std_of,
};
use crate::tune::values::Values;
use crate::{Error, Result};

pub const INFO: MethodInfo = MethodInfo {
    name: "rloo",
    title: "RLOO",
    learns: en("From rewards of its own answers"),
    what: en("REINFORCE leave-one-out: answers become likelier as far as they are better than the mean of the others to the same prompt."),
    config: "RLOOConfig",
    notes: &[
        "Rounds are those of GRPO. R′ = clip(reward) − beta · Σ (ln π − ln π_ref) over the completion's tokens, of the policy that wrote it; \
         advantage: R′ − mean of the other completions' R′; with normalize_advantages less the round's mean, over its standard deviation (with n − \
         1) + 1e-4. Loss: −min(ρA, clip(ρ)A), ρ the ratio of the whole completion's probabilities; mean over completions.",
        "kl is the mean of ln π − ln π_ref over the round's tokens, and may be negative; reward is told before it is taken off, frac_reward_zero_std \
         behind it, as in TRL.",
    ],
    rows: RowKind::Rollout,
    fields: &[
        own::NUM_GENERATIONS,
        own::longest("max_completion_length", 256),
        own::temperature(1.0, "Logits are divided by it, in sampling and in all that is learned."),
        own::TOP_P,
        own::TOP_K,
        own::MIN_P,
        own::REPETITION_PENALTY,
        Field::new(
            "beta",
            Group::Method,
            Kind::Number { low: 0.0, high: 1e6, step: 0.01 },
            Default::Number(0.05),
            "What a nat of divergence from the reference takes off the reward; 0: nothing.",
        ),
        Field::new(
            "normalize_advantages",
            Group::Method,
            Kind::Switch,
            Default::Switch(false),
            "Advantages of a round have the mean 0 and the standard deviation 1.",
        ),
        Field::new("reward_clip_range", Group::Method, Kind::Numbers, Default::Unset, "Rewards are held between these two numbers.")
            .shown(Shown::Never),
        own::NUM_ITERATIONS,
        own::EPSILON,
        own::EPSILON_HIGH,
        own::MASK_TRUNCATED,
        own::STEPS_PER_GENERATION,
        own::GENERATION_BATCH_SIZE,
        own::REWARD_WEIGHTS,
        GUARDS[0],
        GUARDS[1],
        GUARDS[2],
        GUARDS[3],
        GUARDS[4],
        GUARDS[5],
        own::SHUFFLE_DATASET,
        shared::REFERENCE,
    ],
    defaults: &[("per_device_train_batch_size", Default::Whole(8)), ("learning_rate", Default::Number(1e-4))],
    without: own::WITHOUT,
    fixed: &[
        fixed("sync_ref_model", &["false"], "TRL refuses it for adapters, too"),
        fixed("num_generations_eval", &["null"], "there are no rows for evaluation"),
        fixed("generation_kwargs", &["null", "{}"], "temperature, top_p, top_k, min_p and repetition_penalty are fields"),
        fixed("chat_template_kwargs", &["null", "{}"], "it is a column of the rows"),
        fixed("use_vllm", &["false"], ""),
        fixed("use_transformers_continuous_batching", &["false"], ""),
        fixed("use_transformers_paged", &["false"], ""),
    ],
    metrics: &[
        Metric::new(
            "loss",
            "",
            Good::Neither,
            Drawn::Alone,
            "About 0 at a round's first update, whatever is learned from it: watch reward.",
        ),
        KL_BASE,
        shared::ENTROPY,
        Metric::new("kl", "nats", Good::Neither, Drawn::Alone, "Mean of ln π − ln π_ref over the round's tokens, where beta is not 0."),
    ],
    more_metrics: &[&CLIPPED, &SHARED_METRICS],
    idle: |_| Vec::new(),
    whole: |_| false,
    build: |reader, values, rows| {
        let args = TrainingArguments::of(values);
        let longest = values.whole("max_completion_length") as usize;
        let (prompts, generations) = own::prompts(reader, rows, own::size(values, "num_generations"), 2)?;
        let iterations = values.whole("num_iterations") as usize;
        let [steps, size] = ["steps_per_generation", "generation_batch_size"].map(|name| values.opt_whole(name));
        let plan = RoundPlan::of_completions(&args, generations, iterations, steps, size)?;
        let estimator = Rloo::read(values, longest)?;
        let numbers = PolicyNumbers {
            clip: own::clip(values),
            delta: f32::MAX,
            // It is in the reward.
            beta: 0.0,
            corrected: false,
            sequence: true,
            fresh: plan.is_fresh(),
        };
        let (old, reference) = (!numbers.fresh || estimator.beta != 0.0, estimator.beta != 0.0);
        let rounds =
            Rounds::new(prompts, plan, reader.ends(), longest).needing(values.switch("mask_truncated_completions"), old, reference);
        let options = PolicyOptions { numbers, temperature: values.number("temperature") };
        Ok(Box::new(Policy::new(rounds, options, Box::new(estimator))))
    },
};

/// RLOO's advantages.
#[derive(Clone, Copy, Debug)]
struct Rloo {
    beta: f64,
    normalize: bool,
    clip: Option<[f64; 2]>,
    max_completion_length: usize,
}

impl Rloo {
    fn read(values: &Values, longest: usize) -> Result<Rloo> {
        let clip = match values.opt_numbers("reward_clip_range").as_deref() {
            None => None,
            Some([low, high]) if low <= high => Some([*low, *high]),
            Some(other) => {
                return Err(Error::config("reward_clip_range", format!("is {other:?}, expected two numbers, the smaller one first")));
            }
        };
        Ok(Rloo { beta: values.number("beta"), normalize: values.switch("normalize_advantages"), clip, max_completion_length: longest })
    }

    /// Σ (ln π − ln π_ref) of a completion.
    fn divergence(s: &Sample) -> f64 {
        let sum = |v: &[f32]| v.iter().map(|l| f64::from(*l)).sum::<f64>();
        sum(&s.old) - sum(&s.reference)
    }
}

impl Estimator for Rloo {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn advantages(&self, round: &mut Round, generations: usize) -> f64 {
        let reward = |s: &Sample| {
            let own = self.clip.map_or(s.reward, |[low, high]| s.reward.clamp(low, high));
            if self.beta == 0.0 { own } else { own - self.beta * Rloo::divergence(s) }
        };
        let mut flat = 0;
        for group in round.samples.chunks_mut(generations) {
            let rewards: Vec<f64> = group.iter().map(reward).collect();
            let sum: f64 = rewards.iter().sum();
            flat += if std_of(&rewards) <= FLAT { group.len() } else { 0 };
            for (s, r) in group.iter_mut().zip(rewards) {
                s.advantage = r - (sum - r) / (generations - 1) as f64;
            }
        }
        if self.normalize {
            let all: Vec<f64> = round.samples.iter().map(|s| s.advantage).collect();
            let (mean, std) = (mean_of(&all), std_of(&all));
            round.samples.iter_mut().for_each(|s| s.advantage = (s.advantage - mean) / (std + 1e-4));
        }
        flat as f64 / round.samples.len().max(1) as f64
    }

    fn weight(&self, n: usize, share: &Share) -> f64 {
        1.0 / (n.max(1) * share.completions * share.micros) as f64
    }

    fn masked_loss(&self, advantage: f64, share: &Share) -> f64 {
        -advantage / (share.completions * share.micros) as f64
    }

    fn report(&self, round: &Round, metrics: &mut Metrics) {
        if self.beta != 0.0 {
            let tokens: usize = round.samples.iter().map(Sample::judged).sum();
            metrics.set("kl", round.samples.iter().map(Rloo::divergence).sum::<f64>() / tokens.max(1) as f64);
        }
    }

    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![
            ("beta", self.beta.to_string()),
            ("normalize_advantages", self.normalize.to_string()),
            ("reward_clip_range", self.clip.map_or_else(|| "unset".into(), |c| format!("{c:?}"))),
            ("max_completion_length", self.max_completion_length.to_string()),
        ]
    }
}
