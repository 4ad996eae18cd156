//! Several adapters live at once: one pass over the base model in which every row has an adapter of its own, or none.
//!
//! The A of all adapters lie below one another and their B side by side, module by module, so that x·Aᵀ and the product with B are one dispatch
//! each, however many adapters there are. In between each row keeps the columns of its own adapter ([`AdapterRows`]); what is zero there adds nothing
//! and has no gradient.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::lora::{LoraLinear, LoraSet, nothing_for};
use super::set::AdapterSet;
use crate::graph::{Desc, Exec, Program, ProgramOptions, StepParams, Tape, Tensor, Val};
use crate::nn::{Adapter, LowRank};
use crate::ops::adapter::{AdapterRows, Block, NO_ADAPTER, Stack};
use crate::ops::elementwise::{Add, Dropout};
use crate::ops::linear::{Linear as Product, LoraSeg, Low};
use crate::{Error, Result};

/// Columns of x·Aᵀ whose adapters drop the same share of x in a training.
struct Group {
    dropout: f32,
    /// (Σr) u32: the adapter of each column; [`NO_ADAPTER`] for those of other groups.
    owners: Tensor,
    /// (Σr): `lora_alpha / r` of each column's adapter (or what it has in its place).
    scales: Tensor,
}

/// One linear of the model.
struct Layer {
    /// Number in the stack of the adapters that change it: the inputs of both [`Stack`]s.
    members: Vec<usize>,
    a: Stack,
    b: Stack,
    segs: Vec<LoraSeg>,
    /// All columns in one group.
    all: Group,
    /// By what is dropped; one or more.
    groups: Vec<Group>,
}

/// The stacked A and B of each linear where they are kept, and the program that fills them.
struct Kept {
    tensors: BTreeMap<usize, (Tensor, Tensor)>,
    program: Program,
}

/// See the module. Adapter number i of the stack is what rows name i.
pub struct AdapterStack {
    sets: Vec<Rc<AdapterSet>>,
    layers: BTreeMap<usize, Layer>,
    kept: Option<Kept>,
}

/// Tensors of owners and scales, which many linears share.
struct Columns<'a> {
    exec: &'a Exec,
    made: HashMap<(Vec<u32>, Vec<u32>), (Tensor, Tensor)>,
}

impl Columns<'_> {
    fn group(&mut self, dropout: f32, owners: Vec<u32>, scales: &[f32]) -> Result<Group> {
        let key = (owners, scales.iter().map(|s| s.to_bits()).collect::<Vec<_>>());
        if let Some((owners, scales)) = self.made.get(&key) {
            return Ok(Group { dropout, owners: owners.clone(), scales: scales.clone() });
        }
        let n = scales.len();
        let owners = Tensor::from_bytes(self.exec, "adapter owners", Desc::u32(&[n]), bytemuck::cast_slice(&key.0))?;
        let values: Vec<f64> = scales.iter().map(|s| f64::from(*s)).collect();
        let scales = Tensor::from_f64(self.exec, "adapter scales", &[n], &values)?;
        self.made.insert(key, (owners.clone(), scales.clone()));
        Ok(Group { dropout, owners, scales })
    }
}

impl AdapterStack {
    /// A stack whose A and B are put together within each pass: gradients flow into every set that has some ([`AdapterSet::train`]).
    ///
    /// # Errors
    /// [`Error::BadAdapter`] for sets of different models and for other kinds, [`Error::OutOfMemory`].
    pub fn new(exec: &Exec, sets: Vec<Rc<AdapterSet>>) -> Result<AdapterStack> {
        let mut columns = Columns { exec, made: HashMap::new() };
        let lora: Vec<&LoraSet> = sets.iter().map(|s| s.need_lora("one of several in a pass")).collect::<Result<_>>()?;
        if lora.iter().any(|s| !s.is_additive()) {
            return Err(Error::BadAdapter("an adapter with use_dora cannot be one of several in a pass".into()));
        }
        let indices: BTreeSet<usize> = lora.iter().flat_map(|s| s.indices()).collect();
        let layers = indices.into_iter().map(|i| Ok((i, layer(&mut columns, &lora, i)?))).collect::<Result<_>>()?;
        Ok(AdapterStack { sets, layers, kept: None })
    }

