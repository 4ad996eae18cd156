//! Sets of characters.
use crate::tokenizer::unicode::{self, Categories, is_han, is_in};

/// What one character may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    negated: bool,
    items: Vec<Item>,
    /// The answer for each ASCII character, bit by bit.
    ascii: u128,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    Range(char, char),
    In(Categories),
    /// `\s`.
    Space,
    /// `\w`.
    Word,
    /// `\p{Han}`.
    Han,
    Class(Class),
    /// `&&`.
    Both(Box<Class>, Box<Class>),
}

impl Item {
    pub fn has(&self, c: char) -> bool {
        match self {
            Item::Range(a, b) => (*a..=*b).contains(&c),
            Item::In(set) => is_in(c, *set),
            Item::Space => c.is_whitespace(),
            Item::Word => c.is_alphabetic() || is_in(c, unicode::MARK | unicode::DECIMAL | unicode::CONNECTOR),
            Item::Han => is_han(c),
            Item::Class(class) => class.has(c),
            Item::Both(a, b) => a.has(c) && b.has(c),
        }
    }
}

impl Class {
    pub fn new(items: Vec<Item>, negated: bool) -> Class {
        let mut class = Class { negated, items, ascii: 0 };
        class.ascii = (0..128u8).filter(|b| class.looked_up(*b as char)).map(|b| 1u128 << b).sum();
        class
    }

    /// Just this character.
    pub fn of(c: char) -> Class {
        Class::new(vec![Item::Range(c, c)], false)
    }

    /// The same without regard to the case of ASCII letters; two signs outside it fold to such ones. None where other letters are meant.
    pub fn folded(self) -> Option<Class> {
        let mut items = self.items.clone();
        for item in &self.items {
            let Item::Range(a, b) = item else { return None };
            if *b > '\u{7f}' {
                return None;
            }
            for c in (*a..=*b).filter(char::is_ascii_alphabetic) {
                items.extend([c.to_ascii_lowercase(), c.to_ascii_uppercase()].map(|c| Item::Range(c, c)));
                match c.to_ascii_lowercase() {
                    's' => items.push(Item::Range('ſ', 'ſ')),
                    'k' => items.push(Item::Range('\u{212a}', '\u{212a}')),
                    _ => {}
                }
            }
        }
        Some(Class::new(items, self.negated))
    }

    /// The ASCII letter that this is alone, in lower case.
    pub fn letter(&self) -> Option<char> {
        match self.items.as_slice() {
            [Item::Range(a, b), ..] if a == b && a.is_ascii_alphabetic() && !self.negated => Some(a.to_ascii_lowercase()),
            _ => None,
        }
    }

    fn looked_up(&self, c: char) -> bool {
        self.items.iter().any(|i| i.has(c)) != self.negated
    }

    #[inline]
    pub fn has(&self, c: char) -> bool {
        if c.is_ascii() { self.ascii >> (c as u32) & 1 != 0 } else { self.looked_up(c) }
    }
}
