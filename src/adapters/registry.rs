//! The adapters of a model, by name: kept as copies on the device and switched by one buffer copy.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use serde::Serialize;

use super::kind::{First, Form};
use super::kinds::make;
use super::lora::{SCORE, Whole};
use super::set::AdapterSet;
use super::stack::AdapterStack;
use super::virtual_tokens::first_embeddings;
use crate::data::Mask;
use crate::formats::peft::{Combination, LoraAdapter, LoraConfig, OneOrMany, PeftAdapter, PeftConfig, Target, combine};
use crate::graph::Tensor;
use crate::lru::Lru;
use crate::models::Model;
use crate::nn::Adapter;
use crate::{Error, Result};

/// Which adapter a call wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// Whichever is active.
    #[default]
    Active,
    /// None.
    Base,
    Named(String),
}

/// What a person sees of an adapter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdapterInfo {
    pub name: String,
    pub active: bool,
    pub peft_type: &'static str,
    /// Of LoRA; 0 and none for others, as is the rest of it.
    pub r: usize,
    pub lora_alpha: f64,
    pub target_modules: Vec<String>,
    /// Scores that its head gives of a sequence: 1 of a reward model, one for each criterion of several, 0 of an adapter that writes.
    pub scores: usize,
    /// Of virtual tokens; 0 for others.
    pub num_virtual_tokens: usize,
    /// What it was trained with.
    pub mask: Mask,
    pub parameters: usize,
    pub bytes: u64,
}

/// An adapter ready to run.
#[derive(Clone)]
pub struct ActiveAdapter {
    pub name: String,
    pub set: Rc<AdapterSet>,
    /// Changes with the values: caches computed with another stamp are void.
    pub stamp: u64,
}

impl ActiveAdapter {
    /// Slots of a cache, and positions, that it has in front of the first token.
    pub fn in_front(&self) -> usize {
        self.set.front().count()
    }

    /// As a pass behind what it has in front is recorded with it.
    pub fn recorded(&self) -> Option<&dyn Adapter> {
        self.set.lora().map(|l| l as &dyn Adapter)
    }
}

struct Entry {
    config: PeftConfig,
    form: Form,
    wholes: Vec<Whole>,
    key: String,
    copy: Tensor,
    parameters: usize,
    stamp: u64,
}

/// The set that recorded programs are bound to, one per shape, and whose values it holds.
struct Live {
    set: Rc<AdapterSet>,
    stamp: u64,
}

/// Shapes of adapters that are kept ready to run; people switch between few.
const SHAPES: usize = 4;

struct Inner {
    entries: BTreeMap<String, Entry>,
    active: Option<String>,
    live: Lru<String, Live>,
    stamps: u64,
}

/// See the module.
pub struct Adapters {
    model: Rc<Model>,
    inner: RefCell<Inner>,
}

impl Adapters {
    pub fn new(model: Rc<Model>) -> Adapters {
        let inner = Inner { entries: BTreeMap::new(), active: None, live: Lru::new(SHAPES), stamps: 0 };
        Adapters { model, inner: RefCell::new(inner) }
    }

    /// Zeroed values in the shape a configuration asks for, bound to nothing.
    fn set(&self, config: &PeftConfig, form: Form, wholes: &[Whole]) -> Result<AdapterSet> {
        let mut config = config.clone();
        // It learns under the model's mask, and its file says so.
        config.set_mask(self.model.mask().name());
        Ok(AdapterSet::new(self.model.exec(), make(&self.model, &config, form, wholes)?, form))
    }

    /// A new LoRA adapter to be trained: A random from `seed`, B zero. [`Adapters::put`] gives it a name.
    ///
    /// # Errors
    /// [`Error::BadConfig`], [`Error::BadAdapter`], [`Error::OutOfMemory`].
    pub fn fresh(&self, config: &LoraConfig, seed: u64) -> Result<Rc<AdapterSet>> {
        self.fresh_with(config, &[], seed)
    }

