//! How the command line talks: standard input, a conversation, JSON of errors, values out of range, completions, being interrupted.

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use super::{command, fails_with, fixture, gguf, ok, on_cpu, parse, run, temp, text};

/// A run that is written to.
fn fed(args: &[&str], input: &str) -> Output {
    let mut c = command(&[args, &["--device", "cpu", "--threads", "1"]].concat());
    let mut child = c.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("read");
    child.wait_with_output().expect("ends")
}

#[test]
fn a_conversation() {
    let model = gguf();
    let args = ["chat", "--model", &model, "-n", "4"];
    let said = fed(&args, "ab\n\n/reset\nab\n/adapter\n/nonsense\n/exit\nnever read\n");
    assert!(said.status.success(), "{}", text(&said.stderr));
    let (out, err) = (text(&said.stdout), text(&said.stderr));
    let answer = parse(&ok(&["generate", "-m", &model, "-p", "ab", "-n", "4", "--chat", "--json"]))["text"].as_str().unwrap().to_string();
    // Begun anew, the same turn has the same answer.
    assert_eq!(out.matches(answer.trim()).count().min(2), 2, "{answer:?} in {out}");
    assert!(out.contains("* none") && err.contains("/nonsense is not known") && err.contains("/reset"), "{out}{err}");
    // A second turn knows the first, adapters are chosen by name.
    let folder = fixture("training/adapters/default");
    let with =
        fed(&[&args[..], &["--adapter", &folder, "--system", "be"]].concat(), "ab\ncd\n/adapter none\n/adapter default\n/system\nab");
    assert!(with.status.success(), "{}", text(&with.stderr));
    assert!(text(&with.stdout).contains("* default\n  none") && text(&with.stdout).contains("  default\n* none"), "{}", text(&with.stdout));
    // Longer than the context: an error, as everywhere.
    let long = fed(&args, &"a".repeat(300));
    assert_eq!(long.status.code(), Some(3));
    assert!(text(&long.stderr).contains("context-overflow"), "{}", text(&long.stderr));
    fails_with(&fed(&["chat", "--model", &fixture("models/llama")], "a\n"), 2, "bad-config", "tokenizer");
}

#[test]
fn standard_input_is_a_file() {
    let model = gguf();
    let ids = |out: &[u8]| parse(&text(out))["prompt_ids"].clone();
    let args = ["generate", "--model", &model, "--max-new-tokens", "1", "--json", "--prompt"];
    let want = ids(&on_cpu(&[&args[..], &["ab c"]].concat()).stdout);
    for input in ["ab c", "ab c\n", "ab c\r\n", "\u{feff}ab c\n"] {
        assert_eq!(ids(&fed(&[&args[..], &["-"]].concat(), input).stdout), want, "{input:?}");
    }
    let rows = fed(&["tokenize", "--model", &model, "--data", "-", "--json"], "\"H\"\n{\"text\": \"the\"}\n");
    assert_eq!(text(&rows.stdout).lines().count(), 2);
    let folder = temp("stdin");
    let out = folder.join("out").display().to_string();
    let args = ["tune", "--method", "sft", "--model", &model, "--data", "-", "--out", &out, "--max-steps", "1", "--json"];
    let tuned = fed(&args, "{\"input_ids\": [5, 6, 7]}\n");
    assert!(tuned.status.success(), "{}", text(&tuned.stderr));
    let wrong = fed(&args, "{\"input_ids\": [5, 6, 7]}\n{\"input_ids\": 5}\n");
    assert!(text(&wrong.stderr).contains("line 2"), "{}", text(&wrong.stderr));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_of_prompts_is_answered_line_by_line() {
    let (model, folder) = (gguf(), temp("prompts"));
    let file = folder.join("prompts.jsonl");
    let rows = ["{\"prompt\": \"ab\", \"id\": 7}", "{\"prompt_ids\": [5, 6]}", "{\"prompt\": [{\"role\": \"user\", \"content\": \"ab\"}]}"];
    fs::write(&file, rows.join("\n")).unwrap();
    let data = file.display().to_string();
    let how = ["--n", "2", "--temperature", "1", "--max-new-tokens", "3"];
    let said = ok(&[&["generate", "--model", &model, "--data", &data, "--seed", "4"], &how[..]].concat());
    let lines: Vec<Value> = said.lines().map(parse).collect();
    assert_eq!((lines.len(), &lines[0]["id"]), (3, &json!(7)));
    // Row i is what the prompt alone gives with the seed that is i further.
    let alone = parse(&ok(&[&["generate", "--model", &model, "--prompt-ids", "5,6", "--seed", "5", "--json"], &how[..]].concat()));
    assert_eq!(lines[1]["candidates"], alone["candidates"]);
    let chat = parse(&ok(&[&["generate", "--model", &model, "--prompt", "ab", "--chat", "--seed", "6", "--json"], &how[..]].concat()));
    assert_eq!(lines[2]["candidates"], chat["candidates"]);
    for (row, part) in [
        ("{\"prompt\": 5}", "prompt"),
        ("{\"prompt_ids\": [-1]}", "prompt_ids"),
        ("{\"prompt_ids\": [9999]}", "vocabulary"),
        ("{}", "prompt"),
    ] {
        fs::write(&file, format!("{}\n{row}", rows[0])).unwrap();
        let out = on_cpu(&["generate", "--model", &model, "--data", &data]);
        fails_with(&out, 3, "bad-row", "line 2");
        assert!(text(&out.stderr).contains(part), "{}", text(&out.stderr));
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn errors_are_json_where_json_is_asked_for() {
    let model = gguf();
    let record = |out: &Output| parse(text(&out.stdout).lines().last().expect("a record"));
    let args = ["generate", "--model", &model, "--prompt-ids", "5", "--json"];
    let out = on_cpu(&[&args[..], &["--temperature", "-1"]].concat());
    assert_eq!(out.status.code(), Some(2));
    let message = "temperature: is -1, expected 0 or more";
    assert_eq!(record(&out), json!({"event": "error", "error": {"code": "bad-config", "message": message, "status": 2}}));
    assert!(text(&out.stderr).contains(message));
    let out = run(&["inspect", "/nonexistent", "--json"]);
    assert_eq!((record(&out)["error"]["code"].as_str(), out.status.code()), (Some("io"), Some(3)));
    // Usage is an error, too.
    let out = run(&["generate", "--model", &model, "--prompt-ids", "5", "--json", "--frobnicate"]);
    assert_eq!((record(&out)["error"]["code"].as_str(), out.status.code()), (Some("usage"), Some(2)));
}

/// Values, not options that are not known.
#[test]
fn values_out_of_range_are_told_as_values() {
    let model = gguf();
    let base = ["generate", "--model", &model, "--prompt-ids", "5"];
    for (option, value, part) in [
        ("--seed", "-1", "0..=4294967295"),
        ("--seed", "4294967296", "0..=4294967295"),
        ("--seed", "nan", "invalid"),
        ("--top-k", "-3", "-3"),
        ("--temperature", "-1", "0 or more"),
        ("--temperature", "nan", "NaN"),
        ("--top-p", "-0.5", "above 0"),
    ] {
        let out = on_cpu(&[&base[..], &[option, value]].concat());
        let err = text(&out.stderr);
        assert!(out.status.code() == Some(2) && err.contains(part) && !err.contains("unexpected argument"), "{option} {value}: {err}");
    }
    ok(&[&base[..], &["--seed", "4294967295", "--max-new-tokens", "1"]].concat());
}

#[test]
fn shells_complete() {
    for (shell, part) in [("bash", "_fledgling()"), ("zsh", "#compdef fledgling"), ("fish", "complete -c fledgling")] {
        let script = text(&run(&["completions", shell]).stdout);
        assert!(script.contains(part) && script.contains("quantize"), "{shell}");
    }
}

/// What a shell starts in the background has Ctrl-C ignored, and a program leaves it so: the tests may be running there.
#[cfg(unix)]
fn watching_ctrl_c(mut command: std::process::Command) -> std::process::Command {
    use std::os::unix::process::CommandExt;
    // SAFETY: signal may be called between fork and exec (POSIX: async-signal-safe).
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            Ok(())
        });
    }
    command
}

