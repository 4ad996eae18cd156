//! Text to ids and back, and chat templates. A leaf.
//!
//! Written here: the `tokenizers` crate costs more than half of the size budget of wasm and JavaScript together (figures in
//! `docs/decisions.md`). The rooms are those of its pipeline, and ids, tokens and offsets are the same:
//! added tokens, then `normalize`, `pretokenize`, `model`, `postprocess`, and back through `decode`. `json` and `gguf` read the two file formats.
mod added;
mod bert;
mod byte_level;
mod charsmap;
mod config;
mod decode;
mod ends;
mod fields;
mod gguf;
mod json;
mod model;
mod normalize;
mod pattern;
mod postprocess;
mod pretokenize;
mod sentencepiece;
mod spaces;
mod stream;
mod template;
mod text;
mod to_gguf;
#[expect(clippy::module_inception)]
mod tokenizer;
mod unicode;
mod vocab_txt;

pub use decode::StopMatcher;
pub use gguf::GgufVocab;
pub use model::MAX_TOKENS;
pub use pattern::Pattern;
pub use stream::DecodeStream;
pub use template::ChatTemplate;
pub use to_gguf::{GgufTokens, GgufValue, to_gguf};
pub use tokenizer::{Encoding, Tokenizer};
