//! Tokenizers without a `tokenizer.json`: BERT's `vocab.txt`, SentencePiece's files, Marian's two of them, GGUFs of T5 and BERT. Each must give the ids
//! of the same tokenizer in `tokenizer_encoders.rs`, which are those of the `tokenizers` package.
use fledgling::models::folder_tokenizer;
use fledgling::tokenizer::{GgufVocab, Tokenizer};
use serde_json::{Map, Value as Json, json};

use crate::tokenizer_encoders::{Encoders, encoders};

/// A field of a protobuf message.
fn field(number: u64, wire: u64, value: &[u8]) -> Vec<u8> {
    let mut out = varint(number << 3 | wire);
    if wire == 2 {
        out.extend(varint(value.len() as u64));
    }
    out.extend(value);
    out
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}

/// Pieces with score and kind.
type Pieces = Vec<(String, f32, u64)>;

/// A SentencePiece model as the package writes it.
fn spm(pieces: &Pieces, model_type: u64, unknown: u64, charsmap: &[u8], more: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (text, score, kind) in pieces {
        let piece = [field(1, 2, text.as_bytes()), field(2, 5, &score.to_le_bytes()), field(3, 0, &varint(*kind))].concat();
        out.extend(field(1, 2, &piece));
    }
    let trainer = [
        field(3, 0, &varint(model_type)),
        field(40, 0, &varint(unknown)),
        field(42, 0, &varint(1)),
        field(43, 0, &varint(0)),
        more.to_vec(),
    ];
    out.extend(field(2, 2, &trainer.concat()));
    out.extend(field(3, 2, &[field(1, 2, b"nmt"), field(2, 2, charsmap), field(3, 0, &[1]), field(4, 0, &[1])].concat()));
    out
}

/// The pieces of a Unigram shape: `control` are none that a text has.
fn pieces(all: &Encoders, name: &str, control: usize, unknown: usize) -> Pieces {
    let file = all.file(name);
    let list = file["model"]["vocab"].as_array().unwrap();
    let kind = |i: usize| {
        if i == unknown {
            2
        } else if i < control {
            3
        } else {
            1
        }
    };
    list.iter().enumerate().map(|(i, p)| (p[0].as_str().unwrap().to_string(), p[1].as_f64().unwrap() as f32, kind(i))).collect()
}

fn charsmap(all: &Encoders) -> Vec<u8> {
    let text = all.file("t5")["normalizer"]["precompiled_charsmap"].as_str().unwrap().to_string();
    let value = |b: u8| match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b'=').map(value).collect();
    let bits = digits.chunks(4).flat_map(|c| {
        let n = c.iter().fold(0u32, |n, d| n << 6 | u32::from(*d)) << (6 * (4 - c.len()));
        n.to_be_bytes()[1..c.len()].to_vec()
    });
    bits.collect()
}

/// The lines of BERT's `vocab.txt`.
fn bert_lines(all: &Encoders) -> Vec<String> {
    let file = all.file("bert");
    let mut lines: Vec<(u64, String)> =
        file["model"]["vocab"].as_object().unwrap().iter().map(|(t, id)| (id.as_u64().unwrap(), t.clone())).collect();
    lines.sort();
    lines.into_iter().map(|l| l.1).collect()
}

/// All texts and pairs of a shape, with ids through `map`.
fn same(t: &Tokenizer, all: &Encoders, name: &str, map: impl Fn(u32) -> u32) {
    for (text, case) in all.texts.iter().zip(&all.shapes[name].cases) {
        let wanted: Vec<u32> = case.0.iter().map(|id| map(*id)).collect();
        assert_eq!(t.encode(text), wanted, "{name}: {text:?}");
    }
    for ((a, b), case) in all.pairs.iter().zip(&all.shapes[name].cases[all.texts.len()..]) {
        let e = t.encode_pair(&all.texts[*a], &all.texts[*b], true).unwrap();
        assert_eq!((e.ids, &e.type_ids), (case.0.iter().map(|id| map(*id)).collect(), &case.2), "{name}");
    }
}

