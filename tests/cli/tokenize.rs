//! `fledgling tokenize`: what it prints, and what it refuses.
use std::fs;

use serde_json::{Value, json};

use super::{fails_with, fixture, gguf, ok, on_cpu, parse, run, temp};

/// A tokenizer.json of four characters and a merge, with a bos token around each text.
fn tokenizer_json() -> Value {
    json!({
        "added_tokens": [{"id": 5, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Isolated", "invert": false},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [5], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, " ": 2, "é": 3, "ab": 4}, "merges": [["a", "b"]]},
    })
}

#[test]
fn tokenize_prints_ids_tokens_and_offsets() {
    let folder = temp("tokenize");
    let file = folder.join("tokenizer.json");
    fs::write(&file, tokenizer_json().to_string()).unwrap();
    let file = file.display().to_string();
    let shown = ok(&["tokenize", "--tokenizer", &file, "--text", "ab e\u{301}", "--text", "", "--json"]);
    let lines: Vec<Value> = shown.lines().map(parse).collect();
    let wanted = json!({
        "text": "ab e\u{301}", "ids": [5, 4, 2, 3], "tokens": ["<s>", "ab", " ", "é"], "offsets": [[0, 0], [0, 2], [2, 3], [3, 4]],
        "type_ids": [0, 0, 0, 0], "decoded": "<s>ab é",
    });
    assert_eq!(lines[0], wanted);
    assert_eq!(lines[1], json!({"text": "", "ids": [5], "tokens": ["<s>"], "offsets": [[0, 0]], "type_ids": [0], "decoded": "<s>"}));
    // A file that says nothing of pairs.
    let pair = ["tokenize", "--tokenizer", &file, "--text", "a", "--text-pair", "b", "--json"];
    fails_with(&run(&pair), 2, "bad-config", "text_pair");
    // The folder is the same, and nothing else of it is read.
    let folder_text = folder.display().to_string();
    let bare = ["--add-special-tokens", "false", "--json"];
    for from in [["--tokenizer", &folder_text], ["--model", &folder_text]] {
        let line = parse(&ok(&[&["tokenize"], &from[..], &["--text", "ab<s>"], &bare].concat()));
        assert_eq!(line["ids"], json!([4, 5]));
    }
    let skipped = parse(&ok(&["tokenize", "--tokenizer", &file, "--text", "ab", "--skip-special-tokens", "true", "--json"]));
    assert_eq!((&skipped["ids"], &skipped["decoded"]), (&json!([5, 4]), &json!("ab")));
    // Ids back to a text, with commas or spaces.
    for ids in ["4,2,0", "4 2  0"] {
        let line = parse(&ok(&["tokenize", "--tokenizer", &file, "--decode", ids, "--json"]));
        assert_eq!(line, json!({"ids": [4, 2, 0], "tokens": ["ab", " ", "a"], "decoded": "ab a"}));
    }
    let table = ok(&["tokenize", "--tokenizer", &file, "--text", "ab"]);
    assert!(table.starts_with("\"ab\": 2 tokens\n") && table.contains("0..2") && table.ends_with("decoded: \"<s>ab\"\n"), "{table}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn tokenize_reads_rows_and_models() {
    let folder = temp("tokenize-rows");
    let rows = folder.join("texts.jsonl");
    let path = rows.display().to_string();
    fs::write(&rows, "\u{feff}{\"text\": \"the\"}\n\n\"H\"\n").unwrap();
    let lines: Vec<Value> = ok(&["tokenize", "--model", &gguf(), "--data", &path, "--json"]).lines().map(parse).collect();
    assert_eq!(lines.iter().map(|l| l["ids"].clone()).collect::<Vec<_>>(), [json!([86, 74, 71]), json!([42])]);
    for (text, line) in [
        ("{\"text\": 3}\n", "line 1 of"),
        ("\"a\"\n\n[1]\n", "line 3 of"),
        ("\"a\"\n{\"txt\": \"b\"}\n", "line 2 of"),
        ("{\"text\"", "not JSON"),
    ] {
        fs::write(&rows, text).unwrap();
        fails_with(&run(&["tokenize", "--model", &gguf(), "--data", &path]), 3, "bad-row", line);
    }
    fs::write(&rows, "\n").unwrap();
    fails_with(&run(&["tokenize", "--model", &gguf(), "--data", &path]), 3, "empty-dataset", "texts.jsonl");
    fails_with(&run(&["tokenize", "--model", &gguf(), "--decode", "1,x"]), 2, "bad-config", "\"x\"");
    fails_with(&run(&["tokenize", "--model", &gguf(), "--decode", "100000"]), 2, "bad-config", "100000");
    fails_with(&run(&["tokenize", "--model", "nowhere.gguf", "--text", "a"]), 3, "io", "nowhere.gguf");
    // A folder with one GGUF; one without a tokenizer, a file that is none.
    let alone = folder.join("alone");
    fs::create_dir_all(&alone).unwrap();
    fs::copy(gguf(), alone.join("m.gguf")).unwrap();
    assert_eq!(parse(&ok(&["tokenize", "--model", &alone.display().to_string(), "--text", "H", "--json"]))["ids"], json!([42]));
    fails_with(&run(&["tokenize", "--model", &fixture("models/qwen3"), "--text", "a"]), 3, "bad-file", "tokenizer.json");
    let broken = folder.join("tokenizer.json");
    fs::write(&broken, "{\"model\": {\"type\": \"Unigram\"}}").unwrap();
    fails_with(&run(&["tokenize", "--tokenizer", &broken.display().to_string(), "--text", "a"]), 3, "bad-file", "Unigram");
    // Something to tokenize, and one tokenizer.
    for args in
        [&["tokenize", "--model", "x"][..], &["tokenize", "--text", "x"], &["tokenize", "--model", "x", "--tokenizer", "y", "--text", "z"]]
    {
        assert_eq!(on_cpu(args).status.code(), Some(2), "{args:?}");
    }
    fs::remove_dir_all(folder).unwrap();
}
