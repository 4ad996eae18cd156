//! The steps of a pre-tokenizer.
use serde_json::Value as Json;

use crate::tokenizer::fields;
use crate::tokenizer::normalize;
use crate::tokenizer::pattern::Pattern;
use crate::tokenizer::text::Text;
use crate::tokenizer::unicode::{self, Odd};

/// GPT-2's regular expression, which a `ByteLevel` pre-tokenizer splits by unless it says no.
pub const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// What becomes of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

/// Before which parts of a text the sign for a space is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepend {
    Always,
    /// Only at the very beginning.
    First,
    Never,
}

/// A pre-tokenizer of `tokenizer.json` is one or several of these.
#[derive(Debug)]
pub enum Step {
    Split {
        pattern: Pattern,
        behavior: Behavior,
        /// What does not match is meant.
        invert: bool,
    },
    /// Cuts out punctuation.
    Signs(Behavior),
    /// Cuts where the script changes.
    Scripts,
    /// A space before each part that does not begin with one.
    Space,
    /// Bytes in GPT-2's spelling.
    Spell,
    /// The sign of a Metaspace for each space, and one before a part that does not begin with it.
    Metaspace { sign: char, prepend: Prepend },
    /// Pieces of so many characters.
    Fixed(usize),
}

impl Step {
    /// Reads `pre_tokenizer`; `null` is none.
    ///
    /// # Errors
    /// A sentence that names what is not supported.
    pub fn read(v: &Json) -> Result<Vec<Step>, String> {
        let mut out = Vec::new();
        if !v.is_null() {
            read_into(v, 0, &mut out)?;
        }
        Ok(out)
    }

    /// BERT's: words at white space, each sign by itself.
    pub fn bert() -> Vec<Step> {
        vec![own(r"\s", Behavior::Removed), Step::Signs(Behavior::Isolated)]
    }

    /// Splits or rewrites every part of the text that is no added token.
    pub fn apply(&self, text: &mut Text) {
        match self {
            Step::Split { pattern, behavior, invert } => text.split(|text, span| {
                let text = text.of(span);
                pieces(&pattern.matches(text), text.len(), *behavior, *invert)
            }),
            Step::Signs(behavior) => text.split(|text, span| {
                let text = text.of(span);
                let signs = text.char_indices().filter(|(_, c)| Odd::Punctuation.has(*c));
                let signs: Vec<_> = signs.map(|(i, c)| (i, i + c.len_utf8())).collect();
                pieces(&signs, text.len(), *behavior, false)
            }),
            Step::Scripts => text.split(|text, span| by_script(text.of(span))),
            Step::Space => text.rewrite(|out, _| {
                if !out.rest().starts_with(' ') && !out.rest().is_empty() {
                    out.insert_before(' ');
                }
                out.keep(out.rest().len());
            }),
            Step::Spell => normalize::spell(text),
            Step::Metaspace { sign, prepend } => {
                let firsts: Vec<bool> = text.spans().iter().map(|s| text.original(s.start, s.end).0 == 0).collect();
                let starts: Vec<usize> = text.spans().iter().map(|s| s.start).collect();
                text.rewrite(|out, span| {
                    let first = starts.binary_search(&span.start).is_ok_and(|i| firsts[i]);
                    let wanted = *prepend == Prepend::Always || (*prepend == Prepend::First && first);
                    if wanted && !out.rest().is_empty() && !out.rest().starts_with([' ', *sign]) {
                        out.insert_before(*sign);
                    }
                    while let Some(at) = out.rest().find(' ') {
                        out.keep(at);
                        out.replace(*sign, 0);
                    }
                    out.keep(out.rest().len());
                });
            }
            Step::Fixed(n) => text.split(|text, span| {
                let text = text.of(span);
                let starts: Vec<usize> = text.char_indices().step_by(*n).map(|(i, _)| i).chain([text.len()]).collect();
                starts.windows(2).map(|w| (w[0], w[1], None)).collect()
            }),
        }
    }
}

/// The pieces that the matches (and what is between them) make.
fn pieces(matches: &[(usize, usize)], len: usize, behavior: Behavior, invert: bool) -> Vec<(usize, usize, Option<u32>)> {
    let mut parts: Vec<(usize, usize, bool)> = Vec::with_capacity(2 * matches.len() + 1);
    let mut at = 0;
    for (start, end) in matches {
        if at < *start {
            parts.push((at, *start, invert));
        }
        parts.push((*start, *end, !invert));
        at = *end;
    }
    if at < len {
        parts.push((at, len, invert));
    }
    let mut out: Vec<(usize, usize, Option<u32>)> = Vec::with_capacity(parts.len());
    let mut before = false;
    match behavior {
        Behavior::Removed => out.extend(parts.iter().filter(|p| !p.2).map(|p| (p.0, p.1, None))),
        Behavior::Isolated => out.extend(parts.iter().map(|p| (p.0, p.1, None))),
        Behavior::MergedWithPrevious | Behavior::Contiguous => {
            for (start, end, is_match) in parts {
                let joins = if behavior == Behavior::Contiguous { is_match == before } else { is_match && !before };
                match out.last_mut().filter(|_| joins) {
                    Some(last) => last.1 = end,
                    None => out.push((start, end, None)),
                }
                before = is_match;
            }
        }
        Behavior::MergedWithNext => {
            for (start, end, is_match) in parts.into_iter().rev() {
                match out.last_mut().filter(|_| is_match && !before) {
                    Some(last) => last.0 = start,
                    None => out.push((start, end, None)),
                }
                before = is_match;
            }
            out.reverse();
        }
    }
    out
}

