//! Normalizers: what becomes of a text before it is split.
use serde_json::Value as Json;

use super::byte_level;
use super::charsmap::Charsmap;
use super::fields;
use super::pattern::Pattern;
use super::text::{Rewriter, Text};
use super::unicode::{self, Odd, combining_class};

/// A normalizer of `tokenizer.json`; a `Sequence` is several of them.
#[derive(Debug)]
pub enum Normalizer {
    /// NFC, NFD, NFKC, NFKD.
    Form {
        compatible: bool,
        composed: bool,
    },
    Lowercase,
    /// Drops all marks of a kind.
    StripMarks(Odd),
    /// BERT's cleaning: control characters go, white space becomes a space.
    CleanText,
    /// A space before and behind each Chinese character.
    SpaceHan,
    /// The cleaning of SentencePiece's older models: other characters than BERT's.
    Nmt,
    /// SentencePiece's own map.
    Charsmap(Charsmap),
    Strip {
        left: bool,
        right: bool,
    },
    Prepend(String),
    Replace {
        pattern: Pattern,
        content: String,
    },
    /// Every byte in GPT-2's spelling.
    ByteLevel,
}

impl Normalizer {
    /// Reads `normalizer`; `null` is none.
    ///
    /// # Errors
    /// A sentence that names what is not supported.
    pub fn read(v: &Json) -> Result<Vec<Normalizer>, String> {
        let mut out = Vec::new();
        if !v.is_null() {
            read_into(v, 0, &mut out)?;
        }
        Ok(out)
    }

    /// Normalizes every part of the text that is no added token.
    pub fn apply(&self, text: &mut Text) {
        match self {
            Normalizer::Form { compatible, composed } => {
                // Below U+00A0 nothing decomposes, below U+0300 nothing composes.
                let least = if *composed && !*compatible { '\u{300}' } else { '\u{a0}' };
                if text.spans().iter().any(|s| s.id.is_none() && text.of(*s).chars().any(|c| c >= least)) {
                    text.rewrite(|out, _| form(out, *compatible, *composed));
                }
            }
            Normalizer::Lowercase => text.rewrite(|out, _| {
                while let Some(c) = out.rest().chars().next() {
                    let mut lower = c.to_lowercase();
                    let first = lower.next().expect("at least one");
                    put(out, c, first);
                    lower.for_each(|c| out.insert(c));
                }
            }),
            Normalizer::StripMarks(kind) => {
                each_char(text, |out, c| if kind.has(c) { out.drop(c.len_utf8()) } else { out.keep(c.len_utf8()) })
            }
            Normalizer::CleanText => each_char(text, |out, c| {
                let space = c.is_whitespace();
                match c {
                    _ if matches!(c, '\0' | '\u{fffd}') || (!matches!(c, '\t' | '\n' | '\r') && Odd::Control.has(c)) => {
                        out.drop(c.len_utf8())
                    }
                    _ => put(out, c, if space { ' ' } else { c }),
                }
            }),
            Normalizer::SpaceHan => each_char(text, |out, c| {
                if is_chinese(c) {
                    out.replace(' ', 0);
                    out.insert(c);
                    out.insert(' ');
                } else {
                    out.keep(c.len_utf8());
                }
            }),
            Normalizer::Nmt => each_char(text, |out, c| match c as u32 {
                0x1..=0x8 | 0xb | 0xe..=0x1f | 0x7f | 0x8f | 0x9f => out.drop(c.len_utf8()),
                0x9 | 0xa | 0xc | 0xd | 0x1680 | 0x200b..=0x200f | 0x2028 | 0x2029 | 0x2581 | 0xfeff | 0xfffd => put(out, c, ' '),
                _ => out.keep(c.len_utf8()),
            }),
            Normalizer::Charsmap(map) => text.rewrite(|out, _| match map.parts(out.rest()) {
                Some(parts) => {
                    put_parts(out, parts);
                    out.drop(out.rest().len());
                }
                None => out.keep(out.rest().len()),
            }),
            Normalizer::Strip { left, right } => text.rewrite(|out, _| {
                if *left {
                    out.drop(out.rest().len() - out.rest().trim_start().len());
                }
                let kept = if *right { out.rest().trim_end().len() } else { out.rest().len() };
                out.keep(kept);
                out.drop(out.rest().len());
            }),
            Normalizer::Prepend(before) => text.rewrite(|out, _| {
                if !out.rest().is_empty() {
                    before.chars().for_each(|c| out.insert_before(c));
                    out.keep(out.rest().len());
                }
            }),
            Normalizer::Replace { pattern, content } => text.rewrite(|out, _| {
                let mut done = 0;
                for (start, end) in pattern.matches(out.rest()).into_iter().collect::<Vec<_>>() {
                    out.keep(start - done);
                    out.drop(end - start);
                    content.chars().for_each(|c| out.insert(c));
                    done = end;
                }
                out.keep(out.rest().len());
            }),
            Normalizer::ByteLevel => spell(text),
        }
    }

