//! `fledgling inspect`: what is in a file, and what it will need in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use super::args::InspectArgs;
use super::files::{self, mib};
use fledgling::formats::gguf::Parts;
use fledgling::formats::peft::{CONFIG_NAME, PeftAdapter, WEIGHTS_NAME};
use fledgling::formats::{Container, ContainerKind, ShardIndex, Value};
use fledgling::models::{Config, TOKENIZER_FILES, check_packing, check_weights, fit, folder_tokenizer, gguf_files, gguf_tokenizer};
use fledgling::nn::KvCacheDtype;
use fledgling::tensor::Stored;
use fledgling::{Error, Result};

/// Tokens of context that memory is stated for, besides the model's longest.
const CONTEXT: usize = 2048;
/// Tokens of a training step (batch 1) that memory is stated for.
const TRAIN_TOKENS: u64 = 512;
/// Rank of the adapter that memory is stated for.
const RANK: u64 = 8;
/// Longest list or text shown of a metadata value.
const SHOWN: usize = 100;

pub fn run(a: &InspectArgs) -> Result<()> {
    let report = if a.file.is_dir() { folder(&a.file)? } else { model_file(&a.file)? };
    if a.json {
        say!("{report}");
    } else {
        print_table(&report);
    }
    Ok(())
}

fn folder(path: &Path) -> Result<Json> {
    if path.join(CONFIG_NAME).exists() {
        return adapter(path);
    }
    let config_path = path.join("config.json");
    if !config_path.exists() {
        if let Some(files) = gguf_files(path)? {
            return model_file(&files[0]);
        }
        return Err(Error::file(path.display().to_string(), format!("holds neither a config.json nor an {CONFIG_NAME}")));
    }
    let texts = texts(path)?;
    let config = config_of(path, &texts);
    let mut containers = Vec::new();
    for file in shards(path)? {
        containers.push(files::header(&file)?);
    }
    report(path, &containers, config, &texts)
}

/// What a model's files hold: with memory where it can be run, with the reason where it cannot. Only files that cannot be read are errors.
fn report(path: &Path, containers: &[Container], config: Result<Config>, texts: &HashMap<String, String>) -> Result<Json> {
    let whole: Vec<&Container> = containers.iter().collect();
    let mut reasons = Vec::new();
    let mut unfit = |checked: Result<()>| match checked {
        Err(Error::BadFile { file, message }) if path.display().to_string() == file => reasons.push(message),
        Err(e) => reasons.push(e.to_string()),
        Ok(()) => {}
    };
    let packing = check_packing(&whole, texts.get("config.json").map(String::as_str));
    let packed = packing.is_err();
    unfit(packing);
    let (mut report, config) = match config {
        Ok(mut c) => {
            // Loading asks the same.
            let fits = fit(&whole, None, &mut c).and_then(|()| if packed { Ok(()) } else { check_weights(&whole, &c, false) });
            let mut report = if packed || fits.is_err() { contents(path, containers) } else { describe(path, containers, &c) };
            report.as_object_mut().expect("built above").insert("architecture".into(), architecture(&c));
            unfit(fits);
            (report, true)
        }
        Err(e @ (Error::UnsupportedArchitecture { .. } | Error::BadConfig { .. })) => {
            unfit(Err(e));
            (contents(path, containers), false)
        }
        // A GGUF that is no model (or names no architecture) is still a readable file.
        Err(e) if containers.iter().any(|c| matches!(c.kind, ContainerKind::Gguf { .. })) => {
            unfit(Err(e));
            (contents(path, containers), false)
        }
        Err(e) => return Err(e),
    };
    let foreign: BTreeSet<&str> = containers.iter().flat_map(|c| &c.skipped).map(|t| t.dtype.as_str()).collect();
    if !config && !foreign.is_empty() && !packed {
        let types = foreign.into_iter().collect::<Vec<_>>().join(", ");
        reasons.push(format!("tensors of type {types} are not supported (supported: {})", Stored::ggml_names()));
    }
    let eos: Vec<u32> = serde_json::from_value(report["architecture"]["eos_token_ids"].clone()).unwrap_or_default();
    let map = report.as_object_mut().expect("built above");
    map.insert("supported".into(), json!(reasons.is_empty()));
    if !reasons.is_empty() {
        map.insert("not_supported".into(), json!(reasons));
    }
    let gguf = containers.first().filter(|c| matches!(c.kind, ContainerKind::Gguf { .. }));
    let tokenizer = match gguf {
        Some(c) => gguf_tokenizer(c),
        None => folder_tokenizer(texts),
    };
    // Without one a model still takes token ids.
    let said = match tokenizer {
        Ok(Some(t)) => {
            let mut ids = t.end_token_ids();
            ids.extend(eos.iter().filter(|id| !t.end_token_ids().contains(id)));
            let ends: Vec<Json> = ids.iter().map(|id| json!({"id": id, "token": t.id_to_token(*id)})).collect();
            json!({"tokens": t.vocab_size(), "chat_template": t.chat_template().is_ok(), "ends": ends})
        }
        Ok(None) => Json::Null,
        Err(e) => json!({"not_supported": e.to_string()}),
    };
    map.insert("tokenizer".into(), said);
    Ok(report)
}

