//! What the tokenizers' regular expressions and normalizers know of Unicode.
//!
//! The tables are one file of 46 KB (22 KB compressed) which `tests/oracle/unicode.py` writes by asking the `tokenizers` package, so that the
//! answers are those of the version it was built with. Crates for the same weigh three times as much in wasm (`docs/decisions.md`).
use std::sync::OnceLock;

/// Two-letter names of the general categories. A category's bit in a set is its place here; place 0 is "not assigned".
const NAMES: &[u8] = b"CnLuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCo";

/// A set of general categories.
pub type Categories = u32;

/// The categories that `\p{name}` means: one of two letters, or all that begin with one letter.
pub fn categories(name: &str) -> Option<Categories> {
    let wanted = name.as_bytes();
    let found = NAMES.chunks(2).enumerate().filter(|(_, n)| n.starts_with(wanted)).map(|(i, _)| 1 << i).sum();
    (matches!(wanted.len(), 1 | 2) && found != 0).then_some(found)
}

/// `\p{M}`.
pub const MARK: Categories = 0b111 << 6;
/// `\p{Nd}`.
pub const DECIMAL: Categories = 1 << 9;
/// `\p{L}`.
pub const LETTER: Categories = 0b11_1110;
/// `\p{C}` and `\p{Z}`: what has no look of its own.
pub const HIDDEN: Categories = 1 | 0b11_1111 << 23;
/// `\p{Pc}`.
pub const CONNECTOR: Categories = 1 << 12;

/// Code points below this are looked up without a search.
const DIRECT: usize = 0x3100;

struct Tables {
    direct: Vec<u8>,
    /// First code point of each run of one category.
    categories: Vec<(u32, u8)>,
    classes: Vec<(u32, u8)>,
    canonical: Decompositions,
    compatible: Decompositions,
    /// (first, second, both together), sorted.
    pairs: Vec<(char, char, char)>,
    /// Where the answers of [`Odd`] are others than the categories'.
    odd: Vec<(u32, u8)>,
    scripts: Vec<(u32, u8)>,
}

#[derive(Default)]
struct Decompositions {
    /// Code point and where its characters begin in `text`.
    starts: Vec<(u32, u32)>,
    text: Vec<char>,
}

impl Decompositions {
    fn find(&self, c: u32) -> Option<&[char]> {
        let i = self.starts.binary_search_by_key(&c, |s| s.0).ok()?;
        let end = self.starts.get(i + 1).map_or(self.text.len(), |s| s.1 as usize);
        Some(&self.text[self.starts[i].1 as usize..end])
    }
}

/// Reads the numbers of the file. It is our own: what is wrong with it is a broken invariant.
struct Numbers(std::slice::Iter<'static, u8>);

impl Numbers {
    fn next(&mut self) -> u32 {
        let (mut n, mut shift) = (0, 0);
        loop {
            let b = *self.0.next().expect("the tables are whole");
            n |= u32::from(b & 0x7f) << shift;
            shift += 7;
            if b < 0x80 {
                return n;
            }
        }
    }

    fn signed(&mut self) -> i32 {
        let n = self.next();
        (n >> 1) as i32 ^ -((n & 1) as i32)
    }

    fn runs(&mut self) -> Vec<(u32, u8)> {
        let mut at = 0;
        (0..self.next())
            .map(|_| {
                let start = at;
                at += self.next();
                (start, self.next() as u8)
            })
            .collect()
    }

    fn decompositions(&mut self) -> Decompositions {
        let mut out = Decompositions::default();
        let mut c = 0;
        let point = |c: i64| char::from_u32(c as u32).expect("a code point");
        for _ in 0..self.next() {
            c += self.next();
            out.starts.push((c, out.text.len() as u32));
            let n = self.next();
            let first = i64::from(c) + i64::from(self.signed());
            out.text.push(point(first));
            for _ in 1..n {
                let next = first + i64::from(self.signed());
                out.text.push(point(next));
            }
        }
        out
    }
}

fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        let mut numbers = Numbers(include_bytes!("tables.bin").iter());
        let categories = numbers.runs();
        let classes = numbers.runs();
        let canonical = numbers.decompositions();
        let mut c = 0;
        let mut excluded = Vec::new();
        for _ in 0..numbers.next() {
            c += numbers.next();
            excluded.push(c);
        }
        let compatible = numbers.decompositions();
        let direct = (0..DIRECT as u32).map(|c| in_runs(&categories, c)).collect();
        // A composite's second part is its last character, the first part what the others compose to.
        let whole: Vec<(&[char], char)> = (canonical.starts.iter())
            .filter(|(c, _)| excluded.binary_search(c).is_err())
            .map(|(c, _)| (canonical.find(*c).expect("listed"), char::from_u32(*c).expect("a code point")))
            .collect();
        let (odd, scripts) = (numbers.runs(), numbers.runs());
        let mut pairs: Vec<(char, char, char)> = (whole.iter())
            .filter_map(|(text, c)| match text {
                [first, second] => Some((*first, *second, *c)),
                [before @ .., second] => Some((whole.iter().find(|(t, _)| t == &before)?.1, *second, *c)),
                [] => None,
            })
            .collect();
        pairs.sort_unstable();
        Tables { direct, categories, classes, canonical, compatible, pairs, odd, scripts }
    })
}

