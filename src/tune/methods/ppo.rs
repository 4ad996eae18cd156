//! Proximal policy optimization (Schulman et al. 2017; Ziegler et al. 2019; Ouyang et al. 2022): a critic foresees at every token what the answer will
//! be worth, and the policy makes those tokens likelier that turned out better. Policy and critic are two adapters on one base, learned together.

use std::rc::Rc;

use super::field::{Default, Drawn, Field, Good, Group, Kind, Metric, Shown, en};
use super::grpo::KL_BASE;
use super::table::MethodInfo;
use super::trl::fixed;
use super::{rounds as own, shared};
use crate::data::RowKind;
use crate::tune::config::TrainingArguments;
use crate::tune::gae::Gae;
use crate::tune::rounds::{Adaptive, GUARDS, Ppo, PpoOptions, RoundPlan, Rounds, UNGROUPED_METRICS};
use crate::tune::values::Values;
use crate::{Error, Result};

const fn number(low: f64, high: f64, step: f64) -> Kind {
    Kind::Number { low, high, step }
}

const FIELDS: &[Field] = &[
    Field::new(
        "num_ppo_epochs",
        Group::Method,
        Kind::Whole { low: 1, high: 1000 },
        Default::Whole(4),
        "How often a round is learned before the next one is sampled.",
    ),
    Field::new(
        "num_mini_batches",
        Group::Method,
        Kind::Whole { low: 1, high: 1 << 20 },
        Default::Whole(1),
        "Updates into which a round is split.",
    ),
    own::longest("response_length", 53),
    own::temperature(0.7, "Logits are divided by it, in sampling and in all that is learned."),
    Field::new("kl_coef", Group::Method, number(0.0, 1e6, 0.01), Default::Number(0.05), "Weight of the divergence from the reference, of every token."),
    Field::new("kl_estimator", Group::Method, Kind::Choice(&["k1", "k3"]), Default::Text("k1"), "How that divergence is estimated from a token.")
        .shown(Shown::Never),
    Field::new(
        "adap_kl_ctrl",
        Group::Method,
        Kind::Switch,
        Default::Switch(false),
        "kl_coef grows where the divergence is above target, and falls where it is below. As TRL had it before its version 0.12.",
    )
    .shown(Shown::Never),
    Field::new("target", Group::Method, number(1e-9, 1e9, 0.5), Default::Number(6.0), "Divergence of a whole answer that adap_kl_ctrl aims at, in nats.")
        .shown(Shown::Never),
    Field::new("horizon", Group::Method, number(1.0, 1e12, 1000.0), Default::Number(10_000.0), "Answers over which adap_kl_ctrl acts.")
        .shown(Shown::Never),
    Field::new(
        "cliprange",
        Group::Method,
        number(0.0, 1.0, 0.05),
        Default::Number(0.2),
        "Ratios of the present policy and the one that wrote stop learning outside 1 ± this.",
    ),
    Field::new("vf_coef", Group::Method, number(0.0, 1e6, 0.05), Default::Number(0.1), "Weight of the critic's loss."),
    Field::new("cliprange_value", Group::Method, number(0.0, 1e6, 0.05), Default::Number(0.2), "How far a value may move in a round."),
    Field::new("gamma", Group::Method, number(0.0, 1.0, 0.01), Default::Number(1.0), "What a reward counts one token earlier."),
    Field::new("lam", Group::Method, number(0.0, 1.0, 0.01), Default::Number(0.95), "How far advantages look ahead: 0, one token; 1, to the end."),
    Field::new("whiten_rewards", Group::Method, Kind::Switch, Default::Switch(false), "Rewards are divided by their standard deviation over a round.")
        .shown(Shown::Never),
    Field::new(
        "missing_eos_penalty",
        Group::Method,
        number(0.0, 1e6, 0.5),
        Default::Unset,
        "Taken from the score of an answer that did not end by itself.",
    ),
    Field::new(
        "init_critic",
        Group::Method,
        Kind::Text,
        Default::Unset,
        "Reward model that the critic starts from: an adapter's name, on the command line its folder. Not set: a new adapter with a new head.",
    )
    .shown(Shown::Never),
    own::REWARD_WEIGHTS,
    GUARDS[0],
    GUARDS[1],
    GUARDS[2],
    GUARDS[3],
    GUARDS[4],
    GUARDS[5],
    shared::REFERENCE,
];

