//! `fledgling inspect`: what is in a file, also where it cannot be run.

use std::fs;
use std::path::Path;

use fledgling::formats::Container;
use serde_json::{Value, json};

use super::{fails_with, fixture, gguf, ok, on_cpu, parse, temp, text};

#[test]
fn inspect_lists() {
    let seen = parse(&ok(&["inspect", &gguf(), "--json"]));
    assert_eq!(seen["format"], "GGUF version 3");
    assert_eq!(seen["architecture"]["model_type"], "llama");
    assert_eq!(seen["architecture"]["num_hidden_layers"], 2);
    assert_eq!(seen["tensors"].as_array().unwrap().len(), 21);
    assert!(seen["memory"]["weights_bytes"].as_u64().unwrap() > 0);
    assert_eq!(seen["supported"], true);
    let memory = |name: &str| seen["memory"][name].as_u64().unwrap_or_else(|| panic!("{name} in {}", seen["memory"]));
    assert!(memory("train_bytes") > memory("train_bytes_checkpointed") && memory("train_bytes_checkpointed") > memory("generate_bytes"));
    let table = ok(&["inspect", &gguf()]);
    assert!(table.contains("GGUF version 3") && table.contains("blk.1.ffn_down.weight"), "{table}");
    let folder = parse(&ok(&["inspect", &fixture("models/qwen3"), "--json"]));
    assert_eq!((&folder["format"], &folder["architecture"]["model_type"]), (&json!("safetensors"), &json!("qwen3")));
    let adapter = parse(&ok(&["inspect", &fixture("training/adapters/rslora"), "--json"]));
    assert_eq!((&adapter["format"], &adapter["use_rslora"]), (&json!("PEFT adapter"), &json!(true)));
}

/// The tiny GGUF with its metadata changed and, with `foreign`, one tensor claimed to be IQ2_XXS.
fn changed_gguf(folder: &Path, architecture: &str, foreign: bool) -> String {
    let whole = fs::read(gguf()).unwrap();
    let container = Container::parse("tiny", &whole).unwrap();
    let mut metadata = container.metadata.clone();
    metadata.remove("general.architecture");
    metadata.insert("general.architecture", fledgling::formats::Value::String(architecture.into()));
    let tensors: Vec<_> = (container.tensors.iter().enumerate())
        .map(|(i, t)| (t.name.as_str(), t.dtype, t.shape.as_slice(), container.bytes(&whole, i).unwrap()))
        .collect();
    let mut bytes = fledgling::formats::gguf::write(&metadata, &tensors).unwrap();
    if foreign {
        // A tensor's entry: its name, the number of dimensions, two of them, the type.
        let name = b"blk.0.ffn_up.weight";
        let at = bytes.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 4 + 16;
        assert_eq!(bytes[at], 3, "Q4_1");
        bytes[at] = 16;
    }
    let path = folder.join(format!("{architecture}-{foreign}.gguf"));
    fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

/// What cannot be run can still be looked into.
#[test]
fn inspect_lists_what_is_not_supported() {
    let folder = temp("foreign");
    for (architecture, foreign, reason) in [("mamba", false, "\"mamba\""), ("llama", true, "IQ2_XXS"), ("mamba", true, "IQ2_XXS")] {
        let file = changed_gguf(&folder, architecture, foreign);
        let seen = parse(&ok(&["inspect", &file, "--json"]));
        assert_eq!(seen["supported"], false);
        assert!(seen["not_supported"].to_string().replace("\\\"", "\"").contains(reason), "{}", seen["not_supported"]);
        assert_eq!(seen["memory"], Value::Null);
        let tensors = seen["tensors"].as_array().unwrap();
        assert_eq!(tensors.len(), 21);
        let up = tensors.iter().find(|t| t["name"] == "blk.0.ffn_up.weight").unwrap();
        assert_eq!((&up["dtype"], &up["shape"]), (&json!(if foreign { "IQ2_XXS" } else { "Q4_1" }), &json!([48, 32])));
        let table = ok(&["inspect", &file]);
        assert!(table.contains("not supported") && table.contains("blk.0.ffn_up.weight"), "{table}");
        let status = on_cpu(&["generate", "--model", &file, "--prompt-ids", "5"]);
        assert_eq!(status.status.code(), Some(3), "{}", text(&status.stderr));
    }
    fs::remove_dir_all(folder).unwrap();
}

/// A checkpoint that other software packed is told as such, to who looks and to who loads.
#[test]
fn inspect_and_loading_say_the_same() {
    let folder = temp("packed");
    let config = fs::read_to_string(fixture("models/llama/config.json")).unwrap();
    let weights = fs::read(fixture("models/llama/model.safetensors")).unwrap();
    let packed = config.replacen('{', "{\"quantization_config\": {\"quant_method\": \"bitsandbytes\", \"load_in_4bit\": true},", 1);
    let fewer = config.replacen("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", 1);
    assert_ne!(fewer, config);
    for (config, part) in [(&packed, "bitsandbytes' 4-bit"), (&fewer, "weights of 2 layers"), (&config, "")] {
        // A byte order mark is no part of a text.
        fs::write(folder.join("config.json"), format!("\u{feff}{config}")).unwrap();
        fs::write(folder.join("model.safetensors"), &weights).unwrap();
        let path = folder.display().to_string();
        let seen = parse(&ok(&["inspect", &path, "--json"]));
        assert_eq!(seen["supported"], part.is_empty(), "{}", seen["not_supported"]);
        let args = ["generate", "--model", &path, "--prompt-ids", "5", "--max-new-tokens", "1"];
        if part.is_empty() {
            ok(&args);
        } else {
            assert!(seen["not_supported"].to_string().contains(part), "{}", seen["not_supported"]);
            fails_with(&on_cpu(&args), 3, "bad-file", part);
        }
    }
    // What a download gave in place of a file.
    for (name, text, part) in [
        ("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "Git LFS pointer"),
        ("config.json", "<!DOCTYPE html><html><body>404</body></html>", "web page"),
    ] {
        fs::write(folder.join("model.safetensors"), &weights).unwrap();
        fs::write(folder.join(name), text).unwrap();
        let path = folder.display().to_string();
        fails_with(&on_cpu(&["inspect", &path]), 3, "bad-file", part);
        fails_with(&on_cpu(&["generate", "--model", &path, "--prompt-ids", "5"]), 3, "bad-file", name);
    }
    fs::remove_dir_all(folder).unwrap();
}
