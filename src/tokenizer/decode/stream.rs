//! Text as it is generated: whole characters only, and no part of a stop string.
use crate::tokenizer::Tokenizer;

/// Decodes ids one by one and never splits a UTF-8 character.
#[derive(Clone, Debug, Default)]
pub struct DecodeStream {
    skip_special: bool,
    /// The beginning of a character whose end has not come yet: at most three bytes.
    pending: Vec<u8>,
    /// Something has been decoded: a space is no longer the one before the text.
    begun: bool,
}

impl DecodeStream {
    /// With `skip_special`, special tokens give no text.
    pub fn new(skip_special: bool) -> Self {
        DecodeStream { skip_special, pending: Vec::new(), begun: false }
    }

    /// The text that `id` completes: empty while a character is unfinished. Bytes that are no UTF-8 become U+FFFD.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> String {
        if self.skip_special && tokenizer.is_special(id) {
            return String::new();
        }
        let bytes = tokenizer.token_bytes(id);
        let strip = !self.begun && tokenizer.strips_space() && bytes.first() == Some(&b' ');
        self.begun |= !bytes.is_empty();
        self.pending.extend_from_slice(&bytes[usize::from(strip)..]);
        let mut text = String::new();
        let mut rest = std::mem::take(&mut self.pending);
        loop {
            match std::str::from_utf8(&rest) {
                Ok(s) => {
                    text.push_str(s);
                    return text;
                }
                Err(e) => {
                    text.push_str(std::str::from_utf8(&rest[..e.valid_up_to()]).expect("valid up to here"));
                    match e.error_len() {
                        Some(n) => {
                            text.push('\u{fffd}');
                            rest.drain(..e.valid_up_to() + n);
                        }
                        None => {
                            self.pending = rest.split_off(e.valid_up_to());
                            return text;
                        }
                    }
                }
            }
        }
    }

    /// What is left when no more ids come.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

/// Looks for stop strings in a text that comes in pieces; holds back what may be the beginning of one.
#[derive(Clone, Debug, Default)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopMatcher {
    /// Empty stop strings are ignored.
    pub fn new(stops: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let stops = stops.into_iter().map(Into::into).filter(|s: &String| !s.is_empty()).collect();
        StopMatcher { stops, held: String::new(), stopped: false }
    }

    /// True once a stop string has been seen; nothing comes after it.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes a piece and returns the text that certainly lies before any stop string. The stop string itself is
    /// never returned.
    pub fn push(&mut self, piece: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(piece);
        if let Some(at) = self.stops.iter().filter_map(|s| self.held.find(s.as_str())).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = self.held.len().saturating_sub(longest.saturating_sub(1));
        let keep = (from..self.held.len())
            .filter(|&i| self.held.is_char_boundary(i))
            .find(|&i| self.stops.iter().any(|s| s.starts_with(&self.held[i..])))
            .unwrap_or(self.held.len());
        let rest = self.held.split_off(keep);
        std::mem::replace(&mut self.held, rest)
    }

    /// What was held back when no more text comes.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}
