//! Added tokens: texts that are looked for before anything else.
use std::collections::HashMap;

use super::normalize::Normalizer;
use super::text::Text;
use super::unicode::is_word;

/// An added token, with the fields of `tokenizer.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedToken {
    pub id: u32,
    pub content: String,
    /// Not in the middle of a word.
    pub single_word: bool,
    /// White space before it belongs to it.
    pub lstrip: bool,
    /// White space after it belongs to it.
    pub rstrip: bool,
    /// Looked for in the normalized text.
    pub normalized: bool,
    /// A control token: no text, and only found where the caller parses such tokens.
    pub special: bool,
}

impl AddedToken {
    /// A token that is looked for as it is written.
    pub fn plain(id: u32, content: &str, special: bool) -> AddedToken {
        AddedToken { id, content: content.to_string(), single_word: false, lstrip: false, rstrip: false, normalized: false, special }
    }
}

/// All added tokens, ready to be found.
#[derive(Debug, Default)]
pub struct AddedTokens {
    tokens: Vec<AddedToken>,
    /// What each gives in decoding: a normalized one is decoded as the normalizer leaves it.
    shown: Vec<String>,
    by_content: HashMap<String, u32>,
    by_id: HashMap<u32, u32>,
    before: Finder,
    after: Finder,
}

impl AddedTokens {
    pub fn new(tokens: Vec<AddedToken>, normalizers: &[Normalizer]) -> AddedTokens {
        let mut out = AddedTokens::default();
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for (i, t) in tokens.iter().enumerate() {
            let i = i as u32;
            out.by_content.entry(t.content.clone()).or_insert(i);
            out.by_id.entry(t.id).or_insert(i);
            let (list, shown) = match t.normalized {
                true => (&mut after, Normalizer::apply_all(normalizers, &t.content)),
                false => (&mut before, t.content.clone()),
            };
            list.push((shown.clone(), i));
            out.shown.push(shown);
        }
        (out.before, out.after) = (Finder::new(before), Finder::new(after));
        out.tokens = tokens;
        out
    }

    pub fn by_content(&self, text: &str) -> Option<&AddedToken> {
        self.by_content.get(text).map(|i| &self.tokens[*i as usize])
    }

    pub fn by_id(&self, id: u32) -> Option<&AddedToken> {
        self.by_id.get(&id).map(|i| &self.tokens[*i as usize])
    }

    /// What a token gives in decoding, and whether it is a control token.
    pub fn shown(&self, id: u32) -> Option<(&str, bool)> {
        self.by_id.get(&id).map(|i| (self.shown[*i as usize].as_str(), self.tokens[*i as usize].special))
    }

    /// Cuts out what is looked for as it is written.
    pub fn split_before(&self, text: &mut Text, parse_special: bool) {
        self.split(&self.before, text, parse_special);
    }

    /// Cuts out what is looked for in the normalized text.
    pub fn split_after(&self, text: &mut Text, parse_special: bool) {
        self.split(&self.after, text, parse_special);
    }

    fn split(&self, finder: &Finder, text: &mut Text, parse_special: bool) {
        if finder.texts.is_empty() {
            return;
        }
        text.split(|text, span| {
            let text = text.of(span);
            let mut parts = Vec::new();
            let mut done = 0;
            let mut at = 0;
            while let Some((from, to, i)) = finder.next(text, at) {
                at = to;
                let token = &self.tokens[i as usize];
                if !parse_special && token.special {
                    continue;
                }
                let (mut start, mut end) = (from, to);
                if token.single_word {
                    let inside = |c: Option<char>| c.is_some_and(is_word);
                    if inside(text[..start].chars().next_back()) || inside(text[end..].chars().next()) {
                        continue;
                    }
                }
                if token.lstrip {
                    start = text[..start].trim_end().len().max(done);
                }
                if token.rstrip {
                    end = text.len() - text[end..].trim_start().len();
                }
                parts.push((done, start, None));
                parts.push((start, end, Some(token.id)));
                done = end;
            }
            parts.push((done, text.len(), None));
            parts
        });
    }
}

/// Finds the leftmost of many texts, the longest of those that begin at one place.
#[derive(Debug, Default)]
struct Finder {
    /// Sorted, with what they stand for.
    texts: Vec<(String, u32)>,
    /// Where those with each first byte begin in `texts`.
    firsts: Vec<u32>,
}

impl Finder {
    fn new(mut texts: Vec<(String, u32)>) -> Finder {
        texts.retain(|t| !t.0.is_empty());
        texts.sort();
        texts.dedup_by(|b, a| a.0 == b.0);
        let firsts = (0..=256u32).map(|b| texts.partition_point(|t| u32::from(t.0.as_bytes()[0]) < b) as u32).collect();
        Finder { texts, firsts }
    }

    /// The first one from `at` on: where it begins and ends.
    fn next(&self, text: &str, at: usize) -> Option<(usize, usize, u32)> {
        let bytes = text.as_bytes();
        (at..bytes.len()).find_map(|start| {
            let b = bytes[start] as usize;
            let (mut low, mut high) = (self.firsts[b] as usize, self.firsts[b + 1] as usize);
            let mut found = None;
            let mut n = 1;
            // Byte by byte, those that still fit are a part of the sorted list.
            while low < high {
                if self.texts[low].0.len() == n {
                    found = Some((start, start + n, self.texts[low].1));
                    low += 1;
                }
                let Some(next) = bytes.get(start + n) else { break };
                let among = &self.texts[low..high];
                let from = among.partition_point(|t| t.0.as_bytes()[n] < *next);
                let to = among.partition_point(|t| t.0.as_bytes()[n] <= *next);
                (low, high) = (low + from, low + to);
                n += 1;
            }
            found
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Finder;

    #[test]
    fn the_leftmost_then_the_longest() {
        let texts = ["ab", "abc", "b", "bcd", "é"];
        let f = Finder::new(texts.iter().zip(0..).map(|(t, i)| (t.to_string(), i)).collect());
        assert_eq!(f.next("xxabcd", 0), Some((2, 5, 1)));
        assert_eq!(f.next("xabx", 0), Some((1, 3, 0)));
        assert_eq!(f.next("abcd", 1), Some((1, 4, 3)));
        assert_eq!(f.next("aé", 0), Some((1, 3, 4)));
        assert_eq!(f.next("xyz", 0), None);
        assert_eq!(Finder::default().texts.len(), 0);
    }
}
