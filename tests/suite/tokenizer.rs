//! Text to ids and back against the `tokenizers` package, chat templates against Jinja2 (`tests/oracle/tokenizer.py`).
use std::collections::BTreeMap;

use fledgling::tokenizer::{ChatTemplate, DecodeStream, GgufVocab, StopMatcher, Tokenizer};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

#[derive(Deserialize)]
struct Tiny {
    model: Json,
    tokenizers: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    file: Json,
    #[serde(default)]
    ignore_merges: bool,
    /// Text and ids.
    cases: Vec<(String, Vec<u32>)>,
}

fn tiny() -> Tiny {
    serde_json::from_str(include_str!("../fixtures/tokenizer/tiny.json")).unwrap()
}

/// The `tokenizer.json` of a case, with the model that all share.
fn file_of(tiny: &Tiny, name: &str) -> Json {
    let case = &tiny.tokenizers[name];
    let mut file = case.file.clone();
    file["model"] = tiny.model.clone();
    file["model"]["ignore_merges"] = case.ignore_merges.into();
    file
}

fn load(tiny: &Tiny, name: &str) -> Tokenizer {
    Tokenizer::from_json("tokenizer.json", &file_of(tiny, name).to_string(), None).unwrap()
}

/// The same tokenizer by way of GGUF's keys.
fn from_gguf(tiny: &Tiny, pre: &str) -> Tokenizer {
    let mut tokens: BTreeMap<u64, (&str, i32)> = BTreeMap::new();
    for (text, id) in tiny.model["vocab"].as_object().unwrap() {
        tokens.insert(id.as_u64().unwrap(), (text, 1));
    }
    for a in tiny.tokenizers[pre].file["added_tokens"].as_array().unwrap() {
        let kind = if a["special"] == true { 3 } else { 4 };
        tokens.insert(a["id"].as_u64().unwrap(), (a["content"].as_str().unwrap(), kind));
    }
    let joined = |m: &Json| match m.as_array() {
        Some(pair) => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
        None => m.as_str().unwrap().to_string(),
    };
    let merges: Vec<String> = tiny.model["merges"].as_array().unwrap().iter().map(joined).collect();
    Tokenizer::from_gguf(GgufVocab {
        file: "tiny.gguf",
        model: "gpt2",
        pre: Some(pre),
        tokens: tokens.values().map(|t| t.0).collect(),
        token_types: tokens.values().map(|t| t.1).collect(),
        merges: merges.iter().map(String::as_str).collect(),
        add_bos: Some(false),
        ..GgufVocab::default()
    })
    .unwrap()
}

const PRES: [&str; 4] = ["gpt-2", "smollm", "llama-bpe", "qwen2"];