    /// The same with parameters that are held whole.
    ///
    /// # Errors
    /// As [`Adapters::fresh`].
    pub fn fresh_with(&self, config: &LoraConfig, wholes: &[Whole], seed: u64) -> Result<Rc<AdapterSet>> {
        let set = self.set(&config.clone().into(), Form::Whole, wholes)?;
        set.begin(&First { seed, embeddings: None })?;
        Ok(Rc::new(set))
    }

    /// A new adapter of any kind, begun as PEFT begins it. `encode` gives the tokens of a text, for those that begin with some;
    /// `wholes` are parameters that it holds whole.
    ///
    /// # Errors
    /// As [`Adapters::fresh`]; whatever `encode` and the device report.
    pub async fn begun(
        &self,
        config: &PeftConfig,
        wholes: &[Whole],
        seed: u64,
        encode: &dyn Fn(&str) -> Result<Vec<u32>>,
    ) -> Result<Rc<AdapterSet>> {
        let set = self.set(config, Form::Whole, wholes)?;
        let embeddings = match config.prompt() {
            Some(c) => first_embeddings(&self.model, c, seed, encode).await?,
            None => None,
        };
        set.begin(&First { seed, embeddings })?;
        Ok(Rc::new(set))
    }

    /// An adapter whose values come from elsewhere.
    ///
    /// # Errors
    /// As [`Adapters::fresh`].
    pub fn zeros(&self, config: &PeftConfig) -> Result<Rc<AdapterSet>> {
        self.zeros_with(config, &[])
    }

    /// The same with parameters that are held whole.
    ///
    /// # Errors
    /// As [`Adapters::fresh`].
    pub fn zeros_with(&self, config: &PeftConfig, wholes: &[Whole]) -> Result<Rc<AdapterSet>> {
        self.set(config, Form::Whole, wholes).map(Rc::new)
    }

    /// What an adapter with a head of `scores` scores holds whole.
    pub fn score_head(&self, scores: usize) -> Vec<Whole> {
        (scores > 0).then(|| (SCORE.to_string(), vec![scores, self.model.config().hidden_size])).into_iter().collect()
    }

    /// How many scores an adapter gives, 0 if it has no head for them; `None` for an unknown name.
    pub fn scores(&self, name: &str) -> Option<usize> {
        self.inner.borrow().entries.get(name).map(|e| scores(&e.wholes))
    }

    /// The configuration of an adapter, as it came.
    pub fn config(&self, name: &str) -> Option<PeftConfig> {
        self.inner.borrow().entries.get(name).map(|e| e.config.clone())
    }

    /// Module, rank and scale of all that a configuration chooses in this model.
    ///
    /// # Errors
    /// [`Error::BadConfig`].
    pub fn targets(&self, config: &LoraConfig) -> Result<Vec<Target>> {
        let linears = self.model.linears();
        let paths = linears.iter().flat_map(|l| l.parts.iter().map(|p| p.path.as_str()));
        config.targets(paths, Some(&self.model.head_path()))
    }

    /// A copy of an adapter to train on from.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] for an unknown name, [`Error::OutOfMemory`].
    pub fn copy_of(&self, name: &str) -> Result<Rc<AdapterSet>> {
        self.copy_with(name, None)
    }

    /// The same with another dropout, where it is one of A and B.
    ///
    /// # Errors
    /// As [`Adapters::copy_of`].
    pub fn copy_with(&self, name: &str, dropout: Option<f64>) -> Result<Rc<AdapterSet>> {
        let inner = self.inner.borrow();
        let entry = inner.entries.get(name).ok_or_else(|| unknown(&inner, name))?;
        let mut config = entry.config.clone();
        if let PeftConfig::Lora(config) = &mut config {
            config.lora_dropout = dropout.unwrap_or(config.lora_dropout);
        }
        let set = self.set(&config, entry.form, &entry.wholes)?;
        set.restore(&entry.copy)?;
        Ok(Rc::new(set))
    }