/// The texts of a folder that loading reads, as far as they are there.
fn texts(folder: &Path) -> Result<HashMap<String, String>> {
    let mut out = HashMap::new();
    for name in TOKENIZER_FILES.iter().chain(&["config.json", "generation_config.json"]) {
        let file = folder.join(name);
        if file.exists() {
            out.insert(name.to_string(), files::read_text(&file)?);
        }
    }
    Ok(out)
}

/// The configuration that loading would use.
fn config_of(folder: &Path, texts: &HashMap<String, String>) -> Result<Config> {
    let name = |file: &str| folder.join(file).display().to_string();
    let text = texts.get("config.json").map_or("", String::as_str);
    let mut config = Config::from_json(&name("config.json"), text)?;
    if let Some(text) = texts.get("generation_config.json") {
        config.add_generation_config(&name("generation_config.json"), text)?;
    }
    Ok(config)
}

/// The weight files of a folder.
fn shards(path: &Path) -> Result<Vec<PathBuf>> {
    let index = path.join("model.safetensors.index.json");
    if index.exists() {
        let index = ShardIndex::parse(&index.display().to_string(), &files::read_text(&index)?)?;
        return Ok(index.files().into_iter().map(|f| path.join(f)).collect());
    }
    Ok(vec![path.join("model.safetensors")])
}

fn model_file(path: &Path) -> Result<Json> {
    let mut container = files::header(path)?;
    if container.split.is_some() {
        // One model in several files, whichever of them was named.
        let mut parts = Parts::default();
        for file in gguf_files(path)?.unwrap_or_default() {
            parts.add(files::header(&file)?)?;
        }
        container = parts.whole()?;
    }
    match container.kind {
        ContainerKind::Gguf { .. } => {
            let config = Config::from_gguf(&container);
            report(path, &[container], config, &HashMap::new())
        }
        ContainerKind::Safetensors => {
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let texts = texts(folder)?;
            if !texts.contains_key("config.json") {
                // Weights of something unknown: still worth a list.
                return Ok(contents(path, &[container]));
            }
            report(path, &[container], config_of(folder, &texts), &texts)
        }
    }
}

fn adapter(path: &Path) -> Result<Json> {
    let a = match PeftAdapter::read(&files::read_text(&path.join(CONFIG_NAME))?, &files::read(&path.join(WEIGHTS_NAME))?)? {
        PeftAdapter::Lora(a) => a,
        PeftAdapter::Prompt(a) => {
            return Ok(json!({
                "file": path.display().to_string(),
                "format": "PEFT adapter",
                "peft_type": a.config.kind.name(),
                "base_model_name_or_path": a.config.text("base_model_name_or_path"),
                "num_virtual_tokens": a.config.virtual_tokens(),
                "width": a.width,
                "parameters": a.values.len(),
                "gpu_bytes": a.values.len() * 4,
            }));
        }
    };
    let modules: Vec<Json> = a
        .pairs
        .iter()
        .map(|p| json!({"module": p.target.module, "r": p.target.r, "scale": p.target.scale, "in": p.in_features, "out": p.out_features}))
        .collect();
    let moved = a.pairs.iter().any(|p| p.b.iter().any(|v| *v != 0.0));
    Ok(json!({
        "file": path.display().to_string(),
        "format": "PEFT adapter",
        "peft_type": "LORA",
        "base_model_name_or_path": a.config.base_model_name_or_path,
        "r": a.config.r,
        "lora_alpha": a.config.lora_alpha,
        "use_rslora": a.config.use_rslora,
        "use_dora": a.config.use_dora,
        "target_modules": a.config.target_modules,
        "parameters": a.parameters(),
        "gpu_bytes": a.parameters() * 4,
        "changes_the_model": moved,
        "modules": modules,
    }))
}

