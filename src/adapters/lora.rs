//! LoRA (Hu et al. 2021): one set of A and B for the linears a PEFT configuration chooses.

use std::collections::{BTreeMap, HashMap};

use super::kind::{First, Kind};
use super::random::Random;
use crate::formats::peft::{LoraAdapter, LoraConfig, LoraPair, NamedTensor, PeftAdapter, PeftConfig, SavedTensor, Start, Target, not_lora};
use crate::graph::{Arena, Desc, Exec, Program, ProgramOptions, StepParams, Tape, Tensor, Transfer, Val};
use crate::nn::{Adapter, Linear, LowRank, Magnitude, ParamStore};
use crate::ops::adapter::{Block, Stack};
use crate::ops::dora::DoraNorm;
use crate::ops::elementwise::{Dropout, Mul};
use crate::ops::embedding::Embedding;
use crate::ops::linear::{Linear as Product, LoraSeg, Low};
use crate::ops::reduce::{Fold, Reduce};
use crate::{Error, Result};

/// A and B of one (possibly fused) linear.
pub(super) struct LoraLinear {
    /// (Σr, in): the rows of every module's A.
    pub a: Tensor,
    /// (1, Σ rows·r): every module's B, row by row.
    pub b: Tensor,
    pub segs: Vec<LoraSeg>,
    /// The module behind each segment.
    pub modules: Vec<Target>,
    pub inputs: usize,
    pub dora: Option<Dora>,
}

/// The parameter of a score head (K, C): K scores of a hidden state after the last norm.
pub const SCORE: &str = "score.weight";

/// Deviation of a new score head: Transformers' `initializer_range`.
const SCORE_DEVIATION: f64 = 0.02;

/// Path and shape of a parameter that an adapter holds whole beside its products.
pub type Whole = (String, Vec<usize>);

/// What DoRA (Liu et al. 2024) has beside them.
pub(super) struct Dora {
    /// (1, N): the learned norm of every row of the weight; 0 for rows of modules that it leaves alone.
    magnitude: Tensor,
    /// (N): squared norms of the weight's own rows.
    squares: Tensor,
    /// (N): norms with the present A and B, for passes that train nothing.
    norm: Tensor,
}

/// A and B on the device, in the shape their configuration asks for.
pub struct LoraSet {
    config: LoraConfig,
    key: String,
    linears: BTreeMap<usize, LoraLinear>,
    /// Parameters that are stored whole, by path.
    wholes: BTreeMap<String, Tensor>,
    arena: Arena,
    /// Renews the norms that DoRA keeps.
    norms: Option<Program>,
}

impl Adapter for LoraSet {
    fn low(&self, index: usize, train: bool) -> Option<Low> {
        let kind = if train && self.dropout() > 0.0 { Low::Given } else { Low::Made };
        self.linears.contains_key(&index).then_some(kind)
    }

    fn record(&self, tape: &mut Tape, index: usize, x: Val, train: bool) -> Result<LowRank> {
        let l = self.linears.get(&index).ok_or_else(|| nothing_for(index))?;
        let mut first = tape.tensor(&l.a);
        if self.low(index, train) == Some(Low::Given) {
            let dropped = tape.push1(Dropout { p: self.dropout(), salt: index as u32 + 1 }, &[x])?;
            first = tape.push1(Product::plain(), &[dropped, first])?;
        }
        Ok(LowRank { first, b: tape.tensor(&l.b), segs: l.segs.clone() })
    }

    fn score(&self) -> Option<&Tensor> {
        self.whole(SCORE)
    }

    fn whole(&self, path: &str) -> Option<&Tensor> {
        LoraSet::whole(self, path)
    }

    /// With the norms that are kept.
    fn magnitude(&self, tape: &mut Tape, index: usize, _weight: Val) -> Result<Option<Magnitude>> {
        let dora = self.linears.get(&index).and_then(|l| l.dora.as_ref());
        Ok(dora.map(|d| Magnitude { m: tape.tensor(&d.magnitude), norm: tape.tensor(&d.norm) }))
    }
}

