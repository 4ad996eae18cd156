//! The command line as a script sees it: arguments, JSON, files, exit status and the one line of an error. On the tiny models, on the
//! processor (`--device cpu`): what the GPU computes is the suite's business.
#![cfg(not(target_arch = "wasm32"))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fledgling::Error;
use fledgling::formats::Container;
use serde_json::{Value, json};

#[path = "../src/bin/fledgling/exit.rs"]
mod exit;

#[path = "cli/encode.rs"]
mod encode;
#[path = "cli/inspect.rs"]
mod inspect;
#[path = "cli/onward.rs"]
mod onward;
#[path = "cli/score.rs"]
mod score;
#[path = "cli/search.rs"]
mod search;
#[path = "cli/talk.rs"]
mod talk;
#[path = "cli/tokenize.rs"]
mod tokenize;
#[path = "cli/tune.rs"]
mod tune;

use tune::training;

fn fixture(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path).display().to_string()
}

fn gguf() -> String {
    fixture("models/llama_gguf/model.gguf")
}

/// An empty folder of this test's own.
fn temp(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("fledgling-cli-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for temporary files");
    folder
}

fn command(args: &[&str]) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_fledgling"));
    c.args(args).env("RUST_LOG", "off");
    c
}

fn run(args: &[&str]) -> Output {
    command(args).output().expect("starts")
}

fn on_cpu(args: &[&str]) -> Output {
    run(&[args, &["--device", "cpu", "--threads", "1"]].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Standard output of a run that succeeds.
fn ok(args: &[&str]) -> String {
    let out = on_cpu(args);
    assert!(out.status.success(), "{args:?}: {}\n{}", out.status, text(&out.stderr));
    text(&out.stdout)
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))
}