    /// A stack that keeps A and B put together, for passes that train nothing: they have fewer dispatches, and another copy of the values, which
    /// [`AdapterStack::refresh`] renews.
    ///
    /// # Errors
    /// As [`AdapterStack::new`].
    pub fn kept(exec: &Exec, sets: Vec<Rc<AdapterSet>>) -> Result<AdapterStack> {
        let mut stack = AdapterStack::new(exec, sets)?;
        let (mut tape, mut tensors) = (Tape::new(), BTreeMap::new());
        for (index, layer) in &stack.layers {
            let fill = |tape: &mut Tape, op: &Stack, pick: &dyn Fn(&LoraLinear) -> &Tensor| -> Result<Tensor> {
                let inputs = stack.inputs(tape, *index, layer, pick);
                let to = Tensor::zeros(exec, "stacked adapters", Desc::f32(op.shape()))?;
                let val = tape.tensor(&to);
                tape.push_into(op.clone(), &inputs, &[(val, false)])?;
                Ok(to)
            };
            let a = fill(&mut tape, &layer.a, &|l| &l.a)?;
            let b = fill(&mut tape, &layer.b, &|l| &l.b)?;
            tensors.insert(*index, (a, b));
        }
        let program = Program::build(exec, &tape, ProgramOptions::default())?;
        stack.kept = Some(Kept { tensors, program });
        stack.refresh();
        Ok(stack)
    }

    /// Takes over what has become of the sets' values, in a stack that keeps them. Passes that are submitted afterwards see it.
    pub fn refresh(&self) {
        if let Some(kept) = &self.kept {
            kept.program.submit(&StepParams::default());
        }
    }

    /// The adapters, by their number.
    pub fn sets(&self) -> &[Rc<AdapterSet>] {
        &self.sets
    }

    /// The stack for a pass in which row m of x uses adapter `rows[m]`; `rows` (M) u32, [`NO_ADAPTER`] for the base model. A pass that goes on with other
    /// rows (the judged ones before the output layer) wants a choice of its own for those.
    pub fn choose(&self, rows: Val) -> ChosenAdapters<'_> {
        ChosenAdapters { stack: self, rows }
    }

    fn inputs(&self, tape: &mut Tape, index: usize, layer: &Layer, pick: &dyn Fn(&LoraLinear) -> &Tensor) -> Vec<Val> {
        layer.members.iter().filter_map(|s| self.sets[*s].lora()?.part(index)).map(|l| tape.tensor(pick(l))).collect()
    }

    /// A (Σr, in) and B of a linear.
    fn stacked(&self, tape: &mut Tape, index: usize, layer: &Layer) -> Result<(Val, Val)> {
        if let Some((a, b)) = self.kept.as_ref().and_then(|k| k.tensors.get(&index)) {
            return Ok((tape.tensor(a), tape.tensor(b)));
        }
        let (a, b) = (self.inputs(tape, index, layer, &|l| &l.a), self.inputs(tape, index, layer, &|l| &l.b));
        Ok((tape.push1(layer.a.clone(), &a)?, tape.push1(layer.b.clone(), &b)?))
    }
}

