//! An adapter of any kind on the device: its values and gradients in flat buffers, so that one dispatch updates them all and one copy switches
//! adapters.

use std::any::Any;
use std::cell::RefCell;

use super::kind::{First, Form, Kind, Made};
use super::lora::{LoraSet, Whole, nothing_for};
use crate::data::Front;
use crate::formats::peft::{LoraAdapter, NamedTensor, PeftAdapter, PeftConfig, not_lora};
use crate::graph::{Arena, Desc, Exec, Program, ProgramOptions, StepParams, Tape, Tensor, Transfer, Val};
use crate::nn::{Adapter, KvCache, LowRank, Magnitude, Prefix, Prompt};
use crate::ops::linear::Low;
use crate::{Error, Result};

/// The input of a recorded pass that takes [`crate::data::Batch::front`].
pub const FRONT: &str = "front";

/// See the module.
pub struct AdapterSet {
    exec: Exec,
    kind: Box<dyn Kind>,
    pub(super) form: Form,
    grads: RefCell<Option<Arena>>,
}

/// Names the rows of a pass with virtual tokens.
fn rows_of(tape: &mut Tape, n: usize) -> Val {
    tape.input(FRONT, Desc::u32(&[n]))
}

impl AdapterSet {
    pub(super) fn new(exec: &Exec, kind: Box<dyn Kind>, form: Form) -> AdapterSet {
        AdapterSet { exec: exec.clone(), kind, form, grads: RefCell::default() }
    }

    /// The configuration, with what PEFT writes of the model.
    pub fn config(&self) -> PeftConfig {
        self.kind.config()
    }

    /// Equal keys mean that one set's values fit into the other and that recorded programs serve both.
    pub fn key(&self) -> &str {
        self.kind.key()
    }

    /// The set, where it is one of A and B.
    pub fn lora(&self) -> Option<&LoraSet> {
        let kind: &dyn Any = &*self.kind;
        kind.downcast_ref()
    }

    /// A parameter that it holds whole.
    pub fn whole(&self, path: &str) -> Option<&Tensor> {
        self.lora()?.whole(path)
    }

    /// Paths and shapes of the parameters that it holds whole.
    pub fn wholes(&self) -> Vec<Whole> {
        self.lora().map_or_else(Vec::new, LoraSet::wholes)
    }

    /// # Errors
    /// [`Error::BadAdapter`] that says what `what` is done with alone.
    pub fn need_lora(&self, what: &str) -> Result<&LoraSet> {
        self.lora().ok_or_else(|| not_lora(self.config().peft_type(), what))
    }

    /// False where a pass with its products times 0 is not the base model.
    pub fn is_additive(&self) -> bool {
        self.lora().is_some_and(LoraSet::is_additive)
    }

    /// What every sequence has in front of its tokens.
    pub fn front(&self) -> Front {
        self.kind.front()
    }

    /// Starts it as PEFT does.
    pub(super) fn begin(&self, first: &First) -> Result<()> {
        self.kind.begin(&self.exec, first)
    }

    /// All values in one flat (1, n) tensor (parts padded with zeros to 64 elements).
    pub fn params(&self) -> &Tensor {
        &self.kind.arena().flat
    }

    /// First element, elements, and whether weight decay is for them, of every part of [`AdapterSet::params`]: biases do not decay, as in
    /// Transformers.
    pub fn parts(&self) -> Vec<(usize, usize, bool)> {
        let arena = self.kind.arena();
        arena.parts.iter().enumerate().map(|(i, p)| (arena.offset(i), p.desc().len(), !p.name().contains("bias"))).collect()
    }

    /// Number of trainable values.
    pub fn parameters(&self) -> usize {
        self.kind.arena().parts.iter().map(|p| p.desc().len()).sum()
    }

    /// Bytes on the device, gradients aside.
    pub fn bytes(&self) -> u64 {
        self.params().desc().gpu_bytes()
    }

    /// Whether it can be trained.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] that says why it cannot: it came without what is trained.
    pub fn check_trainable(&self) -> Result<()> {
        self.kind.frozen().map_or(Ok(()), |why| Err(Error::BadAdapter(why.into())))
    }

