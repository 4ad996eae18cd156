//! The method of PPO: the policy's clipped ratios times advantages of every token, and a critic that learns what to expect.

use std::rc::Rc;

use super::figures::mean_of;
use super::round::{Rounds, Sample};
use crate::Result;
use crate::adapters::AdapterSet;
use crate::data::{BatchShape, Example, IGNORE};
use crate::error::Error;
use crate::graph::{Desc, Exec, Program, Tape, Val};
use crate::ops::adapter::{Block, Stack};
use crate::ops::loss::{POLICY_METRICS, POLICY_NUMBERS, PolicyLoss, PolicyNumbers, VALUE_METRICS, ValueLoss};
use crate::tune::gae::{Gae, Spoken, Weighed, adapted};
use crate::tune::method::{Method, OwnParameters, Recorded, digest};
use crate::tune::metrics::Metrics;
use crate::tune::micro::Micro;
use crate::tune::signals::Signals;

/// How the weight of the divergence follows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adaptive {
    /// In nats, of a whole answer.
    pub target: f64,
    /// In answers.
    pub horizon: f64,
}

#[derive(Clone, Debug)]
pub struct PpoOptions {
    pub gae: Gae,
    pub cliprange: f64,
    pub cliprange_value: f64,
    pub vf_coef: f64,
    /// Taken from the score of an answer without an end.
    pub missing_eos_penalty: f64,
    /// `None`: the weight of the divergence stays what it is.
    pub adaptive: Option<Adaptive>,
    pub temperature: f64,
    /// Name of the adapter that the critic starts from.
    pub init_critic: Option<Rc<str>>,
}

/// See the module.
pub struct Ppo {
    rounds: Rounds,
    options: PpoOptions,
    critic: Option<Rc<AdapterSet>>,
    /// Of the present round's samples.
    weighed: Vec<Weighed>,
}

/// Places of what [`Rounds::state`] keeps from one round to the next: the weight of the divergence, and the mean divergence of an answer.
const COEF: usize = 0;
const KL: usize = 1;

impl Ppo {
    pub fn new(rounds: Rounds, options: PpoOptions) -> Ppo {
        Ppo { rounds, options, critic: None, weighed: Vec::new() }
    }

    /// Rows of a pass that ask the critic.
    fn value_rows(shape: &BatchShape) -> usize {
        shape.rows + shape.seqs
    }

    /// Places of a response at which the critic is asked.
    fn places(&self, s: &Sample) -> usize {
        self.options.gae.places(s.completion().len())
    }

    fn samples<'a>(&'a self, rows: &'a [u32]) -> impl Iterator<Item = (&'a Sample, Option<&'a Weighed>)> {
        rows.iter().map(|r| (self.rounds.sample(*r), self.weighed.get(*r as usize)))
    }

    /// What a response is worth as a whole.
    fn score(&self, s: &Sample) -> f64 {
        s.reward - if s.cut { self.options.missing_eos_penalty } else { 0.0 }
    }

    /// Advantages and returns of the present round with a weight of the divergence.
    fn weigh_with(&mut self, kl_coef: f64) {
        let gae = Gae { kl_coef, ..self.options.gae };
        let Some(round) = self.rounds.round() else { return };
        let spoken = round.samples.iter().map(|s| Spoken { old: &s.old, reference: &s.reference, values: &s.values, score: self.score(s) });
        self.weighed = gae.weigh(&spoken.collect::<Vec<_>>());
    }

    /// What the round's updates report of it.
    fn figures(&self, kl_coef: f64) -> Vec<(String, f64)> {
        let Some(round) = self.rounds.round() else { return Vec::new() };
        let kl = mean_of(&self.weighed.iter().map(|w| w.kl).collect::<Vec<_>>());
        let of = |f: &dyn Fn(&Sample) -> f64| mean_of(&round.samples.iter().map(f).collect::<Vec<_>>());
        let entropy = of(&|s| -s.old.iter().map(|v| f64::from(*v)).sum::<f64>());
        let scores = of(&|s| self.score(s));
        let ends: usize = round.samples.iter().map(|s| s.completion().iter().filter(|id| self.rounds.ends().contains(id)).count()).sum();
        let named = [
            ("objective/kl", kl),
            ("objective/entropy", entropy),
            ("objective/non_score_reward", -kl_coef * kl),
            ("objective/rlhf_reward", scores - kl_coef * kl),
            ("objective/scores", scores),
            ("objective/kl_coef", kl_coef),
            ("val/num_eos_tokens", ends as f64),
        ];
        named.into_iter().map(|(name, v)| (name.to_string(), v)).collect()
    }
}

/// Some values one after the other, as one row.
fn joined(tape: &mut Tape, parts: &[Val]) -> Result<Val> {
    let lens: Vec<usize> = parts.iter().map(|v| tape.desc(*v).len()).collect();
    let total: usize = lens.iter().sum();
    let mut to = 0;
    let blocks = lens.iter().enumerate().map(|(input, n)| {
        to += n;
        Block { input, rows: 1, cols: *n, from: 0, from_stride: *n, to: to - n, to_stride: total }
    });
    let stack = Stack::new(&[1, total], blocks.collect::<Vec<_>>());
    tape.push1(stack.of_activations(), parts)
}

