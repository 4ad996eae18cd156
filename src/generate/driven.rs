//! Generations whose tokens are chosen on the host, step by step: beams, answers with processors that the device does not have or with their
//! alternatives, and tokens that were looked up and are checked several at once.

use super::beams::Beam;
use super::driver::Driver;
use super::engine::{End, Engine, NONE, Sees};
use super::options::{Event, FinishReason};
use super::processors::{banned, likeliest, log_softmax, lookup, rule};
use super::session::Session;
use crate::nn::Move;
use crate::ops::sample::pick;
use crate::{Error, Result};

impl Session {
    /// One more step behind the prompt.
    pub(super) async fn advance(&mut self, engine: &mut Engine, events: &mut Vec<Event>) -> Result<()> {
        match self.driver {
            Driver::Device => Ok(()),
            Driver::Host => self.choose(engine, events).await,
            Driver::Beams { .. } => self.search(engine, events).await,
            Driver::Lookup => self.check_drafts(engine, events).await,
        }
    }

    /// Logits (lanes, V) behind token number `at` of every answer, or those behind the prompt (1, V).
    async fn logits(&mut self, engine: &mut Engine, last: &[u32], at: usize) -> Result<Vec<f32>> {
        if let Some(logits) = self.logits.take() {
            return Ok(logits);
        }
        if at >= self.block {
            self.grow(engine)?;
        }
        let program = engine.program(last.len(), End::Rows, self.adapter.as_ref())?;
        program.write("ids", last);
        self.write_token(engine, &program, at, |_| true);
        let step = self.options.step(self.submitted, self.adapter.is_some());
        program.run_f32(&step, "logits").await
    }

    /// A token of every answer.
    async fn choose(&mut self, engine: &mut Engine, events: &mut Vec<Event>) -> Result<()> {
        let at = self.rows.iter().map(|r| r.tokens.len()).max().unwrap_or(0);
        let last: Vec<u32> = self.rows.iter().map(|r| r.tokens.last().copied().unwrap_or(0)).collect();
        let all = self.logits(engine, &last, at.saturating_sub(1)).await?;
        let vocab = engine.loaded.model.config().vocab_size;
        let step = self.options.step(at, self.adapter.is_some());
        let mut tokens = vec![0; self.rows.len()];
        for (i, row) in self.rows.iter_mut().enumerate().filter(|(_, r)| r.finished.is_none()) {
            // Behind the prompt there is one row for all.
            let logits = &all[if all.len() > vocab { i * vocab } else { 0 }..][..vocab];
            let logps = log_softmax(logits)?;
            let history = [&self.prompt[self.front..], &row.tokens].concat();
            let mut left: Vec<f64> = logits.iter().map(|v| f64::from(*v)).collect();
            banned(&history, self.options.no_repeat_ngram_size).for_each(|id| left[id as usize] = f64::NEG_INFINITY);
            rule(&mut left, &self.rules, &history, row.tokens.len(), self.limit);
            let mut seen = vec![false; vocab];
            history.iter().for_each(|id| seen[*id as usize] = true);
            let (token, _) = pick(&left, i as u32, &|id| seen[id], &step)
                .ok_or_else(|| Error::config("no_repeat_ngram_size", "leaves no token that may follow"))?;
            tokens[i] = token as u32;
            row.logps.push(logps[token]);
            if self.options.top_logprobs > 0 {
                row.top.push(likeliest(&logps, self.options.top_logprobs));
            }
        }
        self.submitted += 1;
        self.take(engine, &tokens, events);
        Ok(())
    }

