//! Held-out rows: what they say of the weights as they are, without dropout and without a gradient; when a run looks at them; which update was best.
//!
//! An evaluation goes on micro-batch by micro-batch, so that a run can be stopped, paused and saved in the middle of one. Names and rules are those of
//! Transformers' `Trainer` and `EarlyStoppingCallback`.

use std::collections::VecDeque;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::best::{Best, Progress};
use super::method::Method;
use super::methods::shared;
use super::methods::table::MethodInfo;
use super::metrics::Metrics;
use super::micro::Micro;
use super::pass::{Head, Pass, Weights};
use super::trainer::Trainer;
use super::values::Values;
use crate::clock;
use crate::{Error, Result};

/// `eval_steps` where it is not set: TRL's `logging_steps`, which Transformers takes then.
const EVERY: f64 = 10.0;

/// What held-out rows gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EvalMetrics {
    /// Updates so far.
    pub step: u64,
    /// Passes over the data so far.
    pub epoch: f64,
    /// Means over the rows (SFT: over the counted tokens), under the method's names; without `kl`, unless it is the method's own.
    pub metrics: Metrics,
    /// Rows and judged tokens.
    pub rows: usize,
    pub tokens: usize,
    pub seconds: f64,
    /// The best so far, by `metric_for_best_model`; not said where nobody asks for the best.
    pub best: Option<bool>,
}

impl Serialize for EvalMetrics {
    /// Every name begins with `eval_`, as in Transformers, but for `step`, `epoch` and `best`.
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(None)?;
        map.serialize_entry("step", &self.step)?;
        map.serialize_entry("epoch", &self.epoch)?;
        for (name, value) in self.metrics.iter() {
            map.serialize_entry(&format!("eval_{name}"), &value)?;
        }
        map.serialize_entry("eval_rows", &self.rows)?;
        map.serialize_entry("eval_tokens", &self.tokens)?;
        map.serialize_entry("eval_runtime", &self.seconds)?;
        if let Some(best) = self.best {
            map.serialize_entry("best", &best)?;
        }
        map.end()
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Never,
    Steps(u64),
    Epoch,
}

/// What a configuration says of evaluation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EvalOptions {
    when: When,
    on_start: bool,
    pub batch: usize,
    /// The method's name of the metric, without `eval_`.
    metric: String,
    greater: bool,
    /// Somebody wants to know which evaluation was best.
    wanted: bool,
    pub load_best: bool,
    patience: Option<u64>,
    threshold: f64,
}

impl EvalOptions {
    /// `rows`: there are some to be judged. `total_steps` are the run's updates.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for what needs an evaluation where there is none, and for a metric that there is not.
    pub fn read(v: &Values, info: &MethodInfo, rows: bool, total_steps: u64) -> Result<EvalOptions> {
        let steps = v.opt_number("eval_steps");
        let every = |n: f64| When::Steps(if n < 1.0 { (total_steps as f64 * n).ceil().max(1.0) as u64 } else { n as u64 });
        let asked = match (v.opt_text("eval_strategy"), steps) {
            (Some("no"), _) => Some(When::Never),
            (Some("epoch"), _) => Some(When::Epoch),
            (Some(_), n) => Some(every(n.unwrap_or(EVERY))),
            (None, Some(n)) => Some(every(n)),
            (None, None) => None,
        };
        let [on_start, load_best] = ["eval_on_start", "load_best_model_at_end"].map(|name| v.is_on(name));
        let (patience, given) = (v.opt_count("early_stopping_patience"), v.opt_text("metric_for_best_model"));
        let when = asked.unwrap_or(if rows { When::Epoch } else { When::Never });
        let needs = [
            ("eval_strategy", when != When::Never),
            ("eval_on_start", on_start),
            ("load_best_model_at_end", load_best),
            ("early_stopping_patience", patience.is_some()),
        ];
        if let Some((field, _)) = needs.iter().find(|n| n.1 && !rows) {
            return Err(Error::config(*field, "needs rows for evaluation: hand some over (eval_data), or hold some out (eval_split)"));
        }
        if let Some((field, _)) = needs[2..].iter().find(|n| n.1 && when == When::Never) {
            return Err(Error::config(*field, "needs evaluations during the run, and eval_strategy is no"));
        }
        let metric = given.map_or("loss", |m| m.strip_prefix("eval_").unwrap_or(m)).to_string();
        let names = info.own_metrics().filter(|m| m.help.en != shared::KL.help.en).map(|m| m.name);
        if rows && !names.clone().any(|n| n == metric) {
            let names: Vec<String> = names.map(|n| format!("eval_{n}")).collect();
            return Err(Error::config("metric_for_best_model", format!("{metric:?} is none of {}", names.join(", "))));
        }
        Ok(EvalOptions {
            when,
            on_start,
            batch: v.opt_count("per_device_eval_batch_size").unwrap_or(1) as usize,
            greater: v.opt_flag("greater_is_better").unwrap_or(!metric.ends_with("loss")),
            metric,
            wanted: load_best || patience.is_some() || given.is_some(),
            load_best,
            patience,
            threshold: v.opt_number("early_stopping_threshold").unwrap_or(0.0),
        })
    }

