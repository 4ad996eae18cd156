//! Tokenizers of encoders and encoder-decoders against the `tokenizers` package (`tests/oracle/tokenizer_encoders.py`): ids, offsets, segments of
//! pairs, decoded texts, all at once and piece by piece.
use std::collections::BTreeMap;

use fledgling::tokenizer::{DecodeStream, Encoding, Tokenizer};
use serde::Deserialize;
use serde_json::{Value as Json, json};

#[derive(Deserialize)]
pub struct Encoders {
    pub texts: Vec<String>,
    /// Places in `texts`.
    pub pairs: Vec<(usize, usize)>,
    pub shapes: BTreeMap<String, Shape>,
    /// Vocabularies and maps that several shapes have.
    shared: BTreeMap<String, Json>,
}

#[derive(Deserialize)]
pub struct Shape {
    file: Json,
    shared: BTreeMap<String, String>,
    /// Of each text and then of each pair.
    pub cases: Vec<Case>,
}

/// Ids, offsets one after the other, segments of a pair, decoded text.
type Case = (Vec<u32>, Vec<usize>, Vec<u32>, String);

pub fn encoders() -> Encoders {
    serde_json::from_str(include_str!("../fixtures/tokenizer/encoders.json")).unwrap()
}

impl Encoders {
    /// A shape's `tokenizer.json`.
    pub fn file(&self, name: &str) -> Json {
        let shape = &self.shapes[name];
        let mut file = shape.file.clone();
        file["model"]["vocab"] = self.shared[&shape.shared["vocab"]].clone();
        if let Some(map) = shape.shared.get("charsmap") {
            put_map(&mut file["normalizer"], &self.shared[map]);
        }
        file
    }

    fn load(&self, name: &str) -> Tokenizer {
        Tokenizer::from_json("tokenizer.json", &self.file(name).to_string(), None).expect(name)
    }
}

fn put_map(v: &mut Json, map: &Json) {
    if v["type"] == "Precompiled" {
        v["precompiled_charsmap"] = map.clone();
    }
    for step in v["normalizers"].as_array_mut().into_iter().flatten() {
        put_map(step, map);
    }
}

fn checked(t: &Tokenizer, e: &Encoding, (ids, offsets, type_ids, decoded): &Case, about: &str) {
    assert_eq!(&e.ids, ids, "{about}");
    assert_eq!(e.offsets.iter().flat_map(|o| [o.0, o.1]).collect::<Vec<_>>(), *offsets, "{about}: {:?}", e.tokens);
    assert!(type_ids.is_empty() || e.type_ids == *type_ids, "{about}: {:?}, expected {type_ids:?}", e.type_ids);
    assert!(e.tokens.len() == ids.len() && e.type_ids.len() == ids.len(), "{about}");
    assert_eq!(&t.decode(ids, false), decoded, "{about}");
    if !decoded.contains('\u{fffd}') {
        let mut stream = DecodeStream::new(false);
        let streamed: String = ids.iter().map(|id| stream.push(t, *id)).collect();
        assert_eq!(&(streamed + &stream.finish()), decoded, "{about} streamed");
    }
}

