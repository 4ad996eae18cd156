//! Recorded programs and the key/value cache they share. A program is keyed by its rows, what it ends in and the adapter's shape; the
//! position is data, so that one program decodes all positions.

use std::collections::HashMap;
use std::rc::Rc;

use crate::adapters::{ActiveAdapter, AdapterChoice, FRONT, LoadedModel};
use crate::data::{Front, Mask, bucket};
use crate::graph::{Desc, Exec, Mem, Program, ProgramOptions, SlotPool, StepParams, Tape, Tensor};
use crate::lru::Lru;
use crate::models::CachedInputs;
use crate::nn::{Adapter, KvCache, Move};
use crate::ops::embedding::GatherRows;
use crate::ops::sample::Sample;
use crate::{Error, Result};

/// "Nowhere" among slots and targets; what is no token among ids.
pub(super) const NONE: u32 = u32::MAX;

/// Rows of a prefill chunk.
pub(super) const BUCKETS: [usize; 5] = [16, 32, 64, 128, 256];
/// Largest chunk on a processor, where few rows may stand between an abort and its effect.
const SOFTWARE_CHUNK: usize = 64;
/// Slots a cache grows by.
const SLOTS: usize = 256;

/// What a program ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum End {
    /// Keys and values only: a prefill chunk with more to come.
    Nothing,
    /// `n` tokens sampled from the one row that input `last` names.
    SampleLast(usize),
    /// A token for every row.
    Sample,
    /// Logits of the row that `last` names.
    Logits,
    /// Logits of every row, each a token of another answer.
    Rows,
    /// A token for every row, which are tokens of one answer.
    Verify,
    /// Keys and values of virtual tokens, which the adapter makes.
    Front,
    /// ln p of input `targets` for every row.
    Logps,
    /// Keys and values that a decoder reads of its encoder.
    Source,
}

/// Rows, end, and the tensor with the adapter's values: two adapters of a shape share it, and nobody else does.
type Key = (usize, End, Option<u64>);

/// Most programs that are kept: a conversation with and without an adapter needs about a dozen.
const PROGRAMS: usize = 32;

/// What a row sees: keys in front of `prefix` lie in slots of their own number, the others behind `base` (see
/// [`crate::ops::attention::AttentionCached`]).
#[derive(Clone, Copy, Debug)]
pub(super) struct Sees {
    pub prefix: u32,
    pub base: u32,
    /// Its own position.
    pub at: usize,
    /// It sees what stands before this.
    pub end: usize,
}

/// What a decoder's layers read of an encoder: the first `len` slots are of its source.
pub(super) struct Kept {
    pub cache: KvCache,
    pub len: usize,
}

/// See the module.
pub(super) struct Engine {
    pub loaded: Rc<LoadedModel>,
    pub exec: Exec,
    cache: Option<KvCache>,
    programs: Lru<Key, Rc<Program>>,
    /// Activations of all programs: only one of them runs at a time, and what outlives it is no activation.
    pool: SlotPool,
    seen: HashMap<usize, Tensor>,
    /// What slots are copied through.
    scratch: Option<Mem>,
    /// Version of the weights that the programs were recorded with.
    version: u64,
    /// Tokens whose keys and values lie in slots 0, 1, …: what an adapter has in front, which is [`NONE`], and what was read.
    pub ids: Vec<u32>,
    /// Continuations of `ids`: first slot and tokens of every candidate of the last generation.
    pub tails: Vec<(usize, Vec<u32>)>,
    /// Adapter (its values' stamp) and weights that the cache was computed with.
    stamp: Option<(u64, u64)>,
    /// True while nobody has seen a finite number that came of what was written into the cache.
    pub unproven: bool,
    /// Tokens that end an answer.
    pub ends: Vec<u32>,
    /// The encoder's side, where there is one.
    pub kept: Option<Kept>,
}

