//! SentencePiece's precompiled map of characters to what they are normalized to.
//!
//! A file has the number of bytes of a double array trie (darts-clone) of all keys, the trie, and the texts that its values point at, each with a
//! zero behind it.
use super::unicode::Odd;

/// The map.
#[derive(Debug)]
pub struct Charsmap {
    units: Vec<u32>,
    texts: String,
}

/// Longer graphemes are looked up character by character.
/// Bytes of a text that something is mapped to; the longest in use has some forty.
const LONGEST_TEXT: usize = 256;
const LONGEST: usize = 5;

impl Charsmap {
    /// # Errors
    /// A sentence about what is no such map.
    pub fn new(bytes: &[u8]) -> Result<Charsmap, String> {
        let wrong = |what: &str| format!("precompiled_charsmap {what}");
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| wrong("is empty"))?;
        let size = u32::from_le_bytes(*size) as usize / 4 * 4;
        if size == 0 || size > rest.len() {
            return Err(wrong(&format!("has {} bytes, and says that {size} of them are a trie", bytes.len())));
        }
        let (trie, texts) = rest.split_at(size);
        let units = trie.as_chunks::<4>().0.iter().map(|u| u32::from_le_bytes(*u)).collect();
        let texts = std::str::from_utf8(texts).map_err(|_| wrong("holds texts that are no UTF-8"))?;
        // A text is put in for every character that is mapped to it: a long one would fill the memory.
        if let Some(long) = texts.split('\0').map(str::len).find(|n| *n > LONGEST_TEXT) {
            return Err(wrong(&format!("maps to a text of {long} bytes, expected {LONGEST_TEXT} at most")));
        }
        Ok(Charsmap { units, texts: texts.to_string() })
    }

    /// The map as `tokenizer.json` has it.
    ///
    /// # Errors
    /// A sentence about what is no such map.
    pub fn from_base64(text: &str) -> Result<Charsmap, String> {
        Charsmap::new(&base64(text).ok_or("precompiled_charsmap is no base64")?)
    }

    /// What the shortest key that `key` begins with is mapped to. That it is the shortest is a habit of the `tokenizers` package.
    fn find(&self, key: &str) -> Option<&str> {
        let offset = |unit: u32| (unit >> 10) << ((unit & (1 << 9)) >> 6);
        let mut at = offset(*self.units.first()?);
        for b in key.bytes().take_while(|b| *b != 0) {
            at ^= u32::from(b);
            let unit = *self.units.get(at as usize)?;
            if unit & (1 << 31 | 0xff) != u32::from(b) {
                return None;
            }
            at ^= offset(unit);
            if unit >> 8 & 1 == 1 {
                let start = (self.units.get(at as usize)? & !(1 << 31)) as usize;
                let rest = self.texts.get(start..)?;
                return rest.split('\0').next();
            }
        }
        None
    }

    /// The characters of a text as the map leaves them, each with how many more of the old ones it replaces (−1 for one that is inserted); none where
    /// nothing changes.
    pub fn parts(&self, text: &str) -> Option<Vec<(char, isize)>> {
        let mut parts = Vec::new();
        let mut changed = false;
        let mut rest = text;
        while !rest.is_empty() {
            let (grapheme, after) = rest.split_at(grapheme(rest));
            rest = after;
            if grapheme.len() <= LONGEST
                && let Some(new) = self.find(grapheme)
            {
                changed = true;
                put(&mut parts, grapheme.chars().count(), new);
                continue;
            }
            for (i, c) in grapheme.char_indices() {
                match self.find(&grapheme[i..i + c.len_utf8()]) {
                    Some(new) => {
                        changed = true;
                        put(&mut parts, 1, new);
                    }
                    None => parts.push((c, 0)),
                }
            }
        }
        changed.then_some(parts)
    }
}

/// `new` in the place of so many old characters. What is left out counts to the character before, if there is one.
fn put(parts: &mut Vec<(char, isize)>, old: usize, new: &str) {
    let before = parts.len();
    parts.extend(new.chars().map(|c| (c, 0)));
    let (old, new) = (old as isize, (parts.len() - before) as isize);
    let added = usize::try_from(new - old).unwrap_or(0);
    parts.iter_mut().rev().take(added).for_each(|p| p.1 = -1);
    if let (true, Some(last)) = (new < old, parts.last_mut()) {
        last.1 += old - new;
    }
}