/// Ctrl-C: the update is finished, what was learned is saved, and what to type to go on is said. The two halves are the whole.
#[cfg(unix)]
#[test]
fn interrupted_training_goes_on() {
    let folder = temp("interrupt");
    let rows = folder.join("rows.jsonl");
    let lines: Vec<String> = (0..16).map(|i| json!({"input_ids": [5, 6, 7 + i, 8, 9]}).to_string()).collect();
    fs::write(&rows, lines.join("\n")).unwrap();
    let (rows, out) = (rows.display().to_string(), folder.join("out").display().to_string());
    let (model, steps) = (gguf(), "4000");
    let args = [
        "tune",
        "--method",
        "sft",
        "--model",
        &model,
        "--data",
        &rows,
        "--out",
        &out,
        "--max-steps",
        steps,
        "--json",
        "--device",
        "cpu",
        "--lr-scheduler-type",
        "constant",
    ];
    let mut child = watching_ctrl_c(command(&args)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    // After its first updates.
    let mut first = String::new();
    let mut reader = std::io::BufReader::new(child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut reader, &mut first).unwrap();
    assert_eq!(parse(&first)["step"], 1);
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut reader, &mut rest).unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(130), "{}", text(&done.stderr));
    let end: Value = parse(rest.lines().last().unwrap());
    assert_eq!((&end["event"], &end["interrupted"]), (&json!("end"), &json!(true)), "{end}");
    let step = end["step"].as_u64().unwrap();
    assert!((1..4000).contains(&step), "{end}");
    let reported = rest.lines().rev().nth(1).map(|l| parse(l)["step"].as_u64().unwrap());
    assert!(reported.is_none_or(|s| s == step), "every update that was made is reported");
    let err = text(&done.stderr);
    let hint = err.lines().find(|l| l.contains("--resume-from-checkpoint")).expect("how to go on");
    assert!(hint.contains("tune --method sft") && hint.contains("checkpoint.safetensors"), "{err}");
    // As it is said, one update further.
    let checkpoint = folder.join("out/checkpoint.safetensors").display().to_string();
    let mut more = args.to_vec();
    let last = (step + 1).to_string();
    more[10] = &last;
    let went_on = run(&[&more[..], &["--resume-from-checkpoint", &checkpoint]].concat());
    assert!(went_on.status.success(), "{}", text(&went_on.stderr));
    assert_eq!(parse(text(&went_on.stdout).lines().next().unwrap())["step"], step + 1);
    fs::remove_dir_all(folder).unwrap();
}