/// What needs no knowledge of the architecture.
fn contents(path: &Path, containers: &[Container]) -> Json {
    let mut types: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for t in containers.iter().flat_map(|c| &c.tensors) {
        let e = types.entry(t.dtype.name()).or_default();
        e.0 += t.elements();
        e.1 += t.bytes;
    }
    let format = match containers.first().map(|c| c.kind) {
        Some(ContainerKind::Gguf { version }) => format!("GGUF version {version}"),
        _ => "safetensors".to_string(),
    };
    let foreign = containers.iter().flat_map(|c| &c.skipped);
    let tensors: Vec<Json> = containers
        .iter()
        .flat_map(|c| &c.tensors)
        .map(|t| json!({"name": t.name, "dtype": t.dtype.name(), "shape": t.shape, "bytes": t.bytes}))
        .chain(foreign.clone().map(|t| json!({"name": t.name, "dtype": t.dtype, "shape": t.shape, "supported": false})))
        .collect();
    let foreign_elements: u64 = foreign.map(|t| t.shape.iter().fold(1u64, |n, d| n.saturating_mul(*d))).fold(0, u64::saturating_add);
    let mut metadata = Map::new();
    for (key, value) in containers.iter().flat_map(|c| c.metadata.iter()) {
        metadata.insert(key.to_string(), shown(value));
    }
    json!({
        "file": path.display().to_string(),
        "format": format,
        "bytes": containers.iter().map(|c| c.total_bytes).sum::<u64>(),
        "parameters": containers.iter().map(Container::parameters).sum::<u64>().saturating_add(foreign_elements),
        "types": types.iter().map(|(k, v)| (k.to_string(), json!({"elements": v.0, "bytes": v.1}))).collect::<Map<_, _>>(),
        "metadata": metadata,
        "tensors": tensors,
        "skipped": containers.iter().flat_map(|c| c.skipped.iter().map(|s| s.name.clone())).collect::<Vec<_>>(),
    })
}

fn shown(value: &Value) -> Json {
    match value {
        Value::String(s) if s.chars().count() > SHOWN => {
            json!(format!("{}… ({} characters)", s.chars().take(SHOWN).collect::<String>(), s.chars().count()))
        }
        Value::String(s) => json!(s),
        Value::Bool(b) => json!(b),
        Value::Array(a) => json!(format!("{} values", a.len())),
        other => match other.as_u64() {
            Some(n) => json!(n),
            None => json!(other.as_f64()),
        },
    }
}

fn describe(path: &Path, containers: &[Container], c: &Config) -> Json {
    let mut report = contents(path, containers);
    let weights: u64 = containers
        .iter()
        .flat_map(|f| &f.tensors)
        .map(|t| {
            let cols = t.shape.last().copied().unwrap_or(1).max(1);
            t.elements() / cols as u64 * t.dtype.stored().gpu_row_bytes(cols)
        })
        .sum();
    let context = CONTEXT.min(c.max_position_embeddings);
    // A (r, in) and B (out, r) on every linear of a layer.
    let (q, kv, h, f) = (c.q_width() as u64, c.kv_width() as u64, c.hidden_size as u64, c.intermediate_size as u64);
    let gates = if c.gated_mlp() { 2 } else { 1 };
    let per_rank = (h + q) + 2 * (h + kv) + (q + h) + gates * (h + f) + (f + h);
    let lora = per_rank * RANK * c.num_hidden_layers as u64;
    // What the backward pass of one layer reads, in floats per token: the residual stream and its norms twice over, q, k and v before and
    // after the rotation, the attention's output and statistics, the feed-forward layer, and x·Aᵀ of every adapted linear.
    let per_layer = 6 * h + 2 * (q + 2 * kv) + q + c.num_attention_heads as u64 + (gates + 1) * f + 7 * RANK;
    let layers = c.num_hidden_layers as u64;
    let train_tokens = TRAIN_TOKENS.min(c.max_position_embeddings as u64);
    // Rows of logits are made a chunk at a time: 32 MiB, or 64 rows where those are more; and two gradients of the widest activation.
    let head = (32 << 20).max(64 * 4 * c.vocab_size as u64).min(train_tokens * 4 * c.vocab_size as u64);
    let passing = 4 * train_tokens * 2 * (gates * f).max(q + 2 * kv) + head;
    let activations = 4 * train_tokens * layers * per_layer + passing;
    // Only the stream between layers is kept, and one layer at a time is computed again.
    let checkpointed = 4 * train_tokens * (layers * h + per_layer) + passing;
    let kv_bytes = c.kv_bytes_per_token(KvCacheDtype::F32);
    let map = report.as_object_mut().expect("built above");
    map.insert("architecture".into(), architecture(c));
    map.insert(
        "memory".into(),
        json!({
            "weights_bytes": weights,
            "kv_cache_bytes_per_token": kv_bytes,
            "context": context,
            "kv_cache_bytes": kv_bytes * context as u64,
            "lora_r": RANK,
            "lora_parameters": lora,
            // A and B, their gradients, and both moments of AdamW.
            "lora_training_bytes": lora * 4 * 4,
            "generate_bytes": weights + kv_bytes * context as u64,
            "train_tokens": train_tokens,
            "activation_bytes": activations,
            "activation_bytes_checkpointed": checkpointed,
            "train_bytes": weights + lora * 4 * 4 + activations,
            "train_bytes_checkpointed": weights + lora * 4 * 4 + checkpointed,
        }),
    );
    report
}

