//! The parsers, one target each: what it is fed with, and how much memory it may take for it.

use std::fs;
use std::path::Path;
use std::rc::Rc;

use fledgling::adapters::LoadedModel;
use fledgling::cpu::{Cpu, CpuOptions};
use fledgling::data::{Row, RowFile, RowKind};
use fledgling::formats::gguf::{Parts, part_names};
use fledgling::formats::peft::{LoraAdapter, LoraConfig, PeftAdapter, PeftConfig};
use fledgling::formats::{Container, Event, ShardIndex, StreamReader};
use fledgling::graph::Exec;
use fledgling::models::{Config, LoadOptions, check_packing, check_weights, gguf_tokenizer};
use fledgling::tokenizer::{ChatTemplate, Tokenizer};
use fledgling::tune::methods::METHODS;
use fledgling::tune::{Checkpoint, Training, check_config};
use serde_json::{Map, Value, json};

use crate::mutate::Kind;

/// One parser.
pub struct Target {
    pub name: &'static str,
    pub kind: Kind,
    /// Bytes of memory for each byte of a file. Two where a file is read as it stands; values of JSON take more room than their text.
    pub factor: usize,
    /// And so many whatever the file: tables that do not grow with it.
    pub slack: usize,
    pub seeds: fn() -> Vec<Vec<u8>>,
    pub run: fn(&[u8]),
}

/// Bytes that are taken whatever a file says.
const KIB: usize = 1 << 10;
/// `[[]]` is four bytes, a list of at least four values, and a text that says so.
const JSON: usize = 160;

pub const TARGETS: &[Target] = &[
    Target { name: "gguf", kind: Kind::Bytes, factor: 2, slack: 256 * KIB, seeds: ggufs, run: gguf },
    Target { name: "gguf-model", kind: Kind::Bytes, factor: 32, slack: 4096 * KIB, seeds: ggufs, run: gguf_model },
    Target { name: "safetensors", kind: Kind::Framed, factor: JSON, slack: 256 * KIB, seeds: safetensors, run: container },
    Target { name: "config", kind: Kind::Json, factor: JSON, slack: 4096 * KIB, seeds: configs, run: config },
    Target { name: "tokenizer", kind: Kind::Json, factor: JSON, slack: 4096 * KIB, seeds: tokenizers, run: tokenizer },
    Target { name: "tokenizer-config", kind: Kind::Json, factor: JSON, slack: 4096 * KIB, seeds: tokenizer_configs, run: tokenizer_config },
    Target { name: "sentencepiece", kind: Kind::Bytes, factor: JSON, slack: 4096 * KIB, seeds: sentencepieces, run: sentencepiece },
    Target { name: "template", kind: Kind::Text, factor: 1024, slack: 64 << 20, seeds: templates, run: template },
    Target { name: "adapter-config", kind: Kind::Json, factor: JSON, slack: 4096 * KIB, seeds: adapter_configs, run: adapter_config },
    Target { name: "adapter", kind: Kind::Framed, factor: JSON, slack: 256 * KIB, seeds: adapters, run: adapter },
    Target { name: "jsonl", kind: Kind::Json, factor: JSON, slack: 256 * KIB, seeds: rows, run: jsonl },
    Target { name: "index", kind: Kind::Json, factor: JSON, slack: 256 * KIB, seeds: indices, run: index },
    Target { name: "checkpoint", kind: Kind::Framed, factor: JSON, slack: 16 << 20, seeds: checkpoints, run: checkpoint },
    Target { name: "training", kind: Kind::Json, factor: JSON, slack: 1024 * KIB, seeds: trainings, run: training },
];

fn fixture(path: &str) -> Vec<u8> {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    fs::read(&at).unwrap_or_else(|e| panic!("{}: {e}", at.display()))
}

