//! `fledgling score`, and reward models from training to scores.

use std::fs;

use serde_json::{Value, json};

use super::{fails_with, fixture, gguf, ok, on_cpu, parse, temp, text};

fn close(got: &Value, want: f64) -> bool {
    got.as_f64().is_some_and(|v| (v - want).abs() < 1e-4 * want.abs().max(1.0))
}

#[test]
fn texts_and_rows_have_log_probabilities() {
    let model = gguf();
    let out = ok(&["score", "--model", &model, "--text", "ab c", "--text", "the", "--json"]);
    let lines: Vec<Value> = out.lines().map(parse).collect();
    assert_eq!((lines.len(), &lines[2]["event"], &lines[2]["rows"]), (3, &json!("end"), &json!(2)), "{out}");
    let first = &lines[0];
    let (tokens, logprob) = (first["tokens"].as_f64().unwrap(), first["logprob"].as_f64().unwrap());
    assert!(logprob < 0.0 && close(&first["perplexity"], (-logprob / tokens).exp()), "{first}");
    // The same tokens as a row: all but the first are judged.
    let folder = temp("score");
    let rows = folder.join("rows.jsonl");
    let ids = parse(&ok(&["tokenize", "--model", &model, "--text", "ab c", "--json"]))["ids"].clone();
    fs::write(&rows, json!({"input_ids": ids}).to_string()).unwrap();
    let rows = rows.display().to_string();
    let row = parse(ok(&["score", "--model", &model, "--data", &rows, "--json"]).lines().next().unwrap());
    assert!(close(&row["logprob"], logprob), "{row} for {first}");
    assert!(ok(&["score", "--model", &model, "--text", "ab c"]).contains("perplexity"));
    fails_with(&on_cpu(&["score", "--model", &model, "--text", ""]), 2, "bad-config", "nothing in it can be judged");
    fs::write(folder.join("rows.jsonl"), "{\"ids\": [[5], [6]], \"ranks\": [1, 2]}").unwrap();
    fails_with(&on_cpu(&["score", "--model", &model, "--data", &rows]), 3, "bad-row", "is a comparison for a reward model");
}

#[test]
fn a_reward_model_scores_as_pytorch_does() {
    let (model, adapter) = (fixture("models/llama"), fixture("reward/init"));
    let want: Value = serde_json::from_slice(&fs::read(fixture("reward/scores.json")).unwrap()).unwrap();
    let folder = temp("scores");
    let rows = folder.join("rows.jsonl");
    let lines: Vec<String> = want["ids"].as_array().unwrap().iter().map(|ids| json!({"input_ids": ids}).to_string()).collect();
    fs::write(&rows, lines.join("\n")).unwrap();
    let rows = rows.display().to_string();
    let scored = |adapter: &str| -> Vec<Value> {
        let out = ok(&["score", "--model", &model, "--adapter", adapter, "--data", &rows, "--json"]);
        out.lines().map(parse).filter(|l| l["event"] == "score").map(|l| l["scores"].clone()).collect()
    };
    for (got, want) in scored(&adapter).iter().zip(want["init"].as_array().unwrap()) {
        assert!(close(&got[0], want.as_f64().unwrap()), "{got} for {want}");
    }
    // A head of three.
    for (got, want) in scored(&fixture("reward/several")).iter().zip(want["several"].as_array().unwrap()) {
        assert!((0..3).all(|k| close(&got[k], want[k].as_f64().unwrap())), "{got} for {want}");
    }
    fails_with(&on_cpu(&["generate", "--model", &model, "--adapter", &adapter, "--prompt-ids", "5"]), 3, "bad-adapter", "writes none");
    fails_with(&on_cpu(&["score", "--model", &fixture("models/gpt2"), "--adapter", &adapter, "--data", &rows]), 3, "bad-adapter", "");
}

