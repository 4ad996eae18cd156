//! What leads on from a training: its gradients, its memory, what continues elsewhere.

use std::fs;

use fledgling::formats::Container;
use fledgling::tensor::dequantize;

use super::tune::training;
use super::{fails_with, fixture, ok, on_cpu, parse, temp};

/// Values of every tensor of a safetensors file, by name.
fn tensors(bytes: &[u8]) -> Vec<(String, Vec<f32>)> {
    let file = Container::parse("gradients", bytes).expect("safetensors");
    let values = |i: usize| dequantize(file.tensors[i].dtype, file.bytes(bytes, i).expect("all of it"));
    (0..file.tensors.len()).map(|i| (file.tensors[i].name.clone(), values(i))).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// A plan says what it takes, chooses what fits and refuses with the numbers; `tune --memory` follows it.
#[test]
fn plan_and_tune_within_memory() {
    let folder = temp("plan");
    let (_, rows, config) = training("sft", &folder);
    let (model, out) = (fixture("models/llama"), folder.join("out").display().to_string());
    let own = ["--method", "sft", "--model", &model, "--config", &config, "--per-device-train-batch-size", "4"];
    let args = [&["plan"], &own[..], &["--data", &rows]].concat();
    let whole = parse(ok(&[&args[..], &["--json"]].concat()).trim_end());
    let total = whole["bytes"]["device"].as_u64().unwrap() + whole["bytes"]["host"].as_u64().unwrap();
    assert!(whole["chosen"]["per_device_train_batch_size"] == 4 && whole["limits"].is_object(), "{whole}");
    let memory = (total * 9 / 10).to_string();
    let less = parse(ok(&[&args[..], &["--json", "--memory", &memory]].concat()).trim_end());
    assert!(less["notes"][0].as_str().unwrap().starts_with("to fit into "), "{less}");
    let rows_at_once = less["chosen"]["per_device_train_batch_size"].as_u64().unwrap();
    assert_eq!(rows_at_once * less["chosen"]["gradient_accumulation_steps"].as_u64().unwrap() % 4, 0);
    assert!(ok(&args).contains("activations"));
    assert!(parse(ok(&[&["plan"], &own[..], &["--json"]].concat()).trim_end())["notes"].to_string().contains("without rows"));
    fails_with(&on_cpu(&[&args[..], &["--memory", "1k", "--json"]].concat()), 2, "bad-config", "activations");
    let tuned = on_cpu(&[&["tune"], &own[..], &["--data", &rows, "--out", &out, "--memory", &memory]].concat());
    assert!(tuned.status.success() && super::text(&tuned.stderr).contains("to fit into "), "{}", super::text(&tuned.stderr));
    fails_with(&on_cpu(&[&["tune"], &own[..], &["--data", &rows, "--out", &out, "--memory", "1k"]].concat()), 2, "bad-config", "memory");
    fs::remove_dir_all(folder).unwrap();
}

/// The gradients of the first update are PyTorch's, under PEFT's names.
#[test]
fn tune_writes_gradients() {
    for (method, init) in [("sft", "adapter_init"), ("dpo", "adapter_init"), ("kto", "adapters/default"), ("orpo", "adapters/default")] {
        let folder = temp(&format!("gradients-{method}"));
        let (_, rows, config) = training(method, &folder);
        let (model, init, file) = (fixture("models/llama"), fixture(&format!("training/{init}")), folder.join("g.safetensors"));
        let path = file.display().to_string();
        let args = ["tune", "--method", method, "--model", &model, "--data", &rows, "--config", &config, "--init-adapter", &init];
        // As the fixtures: measured against the base model.
        let reference: &[&str] = if matches!(method, "dpo" | "kto") { &["--reference", "base"] } else { &[] };
        let said = parse(ok(&[&args[..], reference, &["--no-shuffle", "--gradients", &path, "--json"]].concat()).trim_end());
        assert_eq!((&said["event"], said["step"].as_u64()), (&"gradients".into(), Some(1)), "{said}");
        let want = tensors(&fs::read(fixture(&format!("training/{method}_grad_step0.safetensors"))).unwrap());
        let got = tensors(&fs::read(&file).unwrap());
        assert_eq!(want.len(), got.len(), "{method}");
        for (name, got) in &got {
            let (_, want) = want.iter().find(|w| w.0 == format!("grad/{name}")).unwrap_or_else(|| panic!("{method}: {name} is not PEFT's"));
            let still = want.iter().all(|v| v.abs() < 1e-7);
            assert!(still || cosine(got, want) >= 0.99999, "{method}: {name} has cosine {}", cosine(got, want));
        }
        // No adapter is written, so there is no folder for one.
        assert_eq!(on_cpu(&[&args[..], &["--gradients", &path, "--out", "x"]].concat()).status.code(), Some(2));
        fs::remove_dir_all(folder).unwrap();
    }
}

/// What goes on elsewhere: a script with the same numbers, rows in the order in which they come next, rankings as pairs, weights refused.
#[test]
fn export_for_trl() {
    let folder = temp("export");
    let (curve, rows, config) = training("dpo", &folder);
    let (model, adapter) = (fixture("models/llama"), fixture("training/adapters/default"));
    let out = folder.join("trl");
    let path = out.display().to_string();
    let own = ["export", "--to", "trl", "--method", "dpo", "--model", &model, "--adapter", &adapter, "--config", &config, "--out", &path];
    let said = parse(ok(&[&own[..], &["--data", &rows, "--optim", "adamw_8bit", "--json"]].concat()).trim_end());
    assert_eq!(said["files"].as_array().map(Vec::len), Some(6), "{said}");
    let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
    let script = read("train.py");
    for part in ["from trl import DPOConfig as CONFIG", "DPOTrainer as TRAINER", "\"optim\": \"adamw_8bit\"", "\"bf16\": False", "DONE = 0"]
    {
        assert!(script.contains(part), "{part} in {script}");
    }
    let rate = format!("\"learning_rate\": {}", curve["config"]["learning_rate"]);
    assert!(script.contains(&rate) && !script.contains("shuffle") && !script.contains("report_kl"), "{script}");
    assert!(read("requirements.txt").contains("bitsandbytes") && read("README.md").contains("train.py"));
    assert_eq!(read("data.jsonl").lines().count(), curve["rows"].as_array().unwrap().len());
    assert!(out.join("adapter/adapter_model.safetensors").exists() && !out.join("reference").exists());
    let other = folder.join("other.jsonl").display().to_string();
    fs::write(&other, "{\"prompt\": \"a\", \"answers\": [\"b\", \"c\", \"d\"], \"ranks\": [2, 1, 1]}\n").unwrap();
    ok(&[&own[..], &["--data", &other]].concat());
    assert_eq!(read("data.jsonl").lines().filter(|l| l.contains("chosen") && !l.contains("ranks")).count(), 2, "{}", read("data.jsonl"));
    fs::write(&other, "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\", \"weight\": 2}\n").unwrap();
    fails_with(&on_cpu(&[&own[..], &["--data", &other]].concat()), 3, "bad-row", "weight is 2");
    fails_with(&on_cpu(&[&own[..], &["--data", &rows, "--reference", "init"]].concat()), 2, "bad-config", "--init-adapter");
    fs::remove_dir_all(folder).unwrap();
}
