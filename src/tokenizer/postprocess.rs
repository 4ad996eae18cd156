//! Post-processors: the tokens around every text or pair of texts, their segments, and offsets without the white space of a token.
use serde_json::Value as Json;

use super::byte_level;
use super::fields;

/// A part of what a text, or a pair of texts, becomes; each with the segment that it counts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    First { type_id: u32 },
    Second { type_id: u32 },
    Tokens { ids: Vec<u32>, type_id: u32 },
}

/// The parts around one text and around two.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Template {
    single: Vec<Part>,
    /// None where nothing is said of pairs.
    pair: Option<Vec<Part>>,
}

/// The post-processor of `tokenizer.json`; a `Sequence` may have several steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Post {
    template: Option<Template>,
    /// Offsets leave out white space at either end of a token; where a space was put before every text (true), it was none of the text.
    trims: Vec<bool>,
}

/// A token with its offsets, in characters of the original text.
pub struct Placed<'a> {
    pub token: &'a str,
    pub start: usize,
    pub end: usize,
}

impl Post {
    /// Tokens before and after every text.
    pub fn new(before: Vec<u32>, after: Vec<u32>) -> Post {
        let around = |text: Part, type_id: u32| {
            let side = |ids: &Vec<u32>| Some(Part::Tokens { ids: ids.clone(), type_id }).filter(|_| !ids.is_empty());
            side(&before).into_iter().chain([text]).chain(side(&after)).collect::<Vec<_>>()
        };
        let single = around(Part::First { type_id: 0 }, 0);
        let pair = Some([single.clone(), around(Part::Second { type_id: 1 }, 1)].concat());
        Post { template: Some(Template { single, pair }), trims: Vec::new() }
    }

    /// Tokens before a text, between two and after both, as BERT and T5 have them: what is between also ends a single text.
    pub fn joined(before: &[u32], between: &[u32], last: &[u32], types: [u32; 2]) -> Post {
        let tokens = |ids: &[u32], type_id: u32| Part::Tokens { ids: ids.to_vec(), type_id };
        let [first, second] = types;
        let single = vec![tokens(before, first), Part::First { type_id: first }, tokens(last, first)];
        let opening = vec![tokens(before, first), Part::First { type_id: first }, tokens(between, first)];
        let pair = [opening, vec![Part::Second { type_id: second }, tokens(last, second)]].concat();
        Post { template: Some(Template { single, pair: Some(pair) }), trims: Vec::new() }
    }

    /// Reads `post_processor`; `null` is none. `id_of` finds a token.
    ///
    /// # Errors
    /// A sentence that names what is not supported.
    pub fn read(v: &Json, id_of: &dyn Fn(&str) -> Option<u32>) -> Result<Post, String> {
        let mut out = Post::default();
        if !v.is_null() {
            read_into(v, 0, id_of, &mut out)?;
        }
        Ok(out)
    }