fl_test! {
    async fn vocab_txt() {
        let all = encoders();
        let lines = bert_lines(&all);
        let text = lines.join("\n");
        same(&Tokenizer::from_vocab_txt("vocab.txt", &text, None).unwrap(), &all, "bert", |id| id);
        let config = json!({"do_lower_case": false, "tokenizer_class": "BertTokenizerFast", "mask_token": "[MASK]"}).to_string();
        let t = Tokenizer::from_vocab_txt("vocab.txt", &(text.clone() + "\n"), Some(&config)).unwrap();
        same(&t, &all, "bert_cased", |id| id);
        assert_eq!((t.vocab_size(), t.pad_token_id(), t.bos_token_id()), (lines.len(), Some(0), Some(2)));
        // As a folder of a model has it.
        let files = [("vocab.txt".to_string(), text.clone()), ("tokenizer_config.json".to_string(), config)].into();
        same(&folder_tokenizer(&files).unwrap().unwrap(), &all, "bert_cased", |id| id);
        for (text, config, words) in [
            ("a\nb", "{}", "[UNK]"),
            ("", "{}", "0 lines"),
            (text.as_str(), r#"{"tokenizer_class": "BertJapaneseTokenizer"}"#, "BertJapaneseTokenizer"),
            (text.as_str(), r#"{"do_lower_case": "no"}"#, "do_lower_case"),
            (text.as_str(), r#"{"cls_token": "[NEVER]"}"#, "[NEVER]"),
        ] {
            let e = Tokenizer::from_vocab_txt("vocab.txt", text, Some(config)).unwrap_err();
            assert!(e.code() == "bad-file" && e.to_string().contains(words), "{words}: {e}");
        }
    }

    async fn sentencepiece_files_of_t5_and_xlmr() {
        let all = encoders();
        let map = charsmap(&all);
        let t5 = pieces(&all, "t5", 5, 2);
        let file = spm(&t5, 1, 2, &map, &[]);
        let config = |class: &str, more: Json| {
            let mut config = json!({"tokenizer_class": class});
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            config.to_string()
        };
        let load = |file: &[u8], config: &str| Tokenizer::from_sentencepiece("spiece.model", file, Some(config));
        same(&load(&file, &config("T5Tokenizer", json!({"extra_ids": 0}))).unwrap(), &all, "t5", |id| id);
        let t = load(&file, &config("T5TokenizerFast", json!({}))).unwrap();
        let n = t5.len() as u32;
        assert_eq!(t.encode("<extra_id_99>"), [n, 1]);
        assert_eq!((t.vocab_size() as u32, t.token_id("<extra_id_2>"), t.eos_token_id(), t.pad_token_id()), (n + 100, Some(n + 97), Some(1), Some(0)));
        // XLM-R's file has other control tokens than its ids, and the mask behind all.
        let mut own = pieces(&all, "xlmr", 5, 3);
        own.drain(..5);
        let mut file = vec![("<unk>".to_string(), 0.0, 2), ("<s>".to_string(), 0.0, 3), ("</s>".to_string(), 0.0, 3)];
        file.append(&mut own);
        let bytes = spm(&file, 1, 0, &map, &[]);
        let mask = file.len() as u32 + 1;
        same(&load(&bytes, &config("XLMRobertaTokenizer", json!({}))).unwrap(), &all, "xlmr", |id| match id {
            4 => mask,
            id if id > 4 => id - 1,
            id => id,
        });
        let t = load(&bytes, &config("MBartTokenizer", json!({"src_lang": "de_DE"}))).unwrap();
        assert_eq!(t.encode("").iter().map(|id| t.id_to_token(*id).unwrap()).collect::<Vec<_>>(), ["</s>", "de_DE"]);
        let t = Tokenizer::from_sentencepiece("spiece.model", &bytes, None).unwrap();
        assert_eq!((t.encode("").len(), t.decode(&t.encode("  the  word "), true).as_str()), (0, "the word"));
        for (file, config, words) in [
            (b"".as_slice(), config("", json!({})), "no SentencePiece"),
            (b"\x0a\xff\xff\xff\xff\x0f", config("", json!({})), "no SentencePiece"),
            (&bytes, config("AlbertTokenizer", json!({})), "AlbertTokenizer"),
            (&bytes, config("MBartTokenizer", json!({"src_lang": "xx"})), "src_lang"),
            (&bytes, config("T5Tokenizer", json!({"extra_ids": 1_000_000_000})), "extra_ids"),
            (&spm(&file, 3, 0, &map, &[]), config("", json!({})), "model_type is 3"),
            (&spm(&file, 1, 1 << 40, &map, &[]), config("", json!({})), "unknown piece"),
            (&spm(&file, 1, 0, &[1], &[]), config("", json!({})), "precompiled_charsmap"),
            (&spm(&file, 1, 0, &map, &field(24, 0, &[1])), config("", json!({})), "treat_whitespace_as_suffix"),
            (&spm(&vec![("a".into(), f32::NAN, 1)], 1, 0, &map, &[]), config("", json!({})), "no number"),
        ] {
            let e = load(file, &config).unwrap_err();
            assert!(e.code() == "bad-file" && e.to_string().contains(words), "{words}: {e}");
        }
    }

    /// The ids are those of `vocab.json`, in another order; some pieces are in the file and not there.
    async fn marian() {
        let all = encoders();
        let t5 = pieces(&all, "t5", 5, 2);
        let file = spm(&t5, 1, 2, &charsmap(&all), &[]);
        let kept = |text: &str| !["▁you", "▁the", "▁"].contains(&text);
        let names: Vec<&str> = t5.iter().rev().map(|p| p.0.as_str()).filter(|t| kept(t)).chain([">>fr<<"]).collect();
        let vocab: Map<String, Json> = names.iter().enumerate().map(|(id, t)| (t.to_string(), id.into())).collect();
        let t = Tokenizer::from_marian("source.spm", &file, &Json::from(vocab.clone()).to_string()).unwrap();
        let id = |text: &str| vocab.get(text).unwrap_or(&vocab["<unk>"]).as_u64().unwrap() as u32;
        for (text, case) in all.texts.iter().zip(&all.shapes["t5"].cases).filter(|c| !c.0.contains("<extra")) {
            let wanted: Vec<u32> = case.0.iter().map(|i| id(&t5[*i as usize].0)).collect();
            assert_eq!(t.encode(text), wanted, "{text:?}");
        }
        assert_eq!(t.encode(">>fr<< word"), [id(">>fr<<"), id("▁word"), id("</s>")]);
        assert_eq!((t.decode(&[id("▁word"), id("▁look")], false).as_str(), t.eos_token_id()), ("word look", Some(id("</s>"))));
        for (vocab, words) in [("[]", "no vocabulary"), ("{}", "highest id"), (r#"{"<unk>": 0}"#, "</s>"), (r#"{"<unk>": 4000000000}"#, "highest id")] {
            let e = Tokenizer::from_marian("source.spm", &file, vocab).unwrap_err();
            assert!(e.code() == "bad-file" && e.to_string().contains(words), "{words}: {e}");
        }
    }

    async fn ggufs_of_t5_and_bert() {
        let all = encoders();
        let t5 = pieces(&all, "t5", 5, 2);
        let vocab = || GgufVocab {
            file: "t5.gguf",
            model: "t5",
            tokens: t5.iter().map(|p| p.0.as_str()).collect(),
            token_types: t5.iter().map(|p| p.2 as i32).collect(),
            scores: t5.iter().map(|p| p.1).collect(),
            eos: Some(1),
            unknown: Some(2),
            charsmap: charsmap(&all),
            ..GgufVocab::default()
        };
        let t = Tokenizer::from_gguf(vocab()).unwrap();
        for (text, case) in all.texts.iter().zip(&all.shapes["t5"].cases) {
            assert_eq!(t.encode(text), case.0, "{text:?}");
        }
        let e = Tokenizer::from_gguf(GgufVocab { scores: Vec::new(), ..vocab() }).unwrap_err();
        assert!(e.to_string().contains("scores"), "{e}");
        let e = Tokenizer::from_gguf(GgufVocab { charsmap: vec![1], ..vocab() }).unwrap_err();
        assert!(e.to_string().contains("precompiled_charsmap"), "{e}");
        // As llama.cpp's converter spells a BERT's tokens.
        let lines = bert_lines(&all);
        let spelled: Vec<String> = (lines.iter().enumerate())
            .map(|(i, t)| match t.strip_prefix("##") {
                _ if i < 5 => t.clone(),
                Some(rest) if !rest.is_empty() => rest.to_string(),
                _ => format!("▁{t}"),
            })
            .collect();
        let vocab = |lowercase: Option<bool>| GgufVocab {
            file: "bert.gguf",
            model: "bert",
            tokens: spelled.iter().map(String::as_str).collect(),
            token_types: (0..spelled.len()).map(|i| if i < 5 { 3 } else { 1 }).collect(),
            lowercase,
            ..GgufVocab::default()
        };
        same(&Tokenizer::from_gguf(vocab(None)).unwrap(), &all, "bert", |id| id);
        same(&Tokenizer::from_gguf(vocab(Some(false))).unwrap(), &all, "bert_cased", |id| id);
        let e = Tokenizer::from_gguf(GgufVocab { tokens: vec!["▁a"], token_types: vec![1], ..vocab(None) }).unwrap_err();
        assert!(e.to_string().contains("[UNK]"), "{e}");
    }
}