    /// What a person should know of it: sentences.
    pub fn notes(&self) -> Option<&'static str> {
        if self.when == When::Never && !self.on_start {
            return Some("eval_strategy is no: the rows for evaluation are not looked at");
        }
        (self.patience.is_some() && !self.load_best)
            .then_some("the run may stop early, and the adapter is then the last one: load_best_model_at_end takes the best")
    }
}

/// Sums over an evaluation's micro-batches.
#[derive(Default)]
struct Running {
    next: u32,
    /// (name, Σ weight · value, Σ weight)
    sums: Vec<(String, f64, f64)>,
    entropy: f64,
    judged: usize,
    begun: f64,
}

impl Running {
    fn add(&mut self, name: &str, value: f64, weight: f64) {
        match self.sums.iter_mut().find(|s| s.0 == name) {
            Some(s) => (s.1, s.2) = (s.1 + weight * value, s.2 + weight),
            None => self.sums.push((name.to_string(), weight * value, weight)),
        }
    }

    fn metrics(&self, entropy: bool) -> Metrics {
        let mut metrics = Metrics::default();
        for (name, sum, weight) in &self.sums {
            if *weight > 0.0 {
                metrics.set(name.clone(), sum / weight);
            }
        }
        if entropy {
            metrics.set_second("entropy", self.entropy / self.judged.max(1) as f64);
        }
        metrics
    }
}

/// Held-out rows, and a pass over them that may be under way.
pub struct Held {
    /// Exchanged with the trainer's while it judges them; none where they are the trainer's own rows.
    method: Option<Box<dyn Method>>,
    batch: usize,
    running: Option<Running>,
}

impl Held {
    pub(super) fn new(method: Option<Box<dyn Method>>, batch: usize) -> Held {
        Held { method, batch: batch.max(1), running: None }
    }

    fn exchange(&mut self, trainer: &mut Trainer) {
        if let Some(method) = &mut self.method {
            std::mem::swap(&mut trainer.method, method);
        }
    }

    /// Judges the next micro-batch; the numbers when it was the last one.
    ///
    /// # Errors
    /// Whatever the device reports; [`Error::NotFinite`] for a loss that is no number.
    pub(super) async fn next(&mut self, trainer: &mut Trainer, by: Weights) -> Result<Option<EvalMetrics>> {
        self.exchange(trainer);
        let mut running = self.running.take().unwrap_or_else(|| Running { begun: clock::seconds(), ..Running::default() });
        let rows = trainer.method.rows() as u32;
        let end = (running.next + self.batch as u32).min(rows);
        let found = trainer.judge_held((running.next..end).collect(), by, &mut running).await;
        let spread = trainer.method.judges_tokens();
        self.exchange(trainer);
        found?;
        running.next = end;
        if end < rows {
            self.running = Some(running);
            return Ok(None);
        }
        let metrics = running.metrics(spread);
        if !metrics.loss().is_finite() {
            return Err(Error::NotFinite(format!("evaluation behind update {}: loss {}", trainer.step, metrics.loss())));
        }
        Ok(Some(EvalMetrics {
            step: trainer.step,
            epoch: trainer.sampler.epochs(),
            metrics,
            rows: rows as usize,
            tokens: running.judged,
            seconds: clock::seconds() - running.begun,
            best: None,
        }))
    }
}

