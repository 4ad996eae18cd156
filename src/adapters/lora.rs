//! LoRA (Hu et al. 2021): one set of A and B for the linears a PEFT configuration chooses, in one flat buffer so that one
//! dispatch updates them all and one copy switches adapters.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use super::random::Random;
use crate::formats::peft::{LoraAdapter, LoraConfig, LoraPair, SavedTensor, Start, Target};
use crate::graph::{Arena, Exec, Tape, Tensor, Transfer, Val};
use crate::nn::{Adapter, Linear, LowRank};
use crate::ops::elementwise::Dropout;
use crate::ops::linear::{Linear as Product, LoraSeg, Low};
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
}

/// The parameter of a score head (K, C): K scores of a hidden state after the last norm.
pub const SCORE: &str = "score.weight";

/// Deviation of a new score head: Transformers' `initializer_range`.
const SCORE_DEVIATION: f64 = 0.02;

/// Path and shape of a parameter that an adapter holds whole beside its products.
pub type Whole = (String, Vec<usize>);

/// An adapter on the device, in the shape its configuration asks for.
pub struct LoraSet {
    exec: Exec,
    config: LoraConfig,
    key: String,
    linears: BTreeMap<usize, LoraLinear>,
    /// Parameters that are stored whole, by path.
    wholes: BTreeMap<String, Tensor>,
    arena: Arena,
    grads: RefCell<Option<Arena>>,
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
    let mut key = format!("dropout {}", config.lora_dropout);
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

impl LoraSet {
    /// Zeroed A and B for the modules `config` chooses, and parameters that are held whole; `head` is the path of the output layer, which
    /// `all-linear` leaves out.
    ///
    /// # Errors
    /// [`Error::BadConfig`], [`Error::BadAdapter`], [`Error::OutOfMemory`].
    pub fn new(exec: &Exec, config: &LoraConfig, linears: &[&Linear], head: &str, wholes: &[Whole]) -> Result<LoraSet> {
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
                found.push((l.index, segs, modules, l.inputs));
            }
        }
        shapes.extend(wholes.iter().cloned());
        let arena = Arena::zeros(exec, "adapter", &shapes)?;
        let mut parts = arena.parts.iter();
        let mut set = BTreeMap::new();
        for (index, segs, modules, inputs) in found {
            let (Some(a), Some(b)) = (parts.next().cloned(), parts.next().cloned()) else { unreachable!("two parts each") };
            set.insert(index, LoraLinear { a, b, segs, modules, inputs });
        }
        let wholes = wholes.iter().map(|w| w.0.clone()).zip(parts.cloned()).collect();
        let all = linears.iter().flat_map(|l| l.parts.iter().map(|p| p.path.as_str()));
        let config = config.resolved(all, Some(head))?;
        Ok(LoraSet { exec: exec.clone(), config, key, linears: set, wholes, arena, grads: RefCell::default() })
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

    /// See `shape_key`.
    pub fn key(&self) -> &str {
        &self.key
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

    /// All of A and B in one flat (1, n) tensor (parts padded with zeros to 64 elements).
    pub fn params(&self) -> &Tensor {
        &self.arena.flat
    }

    /// Number of trainable values.
    pub fn parameters(&self) -> usize {
        self.arena.parts.iter().map(|p| p.desc().len()).sum()
    }

    /// Bytes on the GPU, gradients aside.
    pub fn bytes(&self) -> u64 {
        self.arena.flat.desc().gpu_bytes()
    }

    /// Starts an adapter as PEFT does, see [`Start`], and a score head as Transformers does: normal, with a deviation of 0.02.
    ///
    /// # Errors
    /// [`Error::BadConfig`] for a start that is not supported.
    pub fn init(&self, seed: u64) -> Result<()> {
        let start = self.config.start()?;
        for (index, l) in &self.linears {
            let mut random = Random::new(seed ^ (*index as u64).wrapping_mul(0xD1B5_4A32_D192_ED03));
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
            l.a.set_f64(&self.exec, &a);
            l.b.set_f64(&self.exec, &b);
        }
        if let Some(score) = self.score() {
            let mut random = Random::new(seed ^ 0x5C07_E000);
            let values: Vec<f64> = (0..score.desc().len()).map(|_| random.normal() * SCORE_DEVIATION).collect();
            score.set_f64(&self.exec, &values);
        }
        Ok(())
    }

    /// Gives A and B gradients (zeroed at first); the flat gradient buffer, laid out like [`LoraSet::params`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn train(&self, exec: &Exec) -> Result<Tensor> {
        if self.grads.borrow().is_none() {
            let shapes: Vec<_> = self.arena.parts.iter().map(|p| (format!("d{}", p.name()), p.desc().shape.clone())).collect();
            let grads = Arena::zeros(exec, "adapter gradients", &shapes)?;
            for (p, g) in self.arena.parts.iter().zip(&grads.parts) {
                p.set_grad(Some(g.clone()));
            }
            *self.grads.borrow_mut() = Some(grads);
        }
        Ok(self.grads.borrow().as_ref().expect("set above").flat.clone())
    }

