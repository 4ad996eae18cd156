//! Every normalizer, pre-tokenizer, post-processor and decoder against the `tokenizers` package (`tests/oracle/tokenizer_shapes.py`): ids, offsets
//! and decoded texts. Those that GGUF names too are tried by that way as well.
use std::collections::BTreeMap;

use fledgling::tokenizer::{DecodeStream, GgufVocab, Tokenizer};
use serde::Deserialize;
use serde_json::{Value as Json, json};

#[derive(Deserialize)]
struct Shapes {
    texts: Vec<String>,
    shapes: BTreeMap<String, Shape>,
}

#[derive(Deserialize)]
struct Shape {
    gguf: Option<String>,
    file: Json,
    /// Ids, offsets one after the other, and the decoded text where it differs from the text.
    cases: Vec<(Vec<u32>, Vec<usize>, Option<String>)>,
}

fn shapes() -> Shapes {
    serde_json::from_str(include_str!("../fixtures/tokenizer/shapes.json")).unwrap()
}

fn parsed(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

/// Byte-level models share that of `tiny.json`, models of characters that of `spm.json`.
fn file_of(shape: &Shape, tiny: &Json, spm: &Json) -> Json {
    let mut file = shape.file.clone();
    if file["model"].get("vocab").is_some() {
        return file;
    }
    let of_bytes = file["added_tokens"].as_array().unwrap().iter().any(|a| a["content"] == "<|special|>");
    let (vocab, merges) = match of_bytes {
        true => (tiny["model"]["vocab"].clone(), tiny["model"]["merges"].clone()),
        false => {
            let tokens = spm["tokens"].as_array().unwrap().iter().enumerate();
            let vocab: serde_json::Map<_, _> = tokens.map(|(i, t)| (t.as_str().unwrap().to_string(), Json::from(i))).collect();
            (vocab.into(), spm["merges"].clone())
        }
    };
    (file["model"]["vocab"], file["model"]["merges"]) = (vocab, merges);
    file
}

/// Every shape's `tokenizer.json` with its name.
pub fn all_files() -> Vec<(String, Json)> {
    let (tiny, spm) = (parsed(include_str!("../fixtures/tokenizer/tiny.json")), parsed(include_str!("../fixtures/tokenizer/spm.json")));
    shapes().shapes.iter().map(|(name, shape)| (name.clone(), file_of(shape, &tiny, &spm))).collect()
}

/// The texts that they are tried on.
pub fn texts() -> Vec<String> {
    shapes().texts
}

fl_test! {
    async fn every_shape_gives_the_package_s_tokens() {
        let (all, tiny, spm) = (shapes(), parsed(include_str!("../fixtures/tokenizer/tiny.json")), parsed(include_str!("../fixtures/tokenizer/spm.json")));
        assert!(all.shapes.len() > 60);
        for (name, shape) in &all.shapes {
            let t = Tokenizer::from_json("tokenizer.json", &file_of(shape, &tiny, &spm).to_string(), None).expect(name);
            for (text, (ids, offsets, decoded)) in all.texts.iter().zip(&shape.cases) {
                let e = t.encode_with_offsets(text, true);
                assert_eq!(&e.ids, ids, "{name}: {text:?}");
                assert_eq!(&t.encode(text), ids, "{name}: {text:?}");
                assert_eq!(e.offsets.iter().flat_map(|o| [o.0, o.1]).collect::<Vec<_>>(), *offsets, "{name}: {text:?} {:?}", e.tokens);
                assert_eq!(e.tokens.len(), ids.len());
                let wanted = decoded.as_ref().unwrap_or(text);
                assert_eq!(&t.decode(ids, false), wanted, "{name}: {text:?}");
                // The same piece by piece; bytes that are no text may come out otherwise.
                if !wanted.contains('\u{fffd}') {
                    let mut stream = DecodeStream::new(false);
                    let streamed: String = ids.iter().map(|id| stream.push(&t, *id)).collect();
                    assert_eq!(&(streamed + &stream.finish()), wanted, "{name}: {text:?} streamed");
                }
            }
        }
    }

    async fn gguf_names_split_as_the_files_do() {
        let (all, tiny) = (shapes(), parsed(include_str!("../fixtures/tokenizer/tiny.json")));
        let mut tokens: BTreeMap<u64, String> = BTreeMap::new();
        for (text, id) in tiny["model"]["vocab"].as_object().unwrap() {
            tokens.insert(id.as_u64().unwrap(), text.clone());
        }
        let known = tokens.len();
        tokens.insert(known as u64, "<|special|>".into());
        tokens.insert(known as u64 + 1, "<|strip|>".into());
        let merge = |m: &Json| m.as_array().map_or_else(|| m.as_str().unwrap().into(), |p| format!("{} {}", p[0].as_str().unwrap(), p[1].as_str().unwrap()));
        let merges: Vec<String> = tiny["model"]["merges"].as_array().unwrap().iter().map(merge).collect();
        let vocab = |pre: Option<&'static str>| GgufVocab {
            file: "tiny.gguf",
            model: "gpt2",
            pre,
            tokens: tokens.values().map(String::as_str).collect(),
            token_types: (0..tokens.len()).map(|id| if id < known { 1 } else { 3 }).collect(),
            merges: merges.iter().map(String::as_str).collect(),
            add_bos: Some(false),
            ..GgufVocab::default()
        };
        let mut tried = 0;
        for (name, shape) in &all.shapes {
            let Some(pre) = &shape.gguf else { continue };
            tried += 1;
            let t = Tokenizer::from_gguf(vocab(Some(pre.clone().leak()))).expect(pre);
            // GGUF does not know about white space that belongs to a token.
            for (text, (ids, ..)) in all.texts.iter().zip(&shape.cases).filter(|c| !c.0.contains("<|strip|>")) {
                assert_eq!(&t.encode(text), ids, "{name} as {pre}: {text:?}");
            }
        }
        assert!(tried >= 14, "{tried}");
        // Without a name, as llama.cpp: `default`.
        let (missing, default) = (Tokenizer::from_gguf(vocab(None)).unwrap(), Tokenizer::from_gguf(vocab(Some("default"))).unwrap());
        assert!(all.texts.iter().all(|t| missing.encode(t) == default.encode(t)));
        let e = Tokenizer::from_gguf(vocab(Some("martian"))).unwrap_err().to_string();
        assert!(["martian", "default", "llama-bpe", "tekken", "qwen35", "gpt-4o"].iter().all(|n| e.contains(n)), "{e}");
    }

    /// One megabyte of words, of one word, of digits, of signs.
    async fn a_long_text_takes_no_quadratic_time() {
        let (all, tiny, spm) = (shapes(), parsed(include_str!("../fixtures/tokenizer/tiny.json")), parsed(include_str!("../fixtures/tokenizer/spm.json")));
        for name in ["tiny_aya", "deepseek", "gemma"] {
            let t = Tokenizer::from_json("tokenizer.json", &file_of(&all.shapes[name], &tiny, &spm).to_string(), None).unwrap();
            for text in ["the quick ".repeat(10_000), "a".repeat(100_000), "1".repeat(100_000), " ".repeat(100_000), "<|".repeat(50_000)] {
                assert_eq!(t.decode(&t.encode(&text), false), text, "{name}");
            }
        }
    }

    async fn flags_and_tokens_of_the_config() {
        let (all, tiny, spm) = (shapes(), parsed(include_str!("../fixtures/tokenizer/tiny.json")), parsed(include_str!("../fixtures/tokenizer/spm.json")));
        let file = file_of(&all.shapes["template"], &tiny, &spm).to_string();
        let load = |config: Json| Tokenizer::from_json("tokenizer.json", &file, Some(&config.to_string()));
        let (a, b) = (64, 65);
        let plain = load(json!({})).unwrap();
        assert_eq!((plain.encode("x"), plain.bos_token_id(), plain.eos_token_id()), (vec![a, 87, b], Some(a), Some(b)));
        // Beside a tokenizer.json, add_bos_token and add_eos_token do not count, as in Transformers.
        assert_eq!(load(json!({"add_bos_token": false, "bos_token": "b"})).unwrap().encode("x"), [a, 87, b]);
        // Tokens that only the config has, and flags that it changes.
        let n = plain.vocab_size() as u32;
        let strip = plain.token_id("<|strip|>").unwrap();
        let config = json!({"added_tokens_decoder": {
            n.to_string(): {"content": "<new>", "special": true, "lstrip": true, "rstrip": false, "normalized": false, "single_word": false},
            strip.to_string(): {"content": "<|strip|>", "special": true, "lstrip": false, "rstrip": false, "normalized": false, "single_word": false},
        }});
        let t = load(config).unwrap();
        assert_eq!(t.encode_plain("  <new>", true), [n]);
        assert!(t.is_special(n) && t.vocab_size() as u32 == n + 1);
        assert_eq!(t.encode_plain(" <|strip|>", true), [220, strip]);
        assert_eq!(plain.encode_plain(" <|strip|>", true), [strip]);
        // A named special token is found in texts.
        assert!(load(json!({"pad_token": "the"})).unwrap().is_special(plain.token_id("the").unwrap()));
        // The vocabulary's id counts.
        assert_eq!(load(json!({"added_tokens_decoder": {"9": {"content": "<|strip|>"}}})).unwrap().token_id("<|strip|>"), Some(strip));
        // A byte order mark is none of the text.
        let marked = Tokenizer::from_json("t", &format!("\u{feff}{file}"), Some("\u{feff}{\"bos_token\": \"a\"}")).unwrap();
        assert_eq!(marked.bos_token_id(), Some(a));
        for (config, words) in [
            (json!({"added_tokens_decoder": {"x": {"content": "y"}}}), "\"x\""),
            (json!({"added_tokens_decoder": {"4000000000": {"content": "<far>"}}}), "highest id"),
            (json!({"chat_template": 3}), "chat_template"),
        ] {
            let e = load(config).unwrap_err();
            assert!(e.code() == "bad-file" && e.to_string().contains(words), "{e}");
        }
    }
}
