//! A Transformer of one stack on a device and what is recorded of it.

use std::cell::Cell;

use super::Config;
use super::blueprint::Blueprint;
use super::heads::Heads;
use super::names::Role;
use super::rope::Rope;
use super::stack::{SourceInputs, Stack, sinusoids};
use crate::data::{BatchShape, Mask};
use crate::formats::peft::LoraPair;
use crate::graph::{Desc, Exec, Tape, Tensor, Val};
use crate::nn::{
    Adapter, Block, Branch, Embedding, Extra, Forward, Keys, KvCache, KvCacheDtype, Linear, Norm, ParamStore, Pass, RopeTable, Source,
};
use crate::ops::elementwise::{Add, Noise, Scale};
use crate::ops::head::LinearLogps;
use crate::ops::loss::GatherLogps;
use crate::ops::softcap::SoftCap;
use crate::tensor::DType;
use crate::{Error, Result};

/// A model. Shared as `Rc<Model>`.
pub struct Model {
    config: Config,
    params: ParamStore,
    embed: Embedding,
    positions: Option<Embedding>,
    types: Option<Embedding>,
    embed_norm: Option<Norm>,
    blocks: Vec<Block>,
    norm: Option<Norm>,
    /// The output layer: the embedding itself where they are tied.
    head: Linear,
    heads: Heads,
    /// The encoder of an encoder-decoder.
    source: Option<Stack>,
    /// As [`Config::ropes`].
    ropes: Vec<RopeTable>,
    /// Grows whenever weights change (merging): recorded programs and caches of before are void.
    version: Cell<u64>,
    mask: Cell<Mask>,
}

/// What is asked of the head for each row.
#[derive(Clone, Copy, Debug)]
pub struct Judge {
    /// Dropout is on.
    pub train: bool,
    /// The head is frozen and a backward pass follows.
    pub saved: bool,
    /// Entropies, too.
    pub spread: bool,
    /// ε of label smoothing: what [`Judged::logps`] then are, stands at [`LinearLogps::smoothing`].
    pub smoothing: f32,
    /// The logits are divided by it.
    pub temperature: f32,
}

impl Default for Judge {
    fn default() -> Self {
        Judge { train: false, saved: false, spread: false, smoothing: 0.0, temperature: 1.0 }
    }
}

/// What the head gives for each row.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// Log-probability of the target (R).
    pub logps: Val,
    /// Entropy and ln Σ p² (R, 2), where they were asked for.
    pub spread: Option<Val>,
    /// What the head's weight multiplies (R, C).
    pub states: Val,
    /// `∂logp/∂states` (R, C), where it is saved and the logits are linear in the states.
    pub slope: Option<Val>,
}

/// Values of a pass over whole sequences, `batch` rows of equal length.
#[derive(Clone, Copy, Debug)]
pub struct TrainInputs {
    pub batch: usize,
    /// (B·T) u32
    pub ids: Val,
    /// (B·T) u32
    pub positions: Val,
    /// (B·T, 2) u32: keys [begin, end) inside the sequence that each query sees.
    pub spans: Val,
    /// The same for windowed layers, where the model has some.
    pub window_spans: Option<Val>,
    /// (B·T) u32: the segment of each token, where the model tells segments apart.
    pub types: Option<Val>,
    /// What the encoder of an encoder-decoder reads, and who sees what of it.
    pub source: Option<SourceInputs>,
}

impl TrainInputs {
    /// Inputs of a tape by these names, for a batch of this shape.
    pub fn declare(tape: &mut Tape, model: &Model, shape: &BatchShape) -> TrainInputs {
        let BatchShape { batch, len, source, .. } = *shape;
        let m = batch * len;
        TrainInputs {
            batch,
            ids: tape.input("ids", Desc::u32(&[m])),
            positions: tape.input("positions", Desc::u32(&[m])),
            spans: tape.input("spans", Desc::u32(&[m, 2])),
            window_spans: model.window().map(|_| tape.input("window_spans", Desc::u32(&[m, 2]))),
            types: model.has_types().then(|| tape.input("types", Desc::u32(&[m]))),
            source: model.source.is_some().then(|| SourceInputs::declare(tape, batch, source, len)),
        }
    }
}