/// The number of bytes of the grapheme that a text begins with. Flags and emoji with joiners count as several: they are longer than what is looked up.
fn grapheme(text: &str) -> usize {
    let mut chars = text.chars();
    let Some(mut last) = chars.next() else { return 0 };
    let mut end = last.len_utf8();
    if last == '\r' && text[1..].starts_with('\n') {
        return 2;
    }
    if Odd::Alone.has(last) && !Odd::Opens.has(last) {
        return end;
    }
    for c in chars {
        let joins = !c.is_ascii() && (Odd::Joins.has(c) || in_syllable(last, c));
        let opened = !last.is_ascii() && Odd::Opens.has(last) && !Odd::Alone.has(c);
        if !joins && !opened {
            break;
        }
        end += c.len_utf8();
        last = c;
    }
    end
}

/// True if two parts of a Hangul syllable are of one.
fn in_syllable(a: char, b: char) -> bool {
    let kind = |c: char| match c as u32 {
        0x1100..=0x115f | 0xa960..=0xa97c => 1,
        0x1160..=0x11a7 | 0xd7b0..=0xd7c6 => 2,
        0x11a8..=0x11ff | 0xd7cb..=0xd7fb => 3,
        n @ 0xac00..=0xd7a3 => 4 + u32::from(!(n - 0xac00).is_multiple_of(28)),
        _ => 0,
    };
    matches!((kind(a), kind(b)), (1, 1 | 2 | 4 | 5) | (2 | 4, 2 | 3) | (3 | 5, 3))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        let mut bits = 0u32;
        for b in chunk {
            let value = match b {
                b'A'..=b'Z' => b - b'A',
                b'a'..=b'z' => b - b'a' + 26,
                b'0'..=b'9' => b - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let missing = 4 - chunk.len();
        (missing < 3).then_some(())?;
        bits <<= 6 * missing;
        out.extend_from_slice(&bits.to_be_bytes()[1..4 - missing]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_graphemes_end() {
        for (text, n) in [
            ("ab", 1),
            ("e\u{301}\u{323}x", 5),
            ("\r\nx", 2),
            ("\n\u{301}", 1),
            ("\u{200b}\u{301}", 3),
            ("\u{600}a", 3),
            ("\u{600}\n", 2),
            ("\u{1100}\u{1161}\u{11a8}\u{1100}", 9),
            ("각\u{1161}", 3),
            ("가\u{11a8}", 6),
            ("a\u{200d}b", 4),
            ("", 0),
        ] {
            assert_eq!(grapheme(text), n, "{text:?}");
        }
    }

    #[test]
    fn base64_of_any_length() {
        assert_eq!(base64("TWFu").unwrap(), b"Man");
        assert_eq!(base64("TWE=").unwrap(), b"Ma");
        assert_eq!(base64("TQ==").unwrap(), b"M");
        assert_eq!((base64("T"), base64("T*")), (None, None));
    }

    #[test]
    fn what_is_no_map_is_said() {
        for bytes in [&[][..], &[1, 2], &[4, 0, 0, 0, 1], &[0; 4], &[4, 0, 0, 0, 1, 0, 0, 0, 0xff]] {
            assert!(Charsmap::new(bytes).unwrap_err().contains("precompiled_charsmap"), "{bytes:?}");
        }
        // Places outside of the trie and of the texts are no texts.
        let map = Charsmap::new(&[8, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, b'a', 0]).unwrap();
        assert_eq!(map.parts("abc\0é"), None);
    }

    #[test]
    fn texts_are_bounded() {
        let map = |texts: &str| Charsmap::new(&[&4u32.to_le_bytes()[..], &[0; 4], texts.as_bytes()].concat());
        assert!(map(&"a".repeat(LONGEST_TEXT)).is_ok() && map("").is_ok());
        assert!(map(&"a".repeat(LONGEST_TEXT + 1)).is_err_and(|e| e.contains("257 bytes")));
    }
}