fl_test! {
    async fn ids_are_those_of_the_tokenizers_package() {
        let tiny = tiny();
        for name in PRES.into_iter().chain(["with_bos"]) {
            let tokenizer = load(&tiny, name);
            assert_eq!(tokenizer.vocab_size(), tiny.model["vocab"].as_object().unwrap().len() + 4);
            for (text, ids) in &tiny.tokenizers[name].cases {
                assert_eq!(&tokenizer.encode(text), ids, "{name}: {text:?}");
            }
        }
        assert_eq!(load(&tiny, "with_bos").bos_token_id(), load(&tiny, "gpt-2").token_id("<|special|>"));
    }

    async fn gguf_and_json_agree() {
        let tiny = tiny();
        for pre in PRES {
            let tokenizer = from_gguf(&tiny, pre);
            // GGUF does not know about white space that belongs to a token, and Llama 3's takes whole pieces first.
            let cases = tiny.tokenizers[pre].cases.iter().filter(|(text, _)| !text.contains("<|strip|>"));
            for (text, ids) in cases.filter(|_| pre != "llama-bpe") {
                assert_eq!(&tokenizer.encode(text), ids, "{pre}: {text:?}");
            }
        }
    }

    async fn decoding_gives_the_text_back() {
        let tiny = tiny();
        for pre in PRES {
            let tokenizer = load(&tiny, pre);
            for (text, ids) in tiny.tokenizers[pre].cases.iter().filter(|(t, _)| !t.contains("<|strip|>")) {
                assert_eq!(&tokenizer.decode(ids, false), text, "{pre}");
                let mut stream = DecodeStream::new(false);
                let mut streamed: String = ids.iter().map(|&id| stream.push(&tokenizer, id)).collect();
                streamed += &stream.finish();
                assert_eq!(&streamed, text, "{pre}");
            }
        }
        let tokenizer = load(&tiny, "gpt-2");
        let special = tokenizer.token_id("<|special|>").unwrap();
        let text = "a<|special|>b<tool_call>";
        assert_eq!(tokenizer.decode(&tokenizer.encode(text), true), "ab<tool_call>");
        assert!(tokenizer.is_special(special) && !tokenizer.is_special(special + 1) && !tokenizer.is_special(u32::MAX));
        assert_eq!(tokenizer.decode(&[u32::MAX, 1 << 20], false), "");
        // Spelled out, a control token's text is only text.
        let plain = tokenizer.encode_plain(text, false);
        assert!(!plain.contains(&special));
        assert_eq!(tokenizer.decode(&plain, false), text);
    }

    async fn a_stream_never_splits_a_character() {
        let tiny = tiny();
        let tokenizer = load(&tiny, "gpt-2");
        let mut stream = DecodeStream::new(true);
        let mut push = |spelled: &str| stream.push(&tokenizer, tokenizer.token_id(spelled).unwrap());
        // The bytes of 😀, as the vocabulary spells them.
        let emoji = ["ð", "Ł", "ĺ", "Ģ"];
        assert_eq!((push(emoji[0]), push(emoji[1]), push(emoji[2])), (String::new(), String::new(), String::new()));
        assert_eq!(push(emoji[3]), "😀");
        // A beginning that no end follows is replaced as soon as that is certain.
        assert_eq!(push(emoji[0]), "");
        assert_eq!(push("x"), "\u{fffd}x");
        assert_eq!(push("ÿ"), "\u{fffd}");
        assert_eq!(push(emoji[0]), "");
        assert_eq!(stream.finish(), "\u{fffd}");
        assert_eq!(stream.finish(), "");
    }

    async fn stop_strings_are_held_back() {
        let run = |stops: &[&str], pieces: &[&str]| {
            let mut m = StopMatcher::new(stops.iter().copied());
            let mut out: Vec<String> = pieces.iter().map(|p| m.push(p)).collect();
            let stopped = m.stopped();
            out.push(m.finish());
            (out.concat(), out, stopped)
        };
        assert_eq!(run(&["END"], &["ab", "cE", "N", "Dxy", "z"]).0, "abc");
        let (text, pieces, stopped) = run(&["END"], &["abE", "Nx", "E"]);
        assert_eq!((text.as_str(), stopped), ("abENxE", false));
        assert_eq!(pieces, ["ab", "ENx", "", "E"]);
        assert_eq!(run(&["\n\n", "User:"], &["hi\n", "U", "ser", ": no"]).0, "hi\n");
        assert_eq!(run(&["aab"], &["a", "a", "a", "b", "c"]).0, "a");
        assert_eq!(run(&["b", "abc"], &["xabc"]).0, "x");
        assert_eq!(run(&["é!"], &["caf", "é", "?", "é", "!"]).0, "café?");
        assert_eq!(run(&["", "x"], &["abc"]).0, "abc");
        assert_eq!(run(&[], &["abc", "d"]).1, ["abc", "d", ""]);
    }

    async fn a_long_word_takes_no_quadratic_time() {
        let tokenizer = load(&tiny(), "gpt-2");
        for text in ["a".repeat(300_000), "ab".repeat(150_000), " ".repeat(300_000)] {
            assert_eq!(tokenizer.decode(&tokenizer.encode(&text), false), text);
        }
    }
}

#[derive(Deserialize)]
struct Templates {
    templates: BTreeMap<String, String>,
    cases: Vec<TemplateCase>,
}

#[derive(Deserialize)]
struct TemplateCase {
    template: String,
    messages: Vec<Json>,
    add_generation_prompt: bool,
    tools: Json,
    text: Option<String>,
    error: Option<String>,
}