fl_test! {
    async fn every_shape_gives_the_package_s_tokens() {
        let all = encoders();
        assert!(all.shapes.len() >= 14);
        for (name, shape) in &all.shapes {
            let t = all.load(name);
            for (text, case) in all.texts.iter().zip(&shape.cases) {
                let about = format!("{name}: {text:?}");
                checked(&t, &t.encode_with_offsets(text, true), case, &about);
                assert_eq!(t.encode(text), case.0, "{about}");
            }
            for ((a, b), case) in all.pairs.iter().zip(&shape.cases[all.texts.len()..]) {
                let (a, b) = (&all.texts[*a], &all.texts[*b]);
                checked(&t, &t.encode_pair(a, b, true).unwrap(), case, &format!("{name}: {a:?} with {b:?}"));
            }
        }
    }

    async fn segments_without_special_tokens_and_pairs_that_a_file_does_not_know() {
        let all = encoders();
        let e = all.load("bert").encode_pair("the of", "and", false).unwrap();
        assert_eq!((e.type_ids.as_slice(), e.offsets.as_slice()), (&[0, 0, 1][..], &[(0, 3), (4, 6), (0, 3)][..]));
        let e = all.load("bert").encode_with_offsets("the", true);
        assert_eq!((e.tokens.join(" ").as_str(), e.type_ids.as_slice()), ("[CLS] the [SEP]", &[0, 0, 0][..]));
        let mut file = all.file("bert");
        file["post_processor"]["pair"] = json!([]);
        let t = Tokenizer::from_json("tokenizer.json", &file.to_string(), None).unwrap();
        let e = t.encode_pair("a", "b", true).unwrap_err();
        assert!(e.code() == "bad-config" && e.to_string().contains("text_pair"), "{e}");
    }

    async fn what_cannot_be_used_is_said() {
        let all = encoders();
        let changed = |name: &str, path: &str, value: Json| {
            let mut file = all.file(name);
            *file.pointer_mut(path).unwrap() = value;
            file.to_string()
        };
        for (text, words) in [
            (changed("bert", "/model/unk_token", json!("[NONE]")), "[NONE]"),
            (changed("bert", "/model/max_input_chars_per_word", json!(-1)), "WordPiece"),
            (changed("bert", "/model/vocab", json!({"[UNK]": 4_000_000_000u32})), "highest id"),
            (changed("bert", "/normalizer/lowercase", json!("yes")), "BertNormalizer: lowercase"),
            (changed("bert", "/decoder/prefix", json!(1)), "WordPiece: prefix"),
            (changed("bert", "/post_processor/pair/0/SpecialToken/type_id", json!("x")), "pair has"),
            (changed("bert", "/post_processor/single", json!([{"Sequence": {"id": "B", "type_id": 0}}])), "sequence A once"),
            (changed("t5", "/model/unk_id", json!(100_000)), "unk_id is 100000"),
            (changed("t5", "/model/vocab", json!([])), "0 tokens"),
            (changed("t5", "/model/vocab", json!([["a", 1, 2]])), "Unigram"),
            (changed("t5", "/normalizer/precompiled_charsmap", json!("*")), "Precompiled: precompiled_charsmap is no base64"),
            (changed("t5", "/normalizer/precompiled_charsmap", json!("")), "precompiled_charsmap is empty"),
            (changed("level", "/model/unk_token", json!("none")), "none"),
        ] {
            let e = Tokenizer::from_json("tokenizer.json", &text, None).unwrap_err();
            assert!(e.code() == "bad-file" && e.to_string().contains(words), "{words}: {e}");
        }
        // Files of the first versions do not say what their model is.
        for name in ["bert", "t5"] {
            let mut file = all.file(name);
            file["model"].as_object_mut().unwrap().remove("type");
            let t = Tokenizer::from_json("tokenizer.json", &file.to_string(), None).unwrap();
            assert_eq!(t.encode(&all.texts[2]), all.shapes[name].cases[2].0, "{name}");
        }
    }

    /// One long word, for every kind of model.
    async fn a_long_word_takes_no_quadratic_time() {
        let all = encoders();
        for name in ["bert", "t5", "whole", "bytes", "level"] {
            let t = all.load(name);
            for text in ["a".repeat(200_000), "中文".repeat(50_000), "e\u{301}".repeat(60_000)] {
                assert!(!t.encode(&text).is_empty(), "{name}");
            }
        }
        let mut file = all.file("bert");
        file["model"]["max_input_chars_per_word"] = json!(10_000_000);
        let t = Tokenizer::from_json("tokenizer.json", &file.to_string(), None).unwrap();
        assert!(t.encode(&"a".repeat(200_000)).len() > 50_000);
    }
}