/// Asked to record what [`Adapter::low`] did not promise.
pub(super) fn nothing_for(index: usize) -> Error {
    Error::BadAdapter(format!("it has nothing for linear {index}"))
}

/// The modules `config` chooses among a model's linears, of which `head` is the output layer.
fn choose(config: &LoraConfig, linears: &[&Linear], head: &str) -> Result<HashMap<String, Target>> {
    config.validate()?;
    let paths = linears.iter().flat_map(|l| l.parts.iter().map(|p| p.path.as_str()));
    let targets = config.targets(paths, Some(head))?;
    Ok(targets.into_iter().map(|t| (t.module.clone(), t)).collect())
}

/// What tells apart the shapes of two sets: equal keys mean that one's values fit into the other and that recorded programs serve
/// both. Scales are part of it, being constants of the programs; dropout too.
fn shape_key(config: &LoraConfig, linears: &[&Linear], head: &str, wholes: &[Whole]) -> Result<String> {
    use std::fmt::Write as _;
    let targets = choose(config, linears, head)?;
    let mut key = format!("dropout {}{}", config.lora_dropout, if config.use_dora { ";dora" } else { "" });
    for part in linears.iter().flat_map(|l| &l.parts) {
        if let Some(t) = targets.get(&part.path) {
            let _ = write!(key, ";{}:{}:{}", part.path, t.r, t.scale);
        }
    }
    for (path, shape) in wholes {
        let _ = write!(key, ";{path}:{shape:?}");
    }
    Ok(key)
}

/// Most values of a weight that are widened at once.
const WIDENED: usize = 1 << 22;

/// Squared norms of a weight's rows (N), of any stored type.
fn squares(exec: &Exec, weight: &Tensor) -> Result<Tensor> {
    let (rows, cols) = (weight.desc().rows(), weight.desc().cols());
    let out = Tensor::zeros(exec, "squares", Desc::f32(&[rows]))?;
    let mut tape = Tape::new();
    let w = tape.tensor(weight);
    let (mut sums, mut blocks) = (Vec::new(), Vec::new());
    let step = (WIDENED / cols.max(1)).max(1);
    for from in (0..rows).step_by(step) {
        let ids: Vec<u32> = (from as u32..rows.min(from + step) as u32).collect();
        let n = ids.len();
        let ids = Tensor::from_bytes(exec, "rows", Desc::u32(&[n]), bytemuck::cast_slice(&ids))?;
        let ids = tape.tensor(&ids);
        let wide = tape.push1(Embedding, &[ids, w])?;
        let square = tape.push1(Mul, &[wide, wide])?;
        blocks.push(Block { input: sums.len(), rows: 1, cols: n, from: 0, from_stride: n, to: from, to_stride: n });
        sums.push(tape.push1(Reduce { fold: Fold::Sum, all: false }, &[square])?);
    }
    let to = tape.tensor(&out);
    tape.push_into(Stack::new(&[rows], blocks), &sums, &[(to, false)])?;
    Program::build(exec, &tape, ProgramOptions::default())?.submit(&StepParams::default());
    Ok(out)
}

/// Norms of the rows of W + s·B·A, without a gradient.
fn norm_of(tape: &mut Tape, l: &LoraLinear, dora: &Dora, weight: Val) -> Result<Val> {
    let (a, b, squares) = (tape.tensor(&l.a), tape.tensor(&l.b), tape.tensor(&dora.squares));
    let products = tape.push1(Product::plain(), &[a, weight])?;
    let gram = tape.push1(Product::plain(), &[a, a])?;
    tape.push1(DoraNorm { segs: l.segs.clone().into() }, &[squares, products, gram, b])
}

/// What renews the norms that are kept.
fn norms(params: &ParamStore, linears: &[&Linear], set: &BTreeMap<usize, LoraLinear>) -> Result<Program> {
    let mut tape = Tape::new();
    for l in linears {
        let Some((own, dora)) = set.get(&l.index).and_then(|own| Some((own, own.dora.as_ref()?))) else { continue };
        let weight = tape.tensor(&params.tensor(l.weight));
        let (a, b, squares) = (tape.tensor(&own.a), tape.tensor(&own.b), tape.tensor(&dora.squares));
        let products = tape.push1(Product::plain(), &[a, weight])?;
        let gram = tape.push1(Product::plain(), &[a, a])?;
        let to = tape.tensor(&dora.norm);
        tape.push_into(DoraNorm { segs: own.segs.clone().into() }, &[squares, products, gram, b], &[(to, false)])?;
    }
    Program::build(params.exec(), &tape, ProgramOptions::default())
}