fl_test! {
    async fn templates_render_as_in_jinja() {
        let all: Templates = serde_json::from_str(include_str!("../fixtures/tokenizer/templates.json")).unwrap();
        for case in all.cases {
            let template = ChatTemplate::new(&all.templates[&case.template], Some("<s>"), Some("</s>")).unwrap();
            let extra = Map::from_iter([("tools".to_string(), case.tools.clone())]);
            let found = template.render(&case.messages, case.add_generation_prompt, &extra);
            let about = format!("{} {}", case.template, json!(case.messages));
            match (found, case.text, case.error) {
                (Ok(found), Some(text), _) => assert_eq!(found, text, "{about}"),
                (Err(e), None, Some(error)) => {
                    assert_eq!(e.code(), "bad-template");
                    assert!(e.to_string().ends_with(&error), "{e} / {error}: {about}");
                }
                (found, text, error) => panic!("{about}: {found:?}, expected {text:?} or {error:?}"),
            }
        }
    }

    async fn bad_templates_are_typed_errors() {
        for source in ["{% for %}", "{{", "{% unknown %}", "{{ 1 +* 2 }}", "{% endif %}", "{% if x %}"] {
            let e = ChatTemplate::new(source, None, None).unwrap_err();
            assert_eq!(e.code(), "bad-template", "{source}: {e}");
        }
        for deep in ["{{ (", "{{ [", "{{ -", "{% if x %}", "{{ x[", "{{ not ", "{{ x.", "{{ x+", "{% for a in b %}"] {
            let (open, inner) = deep.split_at(2);
            let source = if inner.ends_with('}') { deep.repeat(20_000) } else { format!("{open}{}", inner.repeat(20_000)) };
            assert_eq!(ChatTemplate::new(&source, None, None).unwrap_err().code(), "bad-template", "{deep}");
        }
        let user = [json!({"role": "user", "content": "x"})];
        for source in [
            "{{ messages[0].content.no_such_method() }}",
            "{{ messages | no_such_filter }}",
            "{{ 'a' * 100000000000 }}",
            "{{ nothing.at.all }}",
            "{{ strftime_now('%Q') }}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}x{% endfor %}{% endfor %}{% endfor %}",
            "{{ raise_exception('stop here') }}",
        ] {
            let e = ChatTemplate::new(source, None, None).and_then(|t| t.render(&user, true, &Map::new())).unwrap_err();
            assert_eq!(e.code(), "bad-template", "{source}: {e}");
            assert!(!e.to_string().contains('\n'), "{e}");
        }
        let none = load(&tiny(), "gpt-2").render_chat(&user, true).unwrap_err();
        assert!(none.code() == "bad-template" && none.to_string().contains("none"), "{none}");
        // A tokenizer is usable although its template is not.
        let mut tokenizer = load(&tiny(), "gpt-2");
        tokenizer.set_chat_template("{% for %}");
        assert_eq!(tokenizer.encode_chat(&user, true).unwrap_err().code(), "bad-template");
        assert!(!tokenizer.encode("text").is_empty());
        tokenizer.set_chat_template("<|special|>{{ messages[0].content }}");
        assert_eq!(tokenizer.encode_chat(&user, true).unwrap().first(), tokenizer.token_id("<|special|>").as_ref());
    }

    /// Which tokens end an answer: the file's, known ones, and what the template puts behind an assistant's message.
    async fn the_ends_of_an_answer() {
        let tiny = tiny();
        let ends = |tokens: &[&str], eos: Option<&str>, template: &str| {
            let mut file = file_of(&tiny, "smollm").clone();
            let first = 1000;
            let added: Vec<Json> = (tokens.iter().enumerate())
                .map(|(i, t)| json!({"id": first + i, "content": t, "special": i % 2 == 0, "normalized": false}))
                .collect();
            let list = file["added_tokens"].as_array_mut().unwrap();
            list.retain(|t| t["content"] != "<|endoftext|>");
            list.extend(added);
            let config = json!({"eos_token": eos, "chat_template": template});
            let tokenizer = Tokenizer::from_json("t", &file.to_string(), Some(&config.to_string())).unwrap();
            let shown = tokenizer.end_token_ids().iter().map(|id| tokenizer.id_to_token(*id).unwrap().to_string()).collect::<Vec<_>>();
            shown.join(" ")
        };
        let chatml = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
        assert_eq!(ends(&["<eos_of_file>", "<|im_end|>"], Some("<eos_of_file>"), ""), "<eos_of_file> <|im_end|>");
        assert_eq!(ends(&["<|x|>", "<|eot_id|>", "<end_of_turn>"], None, ""), "<|eot_id|> <end_of_turn>");
        assert_eq!(ends(&["<|im_start|>", "<|y|>", "<|im_end|>"], None, chatml), "<|im_end|>");
        assert_eq!(ends(&["<stop>", "<start>"], None, "{% for m in messages %}<start>{{ m.content }} <stop>\n{% endfor %}"), "<stop>");
        assert_eq!(ends(&["<stop>", "<start>"], None, "{% for m in messages %}<start>{{ m.content }}\n### <stop>{% endfor %}"), "");
        assert_eq!(ends(&["<stop>"], None, "{{ raise_exception('no') }}"), "");
        // Harmony: a message ends in another way than an answer.
        let harmony = "{% for m in messages %}<|start|>{{ m.content }}<|end|>{% endfor %}";
        assert_eq!(ends(&["<|end|>", "<|call|>", "<|return|>", "<|start|>"], None, harmony), "<|return|> <|call|>");
    }

    /// Special tokens by the names that Transformers gives templates.
    async fn templates_know_the_special_tokens() {
        let tiny = tiny();
        let text = file_of(&tiny, "smollm").to_string();
        let config = json!({
            "bos_token": "<|special|>",
            "pad_token": {"content": "<|strip|>"},
            "unk_token": "<unk>",
            "extra_special_tokens": {"image_token": "<img>"},
            "chat_template": "{{ bos_token }}[{{ eos_token }}]{{ pad_token }}{{ unk_token }}{{ image_token }}{{ mask_token }}",
        });
        let tokenizer = Tokenizer::from_json("t", &text, Some(&config.to_string())).unwrap();
        assert_eq!(tokenizer.render_chat::<Json>(&[], false).unwrap(), "<|special|>[]<|strip|><unk><img>");
    }

    async fn the_config_beside_tokenizer_json_is_read() {
        let tiny = tiny();
        let text = file_of(&tiny, "smollm").to_string();
        let config = json!({
            "bos_token": "<|special|>",
            "eos_token": {"content": "<|strip|>", "lstrip": true},
            "pad_token": null,
            "add_bos_token": true,
            "chat_template": [{"name": "tools", "template": "no"}, {"name": "default", "template": "{{ bos_token }}{{ eos_token }}"}],
        });
        let tokenizer = Tokenizer::from_json("t", &text, Some(&config.to_string())).unwrap();
        // The post-processor of tokenizer.json alone says what goes around a text, as in Transformers.
        assert!(tokenizer.encode("").is_empty());
        assert_eq!(tokenizer.bos_token_id(), tokenizer.token_id("<|special|>"));
        assert_eq!(tokenizer.eos_token_id(), tokenizer.token_id("<|strip|>"));
        assert_eq!(tokenizer.render_chat::<Json>(&[], false).unwrap(), "<|special|><|strip|>");
        assert_eq!(Tokenizer::from_json("t", &text, Some("[")).unwrap_err().code(), "bad-file");
    }

    async fn bad_tokenizers_are_typed_errors() {
        let tiny = tiny();
        let good = file_of(&tiny, "llama-bpe");
        let changed = |path: &str, value: Json| {
            let mut file = good.clone();
            *file.pointer_mut(path).unwrap() = value;
            file.to_string()
        };
        for (text, words) in [
            (String::new(), "is empty"),
            ("{}".to_string(), "model"),
            (changed("/model/type", json!("Unigram")), "Unigram"),
            (changed("/model/type", json!("Martian")), "BPE, Unigram"),
            (changed("/model/dropout", json!(0.1)), "dropout"),
            (changed("/model/unk_token", json!("<none>")), "<none>"),
            (changed("/model/vocab", json!({"a": 4_000_000_000u32})), "highest id"),
            (changed("/model/vocab", json!({"a": 1, "b": 1})), "given twice"),
            (changed("/model/vocab", json!({"a": -1})), "BPE"),
            (changed("/model/merges", json!(["a b c d"])), "not two tokens"),
            (changed("/model/merges", json!(["qqq zzz"])), "qqq"),
            (changed("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": ""})), "the normalizer: Precompiled"),
            (changed("/normalizer", json!({"type": "Replace", "pattern": {"Regex": "(a*)*"}, "content": ""})), "empty"),
            (changed("/normalizer", json!({"type": "Prepend"})), "prepend is null"),
            (changed("/pre_tokenizer", json!({"type": "Jieba"})), "the pre-tokenizer: Jieba"),
            (changed("/pre_tokenizer", json!({"type": "Sequence", "pretokenizers": {}})), "Sequence: pretokenizers"),
            (changed("/pre_tokenizer", json!({"type": "Metaspace", "replacement": "__"})), "one character"),
            (changed("/pre_tokenizer/pretokenizers/0/behavior", json!("Lost")), "Split: behavior is \"Lost\""),
            (changed("/pre_tokenizer/pretokenizers/0/pattern/Regex", json!("\\p{Klingon}")), "Klingon"),
            (changed("/post_processor", json!({"type": "Other"})), "the post-processor: Other"),
            (changed("/post_processor", json!({"type": "BertProcessing", "sep": ["a", 64], "cls": ["b", 100_000]})), "100000"),
            (changed("/decoder", json!({"type": "Other"})), "the decoder: Other"),
            (changed("/decoder", json!({"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "ByteFallback"}]})), "ByteFallback after"),
            (changed("/added_tokens/0/id", json!("x")), "no id"),
            (changed("/added_tokens/0/lstrip", json!(1)), "lstrip"),
        ] {
            let e = Tokenizer::from_json("tokenizer.json", &text, None).unwrap_err();
            assert!(e.code() == "bad-file" && e.to_string().contains(words), "{words}: {e}");
        }
        let base = GgufVocab { file: "f", model: "gpt2", tokens: vec!["a", "b", "ab"], merges: vec!["a b"], ..GgufVocab::default() };
        assert_eq!(Tokenizer::from_gguf(base.clone()).unwrap().encode("abba"), [2, 1, 0]);
        for (bad, words) in [
            (GgufVocab { model: "rwkv", ..base.clone() }, "\"rwkv\""),
            (GgufVocab { pre: Some("martian"), ..base.clone() }, "martian"),
            (GgufVocab { tokens: vec![], ..base.clone() }, "0 entries"),
            (GgufVocab { token_types: vec![1], ..base.clone() }, "token_type"),
            (GgufVocab { merges: vec!["ab"], ..base.clone() }, "merges[0]"),
            (GgufVocab { merges: vec!["b a"], ..base.clone() }, "\"ba\""),
            (GgufVocab { merges: vec![], ..base.clone() }, "\"ab\""),
            (GgufVocab { charsmap: vec![1], ..base.clone() }, "precompiled_charsmap"),
            (GgufVocab { add_eos: Some(true), ..base.clone() }, "eos"),
            (GgufVocab { bos: Some(3), add_bos: Some(true), ..base.clone() }, "the token 3"),
            (GgufVocab { add_bos: Some(true), ..base.clone() }, "bos"),
        ] {
            let e = Tokenizer::from_gguf(bad).unwrap_err();
            assert!(e.code() == "bad-file" && e.to_string().contains(words), "{words}: {e}");
        }
        // Cut anywhere, a tokenizer.json is refused, never worse.
        let text = good.to_string();
        for end in (0..text.len()).step_by(97).filter(|&end| text.is_char_boundary(end)) {
            assert_eq!(Tokenizer::from_json("t", &text[..end], None).unwrap_err().code(), "bad-file");
        }
    }
}