    /// Takes the gradients away again.
    pub fn freeze(&self) {
        self.arena.parts.iter().for_each(|p| p.set_grad(None));
        *self.grads.borrow_mut() = None;
    }

    /// Takes the values of an adapter in host memory.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] when it has other modules or shapes than this set.
    pub fn import(&self, adapter: &LoraAdapter) -> Result<()> {
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
                l.a.write_rows(&self.exec, seg.h_off, bytemuck::cast_slice(&p.a))?;
                l.b.write_elements(&self.exec, seg.b_off, bytemuck::cast_slice(&p.b))?;
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
            to.write_rows(&self.exec, 0, bytemuck::cast_slice(&saved.values))?;
        }
        Ok(())
    }

    /// The values as PEFT names them; rows are in Hugging Face order, as they are on the device.
    ///
    /// # Errors
    /// Whatever the device reports; [`Error::NotFinite`].
    pub async fn export(&self) -> Result<LoraAdapter> {
        self.export_from(false).await
    }

    /// The gradients, in the same form.
    ///
    /// # Errors
    /// As [`LoraSet::export`]; [`Error::BadConfig`] when there are none.
    pub async fn export_grads(&self) -> Result<LoraAdapter> {
        self.export_from(true).await
    }

    async fn export_from(&self, grads: bool) -> Result<LoraAdapter> {
        let mut pairs = Vec::new();
        let pick = |t: &Tensor| {
            if grads { t.grad().ok_or_else(|| Error::config("adapter", "is frozen: it has no gradients")) } else { Ok(t.clone()) }
        };
        for l in self.linears.values() {
            let (ta, tb) = (pick(&l.a)?, pick(&l.b)?);
            let a = ta.read_rows(&self.exec, 0, ta.desc().shape[0]).await?;
            let b = tb.read_rows(&self.exec, 0, 1).await?;
            for (seg, t) in l.segs.iter().zip(&l.modules) {
                let rows = seg.row1 - seg.row0;
                let pair = LoraPair {
                    target: t.clone(),
                    in_features: l.inputs,
                    out_features: rows,
                    a: a[seg.h_off * l.inputs..(seg.h_off + seg.r) * l.inputs].to_vec(),
                    b: b[seg.b_off..seg.b_off + rows * seg.r].to_vec(),
                };
                if !pair.a.iter().chain(&pair.b).all(|v| v.is_finite()) {
                    return Err(Error::NotFinite(format!("the adapter of {}", t.module)));
                }
                pairs.push(pair);
            }
        }
        pairs.sort_by(|x, y| x.target.module.cmp(&y.target.module));
        let mut saved = Vec::new();
        for (path, t) in &self.wholes {
            let values = pick(t)?.read_rows(&self.exec, 0, t.desc().rows()).await?;
            if !values.iter().all(|v| v.is_finite()) {
                return Err(Error::NotFinite(format!("{path} of the adapter")));
            }
            saved.push(SavedTensor { path: path.clone(), shape: t.desc().shape.clone(), values });
        }
        Ok(LoraAdapter { config: self.config.clone(), pairs, saved })
    }

    /// A copy of all values on the device, to come back to with [`LoraSet::restore`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn snapshot(&self) -> Result<Tensor> {
        let copy = Tensor::zeros(&self.exec, "adapter copy", self.arena.flat.desc().clone())?;
        self.copy(&self.arena.flat, &copy)?;
        Ok(copy)
    }

    /// Copies all values into what [`LoraSet::snapshot`] of a set with the same key gave.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] when the sizes differ.
    pub fn save_to(&self, copy: &Tensor) -> Result<()> {
        self.copy(&self.arena.flat, copy)
    }

    /// Takes back a copy of a set with the same key: one buffer copy on the device.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] when the sizes differ.
    pub fn restore(&self, copy: &Tensor) -> Result<()> {
        self.copy(copy, &self.arena.flat)
    }

    fn copy(&self, from: &Tensor, to: &Tensor) -> Result<()> {
        if from.desc() != to.desc() {
            return Err(Error::BadAdapter(format!("a copy of {:?} for an adapter of {:?}", from.desc().shape, to.desc().shape)));
        }
        self.exec.need_device("switching adapters")?;
        self.exec.copy(&[Transfer::new(&from.mem(), &to.mem(), 0, from.desc().gpu_bytes())]);
        Ok(())
    }
}
