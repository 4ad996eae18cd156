//! What is trained: flat buffers, the groups of parameters in them, and the optimizer over all of it.

use super::config::{Optim, TrainingArguments};
use super::method::OwnParameters;
use crate::graph::{Desc, Exec, Program, ProgramOptions, Tape, Tensor};
use crate::ops::optim::{AdamW, GradNorm, Group};
use crate::ops::optim8::{AdamW8, Moments8};
use crate::{Error, Result};

/// A flat buffer of parameters with its gradients and AdamW's state.
pub(super) struct Flat {
    /// Under which a checkpoint keeps it; that of the model's own is empty.
    pub name: &'static str,
    pub params: Tensor,
    pub grads: Tensor,
    moments: Moments,
}

/// AdamW's running means of the gradient and of its square, and which of them belong to which group.
enum Moments {
    Whole {
        exp_avg: Tensor,
        exp_avg_sq: Tensor,
        /// (first element, elements, what they have of their own).
        groups: Vec<(usize, usize, Group)>,
    },
    /// In 8 bits; (first block, blocks, what they have of their own).
    Eight(Moments8, Vec<(usize, usize, Group)>),
}

/// Parts that lie behind each other and have the same of their own are one.
fn joined(parts: impl Iterator<Item = (usize, usize, Group)>) -> Vec<(usize, usize, Group)> {
    let mut groups: Vec<(usize, usize, Group)> = Vec::new();
    for (start, len, group) in parts {
        match groups.last_mut() {
            // The padding between two parts is zero and stays zero.
            Some(last) if last.2 == group => last.1 = start + len - last.0,
            _ => groups.push((start, len, group)),
        }
    }
    groups
}

impl Flat {
    fn new(exec: &Exec, optim: Optim, name: &'static str, params: &Tensor, grads: Tensor, parts: &[(usize, usize, Group)]) -> Result<Flat> {
        let desc = params.desc().clone();
        let moments = match optim {
            Optim::AdamW => Moments::Whole {
                exp_avg: Tensor::zeros(exec, "exp_avg", desc.clone())?,
                exp_avg_sq: Tensor::zeros(exec, "exp_avg_sq", desc)?,
                groups: joined(parts.iter().copied()),
            },
            Optim::AdamW8bit => {
                let ranges: Vec<(usize, usize)> = parts.iter().map(|p| (p.0, p.1)).collect();
                let (moments, blocks) = Moments8::zeros(exec, &ranges)?;
                Moments::Eight(moments, joined(blocks.into_iter().zip(parts).map(|((first, n), part)| (first, n, part.2))))
            }
        };
        Ok(Flat { name, params: params.clone(), grads, moments })
    }
}

/// All that an update changes.
pub(super) struct Trainable {
    /// The adapter's or the model's parameters first, then what the method has of its own.
    pub flats: Vec<Flat>,
    /// Of the last gradient, over all flat buffers. Not finite, it stays until it is set to 0, and so does all the rest.
    pub norm: Tensor,
}

impl Trainable {
    /// `parts` are (first element, elements, whether they decay) of `params`.
    pub fn new(
        exec: &Exec,
        args: &TrainingArguments,
        params: &Tensor,
        grads: Tensor,
        parts: &[(usize, usize, bool)],
        own: &[OwnParameters],
    ) -> Result<Trainable> {
        let decay = args.weight_decay as f32;
        let group = |decays: bool| Group { rate: 1.0, decay: if decays { decay } else { 0.0 } };
        let parts: Vec<_> = parts.iter().map(|(start, len, decays)| (*start, *len, group(*decays))).collect();
        let mut flats = vec![Flat::new(exec, args.optim, "", params, grads, &parts)?];
        for p in own {
            let rate = match p.learning_rate {
                None => 1.0,
                Some(rate) if args.learning_rate > 0.0 => (rate / args.learning_rate) as f32,
                Some(_) => {
                    return Err(Error::config("learning_rate", format!("is 0: the own rate of {:?} cannot follow its schedule", p.name)));
                }
            };
            let group = Group { rate, decay: p.weight_decay.map_or(decay, |d| d as f32) };
            // A critic's parts have their gradients in one buffer already.
            let grads = p.params.grad().map_or_else(|| Tensor::zeros(exec, p.name, p.params.desc().clone()), Ok)?;
            p.params.set_grad(Some(grads.clone()));
            flats.push(Flat::new(exec, args.optim, p.name, &p.params, grads, &[(0, p.params.desc().len(), group)])?);
        }
        Ok(Trainable { flats, norm: Tensor::zeros(exec, "norm", Desc::f32(&[1]))? })
    }

    /// Norm, clipping and AdamW for all of it.
    pub fn program(&self, exec: &Exec, options: ProgramOptions) -> Result<Program> {
        let mut tape = Tape::new();
        let grads: Vec<_> = self.flats.iter().map(|f| tape.tensor(&f.grads)).collect();
        let norm = tape.tensor(&self.norm);
        tape.push_into(GradNorm, &grads, &[(norm, true)])?;
        for f in &self.flats {
            match &f.moments {
                Moments::Whole { exp_avg, exp_avg_sq, groups } => {
                    let flats = [&f.params, &f.grads, exp_avg, exp_avg_sq].map(|t| tape.tensor(t));
                    for &(start, len, group) in groups {
                        AdamW::record(&mut tape, start, len, group, norm, flats)?;
                    }
                }
                Moments::Eight(moments, groups) => {
                    let flats = [&f.params, &f.grads].map(|t| tape.tensor(t));
                    for &(first, blocks, group) in groups {
                        AdamW8::record(&mut tape, (first, blocks), group, norm, flats, moments)?;
                    }
                }
            }
        }
        Program::build(exec, &tape, options)
    }

    /// Bytes of what a method trains beside the adapter, of all gradients, and of what the optimizer keeps.
    pub fn bytes(&self) -> [u64; 3] {
        let mut sums = [0; 3];
        for f in &self.flats {
            let moments = match &f.moments {
                Moments::Whole { exp_avg, exp_avg_sq, .. } => vec![exp_avg, exp_avg_sq],
                Moments::Eight(m, _) => vec![&m.blocks, &m.map, &m.codes, &m.absmax],
            };
            sums[0] += if f.name.is_empty() { 0 } else { f.params.desc().gpu_bytes() };
            sums[1] += f.grads.desc().gpu_bytes();
            sums[2] += moments.iter().map(|t| t.desc().gpu_bytes()).sum::<u64>();
        }
        sums
    }

    /// Forgets gradients of a step that failed half-way.
    pub fn clear(&self, exec: &Exec) {
        for f in &self.flats {
            f.grads.set_f64(exec, &vec![0.0; f.grads.desc().len()]);
        }
    }

    /// Parameters, first and second moments of every buffer, under their names in a checkpoint.
    pub fn state(&self) -> Vec<(String, &Tensor)> {
        let mut all = Vec::new();
        for f in &self.flats {
            let end = if f.name.is_empty() { String::new() } else { format!(".{}", f.name) };
            let [first, second] = match &f.moments {
                Moments::Whole { exp_avg, exp_avg_sq, .. } => [("exp_avg", exp_avg), ("exp_avg_sq", exp_avg_sq)],
                Moments::Eight(m, _) => [("exp_avg_codes", &m.codes), ("exp_avg_absmax", &m.absmax)],
            };
            for (kind, tensor) in [("weights", &f.params), first, second] {
                all.push((format!("{kind}{end}"), tensor));
            }
        }
        all
    }
}