pub const INFO: MethodInfo = MethodInfo {
    name: "ppo",
    title: "PPO",
    learns: en("From rewards of its own answers, with a critic"),
    what: en(
        "Proximal policy optimization: a critic foresees what an answer will be worth, and tokens that turn out better become likelier.",
    ),
    config: "PPOConfig",
    notes: &[
        "Rounds: per_device_train_batch_size · gradient_accumulation_steps prompts with one answer each, sampled by the policy or replayed from rows that \
         bring a response and a score. A round is split into num_mini_batches updates, in order (TRL mixes it, and with both num_mini_batches and \
         accumulation makes fewer updates than mini-batches), and learned num_ppo_epochs times. One record is one update.",
        "A token's reward is −kl_coef·k, k = −d (k1) or exp(d) − 1 − d (k3) with d = ln π_ref − ln π_old. The score, less missing_eos_penalty, \
         is given at the place behind the last token, where the critic is asked once more; with a response that fills response_length, at the last token. \
         Advantages: generalized advantage estimation over the places, nothing is expected behind them; whitened over the round's tokens. Loss: the mean \
         over tokens of max(−Aρ, −A·clip(ρ)) plus vf_coef times half the mean over places of max((v − R)², (clip(v) − R)²). Log-probabilities \
         are of logits divided by temperature + 1e-7.",
        "Policy and critic are adapters on the same frozen base (in TRL the critic is a second model), updated together. The critic is kept beside the \
         policy as NAME.critic, on the command line in OUT/critic.",
        "objective/… are the round's. policy/approxkl_avg, policy/entropy_avg and val/ratio are means over the tokens that are there; TRL's are over \
         padding, too. The rate follows the updates; TRL's the rounds.",
    ],
    rows: RowKind::Rollout,
    fields: FIELDS,
    defaults: &[
        ("per_device_train_batch_size", Default::Whole(8)),
        ("learning_rate", Default::Number(1e-4)),
        // TRL never applies it.
        ("max_grad_norm", Default::Number(0.0)),
    ],
    without: own::WITHOUT,
    fixed: &[
        fixed("total_episodes", &["null"], "num_train_epochs or max_steps say how long; an update is not a round"),
        fixed("stop_token", &["null", "\"eos\"", "\"<STOP_TOKEN>\""], "an answer ends where the model's turns end"),
        fixed("stop_token_id", &["null"], "an answer ends where the model's turns end"),
        fixed("num_sample_generations", &["10", "0"], "nothing is sampled but the rounds"),
        fixed("reward_model_path", &["\"EleutherAI/pythia-160m\""], "judges are handed over beside the configuration"),
        fixed("sft_model_path", &["\"EleutherAI/pythia-160m\""], "the model is handed over beside the configuration"),
        fixed("mini_batch_size", &["null"], "num_mini_batches says it"),
        fixed("local_batch_size", &["null"], ""),
        fixed("local_mini_batch_size", &["null"], ""),
        fixed("num_total_batches", &["null"], ""),
        fixed("world_size", &["null"], ""),
    ],
    metrics: &[
        Metric::new("loss", "", Good::Neither, Drawn::Alone, "loss/policy_avg + vf_coef · loss/value_avg."),
        KL_BASE,
        shared::ENTROPY,
        Metric::new("loss/policy_avg", "", Good::Neither, Drawn::With("losses"), "Of the policy."),
        Metric::new("loss/value_avg", "", Good::Down, Drawn::With("losses"), "Of the critic."),
        Metric::new(
            "policy/approxkl_avg",
            "nats",
            Good::Neither,
            Drawn::Alone,
            "Half the mean square of ln ρ: how far this round has moved the policy.",
        )
        .within(0.0, f64::INFINITY),
        Metric::new("policy/clipfrac_avg", "", Good::Neither, Drawn::With("clipped"), "Share of tokens whose ratio is clipped.")
            .within(0.0, 1.0),
        Metric::new("val/clipfrac_avg", "", Good::Neither, Drawn::With("clipped"), "Share of values that are clipped.").within(0.0, 1.0),
        Metric::new("val/ratio", "", Good::Neither, Drawn::Never, "Mean of ρ."),
        Metric::new(
            "objective/kl",
            "nats",
            Good::Neither,
            Drawn::Alone,
            "Estimated divergence of an answer from the reference, mean of the round.",
        ),
        Metric::new("objective/entropy", "nats", Good::Neither, Drawn::Never, "Mean of −ln p of an answer."),
        Metric::new("objective/non_score_reward", "", Good::Neither, Drawn::Never, "−kl_coef · divergence, mean of the round."),
        Metric::new("objective/rlhf_reward", "", Good::Up, Drawn::With("objective"), "Score and that together."),
        Metric::new("objective/scores", "", Good::Up, Drawn::With("objective"), "Mean score, missing_eos_penalty taken off."),
        Metric::new("objective/kl_coef", "", Good::Neither, Drawn::Never, "What the round was weighed with. Not in TRL."),
        Metric::new("val/num_eos_tokens", "", Good::Neither, Drawn::Never, "Ends in the round's answers."),
    ],
    more_metrics: &[UNGROUPED_METRICS, &[Metric::new("policy/entropy_avg", "nats", Good::Neither, Drawn::Never, "TRL's name of entropy.")]],
    idle: |values| (values.number("vf_coef") == 0.0).then(|| "vf_coef is 0: the critic learns nothing".to_string()).into_iter().collect(),
    whole: |_| false,
    build: |reader, values, rows| {
        let args = TrainingArguments::of(values);
        let longest = values.whole("response_length") as usize;
        let prompts = reader.prompts(rows)?;
        for p in &prompts {
            let completions = p.recorded.as_ref().map_or(&[][..], |r| &r.completions);
            if completions.len() > 1 {
                let message = format!("completion_ids has {} completions; PPO learns from one of each prompt", completions.len());
                return Err(Error::BadRow { row: p.row, message });
            }
            if let Some(long) = completions.iter().find(|c| c.len() > longest) {
                let message = format!("response_ids has {} tokens, response_length is {longest}", long.len());
                return Err(Error::BadRow { row: p.row, message });
            }
        }
        let rounds = Rounds::new(prompts, plan(&args, values)?, reader.ends(), longest).needing(false, true, true);
        Ok(Box::new(Ppo::new(rounds, options(values, longest))))
    },
};

