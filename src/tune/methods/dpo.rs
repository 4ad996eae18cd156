//! Direct preference optimization (Rafailov et al. 2023): −log σ(β·((π_chosen − ref_chosen) − (π_rejected − ref_rejected))), and the losses that
//! came after it. Mean over the pairs of a micro-batch, then over the micro-batches of an update; so are the metrics. A ranking is one row: its answers
//! run once, whatever number of pairs they are in.

use super::field::{Default, Drawn, Field, Good, Group, Kind, Metric, Shown, en};
use super::shared;
use super::table::MethodInfo;
use super::trl::fixed;
use crate::data::{Batch, BatchShape, Example, IGNORE, Preferred, RowKind};
use crate::graph::{Desc, Program, Tape};
use crate::ops::elementwise::{Add, Mul, Scale};
use crate::ops::loss::{DIVERGENCES, DPO_LOSSES, DPO_NUMBERS, DpoLoss, DpoNumbers, METRICS, SequenceSums, SequenceTake};
use crate::tune::idle::smoothed_away;
use crate::tune::kl::RowCache;
use crate::tune::method::{Method, Recorded, digest};
use crate::tune::metrics::Metrics;
use crate::tune::micro::Micro;
use crate::tune::signals::Signals;
use crate::tune::values::Values;
use crate::{Error, Result};

