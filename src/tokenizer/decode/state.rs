//! Decoding in progress.
use super::step::{Decoder, Step};
use crate::tokenizer::byte_level;

/// How far a decoder has come; one memory for each of its steps.
#[derive(Clone, Debug)]
pub struct State {
    memories: Vec<Memory>,
    /// Characters are given out as soon as they are whole, and not when it is certain that no wrong byte follows them.
    eager: bool,
}

#[derive(Clone, Debug, Default)]
struct Memory {
    begun: bool,
    /// Bytes of a character that is not whole yet.
    bytes: Vec<u8>,
    /// Text that is not decided yet.
    held: String,
    /// Characters that were stripped.
    stripped: usize,
}

impl Decoder {
    /// The text of tokens.
    pub fn decode<'a>(&self, tokens: impl Iterator<Item = &'a str>) -> String {
        let mut state = State::new(self, false);
        let mut out: String = tokens.map(|t| state.push(self, t)).collect();
        out += &state.finish(self);
        out
    }
}

impl State {
    pub fn new(decoder: &Decoder, eager: bool) -> State {
        State { memories: vec![Memory::default(); decoder.steps.len()], eager }
    }

    /// The text that one more token brings.
    pub fn push(&mut self, decoder: &Decoder, token: &str) -> String {
        self.through(decoder, 0, vec![token.to_string()]).concat()
    }

    /// What is left when no more tokens come. The state is then that of the beginning.
    pub fn finish(&mut self, decoder: &Decoder) -> String {
        let mut out = String::new();
        for i in 0..decoder.steps.len() {
            let mut pieces = Vec::new();
            let memory = std::mem::take(&mut self.memories[i]);
            decoder.steps[i].finish(memory, &mut pieces);
            out += &self.through(decoder, i + 1, pieces).concat();
        }
        *self = State::new(decoder, self.eager);
        out
    }

    fn through(&mut self, decoder: &Decoder, from: usize, mut pieces: Vec<String>) -> Vec<String> {
        for i in from..decoder.steps.len() {
            let mut next = Vec::with_capacity(pieces.len());
            for piece in pieces {
                decoder.steps[i].feed(&mut self.memories[i], piece, i >= decoder.fused, self.eager, &mut next);
            }
            pieces = next;
        }
        pieces
    }
}