/// Values of a pass over M tokens with a cache.
#[derive(Clone, Copy)]
pub struct CachedInputs<'a> {
    /// (M) u32
    pub ids: Val,
    /// (M) u32
    pub positions: Val,
    /// (M) u32: where keys and values go; 0xffffffff = nowhere.
    pub slots: Val,
    /// (M, 4) u32: (prefix_len, own_base, begin, end), see `ops::attention::AttentionCached`.
    pub spans: Val,
    /// The same for windowed layers, where the model has some.
    pub window_spans: Option<Val>,
    /// The rows are one token of each of M answers: see `ops::attention::AttentionAppend`.
    pub apart: bool,
    /// Of an encoder-decoder: keys and values of its encoder's side, and what each row sees of them, (M, 4) u32 as `spans`.
    pub cross: Option<(&'a KvCache, Val)>,
}

impl Model {
    /// Allocates a model with all weights zero; a loader fills them. `trainable`: all weights F32 in one buffer.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Shape`].
    pub fn allocate(exec: &Exec, config: Config, dtype: &dyn Fn(&str) -> DType, trainable: bool) -> Result<Model> {
        let plain = |_: &str| DType::F32;
        let Blueprint { specs, embed, positions, types, embed_norm, blocks, norm, head, heads, source, computed } =
            Blueprint::new(&config, if trainable { &plain } else { dtype });
        let params = ParamStore::allocate(exec, &specs, trainable)?;
        for id in computed {
            let (t, width) = (params.tensor(id), config.hidden_size);
            params.replace(id, Tensor::from_f64(exec, t.name(), &t.desc().shape, &sinusoids(t.desc().rows(), width))?);
        }
        let ropes = config.ropes().into_iter().map(|r| table(exec, r)).collect::<Result<_>>()?;
        Ok(Model {
            config,
            params,
            embed,
            positions,
            types,
            embed_norm,
            blocks,
            norm,
            head,
            heads,
            source,
            ropes,
            version: Cell::new(0),
            mask: Cell::default(),
        })
    }