    /// Keeps a copy of a set's values under a name, in place of what had it.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] for a name that is no file name, [`Error::OutOfMemory`].
    pub fn put(&self, name: &str, set: &AdapterSet) -> Result<AdapterInfo> {
        check_name(name)?;
        let mut inner = self.inner.borrow_mut();
        // A training publishes after every update: the buffer that is there already takes the values.
        let copy = match inner.entries.get(name).filter(|e| e.key == set.key()) {
            Some(e) => {
                set.save_to(&e.copy)?;
                e.copy.clone()
            }
            None => set.snapshot()?,
        };
        inner.stamps += 1;
        let (key, parameters) = (set.key().to_string(), set.parameters());
        let entry = Entry { config: set.config(), form: set.form, wholes: set.wholes(), key, copy, parameters, stamp: inner.stamps };
        let info = info(name, &entry, inner.active.as_deref());
        inner.entries.insert(name.to_string(), entry);
        Ok(info)
    }

    /// Takes an adapter from host memory.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] or [`Error::BadConfig`] when it does not fit this model.
    pub fn add<A: Clone + Into<PeftAdapter>>(&self, name: &str, adapter: &A) -> Result<AdapterInfo> {
        check_name(name)?;
        let adapter: PeftAdapter = adapter.clone().into();
        let (own, mask) = (adapter.config().mask().parse::<Mask>()?, self.model.mask());
        if own == Mask::Prefix && mask == Mask::Causal {
            return Err(Error::BadAdapter(
                "it was trained with the mask prefix, the model is loaded with causal: load it with prefix".into(),
            ));
        }
        if own != mask {
            log::warn!(
                "the adapter {name:?} was trained with the mask causal, the model is loaded with prefix: it answers otherwise than before"
            );
        }
        let mut adapter = adapter;
        if let (PeftAdapter::Prompt(_), Some(_)) = (&adapter, self.model.config().shape.encoder_decoder()) {
            let kind = adapter.config().peft_type();
            return Err(Error::BadAdapter(format!("it is {kind}, and the model is an encoder-decoder, which takes LORA")));
        }
        if let (PeftAdapter::Lora(a), Some(_)) = (&mut adapter, self.model.config().shape.encoder()) {
            // PEFT on the bare encoder (FEATURE_EXTRACTION) leaves the root of its paths out.
            for pair in &mut a.pairs {
                let key = self.model.config().names.key_of_safetensors(&format!("{}.weight", pair.target.module));
                pair.target.module = key.strip_suffix(".weight").unwrap_or(&key).to_string();
            }
        }
        if let PeftAdapter::Lora(adapter) = &adapter {
            let shapes: HashMap<&str, (usize, usize)> =
                self.model.linears().into_iter().flat_map(|l| l.parts.iter().map(|p| (p.path.as_str(), (p.rows, l.inputs)))).collect();
            adapter.check(|module| shapes.get(module).copied())?;
            self.check_saved(adapter)?;
        }
        // The file's own modules are what counts: a configuration may choose more than PEFT had in the model it was trained on.
        let form = match &adapter {
            PeftAdapter::Prompt(a) if !a.parts.is_empty() => Form::Whole,
            _ => Form::File,
        };
        let wholes = if let PeftAdapter::Lora(a) = &adapter { a.saved_shapes() } else { Vec::new() };
        let set = self.set(&adapter.config(), form, &wholes)?;
        set.import(&adapter)?;
        let info = self.put(name, &set)?;
        // What it was trained with, which is not what this model is loaded with.
        if let Some(entry) = self.inner.borrow_mut().entries.get_mut(name) {
            entry.config.set_mask(own.name());
        }
        Ok(AdapterInfo { mask: own, ..info })
    }