impl LoraSet {
    /// Zeroed A and B for the modules `config` chooses, and parameters that are held whole; `head` is the path of the output layer, which
    /// `all-linear` leaves out.
    ///
    /// # Errors
    /// [`Error::BadConfig`], [`Error::BadAdapter`], [`Error::OutOfMemory`].
    pub(super) fn new(params: &ParamStore, config: &LoraConfig, linears: &[&Linear], head: &str, wholes: &[Whole]) -> Result<LoraSet> {
        let exec = params.exec();
        let targets = choose(config, linears, head)?;
        let key = shape_key(config, linears, head, wholes)?;
        let mut shapes = Vec::new();
        let mut found = Vec::new();
        for l in linears {
            let (mut segs, mut modules) = (Vec::new(), Vec::new());
            let (mut h_off, mut b_off) = (0, 0);
            for part in &l.parts {
                let Some(t) = targets.get(&part.path) else { continue };
                segs.push(LoraSeg { row0: part.first, row1: part.first + part.rows, h_off, r: t.r, b_off, scale: t.scale as f32 });
                h_off += t.r;
                b_off += t.r * part.rows;
                modules.push(t.clone());
            }
            if !segs.is_empty() {
                shapes.push((format!("{}.lora_A", l.parts[0].path), vec![h_off, l.inputs]));
                shapes.push((format!("{}.lora_B", l.parts[0].path), vec![1, b_off]));
                if config.use_dora {
                    shapes.push((format!("{}.lora_magnitude", l.parts[0].path), vec![1, l.outputs]));
                }
                found.push((*l, segs, modules));
            }
        }
        shapes.extend(wholes.iter().cloned());
        let arena = Arena::zeros(exec, "adapter", &shapes)?;
        let mut parts = arena.parts.iter();
        let mut set = BTreeMap::new();
        for (l, segs, modules) in found {
            let (Some(a), Some(b)) = (parts.next().cloned(), parts.next().cloned()) else { unreachable!("two parts each") };
            let dora = match config.use_dora.then(|| parts.next().cloned()) {
                None => None,
                Some(Some(magnitude)) => {
                    let squares = squares(exec, &params.tensor(l.weight))?;
                    Some(Dora { magnitude, squares, norm: Tensor::zeros(exec, "norms", Desc::f32(&[l.outputs]))? })
                }
                Some(None) => unreachable!("three parts each"),
            };
            set.insert(l.index, LoraLinear { a, b, segs, modules, inputs: l.inputs, dora });
        }
        let wholes = wholes.iter().map(|w| w.0.clone()).zip(parts.cloned()).collect();
        let norms = if config.use_dora { Some(norms(params, linears, &set)?) } else { None };
        let all = linears.iter().flat_map(|l| l.parts.iter().map(|p| p.path.as_str()));
        let config = config.resolved(all, Some(head))?;
        Ok(LoraSet { config, key, linears: set, wholes, arena, norms })
    }

    /// The configuration, with `target_modules` as PEFT writes it.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// A parameter that it holds whole.
    pub fn whole(&self, path: &str) -> Option<&Tensor> {
        self.wholes.get(path)
    }

    /// Paths and shapes of the parameters that it holds whole.
    pub fn wholes(&self) -> Vec<Whole> {
        self.wholes.iter().map(|(path, t)| (path.clone(), t.desc().shape.clone())).collect()
    }

    /// A and B of linear number `index` of the model.
    pub(super) fn part(&self, index: usize) -> Option<&LoraLinear> {
        self.linears.get(&index)
    }

    /// The linears that it changes.
    pub(super) fn indices(&self) -> impl Iterator<Item = usize> {
        self.linears.keys().copied()
    }