/// The steps of a sequence may not go deeper.
const MAX_DEPTH: usize = 8;

fn behavior(v: &Json) -> Result<Behavior, String> {
    Ok(match v["behavior"].as_str() {
        Some("Removed") => Behavior::Removed,
        Some("Isolated") => Behavior::Isolated,
        Some("MergedWithPrevious") => Behavior::MergedWithPrevious,
        Some("MergedWithNext") => Behavior::MergedWithNext,
        Some("Contiguous") => Behavior::Contiguous,
        _ => {
            let names = "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous";
            return Err(format!("behavior is {}, expected {names}", fields::shown(&v["behavior"])));
        }
    })
}

/// Splits by a pattern of our own.
fn own(pattern: &str, behavior: Behavior) -> Step {
    Step::Split { pattern: Pattern::new(pattern).expect("one of our own"), behavior, invert: false }
}

fn read_into(v: &Json, depth: usize, out: &mut Vec<Step>) -> Result<(), String> {
    let kind = fields::kind(v)?;
    let within = |e: String| format!("{kind}: {e}");
    match kind {
        "Sequence" if depth < MAX_DEPTH => {
            fields::list(v, "pretokenizers").map_err(within)?.iter().try_for_each(|p| read_into(p, depth + 1, out))?;
        }
        "ByteLevel" => {
            if fields::flag(v, "add_prefix_space", true).map_err(within)? {
                out.push(Step::Space);
            }
            if fields::flag(v, "use_regex", true).map_err(within)? {
                out.push(own(GPT2, Behavior::Isolated));
            }
            out.push(Step::Spell);
        }
        "Split" => {
            let (behavior, invert) = (behavior(v).map_err(within)?, fields::flag(v, "invert", false).map_err(within)?);
            if let Some(pattern) = fields::pattern(v).map_err(within)? {
                out.push(Step::Split { pattern, behavior, invert });
            }
        }
        "Digits" => {
            let single = fields::flag(v, "individual_digits", false).map_err(within)?;
            out.push(own(r"\p{N}", if single { Behavior::Isolated } else { Behavior::Contiguous }));
        }
        "Metaspace" => {
            let sign = fields::one_char(v, "replacement").map_err(within)?;
            let old = v["add_prefix_space"].as_bool();
            let prepend = match (v["prepend_scheme"].as_str(), old) {
                (Some("never"), _) | (None, Some(false)) => Prepend::Never,
                (Some("first"), None | Some(true)) => Prepend::First,
                (Some("always"), None | Some(true)) => Prepend::Always,
                (None, _) if v["prepend_scheme"].is_null() => Prepend::Always,
                _ => {
                    let scheme = fields::shown(&v["prepend_scheme"]);
                    return Err(within(format!("prepend_scheme is {scheme} with add_prefix_space {}", v["add_prefix_space"])));
                }
            };
            out.push(Step::Metaspace { sign, prepend });
            if fields::flag(v, "split", true).map_err(within)? {
                out.push(Step::Split { pattern: Pattern::literal(&sign.to_string()), behavior: Behavior::MergedWithNext, invert: false });
            }
        }
        // Words here hold joiners as well.
        "Whitespace" => {
            let pattern = Pattern::new(r"[\w\x{200c}\x{200d}]+|[^\w\x{200c}\x{200d}\s]+").expect("one of our own");
            out.push(Step::Split { pattern, behavior: Behavior::Removed, invert: true });
        }
        "WhitespaceSplit" => out.push(own(r"\s", Behavior::Removed)),
        "Punctuation" => {
            let behavior = if v["behavior"].is_null() { Behavior::Isolated } else { behavior(v).map_err(within)? };
            out.push(Step::Signs(behavior));
        }
        "BertPreTokenizer" => {
            out.extend(Step::bert());
        }
        "UnicodeScripts" => out.push(Step::Scripts),
        "CharDelimiterSplit" => {
            let sign = fields::one_char(v, "delimiter").map_err(within)?;
            out.push(Step::Split { pattern: Pattern::literal(&sign.to_string()), behavior: Behavior::Removed, invert: false });
        }
        "FixedLength" => match fields::number(v, "length").map_err(within)? {
            0 => return Err(within("length is 0".into())),
            n => out.push(Step::Fixed(n)),
        },
        other => return Err(format!("{other} is not supported")),
    }
    Ok(())
}

/// Parts of one script each. Characters without a script go with those before them; at the very beginning the package drops them.
fn by_script(text: &str) -> Vec<(usize, usize, Option<u32>)> {
    const HAN: char = '\u{4e00}';
    let mut starts = Vec::new();
    let mut last = 0;
    for (at, c) in text.char_indices() {
        let script = match c {
            ' ' => 0,
            // Kana are written among Han, and so is the sign that makes a vowel long.
            '\u{30fc}' => unicode::script(HAN),
            c => unicode::script(c),
        };
        if script != 0 && script != last {
            starts.push(at);
            last = script;
        }
    }
    starts.push(text.len());
    starts.windows(2).map(|w| (w[0], w[1], None)).collect()
}