    /// What an adapter holds whole must be a score head for this model's hidden states, and a classifier must have one.
    fn check_saved(&self, adapter: &LoraAdapter) -> Result<()> {
        let width = self.model.config().hidden_size;
        for (path, shape) in adapter.saved_shapes() {
            if path != SCORE {
                return Err(Error::BadAdapter(format!("it holds {path:?}, of the whole modules only {SCORE} can be used")));
            }
            if shape.len() != 2 || shape[0] == 0 || shape[1] != width {
                let message = format!("{SCORE} is {shape:?}, expected (scores, {width}): a head for the hidden states of this model");
                return Err(Error::BadAdapter(message));
            }
        }
        if adapter.config.scores() && adapter.saved.is_empty() {
            return Err(Error::BadAdapter(format!("its task_type is SEQ_CLS, and it holds no {SCORE}: a reward model needs a score head")));
        }
        Ok(())
    }

    /// Forgets an adapter. False if there was none of that name.
    pub fn remove(&self, name: &str) -> bool {
        let mut inner = self.inner.borrow_mut();
        if inner.active.as_deref() == Some(name) {
            inner.active = None;
        }
        inner.entries.remove(name).is_some()
    }

    /// Makes an adapter the one that calls use, or none.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] for an unknown name.
    pub fn set_active(&self, name: Option<&str>) -> Result<()> {
        let mut inner = self.inner.borrow_mut();
        if let Some(n) = name.filter(|n| !inner.entries.contains_key(*n)) {
            return Err(unknown(&inner, n));
        }
        if let Some((n, e)) = name.and_then(|n| inner.entries.get_key_value(n)) {
            writes(n, e)?;
        }
        inner.active = name.map(str::to_string);
        Ok(())
    }

    /// The active adapter's name.
    pub fn active(&self) -> Option<String> {
        self.inner.borrow().active.clone()
    }

    /// All adapters, by name.
    pub fn list(&self) -> Vec<AdapterInfo> {
        let inner = self.inner.borrow();
        inner.entries.iter().map(|(n, e)| info(n, e, inner.active.as_deref())).collect()
    }

    /// Bytes of all copies and sets on the device.
    pub fn bytes(&self) -> u64 {
        let inner = self.inner.borrow();
        inner.entries.values().map(|e| e.copy.desc().gpu_bytes()).sum::<u64>() + inner.live.values().map(|l| l.set.bytes()).sum::<u64>()
    }

    /// The adapter a call wants, its values in the set that programs of its shape are bound to. `None` = the base model.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] for an unknown name, [`Error::OutOfMemory`].
    pub fn resolve(&self, choice: &AdapterChoice) -> Result<Option<ActiveAdapter>> {
        let name = match choice {
            AdapterChoice::Base => return Ok(None),
            AdapterChoice::Named(n) => n.clone(),
            AdapterChoice::Active => match self.active() {
                Some(n) => n,
                None => return Ok(None),
            },
        };
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        let entry = inner.entries.get(&name).ok_or_else(|| unknown(inner, &name))?;
        writes(&name, entry)?;
        if inner.live.get(&entry.key).is_none() {
            let set = Rc::new(self.set(&entry.config, entry.form, &entry.wholes)?);
            inner.live.insert(entry.key.clone(), Live { set, stamp: 0 });
        }
        let live = inner.live.get(&entry.key).expect("inserted above");
        if live.stamp != entry.stamp {
            live.set.restore(&entry.copy)?;
            live.stamp = entry.stamp;
        }
        Ok(Some(ActiveAdapter { name, set: live.set.clone(), stamp: entry.stamp }))
    }

    /// The values of an adapter.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] for an unknown name; whatever the device reports.
    pub async fn export(&self, name: &str) -> Result<PeftAdapter> {
        let mut adapter = self.copy_of(name)?.export().await?;
        // The configuration as it came: the set has resolved it.
        match (self.config(name), &mut adapter) {
            (Some(PeftConfig::Lora(config)), PeftAdapter::Lora(a)) => a.config = config,
            (Some(PeftConfig::Prompt(config)), PeftAdapter::Prompt(a)) => a.config = config,
            _ => {}
        }
        Ok(adapter)
    }

