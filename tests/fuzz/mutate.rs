//! Mutations: of bytes, of texts by their words, and of JSON by its values.

use serde_json::{Map, Value, json};

/// What an input is, and so what may be done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bytes,
    Text,
    Json,
    /// JSON behind a length of eight bytes, then data: safetensors.
    Framed,
}

/// A small stream of random numbers (xorshift).
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn one_of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// Numbers at which something ends.
const EDGES: [u64; 16] = [0, 1, 2, 7, 8, 9, 12, 31, 127, 255, 65535, 1 << 24, u32::MAX as u64, 1 << 40, i64::MAX as u64, u64::MAX];

/// What parsers look for.
const WORDS: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ":",
    ",",
    "{{",
    "}}",
    "{%",
    "%}",
    "{% for x in y %}",
    "{% endfor %}",
    "{% if a %}",
    "{% endif %}",
    "|",
    "~",
    "**",
    "range(99999999)",
    "[[[[[[[[",
    "((((((((",
    "a{1,99999}",
    "(?=a)",
    "(a*)*",
    "\\p{L}+",
    "[^\\s]",
    "null",
    "true",
    "-1",
    "1e308",
    "NaN",
    "\u{feff}",
    "\r\n",
    "\u{0}",
    "\u{301}",
    "😀",
    "<|im_end|>",
    "messages",
    "data_offsets",
];

/// A mutated input.
pub fn mutated(seeds: &[Vec<u8>], kind: Kind, rng: &mut Rng) -> Vec<u8> {
    let mut out = rng.one_of(seeds).clone();
    for _ in 0..1 + rng.below(4) {
        out = match kind {
            Kind::Json if rng.below(4) > 0 => json_of(&out, rng).unwrap_or_else(|| bytes(out, seeds, rng)),
            Kind::Framed if rng.below(4) > 0 => framed(&out, rng).unwrap_or_else(|| bytes(out, seeds, rng)),
            Kind::Text | Kind::Json if rng.below(2) == 0 => words(out, rng),
            _ => bytes(out, seeds, rng),
        };
    }
    out.truncate(1 << 20);
    out
}

/// Bytes changed, numbers put in, pieces left out, doubled or taken from another input.
fn bytes(mut out: Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    // Headers are at the beginning, and matter most.
    let at = |rng: &mut Rng, len: usize| match rng.below(2) {
        0 => rng.below(len.min(512)),
        _ => rng.below(len),
    };
    let n = out.len();
    match rng.below(8) {
        0 if n > 0 => {
            let i = at(rng, n);
            out[i] ^= 1 << rng.below(8);
        }
        1 if n > 0 => {
            let i = at(rng, n);
            out[i] = rng.next() as u8;
        }
        2 if n > 8 => {
            let (i, v) = (at(rng, n - 8), rng.one_of(&EDGES).to_le_bytes());
            let width = *rng.one_of(&[1, 2, 4, 8]);
            out[i..i + width].copy_from_slice(&v[..width]);
        }
        3 if n > 0 => out.truncate(at(rng, n)),
        4 if n > 1 => {
            let i = at(rng, n);
            let len = rng.below((n - i).min(64)) + 1;
            out.drain(i..(i + len).min(n));
        }
        5 if n > 1 => {
            let i = at(rng, n);
            let piece = out[i..(i + rng.below(64) + 1).min(n)].to_vec();
            for _ in 0..1 + rng.below(8) {
                out.splice(i..i, piece.iter().copied());
            }
        }
        6 => {
            let other = rng.one_of(seeds);
            let from = rng.below(other.len());
            let piece = &other[from..(from + rng.below(256) + 1).min(other.len())];
            let i = at(rng, n);
            out.splice(i..i, piece.iter().copied());
        }
        _ => return words(out, rng),
    }
    out
}

