//! Group relative policy optimization (Shao et al. 2024) and what came after it: a completion's advantage is how much better it is than the others of its
//! prompt; clipped ratios of the present policy and the one that wrote hold the step in bounds. docs/methods.md has the normalizations.

use super::field::{Default, Drawn, Field, Good, Group, Kind, Metric, Shown, en};
use super::table::MethodInfo;
use super::trl::fixed;
use super::{rounds as own, shared};
use crate::data::RowKind;
use crate::ops::loss::PolicyNumbers;
use crate::tune::config::TrainingArguments;
use crate::tune::rounds::{Estimator, GUARDS, Policy, PolicyOptions, Round, RoundPlan, Rounds, SHARED_METRICS, Share, mean_of, std_of};
use crate::tune::values::Values;

const LOSSES: [&str; 4] = ["grpo", "dr_grpo", "bnpo", "dapo"];
const SCALES: [&str; 3] = ["group", "batch", "none"];

const FIELDS: &[Field] = &[
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
        Default::Number(0.0),
        "Weight of the divergence from the reference; 0: there is none.",
    ),
    Field::new(
        "use_bias_correction_kl",
        Group::Method,
        Kind::Switch,
        Default::Switch(true),
        "The divergence is multiplied by the ratio, as DeepSeek-V3.2 has it; false: the GRPO paper's.",
    )
    .shown(Shown::Never),
    Field::new(
        "loss_type",
        Group::Method,
        Kind::Choice(&LOSSES),
        Default::Text("dapo"),
        "What a token counts: dapo, all tokens of an update the same; grpo, bnpo, dr_grpo: see docs/methods.md.",
    ),
    Field::new(
        "scale_rewards",
        Group::Method,
        Kind::Choice(&SCALES),
        Default::Text("group"),
        "Advantages are divided by the standard deviation of their group's rewards, of the round's, or by nothing.",
    ),
    Field::new(
        "importance_sampling_level",
        Group::Method,
        Kind::Choice(&["token", "sequence"]),
        Default::Text("token"),
        "A ratio for every token, or one for a whole completion (GSPO).",
    )
    .shown(Shown::Never),
    own::NUM_ITERATIONS,
    own::EPSILON,
    own::EPSILON_HIGH,
    Field::new(
        "delta",
        Group::Method,
        Kind::Number { low: 1e-6, high: 1e6, step: 0.1 },
        Default::Unset,
        "Ratios above this are cut on both sides (INTELLECT-2); not set: never.",
    )
    .shown(Shown::Never),
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
];

/// Clipping, as TRL logs it.
pub const CLIPPED: [Metric; 5] = [
    Metric::new(
        "clip_ratio/low_mean",
        "",
        Good::Neither,
        Drawn::Never,
        "Share of ratios below the clip that would have lowered a bad one further.",
    ),
    Metric::new("clip_ratio/low_min", "", Good::Neither, Drawn::Never, "The same of the completion that has the smallest share."),
    Metric::new(
        "clip_ratio/high_mean",
        "",
        Good::Neither,
        Drawn::Never,
        "Share of ratios above the clip that would have raised a good one further.",
    ),
    Metric::new("clip_ratio/high_max", "", Good::Neither, Drawn::Never, "The same of the completion that has the largest share."),
    Metric::new("clip_ratio/region_mean", "", Good::Neither, Drawn::Alone, "Share of ratios that were clipped on either side.")
        .within(0.0, 1.0),
];

/// The exact distance to the base model.
pub const KL_BASE: Metric = Metric::new(
    "kl/base",
    "nats",
    Good::Neither,
    Drawn::With("KL to the base"),
    "Distance to the base model, before the update: the Kullback–Leibler divergence KL(policy ‖ base) over the vocabulary, mean over the update's \
     judged positions. Not in TRL.",
)
.within(0.0, f64::INFINITY);

