//! Byte pair encoding.
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::vocab::Vocab;

/// Which two tokens become one, and in which order.
#[derive(Debug)]
pub enum Ranks {
    /// A list of merges.
    Pairs(Pairs),
    /// SentencePiece's scores: any two that are a token together, those of a higher score first. Per id the place of its score from the highest
    /// on; `u32::MAX` for what is never merged into.
    Scores(Vec<u32>),
}

/// Merges, sorted by their left token.
#[derive(Debug)]
pub struct Pairs {
    /// Where each left id's merges begin.
    starts: Vec<u32>,
    /// Right ids, sorted within one left id.
    rights: Vec<u32>,
    /// Rank, and the id of both together.
    values: Vec<(u32, u32)>,
}

impl Pairs {
    /// Merges `(left, right, both)` in the order of their rank. Of a pair that comes twice, the last counts.
    pub fn new(ids: usize, merges: Vec<(u32, u32, u32)>) -> Pairs {
        let mut order: Vec<u32> = (0..merges.len() as u32).collect();
        let key = |i: &u32| (merges[*i as usize].0, merges[*i as usize].1);
        order.sort_by_key(|i| (key(i), Reverse(*i)));
        order.dedup_by_key(|i| key(i));
        let mut out = Pairs { starts: Vec::with_capacity(ids + 1), rights: Vec::new(), values: Vec::new() };
        for i in order {
            let (left, right, both) = merges[i as usize];
            while out.starts.len() <= left as usize {
                out.starts.push(out.rights.len() as u32);
            }
            out.rights.push(right);
            out.values.push((i, both));
        }
        out.starts.resize(ids.max(out.starts.len()) + 1, out.rights.len() as u32);
        out
    }

    fn find(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let (from, to) = (*self.starts.get(left as usize)? as usize, *self.starts.get(left as usize + 1)? as usize);
        self.rights[from..to].binary_search(&right).ok().map(|i| self.values[from + i])
    }
}

/// The token that stands for a single byte in a vocabulary of characters.
pub fn byte_token(b: u8) -> String {
    format!("<0x{b:02X}>")
}

/// A BPE model.
#[derive(Debug)]
pub struct Bpe {
    pub vocab: Vocab,
    pub ranks: Ranks,
    /// Stands for characters that are no token.
    pub unknown: Option<u32>,
    /// Several of them in a row are one.
    pub fuse_unknown: bool,
    /// Tokens of bytes, for characters that are no token.
    pub bytes: Option<Box<[Option<u32>; 256]>>,
    /// Written before each token of a piece but the first.
    pub prefix: String,
    /// Written behind the last token of a piece.
    pub suffix: String,
    /// A piece that is a token as a whole is that token, whatever the merges say.
    pub ignore_merges: bool,
}

/// One token of a piece so far.
#[derive(Clone, Copy, Debug)]
struct Symbol {
    /// `NONE` once it is merged into the one before.
    id: u32,
    prev: u32,
    next: u32,
    /// Bytes of the piece.
    len: u32,
}

const NONE: u32 = u32::MAX;

/// Two neighbours that may be merged: rank, place of the left one, its id, the id of the right one, both together.
type Candidate = (u32, u32, u32, u32, u32);

/// Room that is used again from piece to piece.
#[derive(Debug, Default)]
pub struct Scratch {
    symbols: Vec<Symbol>,
    /// Lowest first.
    queue: BinaryHeap<Reverse<Candidate>>,
    both: String,
}

impl Bpe {
    /// Calls `on` for each token of a piece with its id and the bytes of the piece that it stands for.
    ///
    /// Always merges the pair of lowest rank, the leftmost of equal ones. O(n log n), whatever the text.
    pub fn tokenize(&self, piece: &str, scratch: &mut Scratch, on: &mut dyn FnMut(u32, usize, usize)) {
        if self.ignore_merges
            && let Some(id) = self.vocab.find(piece)
        {
            return on(id, 0, piece.len());
        }
        self.characters(piece, scratch);
        self.merge(scratch);
        let mut at = 0;
        for s in scratch.symbols.iter().filter(|s| s.id != NONE) {
            on(s.id, at, at + s.len as usize);
            at += s.len as usize;
        }
    }

