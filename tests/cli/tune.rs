//! `fledgling tune`: the curves of TRL, options and configurations, stopping and going on.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{fails_with, fixture, keys, ok, on_cpu, parse, temp};

/// The curve of a file in `fixtures/training`, its rows and its configuration written for `tune`.
pub fn training(name: &str, folder: &Path) -> (Value, String, String) {
    let curve: Value = serde_json::from_slice(&fs::read(fixture(&format!("training/{name}.json"))).unwrap()).unwrap();
    let (rows, config) = (folder.join("rows.jsonl"), folder.join("config.json"));
    let lines: Vec<String> = curve["rows"].as_array().unwrap().iter().map(Value::to_string).collect();
    fs::write(&rows, lines.join("\n")).unwrap();
    fs::write(&config, curve["config"].to_string()).unwrap();
    (curve, rows.display().to_string(), config.display().to_string())
}

fn tune(method: &str, folder: &Path, rows: &str, config: &str, more: &[&str]) -> Vec<Value> {
    let (model, init, out) = (fixture("models/llama"), fixture("training/adapter_init"), folder.join("out").display().to_string());
    let args = ["tune", "--method", method, "--model", &model, "--data", rows, "--out", &out, "--config", config];
    steps(&ok(&[&args[..], &["--init-adapter", &init, "--no-shuffle", "--json"], more].concat()))
}

/// The records of the updates. All have the same names, and one record more is the end.
fn steps(out: &str) -> Vec<Value> {
    let mut lines: Vec<Value> = out.lines().map(parse).collect();
    let end = lines.pop().expect("a last record");
    assert_eq!((&end["event"], &end["interrupted"]), (&json!("end"), &json!(false)), "{end}");
    assert!(end["adapter"].is_string() && end["step"] == end["total_steps"], "{end}");
    assert!(lines.iter().all(|l| l["event"] == "step" && keys(l) == keys(&lines[0])), "{out}");
    lines
}

fn same_curve(curve: &Value, lines: &[Value], names: &[&str]) {
    let steps = curve["steps"].as_array().unwrap();
    assert_eq!(lines.len(), steps.len());
    for (line, step) in lines.iter().zip(steps) {
        // Where policy and reference are one, rounding decides which answer is preferred.
        let undecided = step["rewards/margins"].as_f64() == Some(0.0);
        for name in names.iter().filter(|n| !(undecided && **n == "rewards/accuracies")) {
            let (got, want) = (line[*name].as_f64().unwrap_or(f64::NAN), step[*name].as_f64().unwrap());
            assert!((got - want).abs() <= 1e-3 * want.abs().max(0.02), "{name}: {got} for {want} in {line}");
        }
        for name in ["epoch", "tokens", "tokens_per_second", "seconds_left", "total_steps"] {
            assert!(line[name].is_number(), "{name} in {line}");
        }
    }
}

