//! Getting ready before the first request: the programs of usual shapes are recorded, and every kernel they name is compiled and launched
//! once, because some drivers finish compiling at the first launch only. Of a program that decodes, all of it: on the processor of a browser,
//! too, which compiles well only what has run.

use std::collections::VecDeque;

use super::driver::Driver;
use super::engine::{BUCKETS, End, NONE};
use super::options::GenerateOptions;
use super::session::Generator;
use crate::adapters::ActiveAdapter;
use crate::{Error, Result};

/// Tokens of a prompt that a cache is made for where none is known.
const USUAL_PROMPT: usize = 256;

/// Tokens that a browser's processor decodes ahead: behind a single one V8 is still compiling on the threads that the first answer needs, and
/// its first token takes up to twice as long as the fifth.
const BROWSER_TOKENS: usize = 4;

/// What is still to be made ready; dropping it leaves the rest to the first request.
pub struct Warming {
    left: VecDeque<(usize, End)>,
    adapter: Option<ActiveAdapter>,
}

impl Generator {
    /// What a generation with `options` needs, for a prompt of `prompt` tokens or, where that is not known, for chunks of all sizes. It makes
    /// the cache. On the processor, where we compile nothing, it is a few tokens in a browser and nothing elsewhere.
    ///
    /// # Errors
    /// As [`Generator::start`].
    pub fn warming(&mut self, prompt: Option<usize>, options: &GenerateOptions) -> Result<Warming> {
        self.idle()?;
        options.validate()?;
        let (n, context) = (options.lanes(), self.engine.context());
        let rules = self.engine.rules(options)?;
        let (behind, decodes) = Driver::ends(options, &rules);
        let engine = &mut self.engine;
        let cpu = engine.exec.gpu().is_none();
        if cpu && !cfg!(target_arch = "wasm32") {
            return Ok(Warming { left: VecDeque::new(), adapter: None });
        }
        let adapter = engine.adapter(&options.adapter)?;
        // As much as `start` will ask for.
        let front = adapter.as_ref().map_or(0, ActiveAdapter::in_front);
        let asked = prompt.unwrap_or(USUAL_PROMPT);
        let source = engine.has_source().then(|| asked.min(context));
        if let Some(tokens) = source {
            engine.reserve_source(tokens)?;
        }
        let tokens = (front + if source.is_some() { 1 } else { asked }).min(context.saturating_sub(1));
        let room = engine.most_slots().saturating_sub(tokens) / n;
        let limit = options.max_new_tokens.min(context - tokens).min(room).min(256);
        let keep = engine.ids.len();
        engine.reserve((tokens + n * limit).min(engine.most_slots()), keep)?;
        let mut shapes = Vec::new();
        match prompt {
            _ if cpu => {}
            _ if source.is_some() => shapes.extend([(engine.source_rows(source.unwrap_or(1)), End::Source), (1, behind)]),
            Some(mut left) => {
                while left > 0 {
                    let m = engine.rows(left)?;
                    shapes.push((m, if left > m { End::Nothing } else { behind }));
                    left -= m.min(left);
                }
            }
            // A prefix is one chunk of its own size.
            None if engine.prefixed() => {}
            // What any number of tokens is cut into.
            None => {
                for b in BUCKETS {
                    let m = engine.chunk(b);
                    shapes.push((m, behind));
                    shapes.extend((engine.chunk(usize::MAX) == m || engine.exec.is_processor()).then_some((m, End::Nothing)));
                }
            }
        }
        shapes.push((n, decodes));
        // The largest first: the slots of the others are parts of its.
        shapes.sort_by_key(|s| std::cmp::Reverse((s.0, s.1 == behind)));
        shapes.dedup();
        if cpu {
            shapes.resize(BROWSER_TOKENS, (n, decodes));
        }
        Ok(Warming { left: shapes.into(), adapter })
    }

    /// Makes the next program ready; `false` when all are.
    ///
    /// # Errors
    /// Whatever the device reports; [`Error::Busy`] during a generation.
    pub async fn warm_next(&mut self, warming: &mut Warming) -> Result<bool> {
        if self.generating() {
            return Err(Error::Busy("a generation is running: warm up before it or behind it".into()));
        }
        let Some((m, end)) = warming.left.pop_front() else { return Ok(false) };
        let adapter = warming.adapter.as_ref();
        let program = self.engine.program(m, end, adapter)?;
        // Rows that see nothing and leave nothing.
        program.write("slots", &vec![NONE; m]);
        match end {
            End::Source => program.write("spans", &vec![0; 2 * m]),
            _ => self.engine.write_spans(&program, m, |_| None),
        }
        program.compile().await?;
        let step = GenerateOptions::default().step(0, adapter.is_some());
        if end == End::Sample {
            // Drivers and wgpu put off more than compiling until a buffer or a bind group is first used, and the first token would wait for it.
            // It sees nothing and writes no key; the token it samples leaves a bit among those seen, which a start with a penalty sets anew.
            program.submit(&step);
        } else {
            program.launch_fresh(&step);
        }
        self.engine.exec.done().await?;
        program.check()?;
        Ok(true)
    }

    /// All of [`Generator::warming`].
    ///
    /// # Errors
    /// As [`Generator::warming`] and [`Generator::warm_next`].
    pub async fn warm(&mut self, prompt: Option<usize>, options: &GenerateOptions) -> Result<()> {
        let mut warming = self.warming(prompt, options)?;
        while self.warm_next(&mut warming).await? {}
        Ok(())
    }
}
