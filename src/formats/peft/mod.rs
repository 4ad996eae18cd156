//! PEFT adapters: `adapter_config.json` and `adapter_model.safetensors`.
mod combine;
mod config;
mod kinds;
mod named;
mod pattern;
mod prompt;
mod start;

use std::collections::BTreeMap;

pub use combine::{Combination, combine};
pub use config::{LoraConfig, Matcher, OneOrMany, SAVED, Target};
pub use kinds::{PeftAdapter, PeftConfig, not_lora, peft_types};
pub use named::{CONFIG_NAME, NamedTensor, WEIGHTS_NAME};
pub use pattern::Pattern;
pub use prompt::{PROMPT_EMBEDDINGS, PromptAdapter, PromptConfig, PromptKind};
pub use start::Start;

use named::tensor;

use super::safetensors::{self, TensorView};
use super::{Container, Foreign};
use crate::error::{Error, Result};
use crate::tensor::{DType, quantize};

/// What PEFT puts before a module's path.
const PREFIX: &str = "base_model.model.";

/// A and B of one module, rows in Hugging Face order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoraPair {
    pub target: Target,
    pub in_features: usize,
    pub out_features: usize,
    /// (r, in)
    pub a: Vec<f32>,
    /// (out, r)
    pub b: Vec<f32>,
    /// (out), with `use_dora`.
    pub magnitude: Option<Vec<f32>>,
}

/// A parameter of a module that is stored whole beside the pairs (`modules_to_save`): a score head, an output layer.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedTensor {
    /// The parameter's path in the model: `score.weight`.
    pub path: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// An adapter in host memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoraAdapter {
    pub config: LoraConfig,
    /// Ordered by module path.
    pub pairs: Vec<LoraPair>,
    /// Of the modules that `modules_to_save` names, ordered by path.
    pub saved: Vec<SavedTensor>,
}

/// The name of A's tensor in an adapter file.
pub fn lora_a_name(module: &str) -> String {
    format!("{PREFIX}{module}.lora_A.weight")
}

/// The name of B's tensor in an adapter file.
pub fn lora_b_name(module: &str) -> String {
    format!("{PREFIX}{module}.lora_B.weight")
}

/// The name of a module's magnitudes in an adapter file.
pub fn magnitude_name(module: &str) -> String {
    format!("{PREFIX}{module}.lora_magnitude_vector")
}

/// The module's path, from the name of a tensor of magnitudes; that of a parameter (`lora_magnitude_vector.default.weight`) is allowed.
fn magnitudes_of(name: &str) -> Option<&str> {
    let (module, end) = name.strip_prefix(PREFIX)?.split_once(".lora_magnitude_vector")?;
    let plain = end.is_empty() || end == ".weight" || (end.ends_with(".weight") && end.matches('.').count() == 2);
    (plain && !module.is_empty()).then_some(module)
}

/// The module's path and whether it is A, from a tensor's name. An adapter's name (`lora_A.default.weight`) is allowed.
fn module_of(name: &str) -> Option<(&str, bool)> {
    let path = name.strip_prefix(PREFIX)?.strip_suffix(".weight")?;
    let (module, end, is_a) = match (path.rsplit_once(".lora_A"), path.rsplit_once(".lora_B")) {
        (Some((m, e)), None) => (m, e, true),
        (None, Some((m, e))) => (m, e, false),
        _ => return None,
    };
    let plain = end.is_empty() || (end.starts_with('.') && end.len() > 1 && !end[1..].contains('.'));
    (plain && !module.is_empty()).then_some((module, is_a))
}

/// The name of a whole parameter's tensor in an adapter file.
pub fn saved_name(path: &str) -> String {
    format!("{PREFIX}{path}")
}

