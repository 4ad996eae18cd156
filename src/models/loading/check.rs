//! Whether a model's files hold what its configuration asks for: names, shapes and types, before anything is allocated. Loading asks, and so does who
//! only wants to know.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::formats::{Container, ContainerKind, Foreign, ShardIndex, TensorInfo};
use crate::models::names::Role;
use crate::models::packed::packed;
use crate::models::{Blueprint, Config};
use crate::tensor::DType;
use crate::{Error, Result};

pub(super) fn is_gguf(c: &Container) -> bool {
    matches!(c.kind, ContainerKind::Gguf { .. })
}

/// The checkpoint key that a file's tensor stands for.
pub(super) fn path_of(c: &Container, config: &Config, name: &str) -> Option<String> {
    if is_gguf(c) { config.names.key_of_gguf(name) } else { Some(config.names.key_of_safetensors(name)) }
}

/// Keys of the norms of heads that are the rows of one tensor.
pub(super) fn head_norms(config: &Config, path: &str, t: &TensorInfo) -> Vec<String> {
    let heads = if t.shape.len() == 2 { t.shape[0].min(config.num_attention_heads) } else { 0 };
    (0..heads).filter_map(|h| config.names.head_norm(path, h)).collect()
}

/// Refuses weights that other software has packed, as what they are.
///
/// # Errors
/// [`Error::BadFile`] with how they are packed and what to use in place of them.
pub fn check_packing(files: &[&Container], config_json: Option<&str>) -> Result<()> {
    let Some(first) = files.first() else { return Ok(()) };
    let config: Option<Value> = config_json.and_then(|text| serde_json::from_str(text).ok());
    let known = files.iter().flat_map(|c| c.tensors.iter().map(|t| (t.name.as_str(), t.dtype.name())));
    let others = files.iter().flat_map(|c| c.skipped.iter().map(|t| (t.name.as_str(), t.dtype.as_str())));
    match packed(config.as_ref(), known.chain(others)).filter(|_| !is_gguf(first)) {
        Some(how) => Err(Error::file(&first.file, how)),
        None => Ok(()),
    }
}

/// A tensor that the family knows, of a type that no kernel reads.
pub(in crate::models) fn check_types(c: &Container, config: &Config) -> Result<()> {
    let needed = |t: &&Foreign| path_of(c, config, &t.name).is_some_and(|path| config.names.role(&path).is_some());
    match c.skipped.iter().find(needed) {
        Some(t) => Err(c.unsupported(t)),
        None => Ok(()),
    }
}

/// Takes account of which heads some files have.
///
/// # Errors
/// [`Error::BadFile`] for an index that cannot be used.
pub fn fit(files: &[&Container], index: Option<&str>, config: &mut Config) -> Result<()> {
    if config.shape.encoder().is_none() {
        return Ok(());
    }
    let mut keys: HashSet<String> = files.iter().flat_map(|c| c.tensors.iter().filter_map(|t| path_of(c, config, &t.name))).collect();
    if let Some(text) = index {
        keys.extend(ShardIndex::parse("model.safetensors.index.json", text)?.weight_map.keys().map(|n| config.names.key_of_safetensors(n)));
    }
    config.fit(&|key| keys.contains(key));
    Ok(())
}

/// Compares the tensors of a model's files with what its configuration asks for. A file with far fewer bytes than its configuration claims weights must
/// not make us allocate them. `partial`: there are other files, which are not here.
///
/// # Errors
/// [`Error::BadFile`] with the first tensor that does not fit or is missing.
pub fn check_weights(files: &[&Container], config: &Config, partial: bool) -> Result<()> {
    let Some(first) = files.first() else { return Ok(()) };
    let is_number = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit());
    let layers: HashSet<&str> = files.iter().flat_map(|c| &c.tensors).filter_map(|t| t.name.split('.').find(is_number)).collect();
    files.iter().try_for_each(|c| check_types(c, config))?;
    let claimed = config.num_hidden_layers.max(config.shape.encoder_decoder().map_or(0, |e| e.layers));
    if !partial && layers.len() != claimed {
        return Err(Error::file(&first.file, format!("has weights of {} layers, its configuration says {claimed}", layers.len())));
    }
    // Types decide what lies together, not what there is.
    let blueprint = Blueprint::new(config, &|_| DType::F32);
    let shapes: HashMap<&str, Vec<usize>> =
        blueprint.specs.iter().flat_map(|s| s.parts.iter().map(|p| (p.path.as_str(), s.part_shape(p)))).collect();
    let mut found = HashSet::new();
    for (c, t) in files.iter().flat_map(|c| c.tensors.iter().map(move |t| (c, t))) {
        let Some(path) = path_of(c, config, &t.name) else { continue };
        if is_gguf(c) && config.names.head_norm(&path, 0).is_some_and(|p| shapes.contains_key(p.as_str())) {
            let keys = head_norms(config, &path, t);
            if keys.iter().any(|k| shapes.get(k.as_str()).is_none_or(|s| s[..] != t.shape[1..])) {
                return Err(Error::file(
                    &c.file,
                    format!("tensor {:?} has shape {:?}, expected heads by {}", t.name, t.shape, config.head_dim),
                ));
            }
            found.extend(keys);
            continue;
        }
        let Some(shape) = shapes.get(path.as_str()) else {
            // What the family knows and the configuration has no place for would change every answer. A copy of a tied head would not.
            let role = config.names.role(&path);
            let copy = (role == Some(Role::Head) && config.tie_word_embeddings && path.ends_with(".weight"))
                // An encoder's head has one bias under two names, and what it has of heads that nobody asks for changes nothing.
                || config.shape.encoder().is_some_and(|_| role.is_some_and(Role::is_head));
            if role.is_some() && !copy {
                return Err(Error::file(&c.file, format!("tensor {:?} is there, but its configuration has no place for it", t.name)));
            }
            continue;
        };
        if t.shape != *shape {
            return Err(Error::file(&c.file, format!("tensor {:?} has shape {:?}, expected {shape:?}", t.name, t.shape)));
        }
        check_type(c, t)?;
        if !found.insert(path) {
            return Err(Error::file(&c.file, format!("tensor {:?} is there twice, under two names", t.name)));
        }
    }
    match blueprint.specs.iter().flat_map(|s| &s.parts).find(|p| !partial && !found.contains(&p.path)) {
        Some(p) => Err(Error::file(&first.file, format!("tensor {:?} is missing", p.path))),
        None => Ok(()),
    }
}

/// Refuses weights of a type that weights cannot have.
pub(super) fn check_type(c: &Container, t: &TensorInfo) -> Result<()> {
    if t.dtype == DType::U32 {
        return Err(Error::file(&c.file, format!("tensor {:?} has type U32, expected weights", t.name)));
    }
    if t.dtype.is_quantized() && t.shape.len() < 2 {
        // Its elements could not be told apart by bytes, and nobody packs norms or biases.
        let ty = t.dtype.name();
        return Err(Error::file(&c.file, format!("tensor {:?} is a vector of {ty} blocks, expected F32, F16 or BF16", t.name)));
    }
    Ok(())
}
