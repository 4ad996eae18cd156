//! Prefix tuning (Li & Liang 2021): keys and values in front of every sequence's own, in every layer, which are learned while the model stays as
//! it is; with a projection, two linear layers make them while they are trained. As PEFT has it they go into the cache as they are, not rotated, and
//! tokens begin at the position behind them.

use super::kind::{First, Form, Kind, Made, wide};
use super::network::{Layer, uniform};
use super::random::Random;
use super::virtual_tokens::{TOKEN_TABLE, fill, holds_parts, parts_of, prompt_file, table_of};
use crate::Result;
use crate::data::Front;
use crate::formats::peft::{NamedTensor, PeftAdapter, PeftConfig, PromptConfig};
use crate::graph::{Arena, Exec, Tape, Val};
use crate::models::Model;
use crate::ops::softcap::SoftCap;

/// PEFT's names of the projection's layers.
const FIRST: &str = "prompt_encoder.default.transform.0";
const LAST: &str = "prompt_encoder.default.transform.2";

/// Without a projection a table (n, Hkv·D) for the keys and one for the values of each layer; with one, a table (n, Hkv·D), a linear layer, and the rows
/// of a second one for each of those, so that what a layer of the model reads is one tensor.
pub(super) struct PrefixTuning {
    config: PromptConfig,
    key: String,
    arena: Arena,
    /// Keys and values of all layers.
    blocks: usize,
    width: usize,
    /// Width between the projection's layers.
    hidden: Option<usize>,
    frozen: bool,
}

impl PrefixTuning {
    /// # Errors
    /// [`crate::Error::BadAdapter`] for an adapter of another model; [`crate::Error::OutOfMemory`].
    pub fn new(model: &Model, config: &PromptConfig, form: Form) -> Result<PrefixTuning> {
        let config = fill(model, config)?;
        let (n, width, blocks) = (config.virtual_tokens(), model.config().kv_width(), 2 * model.config().num_hidden_layers);
        let projects = config.is_on("prefix_projection");
        let hidden = config.whole("encoder_hidden_size").filter(|_| projects && form == Form::Whole);
        let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
        match hidden {
            None => shapes.extend((0..blocks).map(|b| (format!("embedding.{b}"), vec![n, width]))),
            Some(h) => {
                shapes.push(("embedding".into(), vec![n, width]));
                shapes.push(("transform.0.weight".into(), vec![h, width]));
                shapes.push(("transform.0.bias".into(), vec![h]));
                for b in 0..blocks {
                    shapes.push((format!("transform.2.weight.{b}"), vec![width, h]));
                    shapes.push((format!("transform.2.bias.{b}"), vec![width]));
                }
            }
        }
        let key = format!("{} {n} {width} {blocks} {hidden:?}", config.kind.name());
        let arena = Arena::zeros(model.exec(), "adapter", &shapes)?;
        Ok(PrefixTuning { config, key, arena, blocks, width, hidden, frozen: projects && form == Form::File })
    }

    /// Of block `b` of the projection's last layer.
    fn last(&self, b: usize) -> Layer {
        Layer { weight: self.arena.parts[3 + 2 * b].clone(), bias: self.arena.parts[4 + 2 * b].clone() }
    }

    /// Tables of blocks out of one whose columns they are.
    fn columns(&self, table: &[f32]) -> Vec<Vec<f32>> {
        let row = self.blocks * self.width;
        let block = |b: usize| table.chunks_exact(row).flat_map(|r| &r[b * self.width..(b + 1) * self.width]).copied().collect();
        (0..self.blocks).map(block).collect()
    }
}

impl Kind for PrefixTuning {
    fn config(&self) -> PeftConfig {
        self.config.clone().into()
    }

    fn key(&self) -> &str {
        &self.key
    }

    fn arena(&self) -> &Arena {
        &self.arena
    }

    /// As PyTorch begins embeddings and linear layers; with `init_weights` "zero" all keys and values are 0.
    fn begin(&self, exec: &Exec, first: &First) -> Result<()> {
        let mut random = Random::new(first.seed);
        let zero = self.config.text("init_weights") == Some("zero");
        for (i, part) in self.arena.parts.iter().enumerate() {
            let count = part.desc().len();
            let values: Vec<f64> = match self.hidden {
                Some(h) if i > 0 => {
                    let inputs = if i < 3 { self.width } else { h };
                    if zero && i > 2 { vec![0.0; count] } else { uniform(&mut random, count, inputs) }
                }
                None if zero => vec![0.0; count],
                _ => (0..count).map(|_| random.normal()).collect(),
            };
            part.set_f64(exec, &values);
        }
        Ok(())
    }

