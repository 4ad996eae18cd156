//! What is trained: flat buffers, the groups of parameters in them, and the optimizer over all of it.

use super::config::TrainingArguments;
use super::method::OwnParameters;
use crate::graph::{Desc, Exec, Program, ProgramOptions, Tape, Tensor};
use crate::ops::optim::{AdamW, GradNorm, Group};
use crate::{Error, Result};

/// A flat buffer of parameters with its gradients and AdamW's state.
pub(super) struct Flat {
    /// Under which a checkpoint keeps it; that of the model's own is empty.
    pub name: &'static str,
    pub params: Tensor,
    pub grads: Tensor,
    /// AdamW's running means of the gradient and of its square.
    pub exp_avg: Tensor,
    pub exp_avg_sq: Tensor,
    /// (first element, elements, what they have of their own).
    groups: Vec<(usize, usize, Group)>,
}

impl Flat {
    fn new(exec: &Exec, name: &'static str, params: &Tensor, grads: Tensor, parts: &[(usize, usize, Group)]) -> Result<Flat> {
        let desc = params.desc().clone();
        let mut groups: Vec<(usize, usize, Group)> = Vec::new();
        for &(start, len, group) in parts {
            match groups.last_mut() {
                // The padding between two parts is zero and stays zero.
                Some(last) if last.2 == group => last.1 = start + len - last.0,
                _ => groups.push((start, len, group)),
            }
        }
        Ok(Flat {
            name,
            params: params.clone(),
            grads,
            exp_avg: Tensor::zeros(exec, "exp_avg", desc.clone())?,
            exp_avg_sq: Tensor::zeros(exec, "exp_avg_sq", desc)?,
            groups,
        })
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
        let mut flats = vec![Flat::new(exec, "", params, grads, &parts)?];
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
            flats.push(Flat::new(exec, p.name, &p.params, grads, &[(0, p.params.desc().len(), group)])?);
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
            let flats = [&f.params, &f.grads, &f.exp_avg, &f.exp_avg_sq].map(|t| tape.tensor(t));
            for &(start, len, group) in &f.groups {
                AdamW::record(&mut tape, start, len, group, norm, flats)?;
            }
        }
        Program::build(exec, &tape, options)
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
            for (kind, tensor) in [("weights", &f.params), ("exp_avg", &f.exp_avg), ("exp_avg_sq", &f.exp_avg_sq)] {
                all.push((format!("{kind}{end}"), tensor));
            }
        }
        all
    }
}