impl Engine {
    pub fn new(loaded: Rc<LoadedModel>) -> Result<Engine> {
        let exec = loaded.model.exec().clone();
        exec.need_device("generation")?;
        if loaded.model.config().shape.encoder_decoder().is_none() {
            loaded.model.config().need_decoder("generation")?;
        }
        let version = loaded.model.version();
        let mut ends = loaded.model.config().eos_token_ids.clone();
        ends.extend(loaded.tokenizer.iter().flat_map(|t| t.end_token_ids()));
        Ok(Engine {
            loaded,
            ends,
            exec,
            cache: None,
            programs: Lru::new(PROGRAMS),
            pool: SlotPool::default(),
            seen: HashMap::new(),
            scratch: None,
            version,
            ids: Vec::new(),
            tails: Vec::new(),
            stamp: None,
            unproven: false,
            kept: None,
        })
    }

    /// Longest context, in tokens.
    pub fn context(&self) -> usize {
        self.loaded.info.context_length
    }

    /// Slots of the cache.
    pub fn capacity(&self) -> usize {
        self.cache.as_ref().map_or(0, KvCache::capacity)
    }

    /// Slots that one binding of the device can hold.
    pub fn most_slots(&self) -> usize {
        KvCache::most_slots(&self.exec, self.loaded.model.config().kv_width(), self.loaded.kv_cache_dtype)
    }

    /// Bytes of the cache.
    pub fn cache_bytes(&self) -> u64 {
        self.cache.iter().chain(self.kept.iter().map(|k| &k.cache)).map(KvCache::bytes).sum()
    }

    /// Bytes of the activations that its programs share.
    pub fn activation_bytes(&self) -> u64 {
        self.pool.bytes()
    }

    /// Forgets everything read (the memory is kept).
    pub fn forget(&mut self) {
        self.ids.clear();
        self.tails.clear();
    }

    /// Forgets what was recorded.
    pub fn forget_programs(&mut self) {
        self.programs.clear();
    }

    /// Forgets everything read, and the memory: slots that hold no numbers would reach others. Blocks of keys give those that a row does not see
    /// the weight 0, and 0 · NaN is NaN.
    pub fn discard(&mut self) {
        self.forget();
        self.cache = None;
        self.kept = None;
        self.programs.clear();
        self.unproven = false;
    }

    /// The adapter for a call; what the cache holds is forgotten if it was computed with other values.
    pub fn adapter(&mut self, choice: &AdapterChoice) -> Result<Option<ActiveAdapter>> {
        let adapter = self.loaded.adapters.resolve(choice)?;
        let version = self.loaded.model.version();
        if version != self.version {
            self.programs.clear();
            self.version = version;
        }
        let stamp = (adapter.as_ref().map_or(0, |a| a.stamp), version);
        if self.stamp != Some(stamp) {
            if self.unproven {
                self.discard();
            }
            self.forget();
            self.stamp = Some(stamp);
        }
        Ok(adapter)
    }

    /// Makes the cache begin with as much of `prompt` as has been read and gives the number of those tokens. At least the prompt's last token
    /// is left to be read again, for its logits. Tokens of a prefix have seen all of it: of another one nothing can be kept but what an adapter has
    /// in front.
    pub fn reuse(&mut self, prompt: &[u32]) -> Result<usize> {
        if self.prefixed() {
            let n = match self.ids == prompt {
                true => prompt.len().saturating_sub(1),
                false => self.ids.iter().take_while(|id| **id == NONE).count(),
            };
            self.ids.truncate(n);
            self.tails.clear();
            return Ok(n);
        }
        let common = |a: &[u32], b: &[u32]| a.iter().zip(b).take_while(|(x, y)| x == y).count();
        let mut n = common(&self.ids, prompt);
        if n == self.ids.len() {
            // The chat goes on from one of the candidates: the first slots of it that fit move behind the prompt's.
            let fits = self.tails.iter().map(|(base, t)| (common(t, &prompt[n..]), *base));
            if let Some((more, base)) = fits.max_by_key(|b| (b.0, std::cmp::Reverse(b.1))).filter(|b| b.0 > 0) {
                if base != n {
                    let moves = [Move { from: 0, to: 0, len: n }, Move { from: base, to: n, len: more }];
                    self.resize(self.capacity(), &moves)?;
                }
                n += more;
            }
        }
        let n = n.min(prompt.len().saturating_sub(1));
        self.ids = prompt[..n].to_vec();
        self.tails.clear();
        Ok(n)
    }