pub const INFO: MethodInfo = MethodInfo {
    name: "dpo",
    title: "DPO",
    learns: en("From rankings"),
    what: en("Direct preference optimization: prefers the better of two answers, measured against a reference policy."),
    config: "DPOConfig",
    notes: &[
        "With c and r for ln π/π_ref of the chosen and the rejected answer (sums over their tokens, nc and nr of them), Δ = β·(c − r), ε = \
         label_smoothing:",
        "sigmoid (Rafailov et al. 2023): −ln σ(Δ). hinge (SLiC, Zhao et al. 2023): max(0, 1 − Δ). ipo (Azar et al. 2023): (c/nc − r/nr − 1/(2β))². \
         robust (Chowdhury et al. 2024): (−(1−ε)·ln σ(Δ) + ε·ln σ(−Δ))/(1 − 2ε). exo_pair (Ji et al. 2024): KL of (σ(Δ), σ(−Δ)) from (1−ε, ε). \
         nca_pair (Chen et al. 2024): −ln σ(βc) − ½·ln σ(−βc) − ½·ln σ(−βr). bco_pair (Jung et al. 2024, without its running mean): −ln σ(βc) − ln \
         σ(−βr). sppo_hard (Wu et al. 2024): (c − 1/(2β))² + (r + 1/(2β))². apo_zero, apo_down (D'Oosterlinck et al. 2024): σ(−βc) + σ(βr); σ(βc) + \
         σ(−Δ). aot, aot_unpaired (Melnyk et al. 2024): −ln σ of β times the difference of sorted log ratios of a micro-batch. discopop (Lu et al. \
         2024): m = σ(Δ/τ), −(1−m)·ln σ(Δ) + m·exp(−Δ). sigmoid_norm: −ln σ(β·(c/nc − r/nr)). sft: negative log-likelihood, the mean over the chosen \
         answers' tokens of a micro-batch.",
        "A ranking is one row, which per_device_train_batch_size counts: each of its answers runs once, and its loss is the mean over all its strict \
         pairs (of all pairs of a micro-batch). To TRL each pair is a row; so it is here with ld_alpha, use_weighting, aot and aot_unpaired.",
        "f_divergence_type (Wang et al. 2023) puts f′ in place of c and r: forward_kl 1 − exp(−u), js_divergence ln 2 + ln σ(u), alpha_divergence \
         (exp((α−1)·u) − 1)/(α−1); of sigmoid, sigmoid_norm, hinge, ipo, exo_pair, robust, discopop and sft. ld_alpha: Liu et al. (2024). \
         use_weighting: Zhou et al. (2024), exp of the mean over tokens of ln p − ln Σ p² of both answers. rewards/* are β·c and β·r whatever the \
         loss is.",
    ],
    rows: RowKind::Preference,
    fields: &[
        shared::beta("How tightly answers are held to the reference."),
        Field::new(
            "loss_type",
            Group::Method,
            Kind::Choices(&DPO_LOSSES),
            Default::Text("sigmoid"),
            "What is made of a pair's two rewards; several are added with loss_weights. docs/methods.md has the formulas.",
        )
        .shown(Shown::Never),
        Field::new("loss_weights", Group::Method, Kind::Numbers, Default::Unset, "Weights of several losses; not set: 1 each.")
            .shown(Shown::Never),
        Field::new(
            "label_smoothing",
            Group::Method,
            Kind::Number { low: 0.0, high: 0.5, step: 0.05 },
            Default::Number(0.0),
            "Share of rankings taken to be mistaken, of robust, exo_pair, aot and aot_unpaired. The other losses leave it out of account, as in TRL.",
        )
        .shown(Shown::Never),
        Field::new(
            "f_divergence_type",
            Group::Method,
            Kind::Choice(&DIVERGENCES),
            Default::Text("reverse_kl"),
            "The divergence that holds the policy to its reference.",
        )
        .shown(Shown::Never),
        Field::new(
            "f_alpha_divergence_coef",
            Group::Method,
            Kind::Number { low: -100.0, high: 100.0, step: 0.1 },
            Default::Number(0.5),
            "The α of alpha_divergence.",
        )
        .shown(Shown::Never),
        Field::new(
            "discopop_tau",
            Group::Method,
            Kind::Number { low: 1e-6, high: 1e6, step: 0.01 },
            Default::Number(0.05),
            "The temperature of discopop.",
        )
        .shown(Shown::Never),
        Field::new(
            "ld_alpha",
            Group::Method,
            Kind::Number { low: 0.0, high: 1.0, step: 0.1 },
            Default::Unset,
            "Tokens of the longer answer beyond the length of the shorter one count so much (LD-DPO); not set: as all others.",
        )
        .shown(Shown::Never),
        Field::new(
            "use_weighting",
            Group::Method,
            Kind::Switch,
            Default::Switch(false),
            "A pair counts as much as its answers are likely under the policy (WPO).",
        )
        .shown(Shown::Never),
        shared::REFERENCE,
    ],
    defaults: &[("learning_rate", Default::Number(1e-4))],
    without: &[],
    fixed: &[
        fixed("sync_ref_model", &["false"], "TRL refuses it for adapters, too: the mean of two adapters is not that of their products"),
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
    more_metrics: &[],
    idle: |values| {
        let mut said = Vec::new();
        if values.number("beta") == 0.0 {
            said.push("beta is 0: the loss is the same whatever the answers are, and nothing is learned".into());
        }
        // TRL's losses that take no account of it: it is told, not passed over.
        let heeds = |loss: &str| ["robust", "exo_pair", "aot", "aot_unpaired"].contains(&loss);
        if values.number("label_smoothing") > 0.0 && !values.texts("loss_type").into_iter().any(heeds) {
            said.push("label_smoothing has no effect: of DPO's losses robust, exo_pair, aot and aot_unpaired heed it".into());
        } else {
            said.extend(smoothed_away(values));
        }
        said
    },
    whole: |values| DpoOptions::read(values).is_ok_and(|o| !o.parts_rankings()),
    build: |reader, values, rows| Ok(Box::new(Dpo::new(reader.preferred(rows)?, DpoOptions::read(values)?)?)),
};

/// What the loss is made of.
#[derive(Clone, Debug)]
pub struct DpoOptions {
    pub beta: f64,
    /// Losses by name, each with its weight.
    pub losses: Vec<(String, f64)>,
    pub label_smoothing: f64,
    /// A place in [`DIVERGENCES`].
    pub divergence: usize,
    pub f_alpha_divergence_coef: f64,
    pub discopop_tau: f64,
    pub ld_alpha: Option<f64>,
    pub use_weighting: bool,
}

impl std::default::Default for DpoOptions {
    fn default() -> Self {
        DpoOptions {
            beta: 0.1,
            losses: vec![("sigmoid".into(), 1.0)],
            label_smoothing: 0.0,
            divergence: 0,
            f_alpha_divergence_coef: 0.5,
            discopop_tau: 0.05,
            ld_alpha: None,
            use_weighting: false,
        }
    }
}

/// Losses that a divergence other than reverse_kl is for: in the others its normalizer would not cancel.
const DIVERGING: [&str; 8] = ["sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft"];

impl DpoOptions {
    /// # Errors
    /// [`Error::BadConfig`] for fields that do not go together.
    fn read(v: &Values) -> Result<DpoOptions> {
        let names = v.texts("loss_type");
        let weights = v.opt_numbers("loss_weights").unwrap_or_else(|| vec![1.0; names.len()]);
        if weights.len() != names.len() {
            return Err(Error::config("loss_weights", format!("has {} numbers for {} losses", weights.len(), names.len())));
        }
        let divergence = DIVERGENCES.iter().position(|d| *d == v.text("f_divergence_type")).unwrap_or(0);
        let options = DpoOptions {
            beta: v.number("beta"),
            losses: names.into_iter().map(str::to_string).zip(weights).collect(),
            label_smoothing: v.number("label_smoothing"),
            divergence,
            f_alpha_divergence_coef: v.number("f_alpha_divergence_coef"),
            discopop_tau: v.number("discopop_tau"),
            ld_alpha: v.opt_number("ld_alpha"),
            use_weighting: v.switch("use_weighting"),
        };
        options.checked()
    }

    fn has(&self, name: &str) -> bool {
        self.losses.iter().any(|(n, w)| n == name && *w != 0.0)
    }

    fn checked(self) -> Result<DpoOptions> {
        if let Some((name, _)) = self.losses.iter().find(|(n, _)| self.divergence != 0 && !DIVERGING.contains(&n.as_str())) {
            let (kind, all) = (DIVERGENCES[self.divergence], DIVERGING.join(", "));
            return Err(Error::config("f_divergence_type", format!("{kind} is for {all}, not for {name}")));
        }
        if let Some(name) = ["ipo", "sppo_hard"].into_iter().find(|n| self.beta == 0.0 && self.has(n)) {
            return Err(Error::config("beta", format!("is 0, and {name} divides by it")));
        }
        if self.has("exo_pair") && self.label_smoothing == 0.0 {
            return Err(Error::config("label_smoothing", "is 0, and exo_pair takes its logarithm: 1e-3 is usual"));
        }
        if self.has("robust") && self.label_smoothing == 0.5 {
            return Err(Error::config("label_smoothing", "is 0.5, and robust divides by 1 − 2 · label_smoothing"));
        }
        if self.use_weighting && (self.has("aot") || self.has("aot_unpaired")) {
            return Err(Error::config("use_weighting", "is not for aot and aot_unpaired, which sort the pairs"));
        }
        if self.losses.iter().all(|(_, w)| *w == 0.0) {
            return Err(Error::config("loss_weights", "are all 0: nothing would be learned"));
        }
        Ok(self)
    }

    /// Must the pairs of a ranking be rows of their own? Where what an answer counts depends on what it is paired with, and where pairs are sorted.
    fn parts_rankings(&self) -> bool {
        self.ld_alpha.is_some() || self.use_weighting || self.has("aot") || self.has("aot_unpaired")
    }

    fn numbers(&self, scale: f32, sft_share: f32) -> DpoNumbers {
        let mut losses = [0.0; DPO_LOSSES.len()];
        for (name, weight) in &self.losses {
            if let Some(i) = DPO_LOSSES.iter().position(|l| l == name) {
                losses[i] += *weight as f32;
            }
        }
        DpoNumbers {
            beta: self.beta as f32,
            label_smoothing: self.label_smoothing as f32,
            scale,
            discopop_tau: self.discopop_tau as f32,
            divergence: self.divergence as f32,
            f_alpha_divergence_coef: self.f_alpha_divergence_coef as f32,
            sft_share,
            losses,
        }
    }
}

/// See the module.
pub struct Dpo {
    data: Vec<Preferred>,
    /// Pairs that a row has at most.
    most: usize,
    options: DpoOptions,
    /// Per row: log-probabilities of its answers under the reference, computed once.
    references: RowCache,
}

impl Dpo {
    /// # Errors
    /// [`Error::BadConfig`] for options that do not go together, and for weights of pairs where pairs are sorted.
    pub fn new(data: Vec<Preferred>, options: DpoOptions) -> Result<Dpo> {
        let options = options.checked()?;
        let sorted = options.has("aot") || options.has("aot_unpaired");
        if let Some(p) = data.iter().find(|p| sorted && p.weight != 1.0) {
            return Err(Error::config("weight", format!("is {} in a row, and aot sorts the pairs: leave the column out", p.weight)));
        }
        let data: Vec<Preferred> = if options.parts_rankings() { data.iter().flat_map(Preferred::apart).collect() } else { data };
        let most = data.iter().map(|p| p.pairs.len()).max().unwrap_or(1).max(1);
        Ok(Dpo { data, most, options, references: RowCache::default() })
    }

    fn some<'a>(&'a self, rows: &'a [u32]) -> impl Iterator<Item = &'a Preferred> {
        rows.iter().map(|r| &self.data[*r as usize])
    }

    /// Pairs of some rows.
    fn pairs(&self, rows: &[u32]) -> usize {
        self.some(rows).map(|p| p.pairs.len()).sum()
    }

    /// Room for the pairs of a micro-batch: each of its rows has two answers and more.
    fn room(&self, shape: &BatchShape) -> usize {
        (shape.seqs / 2).max(1) * self.most
    }

    /// Of every pair of some rows what `of` says of (row among `rows`, answer): of the better ones, then, from `room` on, of the worse ones.
    fn sides<T: Clone>(&self, rows: &[u32], room: usize, none: T, of: impl Fn(usize, usize) -> T) -> Vec<T> {
        let mut out = vec![none; 2 * room];
        let all = self.some(rows).enumerate().flat_map(|(row, p)| p.pairs.iter().map(move |pair| (row, pair)));
        for (i, (row, pair)) in all.enumerate() {
            (out[i], out[room + i]) = (of(row, pair[0]), of(row, pair[1]));
        }
        out
    }

    /// How much each judged token counts, by [`DpoOptions::ld_alpha`]: those beyond the length of the pair's shorter answer less.
    fn token_weights(&self, rows: &[u32], seqs: &[u32], alpha: f32) -> Vec<f32> {
        let shared: Vec<usize> =
            self.some(rows).flat_map(|p| vec![p.answers.iter().map(Example::counted).min().unwrap_or(0); p.answers.len()]).collect();
        let mut seen = vec![0; shared.len()];
        let weight = |s: &u32| {
            let Some(n) = seen.get_mut(*s as usize) else { return 0.0 };
            *n += 1;
            if *n <= shared[*s as usize] { 1.0 } else { alpha }
        };
        seqs.iter().map(weight).collect()
    }
}

impl Method for Dpo {
    fn name(&self) -> &'static str {
        INFO.name
    }

    fn digest(&self) -> String {
        digest(self.data.iter().flat_map(|p| {
            let answers = p.answers.iter().flat_map(|a| [a.ids.clone(), a.labels.clone()]);
            // Of a preference nothing is told that its answers do not tell.
            let ranked = (p.pairs != [[0, 1]]).then(|| p.pairs.iter().flatten().map(|at| *at as u32).collect());
            answers.chain(ranked).chain([vec![p.weight.to_bits()]]).collect::<Vec<_>>()
        }))
    }

    fn rows(&self) -> usize {
        self.data.len()
    }

    /// Row by row.
    fn examples(&self, rows: &[u32]) -> Vec<&Example> {
        rows.iter().flat_map(|r| &self.data[*r as usize].answers).collect()
    }

    fn owners(&self, rows: &[u32], _sequences: usize) -> Vec<u32> {
        self.some(rows).enumerate().flat_map(|(i, p)| vec![i as u32; p.answers.len()]).collect()
    }

    fn record(&self, tape: &mut Tape, shape: &BatchShape, signals: &mut Signals<'_>) -> Result<Recorded> {
        let (logp, seq) = (signals.logps(tape)?, signals.seq(tape));
        let weighted = match self.options.ld_alpha {
            None => logp,
            Some(_) => {
                let tokens = tape.input("tokens", Desc::f32(&[shape.rows]));
                tape.push1(Mul, &[logp, tokens])?
            }
        };
        let sums = tape.push1(SequenceSums::new(shape.seqs), &[weighted, seq])?;
        let room = self.room(shape);
        let places = tape.input("pairs", Desc::u32(&[2 * room]));
        let take = SequenceTake { rows: 2 * room };
        let mut inputs = vec![tape.push1(take, &[sums, places])?];
        inputs.extend(["reference", "counts"].map(|name| tape.input(name, Desc::f32(&[2 * room]))));
        inputs.push(tape.input("weights", Desc::f32(&[room])));
        inputs.push(tape.input("numbers", Desc::f32(&[DPO_NUMBERS])));
        if self.options.use_weighting {
            let spread = signals.entropies(tape)?.expect("asked for in passes with a loss");
            let plain = if weighted == logp { sums } else { tape.push1(SequenceSums::new(shape.seqs), &[logp, seq])? };
            let squares = tape.push1(SequenceSums::of_second(shape.seqs), &[spread, seq])?;
            let minus = tape.push1(Scale { factor: -1.0 }, &[squares])?;
            let aligned = tape.push1(Add, &[plain, minus])?;
            inputs.push(tape.push1(take, &[aligned, places])?);
        }
        let out = tape.push(DpoLoss { aligned: self.options.use_weighting }, &inputs)?;
        // An answer's gradient is the sum over the pairs that it is in.
        let slopes = tape.push1(SequenceSums::new(shape.seqs), &[out[1], places])?;
        Ok(Recorded { metrics: out[0], seeds: vec![(sums, slopes)] })
    }

    fn metric_words(&self, shape: &BatchShape) -> usize {
        METRICS * self.room(shape)
    }

    fn arguments(&self) -> Vec<(&'static str, String)> {
        let o = &self.options;
        let mut all = vec![("beta", (o.beta as f32).to_string()), ("label_smoothing", (o.label_smoothing as f32).to_string())];
        // What is as TRL has it unless one says otherwise is left out: checkpoints of before have no word of it.
        let plain = DpoOptions::default();
        if o.losses != plain.losses {
            let losses: Vec<String> = o.losses.iter().map(|(name, weight)| format!("{name}·{weight}")).collect();
            all.push(("loss_type", losses.join(" + ")));
        }
        if o.divergence != 0 {
            all.push(("f_divergence_type", format!("{} {}", DIVERGENCES[o.divergence], o.f_alpha_divergence_coef)));
        }
        if o.has("discopop") {
            all.push(("discopop_tau", o.discopop_tau.to_string()));
        }
        if let Some(alpha) = o.ld_alpha {
            all.push(("ld_alpha", alpha.to_string()));
        }
        if o.use_weighting {
            all.push(("use_weighting", "true".into()));
        }
        all
    }

    fn reference_sums(&self, rows: &[u32], batch: &Batch, logps: &[f32], sums: Vec<f32>) -> Vec<f32> {
        let Some(alpha) = self.options.ld_alpha else { return sums };
        let mut weighted = vec![0.0; sums.len()];
        for ((s, w), l) in batch.seqs.iter().zip(self.token_weights(rows, &batch.seqs, alpha as f32)).zip(logps) {
            if let Some(sum) = weighted.get_mut(*s as usize) {
                *sum += w * l;
            }
        }
        weighted
    }

    fn rows_meet(&self) -> bool {
        self.options.has("aot") || self.options.has("aot_unpaired")
    }

    fn references(&self) -> Option<&RowCache> {
        Some(&self.references)
    }

    fn references_mut(&mut self) -> Option<&mut RowCache> {
        Some(&mut self.references)
    }

    /// What is of pairs counts as many as there are.
    fn share(&self, micro: &Micro, _metric: &str) -> f64 {
        self.pairs(&micro.rows) as f64
    }

    fn write(&self, program: &Program, micro: &Micro, all: &[Micro]) {
        let (rows, room) = (&micro.rows[..], self.room(&micro.shape));
        let begins: Vec<usize> = self
            .some(rows)
            .scan(0, |at, p| {
                *at += p.answers.len();
                Some(*at - p.answers.len())
            })
            .collect();
        let answer = |row: usize, at: usize| &self.data[rows[row] as usize].answers[at];
        program.write("pairs", &self.sides(rows, room, IGNORE, |row, at| (begins[row] + at) as u32));
        program.write("reference", &self.sides(rows, room, 0.0, |row, at| self.references.get(rows[row]).map_or(0.0f32, |v| v[at])));
        program.write("counts", &self.sides(rows, room, 0.0, |row, at| answer(row, at).counted() as f32));
        let mut weights: Vec<f32> = self.some(rows).flat_map(|p| vec![p.weight; p.pairs.len()]).collect();
        let pairs = weights.len();
        weights.resize(room, 0.0);
        program.write("weights", &weights);
        let chosen: usize = self.some(rows).flat_map(|p| p.pairs.iter().map(|pair| p.answers[pair[0]].counted())).sum();
        let numbers = self.options.numbers(1.0 / (pairs * all.len()) as f32, pairs as f32 / chosen.max(1) as f32);
        program.write("numbers", &numbers.words());
        if let Some(alpha) = self.options.ld_alpha {
            program.write("tokens", &self.token_weights(rows, &micro.batch.seqs, alpha as f32));
        }
    }

    fn metrics(&self, micros: &[Micro], words: &[Vec<f32>]) -> Metrics {
        let (mut loss, mut means) = (0.0, [0.0; 6]);
        for (micro, words) in micros.iter().zip(words) {
            let share = 1.0 / (self.pairs(&micro.rows) * micros.len()) as f64;
            let weights = self.some(&micro.rows).flat_map(|p| vec![f64::from(p.weight); p.pairs.len()]);
            for (weight, w) in weights.zip(words.chunks(METRICS)) {
                let at = |i: usize| f64::from(w[i]);
                loss += share * weight * at(0);
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
