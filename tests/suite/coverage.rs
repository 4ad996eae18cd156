//! What the suite must not forget: every op of `src/ops` is exercised by a test, every public one has PyTorch's opinion, and every
//! case PyTorch was asked for is read. Nothing is registered anywhere: the sources are read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The fixtures (`tests/fixtures/ops.json`) that judge an op, or why none can.
enum Judged {
    By(&'static [&'static str]),
    /// No framework has this op; what checks it in its place.
    Instead(&'static str),
}
use Judged::{By, Instead};

/// By the name of the type that implements `Op`.
const PUBLIC: &[(&str, Judged)] = &[
    ("Activation", By(&["gelu_erf", "gelu_tanh", "relu", "silu"])),
    ("AdapterRows", By(&["adapter_rows"])),
    ("AdamW", By(&["adamw"])),
    ("AdamW8", Instead("PyTorch's transcription of the paper in ops_optim8.rs: tests/oracle/adamw8.py")),
    ("Add", By(&["add"])),
    ("Attention", By(&["attention"])),
    ("AttentionAppend", Instead("rope and attention_cached in one: its reference is made of theirs")),
    ("AttentionCached", Instead("the cache's layout is ours; generation from it equals Transformers' in generate.rs and real/")),
    ("CpoLoss", Instead("training curves are TRL's in training.rs, and central differences")),
    ("CrossEntropy", By(&["cross_entropy", "sft_nll"])),
    ("DpoLoss", By(&["dpo_loss"])),
    ("DoraNorm", Instead("curves, gradients and logits are PEFT's in kinds.rs")),
    ("DoraScale", Instead("curves, gradients and logits are PEFT's in kinds.rs")),
    ("Dropout", Instead("its random numbers are ours; the mask's share and its reproduction are tested")),
    ("Embedding", By(&["embedding"])),
    ("Gated", By(&["swiglu", "geglu_erf", "geglu_tanh"])),
    ("GatherLogps", By(&["gather_logps"])),
    ("GatherRows", Instead("an index")),
    ("GradNorm", By(&["grad_norm"])),
    ("LayerNorm", By(&["layer_norm"])),
    ("KtoLoss", By(&["kto_loss"])),
    ("Linear", By(&["matmul", "linear", "lora_linear"])),
    ("LinearLogps", By(&["linear_cross_entropy", "linear_gather_logps"])),
    ("LstmCell", Instead("P-tuning's curves and gradients are PEFT's, that is PyTorch's LSTM, in kinds.rs")),
    ("Mul", By(&["mul"])),
    ("Narrow", Instead("a rounding: IEEE 754's, number by number as the half crate's")),
    ("Noise", Instead("its random numbers are ours; its size, its spread and its reproduction are tested")),
    ("OrpoLoss", By(&["orpo_loss"])),
    ("PeakCopy", Instead("an instrument of the benchmark: a copy, compared with the f64 reference")),
    ("PeakFma", Instead("an instrument of the benchmark: its sum is compared with the f64 reference")),
    ("RankingLoss", Instead("curves of pairs are TRL's and of rankings PyTorch's in reward.rs, and central differences")),
    ("PolicyLoss", Instead("training curves are TRL's in rounds.rs, and central differences")),
    ("Reduce", By(&["reduce_sum", "reduce_mean", "reduce_max"])),
    ("RmsNorm", By(&["rms_norm"])),
    ("RopeAppend", Instead("rope with the cache's layout, which is ours")),
    ("RopeSplit", By(&["rope"])),
    ("Sample", Instead("its random numbers are ours; frequencies and greedy choices are tested")),
    ("Scale", By(&["scale"])),
    ("SequenceSums", Instead("a sum: against the f64 reference and central differences")),
    ("SequenceTake", Instead("an index: the way back of SequenceSums")),
    ("SftLoss", Instead("a weighted sum of log-probabilities; training curves are TRL's in tuning.rs")),
    ("SoftCap", Instead("Gemma 2's capped logits and all gradients are Transformers' in families.rs")),
    ("Softmax", By(&["softmax"])),
    ("Stack", By(&["stack"])),
    ("ValueLoss", Instead("training curves are TRL's in ppo.rs, and central differences")),
    ("Widen", Instead("exact: as Narrow")),
];

/// Fixtures of what is no op but a table made from a configuration.
const NOT_OPS: &[&str] = &["rope_table"];