impl Step {
    /// `fused`: pieces are parts of one text, not tokens.
    fn feed(&self, m: &mut Memory, piece: String, fused: bool, eager: bool, out: &mut Vec<String>) {
        let first = !std::mem::replace(&mut m.begun, true);
        match self {
            Step::Fuse => out.push(piece),
            Step::Join => out.push(if first { piece } else { format!(" {piece}") }),
            Step::ByteLevel => {
                m.bytes.extend(byte_level::bytes_of(&piece).unwrap_or_else(|| piece.into_bytes()));
                out.extend(Some(take_whole(&mut m.bytes)).filter(|t| !t.is_empty()));
            }
            Step::Metaspace { sign, strips } => {
                let drops = first && *strips;
                let chars = piece.chars().filter(|c| !(drops && c == sign));
                out.push(chars.map(|c| if c == *sign { ' ' } else { c }).collect());
            }
            Step::ByteFallback => match byte_of(&piece) {
                Some(b) => {
                    m.bytes.push(b);
                    if eager && let Ok(text) = std::str::from_utf8(&m.bytes) {
                        out.push(text.to_string());
                        m.bytes.clear();
                    }
                }
                None => {
                    spell_out(&mut m.bytes, out);
                    out.push(piece);
                }
            },
            Step::Strip { content, start, stop } if fused => {
                let mut text = std::mem::take(&mut m.held) + &piece;
                // Nothing but the character has come so far.
                while m.stripped < *start && text.starts_with(*content) {
                    text.remove(0);
                    m.stripped += 1;
                }
                if text.is_empty() {
                    return;
                }
                m.stripped = *start;
                let ends = text.chars().rev().take_while(|c| c == content).take(*stop).count();
                m.held = text.split_off(text.len() - ends * content.len_utf8());
                out.push(text);
            }
            Step::Strip { content, start, stop } => {
                let begin = piece.chars().take_while(|c| c == content).take(*start).count() * content.len_utf8();
                let rest = &piece[begin..];
                let end = rest.chars().rev().take_while(|c| c == content).take(*stop).count() * content.len_utf8();
                out.push(rest[..rest.len() - end].to_string());
            }
            Step::Replace { literal: Some(literal), content, .. } if fused => {
                let text = std::mem::take(&mut m.held) + &piece;
                // The end may be the beginning of what is replaced.
                let mut done = text.rfind(literal.as_str()).map_or(0, |at| at + literal.len());
                let open = (done..text.len()).filter(|i| text.is_char_boundary(*i)).find(|i| literal.starts_with(&text[*i..]));
                done = open.unwrap_or(text.len());
                m.held = text[done..].to_string();
                out.push(text[..done].replace(literal.as_str(), content));
            }
            Step::Replace { pattern, content, .. } => {
                let mut text = String::with_capacity(piece.len());
                let mut done = 0;
                for (start, end) in pattern.matches(&piece) {
                    text += &piece[done..start];
                    text += content;
                    done = end;
                }
                text += &piece[done..];
                out.push(text);
            }
            Step::WordPiece { prefix, cleanup } => {
                let text = match piece.strip_prefix(prefix.as_str()) {
                    _ if first => piece,
                    Some(rest) => rest.to_string(),
                    None => format!(" {piece}"),
                };
                out.push(if *cleanup { clean_up(text) } else { text });
            }
            Step::Ctc { pad, delimiter, cleanup } => {
                if !first && m.held == piece {
                    return;
                }
                let mut text = if pad.is_empty() { piece.clone() } else { piece.replace(pad.as_str(), "") };
                if *cleanup {
                    text = clean_up(text).replace(delimiter.as_str(), " ");
                }
                m.held = piece;
                if !text.is_empty() {
                    out.push(text);
                }
            }
            Step::EndOfWord(suffix) => {
                if !first {
                    let held = std::mem::take(&mut m.held);
                    out.push(if suffix.is_empty() { held } else { held.replace(suffix.as_str(), " ") });
                }
                m.held = piece;
            }
        }
    }

    fn finish(&self, mut m: Memory, out: &mut Vec<String>) {
        match self {
            Step::ByteLevel if !m.bytes.is_empty() => out.push(String::from_utf8_lossy(&m.bytes).into_owned()),
            Step::ByteFallback => spell_out(&mut m.bytes, out),
            Step::Replace { .. } if !m.held.is_empty() => out.push(m.held),
            Step::EndOfWord(suffix) if m.begun => out.push(if suffix.is_empty() { m.held } else { m.held.replace(suffix.as_str(), "") }),
            _ => {}
        }
    }
}

/// Takes out the spaces that stand before signs and short forms of English, in one token.
fn clean_up(text: String) -> String {
    const FORMS: [(&str, &str); 11] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    FORMS.iter().fold(text, |text, (from, to)| if text.contains(from) { text.replace(from, to) } else { text })
}

/// The byte of a token `<0x41>`.
fn byte_of(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (hex.len() == 2 && hex.is_ascii()).then(|| u8::from_str_radix(hex, 16).ok()).flatten()
}

/// A run of bytes is a text, or one sign for each of them.
fn spell_out(bytes: &mut Vec<u8>, out: &mut Vec<String>) {
    if bytes.is_empty() {
        return;
    }
    let bytes = std::mem::take(bytes);
    let n = bytes.len();
    out.push(String::from_utf8(bytes).unwrap_or_else(|_| "\u{fffd}".repeat(n)));
}

/// Takes what is certain: whole characters, and U+FFFD for what cannot become one. The beginning of a character stays.
fn take_whole(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut rest = std::mem::take(bytes);
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
                        *bytes = rest.split_off(e.valid_up_to());
                        return text;
                    }
                }
            }
        }
    }
}