impl Trainer {
    /// A micro-batch of the present method's rows, added to an evaluation.
    async fn judge_held(&mut self, rows: Vec<u32>, by: Weights, running: &mut Running) -> Result<()> {
        self.catch_up(0).await?;
        let micro = self.micro(rows, by);
        let pass = Pass { adapter: by, head: Head::Eval };
        // Nobody asks for their distance to the base, and numbers of rows mean others here.
        let (base, states) = (self.base.take(), std::mem::take(&mut self.states));
        let found = self.judged(&micro, pass).await;
        (self.base, self.states) = (base, states);
        let (words, spread) = found?;
        let of = self.method.metrics(std::slice::from_ref(&micro), &[words]);
        for (name, value) in of.iter() {
            running.add(name, value, self.method.share(&micro, name));
        }
        running.judged += micro.batch.counted;
        running.entropy += spread.iter().step_by(2).take(micro.batch.counted).map(|v| f64::from(*v)).sum::<f64>();
        Ok(())
    }

    async fn judged(&mut self, micro: &Micro, pass: Pass) -> Result<(Vec<f32>, Vec<f32>)> {
        let one = std::slice::from_ref(micro);
        self.references(one, pass).await?;
        let program = self.ready(micro, one, pass).await?;
        let names: &[&str] = if self.method.judges_tokens() { &["metrics", "spread"] } else { &["metrics"] };
        let step = crate::graph::StepParams { rows: micro.batch.counted as u32, ..pass.step() };
        let mut found = program.run(&step, names).await?.into_iter().map(|w| w.into_iter().map(f32::from_bits).collect());
        Ok((found.next().unwrap_or_default(), found.next().unwrap_or_default()))
    }
}

/// When a run looks at held-out rows, and what it makes of that.
pub(super) struct Evaluation {
    pub held: Held,
    pub options: EvalOptions,
    told: VecDeque<EvalMetrics>,
}

impl Evaluation {
    pub fn new(method: Box<dyn Method>, options: EvalOptions) -> Evaluation {
        Evaluation { held: Held::new(Some(method), options.batch), options, told: VecDeque::new() }
    }

    /// Of a run that begins.
    pub fn progress(&self) -> Progress {
        Progress { dataset: self.held.method.as_ref().map(|m| m.digest()).unwrap_or_default(), ..Progress::default() }
    }

    /// Whether the rows are to be looked at before the next update.
    pub fn due(&self, trainer: &Trainer) -> bool {
        let (step, progress) = (trainer.step, &trainer.best.progress);
        if progress.as_ref().is_none_or(|p| p.evaluated == Some(step)) {
            return false;
        }
        let last = step == trainer.total_steps();
        match self.options.when {
            _ if step == 0 => self.options.on_start,
            When::Never => false,
            When::Steps(n) => last || step.is_multiple_of(n),
            When::Epoch => last || trainer.sampler.epoch_done(),
        }
    }

    /// Whether the run has ended before its last update.
    pub fn stopped(&self, progress: &Progress) -> bool {
        self.options.patience.is_some_and(|p| progress.without_better >= p)
    }

    /// Judges some of the rows.
    ///
    /// # Errors
    /// As [`Held::next`]; [`Error::BadConfig`] where the evaluation has no such metric.
    pub async fn go_on(&mut self, trainer: &mut Trainer) -> Result<()> {
        let Some(mut found) = self.held.next(trainer, Weights::Present).await? else { return Ok(()) };
        let o = &self.options;
        let mut progress = trainer.best.progress.clone().unwrap_or_default();
        progress.evaluated = Some(trainer.step);
        let value = found.metrics.get(&o.metric);
        if o.wanted && trainer.step > 0 {
            let metric = format!("eval_{}", o.metric);
            let value = value.ok_or_else(|| Error::config("metric_for_best_model", format!("these rows give no {metric}")))?;
            let before = progress.best.as_ref().map(|b| b.value);
            let better = |by: f64| before.is_none_or(|b| if o.greater { value > b && value - b > by } else { value < b && b - value > by });
            progress.without_better = if better(o.threshold) { 0 } else { progress.without_better + 1 };
            found.best = Some(better(0.0));
            if better(0.0) {
                progress.best = Some(Best { step: trainer.step, metric, value, loaded: false });
                if o.load_best {
                    trainer.keep_best().await?;
                }
            }
        }
        trainer.best.progress = Some(progress);
        self.told.push_back(found);
        Ok(())
    }

    /// The earliest evaluation that nobody has been told of.
    pub fn report(&mut self) -> Option<EvalMetrics> {
        self.told.pop_front()
    }
}

impl Trainer {
    async fn keep_best(&mut self) -> Result<()> {
        self.best.kept = Some(self.read_weights().await?);
        Ok(())
    }