fn in_runs(runs: &[(u32, u8)], c: u32) -> u8 {
    runs[runs.partition_point(|r| r.0 <= c) - 1].1
}

/// True if the character's general category is in `set`.
pub fn is_in(c: char, set: Categories) -> bool {
    let t = tables();
    let category = t.direct.get(c as usize).copied().unwrap_or_else(|| in_runs(&t.categories, c as u32));
    set >> category & 1 != 0
}

/// `\w` of the crate that finds words around added tokens: letters, marks, digits, connectors and joiners.
pub fn is_word(c: char) -> bool {
    c.is_alphabetic() || is_in(c, MARK | DECIMAL | CONNECTOR) || matches!(c, '\u{200c}' | '\u{200d}')
}

/// Properties that the `tokenizers` package takes from tables of other versions of Unicode than the regular expressions': its answers are kept as
/// differences to the categories.
#[derive(Clone, Copy, Debug)]
pub enum Odd {
    /// Marks that BERT's normalizer strips as accents.
    Nonspacing,
    /// Marks that `StripAccents` strips.
    Accent,
    /// Signs that `Punctuation` and BERT's pre-tokenizer cut out; ASCII's symbols are among them.
    Punctuation,
    /// Control characters that BERT's normalizer drops.
    Control,
    /// Belongs to one grapheme with the character before it.
    Joins,
    /// Belongs to one grapheme with the character behind it.
    Opens,
    /// Nothing joins it.
    Alone,
}

impl Odd {
    /// True if a character has the property.
    pub fn has(self, c: char) -> bool {
        const FORMAT: Categories = 1 << 27;
        let set = match self {
            Odd::Nonspacing => 1 << 6,
            Odd::Accent | Odd::Joins => MARK,
            Odd::Punctuation => 0b111_1111 << 12,
            Odd::Control => 1 << 26 | FORMAT | 1 << 28,
            Odd::Opens => 0,
            Odd::Alone => 0b110 << 23 | 1 << 26 | FORMAT,
        };
        let usual = is_in(c, set) || (matches!(self, Odd::Punctuation) && c.is_ascii_punctuation());
        // Of ASCII all tables say the same.
        usual != (!c.is_ascii() && in_runs(&tables().odd, c as u32) >> (self as u8) & 1 == 1)
    }
}

/// A number for a character's script, 0 for none.
pub fn script(c: char) -> u8 {
    in_runs(&tables().scripts, c as u32)
}

/// Scripts in which Chinese, Japanese and Korean write words' roots: `\p{Han}`.
pub fn is_han(c: char) -> bool {
    const RANGES: [(u32, u32); 21] = [
        (0x2e80, 0x2e99),
        (0x2e9b, 0x2ef3),
        (0x2f00, 0x2fd5),
        (0x3005, 0x3005),
        (0x3007, 0x3007),
        (0x3021, 0x3029),
        (0x3038, 0x303b),
        (0x3400, 0x4dbf),
        (0x4e00, 0x9fff),
        (0xf900, 0xfa6d),
        (0xfa70, 0xfad9),
        (0x16fe2, 0x16fe3),
        (0x16ff0, 0x16ff1),
        (0x20000, 0x2a6df),
        (0x2a700, 0x2b739),
        (0x2b740, 0x2b81d),
        (0x2b820, 0x2cea1),
        (0x2ceb0, 0x2ebe0),
        (0x2ebf0, 0x2ee5d),
        (0x2f800, 0x2fa1d),
        (0x30000, 0x323af),
    ];
    let c = c as u32;
    RANGES.get(RANGES.partition_point(|r| r.1 < c)).is_some_and(|r| r.0 <= c)
}

