//! A `tokenizer.json` as the keys of a GGUF, as llama.cpp's converter writes them.
//!
//! A GGUF names a pre-tokenizer and has no normalizers: whoever writes one reads it again and compares.

use super::json::Folder;
use super::model::Model;
use super::normalize::Normalizer;
use super::pretokenize::{Prepend, Step, names};
use super::text::Text;
use crate::{Error, Result};

/// What a key holds.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufValue {
    Text(String),
    Flag(bool),
    Id(u32),
    Texts(Vec<String>),
    Types(Vec<i32>),
    Scores(Vec<f32>),
}

/// The keys, and what the file says that they cannot.
#[derive(Debug, Default)]
pub struct GgufTokens {
    pub values: Vec<(&'static str, GgufValue)>,
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub pad: Option<u32>,
    pub chat_template: Option<String>,
    pub warnings: Vec<String>,
}

/// `tokenizer.ggml.token_type`.
mod kind {
    pub const NORMAL: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const USER_DEFINED: i32 = 4;
    pub const UNUSED: i32 = 5;
    pub const BYTE: i32 = 6;
}

/// The keys of the tokenizer in the text of a `tokenizer.json` and of a `tokenizer_config.json`, for an embedding of `rows` rows.
///
/// # Errors
/// [`Error::BadFile`] with what cannot be said.
pub fn to_gguf(text: &str, config: Option<&str>, rows: usize) -> Result<GgufTokens> {
    let bad = |why: &str| Error::file("tokenizer.json", why);
    let folder = Folder::read("tokenizer.json", text, config)?;
    let (before, after) = folder.post.around();
    let Folder { added, model, merges, normalizers, pre, .. } = &folder;
    let Model::Bpe(bpe) = model else { return Err(bad("is no BPE tokenizer: a GGUF of another kind is read, not written")) };
    let highest = added.iter().map(|a| a.id as usize + 1).max().unwrap_or(0);
    let ids = bpe.vocab.len().max(highest).max(rows);
    let byte_level = pre.iter().any(|s| matches!(s, Step::Spell)) || normalizers.iter().any(|n| matches!(n, Normalizer::ByteLevel));
    if bpe.bytes.is_none() && !byte_level {
        return Err(bad("is a BPE of characters without bytes, which a GGUF has no name for"));
    }
    let mut out = GgufTokens::default();
    let mut tokens: Vec<String> = (0..ids as u32).map(|id| bpe.vocab.get(id).to_string()).collect();
    let mut types = vec![kind::NORMAL; ids];
    for (id, (token, kind)) in tokens.iter_mut().zip(&mut types).enumerate() {
        if token.is_empty() {
            (*token, *kind) = (format!("[PAD{id}]"), kind::UNUSED);
        }
    }
    if let Some(bytes) = &bpe.bytes {
        bytes.iter().flatten().for_each(|id| types[*id as usize] = kind::BYTE);
    }
    for a in added {
        tokens[a.id as usize].clone_from(&a.content);
        types[a.id as usize] = if a.special { kind::CONTROL } else { kind::USER_DEFINED };
        if a.lstrip || a.rstrip || a.single_word {
            out.warnings
                .push(format!("the token {:?} takes in what is around it (lstrip, rstrip, single_word); a GGUF cannot say so", a.content));
        }
    }
    if let Some(unknown) = bpe.unknown {
        types[unknown as usize] = kind::UNKNOWN;
        out.values.push(("tokenizer.ggml.unknown_token_id", GgufValue::Id(unknown)));
    }
    if normalizers.iter().any(|n| matches!(n, Normalizer::Form { .. })) {
        out.warnings.push("texts are brought into a normal form first, which a GGUF cannot say: decomposed letters give other ids".into());
    }
    out.values.push(("tokenizer.ggml.add_bos_token", GgufValue::Flag(!before.is_empty())));
    out.values.push(("tokenizer.ggml.add_eos_token", GgufValue::Flag(!after.is_empty())));
    if byte_level {
        out.values.push(("tokenizer.ggml.model", GgufValue::Text("gpt2".into())));
        let name = pre_name(pre, bpe.ignore_merges).ok_or_else(|| bad("splits texts as no name of tokenizer.ggml.pre does"))?;
        out.values.push(("tokenizer.ggml.pre", GgufValue::Text(name.into())));
        out.values.push(("tokenizer.ggml.merges", GgufValue::Texts(merges.iter().map(|(a, b)| format!("{a} {b}")).collect())));
        if pre.iter().any(|s| matches!(s, Step::Space)) {
            out.values.push(("tokenizer.ggml.add_space_prefix", GgufValue::Flag(true)));
        }
    } else {
        out.values.push(("tokenizer.ggml.model", GgufValue::Text("llama".into())));
        out.values.push(("tokenizer.ggml.pre", GgufValue::Text("default".into())));
        let space = normalizers.iter().any(|n| matches!(n, Normalizer::Prepend(_)))
            || pre.iter().any(|s| matches!(s, Step::Metaspace { prepend: Prepend::Always | Prepend::First, .. }));
        out.values.push(("tokenizer.ggml.add_space_prefix", GgufValue::Flag(space)));
        // SentencePiece merges by the score of what comes out: here the place of the first merge that makes it, from above.
        let mut scores = vec![-1e6; ids];
        let mut both = String::new();
        for (rank, (a, b)) in merges.iter().enumerate().rev() {
            both.clear();
            both.extend([a.as_str(), b]);
            if let Some(id) = bpe.vocab.find(&both) {
                scores[id as usize] = -(rank as f32);
            }
        }
        out.values.push(("tokenizer.ggml.scores", GgufValue::Scores(scores)));
    }
    (out.bos, out.eos, out.pad) = (before.first().copied().or(folder.bos), folder.eos, folder.pad);
    out.chat_template.clone_from(&folder.template);
    out.values.push(("tokenizer.ggml.tokens", GgufValue::Texts(tokens)));
    out.values.push(("tokenizer.ggml.token_type", GgufValue::Types(types)));
    Ok(out)
}

/// Words, numbers and signs that pre-tokenizers cut differently.
const CUTS: &str = "It's 1234567 o'clock, THEY'LL see: CamelCase x1y22 naïve Größe 中文字12 かな漢字 한국어 \u{301}a ²³ ٣٤٥\n\n  \t a_b/c//d \
    $9.99 «»…？！ don't\r\n\r\nΑΒΓ абв 😀😀 (x|y) ``z`` end   ";

/// The first name in the list that cuts [`CUTS`] as these steps do, and looks for whole tokens as the file says.
fn pre_name(steps: &[Step], ignore_merges: bool) -> Option<&'static str> {
    // A space before the text is said by a key of its own.
    let cut = |steps: &[Step]| {
        let mut text = Text::new(CUTS);
        steps.iter().filter(|s| !matches!(s, Step::Space)).for_each(|s| s.apply(&mut text));
        text.spans().iter().map(|s| text.of(*s).to_string()).collect::<Vec<_>>()
    };
    let own = cut(steps);
    names().find(|(_, named)| named.ignore_merges == ignore_merges && cut(&named.steps()) == own).map(|(name, _)| name)
}