    /// Makes room for `slots`, keeping slots 0..`keep`.
    pub fn reserve(&mut self, slots: usize, keep: usize) -> Result<()> {
        if slots > self.capacity() {
            self.tails.clear(); // their slots are not carried over
            self.resize(slots, &[Move { from: 0, to: 0, len: keep }])?;
        }
        Ok(())
    }

    /// Another cache of at least `slots` with some slots carried over. Programs are bound to the cache and are recorded again.
    pub fn resize(&mut self, slots: usize, moves: &[Move]) -> Result<()> {
        let most = self.most_slots();
        if slots > most {
            return Err(Error::OutOfMemory(format!("a cache of {slots} tokens: bindings of this device end at {most}")));
        }
        let slots = slots.next_multiple_of(SLOTS).min(most);
        let model = &self.loaded.model;
        let new = match &self.cache {
            Some(old) => old.resized(model.exec(), slots, moves)?,
            None => model.cache(slots, self.loaded.kv_cache_dtype)?,
        };
        self.exec.check()?;
        self.cache = Some(new);
        self.programs.clear();
        Ok(())
    }

    /// Copies keys and values from slots to others, in order; none of them is read and written by the same move.
    pub fn copy_slots(&mut self, moves: &[Move]) -> Result<()> {
        let (Some(cache), true) = (&self.cache, moves.iter().any(|m| m.len > 0)) else { return Ok(()) };
        let needed = moves.iter().map(|m| cache.slot_bytes() * m.len as u64).max().unwrap_or(0);
        let scratch = match self.scratch.take().filter(|s| s.bytes() >= needed) {
            Some(s) => s,
            None => self.exec.storage("beams", needed.next_power_of_two())?,
        };
        cache.copy_slots(&self.exec, &scratch, moves);
        self.scratch = Some(scratch);
        self.exec.check()
    }

    /// Bitmaps of the tokens that the repetition penalty applies to, one row per candidate.
    fn seen(&mut self, n: usize) -> Result<Tensor> {
        if let Some(t) = self.seen.get(&n) {
            return Ok(t.clone());
        }
        let words = self.loaded.model.config().vocab_size.div_ceil(32);
        let t = Tensor::zeros(self.loaded.model.exec(), "seen", Desc::u32(&[n, words]))?;
        self.seen.insert(n, t.clone());
        Ok(t)
    }

    /// Sets the bitmaps of `n` candidates to the tokens of a prompt.
    pub fn mark_seen(&mut self, n: usize, prompt: &[u32]) -> Result<()> {
        let t = self.seen(n)?;
        let mut row = vec![0u32; t.desc().cols()];
        for id in prompt.iter().filter(|id| **id != NONE) {
            row[*id as usize / 32] |= 1 << (id % 32);
        }
        let rows: Vec<u32> = (0..n).flat_map(|_| row.iter().copied()).collect();
        t.write_elements(self.loaded.model.exec(), 0, bytemuck::cast_slice(&rows))
    }

    /// The program of `m` rows; it is recorded at its first use.
    pub fn program(&mut self, m: usize, end: End, adapter: Option<&ActiveAdapter>) -> Result<Rc<Program>> {
        // Behind what an adapter has in front, the model is the base's, unless it changes linears, too.
        let own = adapter.filter(|a| end == End::Front || a.recorded().is_some());
        let key = (m, end, own.map(|a| a.set.params().id()));
        if let Some(p) = self.programs.get(&key) {
            return Ok(p.clone());
        }
        let tape = self.record(m, end, adapter)?;
        // A token is one submit; a chunk of a prompt is several, so that a page keeps painting.
        let per_submit = if end == End::Sample { 4096 } else { 64 };
        let program =
            Rc::new(Program::build_in(&self.exec, &tape, ProgramOptions { per_submit, ..ProgramOptions::default() }, &self.pool)?);
        if self.pool.outgrown() {
            // Earlier programs hold the smaller slots: they are recorded again when they are needed.
            self.programs.clear();
        }
        self.programs.insert(key, program.clone());
        Ok(program)
    }

