//! Beams, looked-up tokens and alternatives from the command line, and prefix decoders from rows to answers.

use std::fs;

use serde_json::{Value, json};

use super::{fails_with, fixture, keys, ok, on_cpu, parse, temp};

fn generate(more: &[&str]) -> Value {
    let model = fixture("models/llama");
    parse(&ok(&[&["generate", "--model", &model, "--json"], more].concat()))
}

fn listed(ids: &Value) -> String {
    ids.as_array().unwrap().iter().map(Value::to_string).collect::<Vec<_>>().join(",")
}

#[test]
fn beams_are_those_of_transformers() {
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(fixture("beams.json")).unwrap()).unwrap();
    // The model's own end.
    let own = |c: &&Value| c["ends"] == json!([2]) && c["options"]["num_beams"].as_u64() > Some(1);
    for case in cases.iter().filter(own).take(7) {
        let options = case["options"].as_object().unwrap();
        let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_string);
        let named: Vec<String> = options.iter().flat_map(|(k, v)| [format!("--{}", k.replace('_', "-")), text(v)]).collect();
        let prompt = listed(&case["prompt"]);
        let args = ["--prompt-ids", &prompt].into_iter().chain(named.iter().map(String::as_str)).collect::<Vec<_>>();
        let out = generate(&args);
        let answers: Value = out["candidates"].as_array().unwrap().iter().map(|c| c["token_ids"].clone()).collect();
        assert_eq!(answers, case["answers"], "{case}");
        assert!((out["score"].as_f64().unwrap() - case["scores"][0].as_f64().unwrap()).abs() < 1e-4, "{out}");
    }
    let model = fixture("models/llama");
    let refused = |more: &[&str], says: &str| {
        fails_with(&on_cpu(&[&["generate", "--model", &model, "--prompt-ids", "5,6"], more].concat()), 2, "bad-config", says);
    };
    refused(&["--num-beams", "2", "--n", "3"], "num_beams");
    refused(&["--num-beams", "2", "--temperature", "1"], "temperature");
    refused(&["--length-penalty", "2"], "length_penalty");
    refused(&["--prompt-lookup-num-tokens", "3", "--temperature", "1"], "prompt_lookup_num_tokens");
}

#[test]
fn lookups_change_nothing_and_alternatives_are_told() {
    let args = ["--prompt-ids", "5,6,7,5,6,7,5,6", "--max-new-tokens", "20"];
    let plain = generate(&args);
    let looked = generate(&[&args[..], &["--prompt-lookup-num-tokens", "5", "--max-matching-ngram-size", "3"]].concat());
    assert_eq!((&looked["token_ids"], keys(&looked)), (&plain["token_ids"], keys(&plain)));
    let told = generate(&[&args[..], &["--top-logprobs", "2"]].concat());
    let first = &told["top_logprobs"][0];
    assert_eq!((&told["token_ids"], &first[0]["token_id"]), (&plain["token_ids"], &plain["token_ids"][0]));
    assert!(first[0]["logprob"].as_f64() >= first[1]["logprob"].as_f64() && first.as_array().unwrap().len() == 2, "{first}");
}

#[test]
fn a_prefix_decoder_is_tuned_and_asked() {
    let (model, folder) = (fixture("models/llama"), temp("prefix"));
    let (rows, out) = (folder.join("rows.jsonl"), folder.join("out").display().to_string());
    let row = json!({"input_ids": [5, 6, 7, 8, 9, 10], "prefix_length": 3});
    fs::write(&rows, format!("{row}\n{row}")).unwrap();
    let rows = rows.display().to_string();
    let tune = ["tune", "--method", "sft", "--model", &model, "--data", &rows, "--max-steps", "2", "--r", "2", "--json"];
    fails_with(&on_cpu(&[&tune[..], &["--out", &out, "--mask", "causal"]].concat()), 2, "bad-config", "prefix_length");
    ok(&[&tune[..], &["--out", &out]].concat());
    let config: Value = serde_json::from_slice(&fs::read(folder.join("out/adapter_config.json")).unwrap()).unwrap();
    assert_eq!(config["mask"], "prefix");
    let logits = |more: &[&str]| parse(&ok(&[&["logits", "--model", &model, "--prompt-ids", "5,6,7,8", "--json"], more].concat()));
    let (causal, prefix) = (logits(&[]), logits(&["--mask", "prefix"]));
    assert_eq!((&causal["mask"], &prefix["mask"]), (&Value::Null, &json!("prefix")));
    assert_ne!(causal["last_logits"], prefix["last_logits"]);
    // The adapter says it; what is asked for goes before it.
    assert_eq!(logits(&["--adapter", &out])["mask"], "prefix");
    let other = ["logits", "--model", &model, "--prompt-ids", "5", "--adapter", &out, "--mask", "causal"];
    fails_with(&on_cpu(&other), 3, "bad-adapter", "mask prefix");
    let best = |v: &Value| {
        let all: Vec<f64> = v["last_logits"].as_array().unwrap().iter().map(|l| l.as_f64().unwrap()).collect();
        (0..all.len()).max_by(|a, b| all[*a].total_cmp(&all[*b])).unwrap()
    };
    let asked = ["--prompt-ids", "5,6,7,8", "--max-new-tokens", "1", "--mask", "prefix"];
    assert_eq!(generate(&asked)["token_ids"], json!([best(&prefix)]));
    let scored = ok(&["score", "--model", &model, "--data", &rows, "--mask", "prefix", "--json"]);
    assert_eq!(parse(scored.lines().next().unwrap())["tokens"], 3);
}