    fn import(&self, exec: &Exec, adapter: &PeftAdapter) -> Result<()> {
        let (n, w, blocks) = (self.config.virtual_tokens(), self.width, self.blocks);
        let set = |parts: Vec<Vec<f32>>| self.arena.parts.iter().zip(parts).for_each(|(t, v)| t.set_f64(exec, &wide(&v)));
        let Some(h) = self.hidden else {
            let table = match holds_parts(adapter) {
                true => parts_of(adapter, &self.config, &[(TOKEN_TABLE.into(), vec![n, blocks * w])])?[0],
                false => table_of(adapter, &self.config, blocks * w)?,
            };
            set(self.columns(table));
            return Ok(());
        };
        let wanted = [
            (TOKEN_TABLE.to_string(), vec![n, w]),
            (format!("{FIRST}.weight"), vec![h, w]),
            (format!("{FIRST}.bias"), vec![h]),
            (format!("{LAST}.weight"), vec![blocks * w, h]),
            (format!("{LAST}.bias"), vec![blocks * w]),
        ];
        let found = parts_of(adapter, &self.config, &wanted)?;
        let mut parts: Vec<Vec<f32>> = found[..3].iter().map(|p| p.to_vec()).collect();
        for (weight, bias) in found[3].chunks_exact(w * h).zip(found[4].chunks_exact(w)) {
            parts.extend([weight.to_vec(), bias.to_vec()]);
        }
        set(parts);
        Ok(())
    }

    fn named(&self, parts: &[Vec<f32>]) -> Vec<NamedTensor> {
        let (n, w, blocks) = (self.config.virtual_tokens(), self.width, self.blocks);
        let tensor = |name: &str, shape: &[usize], values: Vec<f32>| NamedTensor { name: name.into(), shape: shape.to_vec(), values };
        let Some(h) = self.hidden else {
            let rows = (0..n).flat_map(|r| parts.iter().flat_map(move |p| &p[r * w..(r + 1) * w]));
            return vec![tensor(TOKEN_TABLE, &[n, blocks * w], rows.copied().collect())];
        };
        let every = |at: usize| parts[3 + at..].iter().step_by(2).flatten().copied().collect();
        vec![
            tensor(TOKEN_TABLE, &[n, w], parts[0].clone()),
            tensor(&format!("{FIRST}.weight"), &[h, w], parts[1].clone()),
            tensor(&format!("{FIRST}.bias"), &[h], parts[2].clone()),
            tensor(&format!("{LAST}.weight"), &[blocks * w, h], every(0)),
            tensor(&format!("{LAST}.bias"), &[blocks * w], every(1)),
        ]
    }

    fn encodes(&self) -> bool {
        self.hidden.is_some()
    }

    fn file(&self, tables: &[Vec<f32>]) -> PeftAdapter {
        prompt_file(&self.config, tables)
    }

    fn front(&self) -> Front {
        Front::Keys(self.config.virtual_tokens())
    }

    fn made(&self, tape: &mut Tape, _train: bool) -> Result<Made> {
        let parts = &self.arena.parts;
        let tables: Vec<Val> = if self.hidden.is_some() {
            let x = tape.tensor(&parts[0]);
            let x = Layer { weight: parts[1].clone(), bias: parts[2].clone() }.record(tape, x)?;
            // A cap of 1 is tanh.
            let x = tape.push1(SoftCap { cap: 1.0 }, &[x])?;
            (0..self.blocks).map(|b| self.last(b).record(tape, x)).collect::<Result<_>>()?
        } else {
            parts.iter().map(|t| tape.tensor(t)).collect()
        };
        Ok(Made::Keys(tables.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()))
    }

    fn frozen(&self) -> Option<&'static str> {
        self.frozen.then_some(
            "keys and values that a projection has made cannot be trained further: PEFT saves what it has made, and not the projection. A checkpoint \
             keeps it",
        )
    }
}
