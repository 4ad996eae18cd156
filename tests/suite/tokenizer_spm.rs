//! SentencePiece's BPE (Llama 2, Mistral) against the `tokenizers` package, by way of `tokenizer.json` and of GGUF's scores.
use std::collections::BTreeMap;

use fledgling::tokenizer::{DecodeStream, GgufVocab, Tokenizer};
use serde::Deserialize;
use serde_json::Value as Json;

#[derive(Deserialize)]
struct Spm {
    tokens: Vec<String>,
    merges: Json,
    tokenizers: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    file: Json,
    /// Text, ids, and the text that the ids give.
    cases: Vec<(String, Vec<u32>, String)>,
}

fn spm() -> Spm {
    serde_json::from_str(include_str!("../fixtures/tokenizer/spm.json")).unwrap()
}

fn json(spm: &Spm, name: &str) -> Json {
    let mut file = spm.tokenizers[name].file.clone();
    file["model"]["vocab"] =
        spm.tokens.iter().enumerate().map(|(i, t)| (t.clone(), Json::from(i))).collect::<serde_json::Map<_, _>>().into();
    file["model"]["merges"] = spm.merges.clone();
    file
}

fn gguf(spm: &Spm) -> GgufVocab<'_> {
    let kind = |t: &str| match t {
        "<unk>" => 2,
        "<s>" | "</s>" => 3,
        t if t.starts_with("<0x") => 6,
        _ => 1,
    };
    GgufVocab {
        file: "llama.gguf",
        model: "llama",
        tokens: spm.tokens.iter().map(String::as_str).collect(),
        token_types: spm.tokens.iter().map(|t| kind(t)).collect(),
        scores: (0..spm.tokens.len()).map(|i| -(i as f32)).collect(),
        bos: Some(1),
        eos: Some(2),
        ..GgufVocab::default()
    }
}

fn check(t: &Tokenizer, what: &str, case: &Case) {
    for (text, ids, decoded) in &case.cases {
        assert_eq!(&t.encode_plain(text, true), ids, "{what}: {text:?}");
        assert_eq!(&t.decode(ids, false), decoded, "{what}: {ids:?}");
        // The same piece by piece.
        let mut stream = DecodeStream::new(false);
        let mut streamed: String = ids.iter().map(|id| stream.push(t, *id)).collect();
        streamed += &stream.finish();
        assert_eq!(&streamed, decoded, "{what}: {ids:?} streamed");
    }
}

fl_test!(
    async fn sentencepiece_from_json() {
        let spm = spm();
        for (name, case) in &spm.tokenizers {
            let t = Tokenizer::from_json("tokenizer.json", &json(&spm, name).to_string(), None).expect(name);
            check(&t, name, case);
        }
    }

    /// Scores in place of merges: the ids are those of the converted tokenizer.
    async fn sentencepiece_from_gguf() {
        let spm = spm();
        let t = Tokenizer::from_gguf(gguf(&spm)).unwrap();
        check(&t, "GGUF", &spm.tokenizers["llama"]);
        assert_eq!(t.encode("Hello")[0], 1, "bos is added unless the file says no");
        assert_eq!(t.id_to_token(t.token_id("▁▁").unwrap()), Some("▁▁"));
        assert_eq!(t.token_id("</s>"), Some(2));
        // Control tokens are text where the caller does not parse them.
        assert!(!t.encode_plain("a<s>b", false).contains(&1));
        let bare = Tokenizer::from_gguf(GgufVocab { add_space_prefix: Some(false), add_bos: Some(false), ..gguf(&spm) }).unwrap();
        check(&bare, "GGUF without a space", &spm.tokenizers["metaspace_never"]);
    }

    async fn sentencepiece_that_cannot_be() {
        let spm = spm();
        let broken = [
            (GgufVocab { scores: vec![0.0; 3], ..gguf(&spm) }, "scores has 3"),
            (GgufVocab { scores: vec![f32::NAN; spm.tokens.len()], ..gguf(&spm) }, "no number"),
            (GgufVocab { token_types: vec![1], ..gguf(&spm) }, "token_type has 1"),
            (GgufVocab { bos: Some(1 << 20), add_bos: Some(true), ..gguf(&spm) }, "1048576"),
            (GgufVocab { model: "rwkv", ..gguf(&spm) }, "\"rwkv\""),
        ];
        for (vocab, part) in broken {
            let e = Tokenizer::from_gguf(vocab).expect_err(part);
            assert!(e.code() == "bad-file" && e.to_string().contains(part), "{e}");
        }
    }
);