/// A word that parsers look for, somewhere.
fn words(mut out: Vec<u8>, rng: &mut Rng) -> Vec<u8> {
    let i = rng.below(out.len() + 1);
    let word = rng.one_of(&WORDS).repeat(if rng.below(16) == 0 { 1 + rng.below(5000) } else { 1 });
    let end = (i + if rng.below(2) == 0 { 0 } else { word.len() }).min(out.len());
    out.splice(i..end, word.bytes());
    out
}

/// Another value somewhere in JSON; of JSON lines, in one of the lines.
fn json_of(text: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    if let Ok(mut value) = serde_json::from_slice::<Value>(text) {
        change(&mut value, rng);
        return serde_json::to_vec(&value).ok();
    }
    let mut lines: Vec<Vec<u8>> = text.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let i = rng.below(lines.len());
    let mut value = serde_json::from_slice::<Value>(&lines[i]).ok()?;
    change(&mut value, rng);
    lines[i] = serde_json::to_vec(&value).ok()?;
    Some(lines.join(&b'\n'))
}

fn framed(file: &[u8], rng: &mut Rng) -> Option<Vec<u8>> {
    let len = u64::from_le_bytes(file.get(..8)?.try_into().ok()?) as usize;
    let mut header = serde_json::from_slice::<Value>(file.get(8..8usize.checked_add(len)?)?).ok()?;
    change(&mut header, rng);
    let header = serde_json::to_vec(&header).ok()?;
    Some([&(header.len() as u64).to_le_bytes()[..], &header, &file[8 + len..]].concat())
}

/// A value that few expect.
fn odd(rng: &mut Rng) -> Value {
    match rng.below(14) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(rng.one_of(&EDGES)),
        4 => json!(1e308),
        5 => json!(0.5),
        6 => json!(""),
        7 => json!(rng.one_of(&WORDS)),
        8 => json!(rng.one_of(&WORDS).repeat(1 + rng.below(3000))),
        9 => json!([]),
        10 => json!({}),
        11 => (0..1 + rng.below(100)).fold(json!(0), |v, _| json!([v])),
        12 => json!(vec![0; 1 + rng.below(300)]),
        _ => json!(rng.next()),
    }
}

/// Changes one value, somewhere.
fn change(value: &mut Value, rng: &mut Rng) {
    let goes_on = rng.below(6) > 0;
    match value {
        Value::Object(map) if goes_on && !map.is_empty() => {
            let key = map.keys().nth(rng.below(map.len())).cloned().unwrap_or_default();
            match rng.below(12) {
                0 => _ = map.shift_remove(&key),
                1 => {
                    let (moved, other) = (map.shift_remove(&key).unwrap_or_default(), rng.one_of(&WORDS).to_string());
                    map.insert(other, moved);
                }
                2 => {
                    let copy = map[&key].clone();
                    map.extend((0..1 + rng.below(200)).map(|i| (format!("{key}{i}"), copy.clone())).collect::<Map<_, _>>());
                }
                _ => change(&mut map[&key], rng),
            }
        }
        Value::Array(list) if goes_on && !list.is_empty() => {
            let i = rng.below(list.len());
            match rng.below(12) {
                0 => _ = list.remove(i),
                1 => list.swap(0, i),
                2 => {
                    let copy = list[i].clone();
                    list.extend(std::iter::repeat_n(copy, 1 + rng.below(200)));
                }
                _ => change(&mut list[i], rng),
            }
        }
        Value::Number(n) if goes_on => {
            let near = n.as_i64().map(|n| json!(n.wrapping_add(*rng.one_of(&[-1, 1, 2, 1 << 20]))));
            *value = near.unwrap_or_else(|| odd(rng));
        }
        // JSON in a text: the state of a checkpoint.
        Value::String(text) if goes_on && text.starts_with('{') => match serde_json::from_str::<Value>(text) {
            Ok(mut inner) => {
                change(&mut inner, rng);
                *text = inner.to_string();
            }
            Err(_) => *value = odd(rng),
        },
        other => *other = odd(rng),
    }
}