    /// The share of x that a training drops before A.
    pub(super) fn dropout(&self) -> f32 {
        self.config.lora_dropout as f32
    }

    /// False where the base model is not the same pass with the products times 0.
    pub fn is_additive(&self) -> bool {
        self.norms.is_none()
    }

    /// As [`Adapter::magnitude`], with norms of the present A and B, which the pass computes.
    pub(super) fn present_magnitude(&self, tape: &mut Tape, index: usize, weight: Val) -> Result<Option<Magnitude>> {
        let Some((l, d)) = self.linears.get(&index).and_then(|l| Some((l, l.dora.as_ref()?))) else { return Ok(None) };
        let norm = norm_of(tape, l, d, weight)?;
        Ok(Some(Magnitude { m: tape.tensor(&d.magnitude), norm }))
    }

    /// A and B of every module, out of values of the parts of the buffer.
    pub(super) fn pairs(&self, parts: &[Vec<f32>]) -> LoraAdapter {
        let mut pairs = Vec::new();
        let each = if self.config.use_dora { 3 } else { 2 };
        for (l, ab) in self.linears.values().zip(parts.chunks_exact(each)) {
            for (seg, t) in l.segs.iter().zip(&l.modules) {
                let rows = seg.row1 - seg.row0;
                pairs.push(LoraPair {
                    target: t.clone(),
                    in_features: l.inputs,
                    out_features: rows,
                    a: ab[0][seg.h_off * l.inputs..(seg.h_off + seg.r) * l.inputs].to_vec(),
                    b: ab[1][seg.b_off..seg.b_off + rows * seg.r].to_vec(),
                    magnitude: ab.get(2).map(|m| m[seg.row0..seg.row1].to_vec()),
                });
            }
        }
        pairs.sort_by(|x, y| x.target.module.cmp(&y.target.module));
        let behind = &parts[each * self.linears.len()..];
        let saved = self.wholes.iter().zip(behind);
        let saved =
            saved.map(|((path, t), values)| SavedTensor { path: path.clone(), shape: t.desc().shape.clone(), values: values.clone() });
        LoraAdapter { config: self.config.clone(), pairs, saved: saved.collect() }
    }
}

impl Kind for LoraSet {
    fn config(&self) -> PeftConfig {
        self.config.clone().into()
    }

    /// See `shape_key`.
    fn key(&self) -> &str {
        &self.key
    }

    fn arena(&self) -> &Arena {
        &self.arena
    }

    /// See [`Start`]; a score head begins as Transformers': normal, with a deviation of 0.02.
    fn begin(&self, exec: &Exec, first: &First) -> Result<()> {
        let start = self.config.start()?;
        for (index, l) in &self.linears {
            let mut random = Random::new(first.seed ^ (*index as u64).wrapping_mul(0xD1B5_4A32_D192_ED03));
            let (mut a, mut b) = (vec![0.0; l.a.desc().len()], vec![0.0; l.b.desc().len()]);
            if matches!(start, Start::Kaiming | Start::Random) {
                let bound = 1.0 / (l.inputs as f32).sqrt();
                a.iter_mut().for_each(|v| *v = f64::from(random.around(bound)));
            }
            for (seg, t) in l.segs.iter().zip(&l.modules) {
                let a = &mut a[seg.h_off * l.inputs..(seg.h_off + seg.r) * l.inputs];
                let b = &mut b[seg.b_off..seg.b_off + (seg.row1 - seg.row0) * seg.r];
                match start {
                    Start::Kaiming => {}
                    Start::Random => b.iter_mut().for_each(|v| *v = f64::from(random.around(1.0 / (seg.r as f32).sqrt()))),
                    Start::Gaussian => a.iter_mut().for_each(|v| *v = random.normal() / seg.r as f64),
                    Start::Orthogonal => random.orthogonal(seg.r, a, b).map_err(|message| {
                        Error::config("init_lora_weights", format!("\"orthogonal\" {message}, that of {} is {}", t.module, seg.r))
                    })?,
                }
            }
            l.a.set_f64(exec, &a);
            l.b.set_f64(exec, &b);
        }
        // Magnitudes begin as the norms that there are.
        self.refresh();
        for d in self.linears.values().filter_map(|l| l.dora.as_ref()) {
            match exec {
                Exec::Reference => return Err(Error::config("use_dora", "needs a device")),
                _ => exec.copy(&[Transfer::new(&d.norm.mem(), &d.magnitude.mem(), 0, d.norm.desc().gpu_bytes())]),
            }
        }
        if let Some(score) = self.score() {
            let mut random = Random::new(first.seed ^ 0x5C07_E000);
            let values: Vec<f64> = (0..score.desc().len()).map(|_| random.normal() * SCORE_DEVIATION).collect();
            score.set_f64(exec, &values);
        }
        Ok(())
    }