    /// The tokens of single characters.
    fn characters(&self, piece: &str, scratch: &mut Scratch) {
        scratch.symbols.clear();
        let mut add = |id, len| {
            let i = scratch.symbols.len() as u32;
            scratch.symbols.push(Symbol { id, prev: i.wrapping_sub(1), next: i + 1, len });
        };
        let mut unknown: Option<u32> = None;
        let mut spelled = String::new();
        for (start, c) in piece.char_indices() {
            let end = start + c.len_utf8();
            let (before, after) = (start > 0 && !self.prefix.is_empty(), end == piece.len() && !self.suffix.is_empty());
            let written = if before || after {
                spelled.clear();
                spelled.push_str(if before { &self.prefix } else { "" });
                spelled.push(c);
                spelled.push_str(if after { &self.suffix } else { "" });
                &spelled
            } else {
                &piece[start..end]
            };
            if let Some(id) = self.vocab.find(written) {
                if let (Some(len), Some(unknown)) = (unknown.take(), self.unknown) {
                    add(unknown, len);
                }
                add(id, c.len_utf8() as u32);
                continue;
            }
            if let Some(table) = &self.bytes
                && written.bytes().all(|b| table[b as usize].is_some())
            {
                written.bytes().filter_map(|b| table[b as usize]).for_each(|id| add(id, 1));
                continue;
            }
            if let Some(id) = self.unknown {
                let len = c.len_utf8() as u32;
                unknown = Some(match unknown {
                    Some(before) if self.fuse_unknown => before + len,
                    Some(before) => {
                        add(id, before);
                        len
                    }
                    None => len,
                });
            }
        }
        if let (Some(len), Some(unknown)) = (unknown, self.unknown) {
            add(unknown, len);
        }
    }

    fn rank(&self, left: u32, right: u32, both: &mut String) -> Option<(u32, u32)> {
        match &self.ranks {
            Ranks::Pairs(pairs) => pairs.find(left, right),
            Ranks::Scores(ranks) => {
                if ranks[left as usize] == u32::MAX || ranks[right as usize] == u32::MAX {
                    return None;
                }
                both.clear();
                both.push_str(self.vocab.get(left));
                both.push_str(self.vocab.get(right));
                let id = self.vocab.find(both)?;
                Some((ranks[id as usize], id)).filter(|r| r.0 != u32::MAX)
            }
        }
    }

    fn merge(&self, scratch: &mut Scratch) {
        let Scratch { symbols, queue, both } = scratch;
        let n = symbols.len();
        queue.clear();
        for i in 1..n {
            let (left, right) = (symbols[i - 1].id, symbols[i].id);
            if let Some((rank, id)) = self.rank(left, right, both) {
                queue.push(Reverse((rank, i as u32 - 1, left, right, id)));
            }
        }
        while let Some(Reverse((_, at, left, right, id))) = queue.pop() {
            let (i, j) = (at as usize, symbols[at as usize].next as usize);
            // Stale when either side has changed since it was queued.
            if symbols[i].id != left || j >= n || symbols[j].id != right {
                continue;
            }
            let Symbol { next, len, .. } = symbols[j];
            symbols[j].id = NONE;
            symbols[i] = Symbol { id, next, len: symbols[i].len + len, ..symbols[i] };
            if (next as usize) < n {
                let k = next as usize;
                symbols[k].prev = at;
                if let Some((rank, more)) = self.rank(id, symbols[k].id, both) {
                    queue.push(Reverse((rank, at, id, symbols[k].id, more)));
                }
            }
            let before = symbols[i].prev;
            if before != NONE {
                let left = symbols[before as usize].id;
                if let Some((rank, more)) = self.rank(left, id, both) {
                    queue.push(Reverse((rank, before, left, id, more)));
                }
            }
        }
    }
}