#[test]
fn a_reward_model_is_trained_and_judged() {
    let folder = temp("reward");
    let curve: Value = serde_json::from_slice(&fs::read(fixture("reward/reward_ranking.json")).unwrap()).unwrap();
    let lines: Vec<String> = curve["rows"].as_array().unwrap().iter().map(Value::to_string).collect();
    let rows = folder.join("rows.jsonl");
    fs::write(&rows, lines.join("\n")).unwrap();
    let (rows, out) = (rows.display().to_string(), folder.join("out").display().to_string());
    let (model, init) = (fixture("models/llama"), fixture("reward/init"));
    let args = ["tune", "--model", &model, "--data", &rows, "--out", &out, "--json", "--eval-data", &rows];
    let more = [
        "--method",
        "reward",
        "--max-steps",
        "3",
        "--init-adapter",
        &init,
        "--learning-rate",
        "1e-2",
        "--per-device-train-batch-size",
        "8",
    ];
    let said = ok(&[&args[..], &more].concat());
    let said: Vec<Value> = said.lines().map(parse).collect();
    // Three updates, an evaluation behind each: one is an epoch.
    assert_eq!((said.len(), &said[5]["event"], &said[6]["event"]), (7, &json!("evaluation"), &json!("end")), "{said:?}");
    // What score says of the saved folder is what was said in the end.
    let found = ok(&["score", "--model", &model, "--adapter", &out, "--data", &rows, "--json"]);
    let end = parse(found.lines().last().unwrap());
    for name in ["accuracy", "margin", "brier"] {
        assert!(close(&end[name], said[5][format!("eval_{name}")].as_f64().unwrap()), "{name}: {end} for {}", said[5]);
    }
    assert!(end["calibration_error"].as_f64().is_some_and(|e| (0.0..1.0).contains(&e)), "{end}");
    let saved: Value = serde_json::from_slice(&fs::read(folder.join("out/adapter_config.json")).unwrap()).unwrap();
    assert_eq!((&saved["task_type"], &saved["modules_to_save"]), (&json!("SEQ_CLS"), &json!(["classifier", "score"])));
    let sft = on_cpu(&[&args[..], &["--method", "sft"]].concat());
    assert_eq!(sft.status.code(), Some(3), "{}", text(&sft.stderr));
}

#[test]
fn ppo_starts_its_critic_from_a_reward_model() {
    let folder = temp("ppo");
    let curve: Value = serde_json::from_slice(&fs::read(fixture("ppo/ppo.json")).unwrap()).unwrap();
    let (rows, config) = (folder.join("rows.jsonl"), folder.join("config.json"));
    fs::write(&rows, curve["rows"].as_array().unwrap().iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
    fs::write(&config, curve["config"].to_string()).unwrap();
    let (rows, config, out) = (rows.display().to_string(), config.display().to_string(), folder.join("out").display().to_string());
    let (model, init, critic) = (fixture("models/llama"), fixture("training/adapters/default"), fixture("reward/init"));
    let args =
        ["tune", "--method", "ppo", "--model", &model, "--data", &rows, "--out", &out, "--config", &config, "--no-shuffle", "--json"];
    let more = ["--init-adapter", &init, "--init-critic", &critic, "--reference", "base"];
    let said = ok(&[&args[..], &more].concat());
    let lines: Vec<Value> = said.lines().map(parse).filter(|l| l["event"] == "step").collect();
    assert_eq!(lines.len(), 4, "{said}");
    for (line, want) in lines.iter().zip(curve["steps"].as_array().unwrap()) {
        for name in ["loss", "loss/policy_avg", "loss/value_avg", "objective/kl", "objective/rlhf_reward", "val/ratio"] {
            let (got, want) = (line[name].as_f64().unwrap(), want[name].as_f64().unwrap());
            assert!((got - want).abs() < 1e-3 * want.abs().max(1e-2), "{name}: {got} for {want}");
        }
    }
    // Sampled and judged by a reward model, on the one base.
    let prompts = folder.join("prompts.jsonl");
    fs::write(&prompts, "{\"prompt_ids\": [5, 6, 7]}\n{\"prompt_ids\": [8, 9]}").unwrap();
    let (prompts, live) = (prompts.display().to_string(), folder.join("live").display().to_string());
    let args_live = ["tune", "--method", "ppo", "--model", &model, "--data", &prompts, "--out", &live, "--json", "--reward-model", &critic];
    let more = ["--max-steps", "4", "--response-length", "6", "--per-device-train-batch-size", "2", "--num-ppo-epochs", "2"];
    let sampled = ok(&[&args_live[..], &more].concat());
    let lines: Vec<Value> = sampled.lines().map(parse).filter(|l| l["event"] == "step").collect();
    assert_eq!(lines.len(), 4, "{sampled}");
    assert!(lines.iter().all(|l| l["rewards/reward_model/mean"].is_number() && l["objective/scores"] == l["reward"]), "{sampled}");
    // Both are PEFT folders; the critic scores.
    let saved: Value = serde_json::from_slice(&fs::read(folder.join("out/critic/adapter_config.json")).unwrap()).unwrap();
    assert_eq!(saved["task_type"], "SEQ_CLS");
    ok(&["generate", "--model", &model, "--adapter", &out, "--prompt-ids", "5,6", "-n", "2"]);
    let no = on_cpu(&[&args[..], &["--init-critic", &init]].concat());
    fails_with(&no, 3, "bad-adapter", "");
}
