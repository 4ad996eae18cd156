//! The steps of a decoder.
use serde_json::Value as Json;

use crate::tokenizer::fields;
use crate::tokenizer::pattern::Pattern;

/// A decoder of `tokenizer.json` is one or several of these.
#[derive(Debug)]
pub enum Step {
    /// From GPT-2's spelling to bytes; all tokens become one.
    ByteLevel,
    /// The sign of a Metaspace becomes a space; in the first token it goes.
    Metaspace { sign: char, strips: bool },
    /// Tokens `<0x41>` become bytes.
    ByteFallback,
    /// All tokens become one.
    Fuse,
    /// Up to `start` and `stop` of a character go at either end.
    Strip { content: char, start: usize, stop: usize },
    Replace {
        pattern: Pattern,
        /// The text that is replaced, where the pattern is just that.
        literal: Option<String>,
        content: String,
    },
    /// The end of a word becomes a space; at the end of the text it goes.
    EndOfWord(String),
    /// What continues a word follows it directly, without the prefix; before all else comes a space.
    WordPiece { prefix: String, cleanup: bool },
    /// A token that is repeated counts once; the padding goes, and the sign between words becomes a space.
    Ctc { pad: String, delimiter: String, cleanup: bool },
    /// No decoder at all: a space between the tokens.
    Join,
}

/// Steps that run on tokens, and behind them those that run on one text.
#[derive(Debug)]
pub struct Decoder {
    pub(super) steps: Vec<Step>,
    /// The first step that runs on one text.
    pub(super) fused: usize,
}

impl Decoder {
    /// # Errors
    /// A sentence about an order of steps that is not supported.
    pub fn new(steps: Vec<Step>) -> Result<Decoder, String> {
        let fused = steps.iter().position(|s| matches!(s, Step::Fuse | Step::ByteLevel)).map_or(steps.len(), |i| i + 1);
        for step in steps.iter().skip(fused) {
            let name = match step {
                Step::Strip { .. } | Step::Fuse | Step::Replace { literal: Some(_), .. } => continue,
                Step::ByteLevel => "ByteLevel",
                Step::Metaspace { .. } => "Metaspace",
                Step::ByteFallback => "ByteFallback",
                Step::Replace { .. } => "Replace by a regular expression",
                Step::EndOfWord(_) => "BPEDecoder",
                Step::WordPiece { .. } => "WordPiece",
                Step::Ctc { .. } => "CTC",
                Step::Join => "a space between tokens",
            };
            return Err(format!("{name} after the tokens have become one text is not supported"));
        }
        Ok(Decoder { steps, fused })
    }

    /// Reads `decoder`.
    ///
    /// # Errors
    /// A sentence that names what is not supported.
    pub fn read(v: &Json) -> Result<Decoder, String> {
        let mut steps = Vec::new();
        if v.is_null() {
            steps.push(Step::Join);
        } else {
            read_into(v, 0, &mut steps)?;
        }
        Decoder::new(steps)
    }
}

/// The steps of a sequence may not go deeper.
const MAX_DEPTH: usize = 8;

fn read_into(v: &Json, depth: usize, out: &mut Vec<Step>) -> Result<(), String> {
    let kind = fields::kind(v)?;
    let within = |e: String| format!("{kind}: {e}");
    out.push(match kind {
        "Sequence" if depth < MAX_DEPTH => {
            return fields::list(v, "decoders").map_err(within)?.iter().try_for_each(|d| read_into(d, depth + 1, out));
        }
        "ByteLevel" => Step::ByteLevel,
        "ByteFallback" => Step::ByteFallback,
        "Fuse" => Step::Fuse,
        "Metaspace" => {
            let sign = fields::one_char(v, "replacement").map_err(within)?;
            let never = v["prepend_scheme"] == "never" || v["add_prefix_space"] == false;
            Step::Metaspace { sign, strips: !never }
        }
        "Strip" => Step::Strip {
            content: fields::one_char(v, "content").map_err(within)?,
            start: fields::number(v, "start").map_err(within)?,
            stop: fields::number(v, "stop").map_err(within)?,
        },
        "Replace" => match fields::pattern(v).map_err(within)? {
            Some(pattern) => {
                let literal = v["pattern"]["String"].as_str().map(str::to_string);
                Step::Replace { pattern, literal, content: fields::text(v, "content").map_err(within)?.to_string() }
            }
            None => return Ok(()),
        },
        "WordPiece" => Step::WordPiece {
            prefix: fields::text(v, "prefix").map_err(within)?.to_string(),
            cleanup: fields::flag(v, "cleanup", true).map_err(within)?,
        },
        "CTC" => Step::Ctc {
            pad: fields::text(v, "pad_token").map_err(within)?.to_string(),
            delimiter: fields::text(v, "word_delimiter_token").map_err(within)?.to_string(),
            cleanup: fields::flag(v, "cleanup", true).map_err(within)?,
        },
        "BPEDecoder" => Step::EndOfWord(fields::text(v, "suffix").map_err(within)?.to_string()),
        other => return Err(format!("{other} is not supported")),
    });
    Ok(())
}