/// The path of a parameter that is stored whole, from a tensor's name, if the config saves its module. PEFT's own place in a running model
/// (`score.modules_to_save.default.weight`) is allowed.
fn saved_of(config: &LoraConfig, name: &str) -> Option<String> {
    let (module, parameter) = name.strip_prefix(PREFIX)?.rsplit_once('.')?;
    let module = match module.rsplit_once(".modules_to_save.") {
        Some((module, adapter)) if !adapter.contains('.') => module,
        _ => module,
    };
    config.saves(module).then(|| format!("{module}.{parameter}"))
}

/// Output layers, as families call them.
const HEAD_COPIES: [&str; 2] = ["base_model.model.lm_head.base_layer.weight", "base_model.model.embed_out.base_layer.weight"];

fn bad(message: impl Into<String>) -> Error {
    Error::BadAdapter(message.into())
}

/// Values of a two-dimensional tensor, all finite.
fn matrix(c: &Container, file: &[u8], index: usize) -> Result<(usize, usize, Vec<f32>)> {
    let t = tensor(c, file, index)?;
    match t.shape.as_slice() {
        &[rows, columns] => Ok((rows, columns, t.values)),
        shape => Err(bad(format!("tensor {:?} has shape {shape:?}, expected two dimensions", t.name))),
    }
}

impl LoraAdapter {
    /// Reads an adapter from its two files and checks one against the other: every tensor is A or B of a module
    /// that the config chooses, none lacks its partner, ranks are those of the config, and what else there is belongs to its `modules_to_save`.
    pub fn read(config: &str, weights: &[u8]) -> Result<Self> {
        let config = LoraConfig::parse(CONFIG_NAME, config)?;
        let c = Container::parse(WEIGHTS_NAME, weights)?;
        if let Some(Foreign { name, dtype, .. }) = c.skipped.first() {
            return Err(bad(format!("tensor {name:?} has type {dtype}, expected F32, F16 or BF16")));
        }
        let mut halves: BTreeMap<&str, [Option<usize>; 2]> = BTreeMap::new();
        let mut saved: BTreeMap<String, usize> = BTreeMap::new();
        let mut magnitudes: BTreeMap<&str, usize> = BTreeMap::new();
        for (i, t) in c.tensors.iter().enumerate() {
            // With the output layer among its modules, PEFT also stores a copy of that layer's own (frozen) weights; it is not needed.
            if HEAD_COPIES.contains(&t.name.as_str()) {
                continue;
            }
            if let Some(path) = saved_of(&config, &t.name) {
                if saved.insert(path.clone(), i).is_some() {
                    return Err(bad(format!("parameter {path:?} is twice in {WEIGHTS_NAME}")));
                }
                continue;
            }
            if let Some(module) = magnitudes_of(&t.name).filter(|_| config.use_dora) {
                magnitudes.insert(module, i);
                continue;
            }
            let (module, is_a) = module_of(&t.name).ok_or_else(|| {
                bad(format!(
                    "tensor {:?} is not a LoRA weight of a linear module; expected {PREFIX}<module>.lora_A.weight or .lora_B.weight",
                    t.name
                ))
            })?;
            let place = &mut halves.entry(module).or_default()[usize::from(!is_a)];
            if place.replace(i).is_some() {
                return Err(bad(format!("module {module:?} has two adapters in {WEIGHTS_NAME}")));
            }
        }
        if halves.is_empty() {
            return Err(bad(format!("{WEIGHTS_NAME} has no tensors")));
        }
        let matcher = config.matcher()?;
        let mut pairs = Vec::with_capacity(halves.len());
        for (module, [a, b]) in halves {
            let a = a.ok_or_else(|| bad(format!("tensor {:?} is missing", lora_a_name(module))))?;
            let b = b.ok_or_else(|| bad(format!("tensor {:?} is missing", lora_b_name(module))))?;
            if !matcher.matches(module) {
                return Err(bad(format!("module {module:?} has weights, but {CONFIG_NAME} does not choose it")));
            }
            let target = matcher.target(module);
            let (ra, in_features, a) = matrix(&c, weights, a)?;
            let (out_features, rb, b) = matrix(&c, weights, b)?;
            if ra != target.r || rb != target.r {
                return Err(bad(format!(
                    "module {module:?}: A is ({ra}, {in_features}) and B is ({out_features}, {rb}), {CONFIG_NAME} says r = {}",
                    target.r
                )));
            }
            let magnitude = match magnitudes.remove(module) {
                None if config.use_dora => return Err(bad(format!("tensor {:?} is missing", magnitude_name(module)))),
                None => None,
                Some(index) => {
                    let t = tensor(&c, weights, index)?;
                    if t.values.len() != out_features {
                        return Err(bad(format!("tensor {:?} has {} values, expected {out_features}", t.name, t.values.len())));
                    }
                    Some(t.values)
                }
            };
            pairs.push(LoraPair { target, in_features, out_features, a, b, magnitude });
        }
        if let Some(module) = magnitudes.keys().next() {
            return Err(bad(format!("module {module:?} has magnitudes, and neither A nor B")));
        }
        drop(matcher);
        let whole = |(path, i): (String, usize)| {
            let t = tensor(&c, weights, i)?;
            Ok(SavedTensor { path, shape: t.shape, values: t.values })
        };
        let saved = saved.into_iter().map(whole).collect::<Result<_>>()?;
        Ok(LoraAdapter { config, pairs, saved })
    }

