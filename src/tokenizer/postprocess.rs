//! Post-processors: the tokens around every text, and offsets without the white space of a token.
use serde_json::Value as Json;

use super::byte_level;
use super::fields;

/// A post-processor of `tokenizer.json`; a `Sequence` is several of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Post {
    /// Ids before and after a single text.
    Around { before: Vec<u32>, after: Vec<u32> },
    /// Offsets leave out white space at either end of a token; where a space was put before every text, it was none of the text.
    TrimOffsets { prefix_space: bool },
}

/// A token with its offsets, in characters of the original text.
pub struct Placed<'a> {
    pub token: &'a str,
    pub start: usize,
    pub end: usize,
}

impl Post {
    /// Reads `post_processor`; `null` is none. `id_of` finds a token.
    ///
    /// # Errors
    /// A sentence that names what is not supported.
    pub fn read(v: &Json, id_of: &dyn Fn(&str) -> Option<u32>) -> Result<Vec<Post>, String> {
        let mut out = Vec::new();
        if !v.is_null() {
            read_into(v, 0, id_of, &mut out)?;
        }
        Ok(out)
    }

    /// Narrows the offsets of the `i`-th token.
    pub fn trim(&self, i: usize, placed: &mut Placed<'_>) {
        let Post::TrimOffsets { prefix_space } = self else { return };
        let space = |c: &char| *c == byte_level::char_of(b' ') || c.is_whitespace();
        let mut leading = placed.token.chars().take_while(space).count();
        let trailing = placed.token.chars().rev().take_while(space).count();
        // A single space at the beginning may be the one that was put there; several are the text's own.
        if (i == 0 || placed.start == 0) && *prefix_space && leading == 1 {
            leading = 0;
        }
        placed.start = (placed.start + leading).min(placed.end);
        if placed.end >= trailing {
            placed.end = (placed.end - trailing).max(placed.start);
        }
    }
}

/// The steps of a sequence may not go deeper.
const MAX_DEPTH: usize = 8;

fn read_into(v: &Json, depth: usize, id_of: &dyn Fn(&str) -> Option<u32>, out: &mut Vec<Post>) -> Result<(), String> {
    let kind = fields::kind(v)?;
    let within = |e: String| format!("{kind}: {e}");
    match kind {
        "Sequence" if depth < MAX_DEPTH => {
            fields::list(v, "processors").map_err(within)?.iter().try_for_each(|p| read_into(p, depth + 1, id_of, out))?;
        }
        "TemplateProcessing" => out.push(template(v).map_err(within)?),
        "ByteLevel" => {
            if fields::flag(v, "trim_offsets", true).map_err(within)? {
                out.push(Post::TrimOffsets { prefix_space: fields::flag(v, "add_prefix_space", true).map_err(within)? });
            }
        }
        "RobertaProcessing" | "BertProcessing" => {
            let pair = |name: &str| -> Result<u32, String> {
                let token = v[name][0]
                    .as_str()
                    .ok_or_else(|| format!("{kind}: {name} is {}, expected a token and its id", fields::shown(&v[name])))?;
                let id = v[name][1].as_u64().and_then(|id| u32::try_from(id).ok());
                id.or_else(|| id_of(token)).ok_or_else(|| format!("{kind}: {name} has no id"))
            };
            if kind == "RobertaProcessing" && fields::flag(v, "trim_offsets", true).map_err(within)? {
                out.push(Post::TrimOffsets { prefix_space: fields::flag(v, "add_prefix_space", true).map_err(within)? });
            }
            out.push(Post::Around { before: vec![pair("cls")?], after: vec![pair("sep")?] });
        }
        other => return Err(format!("{other} is not supported")),
    }
    Ok(())
}

/// The special tokens around a single text.
fn template(v: &Json) -> Result<Post, String> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    let mut seen = false;
    for part in fields::list(v, "single")? {
        if let Some(sequence) = part.get("Sequence") {
            if seen || sequence["id"] != "A" {
                return Err(format!("single is {}, expected the sequence A once", fields::shown(&v["single"])));
            }
            seen = true;
            continue;
        }
        let name = part["SpecialToken"]["id"].as_str().ok_or_else(|| format!("single has {}", fields::shown(part)))?;
        let ids = v["special_tokens"][name]["ids"].as_array().ok_or_else(|| format!("special_tokens has no ids for {name:?}"))?;
        for id in ids {
            let id =
                id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| format!("special_tokens: {name:?} has the id {id}"))?;
            if seen { after.push(id) } else { before.push(id) }
        }
    }
    if !seen {
        return Err("single has no sequence".into());
    }
    Ok(Post::Around { before, after })
}
