//! The vocabulary and template of the real file: ids against the `tokenizers` package (`tests/oracle/tokenizer.py`).
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use fledgling::formats::{Container, HeaderParser};
use fledgling::tokenizer::{GgufVocab, Tokenizer};
use serde_json::Value as Json;

/// The header of the model's file; nothing beyond it is read.
fn container() -> Container {
    let path = std::env::var_os("FLEDGLING_MODEL")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cache/models/SmolLM2-135M-Instruct.Q4_1.gguf"), PathBuf::from);
    let mut file = File::open(&path).unwrap_or_else(|e| panic!("{}: {e}; `make model` fetches it", path.display()));
    let mut parser = HeaderParser::new("model", file.metadata().ok().map(|m| m.len()));
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer).unwrap();
        assert!(n > 0, "{}", parser.truncated());
        if let (_, Some(container)) = parser.push(&buffer[..n]).unwrap() {
            return container;
        }
    }
}

fn tokenizer(c: &Container) -> Tokenizer {
    let m = &c.metadata;
    Tokenizer::from_gguf(GgufVocab {
        file: &c.file,
        model: m.str("tokenizer.ggml.model").unwrap(),
        pre: m.opt_str("tokenizer.ggml.pre").unwrap(),
        tokens: m.strs("tokenizer.ggml.tokens").unwrap().iter().collect(),
        token_types: m.i32s("tokenizer.ggml.token_type").unwrap(),
        merges: m.strs("tokenizer.ggml.merges").unwrap().iter().collect(),
        bos: m.opt_u32("tokenizer.ggml.bos_token_id").unwrap(),
        eos: m.opt_u32("tokenizer.ggml.eos_token_id").unwrap(),
        add_bos: m.opt_bool("tokenizer.ggml.add_bos_token").unwrap(),
        chat_template: m.opt_str("tokenizer.chat_template").unwrap(),
        ..GgufVocab::default()
    })
    .unwrap()
}

fn ids(v: &Json) -> Vec<u32> {
    v.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn ids_and_chats_are_those_of_the_reference() {
    let c = container();
    assert_eq!(c.tensors.len(), 272);
    assert_eq!(c.require("token_embd.weight").unwrap().shape, [49152, 576]);
    let tokenizer = tokenizer(&c);
    assert_eq!((tokenizer.vocab_size(), tokenizer.bos_token_id(), tokenizer.eos_token_id()), (49152, Some(1), Some(2)));
    let expected: Json = serde_json::from_str(include_str!("../fixtures/tokenizer/smollm2.json")).unwrap();
    for case in expected["cases"].as_array().unwrap() {
        let text = case[0].as_str().unwrap();
        assert_eq!(tokenizer.encode(text), ids(&case[1]), "{text:?}");
    }
    for chat in expected["chats"].as_array().unwrap() {
        let messages = chat["messages"].as_array().unwrap();
        assert_eq!(tokenizer.render_chat(messages, true).unwrap(), chat["text"].as_str().unwrap());
        assert_eq!(tokenizer.encode_chat(messages, true).unwrap(), ids(&chat["ids"]));
    }
    // "What is the capital of France?" with the template's own system message.
    let france = &expected["chats"][0];
    assert_eq!(ids(&france["ids"])[..4], [1, 9690, 198, 2683]);
    assert_eq!(ids(&france["ids"]).len(), 37);
}