    fn record(&mut self, m: usize, end: End, adapter: Option<&ActiveAdapter>) -> Result<Tape> {
        let model = self.loaded.model.clone();
        let mut tape = Tape::new();
        let kept = self.kept.as_ref().map(|k| &k.cache);
        if end == End::Source {
            let cross = kept.ok_or_else(|| Error::shape("generate", "no room has been made for a source"))?;
            model.record_kept(&mut tape, m, cross, adapter.and_then(ActiveAdapter::recorded))?;
            return Ok(tape);
        }
        let inputs = CachedInputs {
            ids: tape.input("ids", Desc::u32(&[m])),
            positions: tape.input("positions", Desc::u32(&[m])),
            slots: tape.input("slots", Desc::u32(&[m])),
            spans: tape.input("spans", Desc::u32(&[m, 4])),
            window_spans: model.window().map(|_| tape.input("window_spans", Desc::u32(&[m, 4]))),
            apart: matches!(end, End::Sample | End::Rows),
            cross: kept.map(|cross| (cross, tape.input("cross_spans", Desc::u32(&[m, 4])))),
        };
        let cache = self.cache.as_ref().ok_or_else(|| Error::shape("generate", "no cache has been reserved"))?;
        if end == End::Front {
            let placed = adapter.map(|a| a.set.place(&mut tape, m, 1, false)).transpose()?;
            model.record_cached(&mut tape, &inputs, cache, placed.as_ref().map(|a| a as &dyn Adapter))?;
            return Ok(tape);
        }
        let adapter = adapter.and_then(ActiveAdapter::recorded);
        let mut x = model.record_cached(&mut tape, &inputs, cache, adapter)?;
        let chosen = match end {
            // Nothing reads the last block's output; it stays what it is, an unread slot.
            End::Nothing | End::Front | End::Source => return Ok(tape),
            End::SampleLast(n) => Some(n),
            End::Logits => Some(1),
            End::Sample | End::Logps | End::Rows | End::Verify => None,
        };
        if let Some(n) = chosen {
            let last = tape.input("last", Desc::u32(&[n]));
            // The inverse index is read by the backward pass alone: any table of M values stands in for it.
            x = tape.push1(GatherRows, &[x, last, inputs.slots])?;
        }
        if end == End::Logps {
            let hidden = model.record_norm(&mut tape, x)?;
            let targets = tape.input("targets", Desc::u32(&[m]));
            let logp = model.record_logps(&mut tape, hidden, targets, adapter, false, false)?;
            tape.output("logp", logp);
            return Ok(tape);
        }
        let logits = model.record_next(&mut tape, x, adapter)?;
        if matches!(end, End::Logits | End::Rows) {
            tape.output("logits", logits);
            return Ok(tape);
        }
        let n = tape.desc(logits).rows();
        let seen = tape.tensor(&self.seen(n)?);
        let (token, logp) = (tape.temp(Desc::u32(&[n])), tape.temp(Desc::f32(&[n])));
        tape.push_into(Sample, &[logits], &[(token, false), (logp, false), (seen, true)])?;
        tape.output("token", token);
        tape.output("logp", logp);
        Ok(tape)
    }

    /// Puts what an adapter has in front into the first slots of the cache, unless it is there.
    pub async fn fill_front(&mut self, adapter: Option<&ActiveAdapter>) -> Result<()> {
        let Some(adapter) = adapter else { return Ok(()) };
        let front = adapter.set.front();
        let n = front.count();
        if n == 0 || self.ids.len() >= n {
            return Ok(());
        }
        match front {
            Front::Nothing => {}
            Front::Keys(_) => {
                let cache = self.cache.as_ref().ok_or_else(|| Error::shape("generate", "no cache has been reserved"))?;
                adapter.set.write_keys(cache).await?;
            }
            Front::Tokens(_) => {
                let ids = vec![NONE; n];
                let mut from = 0;
                while from < n {
                    let m = self.chunk(n - from);
                    let count = m.min(n - from);
                    let program = self.program(m, End::Front, Some(adapter))?;
                    program.compile().await?;
                    self.write_chunk(&program, m, &ids, from, count, 0);
                    let rows: Vec<u32> = (0..m).map(|i| if i < count { (from + i) as u32 } else { NONE }).collect();
                    program.write(FRONT, &rows);
                    program.submit(&StepParams { lora: 1.0, ..StepParams::default() });
                    program.check()?;
                    from += count;
                }
            }
        }
        self.ids = vec![NONE; n];
        self.tails.clear();
        Ok(())
    }

