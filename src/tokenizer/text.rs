//! A text on its way through normalizing and splitting, each byte with the part of the original it stands for.

/// A part of the text: bytes `start..end`. With an id it is an added token, which nothing changes any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
    pub id: Option<u32>,
}

/// The text, in spans.
#[derive(Debug)]
pub struct Text {
    text: String,
    /// For each byte, the bytes of the original that it stands for; none while the text is the original.
    origin: Option<Vec<(u32, u32)>>,
    spans: Vec<Span>,
}

impl Text {
    pub fn new(text: &str) -> Text {
        Text { text: text.to_string(), origin: None, spans: vec![Span { start: 0, end: text.len(), id: None }] }
    }

    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    pub fn of(&self, span: Span) -> &str {
        &self.text[span.start..span.end]
    }

    pub fn between(&self, start: usize, end: usize) -> &str {
        &self.text[start..end]
    }

    /// The bytes of the original behind one byte: those of the whole character.
    fn origin_of(&self, at: usize) -> (u32, u32) {
        if let Some(origin) = &self.origin {
            return origin[at];
        }
        let start = (0..=at).rev().find(|i| self.text.is_char_boundary(*i)).unwrap_or(0);
        let end = (at + 1..self.text.len()).find(|i| self.text.is_char_boundary(*i)).unwrap_or(self.text.len());
        (start as u32, end as u32)
    }

    /// The bytes of the original behind the bytes `start..end`.
    pub fn original(&self, start: usize, end: usize) -> (u32, u32) {
        if start >= end {
            let at = if start < self.text.len() {
                self.origin_of(start).0
            } else {
                self.text.len().checked_sub(1).map_or(0, |i| self.origin_of(i).1)
            };
            return (at, at);
        }
        (self.origin_of(start).0, self.origin_of(end - 1).1)
    }

    /// Splits each span that is no added token. `cut` gives parts of it as byte ranges with the id of an added token; empty ones are dropped.
    pub fn split(&mut self, mut cut: impl FnMut(&Text, Span) -> Vec<(usize, usize, Option<u32>)>) {
        let mut spans = Vec::with_capacity(self.spans.len());
        for span in &self.spans {
            if span.id.is_some() {
                spans.push(*span);
                continue;
            }
            let parts = cut(self, *span).into_iter().filter(|p| p.0 < p.1);
            spans.extend(parts.map(|(start, end, id)| Span { start: span.start + start, end: span.start + end, id }));
        }
        self.spans = spans;
    }

    /// Rewrites each span that is no added token.
    pub fn rewrite(&mut self, mut rewrite: impl FnMut(&mut Rewriter<'_>, Span)) {
        let mut out = Rewriter {
            from: self,
            from_start: 0,
            at: 0,
            end: 0,
            text: String::with_capacity(self.text.len()),
            origin: Vec::with_capacity(self.text.len()),
            changed: false,
        };
        let mut spans = Vec::with_capacity(self.spans.len());
        for span in &self.spans {
            (out.from_start, out.at, out.end) = (span.start, span.start, span.end);
            let start = out.text.len();
            if span.id.is_some() {
                out.keep(span.end - span.start);
            } else {
                rewrite(&mut out, *span);
            }
            if out.text.len() > start {
                spans.push(Span { start, end: out.text.len(), id: span.id });
            }
        }
        let Rewriter { text, origin, changed, .. } = out;
        if changed {
            (self.text, self.origin, self.spans) = (text, Some(origin), spans);
        }
    }
}

/// Builds the new text of one span from its old one. What is not kept or put is gone.
pub struct Rewriter<'a> {
    from: &'a Text,
    from_start: usize,
    at: usize,
    end: usize,
    text: String,
    origin: Vec<(u32, u32)>,
    changed: bool,
}

impl<'a> Rewriter<'a> {
    /// The part of the old text that has not been dealt with.
    pub fn rest(&self) -> &'a str {
        &self.from.text[self.at..self.end]
    }

    /// The next `n` bytes stay.
    pub fn keep(&mut self, n: usize) {
        let (from, start) = (self.from, self.at);
        self.text.push_str(&from.text[start..start + n]);
        match &from.origin {
            Some(origin) => self.origin.extend_from_slice(&origin[start..start + n]),
            None => {
                let mut at = start as u32;
                for c in from.text[start..start + n].chars() {
                    let range = (at, at + c.len_utf8() as u32);
                    self.origin.extend(std::iter::repeat_n(range, c.len_utf8()));
                    at = range.1;
                }
            }
        }
        self.at += n;
    }

    /// The next `n` bytes go.
    pub fn drop(&mut self, n: usize) {
        self.changed |= n > 0;
        self.at += n;
    }

    /// Puts `c` where the next character was, and drops `more` further ones.
    pub fn replace(&mut self, c: char, more: usize) {
        let range = self.from.origin_of(self.at);
        self.push(c, range);
        let gone: usize = self.rest().chars().take(1 + more).map(char::len_utf8).sum();
        self.changed = true;
        self.at += gone;
    }

    /// Puts `c` behind what was dealt with last; it stands for the same as the last byte of that.
    pub fn insert(&mut self, c: char) {
        let range = match self.at > self.from_start {
            true => self.from.origin_of(self.at - 1),
            false => self.from.original(self.at, self.at),
        };
        self.changed = true;
        self.push(c, range);
    }

    /// Puts `c` before the next character; it stands for the same.
    pub fn insert_before(&mut self, c: char) {
        let range = self.from.origin_of(self.at);
        self.changed = true;
        self.push(c, range);
    }

    fn push(&mut self, c: char, range: (u32, u32)) {
        self.text.push(c);
        self.origin.extend(std::iter::repeat_n(range, c.len_utf8()));
    }
}
