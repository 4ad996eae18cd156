//! Prefix tuning (Li & Liang 2021): keys and values in front of every sequence's own, in every layer, which are learned while the model stays as
//! it is. As PEFT has it they go into the cache as they are, not rotated, and tokens begin at the position behind them.

use super::lora::nothing_for;
use crate::graph::{Desc, Exec, Tape, Tensor, Val};
use crate::models::Model;
use crate::nn::{Adapter, KvCache, LowRank, Prefix};
use crate::ops::linear::Low;
use crate::{Error, Result};

/// Keys and values of each layer, those of several prefixes below one another.
pub struct PrefixKeys {
    layers: Vec<(Tensor, Tensor)>,
}

impl PrefixKeys {
    /// `rows` zeroed keys and values for every layer of a model.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(model: &Model, rows: usize) -> Result<PrefixKeys> {
        let c = model.config();
        let table = |what: &str, i: usize| Tensor::zeros(model.exec(), &format!("prefix {what}.{i}"), Desc::f32(&[rows, c.kv_width()]));
        let layers = (0..c.num_hidden_layers).map(|i| Ok((table("keys", i)?, table("values", i)?))).collect::<Result<_>>()?;
        Ok(PrefixKeys { layers })
    }

    /// Keys and values of each layer, (P, Hkv·D) f32.
    pub fn layers(&self) -> &[(Tensor, Tensor)] {
        &self.layers
    }

    /// For a pass over B whole sequences with n keys in front of each; `rows` (B·n) u32 names the rows of the tables, and
    /// [`crate::ops::embedding::NO_ROW`] one of zeros, for a sequence whose spans begin behind it. The spans of the pass count these keys, and positions go
    /// on behind them.
    pub fn choose(&self, rows: Val) -> ChosenPrefix<'_> {
        ChosenPrefix { keys: self, rows }
    }

    /// Writes rows `first..first + n` into the slots `slot..slot + n` of a cache, for passes that go on behind them.
    ///
    /// # Errors
    /// [`Error::Shape`] when they do not fit; whatever the device reports.
    pub async fn write(&self, exec: &Exec, cache: &KvCache, slot: usize, first: usize, n: usize) -> Result<()> {
        if cache.layers.len() != self.layers.len() {
            return Err(Error::shape("prefix", format!("{} layers for a cache of {}", self.layers.len(), cache.layers.len())));
        }
        for (layer, (keys, values)) in self.layers.iter().enumerate() {
            let (k, v) = (keys.read_rows(exec, first, n).await?, values.read_rows(exec, first, n).await?);
            cache.write(exec, layer, slot, &k, &v)?;
        }
        Ok(())
    }
}

/// Keys and values in front of the sequences of a pass: see [`PrefixKeys::choose`].
#[derive(Clone, Copy)]
pub struct ChosenPrefix<'a> {
    keys: &'a PrefixKeys,
    rows: Val,
}

impl Adapter for ChosenPrefix<'_> {
    fn low(&self, _index: usize, _train: bool) -> Option<Low> {
        None
    }

    fn record(&self, _tape: &mut Tape, index: usize, _x: Val, _train: bool) -> Result<LowRank> {
        Err(nothing_for(index))
    }

    fn prefix(&self, tape: &mut Tape, layer: usize) -> Option<Prefix> {
        let (keys, values) = self.keys.layers.get(layer)?;
        Some(Prefix { keys: tape.tensor(keys), values: tape.tensor(values), rows: self.rows })
    }
}