    /// Do the tokens of a prompt see one another?
    pub fn prefixed(&self) -> bool {
        self.loaded.model.mask() == Mask::Prefix
    }

    /// Rows of the next chunk when `left` tokens of a prompt are left. Those of a prefix are one chunk, whatever their number: in every layer each
    /// of them reads the keys of all.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] for a prefix whose activations are no binding of the device.
    pub fn rows(&self, left: usize) -> Result<usize> {
        if self.has_source() {
            // The one token that the decoder begins with.
            return Ok(left);
        }
        if !self.prefixed() {
            return Ok(self.chunk(left));
        }
        let m = bucket(left);
        match self.exec.is_processor() || m as u64 * self.widest() <= self.exec.max_binding() {
            true => Ok(m),
            false => Err(Error::OutOfMemory(format!("a prefix of {left} tokens is read at once: bindings of this device are too small"))),
        }
    }

    /// Bytes of the widest activation of a row.
    pub fn widest(&self) -> u64 {
        let config = self.loaded.model.config();
        (2 * config.intermediate_size).max(config.hidden_size + 2 * config.kv_width()) as u64 * 4
    }

    /// Rows of the next prefill chunk when `left` tokens are left: on a processor every row costs, idle ones too; on a GPU one large
    /// chunk costs least.
    pub fn chunk(&self, left: usize) -> usize {
        if self.exec.is_processor() {
            let fits = BUCKETS.iter().rev().find(|b| **b <= left && **b <= SOFTWARE_CHUNK);
            return fits.copied().unwrap_or(BUCKETS[0]);
        }
        // The widest activation of a chunk is one binding.
        let widest = self.widest();
        let fits = |b: &usize| *b == BUCKETS[0] || *b as u64 * widest <= self.exec.max_binding();
        let most = BUCKETS.iter().copied().rev().find(fits).unwrap_or(BUCKETS[0]);
        BUCKETS.iter().copied().find(|b| *b >= left).map_or(most, |b| b.min(most))
    }

    /// Writes the inputs of a chunk: tokens `from..from + count` of `prompt` in a program of `m` rows. The first `whole` tokens see one another.
    pub fn write_chunk(&self, program: &Program, m: usize, prompt: &[u32], from: usize, count: usize, whole: usize) {
        let mut ids = vec![0u32; m];
        let mut positions = vec![0u32; m];
        let mut slots = vec![NONE; m];
        ids[..count].copy_from_slice(&prompt[from..from + count]);
        for i in 0..count {
            positions[i] = self.position(from + i);
            slots[i] = (from + i) as u32;
        }
        program.write("ids", &ids);
        program.write("positions", &positions);
        program.write("slots", &slots);
        let sees = |at: usize| Sees { prefix: NONE, base: 0, at, end: whole.max(at + 1) };
        self.write_spans(program, m, |i| (i < count).then(|| sees(from + i)));
    }

    /// Writes the spans of `m` rows, `None` for a row that sees nothing. A window bounds both sides, as in [`crate::data::Sight`].
    pub fn write_spans(&self, program: &Program, m: usize, row: impl Fn(usize) -> Option<Sees>) {
        let spans = |window: Option<usize>| -> Vec<u32> {
            (0..m)
                .flat_map(|i| match row(i) {
                    Some(Sees { prefix, base, at, end }) => {
                        let (begin, end) = window.map_or((0, end), |w| ((at + 1).saturating_sub(w), end.min(at + w.max(1))));
                        [prefix, base, begin as u32, end as u32]
                    }
                    None => [0; 4],
                })
                .collect()
        };
        program.write("spans", &spans(None));
        if program.has_input("window_spans") {
            program.write("window_spans", &spans(self.loaded.model.window()));
        }
        self.write_cross_spans(program, m, |i| row(i).is_some());
    }
}