#[test]
fn tune_sft_follows_trl() {
    let folder = temp("sft");
    let (curve, rows, config) = training("sft", &folder);
    let lines = tune("sft", &folder, &rows, &config, &[]);
    same_curve(&curve, &lines, &["step", "loss", "learning_rate", "grad_norm"]);
    // What was saved is a PEFT folder that generates.
    let out = folder.join("out");
    let saved: Value = serde_json::from_slice(&fs::read(out.join("adapter_config.json")).unwrap()).unwrap();
    assert_eq!(saved["peft_type"], "LORA");
    let ids = ["--model", &fixture("models/llama"), "--prompt-ids", "5,6,7", "--json"].map(String::from);
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let with = parse(&ok(&[&["logits"], &ids[..], &["--adapter", &out.display().to_string()]].concat()));
    assert_eq!(with["adapter"], "out");
    assert_ne!(with["last_logits"], parse(&ok(&[&["logits"], &ids[..]].concat()))["last_logits"]);
    // And inspect says that it does something.
    let seen = parse(&ok(&["inspect", &out.display().to_string(), "--json"]));
    assert_eq!(seen["changes_the_model"], true);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn tune_dpo_follows_trl() {
    let folder = temp("dpo");
    let (curve, rows, config) = training("dpo", &folder);
    let lines = tune("dpo", &folder, &rows, &config, &[]);
    let names =
        ["step", "loss", "learning_rate", "grad_norm", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"];
    same_curve(&curve, &lines, &names);
    assert!((lines[0]["loss"].as_f64().unwrap() - std::f64::consts::LN_2).abs() < 1e-4);
    fs::remove_dir_all(folder).unwrap();
}

/// From an adapter that changes the model, measured against the base; options of the table go over the configuration.
#[test]
fn tune_kto_and_orpo_follow_trl() {
    let names = ["step", "loss", "learning_rate", "grad_norm", "logps/chosen", "logps/rejected"];
    for (method, more, own) in
        [("kto", &["--reference", "base", "--beta", "0.1"][..], &["kl"][..]), ("orpo", &["--beta=0.1"], &["nll_loss", "log_odds_chosen"])]
    {
        let folder = temp(method);
        let (mut curve, rows, config) = training(method, &folder);
        // Only the option says it right.
        curve["config"]["beta"] = json!(0.7);
        fs::write(&config, curve["config"].to_string()).unwrap();
        let (model, init, out) = (fixture("models/llama"), fixture("training/adapters/default"), folder.join("out").display().to_string());
        let args = ["tune", "--method", method, "--model", &model, "--data", &rows, "--out", &out, "--config", &config, "--json"];
        let lines = ok(&[&args[..], &["--init-adapter", &init, "--shuffle=false"], more].concat());
        let lines = steps(&lines);
        let (lines, steps): (Vec<Value>, Vec<Value>) = lines
            .into_iter()
            .zip(curve["steps"].as_array().unwrap().clone())
            // Updates without good or bad rows report nothing of them.
            .filter(|(_, step)| names.iter().all(|n| !step[*n].is_null()))
            .unzip();
        assert!(lines.len() >= 3, "{method}");
        same_curve(&json!({"steps": steps}), &lines, &[&names[..], own].concat());
        fs::remove_dir_all(folder).unwrap();
    }
    // Lists, switches and PEFT's fields as options.
    let (model, folder) = (fixture("models/llama"), temp("fields"));
    let (_, rows, _) = training("orpo", &folder);
    let out = folder.join("out").display().to_string();
    let more = [
        "--max-steps",
        "1",
        "--r",
        "2",
        "--lora-alpha=4",
        "--target-modules",
        "q_proj,v_proj",
        "--use-rslora",
        "--layers-to-transform",
        "0",
    ];
    ok(&[&["tune", "--method", "orpo", "--model", &model, "--data", &rows, "--out", &out], &more[..]].concat());
    let saved: Value = serde_json::from_slice(&fs::read(folder.join("out/adapter_config.json")).unwrap()).unwrap();
    assert_eq!((&saved["r"], &saved["lora_alpha"], &saved["use_rslora"]), (&json!(2), &json!(4), &json!(true)));
    assert_eq!(saved["target_modules"], json!(["q_proj", "v_proj"]));
    fs::remove_dir_all(folder).unwrap();
    // Virtual tokens: trained, gone on with from the checkpoint that keeps their network, and read by everybody else as what it made.
    let (model, folder) = (fixture("models/llama"), temp("peft"));
    let (_, rows, _) = training("sft", &folder);
    let out = folder.join("out").display().to_string();
    let tune = ["tune", "--method", "sft", "--model", &model, "--data", &rows, "--out", &out, "--max-steps", "2"];
    let kind = ["--peft", "p_tuning", "--num-virtual-tokens", "4"];
    ok(&[&tune[..], &kind[..], &["--save-steps", "1"]].concat());
    let saved: Value = serde_json::from_slice(&fs::read(folder.join("out/adapter_config.json")).unwrap()).unwrap();
    assert_eq!((&saved["peft_type"], &saved["num_virtual_tokens"], &saved["token_dim"]), (&json!("P_TUNING"), &json!(4), &json!(32)));
    let checkpoint = folder.join("out/checkpoint.safetensors").display().to_string();
    ok(&[&tune[..], &kind[..], &["--resume-from-checkpoint", &checkpoint]].concat());
    ok(&["generate", "--model", &model, "--adapter", &out, "--prompt-ids", "5,6,7", "--max-new-tokens", "3"]);
    fails_with(&on_cpu(&[&tune[..], &["--init-adapter", &out]].concat()), 3, "bad-adapter", "A checkpoint keeps it");
    fs::remove_dir_all(folder).unwrap();
    // What the table does not have is refused, with what it has.
    let (model, folder) = (fixture("models/llama"), temp("kto-fields"));
    let (_, rows, _) = training("kto", &folder);
    let out = folder.join("out").display().to_string();
    let config = folder.join("wrong.json");
    fs::write(&config, "{\"desirable_wieght\": 2}").unwrap();
    let args = ["tune", "--method", "kto", "--model", &model, "--data", &rows, "--out", &out];
    fails_with(&on_cpu(&[&args[..], &["--config", &config.display().to_string()]].concat()), 2, "bad-config", "desirable_weight");
    fails_with(&on_cpu(&[&args[..], &["--reference", "init"]].concat()), 2, "bad-config", "reference");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn tune_stops_and_resumes() {
    let folder = temp("resume");
    let (mut curve, rows, config) = training("sft", &folder);
    // Another length is another curve, unless the rate is constant.
    curve["config"]["lr_scheduler_type"] = json!("constant");
    fs::write(&config, curve["config"].to_string()).unwrap();
    let two = tune("sft", &folder, &rows, &config, &["--max-steps", "2", "--save-steps", "1"]);
    assert_eq!(two.len(), 2, "--max-steps wins over the configuration");
    assert_eq!(two[1]["total_steps"], 2);
    let checkpoint = folder.join("out/checkpoint.safetensors").display().to_string();
    let (model, out) = (fixture("models/llama"), folder.join("more").display().to_string());
    let args =
        ["tune", "--method", "sft", "--model", &model, "--data", &rows, "--out", &out, "--config", &config, "--no-shuffle", "--json"];
    let more = ok(&[&args[..], &["--max-steps", "3", "--resume-from-checkpoint", &checkpoint]].concat());
    let more = steps(&more);
    assert_eq!(more.iter().map(|l| l["step"].as_u64().unwrap()).collect::<Vec<_>>(), [3]);
    // Without --json: a line a step.
    let plain = ok(&["tune", "--method", "sft", "--model", &model, "--data", &rows, "--out", &out, "--max-steps", "1"]);
    assert!(plain.starts_with("step 1/1  loss "), "{plain}");
    fs::remove_dir_all(folder).unwrap();
}

/// A configuration as Transformers keeps it, with the mark of a Windows editor: what says how often is heeded, means of several updates are told.
#[test]
fn tune_reports_and_saves_as_the_configuration_says() {
    let folder = temp("rhythm");
    let (mut curve, rows, config) = training("sft", &folder);
    let plain = tune("sft", &folder, &rows, &config, &["--max-steps", "7"]);
    let own = json!({"logging_steps": 3, "logging_strategy": "steps", "save_strategy": "steps", "save_steps": 0.5, "eval_strategy": "no"});
    curve["config"].as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    fs::write(&config, format!("\u{feff}{}", curve["config"])).unwrap();
    let some = tune("sft", &folder, &rows, &config, &["--max-steps", "7"]);
    assert_eq!(some.iter().map(|l| l["step"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 3, 6, 7]);
    let loss = |l: &Value| l["loss"].as_f64().unwrap();
    assert!((loss(&some[2]) - plain[3..6].iter().map(loss).sum::<f64>() / 3.0).abs() < 1e-9);
    assert!(folder.join("out/checkpoint.safetensors").exists());
    for (field, value) in [("logging_steps", json!(2.5)), ("save_strategy", json!("best")), ("eval_delay", json!(5))] {
        let wrong = folder.join("wrong.json");
        fs::write(&wrong, json!({ field: value, "max_seq_length": 3 }).to_string()).unwrap();
        let args = ["tune", "--method", "sft", "--model", &fixture("models/llama"), "--data", &rows, "--out", "x", "--config"];
        let failed = on_cpu(&[&args[..], &[&wrong.display().to_string()]].concat());
        fails_with(&failed, 2, "bad-config", field);
        fails_with(&failed, 2, "bad-config", "max_seq_length: is called max_length");
    }
    fs::remove_dir_all(folder).unwrap();
}

/// Rows for evaluation from a file or out of the data: a line for each, and what was best at the end. Tables have their columns named.
#[test]
fn tune_evaluates_and_reads_tables() {
    let folder = temp("evaluation");
    let (_, rows, _) = training("sft", &folder);
    let (model, out) = (fixture("models/llama"), folder.join("out").display().to_string());
    let args = ["tune", "--method", "sft", "--model", &model, "--data", &rows, "--out", &out, "--max-steps", "4", "--json"];
    let more = ["--eval-data", &rows, "--eval-steps", "2", "--load-best-model-at-end", "--learning-rate", "0.3"];
    let lines: Vec<Value> = ok(&[&args[..], &more].concat()).lines().map(parse).collect();
    let events: Vec<&str> = lines.iter().map(|l| l["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["step", "step", "evaluation", "step", "step", "evaluation", "end"]);
    let losses = [2, 5].map(|i| lines[i]["eval_loss"].as_f64().unwrap());
    let best = usize::from(losses[1] < losses[0]);
    assert_eq!((&lines[6]["best"]["value"], &lines[6]["best"]["step"]), (&json!(losses[best]), &json!(2 + 2 * best)));
    assert!(lines[6]["best"]["loaded"] == json!(true) && lines[2]["eval_rows"] == json!(8) && lines[2]["best"] == json!(true));
    let plain = ok(&[&args[..9], &["--max-steps", "1", "--eval-split", "0.25"]].concat());
    assert!(plain.lines().nth(1).is_some_and(|l| l.starts_with("evaluation behind update 1:  eval_loss ")), "{plain}");
    fails_with(&on_cpu(&[&args[..], &["--eval-strategy", "steps"]].concat()), 2, "bad-config", "eval_data");

    let (table, held) = (folder.join("rows.csv").display().to_string(), folder.join("held.csv").display().to_string());
    fs::write(&table, "id,ids,labels\n1,\"[5, 6, 7]\",\n2,\"[8,9]\",\"[-100, 9]\"\n").unwrap();
    fs::write(&held, "ids\n\"[5, 6\n, 7]\"\n\"[500]\"\n").unwrap();
    let args = ["tune", "--method", "sft", "--model", &model, "--data", &table, "--out", &out, "--max-steps", "1"];
    let run = on_cpu(&[&args[..], &["--column", "input_ids=ids"]].concat());
    assert!(run.status.success() && String::from_utf8_lossy(&run.stderr).contains("left out: id"), "{run:?}");
    fails_with(&on_cpu(&args), 3, "bad-row", "column \"id\"");
    fails_with(&on_cpu(&[&args[..], &["--column", "input_ids=tokens"]].concat()), 2, "bad-config", "no row of");
    let wrong = on_cpu(&[&args[..], &["--column", "input_ids=ids", "--eval-data", &held]].concat());
    fails_with(&wrong, 3, "bad-row", "row 1: line 4 of");
    fs::remove_dir_all(folder).unwrap();
}

/// All weights learn, are written as a folder that loads, and go on from a checkpoint bit for bit.
#[test]
fn tune_full_writes_a_model() {
    let folder = temp("full");
    let (_, rows, _) = training("sft", &folder);
    let model = fixture("models/llama");
    let run = |out: &str, more: &[&str]| {
        let out = folder.join(out).display().to_string();
        let args = ["tune", "--method", "sft", "--model", &model, "--data", &rows, "--out", &out, "--full", "--json"];
        let rest = ["--learning-rate", "1e-3", "--lr-scheduler-type", "constant", "--eval-split", "0.25", "--eval-steps", "2"];
        let said = ok(&[&args[..], &rest, more].concat());
        let end = parse(said.lines().last().unwrap());
        assert!(end["model"].is_string() && end["adapter"].is_null(), "{end}");
        said.lines().map(parse).filter(|l| l["event"] == "step").map(|l| l["loss"].as_f64().unwrap()).collect::<Vec<f64>>()
    };
    let whole = run("whole", &["--max-steps", "4"]);
    let two = run("two", &["--max-steps", "2", "--save-steps", "2"]);
    let checkpoint = folder.join("two/checkpoint.safetensors").display().to_string();
    let rest = run("rest", &["--max-steps", "4", "--resume-from-checkpoint", &checkpoint]);
    assert_eq!(whole, [two, rest].concat());
    let weights = |out: &str| fs::read(folder.join(out).join("model.safetensors")).unwrap();
    assert!(weights("whole") == weights("rest") && weights("whole") != weights("two"));
    // The new model is one: it goes on learning where it was left.
    let new = folder.join("whole").display().to_string();
    let out = folder.join("more").display().to_string();
    let more = ok(&["tune", "--method", "sft", "--model", &new, "--data", &rows, "--out", &out, "--max-steps", "1", "--json"]);
    assert!(parse(more.lines().next().unwrap())["loss"].as_f64().unwrap() < whole[0]);
    let args = ["tune", "--method", "sft", "--model", &model, "--data", &rows, "--out", "x", "--full"];
    fails_with(&on_cpu(&[&args[..], &["--r", "4"]].concat()), 2, "bad-config", "r: is an adapter's");
    fails_with(&on_cpu(&[&args[..], &["--quantize", "q8_0"]].concat()), 2, "bad-config", "full: ");
    fails_with(&on_cpu(&[&args[..], &["--init-adapter", &fixture("training/adapter_init")]].concat()), 2, "bad-config", "init_adapter");
    let gguf = fixture("models/llama_gguf/model.gguf");
    fails_with(
        &on_cpu(&[&["tune", "--method", "sft", "--model", &gguf, "--data", &rows, "--out", "x", "--full"][..]].concat()),
        2,
        "bad-config",
        "full",
    );
    fs::remove_dir_all(folder).unwrap();
}

/// What a program rewarded is recorded, and replays; a program that fails is told with its row, and what was learned is there.
#[test]
#[cfg(unix)]
fn tune_grpo_asks_a_program_and_replays_what_was_recorded() {
    let folder = temp("grpo");
    let at = |name: &str| folder.join(name).display().to_string();
    let (model, prompts, rollouts, kept) = (fixture("models/llama"), at("prompts.jsonl"), at("rollouts.jsonl"), at("kept"));
    let rows: Vec<String> = (0..4).map(|i| json!({"prompt_ids": [3 + i, 7, 20 + i], "wanted": i}).to_string()).collect();
    fs::write(&prompts, rows.join("\n")).unwrap();
    let own = ["--num-generations", "4", "--max-completion-length", "6", "--max-steps", "4", "--r", "4", "--no-shuffle"];
    let args = |data: &str, out: &str, more: &[&str]| -> Vec<String> {
        let (data, out) = (data.to_string(), at(out));
        let first = ["tune", "--method", "grpo", "--model", &model, "--data", &data, "--out", &out];
        first.iter().chain(&own).chain(more).map(|s| s.to_string()).collect()
    };
    let run = |args: &[String]| ok(&[&args.iter().map(String::as_str).collect::<Vec<_>>()[..], &["--json"]].concat());
    let judge = "while read -r line; do echo '[0, 1, 0.5, 0.25, 1, 0, 0, 2]'; done";
    let lines = |out: &str| out.lines().map(parse).filter(|l| l["event"] == "step").collect::<Vec<Value>>();
    let sampled = lines(&run(&args(&prompts, "a", &["--reward-command", judge, "--rollouts", &rollouts, "--keep-rounds", &kept])));
    assert_eq!(sampled.len(), 4);
    assert!(sampled.iter().all(|l| l["reward"] == 0.59375 && l["rewards/command/mean"] == 0.59375), "{sampled:?}");
    assert!((0..4).all(|n| folder.join(format!("kept/round-{n}/adapter_model.safetensors")).is_file()));
    let recorded: Vec<Value> = fs::read_to_string(&rollouts).unwrap().lines().map(parse).collect();
    assert_eq!((recorded.len(), &recorded[0]["rewards"]), (8, &json!([0.0, 1.0, 0.5, 0.25])));
    let replayed = lines(&run(&args(&rollouts, "b", &[])));
    for (a, b) in sampled.iter().zip(&replayed) {
        assert!(a["loss"] == b["loss"] && a["grad_norm"] == b["grad_norm"] && a["kl/base"] == b["kl/base"], "{a} {b}");
    }
    // The second time it answers too little.
    let tired = "read -r line; echo '[0, 1, 0.5, 0.25, 1, 0, 0, 2]'; read -r line; echo '[1]'";
    let failing = args(&prompts, "c", &["--reward-command", tired]);
    let fails = |args: &[String]| on_cpu(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let out = fails(&failing);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(3) && said.contains("error[bad-reward]") && said.contains("gave 1 numbers for 8"), "{said}");
    assert!(["adapter_model.safetensors", "checkpoint.safetensors"].iter().all(|f| folder.join("c").join(f).is_file()));
    for (more, code, said) in [
        (vec!["--reward-command", "sleep 9", "--reward-timeout", "0.3"], "bad-reward", "no answer within 0.3 s"),
        (vec!["--reward-command", "exit 7"], "bad-reward", "ended without an answer"),
        (vec!["--reward-command", "read -r l; echo '{\"error\": \"no\", \"index\": 5}'"], "bad-reward", "row 1: no"),
        (vec!["--reward", "lenght:max=3"], "bad-config", "is not a rule"),
        (vec![], "bad-config", "reward: is missing"),
    ] {
        let out = fails(&args(&prompts, "d", &more));
        fails_with(&out, if code == "bad-config" { 2 } else { 3 }, code, said);
    }
}