    /// A model with random weights to be trained from nothing: normal with σ 0.02, the two projections that end in the residual
    /// stream scaled by 1/√(2·layers) (Radford et al. 2019), norms one, biases zero.
    ///
    /// # Errors
    /// As [`Model::allocate`].
    pub fn random(exec: &Exec, config: Config, seed: u64) -> Result<Model> {
        let model = Model::allocate(exec, config, &|_| DType::F32, true)?;
        let ends = 1.0 / (2.0 * model.config.num_hidden_layers as f32).sqrt();
        let mut state = seed;
        let mut unit = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        let paths: Vec<String> = model.params.paths().map(str::to_string).collect();
        for path in paths {
            let shape = model.params.find(&path).map(|p| p.shape.clone()).unwrap_or_default();
            let count: usize = shape.iter().product();
            let scale = if model.config.names.role(&path).is_some_and(Role::ends_branch) { 0.02 * ends } else { 0.02 };
            let values: Vec<f32> = match (shape.len(), path.ends_with(".bias")) {
                (1, true) => vec![0.0; count],
                (1, false) => vec![1.0; count],
                _ => (0..count)
                    .map(|_| {
                        let (u, v) = (1.0 - unit(), unit());
                        // Box–Muller
                        ((-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()) as f32 * scale
                    })
                    .collect(),
            };
            model.params.set(&path, &values)?;
        }
        Ok(model)
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn exec(&self) -> &Exec {
        self.params.exec()
    }

    pub fn params(&self) -> &ParamStore {
        &self.params
    }

    /// Bytes of weights that decoding one token reads: all but the rows of an embedding that is not the head, too.
    pub fn token_bytes(&self) -> u64 {
        let embedding = if self.config.tie_word_embeddings { 0 } else { self.params.tensor(self.embed.weight).desc().gpu_bytes() };
        self.params.bytes() - embedding
    }

    /// Changes whenever weights change.
    pub fn version(&self) -> u64 {
        self.version.get()
    }

    /// Whoever changes weights says so: what was computed of the old ones is void.
    pub fn changed(&self) {
        self.version.set(self.version.get() + 1);
    }

    /// Which keys its tokens see, in training and in generation.
    pub fn mask(&self) -> Mask {
        self.mask.get()
    }

    /// Another one; caches of before are void.
    pub fn set_mask(&self, mask: Mask) {
        if self.mask.replace(mask) != mask {
            self.changed();
        }
    }

    /// The window of its windowed layers.
    pub fn window(&self) -> Option<usize> {
        self.config.sliding_window.filter(|_| self.config.has_windows())
    }

    /// Vocabulary head (V, C); the embedding itself where they are tied.
    pub fn head(&self) -> Tensor {
        self.params.tensor(self.head.weight)
    }

    /// What an encoder has behind its hidden states.
    pub(super) fn heads(&self) -> &Heads {
        &self.heads
    }

    /// Whether it tells segments apart.
    pub fn has_types(&self) -> bool {
        self.types.is_some()
    }

    /// Module path of the output layer.
    pub fn head_path(&self) -> String {
        self.config.names.end(Role::Head)
    }

    /// Divides the rotary frequencies: the table a GGUF of Llama 3.1 carries in place of `rope_scaling`.
    pub(super) fn set_rope_factors(&self, file: &str, factors: &[f32]) -> Result<()> {
        let Some(rope) = &self.config.rope else { return Ok(()) };
        let (freq, _) = rope.table()?;
        if factors.len() != freq.len() || factors.iter().any(|f| !(f.is_finite() && *f > 0.0)) {
            return Err(Error::file(
                file,
                format!("rope_freqs.weight has {} factors, expected {} positive numbers", factors.len(), freq.len()),
            ));
        }
        let freq: Vec<f64> = freq.iter().zip(factors).map(|(f, d)| f64::from(f / d)).collect();
        self.ropes[0].inv_freq.set_f64(self.exec(), &freq);
        Ok(())
    }

    /// All linears that an adapter may be put on, in order of their index: those of the blocks, an encoder's heads, and the output layer.
    pub fn linears(&self) -> Vec<&Linear> {
        let source = self.source.iter().flat_map(|s| &s.blocks);
        source.chain(&self.blocks).flat_map(Block::linears).chain(self.heads.linears()).chain([&self.head]).collect()
    }

    /// Module paths of the blocks' linears, as `target_modules` matches them: what an adapter is put on unless it names the output layer.
    pub fn linear_paths(&self) -> Vec<&str> {
        let blocks = self.linears().into_iter().filter(|l| l.index != self.head.index);
        blocks.flat_map(|l| l.parts.iter().map(|p| p.path.as_str())).collect()
    }

    fn forward<'a>(&'a self, adapter: Option<&'a dyn Adapter>, train: bool) -> Forward<'a> {
        Forward { params: &self.params, adapter, train }
    }

    fn multiplied(&self, tape: &mut Tape, x: Val) -> Result<Val> {
        match self.config.embedding_multiplier {
            1.0 => Ok(x),
            factor => tape.push1(Scale { factor }, &[x]),
        }
    }

    /// Rows of the table of tokens, multiplied as the family does.
    pub(super) fn embed_tokens(&self, tape: &mut Tape, cx: &Forward<'_>, ids: Val) -> Result<Val> {
        let x = self.embed.forward(tape, cx, ids)?;
        self.multiplied(tape, x)
    }

    /// Those of the decoder, where there are two stacks.
    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The encoder of an encoder-decoder.
    pub(super) fn stack(&self) -> Option<&Stack> {
        self.source.as_ref()
    }

    pub(super) fn ropes(&self) -> &[RopeTable] {
        &self.ropes
    }

    fn embed(&self, tape: &mut Tape, cx: &Forward<'_>, ids: Val, positions: Val, types: Option<Val>, noise: Option<Val>) -> Result<Val> {
        let after = self.config.multiplies_prompts;
        let mut x = if after { self.embed.forward(tape, cx, ids)? } else { self.embed_tokens(tape, cx, ids)? };
        if let Some(size) = noise {
            x = tape.push1(Noise { salt: u32::MAX }, &[x, size])?;
        }
        if let Some(prompt) = cx.adapter.and_then(|a| a.prompt(tape)) {
            x = prompt.join(tape, x)?;
        }
        if after {
            x = self.multiplied(tape, x)?;
        }
        for (table, rows) in [(&self.positions, Some(positions)), (&self.types, types)] {
            let Some(table) = table else { continue };
            let rows = rows.ok_or_else(|| Error::shape("embedding", "the model tells segments apart, and none are given"))?;
            let own = table.forward(tape, cx, rows)?;
            x = tape.push1(Add, &[x, own])?;
        }
        match &self.embed_norm {
            None => Ok(x),
            Some(norm) => norm.forward(tape, cx, x),
        }
    }

    /// Embeddings (n, C) of tokens, as virtual tokens that stand for them have them.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub async fn embeddings_of(&self, ids: &[u32]) -> Result<Vec<f32>> {
        let table = self.params.tensor(self.embed.weight);
        let factor = if self.config.multiplies_prompts { 1.0 } else { self.config.embedding_multiplier };
        let mut out = Vec::with_capacity(ids.len() * self.config.hidden_size);
        for id in ids {
            out.extend(table.read_rows(self.exec(), *id as usize, 1).await?.into_iter().map(|v| v * factor));
        }
        Ok(out)
    }

    /// Records a pass over whole sequences: hidden states (B·T, C) after the last norm, ready for the head. Every block is a segment,
    /// so that gradient checkpointing may drop it. `train` switches dropout on and keeps everything differentiable.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn record_hidden(&self, tape: &mut Tape, inputs: &TrainInputs, adapter: Option<&dyn Adapter>, train: bool) -> Result<Val> {
        self.record_noisy(tape, inputs, adapter, train, None)
    }

