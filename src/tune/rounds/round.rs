//! A round, and the prompts that rounds are made from.

use super::plan::RoundPlan;
use crate::data::{Example, IGNORE, Prompt};

/// One completion of a round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Prompt and completion; the completion's tokens are judged.
    pub example: Example,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Text of the completion; empty where it is replayed.
    pub text: String,
    /// It did not end by itself.
    pub cut: bool,
    /// Seed that it was sampled with.
    pub seed: Option<u32>,
    /// What each judge said of it.
    pub scores: Vec<f64>,
    /// The weighted sum of them.
    pub reward: f64,
    /// ln p of its tokens under the policy that wrote it, before the round's first update; empty where nobody asked.
    pub old: Vec<f32>,
    /// Entropies of that policy at its tokens.
    pub entropies: Vec<f32>,
    /// ln p of its tokens under the reference policy; empty where nobody asked.
    pub reference: Vec<f32>,
    /// What a critic expects at each place; empty without one.
    pub values: Vec<f32>,
    pub advantage: f64,
}

impl Sample {
    /// A completion of a prompt. `ends` are the tokens that end one; with `mask_cut` the tokens of one that has no end are not judged.
    pub fn new(prompt: &[u32], completion: &[u32], ends: &[u32], mask_cut: bool) -> Sample {
        let mut example = Example::from_parts([prompt, completion].concat(), prompt.len());
        let cut = completion.last().is_none_or(|id| !ends.contains(id));
        if cut && mask_cut {
            example.labels.fill(IGNORE);
        }
        Sample { example, prompt: prompt.len(), cut, ..Sample::default() }
    }

    /// Its tokens.
    pub fn completion(&self) -> &[u32] {
        &self.example.ids[self.prompt..]
    }

    /// Tokens that are judged: all of them, or none.
    pub fn judged(&self) -> usize {
        self.example.counted()
    }
}

/// What is learned until the next round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// Counted from 0.
    pub number: u64,
    /// Places of its prompts among [`Rounds::prompts`].
    pub prompts: Vec<u32>,
    /// All completions of the first prompt, then those of the second.
    pub samples: Vec<Sample>,
    /// Names of the judges.
    pub judges: Vec<String>,
    /// What else the round's updates report, by TRL's names.
    pub figures: Vec<(String, f64)>,
}

/// The rounds of a training.
#[derive(Clone, Debug)]
pub struct Rounds {
    pub(super) prompts: Vec<Prompt>,
    pub(super) plan: RoundPlan,
    /// Tokens that end a completion.
    pub(super) ends: Vec<u32>,
    /// Tokens that a completion may have.
    pub(super) longest: usize,
    /// Completions without an end teach nothing.
    pub(super) mask_cut: bool,
    /// Log-probabilities under the policy before a round's first update are needed.
    pub(super) old: bool,
    /// And those under the reference.
    pub(super) reference: bool,
    pub(super) present: Option<Round>,
    /// Rounds begun.
    pub(super) begun: u64,
    /// Micro-batches of the present round that have been taken.
    pub(super) at: usize,
    /// Tokens of prompts and completions so far.
    pub(super) tokens: u64,
    /// What the method keeps from one round to the next.
    pub(super) state: Vec<f64>,
}

impl Rounds {
    /// Nothing has been sampled yet. `old`, `reference`: whose log-probabilities the method needs.
    pub fn new(prompts: Vec<Prompt>, plan: RoundPlan, ends: Vec<u32>, longest: usize) -> Rounds {
        Rounds {
            prompts,
            plan,
            ends,
            longest,
            mask_cut: false,
            old: false,
            reference: false,
            present: None,
            begun: 0,
            at: 0,
            tokens: 0,
            state: Vec::new(),
        }
    }

    /// With completions that have no end judged or not, and the log-probabilities that are needed.
    #[must_use]
    pub fn needing(self, mask_cut: bool, old: bool, reference: bool) -> Rounds {
        Rounds { mask_cut, old, reference, ..self }
    }

    /// Tokens that end a completion.
    pub fn ends(&self) -> &[u32] {
        &self.ends
    }

    pub fn plan(&self) -> &RoundPlan {
        &self.plan
    }

    /// The dataset.
    pub fn prompts(&self) -> &[Prompt] {
        &self.prompts
    }

    /// True where rows bring completions and rewards.
    pub fn is_replayed(&self) -> bool {
        self.prompts.iter().any(|p| p.recorded.is_some())
    }

    /// True where log-probabilities under a reference are needed.
    pub fn has_reference(&self) -> bool {
        self.reference
    }

    /// The present round.
    pub fn round(&self) -> Option<&Round> {
        self.present.as_ref()
    }

    /// The same, to be filled in.
    pub fn round_mut(&mut self) -> Option<&mut Round> {
        self.present.as_mut()
    }

    /// A completion of the present round, by its number.
    ///
    /// # Panics
    /// Where there is no such completion.
    pub fn sample(&self, i: u32) -> &Sample {
        &self.present.as_ref().expect("a round").samples[i as usize]
    }

