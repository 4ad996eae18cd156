//! Rounds that the policy writes: completions sampled from the model that is trained, and rewarded.

use std::rc::Rc;

use serde_json::{Map, Value};

use super::record::record;
use super::round::{Round, Rounds, Sample};
use super::source::{Awaited, Rollouts};
use crate::adapters::{AdapterChoice, AdapterSet, LoadedModel};
use crate::generate::{Candidate, GenerateOptions, Generator};
use crate::tune::rewards::{Judges, RewardBatch};
use crate::tune::values::Values;
use crate::{Error, Result};

/// Hears of every round, as JSON objects in the columns that replay it.
pub type Recorder = Box<dyn FnMut(&[Value]) -> Result<()>>;

/// Says whether sampling is to end: the round is then given up.
pub type Stop = Box<dyn Fn() -> bool>;

/// Samples with the adapter that is trained, all completions of a prompt from one prefill.
pub struct Sampled {
    generator: Generator,
    loaded: Rc<LoadedModel>,
    set: Rc<AdapterSet>,
    name: String,
    options: GenerateOptions,
    seed: u32,
    judges: Judges,
    recorder: Option<Recorder>,
    stop: Option<Stop>,
}

/// How a configuration samples.
pub fn sampling(values: &Values) -> GenerateOptions {
    let longest = values
        .opt_whole("max_completion_length")
        .or_else(|| values.opt_whole("max_new_tokens"))
        .or_else(|| values.opt_whole("response_length"));
    GenerateOptions {
        max_new_tokens: longest.unwrap_or(256) as usize,
        temperature: values.number("temperature") as f32,
        top_k: values.opt_whole("top_k").unwrap_or(0) as u32,
        top_p: values.opt_number("top_p").unwrap_or(1.0) as f32,
        min_p: values.opt_number("min_p").unwrap_or(0.0) as f32,
        repetition_penalty: values.opt_number("repetition_penalty").unwrap_or(1.0) as f32,
        ..GenerateOptions::default()
    }
}

/// The seed of a prompt in a round.
fn mixed(seed: u32, round: u64, prompt: usize) -> u32 {
    let mut z = (u64::from(seed) << 32) ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (prompt as u64).wrapping_mul(0xd1b5_4a32_d192_ed03);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as u32
}

impl Sampled {
    /// # Errors
    /// As [`Generator::new`].
    pub fn new(
        loaded: Rc<LoadedModel>,
        (set, name): (Rc<AdapterSet>, String),
        options: GenerateOptions,
        seed: u32,
        judges: Judges,
        (recorder, stop): (Option<Recorder>, Option<Stop>),
    ) -> Result<Sampled> {
        options.validate()?;
        Ok(Sampled { generator: Generator::new(loaded.clone())?, loaded, set, name, options, seed, judges, recorder, stop })
    }

    /// All completions of a prompt.
    async fn complete(&mut self, prompt: &[u32], options: GenerateOptions) -> Result<Vec<Candidate>> {
        self.generator.start(prompt, options)?;
        while self.generator.step().await?.is_some() {
            if self.stop.as_ref().is_some_and(|stop| stop()) {
                self.generator.reset();
                return Err(Error::Aborted);
            }
        }
        self.generator.finish().await
    }

    async fn round(&mut self, rounds: &Rounds, prompts: &[u32]) -> Result<Round> {
        let generations = rounds.plan().generations;
        let mut round = Round { number: rounds.begun, prompts: prompts.to_vec(), judges: self.judges.names().to_vec(), ..Round::default() };
        // The policy as it is now writes.
        self.loaded.adapters.put(&self.name, &self.set)?;
        // What it has read so far decides nothing.
        self.generator.reset();
        let mut batch = RewardBatch::default();
        for (i, place) in prompts.iter().enumerate() {
            let prompt = &rounds.prompts()[*place as usize];
            let seed = mixed(self.seed, round.number, i);
            let adapter = AdapterChoice::Named(self.name.clone());
            let options = GenerateOptions { n: generations, seed, adapter, ..self.options.clone() };
            for c in self.complete(&prompt.ids, options).await? {
                let sample = Sample::new(&prompt.ids, &c.token_ids, &rounds.ends, rounds.mask_cut);
                batch.prompts.push(prompt.asked.clone());
                batch.completions.push(c.text.clone());
                batch.sequences.push([&prompt.ids[..], &c.token_ids].concat());
                batch.completion_ids.push(c.token_ids);
                batch.cut.push(sample.cut);
                batch.rows.push(prompt.row);
                round.samples.push(Sample { text: c.text, seed: Some(seed), ..sample });
            }
        }
        batch.columns = columns(rounds, prompts, generations);
        let scores = self.judges.score(&batch).await?;
        for (sample, scores) in round.samples.iter_mut().zip(scores) {
            sample.reward = self.judges.total(&scores);
            sample.scores = scores;
        }
        Ok(round)
    }
}

/// The prompts' other columns, a value for each completion.
fn columns(rounds: &Rounds, prompts: &[u32], generations: usize) -> Map<String, Value> {
    let rows = || prompts.iter().map(|p| &rounds.prompts()[*p as usize].columns);
    let mut all = Map::new();
    for name in rows().flat_map(|row| row.keys()) {
        if !all.contains_key(name) {
            let of = |row: &Map<String, Value>| vec![row.get(name).cloned().unwrap_or(Value::Null); generations];
            all.insert(name.clone(), rows().flat_map(of).collect());
        }
    }
    all
}

impl Rollouts for Sampled {
    fn write<'a>(&'a mut self, rounds: &'a Rounds, prompts: &'a [u32]) -> Awaited<'a, Round> {
        Box::pin(self.round(rounds, prompts))
    }

    fn judged(&mut self, rounds: &Rounds) -> Result<()> {
        match &mut self.recorder {
            Some(recorder) => recorder(&record(rounds)),
            None => Ok(()),
        }
    }

    fn wants_old(&self) -> bool {
        self.recorder.is_some()
    }
}