/// The sources in a folder and in those inside it: (file name, text).
fn read_all(folder: &str, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    fn walk(folder: &Path, wanted: &impl Fn(&str) -> bool, files: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).expect("a folder of the repository") {
            let path = entry.expect("readable").path();
            let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
            if path.is_dir() {
                walk(&path, wanted, files);
            } else if path.extension().is_some_and(|e| e == "rs") && wanted(&name) {
                files.push((name, fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    let mut files = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &wanted, &mut files);
    files.sort();
    files
}

/// True when `word` stands in `line` as a whole word.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Lines that are neither comments nor imports.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|l| !l.trim_start().starts_with("//") && !l.trim_start().starts_with("use "))
}

/// Where ops are: the families, and the instruments that measure a device.
fn sources() -> Vec<(String, String)> {
    ["src/ops", "src/device"].into_iter().flat_map(|folder| read_all(folder, |_| true)).collect()
}

/// Every `impl Op for X` in them: (X, public, file).
fn ops() -> Vec<(String, bool, String)> {
    let sources = sources();
    let public = |name: &str| sources.iter().any(|(_, text)| text.lines().any(|l| l.starts_with("pub struct ") && has_word(l, name)));
    let mut found = Vec::new();
    for (file, text) in &sources {
        for line in text.lines() {
            let Some(name) = line.strip_prefix("impl Op for ").and_then(|l| l.split([' ', '{']).next()) else { continue };
            found.push((name.to_string(), public(name), file.clone()));
        }
    }
    found
}

#[test]
fn every_op_is_exercised() {
    let (sources, tests) = (sources(), read_all("tests/suite", |f| f.starts_with("ops_")));
    let ops = ops();
    assert!(ops.len() >= 40, "only {} ops found: has the way they are written changed?", ops.len());
    for (name, public, file) in &ops {
        if *public {
            let tested = tests.iter().any(|(_, text)| code(text).any(|l| has_word(l, name)));
            assert!(tested, "src/ops/{file}: {name} has no case in tests/suite/ops_*.rs (see CONTRIBUTING.md)");
        } else {
            // A gradient kernel: tested through the backward pass of the op that emits it.
            let emitted = sources.iter().any(|(_, text)| {
                let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
                ["emit(", "emit( ", "push(", "push1("].iter().any(|call| {
                    flat.match_indices(call).any(|(at, _)| {
                        let rest = &flat[at + call.len()..];
                        let rest = rest.trim_start_matches("super::").trim_start_matches("linear::").trim_start();
                        rest.strip_prefix(name.as_str()).is_some_and(|r| !r.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
                    })
                })
            });
            assert!(emitted, "src/ops/{file}: nothing emits {name}: it can be in no test");
        }
    }
}

#[test]
fn every_public_op_is_judged() {
    let known: BTreeMap<&str, &Judged> = PUBLIC.iter().map(|(n, j)| (*n, j)).collect();
    let public: Vec<String> = ops().into_iter().filter(|o| o.1).map(|o| o.0).collect();
    for name in &public {
        assert!(known.contains_key(name.as_str()), "{name} has no fixture: add a case to tests/oracle/ops.py and name it in PUBLIC");
    }
    for (name, judged) in &known {
        assert!(public.iter().any(|p| p == name), "PUBLIC names {name}, which is no public op of src/ops");
        if let Instead(reason) = judged {
            assert!(!reason.is_empty());
        }
    }
}

#[test]
fn every_fixture_is_read() {
    let all: serde_json::Value = serde_json::from_str(include_str!("../fixtures/ops.json")).expect("JSON");
    let mut stored: Vec<&str> = all["cases"].as_array().expect("a list").iter().filter_map(|c| c["op"].as_str()).collect();
    stored.sort_unstable();
    stored.dedup();
    let named: Vec<&str> = PUBLIC
        .iter()
        .flat_map(|(_, j)| match j {
            By(fixtures) => fixtures.to_vec(),
            Instead(_) => Vec::new(),
        })
        .chain(NOT_OPS.iter().copied())
        .collect();
    let tests = read_all("tests/suite", |f| f != "coverage.rs" && f != "fixture.rs");
    for op in &stored {
        assert!(named.contains(op), "tests/fixtures/ops.json has cases of {op}, which judge no op: name it in PUBLIC or drop them");
        let quoted = format!("\"{op}\"");
        let read = tests.iter().any(|(_, text)| text.contains("fixture::cases(") && code(text).any(|l| l.contains(&quoted)));
        assert!(read, "tests/fixtures/ops.json has cases of {op}, and no test reads them");
    }
    for op in &named {
        assert!(stored.contains(op), "PUBLIC names the fixture {op}, which is not in tests/fixtures/ops.json");
    }
}
