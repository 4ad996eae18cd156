//! Gemma 3 270M as it is published, Q4_K_M, against what Transformers answers with the same file dequantized (`tests/oracle/gemma3.py`).
//! `scripts/fetch-model.sh gemma3` fetches it, FLEDGLING_GEMMA3 names another place.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use fledgling::adapters::{AdapterChoice, LoadedModel};
use fledgling::generate::{GenerateOptions, Generator};
use fledgling::models::{LoadOptions, load_path};
use serde_json::Value;

use crate::{devices, ids, numbers};

static GREEDY: &str = include_str!("../fixtures/gemma3/greedy.json");

/// Behind a choice between logits as near as this a continuation may differ.
const NEAR: f64 = 0.05;

#[test]
fn gemma3_is_transformers() {
    let path = std::env::var_os("FLEDGLING_GEMMA3")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cache/models/gemma-3-270m-q4_k_m.gguf"), PathBuf::from);
    assert!(path.exists(), "{} is missing: run scripts/fetch-model.sh gemma3", path.display());
    let oracle: Value = serde_json::from_str(GREEDY).unwrap();
    pollster::block_on(async {
        for exec in devices().await.unwrap() {
            let started = Instant::now();
            let options = LoadOptions { context_length: Some(256), ..LoadOptions::default() };
            let loaded: Rc<LoadedModel> = Rc::new(load_path(&exec, &path, options, &mut |_, _| ()).await.unwrap().into());
            let tokenizer = loaded.tokenizer().unwrap().clone();
            let mut g = Generator::new(loaded).unwrap();
            // A software adapter would take minutes for all.
            let cases = oracle["cases"].as_array().unwrap();
            for case in &cases[..if exec.is_processor() { cases.len() } else { 1 }] {
                let (prompt, want) = (ids(&case["prompt_ids"]), ids(&case["greedy_ids"]));
                let name = case["prompt"].as_str().unwrap();
                assert_eq!(tokenizer.encode(name), prompt, "{name}");
                let options = GenerateOptions { max_new_tokens: want.len(), ignore_eos: true, ..GenerateOptions::default() };
                let got = g.run(&prompt, options, &mut |_| ()).await.unwrap().remove(0);
                let gaps = numbers(&case["gaps"]);
                let until = gaps.iter().position(|g| *g < NEAR).unwrap_or(gaps.len());
                assert_eq!(got.token_ids[..until], want[..until], "{name}: {:?}", got.text);
                if got.token_ids == want {
                    assert_eq!(got.text, case["text"].as_str().unwrap(), "{name}");
                }
                let all: Vec<u32> = prompt.iter().chain(&want).copied().collect();
                let nll = g.nll(&all, &AdapterChoice::Base).await.unwrap();
                let worst = nll.iter().zip(numbers(&case["nll"])).fold(0.0f64, |m, (a, b)| m.max((f64::from(*a) - b).abs()));
                eprintln!("{name}: {until} tokens before a near tie, log-probabilities differ by {worst:.1e}");
                assert!(worst < 5e-3, "{name}: log-probabilities differ by {worst}");
            }
            eprintln!("Gemma 3 on {}: {:.1} s", exec.info().name, started.elapsed().as_secs_f64());
        }
    });
}