    /// The two files of a PEFT folder: `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// # Errors
    /// As [`Adapters::export`].
    pub async fn save(&self, name: &str) -> Result<(String, Vec<u8>)> {
        self.export(name).await?.write()
    }

    /// Adds a weighted combination of LoRA adapters under a name: see [`combine`].
    ///
    /// # Errors
    /// As [`combine`]; [`Error::BadAdapter`] for an unknown name.
    pub async fn combine(&self, name: &str, parts: &[(&str, f64)], how: Combination, svd_rank: Option<usize>) -> Result<AdapterInfo> {
        check_name(name)?;
        let mut adapters = Vec::with_capacity(parts.len());
        for (part, weight) in parts {
            adapters.push((self.export(part).await?, *weight));
        }
        let all: Vec<(&PeftAdapter, f64)> = adapters.iter().map(|(a, w)| (a, *w)).collect();
        self.add(name, &combine(&all, how, svd_rank)?)
    }

    /// Several adapters live at once, as they are now: number i of the stack is `names[i]`. For passes that train nothing.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] for an unknown name, [`Error::OutOfMemory`].
    pub fn together(&self, names: &[&str]) -> Result<AdapterStack> {
        let sets = names.iter().map(|name| self.copy_of(name)).collect::<Result<_>>()?;
        AdapterStack::kept(self.model.exec(), sets)
    }

    /// Adds an adapter to the weights for good (see [`Model::merge`]) and forgets it.
    ///
    /// # Errors
    /// As [`Model::merge`]; [`Error::BadAdapter`] for an unknown name, and for virtual tokens, which no weight holds.
    pub async fn merge(&self, name: &str) -> Result<()> {
        if let Some(e) = self.inner.borrow().entries.get(name) {
            writes(name, e)?;
        }
        let adapter = self.export(name).await?.into_lora("merged into the weights")?;
        self.model.merge(&adapter.pairs).await?;
        self.remove(name);
        Ok(())
    }
}

fn unknown(inner: &Inner, name: &str) -> Error {
    let known: Vec<&str> = inner.entries.keys().map(String::as_str).collect();
    Error::BadAdapter(format!("there is no adapter {name:?} (loaded: {})", if known.is_empty() { "none".into() } else { known.join(", ") }))
}

/// How many scores a head among these gives.
fn scores(wholes: &[Whole]) -> usize {
    wholes.iter().find(|w| w.0 == SCORE).map_or(0, |w| w.1[0])
}

/// An adapter with a score head was trained to score, not to write.
fn writes(name: &str, e: &Entry) -> Result<()> {
    match scores(&e.wholes) {
        0 => Ok(()),
        _ => Err(Error::BadAdapter(format!("{name:?} is a reward model (SEQ_CLS): it scores answers and writes none"))),
    }
}

/// Names become folder names.
fn check_name(name: &str) -> Result<()> {
    let fine = !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && !name.contains(['/', '\\', '\0', ':']);
    if fine { Ok(()) } else { Err(Error::BadAdapter(format!("{name:?} cannot be an adapter's name: 1 to 128 bytes, no path"))) }
}

fn info(name: &str, e: &Entry, active: Option<&str>) -> AdapterInfo {
    let lora = e.config.lora();
    let target_modules = match lora.and_then(|c| c.target_modules.as_ref()) {
        Some(OneOrMany::One(s)) => vec![s.clone()],
        Some(OneOrMany::Many(m)) => m.clone(),
        None => Vec::new(),
    };
    AdapterInfo {
        name: name.to_string(),
        active: active == Some(name),
        peft_type: e.config.peft_type(),
        r: lora.map_or(0, |c| c.r),
        lora_alpha: lora.map_or(0.0, |c| c.lora_alpha),
        target_modules,
        scores: scores(&e.wholes),
        num_virtual_tokens: e.config.prompt().map_or(0, |c| c.virtual_tokens()),
        mask: e.config.mask().parse().unwrap_or_default(),
        parameters: e.parameters,
        bytes: e.copy.desc().gpu_bytes(),
    }
}
