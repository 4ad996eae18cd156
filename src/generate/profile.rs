//! What the kernels of a prompt and of a token take: for the benchmarks.

use super::engine::{End, Sees};
use super::options::GenerateOptions;
use super::session::Generator;
use crate::adapters::AdapterChoice;
use crate::graph::Profile;
use crate::{Error, Result};

impl Generator {
    /// Reads `prompt` under the base model and then decodes one token of each of `n` candidates, with a timer around every dispatch:
    /// (prefill, token). The cache is empty afterwards.
    ///
    /// # Errors
    /// As [`Generator::start`]; [`Error::Gpu`] where the adapter has no timestamps.
    pub async fn profile(&mut self, prompt: &[u32], n: usize) -> Result<(Profile, Profile)> {
        self.reset();
        self.check_prompt(prompt)?;
        let engine = &mut self.engine;
        if prompt.len() >= engine.context() {
            return Err(Error::ContextOverflow { needed: prompt.len() + 1, available: engine.context() });
        }
        engine.adapter(&AdapterChoice::Base)?;
        engine.reserve(prompt.len() + n, 0)?;
        let step = GenerateOptions { n, ..GenerateOptions::default() }.step(0, false);
        let (mut prefill, mut from): (Option<Profile>, usize) = (None, 0);
        while from < prompt.len() {
            let m = engine.chunk(prompt.len() - from);
            let count = m.min(prompt.len() - from);
            let last = from + count == prompt.len();
            let program = engine.program(m, if last { End::SampleLast(n) } else { End::Nothing }, None)?;
            engine.write_chunk(&program, m, prompt, from, count, 0);
            if last {
                program.write("last", &vec![count as u32 - 1; n]);
            }
            let chunk = program.profile(&step).await?;
            prefill = Some(match prefill {
                Some(before) => before.then(chunk),
                None => chunk,
            });
            from += count;
        }
        let program = engine.program(n, End::Sample, None)?;
        let at = prompt.len();
        program.write("ids", &vec![prompt[at - 1]; n]);
        program.write("positions", &vec![at as u32; n]);
        program.write("slots", &(0..n).map(|i| (at + i) as u32).collect::<Vec<_>>());
        engine.write_spans(&program, n, |i| Some(Sees { prefix: at as u32, base: (at + i) as u32, at, end: at + 1 }));
        let token = program.profile(&step).await?;
        self.reset();
        Ok((prefill.ok_or_else(|| Error::config("prompt", "is empty"))?, token))
    }
}