fn json_fixture(path: &str) -> Value {
    serde_json::from_slice(&fixture(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A fixture's files, one each.
fn folder(path: &str, file: &str) -> Vec<Vec<u8>> {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path);
    let mut found: Vec<_> = fs::read_dir(&at).expect("a folder").flatten().map(|e| e.path().join(file)).filter(|f| f.exists()).collect();
    found.sort();
    found.iter().map(|f| fs::read(f).expect("a file")).collect()
}

/// The beginning of a text: mutations of a long one are slow and hit nothing.
fn cut(mut bytes: Vec<u8>, most: usize) -> Vec<u8> {
    bytes.truncate(most);
    bytes
}

fn ggufs() -> Vec<Vec<u8>> {
    let whole = fixture("models/llama_gguf/model.gguf");
    vec![cut(whole.clone(), 4096), whole]
}

/// In pieces, as it comes from a network, and as a whole.
fn container(bytes: &[u8]) {
    let whole = Container::parse("file", bytes);
    let piece = 1 + bytes.first().map_or(0, |b| usize::from(*b)) * 7;
    let mut reader = StreamReader::new("file", None);
    let mut read = Ok(());
    for part in bytes.chunks(piece) {
        read = reader.push(part, &mut |e| {
            if let Event::Chunk { bytes, .. } = e {
                assert!(bytes.len() <= 2 << 20, "more than a piece is held back");
            }
            Ok(())
        });
        if read.is_err() {
            break;
        }
    }
    let streamed = read.and_then(|()| reader.finish());
    // What the whole file is refused for, its pieces are, too.
    assert!(whole.is_ok() || streamed.is_err(), "{:?} as a whole only", whole.err());
}

fn gguf(bytes: &[u8]) {
    container(bytes);
}

/// What loading reads of a header.
fn gguf_model(bytes: &[u8]) {
    let Ok(c) = Container::parse("file.gguf", bytes) else { return };
    if c.split.is_some() {
        let mut parts = Parts::default();
        let _ = parts.add(c.clone()).and_then(|()| parts.whole().map(|_| ()));
    }
    if let Ok(config) = Config::from_gguf(&c) {
        let _ = check_weights(&[&c], &config, false);
    }
    if let Ok(Some(t)) = gguf_tokenizer(&c) {
        let _ = t.decode(&t.encode("Hello, <s>wörld</s> 12 "), true);
    }
}

fn safetensors() -> Vec<Vec<u8>> {
    let mut all = vec![fixture("training/adapters/default/adapter_model.safetensors")];
    all.push(fixture("models/llama/model.safetensors"));
    all
}

fn configs() -> Vec<Vec<u8>> {
    folder("models", "config.json")
}

fn config(bytes: &[u8]) {
    let Ok(text) = fledgling::text::from_bytes("config.json", bytes.to_vec()) else { return };
    if let Ok(mut config) = Config::from_json("config.json", &text) {
        let _ = config.add_generation_config("generation_config.json", &text);
        let c = Container::parse("m", b"\x02\0\0\0\0\0\0\0{}").expect("an empty file");
        let _ = check_packing(&[&c], Some(&text));
        let _ = check_weights(&[&c], &config, true);
    }
}

fn tokenizers() -> Vec<Vec<u8>> {
    let tiny = json_fixture("tokenizer/tiny.json");
    let shapes = json_fixture("tokenizer/shapes.json");
    let mut found = Vec::new();
    // Whatever in the fixtures is a tokenizer.json.
    fn look(v: &Value, found: &mut Vec<Vec<u8>>) {
        match v {
            Value::Object(map) if map.contains_key("model") && (map.contains_key("pre_tokenizer") || map.contains_key("decoder")) => {
                found.push(v.to_string().into_bytes());
            }
            Value::Object(map) => map.values().for_each(|v| look(v, found)),
            Value::Array(list) => list.iter().for_each(|v| look(v, found)),
            _ => {}
        }
    }
    look(&tiny, &mut found);
    look(&shapes, &mut found);
    found.truncate(40);
    found.push(small_tokenizer().to_string().into_bytes());
    found.extend(encoders().iter().map(|v| v.to_string().into_bytes()));
    found
}

/// The models of encoders and encoder-decoders, with the steps that go with them.
fn encoders() -> [Value; 2] {
    let part = |id: &str| json!({"Sequence": {"id": id, "type_id": u32::from(id == "B")}});
    let post = json!({
        "type": "TemplateProcessing", "single": [part("A"), {"SpecialToken": {"id": "<s>", "type_id": 0}}], "pair": [part("A"), part("B")],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    });
    // A trie of one unit that leads nowhere, and of one that leads to a text.
    let map = "DAAAAAAEAAAAAAAAAAAAgGEA";
    let piece = |text: &str, score: f64| json!([text, score]);
    [
        json!({
            "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "BertPreTokenizer"}, {"type": "UnicodeScripts"}]},
            "post_processor": post, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
            "model": {"type": "WordPiece", "unk_token": "?", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                "vocab": {"?": 0, "<s>": 1, "a": 2, "##b": 3, "hello": 4, "##e": 5, "##ab": 6}},
        }),
        json!({
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": map}, {"type": "Nmt"}]},
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
            "post_processor": post, "decoder": {"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": true},
            "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": true,
                "vocab": [piece("?", 0.0), piece("<s>", 0.0), piece("▁a", -1.5), piece("b", -2.0), piece("Hel", -3.25), piece("<0x6C>", 0.0)]},
        }),
    ]
}

fn sentencepieces() -> Vec<Vec<u8>> {
    let field = |key: u8, value: &[u8]| [&[key, value.len() as u8][..], value].concat();
    let piece = |text: &str, score: f32, kind: u8| {
        field(0x0a, &[field(0x0a, text.as_bytes()), [&[0x15][..], &score.to_le_bytes(), &[0x18, kind]].concat()].concat())
    };
    let pieces = [
        piece("<unk>", 0.0, 2),
        piece("<s>", 0.0, 3),
        piece("</s>", 0.0, 3),
        piece("▁a", -1.0, 1),
        piece("b", -2.0, 1),
        piece("<0x41>", 0.0, 6),
    ];
    let normalizer = field(0x1a, &[0x18, 1, 0x20, 1]);
    [1, 2].map(|kind| [pieces.concat(), field(0x12, &[0x18, kind, 0x98, 2, 1]), normalizer.clone()].concat()).to_vec()
}

fn sentencepiece(bytes: &[u8]) {
    for class in ["", "T5Tokenizer", "XLMRobertaTokenizer"] {
        let config = json!({"tokenizer_class": class, "extra_ids": 2}).to_string();
        if let Ok(t) = Tokenizer::from_sentencepiece("spiece.model", bytes, Some(&config)) {
            let _ = t.decode(&t.encode("ab <s>Hello wörld </s>"), false);
        }
    }
    let _ = Tokenizer::from_marian("source.spm", bytes, r#"{"<unk>": 0, "</s>": 1, "b": 2}"#);
}

fn small_tokenizer() -> Value {
    json!({
        "added_tokens": [{"id": 5, "content": "<s>", "single_word": false, "lstrip": true, "rstrip": false, "normalized": false, "special": true}],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": "b+"}, "content": "b"}]},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\s+|\\p{L}{1,3}(?!x)"}, "behavior": "Isolated", "invert": false},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [5], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, " ": 2, "é": 3, "ab": 4}, "merges": [["a", "b"]], "unk_token": "a", "byte_fallback": true},
    })
}