    async fn read_weights(&self) -> Result<Vec<Vec<f32>>> {
        let mut all = Vec::new();
        for t in self.weights() {
            all.push(t.read_rows(self.exec(), 0, t.desc().rows()).await?);
        }
        Ok(all)
    }

    /// Puts the best weights in place of the last ones, which are kept for a checkpoint.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub(super) async fn exchange_best(&mut self) -> Result<()> {
        if self.best.exchanged || self.best.kept.is_none() {
            return Ok(());
        }
        self.catch_up(0).await?;
        let last = self.read_weights().await?;
        let best = self.best.kept.replace(last).unwrap_or_default();
        for (t, values) in self.weights().into_iter().zip(&best) {
            t.write_rows(self.exec(), 0, bytemuck::cast_slice(values))?;
        }
        self.best.exchanged = true;
        Ok(())
    }
}

/// Rows that are held out, and those that are left, each with its number: `share` of all, drawn by `seed`, at least one of either.
///
/// # Errors
/// [`Error::BadConfig`] where there are too few.
pub(super) fn hold_out(rows: &[Value], share: f64, seed: u32) -> Result<[Vec<(usize, Value)>; 2]> {
    if rows.len() < 2 {
        return Err(Error::config("eval_split", format!("cannot hold rows out of {}", rows.len())));
    }
    let many = ((rows.len() as f64 * share).round() as usize).clamp(1, rows.len() - 1);
    let mut held = crate::data::Sampler::new(rows.len(), true, seed).take(many);
    held.sort_unstable();
    let numbered = |out: bool| {
        let of = |i: &usize| held.binary_search(&(*i as u32)).is_ok() == out;
        (0..rows.len()).filter(of).map(|i| (i, rows[i].clone())).collect()
    };
    Ok([numbered(true), numbered(false)])
}

#[cfg(test)]
mod tests {
    use super::super::methods::by_name;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_split_is_drawn_by_its_seed() {
        let rows: Vec<Value> = (0..20).map(|i| json!({ "i": i })).collect();
        let [held, left] = hold_out(&rows, 0.25, 3).unwrap();
        assert_eq!((held.len(), left.len()), (5, 15));
        assert!(held.iter().chain(&left).all(|(i, row)| row["i"] == json!(i)) && held.is_sorted_by_key(|h| h.0));
        assert_eq!(held, hold_out(&rows, 0.25, 3).unwrap()[0]);
        assert_ne!(held, hold_out(&rows, 0.25, 4).unwrap()[0]);
        assert_eq!(hold_out(&rows[..2], 0.9, 3).unwrap()[1].len(), 1);
        assert!(hold_out(&rows[..1], 0.5, 3).is_err());
    }

    #[test]
    fn what_needs_an_evaluation_says_so() {
        let read = |own: Value, rows: bool| {
            let info = by_name("dpo")?;
            EvalOptions::read(&info.read(own.as_object().expect("an object"))?, info, rows, 40)
        };
        for (field, own) in [
            ("eval_strategy", json!({"eval_strategy": "steps"})),
            ("eval_strategy", json!({"eval_steps": 3})),
            ("eval_on_start", json!({"eval_on_start": true})),
            ("load_best_model_at_end", json!({"load_best_model_at_end": true})),
            ("early_stopping_patience", json!({"early_stopping_patience": 2})),
        ] {
            match read(own.clone(), false) {
                Err(Error::BadConfig { field: found, .. }) => assert_eq!(found, field),
                other => panic!("{own}: {other:?}"),
            }
            assert!(read(own, true).is_ok());
        }
        assert!(read(json!({"eval_strategy": "no", "load_best_model_at_end": true}), true).is_err());
        assert!(read(json!({"metric_for_best_model": "eval_speed"}), true).unwrap_err().to_string().contains("eval_rewards/accuracies"));
        assert!(read(json!({"metric_for_best_model": "kl"}), true).is_err());
        let o = read(json!({"metric_for_best_model": "eval_rewards/accuracies", "eval_steps": 0.1}), true).unwrap();
        assert_eq!((o.when, o.metric.as_str(), o.greater, o.wanted), (When::Steps(4), "rewards/accuracies", true, true));
        let o = read(json!({}), true).unwrap();
        assert_eq!((o.when, o.greater, o.wanted, o.batch), (When::Epoch, false, false, 8));
        assert_eq!(read(json!({"eval_strategy": "steps"}), true).unwrap().when, When::Steps(10));
        assert!(read(json!({"eval_strategy": "no"}), true).unwrap().notes().is_some());
    }
}