    /// The text of a token as the normalizer leaves it.
    pub fn apply_all(all: &[Normalizer], text: &str) -> String {
        let mut text = Text::new(text);
        all.iter().for_each(|n| n.apply(&mut text));
        text.spans().iter().map(|s| text.of(*s)).collect()
    }
}

/// Deals with one character after the other.
fn each_char(text: &mut Text, on: impl Fn(&mut Rewriter<'_>, char)) {
    text.rewrite(|out, _| {
        while let Some(c) = out.rest().chars().next() {
            on(out, c);
        }
    });
}

/// What BERT takes for Chinese, with the gap that the package has in it.
fn is_chinese(c: char) -> bool {
    matches!(
        c as u32,
        0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x2a6df | 0x2a700..=0x2b81f | 0x2b920..=0x2ceaf | 0x2f800..=0x2fa1f
    )
}

/// Writes every byte in GPT-2's spelling.
pub fn spell(text: &mut Text) {
    text.rewrite(|out, _| {
        while let Some(c) = out.rest().chars().next() {
            let mut bytes = [0; 4];
            let bytes = c.encode_utf8(&mut bytes).as_bytes();
            put(out, c, byte_level::char_of(bytes[0]));
            bytes[1..].iter().for_each(|b| out.insert(byte_level::char_of(*b)));
        }
    });
}

/// `new` where `old` was.
fn put(out: &mut Rewriter<'_>, old: char, new: char) {
    if old == new { out.keep(old.len_utf8()) } else { out.replace(new, 0) }
}

/// The steps of a sequence may not go deeper.
const MAX_DEPTH: usize = 8;

fn read_into(v: &Json, depth: usize, out: &mut Vec<Normalizer>) -> Result<(), String> {
    let kind = fields::kind(v)?;
    let within = |e: String| format!("{kind}: {e}");
    out.push(match kind {
        "Sequence" if depth < MAX_DEPTH => {
            return fields::list(v, "normalizers").map_err(within)?.iter().try_for_each(|n| read_into(n, depth + 1, out));
        }
        "NFC" => Normalizer::Form { compatible: false, composed: true },
        "NFD" => Normalizer::Form { compatible: false, composed: false },
        "NFKC" => Normalizer::Form { compatible: true, composed: true },
        "NFKD" => Normalizer::Form { compatible: true, composed: false },
        "Lowercase" => Normalizer::Lowercase,
        "StripAccents" => Normalizer::StripMarks(Odd::Accent),
        "Nmt" => Normalizer::Nmt,
        "Precompiled" => {
            let map = fields::text(v, "precompiled_charsmap").map_err(within)?;
            Normalizer::Charsmap(Charsmap::from_base64(map).map_err(within)?)
        }
        "BertNormalizer" => {
            let flag = |name: &str, default: bool| fields::flag(v, name, default).map_err(within);
            let lowercase = flag("lowercase", true)?;
            bert(flag("clean_text", true)?, flag("handle_chinese_chars", true)?, flag("strip_accents", lowercase)?, lowercase, out);
            return Ok(());
        }
        "Strip" => Normalizer::Strip {
            left: fields::flag(v, "strip_left", true).map_err(within)?,
            right: fields::flag(v, "strip_right", true).map_err(within)?,
        },
        "Prepend" => Normalizer::Prepend(fields::text(v, "prepend").map_err(within)?.to_string()),
        "Replace" => match fields::pattern(v).map_err(within)? {
            Some(pattern) => Normalizer::Replace { pattern, content: fields::text(v, "content").map_err(within)?.to_string() },
            None => return Ok(()),
        },
        "ByteLevel" => Normalizer::ByteLevel,
        other => return Err(format!("{other} is not supported")),
    });
    Ok(())
}

/// The steps of BERT's normalizer.
pub fn bert(clean_text: bool, handle_chinese_chars: bool, strip_accents: bool, lowercase: bool, out: &mut Vec<Normalizer>) {
    out.extend(clean_text.then_some(Normalizer::CleanText));
    out.extend(handle_chinese_chars.then_some(Normalizer::SpaceHan));
    if strip_accents {
        out.extend([Normalizer::Form { compatible: false, composed: false }, Normalizer::StripMarks(Odd::Nonspacing)]);
    }
    out.extend(lowercase.then_some(Normalizer::Lowercase));
}

/// Rewrites the rest in a normal form. A character that was composed stands for the first of those it was made from.
fn form(out: &mut Rewriter<'_>, compatible: bool, composed: bool) {
    // Each character with how many more of the old ones it replaces; one that is inserted replaces -1 more.
    let mut parts: Vec<(char, isize)> = Vec::new();
    for c in out.rest().chars() {
        let mut change = 0;
        unicode::decompose(c, compatible, &mut |d| {
            parts.push((d, change));
            change = -1;
        });
    }
    // Marks behind a character stand in the order of their classes.
    let mut start = 0;
    while start < parts.len() {
        let is_mark = |p: &(char, isize)| combining_class(p.0) != 0;
        let n = parts[start..].iter().take_while(|p| is_mark(p)).count();
        parts[start..start + n].sort_by_key(|p| combining_class(p.0));
        start += n.max(1);
    }
    put_parts(out, if composed { compose(parts) } else { parts });
}

/// Puts characters in the place of the old ones, each with how many more of those it replaces; −1 for one that is inserted.
fn put_parts(out: &mut Rewriter<'_>, parts: Vec<(char, isize)>) {
    for (c, more) in parts {
        let old = out.rest().chars().next();
        match usize::try_from(more) {
            Ok(0) if old == Some(c) => out.keep(c.len_utf8()),
            Ok(more) if old.is_some() => out.replace(c, more),
            _ => out.insert(c),
        }
    }
}

fn compose(parts: Vec<(char, isize)>) -> Vec<(char, isize)> {
    let mut out = Vec::with_capacity(parts.len());
    // The last character of class 0, the marks behind it that were not taken up, and the class of the last of them.
    let mut base: Option<(char, isize)> = None;
    let mut marks: Vec<(char, isize)> = Vec::new();
    let mut last = None;
    for (c, change) in parts {
        let class = combining_class(c);
        let Some(b) = base else {
            if class == 0 {
                base = Some((c, change));
            } else {
                out.push((c, change));
            }
            continue;
        };
        // Behind a mark of the same or a higher class, a character cannot reach the base.
        let reaches = last.is_none_or(|l| l < class);
        match unicode::compose(b.0, c).filter(|_| reaches) {
            Some(both) => base = Some((both, b.1 + change + 1)),
            None if class == 0 => {
                out.push(b);
                out.append(&mut marks);
                base = Some((c, change));
                last = None;
            }
            None => {
                marks.push((c, change));
                last = Some(class);
            }
        }
    }
    out.extend(base);
    out.append(&mut marks);
    out
}