/// How the adapters' parts of linear `index` lie side by side: A by module and then by adapter, B of a module (rows, Σr).
fn layer(columns: &mut Columns<'_>, sets: &[&LoraSet], index: usize) -> Result<Layer> {
    let members: Vec<usize> = (0..sets.len()).filter(|s| sets[*s].part(index).is_some()).collect();
    let parts: Vec<&LoraLinear> = members.iter().filter_map(|s| sets[*s].part(index)).collect();
    let inputs = parts.first().map_or(0, |p| p.inputs);
    let mut modules: Vec<(usize, usize)> = parts.iter().flat_map(|p| p.segs.iter().map(|s| (s.row0, s.row1))).collect();
    modules.sort_unstable();
    modules.dedup();
    if parts.iter().any(|p| p.inputs != inputs) || modules.windows(2).any(|m| m[0].1 > m[1].0) {
        return Err(Error::BadAdapter(format!(
            "linear {index} has other shapes in one adapter than in another: they are of different models"
        )));
    }
    let (mut segs, mut a, mut b) = (Vec::new(), Vec::new(), Vec::new());
    let (mut owners, mut scales) = (Vec::new(), Vec::new());
    let mut b_off = 0;
    for (row0, row1) in modules {
        let mine = |p: &LoraLinear| p.segs.iter().find(|s| (s.row0, s.row1) == (row0, row1)).copied();
        let r: usize = parts.iter().filter_map(|p| mine(p)).map(|s| s.r).sum();
        segs.push(LoraSeg { row0, row1, h_off: owners.len(), r, b_off, scale: 1.0 });
        let mut column = 0;
        for (input, (part, set)) in parts.iter().zip(&members).enumerate() {
            let Some(s) = mine(part) else { continue };
            let (n, to) = (s.r * inputs, owners.len() * inputs);
            a.push(Block { input, rows: 1, cols: n, from: s.h_off * inputs, from_stride: n, to, to_stride: n });
            b.push(Block { input, rows: row1 - row0, cols: s.r, from: s.b_off, from_stride: s.r, to: b_off + column, to_stride: r });
            owners.extend(vec![*set as u32; s.r]);
            scales.extend(vec![s.scale; s.r]);
            column += s.r;
        }
        b_off += (row1 - row0) * r;
    }
    // Blocks of one adapter that follow one another become one copy.
    a.sort_by_key(|b| b.input);
    b.sort_by_key(|b| b.input);
    let mut shares: Vec<f32> = members.iter().map(|s| sets[*s].dropout()).collect();
    shares.sort_by(f32::total_cmp);
    shares.dedup();
    let groups = shares.iter().map(|p| {
        let of = |o: &u32| if sets[*o as usize].dropout() == *p { *o } else { NO_ADAPTER };
        columns.group(*p, owners.iter().map(of).collect(), &scales)
    });
    let groups = groups.collect::<Result<_>>()?;
    let (a, b) = (Stack::new(&[owners.len(), inputs], a), Stack::new(&[1, b_off], b));
    Ok(Layer { members, a, b, segs, all: columns.group(0.0, owners, &scales)?, groups })
}

/// A stack of adapters and which of them each row of a pass uses: see [`AdapterStack::choose`].
#[derive(Clone, Copy)]
pub struct ChosenAdapters<'a> {
    stack: &'a AdapterStack,
    rows: Val,
}

impl Adapter for ChosenAdapters<'_> {
    fn low(&self, index: usize, _train: bool) -> Option<Low> {
        self.stack.layers.contains_key(&index).then_some(Low::Given)
    }

    fn record(&self, tape: &mut Tape, index: usize, x: Val, train: bool) -> Result<LowRank> {
        let stack = self.stack;
        let layer = stack.layers.get(&index).ok_or_else(|| nothing_for(index))?;
        let (a, b) = stack.stacked(tape, index, layer)?;
        let mut h = None;
        let groups = if train { &layer.groups[..] } else { std::slice::from_ref(&layer.all) };
        for (i, group) in groups.iter().enumerate() {
            let mut x = x;
            if group.dropout > 0.0 {
                x = tape.push1(Dropout { p: group.dropout, salt: (index as u32 + 1) + ((i as u32) << 16) }, &[x])?;
            }
            let low = tape.push1(Product::plain(), &[x, a])?;
            let (owners, scales) = (tape.tensor(&group.owners), tape.tensor(&group.scales));
            let own = tape.push1(AdapterRows, &[low, self.rows, owners, scales])?;
            h = Some(match h {
                Some(others) => tape.push1(Add, &[others, own])?,
                None => own,
            });
        }
        let first = h.ok_or_else(|| Error::BadAdapter("an empty stack".into()))?;
        Ok(LowRank { first, b, segs: layer.segs.clone() })
    }
}