    fn refresh(&self) {
        if let Some(norms) = &self.norms {
            norms.submit(&StepParams::default());
        }
    }

    fn import(&self, exec: &Exec, adapter: &PeftAdapter) -> Result<()> {
        let PeftAdapter::Lora(adapter) = adapter else {
            return Err(not_lora(adapter.config().peft_type(), "taken for A and B"));
        };
        let pairs: HashMap<&str, &LoraPair> = adapter.pairs.iter().map(|p| (p.target.module.as_str(), p)).collect();
        let mut used = 0;
        for l in self.linears.values() {
            for (seg, t) in l.segs.iter().zip(&l.modules) {
                let p = pairs.get(t.module.as_str()).ok_or_else(|| Error::BadAdapter(format!("module {:?} has no weights", t.module)))?;
                let rows = seg.row1 - seg.row0;
                if (p.target.r, p.in_features, p.out_features) != (seg.r, l.inputs, rows) {
                    return Err(Error::BadAdapter(format!(
                        "module {:?} is ({}, {}) with r {}, expected ({rows}, {}) with r {}",
                        t.module, p.out_features, p.in_features, p.target.r, l.inputs, seg.r
                    )));
                }
                l.a.write_rows(exec, seg.h_off, bytemuck::cast_slice(&p.a))?;
                l.b.write_elements(exec, seg.b_off, bytemuck::cast_slice(&p.b))?;
                match (&l.dora, &p.magnitude) {
                    (None, None) => {}
                    (Some(d), Some(m)) if m.len() == rows => d.magnitude.write_elements(exec, seg.row0, bytemuck::cast_slice(m))?,
                    (_, m) => {
                        let found = m.as_ref().map_or(0, Vec::len);
                        let message =
                            format!("module {:?} has {found} magnitudes, expected {rows} with use_dora and none without", t.module);
                        return Err(Error::BadAdapter(message));
                    }
                }
                used += 1;
            }
        }
        if used != adapter.pairs.len() {
            return Err(Error::BadAdapter(format!("{} modules have weights, the model takes {used} of them", adapter.pairs.len())));
        }
        if adapter.saved_shapes() != self.wholes() {
            return Err(Error::BadAdapter(format!(
                "it holds {:?} whole beside its products, expected {:?}",
                adapter.saved_shapes(),
                self.wholes()
            )));
        }
        for (saved, to) in adapter.saved.iter().zip(self.wholes.values()) {
            to.write_rows(exec, 0, bytemuck::cast_slice(&saved.values))?;
        }
        self.refresh();
        Ok(())
    }

    fn named(&self, parts: &[Vec<f32>]) -> Vec<NamedTensor> {
        self.pairs(parts).tensors()
    }

    /// Rows are in Hugging Face order, as they are on the device.
    fn file(&self, parts: &[Vec<f32>]) -> PeftAdapter {
        self.pairs(parts).into()
    }

    /// Where no B is anything but zero it adds nothing; magnitudes are taken to have moved.
    fn changes(&self, parts: &[Vec<f32>]) -> bool {
        self.norms.is_some() || parts[..2 * self.linears.len()].chunks_exact(2).any(|ab| ab[1].iter().any(|v| *v != 0.0))
    }

    fn frozen(&self) -> Option<&'static str> {
        (self.config.use_dora && self.config.lora_dropout > 0.0)
            .then_some("use_dora: with lora_dropout above 0 it is not supported for training")
    }
}