    /// The same with noise on the tokens' embeddings: its size for each row (B·T), see [`Noise`].
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn record_noisy(
        &self,
        tape: &mut Tape,
        inputs: &TrainInputs,
        adapter: Option<&dyn Adapter>,
        train: bool,
        noise: Option<Val>,
    ) -> Result<Val> {
        let cx = self.forward(adapter, train);
        let source = self.record_source(tape, inputs.source.as_ref(), inputs.batch, adapter, train)?;
        let mut x = self.embed(tape, &cx, inputs.ids, inputs.positions, inputs.types, noise)?;
        for (i, block) in self.blocks.iter().enumerate() {
            let prefix = adapter.and_then(|a| a.prefix(tape, i));
            tape.begin_segment();
            let spans = if block.attention.windowed { inputs.window_spans.unwrap_or(inputs.spans) } else { inputs.spans };
            let keys = Keys::Sequence { batch: inputs.batch, spans, prefix };
            x = block.forward(tape, &cx, x, &Pass { positions: inputs.positions, ropes: &self.ropes, keys, source })?;
            tape.end_segment();
        }
        self.last_norm(tape, &cx, x)
    }

    fn last_norm(&self, tape: &mut Tape, cx: &Forward<'_>, x: Val) -> Result<Val> {
        self.norm.as_ref().map_or(Ok(x), |norm| norm.forward(tape, cx, x))
    }