    /// A step of all beams.
    async fn search(&mut self, engine: &mut Engine, events: &mut Vec<Event>) -> Result<()> {
        let Driver::Beams { beams, blocks, held } = &self.driver else { return Ok(()) };
        let (width, at) = (blocks.len(), beams.len());
        // Rows stand in the order of the blocks.
        let mut last = vec![0; width];
        for (beam, block) in beams.running().iter().zip(blocks) {
            last[*block] = beam.tokens.last().copied().unwrap_or(0);
        }
        let (blocks, mut held) = (blocks.clone(), held.clone());
        let all = self.logits(engine, &last, at.saturating_sub(1)).await?;
        if at > 0 {
            held.iter_mut().zip(&last).for_each(|(h, id)| h.push(*id));
        }
        let vocab = engine.loaded.model.config().vocab_size;
        let row = |block: &usize| &all[if all.len() > vocab { block * vocab } else { 0 }..][..vocab];
        let rows: Vec<&[f32]> = blocks.iter().map(row).collect();
        let Driver::Beams { beams, .. } = &mut self.driver else { return Ok(()) };
        let parents = beams.feed(&rows)?;
        let done = beams.is_done();
        let best = beams.best(self.options.n);
        // One of a beam's children stays where it is, the others take the blocks of beams that do not go on.
        let mut free: Vec<bool> = vec![true; width];
        let mut own: Vec<Option<usize>> = Vec::with_capacity(width);
        for parent in &parents {
            let block = blocks[*parent];
            own.push(std::mem::replace(&mut free[block], false).then_some(block));
        }
        let mut moves = Vec::new();
        let mut next = Vec::with_capacity(width);
        for (parent, own) in parents.iter().zip(own) {
            let block = own.or_else(|| free.iter().position(|f| *f)).expect("as many blocks as beams");
            free[block] = false;
            let from = blocks[*parent];
            if block != from && !done {
                // Beams begin alike.
                let same = held[from].iter().zip(&held[block]).take_while(|(a, b)| a == b).count();
                let slot = |block: usize| self.prompt.len() + block * self.block + same;
                moves.push(Move { from: slot(from), to: slot(block), len: held[from].len() - same });
                held[block] = held[from].clone();
            }
            next.push(block);
        }
        engine.copy_slots(&moves)?;
        let Driver::Beams { blocks, held: kept, .. } = &mut self.driver else { return Ok(()) };
        (*blocks, *kept) = (next, held);
        self.submitted += 1;
        if done {
            self.hand_over(engine, &best, events);
        }
        Ok(())
    }

    /// The best beams are the answers.
    fn hand_over(&mut self, engine: &Engine, best: &[Beam], events: &mut Vec<Event>) {
        for (index, (row, beam)) in self.rows.iter_mut().zip(best).enumerate() {
            for (i, id) in beam.tokens.iter().enumerate() {
                let ends = engine.ends.contains(id) && !self.options.ignore_eos;
                row.push(index, &engine.loaded, *id, ends && i + 1 == beam.tokens.len(), usize::MAX, events);
            }
            row.logps.clone_from(&beam.logps);
            row.score = Some(beam.score);
            if row.finished.is_none() {
                row.end(index, FinishReason::Length, events);
            }
        }
    }

    /// Beams whose search was ended: the best there are.
    pub(super) fn best_so_far(&mut self, engine: &Engine, events: &mut Vec<Event>) {
        let Driver::Beams { beams, .. } = &self.driver else { return };
        let best = beams.best(self.options.n);
        for (index, (row, beam)) in self.rows.iter_mut().zip(&best).enumerate().filter(|(_, (r, _))| r.finished.is_none()) {
            for id in &beam.tokens {
                row.push(index, &engine.loaded, *id, false, usize::MAX, events);
            }
            row.logps.clone_from(&beam.logps);
        }
    }

    /// What follows the last token, and whatever of the draft behind it is what would have followed.
    async fn check_drafts(&mut self, engine: &mut Engine, events: &mut Vec<Event>) -> Result<()> {
        let tokens = &self.rows[0].tokens;
        let at = tokens.len() - 1;
        let history = [&self.prompt[self.front..], tokens].concat();
        let most = self.options.prompt_lookup_num_tokens.min(self.limit - tokens.len() - 1);
        let ends: &[u32] = if self.options.ignore_eos { &[] } else { &engine.ends };
        let draft = lookup(&history, self.options.max_matching_ngram_size, most, ends);
        let ids = [&tokens[at..], &draft].concat();
        let count = ids.len();
        while at + count > self.block {
            self.grow(engine)?;
        }
        let m = count.next_power_of_two();
        let program = engine.program(m, End::Verify, self.adapter.as_ref())?;
        let (length, own) = (self.prompt.len(), |i: usize| i < count);
        let padded: Vec<u32> = (0..m).map(|i| ids.get(i).copied().unwrap_or(0)).collect();
        program.write("ids", &padded);
        program.write("positions", &(0..m).map(|i| if own(i) { (length + at + i) as u32 } else { 0 }).collect::<Vec<_>>());
        program.write("slots", &(0..m).map(|i| if own(i) { (length + at + i) as u32 } else { NONE }).collect::<Vec<_>>());
        let sees = |i: usize| Sees { prefix: NONE, base: 0, at: length + at + i, end: length + at + i + 1 };
        engine.write_spans(&program, m, |i| own(i).then(|| sees(i)));
        let step = self.options.step(self.submitted, self.adapter.is_some());
        let said = program.run(&step, &["token", "logp"]).await?;
        for (i, (&token, &logp)) in said[0].iter().zip(&said[1]).take(count).enumerate() {
            let logp = f32::from_bits(logp);
            if !logp.is_finite() {
                return Err(Error::NotFinite("the logits of the answer".into()));
            }
            self.rows[0].logps.push(logp);
            self.take(engine, &[token], events);
            if self.rows[0].finished.is_some() || draft.get(i) != Some(&token) {
                break;
            }
        }
        self.submitted += 1;
        Ok(())
    }
}