fn tokenizer(bytes: &[u8]) {
    let Ok(text) = fledgling::text::from_bytes("tokenizer.json", bytes.to_vec()) else { return };
    if let Ok(t) = Tokenizer::from_json("tokenizer.json", &text, None) {
        let text = "ab <s>Hello wörld e\u{301} 123  \n";
        let _ = t.encode_pair(text, "中文 a", true);
        let e = t.encode_with_offsets(text, true);
        let _ = t.decode(&e.ids, false);
    }
}

fn tokenizer_configs() -> Vec<Vec<u8>> {
    vec![
        json!({"bos_token": "<s>", "eos_token": {"content": "ab"}, "add_bos_token": true, "chat_template": "{{ messages[0].content }}",
            "added_tokens_decoder": {"7": {"content": "<x>", "special": true}}, "additional_special_tokens": ["<x>"]})
        .to_string()
        .into_bytes(),
        json!({"chat_template": [{"name": "default", "template": "{% for m in messages %}{{ m.content }}{% endfor %}"}]})
            .to_string()
            .into_bytes(),
    ]
}

fn tokenizer_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(t) = Tokenizer::from_json("tokenizer.json", &small_tokenizer().to_string(), Some(text)) {
        let _ = t.encode("ab<s> <x>");
        let _ = t.render_chat(&[json!({"role": "user", "content": "a"})], true);
    }
}