fn architecture(c: &Config) -> Json {
    json!({
        "model_type": c.model_type,
        "num_hidden_layers": c.num_hidden_layers,
        "hidden_size": c.hidden_size,
        "intermediate_size": c.intermediate_size,
        "num_attention_heads": c.num_attention_heads,
        "num_key_value_heads": c.num_key_value_heads,
        "head_dim": c.head_dim,
        "vocab_size": c.vocab_size,
        "max_position_embeddings": c.max_position_embeddings,
        "tie_word_embeddings": c.tie_word_embeddings,
        "sliding_window": c.sliding_window,
        "eos_token_ids": c.eos_token_ids,
    })
}

fn print_table(r: &Json) {
    let line = |name: &str, value: String| say!("{name:<26}{value}");
    let text = |v: &Json| v.as_str().map_or_else(|| v.to_string(), String::from);
    let bytes = |v: &Json| mib(v.as_u64().unwrap_or(0));
    line("file", text(&r["file"]));
    line("format", text(&r["format"]));
    for key in [
        "peft_type",
        "num_virtual_tokens",
        "r",
        "lora_alpha",
        "use_rslora",
        "use_dora",
        "target_modules",
        "base_model_name_or_path",
        "changes_the_model",
    ] {
        if !r[key].is_null() {
            line(key, text(&r[key]));
        }
    }
    if !r["num_virtual_tokens"].is_null() {
        line("parameters", text(&r["parameters"]));
        line("on the GPU", bytes(&r["gpu_bytes"]));
        return;
    }
    if let Some(modules) = r["modules"].as_array() {
        line("parameters", text(&r["parameters"]));
        line("on the GPU", bytes(&r["gpu_bytes"]));
        modules
            .iter()
            .for_each(|m| say!("  {:<44} r {:<4} scale {:<8} {} → {}", text(&m["module"]), m["r"], m["scale"], m["in"], m["out"]));
        return;
    }
    line("size", bytes(&r["bytes"]));
    line("parameters", text(&r["parameters"]));
    if let Some(types) = r["types"].as_object() {
        for (name, t) in types {
            line(&format!("  {name}"), format!("{} values, {}", t["elements"], bytes(&t["bytes"])));
        }
    }
    if let Some(a) = r["architecture"].as_object() {
        say!();
        a.iter().filter(|(_, v)| !v.is_null()).for_each(|(k, v)| line(k, text(v)));
    }
    for reason in r["not_supported"].as_array().into_iter().flatten() {
        say!();
        line("not supported", text(reason));
    }
    let t = &r["tokenizer"];
    if !t["not_supported"].is_null() {
        say!();
        line("tokenizer", format!("not supported, only token ids can be used: {}", text(&t["not_supported"])));
    }
    if let Some(ends) = t["ends"].as_array() {
        let shown: Vec<String> = ends.iter().map(|e| format!("{} ({})", text(&e["token"]), e["id"])).collect();
        line("answers end at", if shown.is_empty() { "nothing but their length".into() } else { shown.join(", ") });
    }
    let m = &r["memory"];
    if m.is_object() {
        say!();
        line("weights on the GPU", bytes(&m["weights_bytes"]));
        line("keys and values", format!("{} for {} tokens", bytes(&m["kv_cache_bytes"]), m["context"]));
        line("together, to generate", bytes(&m["generate_bytes"]));
        line(
            "LoRA r 8, to train",
            format!("{} for {} parameters, besides activations", bytes(&m["lora_training_bytes"]), m["lora_parameters"]),
        );
        let activations = format!("about {} for a step of {} tokens", bytes(&m["activation_bytes"]), m["train_tokens"]);
        line("activations", format!("{activations}, {} with checkpointing", bytes(&m["activation_bytes_checkpointed"])));
        line("together, to train", format!("{} or {}", bytes(&m["train_bytes"]), bytes(&m["train_bytes_checkpointed"])));
    }
    if let Some(m) = r["metadata"].as_object().filter(|m| !m.is_empty()) {
        say!();
        m.iter().for_each(|(k, v)| say!("{k:<40}{}", text(v).replace('\n', "⏎")));
    }
    say!();
    for t in r["tensors"].as_array().into_iter().flatten() {
        say!("{:<44}{:<6}{}", text(&t["name"]), text(&t["dtype"]), t["shape"]);
    }
}