    /// Gives the values gradients (zeroed at first); the flat gradient buffer, laid out like [`AdapterSet::params`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn train(&self, exec: &Exec) -> Result<Tensor> {
        if self.grads.borrow().is_none() {
            let parts = &self.kind.arena().parts;
            let shapes: Vec<_> = parts.iter().map(|p| (format!("d{}", p.name()), p.desc().shape.clone())).collect();
            let grads = Arena::zeros(exec, "adapter gradients", &shapes)?;
            for (p, g) in parts.iter().zip(&grads.parts) {
                p.set_grad(Some(g.clone()));
            }
            *self.grads.borrow_mut() = Some(grads);
        }
        Ok(self.grads.borrow().as_ref().expect("set above").flat.clone())
    }

    /// Takes the gradients away again.
    pub fn freeze(&self) {
        self.kind.arena().parts.iter().for_each(|p| p.set_grad(None));
        *self.grads.borrow_mut() = None;
    }

    /// Takes the values of an adapter in host memory.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] when it has other modules or shapes than this set, or is of another kind.
    pub fn import(&self, adapter: &PeftAdapter) -> Result<()> {
        self.kind.import(&self.exec, adapter)
    }

    async fn read(&self, parts: &[Tensor]) -> Result<Vec<Vec<f32>>> {
        let mut out = Vec::with_capacity(parts.len());
        for p in parts {
            let values = p.read_rows(&self.exec, 0, p.desc().rows()).await?;
            if !values.iter().all(|v| v.is_finite()) {
                return Err(Error::NotFinite(format!("{} of the adapter", p.name())));
            }
            out.push(values);
        }
        Ok(out)
    }

    /// What its file holds.
    ///
    /// # Errors
    /// Whatever the device reports; [`Error::NotFinite`].
    pub async fn export(&self) -> Result<PeftAdapter> {
        let values = if self.kind.encodes() { self.made().await? } else { self.read(&self.kind.arena().parts).await? };
        Ok(self.kind.file(&values))
    }

    /// The same, of A and B.
    ///
    /// # Errors
    /// As [`AdapterSet::export`]; [`Error::BadAdapter`] for another kind.
    pub async fn export_lora(&self) -> Result<LoraAdapter> {
        self.export().await?.into_lora("read as A and B")
    }

    /// What is in front of every sequence, made by a pass of its own: embeddings, or keys and values of every layer.
    async fn made(&self) -> Result<Vec<Vec<f32>>> {
        let mut tape = Tape::new();
        let vals = match self.kind.made(&mut tape, false)? {
            Made::Nothing => Vec::new(),
            Made::Tokens(table) => vec![table],
            Made::Keys(layers) => layers.into_iter().flat_map(|(k, v)| [k, v]).collect(),
        };
        if !self.kind.encodes() {
            return self.read(&self.kind.arena().parts).await;
        }
        let names: Vec<String> = (0..vals.len()).map(|i| format!("made.{i}")).collect();
        names.iter().zip(&vals).for_each(|(name, val)| tape.output(name, *val));
        let program = Program::build(&self.exec, &tape, ProgramOptions::default())?;
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let words = program.run(&StepParams::default(), &all).await?;
        let values: Vec<Vec<f32>> = words.into_iter().map(|w| w.into_iter().map(f32::from_bits).collect()).collect();
        match values.iter().flatten().all(|v: &f32| v.is_finite()) {
            true => Ok(values),
            false => Err(Error::NotFinite("the virtual tokens of the adapter".into())),
        }
    }

    /// What is trained, under PEFT's names.
    ///
    /// # Errors
    /// As [`AdapterSet::export`].
    pub async fn export_weights(&self) -> Result<Vec<NamedTensor>> {
        Ok(self.kind.named(&self.read(&self.kind.arena().parts).await?))
    }

    async fn grads(&self) -> Result<Vec<Vec<f32>>> {
        let parts = match &*self.grads.borrow() {
            Some(grads) => grads.parts.clone(),
            None => return Err(Error::config("adapter", "is frozen: it has no gradients")),
        };
        self.read(&parts).await
    }

    /// Its gradients, in the same form.
    ///
    /// # Errors
    /// As [`AdapterSet::export`]; [`Error::BadConfig`] when there are none.
    pub async fn export_grads(&self) -> Result<Vec<NamedTensor>> {
        Ok(self.kind.named(&self.grads().await?))
    }

    /// Those of A and B, module by module.
    ///
    /// # Errors
    /// As [`AdapterSet::export_grads`]; [`Error::BadAdapter`] for another kind.
    pub async fn lora_grads(&self) -> Result<LoraAdapter> {
        let grads = self.grads().await?;
        Ok(self.need_lora("read as A and B")?.pairs(&grads))
    }

    /// Whether the model with it is another than without.
    ///
    /// # Errors
    /// As [`AdapterSet::export`].
    pub async fn changes(&self) -> Result<bool> {
        Ok(self.kind.changes(&self.read(&self.kind.arena().parts).await?))
    }

    /// A copy of all values on the device, to come back to with [`AdapterSet::restore`].
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn snapshot(&self) -> Result<Tensor> {
        let copy = Tensor::zeros(&self.exec, "adapter copy", self.params().desc().clone())?;
        self.copy(self.params(), &copy)?;
        Ok(copy)
    }

    /// Copies all values into what [`AdapterSet::snapshot`] of a set with the same key gave.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] when the sizes differ.
    pub fn save_to(&self, copy: &Tensor) -> Result<()> {
        self.copy(self.params(), copy)
    }

    /// Takes back a copy of a set with the same key: one buffer copy on the device.
    ///
    /// # Errors
    /// [`Error::BadAdapter`] when the sizes differ.
    pub fn restore(&self, copy: &Tensor) -> Result<()> {
        self.copy(copy, self.params())?;
        self.kind.refresh();
        Ok(())
    }

    fn copy(&self, from: &Tensor, to: &Tensor) -> Result<()> {
        if from.desc() != to.desc() {
            return Err(Error::BadAdapter(format!("a copy of {:?} for an adapter of {:?}", from.desc().shape, to.desc().shape)));
        }
        self.exec.need_device("switching adapters")?;
        self.exec.copy(&[Transfer::new(&from.mem(), &to.mem(), 0, from.desc().gpu_bytes())]);
        Ok(())
    }

    /// The set in a pass of `rows` rows that are `batch` sequences. What it has in front of them comes with an input named [`FRONT`].
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub fn place(&self, tape: &mut Tape, rows: usize, batch: usize, train: bool) -> Result<PlacedAdapter<'_>> {
        let made = self.kind.made(tape, train)?;
        let at = match self.front() {
            Front::Nothing => None,
            Front::Tokens(_) => Some(rows_of(tape, rows)),
            Front::Keys(n) => Some(rows_of(tape, batch * n)),
        };
        Ok(PlacedAdapter { set: self, made, at })
    }

    /// Writes the keys and values that it has in front of a sequence into the first slots of a cache.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not fit; whatever the device reports.
    pub async fn write_keys(&self, cache: &KvCache) -> Result<()> {
        let Front::Keys(_) = self.front() else { return Ok(()) };
        let made = self.made().await?;
        if made.len() != 2 * cache.layers.len() {
            return Err(Error::shape("prefix", format!("{} tables for a cache of {} layers", made.len(), cache.layers.len())));
        }
        for (layer, pair) in made.chunks_exact(2).enumerate() {
            cache.write(&self.exec, layer, 0, &pair[0], &pair[1])?;
        }
        Ok(())
    }
}