    /// All ids that are put around texts.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        let parts = self.template.iter().flat_map(|t| t.single.iter().chain(t.pair.iter().flatten()));
        parts.flat_map(|p| if let Part::Tokens { ids, .. } = p { ids.as_slice() } else { &[] }).copied()
    }

    /// The ids before and after a single text.
    pub fn around(&self) -> (Vec<u32>, Vec<u32>) {
        let (mut before, mut after, mut seen) = (Vec::new(), Vec::new(), false);
        for part in self.single() {
            match part {
                Part::Tokens { ids, .. } => if seen { &mut after } else { &mut before }.extend(ids),
                _ => seen = true,
            }
        }
        (before, after)
    }

    /// The parts of a single text.
    pub fn single(&self) -> &[Part] {
        self.template.as_ref().map_or(&[Part::First { type_id: 0 }], |t| &t.single)
    }

    /// The parts of a pair; none where the file says nothing of pairs.
    pub fn pair(&self) -> Option<&[Part]> {
        match &self.template {
            Some(t) => t.pair.as_deref(),
            None => Some(&[Part::First { type_id: 0 }, Part::Second { type_id: 1 }]),
        }
    }

    /// Narrows the offsets of the `i`-th token.
    pub fn trim(&self, i: usize, placed: &mut Placed<'_>) {
        for prefix_space in &self.trims {
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

    fn set(&mut self, template: Template) -> Result<(), String> {
        match self.template.replace(template) {
            Some(_) => Err("two of its steps put tokens around texts, which is not supported".into()),
            None => Ok(()),
        }
    }
}

/// The steps of a sequence may not go deeper.
const MAX_DEPTH: usize = 8;

fn read_into(v: &Json, depth: usize, id_of: &dyn Fn(&str) -> Option<u32>, out: &mut Post) -> Result<(), String> {
    let kind = fields::kind(v)?;
    let within = |e: String| format!("{kind}: {e}");
    match kind {
        "Sequence" if depth < MAX_DEPTH => {
            fields::list(v, "processors").map_err(within)?.iter().try_for_each(|p| read_into(p, depth + 1, id_of, out))?;
        }
        "TemplateProcessing" => out.set(template(v).map_err(within)?)?,
        "ByteLevel" => {
            if fields::flag(v, "trim_offsets", true).map_err(within)? {
                out.trims.push(fields::flag(v, "add_prefix_space", true).map_err(within)?);
            }
        }
        "RobertaProcessing" | "BertProcessing" => {
            let one = |name: &str| -> Result<u32, String> {
                let token = v[name][0]
                    .as_str()
                    .ok_or_else(|| format!("{kind}: {name} is {}, expected a token and its id", fields::shown(&v[name])))?;
                let id = v[name][1].as_u64().and_then(|id| u32::try_from(id).ok());
                id.or_else(|| id_of(token)).ok_or_else(|| format!("{kind}: {name} has no id"))
            };
            let (cls, sep) = (one("cls")?, one("sep")?);
            // RoBERTa has two signs between two texts, and one segment.
            let roberta = kind == "RobertaProcessing";
            if roberta && fields::flag(v, "trim_offsets", true).map_err(within)? {
                out.trims.push(fields::flag(v, "add_prefix_space", true).map_err(within)?);
            }
            let (between, types) = if roberta { (&[sep, sep][..], [0, 0]) } else { (&[sep][..], [0, 1]) };
            out.set(Post::joined(&[cls], between, &[sep], types).template.expect("just made"))?;
        }
        other => return Err(format!("{other} is not supported")),
    }
    Ok(())
}

/// The special tokens around a text and around two.
fn template(v: &Json) -> Result<Template, String> {
    let single = parts(v, "single")?;
    if single.iter().filter(|p| matches!(p, Part::First { .. })).count() != 1 || single.iter().any(|p| matches!(p, Part::Second { .. })) {
        return Err(format!("single is {}, expected the sequence A once", fields::shown(&v["single"])));
    }
    let pair = if v["pair"].is_null() { Vec::new() } else { parts(v, "pair")? };
    let both = pair.iter().any(|p| matches!(p, Part::First { .. })) && pair.iter().any(|p| matches!(p, Part::Second { .. }));
    Ok(Template { single, pair: both.then_some(pair) })
}

fn parts(v: &Json, name: &str) -> Result<Vec<Part>, String> {
    let one = |part: &Json| {
        let wrong = || format!("{name} has {}", fields::shown(part));
        let type_of = |v: &Json| v["type_id"].as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(wrong);
        if let Some(sequence) = part.get("Sequence") {
            let type_id = type_of(sequence)?;
            return match sequence["id"].as_str() {
                Some("A") => Ok(Part::First { type_id }),
                Some("B") => Ok(Part::Second { type_id }),
                _ => Err(wrong()),
            };
        }
        let special = &part["SpecialToken"];
        let token = special["id"].as_str().ok_or_else(wrong)?;
        let ids = v["special_tokens"][token]["ids"].as_array().ok_or_else(|| format!("special_tokens has no ids for {token:?}"))?;
        let id = |id: &Json| {
            let found = id.as_u64().and_then(|id| u32::try_from(id).ok());
            found.ok_or_else(|| format!("special_tokens: {token:?} has the id {id}"))
        };
        Ok(Part::Tokens { ids: ids.iter().map(id).collect::<Result<_, _>>()?, type_id: type_of(special)? })
    };
    fields::list(v, name)?.iter().map(one).collect()
}