fn keys(v: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = v.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// Fails with `status` and the line `fledgling: error[code]: …` that holds `part`; on standard output stands nothing, or with --json the same error.
fn fails_with(out: &Output, status: i32, code: &str, part: &str) {
    let err = text(&out.stderr);
    assert_eq!(out.status.code(), Some(status), "{err}");
    let line = err.lines().last().unwrap_or_default();
    assert!(line.starts_with(&format!("fledgling: error[{code}]: ")), "{err}");
    assert!(line.contains(part), "{part:?} is not in: {line}");
    let said = text(&out.stdout);
    if !said.is_empty() {
        let said = parse(said.trim_end());
        assert_eq!(
            (&said["event"], &said["error"]["code"], &said["error"]["status"]),
            (&json!("error"), &json!(code), &json!(status)),
            "{said}"
        );
    }
}

fn generate(more: &[&str]) -> Value {
    let model = gguf();
    parse(&ok(&[&["generate", "--model", &model, "--max-new-tokens", "6", "--json"], more].concat()))
}

/// One shape, whatever the number of answers.
const SHAPE: [&str; 8] = ["adapter", "candidates", "finish_reason", "logprobs", "prompt_ids", "seconds", "text", "token_ids"];

#[test]
fn generate_prints_one_object() {
    let one = generate(&["--prompt-ids", "5,6,7"]);
    // The reason an answer ended is one key more than the issue's list.
    assert_eq!(keys(&one), SHAPE);
    assert_eq!(one["candidates"].as_array().unwrap().len(), 1);
    assert_eq!(one["candidates"][0]["text"], one["text"]);
    assert_eq!(keys(&one["seconds"]), ["decode", "load", "prefill"]);
    assert_eq!(one["prompt_ids"], json!([5, 6, 7]));
    assert_eq!(one["adapter"], Value::Null);
    let (ids, logprobs) = (one["token_ids"].as_array().unwrap(), one["logprobs"].as_array().unwrap());
    assert!((1..=6).contains(&ids.len()) && ids.len() == logprobs.len(), "{one}");
    assert!(logprobs.iter().all(|l| l.as_f64().is_some_and(|l| l <= 0.0)), "{one}");
    assert!(one["seconds"]["load"].as_f64().unwrap() > 0.0);
}

#[test]
fn generate_prints_candidates() {
    let three = generate(&["--prompt-ids", "5,6,7", "--n", "3", "--temperature", "1.2"]);
    assert_eq!(keys(&three), SHAPE);
    let candidates = three["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 3);
    for c in candidates {
        assert_eq!(keys(c), ["finish_reason", "logprobs", "text", "token_ids"]);
        assert_eq!(c["token_ids"].as_array().unwrap().len(), c["logprobs"].as_array().unwrap().len());
    }
    assert!(candidates.iter().any(|c| c["token_ids"] != candidates[0]["token_ids"]), "each has its own random stream: {three}");
}

#[test]
fn generate_prints_text() {
    let model = gguf();
    let args = ["generate", "--model", model.as_str(), "--max-new-tokens", "6", "--prompt", "ab c"];
    let json = generate(&["--prompt", "ab c"]);
    assert_eq!(ok(&args).trim_end_matches('\n'), json["text"].as_str().unwrap().trim_end_matches('\n'));
    // Text and its ids are one prompt.
    let ids: Vec<String> = json["prompt_ids"].as_array().unwrap().iter().map(Value::to_string).collect();
    assert_eq!(ids.len(), 4, "one symbol a token");
    assert_eq!(generate(&["--prompt-ids", &ids.join(",")])["token_ids"], json["token_ids"]);
    let two = ok(&[&args[..], &["--n", "2"]].concat());
    assert!(two.starts_with("[1] ") && two.contains("[2] "), "{two}");
}

#[test]
fn generate_renders_a_chat() {
    let plain = generate(&["--prompt", "hi"]);
    let chat = generate(&["--prompt", "hi", "--chat"]);
    let system = generate(&["--prompt", "hi", "--chat", "--system", "be"]);
    let ids = |v: &Value| v["prompt_ids"].as_array().unwrap().iter().map(|i| i.as_u64().unwrap()).collect::<Vec<_>>();
    // <s>user|hi</s><s>assistant|
    let chat = ids(&chat);
    assert_eq!(chat.iter().filter(|id| **id == 1).count(), 2, "{chat:?}");
    assert_eq!((chat[0], chat[8]), (1, 2), "{chat:?}");
    assert_eq!(chat[6..8], ids(&plain));
    // <s>system|be</s> stands before it.
    let system = ids(&system);
    assert_eq!(system[system.len() - chat.len()..], chat[..]);
    assert_eq!(system.len(), chat.len() + 11);
}

#[test]
fn seeds_reproduce() {
    let with = |seed: &str| generate(&["--prompt-ids", "9,8,7", "--temperature", "1.5", "--seed", seed])["token_ids"].clone();
    let first = with("3");
    assert_eq!(first, with("3"));
    assert!((4..8).any(|s| with(&s.to_string()) != first), "every seed gives {first}");
}

#[test]
fn the_cache_may_hold_halves() {
    let (whole, half) = (generate(&["--prompt-ids", "5,6,7"]), generate(&["--prompt-ids", "5,6,7", "--kv-cache-dtype", "f16"]));
    assert_eq!(whole["token_ids"], half["token_ids"]);
    assert_ne!(whole["logprobs"], half["logprobs"]);
    for (a, b) in whole["logprobs"].as_array().unwrap().iter().zip(half["logprobs"].as_array().unwrap()) {
        assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-2, "{a} and {b}");
    }
}

#[test]
fn adapters_are_used() {
    let adapter = fixture("training/adapters/default");
    let tuned = generate(&["--prompt-ids", "5,6,7", "--adapter", &adapter]);
    assert_eq!(tuned["adapter"], "default");
    assert_ne!(tuned["logprobs"], generate(&["--prompt-ids", "5,6,7"])["logprobs"]);
}

/// Values of a tensor in `models/llama/expected.safetensors`.
fn expected(file: &str, name: &str) -> Vec<f64> {
    let bytes = fs::read(fixture(file)).expect("a fixture");
    let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + size]).unwrap();
    let at = |i: usize| 8 + size + header[name]["data_offsets"][i].as_u64().unwrap() as usize;
    let ints = header[name]["dtype"] == "I32";
    let word = |w: &[u8]| <[u8; 4]>::try_from(w).unwrap();
    let number = |w: &[u8]| if ints { f64::from(i32::from_le_bytes(word(w))) } else { f64::from(f32::from_le_bytes(word(w))) };
    bytes[at(0)..at(1)].chunks(4).map(number).collect()
}