    /// Records a pass over M tokens with a cache: the residual stream (M, C) after the last block. Rows are chosen from it before
    /// [`Model::record_logits`]. An encoder-decoder's blocks read what [`Model::record_kept`] has left in `inputs.cross`.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn record_cached(&self, tape: &mut Tape, inputs: &CachedInputs<'_>, cache: &KvCache, adapter: Option<&dyn Adapter>) -> Result<Val> {
        let cx = self.forward(adapter, false);
        let mut x = self.embed(tape, &cx, inputs.ids, inputs.positions, None, None)?;
        for (i, (block, layer)) in self.blocks.iter().zip(&cache.layers).enumerate() {
            let spans = if block.attention.windowed { inputs.window_spans.unwrap_or(inputs.spans) } else { inputs.spans };
            let keys = Keys::Cached { cache: layer, slots: inputs.slots, spans, apart: inputs.apart };
            let source = inputs.cross.and_then(|(cross, spans)| Some(Source::Kept { cache: cross.layers.get(i)?, spans }));
            x = block.forward(tape, &cx, x, &Pass { positions: inputs.positions, ropes: &self.ropes, keys, source })?;
        }
        Ok(x)
    }

    /// Records the last norm for rows of [`Model::record_cached`].
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn record_norm(&self, tape: &mut Tape, x: Val) -> Result<Val> {
        self.last_norm(tape, &self.forward(None, false), x)
    }

    /// Records the head: hidden (R, C) after the last norm → logits (R, V).
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn record_logits(&self, tape: &mut Tape, hidden: Val, adapter: Option<&dyn Adapter>) -> Result<Val> {
        let cx = self.forward(adapter, false);
        let hidden = self.heads.before_head(tape, &cx, hidden)?;
        self.logits(tape, &cx, hidden, None)
    }

    /// Logits of rows, which pass `norm` first; scaled and capped as the family does.
    fn logits(&self, tape: &mut Tape, cx: &Forward<'_>, mut x: Val, mut norm: Option<&Norm>) -> Result<Val> {
        if self.config.logit_scale != 1.0 {
            let hidden = Branch { x, norm }.value(tape, cx)?;
            x = self.scaled(tape, hidden)?;
            norm = None;
        }
        let logits = self.head.forward(tape, cx, x, Extra { norm, ..Extra::default() })?;
        match self.config.final_logit_softcapping {
            None => Ok(logits),
            Some(cap) => tape.push1(SoftCap { cap }, &[logits]),
        }
    }

    /// Hidden states that give scaled logits: cheaper than scaling those.
    fn scaled(&self, tape: &mut Tape, hidden: Val) -> Result<Val> {
        match self.config.logit_scale {
            1.0 => Ok(hidden),
            factor => tape.push1(Scale { factor }, &[hidden]),
        }
    }

    /// Records the last norm and the head: rows (R, C) of [`Model::record_cached`] → logits (R, V).
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn record_next(&self, tape: &mut Tape, x: Val, adapter: Option<&dyn Adapter>) -> Result<Val> {
        self.logits(tape, &self.forward(adapter, false), x, self.norm.as_ref())
    }

    /// Records log-probabilities (R) of `targets` (R) u32 from hidden (R, C) after the last norm. `saved`: the head is frozen and a backward
    /// pass follows (see [`LinearLogps`]). With an adapter on the output layer the logits of all rows are kept (R × V): its A and B want
    /// their gradients.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn record_logps(
        &self,
        tape: &mut Tape,
        hidden: Val,
        targets: Val,
        adapter: Option<&dyn Adapter>,
        train: bool,
        saved: bool,
    ) -> Result<Val> {
        Ok(self.record_judged(tape, hidden, targets, adapter, Judge { train, saved, ..Judge::default() })?.logps)
    }

    /// The same, with all that the head gives.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn record_judged(&self, tape: &mut Tape, hidden: Val, targets: Val, adapter: Option<&dyn Adapter>, how: Judge) -> Result<Judged> {
        let last = |out: &[Val]| how.spread.then(|| out[out.len() - 1]);
        let warm = how.temperature != 1.0;
        let factor = 1.0 / how.temperature;
        let cx = self.forward(adapter, how.train);
        let hidden = self.heads.before_head(tape, &cx, hidden)?;
        let low = adapter.is_some_and(|a| a.low(self.head.index, how.train).is_some());
        if low || self.head.bias.is_some() || (warm && self.config.final_logit_softcapping.is_some()) {
            let mut logits = self.logits(tape, &cx, hidden, None)?;
            if warm {
                logits = tape.push1(Scale { factor }, &[logits])?;
            }
            let out = tape.push(GatherLogps { spread: how.spread, smoothing: how.smoothing }, &[logits, targets])?;
            return Ok(Judged { logps: out[0], spread: last(&out), states: hidden, slope: None });
        }
        let (mut states, head) = (self.scaled(tape, hidden)?, tape.tensor(&self.head()));
        if warm {
            states = tape.push1(Scale { factor }, &[states])?;
        }
        let op =
            LinearLogps::on(self.exec(), how.saved).capped(self.config.final_logit_softcapping).spread(how.spread).smoothed(how.smoothing);
        let out = tape.push(op, &[states, head, targets])?;
        let slope = (how.saved && self.config.final_logit_softcapping.is_none()).then(|| out[1]);
        Ok(Judged { logps: out[0], spread: last(&out), states, slope })
    }

    /// Whether the logits are linear in the hidden states, by the same weights with and without this adapter.
    pub fn has_plain_head(&self, adapter: &dyn Adapter) -> bool {
        self.config.final_logit_softcapping.is_none() && self.head.bias.is_none() && adapter.low(self.head.index, true).is_none()
    }

    /// An empty key/value cache of `capacity` tokens.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::BadConfig`] (see [`KvCache::new`]).
    pub fn cache(&self, capacity: usize, dtype: KvCacheDtype) -> Result<KvCache> {
        KvCache::new(self.exec(), self.config.num_hidden_layers, self.config.kv_width(), capacity, dtype)
    }

    /// Adds an adapter's products to the weights: W ← W + scale·B·A, on the host, one linear at a time. Plain weights keep their type;
    /// quantized ones become F16, because an update is smaller than a quantization step and would be lost (more GPU memory,
    /// and it is what "merged" means for whoever exports the result).
    ///
    /// # Errors
    /// Whatever the device reports; [`Error::NotFinite`]; [`Error::BadAdapter`] for an adapter on an output layer that is the embedding too.
    pub async fn merge(&self, adapter: &[LoraPair]) -> Result<()> {
        for l in self.linears() {
            let pairs: Vec<_> =
                l.parts.iter().filter_map(|p| adapter.iter().find(|a| a.target.module == p.path).map(|a| (p.first, a))).collect();
            if pairs.is_empty() {
                continue;
            }
            if l.index == self.head.index && self.config.tie_word_embeddings {
                let head = self.head_path();
                return Err(Error::BadAdapter(format!("{head} is tied to the embedding: an adapter on it cannot be merged")));
            }
            let tensor = self.params.tensor(l.weight);
            let mut w = tensor.read_rows(self.exec(), 0, l.outputs).await?;
            for (first, pair) in pairs {
                let rows = &mut w[first * l.inputs..(first + pair.out_features) * l.inputs];
                add_pair(rows, pair);
            }
            let dtype = match tensor.desc().dtype {
                d if d.is_quantized() => DType::F16,
                d => d,
            };
            let bytes = crate::tensor::quantize(dtype, &w);
            if dtype == tensor.desc().dtype {
                tensor.write_rows(self.exec(), 0, &bytes)?;
            } else {
                let desc = crate::graph::Desc { shape: tensor.desc().shape.clone(), dtype };
                self.params.replace(l.weight, Tensor::from_bytes(self.exec(), tensor.name(), desc, &bytes)?);
            }
        }
        self.changed();
        Ok(())
    }
}