fn templates() -> Vec<Vec<u8>> {
    fn look(v: &Value, found: &mut Vec<Vec<u8>>) {
        match v {
            Value::String(s) if s.contains("{%") || s.contains("{{") => found.push(s.clone().into_bytes()),
            Value::Object(map) => map.values().for_each(|v| look(v, found)),
            Value::Array(list) => list.iter().for_each(|v| look(v, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    look(&json_fixture("tokenizer/templates.json"), &mut found);
    // More columns than 16 bits can count.
    found.push(format!("{{{{ '{}' }}}}", "range(9)".repeat(9000)).into_bytes());
    found
}

fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(t) = ChatTemplate::new(text, Some("<s>"), Some("</s>")) else { return };
    let messages = [
        json!({"role": "system", "content": "be"}),
        json!({"role": "user", "content": "hi"}),
        json!({"role": "assistant", "content": "ho"}),
    ];
    let _ = t.render(&messages, true, &Map::new());
}

fn adapter_configs() -> Vec<Vec<u8>> {
    let all = [
        "training/adapters/default",
        "training/adapters/rslora",
        "training/adapters/head",
        "training/adapters/subset",
        "peft/prefix_tuning",
    ];
    let found = all.iter().map(|n| format!("{n}/adapter_config.json"));
    found.filter(|f| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(f).exists()).map(|f| fixture(&f)).collect()
}

fn adapter_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(config) = PeftConfig::parse("adapter_config.json", text) {
        let _ = config.to_json();
    }
    let Ok(config) = LoraConfig::parse("adapter_config.json", text) else { return };
    let modules: Vec<String> = (0..40).flat_map(|i| ["q_proj", "v_proj"].map(|m| format!("model.layers.{i}.self_attn.{m}"))).collect();
    let _ = config.targets(modules.iter().map(String::as_str), Some("lm_head"));
    let _ = config.to_json();
}

fn adapters() -> Vec<Vec<u8>> {
    vec![fixture("training/adapters/default/adapter_model.safetensors"), fixture("peft/p_tuning_mlp/adapter_model.safetensors")]
}

fn adapter(bytes: &[u8]) {
    let config = include_str!("../fixtures/training/adapters/default/adapter_config.json");
    if let Ok(a) = LoraAdapter::read(config, bytes) {
        let _ = a.check(|_| Some((32, 32)));
    }
    let _ = PeftAdapter::read(include_str!("../fixtures/peft/p_tuning_mlp/adapter_config.json"), bytes);
}

fn rows() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = ["sft", "dpo", "kto", "orpo"]
        .iter()
        .filter_map(|n| {
            let curve = json_fixture(&format!("training/{n}.json"));
            Some(curve["rows"].as_array()?.iter().take(6).map(Value::to_string).collect::<Vec<_>>().join("\n").into_bytes())
        })
        .collect();
    for text in [
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]}\n{\"text\": \"t\"}",
        "[{\"prompt\": \"a\", \"completion\": \"b\"}, {\"prompt\": \"c\", \"completion\": \"d\"}]",
        "{\"prompt\": \"a\", \"answers\": [\"b\", \"c\", \"d\"], \"ranks\": [1, 2, 2]}\n{\"prompt\": \"a\", \"completion\": \"b\", \"label\": true}",
        "{\"chosen_ids\": [1, 2], \"rejected_ids\": [1, 3], \"margin\": 0.5}\n{\"ids\": [[1], [2, 3]], \"ranks\": [2, 1]}",
    ] {
        all.push(text.as_bytes().to_vec());
    }
    all.push(b"prompt,completion,label\r\n\"a, \"\"b\"\"\nc\",d,true\r\ne,,0\r\n\"\",f,1\n".to_vec());
    all
}