#[test]
fn logits_are_transformers() {
    // The base, an adapter on every layer, and one that is on the output layer too.
    for (file, adapter) in [
        ("models/llama/expected.safetensors", None),
        ("training/adapters/default/expected.safetensors", Some("training/adapters/default")),
        ("training/adapters/head/expected.safetensors", Some("training/adapters/head")),
    ] {
        let ids: Vec<String> = expected(file, "input_ids")[..12].iter().map(|v| format!("{v}")).collect();
        let want = &expected(file, "logits")[11 * 96..12 * 96];
        let (model, ids, adapter) = (fixture("models/llama"), ids.join(","), adapter.map(fixture));
        let mut args = vec!["logits", "--model", &model, "--prompt-ids", &ids, "--json"];
        if let Some(a) = &adapter {
            args.extend(["--adapter", a]);
        }
        let out = parse(&ok(&args));
        assert_eq!(keys(&out), ["adapter", "last_logits", "prompt_ids"]);
        let got = out["last_logits"].as_array().unwrap();
        assert_eq!(got.len(), 96);
        for (g, w) in got.iter().zip(want) {
            assert!((g.as_f64().unwrap() - w).abs() < 1e-4, "{file}: {g} for {w}");
        }
    }
    let shown = ok(&["logits", "--model", &gguf(), "--prompt", "ab"]);
    assert_eq!(shown.lines().count(), 10);
}

/// Adapters combined in a file are PEFT's; what cannot be combined is refused.
#[test]
fn combine_adds_adapters_up() {
    let folder = temp("combine");
    let out = folder.join("both").display().to_string();
    let part = |name: &str, weight: &str| format!("{}:{weight}", fixture(&format!("peft/lora_weighted/{name}")));
    let said =
        parse(&ok(&["combine", "--adapter", &part("a", "0.7"), "--adapter", &part("b", "0.3"), "--type", "cat", "--out", &out, "--json"]));
    assert_eq!((keys(&said).len(), &said["r"], &said["modules"]), (4, &json!(8), &json!(14)));
    let shown = parse(&ok(&["inspect", &out, "--json"]));
    assert_eq!((&shown["peft_type"], &shown["r"], &shown["changes_the_model"]), (&json!("LORA"), &json!(8), &json!(true)));
    let said =
        parse(&ok(&["combine", "--adapter", &part("a", "1"), "--adapter", &part("b", "-0.5"), "--rank", "2", "--out", &out, "--json"]));
    assert_eq!(said["r"], json!(2));
    let other = format!("{}:1", fixture("peft/prompt_tuning"));
    fails_with(&on_cpu(&["combine", "--adapter", &part("a", "1"), "--adapter", &other, "--out", &out]), 3, "bad-adapter", "PROMPT_TUNING");
    fs::remove_dir_all(folder).unwrap();
}