/// A round, and the mini-batches that are its updates.
fn plan(args: &TrainingArguments, values: &Values) -> Result<RoundPlan> {
    let prompts = args.per_device_train_batch_size * args.gradient_accumulation_steps;
    let parts = values.whole("num_mini_batches") as usize;
    if !prompts.is_multiple_of(parts) {
        let message = format!(
            "is {parts}: a round of {prompts} prompts (per_device_train_batch_size · gradient_accumulation_steps) cannot be split into so many"
        );
        return Err(Error::config("num_mini_batches", message));
    }
    let mini = prompts / parts;
    let batch = args.per_device_train_batch_size.min(mini);
    if !mini.is_multiple_of(batch) {
        let message = format!("is {batch}: a mini-batch has {mini} prompts, no multiple of it");
        return Err(Error::config("per_device_train_batch_size", message));
    }
    let iterations = values.whole("num_ppo_epochs") as usize;
    Ok(RoundPlan { generations: 1, prompts, iterations, batch, accumulation: mini / batch, grouped: false })
}

fn options(values: &Values, longest: usize) -> PpoOptions {
    PpoOptions {
        gae: Gae {
            gamma: values.number("gamma"),
            lam: values.number("lam"),
            kl_coef: values.number("kl_coef"),
            k3: values.text("kl_estimator") == "k3",
            whiten_rewards: values.switch("whiten_rewards"),
            response_length: longest,
        },
        cliprange: values.number("cliprange"),
        cliprange_value: values.number("cliprange_value"),
        vf_coef: values.number("vf_coef"),
        missing_eos_penalty: values.opt_number("missing_eos_penalty").unwrap_or(0.0),
        adaptive: values.switch("adap_kl_ctrl").then(|| Adaptive { target: values.number("target"), horizon: values.number("horizon") }),
        temperature: values.number("temperature"),
        init_critic: values.opt_text("init_critic").map(Rc::from),
    }
}
