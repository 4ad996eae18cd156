//! The tokens of a model.
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// More tokens than any vocabulary has.
pub const MAX_TOKENS: usize = 4_000_000;

/// The texts of all tokens in one allocation, with a table to find them.
#[derive(Debug)]
pub struct Vocab {
    text: String,
    ends: Vec<u32>,
    /// Ids by the hash of their text, open addressing; `NONE` is a free place.
    slots: Vec<u32>,
    /// Keyed at random: a file cannot be made so that all its tokens meet in one place.
    hash: RandomState,
}

const NONE: u32 = u32::MAX;

impl Vocab {
    /// The vocabulary of texts by id; an empty text is an id without a token. Of equal texts, the first is found.
    ///
    /// # Errors
    /// More text than 32 bits can count.
    pub fn new<'a>(tokens: impl Iterator<Item = &'a str>) -> Result<Vocab, String> {
        let (mut text, mut ends) = (String::new(), Vec::new());
        for token in tokens {
            text.push_str(token);
            ends.push(u32::try_from(text.len()).map_err(|_| "the tokens have more than 4 GB of text".to_string())?);
        }
        let places = (2 * ends.len()).next_power_of_two().max(2);
        let mut out = Vocab { text, ends, slots: vec![NONE; places], hash: RandomState::new() };
        for id in 0..out.ends.len() as u32 {
            let token = out.get(id);
            if !token.is_empty()
                && let Err(free) = out.place(token)
            {
                out.slots[free] = id;
            }
        }
        Ok(out)
    }

    /// The id of a text, or the free place where it would be.
    fn place(&self, text: &str) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut at = self.hash.hash_one(text) as usize & mask;
        loop {
            match self.slots[at] {
                NONE => return Err(at),
                id if self.get(id) == text => return Ok(id),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The text of a token; empty for an id without one.
    pub fn get(&self, id: u32) -> &str {
        let i = id as usize;
        let Some(&end) = self.ends.get(i) else { return "" };
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.text[start as usize..end as usize]
    }

    /// The id of a token.
    pub fn find(&self, text: &str) -> Option<u32> {
        self.place(text).ok()
    }
}