/// A set as a pass is recorded with it: see [`AdapterSet::place`].
pub struct PlacedAdapter<'a> {
    set: &'a AdapterSet,
    made: Made,
    at: Option<Val>,
}

impl Adapter for PlacedAdapter<'_> {
    fn low(&self, index: usize, train: bool) -> Option<Low> {
        self.set.lora()?.low(index, train)
    }

    fn record(&self, tape: &mut Tape, index: usize, x: Val, train: bool) -> Result<LowRank> {
        self.set.lora().ok_or_else(|| nothing_for(index))?.record(tape, index, x, train)
    }

    fn score(&self) -> Option<&Tensor> {
        self.set.lora()?.score()
    }

    fn whole(&self, path: &str) -> Option<&Tensor> {
        self.set.whole(path)
    }

    fn magnitude(&self, tape: &mut Tape, index: usize, weight: Val) -> Result<Option<Magnitude>> {
        self.set.lora().map_or(Ok(None), |l| l.present_magnitude(tape, index, weight))
    }

    fn prompt(&self, _tape: &mut Tape) -> Option<Prompt> {
        match (&self.made, self.at) {
            (Made::Tokens(table), Some(rows)) => Some(Prompt { table: *table, rows }),
            _ => None,
        }
    }

    fn prefix(&self, _tape: &mut Tape, layer: usize) -> Option<Prefix> {
        match (&self.made, self.at) {
            (Made::Keys(layers), Some(rows)) => layers.get(layer).map(|&(keys, values)| Prefix { keys, values, rows }),
            _ => None,
        }
    }
}