pub const INFO: MethodInfo = MethodInfo {
    name: "grpo",
    title: "GRPO",
    learns: en("From rewards of its own answers"),
    what: en("Group relative policy optimization: answers that are better than the others to the same prompt become likelier."),
    config: "GRPOConfig",
    notes: &[
        "Rounds: prompts with num_generations completions each, sampled by the policy or replayed from rows that bring completions and rewards; \
         per_device_train_batch_size counts completions, steps_per_generation micro-batches of them are a round, and each round is learned num_iterations \
         times. The last round of a pass over the rows has the prompts that are left (TRL drops them), and micro-batches are cut in order (TRL mixes the \
         completions of a round).",
        "Advantage: reward − mean of the group, divided (scale_rewards) by the group's or the round's standard deviation (with n − 1) + 1e-4. Loss of a \
         token: −min(ρA, clip(ρ)A) + β·k, ρ the ratio of the present policy and the one that wrote, k = exp(d) − d − 1 with d = ln π_ref − ln \
         π, times ρ with use_bias_correction_kl. loss_type: grpo, mean over completions of the mean over their tokens; bnpo, mean over the micro-batch's \
         tokens; dr_grpo (Liu et al. 2025), sum over completions · max_completion_length; these three, means over micro-batches; dapo (Yu et al. 2025), \
         sum over all tokens of an update. importance_sampling_level sequence: Zheng et al. (2025).",
        "Rewards and completions (reward, completions/…) are those of the round, in each of its updates; kl is there where beta is not 0. A judge's name \
         stands in rewards/NAME/mean and rewards/NAME/std.",
    ],
    rows: RowKind::Rollout,
    fields: FIELDS,
    defaults: &[
        // A group of eight.
        ("per_device_train_batch_size", Default::Whole(8)),
        ("learning_rate", Default::Number(1e-4)),
    ],
    without: own::WITHOUT,
    fixed: &[
        fixed("sync_ref_model", &["false"], "TRL refuses it for adapters, too"),
        fixed("num_generations_eval", &["null"], "there are no rows for evaluation"),
        fixed("multi_objective_aggregation", &["\"sum_then_normalize\""], "rewards are added, then normalized"),
        fixed("top_entropy_quantile", &["1"], ""),
        fixed("entropy_coef", &["0"], ""),
        fixed("use_adaptive_entropy", &["false"], ""),
        fixed("off_policy_mask_threshold", &["null"], ""),
        fixed("max_tool_calling_iterations", &["null"], ""),
        fixed("generation_kwargs", &["null", "{}"], "temperature, top_p, top_k, min_p and repetition_penalty are fields"),
        fixed("chat_template_kwargs", &["null", "{}"], "it is a column of the rows"),
        fixed("cast_lm_head_to_fp32", &["false"], ""),
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
        Metric::new("kl", "nats", Good::Neither, Drawn::Alone, "Mean of k over the judged tokens, where beta is not 0.")
            .within(0.0, f64::INFINITY),
    ],
    more_metrics: &[&CLIPPED, &SHARED_METRICS],
    idle: |_| Vec::new(),
    whole: |_| false,
    build: |reader, values, rows| {
        let args = TrainingArguments::of(values);
        let longest = values.whole("max_completion_length") as usize;
        let (prompts, generations) = own::prompts(reader, rows, own::size(values, "num_generations"), 8)?;
        let iterations = values.whole("num_iterations") as usize;
        let [steps, size] = ["steps_per_generation", "generation_batch_size"].map(|name| values.opt_whole(name));
        let plan = RoundPlan::of_completions(&args, generations, iterations, steps, size)?;
        let options = options(values, &plan);
        let rounds = Rounds::new(prompts, plan, reader.ends(), longest).needing(
            values.switch("mask_truncated_completions"),
            !options.numbers.fresh,
            options.numbers.beta != 0.0,
        );
        Ok(Box::new(Policy::new(rounds, options, Box::new(Grpo::read(values, longest)))))
    },
};

fn options(values: &Values, plan: &RoundPlan) -> PolicyOptions {
    let numbers = PolicyNumbers {
        clip: own::clip(values),
        delta: values.opt_number("delta").map_or(f32::MAX, |d| d as f32),
        beta: values.number("beta") as f32,
        corrected: values.switch("use_bias_correction_kl"),
        sequence: values.text("importance_sampling_level") == "sequence",
        fresh: plan.is_fresh(),
    };
    PolicyOptions { numbers, temperature: values.number("temperature") }
}

/// GRPO's advantages and weights of tokens.
#[derive(Clone, Copy, Debug)]
struct Grpo {
    /// Places in the lists above.
    loss: usize,
    scale: usize,
    max_completion_length: usize,
    corrected: bool,
    sequence: bool,
    beta: f64,
}

impl Grpo {
    fn read(values: &Values, longest: usize) -> Grpo {
        let place = |list: &[&str], name: &str| list.iter().position(|l| *l == values.text(name)).unwrap_or(0);
        Grpo {
            loss: place(&LOSSES, "loss_type"),
            scale: place(&SCALES, "scale_rewards"),
            max_completion_length: longest,
            corrected: values.switch("use_bias_correction_kl"),
            sequence: values.text("importance_sampling_level") == "sequence",
            beta: values.number("beta"),
        }
    }
}

/// Below this a standard deviation is none (`torch.isclose`).
pub(super) const FLAT: f64 = 1e-8;

impl Estimator for Grpo {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn advantages(&self, round: &mut Round, generations: usize) -> f64 {
        let all: Vec<f64> = round.samples.iter().map(|s| s.reward).collect();
        let batch = std_of(&all);
        let mut flat = 0;
        for group in round.samples.chunks_mut(generations) {
            let rewards: Vec<f64> = group.iter().map(|s| s.reward).collect();
            let mean = mean_of(&rewards);
            let std = if SCALES[self.scale] == "batch" { batch } else { std_of(&rewards) };
            flat += if std <= FLAT { group.len() } else { 0 };
            let divisor = if SCALES[self.scale] == "none" { 1.0 } else { std + 1e-4 };
            group.iter_mut().for_each(|s| s.advantage = (s.reward - mean) / divisor);
        }
        flat as f64 / round.samples.len().max(1) as f64
    }

    fn weight(&self, n: usize, share: &Share) -> f64 {
        let micros = share.micros as f64;
        match LOSSES[self.loss] {
            "grpo" => 1.0 / (n.max(1) as f64 * share.completions as f64 * micros),
            "bnpo" => 1.0 / (share.tokens.max(1) as f64 * micros),
            "dr_grpo" => 1.0 / (share.completions as f64 * self.max_completion_length as f64 * micros),
            _ => 1.0 / share.update_tokens.max(1.0),
        }
    }

    fn step(&self, n: usize) -> f64 {
        1.0 / n.max(1) as f64
    }

    fn arguments(&self) -> Vec<(&'static str, String)> {
        vec![
            ("loss_type", LOSSES[self.loss].to_string()),
            ("scale_rewards", SCALES[self.scale].to_string()),
            ("max_completion_length", self.max_completion_length.to_string()),
            ("importance_sampling_level", if self.sequence { "sequence" } else { "token" }.into()),
            ("beta", self.beta.to_string()),
            ("use_bias_correction_kl", self.corrected.to_string()),
        ]
    }
}