/// The canonical combining class: marks of other classes than 0 are ordered by it.
pub fn combining_class(c: char) -> u8 {
    if (c as u32) < 0x300 { 0 } else { in_runs(&tables().classes, c as u32) }
}

/// The first of the Hangul syllables, leading consonants, vowels and trailing consonants, and how many there are of each.
const HANGUL: (u32, u32, u32, u32) = (0xac00, 0x1100, 0x1161, 0x11a7);
const COUNTS: (u32, u32, u32) = (19, 21, 28);

/// Calls `on` with the characters of a full decomposition, canonical or also of compatibility.
pub fn decompose(c: char, compatible: bool, on: &mut dyn FnMut(char)) {
    let n = c as u32;
    if n < 0xa0 {
        return on(c);
    }
    let syllable = n.wrapping_sub(HANGUL.0);
    if syllable < COUNTS.0 * COUNTS.1 * COUNTS.2 {
        let parts =
            [HANGUL.1 + syllable / (COUNTS.1 * COUNTS.2), HANGUL.2 + syllable / COUNTS.2 % COUNTS.1, HANGUL.3 + syllable % COUNTS.2];
        let shown = if syllable.is_multiple_of(COUNTS.2) { 2 } else { 3 };
        return parts[..shown].iter().for_each(|p| on(char::from_u32(*p).expect("a jamo")));
    }
    let t = tables();
    let found = compatible.then(|| t.compatible.find(n)).flatten().or_else(|| t.canonical.find(n));
    match found {
        Some(text) => text.iter().for_each(|c| on(*c)),
        None => on(c),
    }
}

/// The character that two make together in NFC.
pub fn compose(a: char, b: char) -> Option<char> {
    let (x, y) = (a as u32, b as u32);
    let (lead, vowel) = (x.wrapping_sub(HANGUL.1), y.wrapping_sub(HANGUL.2));
    if lead < COUNTS.0 && vowel < COUNTS.1 {
        return char::from_u32(HANGUL.0 + (lead * COUNTS.1 + vowel) * COUNTS.2);
    }
    let (syllable, trail) = (x.wrapping_sub(HANGUL.0), y.wrapping_sub(HANGUL.3));
    if syllable < COUNTS.0 * COUNTS.1 * COUNTS.2 && syllable.is_multiple_of(COUNTS.2) && (1..COUNTS.2).contains(&trail) {
        return char::from_u32(x + trail);
    }
    let pairs = &tables().pairs;
    pairs.binary_search_by_key(&(a, b), |p| (p.0, p.1)).ok().map(|i| pairs[i].2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_have_their_places() {
        for (set, name) in [(LETTER, "L"), (MARK, "M"), (DECIMAL, "Nd"), (CONNECTOR, "Pc"), (0b111_1111 << 12, "P")] {
            assert_eq!(categories(name), Some(set), "{name}");
        }
        assert_eq!(categories("C"), Some(0b111 << 26 | 1));
        assert_eq!(categories("C").unwrap() | categories("Z").unwrap(), HIDDEN);
        assert!(["", "X", "Lx", "Luu", "uL", "n"].iter().all(|n| categories(n).is_none()));
        for (c, name) in [('a', "Ll"), ('中', "Lo"), ('\u{301}', "Mn"), ('½', "No"), ('_', "Pc"), ('\u{10ffff}', "Cn"), ('\u{e000}', "Co")]
        {
            assert!(is_in(c, categories(name).unwrap()), "{c:?} {name}");
        }
    }

    #[test]
    fn normal_forms_of_single_characters() {
        let full = |c, compatible| {
            let mut out = String::new();
            decompose(c, compatible, &mut |c| out.push(c));
            out
        };
        assert_eq!(full('é', false), "e\u{301}");
        assert_eq!(full('ệ', false), "e\u{323}\u{302}");
        assert_eq!(full('ﬁ', false), "ﬁ");
        assert_eq!(full('ﬁ', true), "fi");
        assert_eq!(full('각', false), "\u{1100}\u{1161}\u{11a8}");
        assert_eq!(full('가', true), "\u{1100}\u{1161}");
        assert_eq!(compose('e', '\u{301}'), Some('é'));
        assert_eq!(compose('ẹ', '\u{302}'), Some('ệ'));
        assert_eq!(compose('가', '\u{11a8}'), Some('각'));
        assert_eq!(compose('\u{1100}', '\u{1161}'), Some('가'));
        assert_eq!((compose('e', 'x'), compose('가', '\u{11a7}')), (None, None));
        assert_eq!((combining_class('\u{301}'), combining_class('\u{323}'), combining_class('a')), (230, 220, 0));
    }
}