fn jsonl(bytes: &[u8]) {
    let Ok(text) = fledgling::text::from_bytes("rows.jsonl", bytes.to_vec()) else { return };
    // Whatever it is, it may also be called a table.
    ["rows.jsonl", "rows.csv", "rows.tsv"].iter().for_each(|name| rows_of(name, &text));
}

fn rows_of(name: &str, text: &str) {
    let Ok(file) = RowFile::parse(name, text) else { return };
    for (i, row) in file.rows().iter().enumerate() {
        for kind in [RowKind::Sft, RowKind::Preference, RowKind::Unpaired, RowKind::Reward] {
            if let Err(fault) = Row::read(row, kind.taught_by()) {
                let said = file.place(fault.of_row(i)).to_string();
                assert!(said.len() < 20_000, "a message of {} bytes", said.len());
            }
        }
    }
}

fn indices() -> Vec<Vec<u8>> {
    vec![br#"{"metadata":{"total_size":10},"weight_map":{"a":"m-00001-of-00002.safetensors","b":"m-00002-of-00002.safetensors"}}"#.to_vec()]
}

fn index(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(index) = ShardIndex::parse("index", text) {
        index.files().iter().for_each(|f| _ = part_names(f));
    }
    let _ = part_names(text);
}

thread_local! {
    /// A tiny model on the processor, which checkpoints are restored into.
    static MODEL: Rc<LoadedModel> = {
        let exec = Exec::Cpu(Cpu::new(CpuOptions { threads: Some(1) }));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/llama_gguf/model.gguf");
        let loaded = pollster::block_on(LoadedModel::load(&exec, path, LoadOptions::default(), &mut |_, _| ()));
        Rc::new(loaded.expect("a fixture"))
    };
}

fn resumed(checkpoint: Option<&[u8]>) -> fledgling::Result<Training> {
    let rows: Vec<Value> = (0..4).map(|i| json!({"input_ids": [5, 6, 7 + i]})).collect();
    let config = json!({"max_steps": 4, "r": 2, "target_modules": ["q_proj"]});
    MODEL.with(|model| pollster::block_on(Training::new(model, "sft", &config, &rows, checkpoint)))
}

fn checkpoints() -> Vec<Vec<u8>> {
    let mut training = resumed(None).expect("a training");
    pollster::block_on(async {
        training.submit().await.expect("an update");
        training.report(true).await.expect("its report");
        vec![training.checkpoint().await.expect("a checkpoint")]
    })
}

fn checkpoint(bytes: &[u8]) {
    if let Ok(c) = Checkpoint::parse(bytes) {
        let _ = c.has_reference();
        let _ = resumed(Some(bytes));
        MODEL.with(|model| model.adapters.remove("default"));
    }
}

fn trainings() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = ["sft", "dpo", "kto", "orpo"]
        .iter()
        .map(|n| json_fixture(&format!("training/{n}.json"))["config"].to_string().into_bytes())
        .collect();
    all.push(
        json!({"learning_rate": 1e-4, "lr_scheduler_type": "cosine", "warmup_steps": 3, "max_length": 64,
            "peft_config": {"r": 4, "target_modules": "all-linear"},
            "beta": 0.1, "gradient_accumulation_steps": 2, "loss_type": ["sigmoid"], "seed": 1})
        .to_string()
        .into_bytes(),
    );
    // Each of them is told, with what may have been meant, but not without end.
    all.push(json!((0..300).map(|i| (format!("learning_rate{i}"), json!(1))).collect::<Map<_, _>>()).to_string().into_bytes());
    all
}

fn training(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    for method in METHODS {
        if let Err(e) = check_config(method.name, &value) {
            assert!(e.to_string().len() < 20_000, "a message of {} bytes", e.to_string().len());
        }
    }
}