/// Rotary frequencies on the device; without any, nothing turns.
fn table(exec: &Exec, rope: Option<&Rope>) -> Result<RopeTable> {
    let (freq, mscale, rotary) = match rope {
        Some(r) => {
            let (freq, mscale) = r.table()?;
            (freq, mscale, r.rotary)
        }
        None => (vec![0.0], 1.0, 0),
    };
    let freq: Vec<f64> = freq.into_iter().map(f64::from).collect();
    Ok(RopeTable { inv_freq: Tensor::from_f64(exec, "inv_freq", &[freq.len()], &freq)?, rotary, mscale })
}

/// The rows of a module's weight with an adapter in them: the product added and, with DoRA, each row stretched to its magnitude.
pub(super) fn add_pair(rows: &mut [f32], pair: &LoraPair) {
    add_product(rows, pair.in_features, &pair.a, &pair.b, pair.target.r, pair.target.scale as f32);
    for (row, m) in rows.chunks_exact_mut(pair.in_features).zip(pair.magnitude.iter().flatten()) {
        let norm = row.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt();
        if norm > 0.0 {
            row.iter_mut().for_each(|v| *v = (f64::from(*v) * f64::from(*m) / norm) as f32);
        }
    }
}

/// rows (n, k) += scale · B (n, r) · A (r, k).
fn add_product(rows: &mut [f32], k: usize, a: &[f32], b: &[f32], r: usize, scale: f32) {
    for (row, b) in rows.chunks_exact_mut(k).zip(b.chunks_exact(r)) {
        for (a, b) in a.chunks_exact(k).zip(b) {
            let s = b * scale;
            if s != 0.0 {
                row.iter_mut().zip(a).for_each(|(w, a)| *w += s * a);
            }
        }
    }
}