    /// The tensors of the file.
    pub fn tensors(&self) -> Vec<NamedTensor> {
        let tensor = |name: String, shape: &[usize], values: &[f32]| NamedTensor { name, shape: shape.to_vec(), values: values.to_vec() };
        let of = |p: &LoraPair| {
            let module = &p.target.module;
            let a = tensor(lora_a_name(module), &[p.target.r, p.in_features], &p.a);
            let b = tensor(lora_b_name(module), &[p.out_features, p.target.r], &p.b);
            let m = p.magnitude.as_ref().map(|m| tensor(magnitude_name(module), &[p.out_features], m));
            [Some(a), Some(b), m]
        };
        let saved = self.saved.iter().map(|s| tensor(saved_name(&s.path), &s.shape, &s.values));
        self.pairs.iter().flat_map(of).flatten().chain(saved).collect()
    }

    /// The two files, weights in f32.
    pub fn write(&self) -> Result<(String, Vec<u8>)> {
        let parts: Vec<_> = self.tensors().into_iter().map(|t| (t.name, t.shape, quantize(DType::F32, &t.values))).collect();
        let views: Vec<TensorView> =
            parts.iter().map(|(name, shape, bytes)| TensorView { name, dtype: DType::F32, shape, bytes }).collect();
        let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
        Ok((self.config.to_json(), safetensors::write(WEIGHTS_NAME, &views, &metadata)?))
    }

    /// Number of trainable values.
    pub fn parameters(&self) -> usize {
        let pairs = self.pairs.iter().map(|p| p.a.len() + p.b.len() + p.magnitude.as_ref().map_or(0, Vec::len)).sum::<usize>();
        pairs + self.saved.iter().map(|s| s.values.len()).sum::<usize>()
    }

    /// The shape of each parameter that is stored whole.
    pub fn saved_shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.saved.iter().map(|s| (s.path.clone(), s.shape.clone())).collect()
    }

    /// Checks that every module is one of the model's, with its shape. `shape_of` gives (out, in) of a linear module.
    pub fn check(&self, shape_of: impl Fn(&str) -> Option<(usize, usize)>) -> Result<()> {
        for p in &self.pairs {
            let module = &p.target.module;
            let (out, input) = shape_of(module).ok_or_else(|| bad(format!("the model has no linear module {module:?}")))?;
            if (out, input) != (p.out_features, p.in_features) {
                return Err(bad(format!(
                    "module {module:?} is for a weight of ({}, {}), the model's is ({out}, {input})",
                    p.out_features, p.in_features
                )));
            }
        }
        Ok(())
    }
}