impl Method for Ppo {
    fn name(&self) -> &'static str {
        "ppo"
    }

    fn digest(&self) -> String {
        digest(self.rounds.words())
    }

    fn rows(&self) -> usize {
        self.rounds.prompts().len()
    }

    fn examples(&self, rows: &[u32]) -> Vec<&Example> {
        rows.iter().map(|r| &self.rounds.sample(*r).example).collect()
    }

    fn record(&self, tape: &mut Tape, shape: &BatchShape, signals: &mut Signals<'_>) -> Result<Recorded> {
        let critic = self.critic.as_ref().ok_or_else(|| Error::config("init_critic", "there is no critic"))?;
        let (logp, seq) = (signals.logps(tape)?, signals.seq(tape));
        let tokens = tape.input("tokens", Desc::f32(&[shape.rows, 4]));
        let steps = tape.input("steps", Desc::f32(&[shape.seqs]));
        let numbers = tape.input("numbers", Desc::f32(&[POLICY_NUMBERS]));
        let policy = tape.push(PolicyLoss, &[logp, seq, tokens, steps, numbers])?;
        let rows = Ppo::value_rows(shape);
        let gather = tape.input("value_gather", Desc::u32(&[rows]));
        let inverse = tape.input("value_inverse", Desc::u32(&[shape.batch * shape.len]));
        let values = signals.scores_of(tape, critic.need_lora("a critic")?, gather, inverse)?;
        let targets = tape.input("value_targets", Desc::f32(&[rows, 3]));
        let bound = tape.input("value_bound", Desc::f32(&[1]));
        let value = tape.push(ValueLoss, &[values, targets, bound])?;
        let metrics = joined(tape, &[policy[0], logp, value[0]])?;
        Ok(Recorded { metrics, seeds: vec![(logp, policy[1]), (values, value[1])] })
    }

    fn metric_words(&self, shape: &BatchShape) -> usize {
        (POLICY_METRICS + 1) * shape.rows + VALUE_METRICS * Ppo::value_rows(shape)
    }

    fn write(&self, program: &Program, micro: &Micro, all: &[Micro]) {
        let shape = &micro.shape;
        let places: usize = self.samples(&micro.rows).map(|(s, _)| self.places(s)).sum();
        let share = 1.0 / all.len() as f64;
        let token_weight = (share / micro.batch.counted.max(1) as f64) as f32;
        let value_weight = (self.options.vf_coef * share / places.max(1) as f64) as f32;
        let (mut tokens, mut targets) = (vec![0f32; 4 * shape.rows], vec![0f32; 3 * Ppo::value_rows(shape)]);
        let (mut gather, mut inverse) = (vec![IGNORE; Ppo::value_rows(shape)], vec![IGNORE; shape.batch * shape.len]);
        let (mut token, mut place) = (0, 0);
        for (s, w) in self.samples(&micro.rows) {
            let n = s.judged();
            // Where the place before the first token is in the batch; the others follow it.
            let first = micro.batch.gather[token] as usize;
            for t in 0..n {
                let advantage = w.map_or(0.0, |w| w.advantages[t]) as f32;
                tokens[4 * (token + t)..][..4].copy_from_slice(&[s.old[t], 0.0, token_weight, advantage]);
            }
            for t in 0..self.places(s) {
                gather[place] = (first + t) as u32;
                inverse[first + t] = place as u32;
                let target = w.map_or(0.0, |w| w.returns[t]) as f32;
                targets[3 * place..][..3].copy_from_slice(&[s.values[t], target, value_weight]);
                place += 1;
            }
            token += n;
        }
        let clip = [1.0 - self.options.cliprange, 1.0 + self.options.cliprange].map(|v| v as f32);
        let numbers = PolicyNumbers { clip, delta: f32::MAX, beta: 0.0, corrected: false, sequence: false, fresh: false };
        program.write("tokens", &tokens);
        program.write("steps", &vec![1f32; shape.seqs]);
        program.write("numbers", &numbers.words());
        program.write("value_gather", &gather);
        program.write("value_inverse", &inverse);
        program.write("value_targets", &targets);
        program.write("value_bound", &[self.options.cliprange_value as f32]);
    }

    fn metrics(&self, micros: &[Micro], words: &[Vec<f32>]) -> Metrics {
        let mut means = [0.0; 6];
        for (micro, words) in micros.iter().zip(words) {
            let rows = micro.shape.rows;
            let (policy, rest) = words.split_at(POLICY_METRICS * rows);
            let (logps, values) = rest.split_at(rows);
            let old: Vec<f32> = self.samples(&micro.rows).flat_map(|(s, _)| s.old.iter().copied()).collect();
            let places: usize = self.samples(&micro.rows).map(|(s, _)| self.places(s)).sum();
            let moved: Vec<f64> = logps.iter().zip(&old).map(|(new, old)| f64::from(*new) - f64::from(*old)).collect();
            let of = |v: &[f32], step: usize, k: usize, n: usize| -> f64 {
                v.chunks(step).take(n).map(|w| f64::from(w[k])).sum::<f64>() / n.max(1) as f64
            };
            let tokens = old.len();
            let found = [
                of(policy, POLICY_METRICS, 0, tokens),
                of(values, VALUE_METRICS, 0, places),
                mean_of(&moved.iter().map(|d| 0.5 * d * d).collect::<Vec<_>>()),
                of(policy, POLICY_METRICS, 2, tokens) + of(policy, POLICY_METRICS, 3, tokens),
                of(values, VALUE_METRICS, 1, places),
                mean_of(&moved.iter().map(|d| d.exp()).collect::<Vec<_>>()),
            ];
            means.iter_mut().zip(found).for_each(|(m, v)| *m += v / micros.len() as f64);
        }
        let mut metrics = Metrics::new(means[0] + self.options.vf_coef * means[1]);
        let names = ["loss/policy_avg", "loss/value_avg", "policy/approxkl_avg", "policy/clipfrac_avg", "val/clipfrac_avg", "val/ratio"];
        names.into_iter().zip(means).for_each(|(name, v)| metrics.set(name, v));
        self.rounds.report(&mut metrics);
        metrics
    }

    fn arguments(&self) -> Vec<(&'static str, String)> {
        let (o, plan) = (&self.options, self.rounds.plan());
        let adaptive = o.adaptive.map_or_else(|| "false".into(), |a| format!("{} over {}", a.target, a.horizon));
        vec![
            ("num_ppo_epochs", plan.iterations.to_string()),
            ("num_mini_batches", (plan.prompts / (plan.batch * plan.accumulation)).to_string()),
            ("response_length", o.gae.response_length.to_string()),
            ("temperature", o.temperature.to_string()),
            ("kl_coef", o.gae.kl_coef.to_string()),
            ("kl_estimator", if o.gae.k3 { "k3" } else { "k1" }.into()),
            ("adap_kl_ctrl", adaptive),
            ("cliprange", o.cliprange.to_string()),
            ("vf_coef", o.vf_coef.to_string()),
            ("cliprange_value", o.cliprange_value.to_string()),
            ("gamma", o.gae.gamma.to_string()),
            ("lam", o.gae.lam.to_string()),
            ("whiten_rewards", o.gae.whiten_rewards.to_string()),
            ("missing_eos_penalty", o.missing_eos_penalty.to_string()),
            ("critic", self.critic.as_ref().map_or_else(String::new, |c| c.key().to_string())),
        ]
    }

    fn rounds(&self) -> Option<&Rounds> {
        Some(&self.rounds)
    }

    fn rounds_mut(&mut self) -> Option<&mut Rounds> {
        Some(&mut self.rounds)
    }

    fn weigh(&mut self) {
        let responses = self.rounds.round().map_or(0, |r| r.samples.len());
        let last = self.rounds.state.get(COEF).zip(self.rounds.state.get(KL));
        let kl_coef = match (last, self.options.adaptive) {
            (Some((coef, kl)), Some(a)) => adapted(*coef, *kl, a.target, a.horizon, responses),
            _ => self.options.gae.kl_coef,
        };
        self.weigh_with(kl_coef);
        self.rounds.measure(0.0);
        let figures = self.figures(kl_coef);
        self.rounds.state = vec![kl_coef, figures[0].1];
        if let Some(round) = self.rounds.round_mut() {
            // There are no groups.
            round.figures.retain(|f| f.0 != "frac_reward_zero_std");
            round.figures.splice(0..0, figures);
        }
    }

    fn restored(&mut self) {
        if let Some(kl_coef) = self.rounds.state.get(COEF).copied() {
            self.weigh_with(kl_coef);
        }
    }

    fn temperature(&self) -> f32 {
        (self.options.temperature + 1e-7) as f32
    }

    fn entropy_also(&self) -> Option<&'static str> {
        Some("policy/entropy_avg")
    }

    fn parameters(&self) -> Vec<OwnParameters> {
        let own =
            |c: &Rc<AdapterSet>| OwnParameters { name: "critic", params: c.params().clone(), learning_rate: None, weight_decay: None };
        self.critic.iter().map(own).collect()
    }

    fn init_critic(&self) -> Option<Option<&str>> {
        Some(self.options.init_critic.as_deref())
    }

    fn critic(&self) -> Option<&Rc<AdapterSet>> {
        self.critic.as_ref()
    }

    fn set_critic(&mut self, exec: &Exec, critic: Rc<AdapterSet>) -> Result<()> {
        critic.params().set_grad(Some(critic.train(exec)?));
        self.critic = Some(critic);
        Ok(())
    }

    fn value_example(&self, row: u32) -> Example {
        let s = self.rounds.sample(row);
        let mut labels = vec![IGNORE; s.example.ids.len() + 1];
        labels[s.prompt..s.prompt + self.places(s)].fill(0);
        Example { ids: s.example.ids.clone(), labels, ..Example::default() }
    }
}