/// A merged file gives the logits of base and adapter; what the adapter leaves alone is copied bit for bit.
#[test]
fn merge_adds_an_adapter() {
    let folder = temp("merge");
    let out = folder.join("merged.gguf").display().to_string();
    for name in ["default", "subset", "head"] {
        let adapter = fixture(&format!("training/adapters/{name}"));
        let said = parse(&ok(&["merge", "--model", &gguf(), "--adapter", &adapter, "--out", &out, "--json"]));
        assert_eq!(keys(&said), ["bytes", "merged", "out", "widened_to_f16"]);
        assert_eq!(said["bytes"].as_u64().unwrap(), fs::metadata(&out).unwrap().len());
        let logits = |more: &[&str]| {
            let out = parse(&ok(&[&["logits", "--prompt-ids", "5,6,7,80,90", "--json"], more].concat()));
            out["last_logits"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>()
        };
        let (merged, beside) = (logits(&["--model", &out]), logits(&["--model", &gguf(), "--adapter", &adapter]));
        let moved = beside.iter().zip(logits(&["--model", &gguf()])).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // Merged weights are F16 or BF16: eight bits of mantissa at least.
        let off = merged.iter().zip(&beside).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(moved > 0.2 && off < 0.02, "{name}: moved {moved}, off {off}");
        let (old, new) = (fs::read(gguf()).unwrap(), fs::read(&out).unwrap());
        let (a, b) = (Container::parse("old", &old).unwrap(), Container::parse("new", &new).unwrap());
        assert_eq!(a.metadata.iter().collect::<Vec<_>>(), b.metadata.iter().collect::<Vec<_>>());
        for (i, (x, y)) in a.tensors.iter().zip(&b.tensors).enumerate() {
            assert_eq!((&x.name, &x.shape), (&y.name, &y.shape));
            let same = a.bytes(&old, i).unwrap() == b.bytes(&new, i).unwrap();
            let stem = x.name.trim_end_matches(".weight").rsplit('.').next().unwrap();
            if same {
                assert_eq!(x.dtype, y.dtype);
            } else {
                assert!(
                    ["output", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"].contains(&stem),
                    "{}",
                    x.name
                );
                assert!(!y.dtype.is_quantized(), "{} is {:?}", y.name, y.dtype);
                assert!(x.dtype.is_quantized() || x.dtype == y.dtype);
            }
        }
    }
    let adapter = fixture("training/adapters/default");
    let folder_model = fixture("models/llama/model.safetensors");
    fails_with(&on_cpu(&["merge", "--model", &folder_model, "--adapter", &adapter, "--out", &out]), 3, "bad-file", "GGUF");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn usage_errors_are_2() {
    let model = gguf();
    // clap's own: no prompt, two prompts, an unknown option, a device and a type that are none.
    for args in [
        &["generate", "--model", &model][..],
        &["generate", "--model", &model, "--prompt", "a", "--prompt-ids", "1"],
        &["generate", "--model", &model, "--prompt", "a", "--frobnicate"],
        &["generate", "--model", &model, "--prompt", "a", "--device", "tpu"],
        &["generate", "--model", &model, "--prompt", "a", "--kv-cache-dtype", "f8"],
        &["tune", "--method", "ppo"],
        &["fly"],
    ] {
        let out = run(args);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {}", text(&out.stderr));
        assert!(text(&out.stderr).contains("error:"), "{}", text(&out.stderr));
    }
    let base = ["generate", "--model", &model, "--prompt-ids", "5"];
    fails_with(&on_cpu(&[&base[..], &["--temperature=-1"]].concat()), 2, "bad-config", "temperature");
    fails_with(&on_cpu(&[&base[..], &["--max-new-tokens", "0"]].concat()), 2, "bad-config", "max_new_tokens");
    fails_with(&on_cpu(&["generate", "--model", &model, "--prompt-ids", "5,96"]), 2, "bad-config", "96");
    fails_with(&on_cpu(&["generate", "--model", &fixture("models/llama"), "--prompt", "a"]), 2, "bad-config", "tokenizer");
    assert!(text(&run(&["--help"]).stdout).contains("Exit status"));
}

#[test]
fn files_that_cannot_be_used_are_3() {
    let (model, folder) = (gguf(), temp("files"));
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    fails_with(&on_cpu(&["generate", "--model", "/nonexistent.gguf", "--prompt", "a"]), 3, "io", "/nonexistent.gguf");
    let whole = fs::read(&model).unwrap();
    let short = file("short.gguf", &whole[..whole.len() / 2]);
    fails_with(&on_cpu(&["generate", "--model", &short, "--prompt", "a"]), 3, "bad-file", "short.gguf");
    fails_with(&on_cpu(&["inspect", &file("noise.bin", b"not a model at all, whatever its name")]), 3, "bad-file", "noise.bin");
    fails_with(&on_cpu(&["generate", "--model", &model, "--prompt-ids", "5", "--adapter", "/nonexistent"]), 3, "io", "/nonexistent");
    let long = vec!["5"; 200].join(",");
    fails_with(&on_cpu(&["generate", "--model", &model, "--prompt-ids", &long]), 3, "context-overflow", "128");
    let out = folder.join("out").display().to_string();
    let tune = |data: &str, more: &[&str]| {
        on_cpu(&[&["tune", "--method", "sft", "--model", &model, "--data", data, "--out", &out], more].concat())
    };
    fails_with(&tune(&file("empty.jsonl", b"\n"), &[]), 3, "empty-dataset", "");
    fails_with(&tune(&file("broken.jsonl", b"{\"input_ids\": [5, 6]}\n{oops"), &[]), 3, "bad-row", "row 1: line 2 of ");
    let unknown = b"\xef\xbb\xbf{\"input_ids\": [5, 6]}\r\n\r\n{\"input_ids\": [5, 6], \"lables\": [5, 6]}\r\n";
    let out = tune(&file("unknown.jsonl", unknown), &[]);
    fails_with(&out, 3, "bad-row", "unknown.jsonl: column \"lables\" is not known (did you mean labels?)");
    assert!(text(&out.stderr).contains("row 1: line 3 of "), "{}", text(&out.stderr));
    let array = b"[{\"input_ids\": [5, 6]},\n {\"input_ids\": [5, 99999]}]";
    fails_with(&tune(&file("array.json", array), &[]), 3, "bad-row", "array.json: input_ids[1] is 99999");
    let rows = file("rows.jsonl", b"{\"input_ids\": [5, 6, 7]}\n");
    fails_with(&tune(&rows, &["--config", &file("list.json", b"[]")]), 3, "bad-file", "list.json");
    fails_with(&tune(&rows, &["--config", &file("field.json", b"{\"learning_rate\": -1}")]), 2, "bad-config", "learning_rate");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_missing_adapter_is_4() {
    let model = gguf();
    let args = ["generate", "--model", &model, "--prompt-ids", "5", "--device", "gpu", "--gpu", "no adapter has this name"];
    fails_with(&run(&args), 4, "webgpu-unavailable", "no usable GPU adapter");
    // auto goes on without one.
    let args = [&args[..5], &["--device", "auto", "--gpu", "no adapter has this name", "--max-new-tokens", "1", "--json"]].concat();
    let out = run(&args);
    assert!(out.status.success(), "{}", text(&out.stderr));
}

#[test]
fn a_loss_that_is_no_number_is_6() {
    let folder = temp("nan");
    let (_, rows, _) = training("sft", &folder);
    let config = folder.join("hot.json");
    fs::write(&config, json!({"learning_rate": 1000, "lora_alpha": 1e30, "max_grad_norm": 0, "max_steps": 6}).to_string()).unwrap();
    let out = folder.join("out").display().to_string();
    let model = fixture("models/llama");
    let args = ["tune", "--method", "sft", "--model", &model, "--data", &rows, "--out", &out, "--config"];
    let got = on_cpu(&[&args[..], &[&config.display().to_string()]].concat());
    assert_eq!(got.status.code(), Some(6), "{}", text(&got.stderr));
    assert!(text(&got.stderr).contains("fledgling: error[not-finite]: "), "{}", text(&got.stderr));
    fs::remove_dir_all(folder).unwrap();
}

/// A benchmark of next to nothing: what it measures is not the point, that it measures what was asked for is.
/// What no test can provoke on every machine is at least what `--help` says.
#[test]
fn exit_codes_are_as_documented() {
    let of = |e: Error| exit::code(&e);
    let text = String::new;
    assert_eq!(of(Error::config("field", "x")), 2);
    for e in [
        Error::file("f", "x"),
        Error::BadAdapter(text()),
        Error::BadRow { row: 1, message: text() },
        Error::LongRow { row: 1, message: text() },
        Error::BadReward { judge: text(), row: Some(1), message: text() },
        Error::EmptyDataset(text()),
        Error::ContextOverflow { needed: 2, available: 1 },
        Error::Template(text()),
        Error::Io { path: text(), message: text() },
        Error::UnsupportedArchitecture { found: text(), supported: text() },
    ] {
        assert_eq!(of(e), 3);
    }
    assert_eq!(of(Error::NoAdapter(text())), 4);
    for e in [Error::DeviceLost(text()), Error::OutOfMemory(text()), Error::Gpu { what: text(), message: text() }] {
        assert_eq!(of(e), 5);
    }
    assert_eq!(of(Error::NotFinite(text())), 6);
    assert_eq!(of(Error::Busy(text())), 1);
    assert_eq!(of(Error::Aborted), 130);
}

#[test]
fn bench_measures_what_is_asked_for() {
    let folder = temp("bench");
    let (out, html) = (folder.join("a.json").display().to_string(), folder.join("a.html").display().to_string());
    let sizes = ["--prompt-length", "8", "--new-tokens", "3", "--lora-batch", "2", "--lora-length", "8", "--matmul", "32"];
    let args = [
        "bench",
        "--random",
        "tiny",
        "--only",
        "prefill,decode,lora,checkpointing,matmul",
        "--kv-cache-dtype",
        "f16",
        "--out",
        &out,
        "--html",
        &html,
    ];
    let printed = ok(&[&args[..], &sizes].concat());
    let last = printed.trim_end().lines().last().expect("a last line");
    let all = parse(last);
    assert_eq!(all, parse(fs::read_to_string(&out).unwrap().trim_end()));
    for key in ["prefill_tokens_per_second", "decode_tokens_per_second", "lora_step_ms", "matmul_gflops", "decode_bytes_per_token"] {
        assert!(all[key].as_f64().is_some_and(|v| v > 0.0), "{key}: {last}");
    }
    for key in ["fma_gflops", "copy_gbps", "gpt_step_ms"] {
        assert!(all[key].is_null(), "{key} was not asked for");
    }
    assert_eq!((&all["adapter"].is_string(), &all["lora_batch"], &all["allocations_per_lora_step"]), (&true, &json!(2), &json!(0.0)));
    assert_eq!(all["kv_cache_dtype"], "F16");
    assert_eq!(all["checkpointing_length"], 512);
    assert!(all["checkpointing_bytes_on_over_off"].as_f64().is_some_and(|r| r < 1.0), "{last}");
    assert!(all["checkpointing_off_ms"].as_f64() > Some(0.0) && all["checkpointing_on_ms"].as_f64() > Some(0.0), "{last}");
    for part in ["prefill", "decode", "lora"] {
        let p = &all["profile"][part];
        let count: u64 = p["kernels"].as_array().expect("a list").iter().map(|k| k["count"].as_u64().unwrap()).sum();
        assert_eq!(p["dispatches"].as_u64(), Some(count), "{part}");
        let linear = p["kernels"].as_array().unwrap().iter().find(|k| k["kernel"] == "linear").expect("products");
        assert!(linear["gflops"].as_f64() > Some(0.0) && linear["gbps"].as_f64() > Some(0.0), "{part}: {linear}");
        assert!(p["wall_ms"].as_f64().unwrap() > 0.0 && p["slot_bytes"].as_u64() <= p["slot_bytes_without_reuse"].as_u64());
    }
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("one decoded token") && page.contains("LoRA step, 2 × 8") && !page.contains("\"DATA\""), "{html}");
    assert!(!page.contains("http://") || page.matches("http://").count() == page.matches("http://www.w3.org/2000/svg").count());
    // A file with itself: every ratio is 1.
    let table = ok(&["bench", "--compare", &out, &out]);
    assert!(table.contains("prefill_tokens_per_second") && table.contains("1.000") && !table.contains("worse"), "{table}");
    fs::write(folder.join("b.json"), "[1]").unwrap();
    fails_with(&on_cpu(&["bench", "--compare", &out, &folder.join("b.json").display().to_string()]), 3, "bad-file", "b.json");
    // Several runs in one file, as `make bench` writes them: each against its own.
    let many = |name: &str, runs: Value| {
        let file = folder.join(name).display().to_string();
        std::fs::write(&file, runs.to_string()).unwrap();
        file
    };
    let run =
        |adapter: &str, length: u32| json!({"adapter": adapter, "prompt_length": length, "decode_tokens_per_second": f64::from(length)});
    let a = json!({
        "native": {"gpu": run("one", 64), "cpu": run("two", 64)}, "browser": {"cpu": run("four", 8)},
        "lora_ours_over_torch": 0.5, "torch": {"lora_step_ms": 20.0}, "extra": {"skipped": "too late"},
    });
    let a = many("many-a.json", a);
    let b = json!({"native": {"gpu": run("one", 128), "cpu": run("three", 64)}, "lora_ours_over_torch": 0.25, "torch": {"failed": 1}});
    let b = many("many-b.json", b);
    let table = ok(&["bench", "--compare", &a, &b]);
    let outside = ["== outside the runs", "only in A: torch.lora_step_ms", "only in B: torch.failed", "no numbers: extra.skipped"];
    for part in ["== native.gpu", "== native.cpu", "browser.cpu: only in A", "A: two", "B: three"].into_iter().chain(outside) {
        assert!(table.contains(part), "{part}: {table}");
    }
    let ratio = table.lines().find(|l| l.starts_with("lora_ours_over_torch")).expect("a figure of its own");
    assert!(ratio.contains("0.500") && ratio.contains("better"), "{ratio}");
    assert_eq!((table.matches("two adapters").count(), table.matches("not the same work").count()), (1, 1), "{table}");
    fails_with(&on_cpu(&["bench", "--compare", &a, &out]), 3, "bad-file", "has no run");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn bench_without_a_model_needs_none() {
    let all = parse(ok(&["bench", "--json", "--only", "matmul", "--matmul", "16"]).trim_end());
    assert!(all["matmul_gflops"].as_f64().is_some() && all["model"].is_null() && all["cores"].as_u64().is_some());
    // Kernels of the processor have no variants.
    fails_with(&on_cpu(&["bench", "--only", "matmul", "--json", "--against", "rows=group"]), 2, "bad-config", "against");
    fails_with(&run(&["bench", "--only", "checkpointing", "--json", "--against", "rows=group"]), 2, "bad-config", "checkpointing");
    let out = run(&["bench", "--random", "gpt-5"]);
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
}

/// A GGUF of floats becomes one of blocks, which runs; a folder of safetensors is quantized while it is loaded.
#[test]
fn weights_are_quantized() {
    let folder = temp("quantize");
    let (from, out) = (fixture("models/qwen2/model.gguf"), folder.join("small.gguf").display().to_string());
    let made = parse(&ok(&["quantize", "--model", &from, "--type", "q6_k", "--out", &out, "--json"]));
    // Rows of 32 are no super-blocks: Q8_0 takes their place, and halves where rows are no blocks at all.
    assert_eq!(keys(&made["tensors"]), ["F16", "F32", "Q8_0"], "{made}");
    assert_eq!(made["bytes"].as_u64(), Some(fs::metadata(&out).unwrap().len()));
    let seen = parse(&ok(&["inspect", &out, "--json"]));
    assert_eq!((&seen["supported"], &seen["metadata"]["general.file_type"]), (&json!(true), &json!(18)), "{}", seen["metadata"]);
    ok(&["generate", "--model", &out, "--prompt-ids", "5,6", "--max-new-tokens", "3"]);
    ok(&["generate", "--model", &fixture("models/llama"), "--quantize", "iq4_nl", "--prompt-ids", "5,6", "--max-new-tokens", "3"]);
    let again = folder.join("again.gguf").display().to_string();
    // A folder becomes a GGUF: the same tokens as the folder quantized while it is loaded.
    let made = parse(&ok(&["quantize", "--model", &fixture("models/llama"), "--type", "q4_k_m", "--out", &again, "--json"]));
    assert_eq!(keys(&made["tensors"]), ["F16", "F32", "Q5_0", "Q8_0"], "{made}");
    let ask = |model: &str, more: &[&str]| {
        let all = [&["generate", "--model", model, "--prompt-ids", "5,6", "--max-new-tokens", "8", "--json", "--temperature", "0"], more]
            .concat();
        parse(&ok(&all))["token_ids"].clone()
    };
    assert_eq!(ask(&again, &[]), ask(&fixture("models/llama"), &["--quantize", "q4_k_m"]));
    fails_with(
        &on_cpu(&["quantize", "--model", &fixture("models/gpt2"), "--type", "q4_0", "--out", &again]),
        3,
        "unsupported-architecture",
        "GPT-2",
    );
    let unknown = on_cpu(&["quantize", "--model", &from, "--type", "iq2_xs", "--out", &again]);
    assert!(unknown.status.code() == Some(2) && text(&unknown.stderr).contains("q4_k"), "{}", text(&unknown.stderr));
    fs::remove_dir_all(folder).unwrap();
}