    /// True where the next update needs another round.
    pub(in crate::tune) fn is_done(&self) -> bool {
        self.present.as_ref().is_none_or(|r| self.at >= self.plan.micros(r.prompts.len()) * self.plan.iterations)
    }

    /// Rows of the micro-batches of the present round, learned once.
    pub(in crate::tune) fn chunks(&self) -> Vec<Vec<u32>> {
        let rows = self.present.as_ref().map_or(0, |r| self.plan.rows(r.prompts.len())) as u32;
        (0..rows).collect::<Vec<u32>>().chunks(self.plan.batch).map(<[u32]>::to_vec).collect()
    }

    /// Rows of the next update's micro-batches.
    pub(in crate::tune) fn draw(&self) -> Vec<Vec<u32>> {
        let chunks = self.chunks();
        let end = (self.at + self.plan.accumulation).min(chunks.len() * self.plan.iterations);
        (self.at..end).map(|i| chunks[i % chunks.len()].clone()).collect()
    }

    /// Micro-batches of the present round that have been taken.
    pub(in crate::tune) fn at(&self) -> usize {
        self.at
    }

    pub(in crate::tune) fn set_at(&mut self, at: usize) {
        self.at = at;
    }

    /// Judged tokens of a micro-batch, on average over the present round.
    pub fn tokens_per_micro(&self) -> f64 {
        let Some(round) = &self.present else { return 0.0 };
        let tokens: usize = round.samples.iter().map(Sample::judged).sum();
        tokens as f64 / self.plan.micros(round.prompts.len()) as f64
    }

    /// Puts a round in place of the one before.
    pub(in crate::tune) fn begin(&mut self, round: Round) {
        self.at = 0;
        self.present = Some(round);
    }

    /// The round in place is good: it counts.
    pub(in crate::tune) fn begun(&mut self) {
        let tokens = self.present.iter().flat_map(|r| &r.samples).map(|s| s.example.ids.len() as u64).sum::<u64>();
        self.tokens += tokens;
        self.begun += 1;
    }

    /// There is no round.
    pub(in crate::tune) fn clear(&mut self) {
        (self.present, self.at) = (None, 0);
    }

    /// A round of some prompts as their rows recorded it.
    pub(in crate::tune) fn replayed(&self, prompts: &[u32]) -> Round {
        let mut round = Round { number: self.begun, prompts: prompts.to_vec(), ..Round::default() };
        for p in prompts.iter().map(|p| &self.prompts[*p as usize]) {
            let Some(recorded) = &p.recorded else { continue };
            if round.judges.is_empty() {
                round.judges = recorded.per_func.iter().map(|f| f.0.clone()).collect();
            }
            for (i, (completion, reward)) in recorded.completions.iter().zip(&recorded.rewards).enumerate() {
                let score = |name: &String| recorded.per_func.iter().find(|f| f.0 == *name).map_or(*reward, |f| f.1[i]);
                let scores = round.judges.iter().map(score).collect();
                round.samples.push(Sample { reward: *reward, scores, ..Sample::new(&p.ids, completion, &self.ends, self.mask_cut) });
            }
        }
        if round.judges.is_empty() {
            round.judges.push("reward".into());
            round.samples.iter_mut().for_each(|s| s.scores = vec![s.reward]);
        }
        round
    }

    /// The sequences of a row of the dataset, judged or not: what was recorded of it, or the prompt alone.
    pub fn sequences(&self, row: u32) -> Vec<Example> {
        let p = &self.prompts[row as usize];
        match &p.recorded {
            None => vec![Example { labels: vec![IGNORE; p.ids.len()], ids: p.ids.clone(), ..Example::default() }],
            Some(r) => r.completions.iter().map(|c| Sample::new(&p.ids, c, &self.ends, self.mask_cut).example).collect(),
        }
    }

    /// A first micro-batch as long as it may become, of prompts as they stand: what a plan is made for before anything has been written.
    pub(in crate::tune) fn imagined(&self) -> Vec<Example> {
        let per = self.plan.generations;
        let of = |p: &Prompt| -> Vec<Example> {
            let answer = |n: usize| Example::from_parts([&p.ids[..], &vec![0; n]].concat(), p.ids.len());
            match &p.recorded {
                Some(r) => r.completions.iter().map(|c| answer(c.len())).collect(),
                None => (0..per).map(|_| answer(self.longest)).collect(),
            }
        };
        let sequences = if self.plan.grouped { self.plan.batch * per } else { self.plan.batch };
        self.prompts.iter().flat_map(of).take(sequences).collect()
    }

    /// What decides the dataset, in words.
    pub(in crate::tune) fn words(&self) -> impl Iterator<Item = Vec<u32>> + '_ {
        let bits = |v: &f64| [v.to_bits() as u32, (v.to_bits() >> 32) as u32];
        self.prompts.iter().flat_map(move |p| {
            let mut parts = vec![p.ids.clone(), serde_json::to_string(&p.columns).unwrap_or_default().bytes().map(u32::from).collect()];
            if let Some(r) = &p.recorded {
                parts.extend(r.completions.iter().cloned());
                parts.push(r.rewards.iter().flat_map(bits).collect());
            }
            parts
        })
    }
}
