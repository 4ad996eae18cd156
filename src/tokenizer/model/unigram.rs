//! Unigram: of all ways to write a text in pieces, the one whose scores have the highest sum.
use super::trie::Trie;
use super::vocab::Vocab;

/// A Unigram model.
#[derive(Debug)]
pub struct Unigram {
    pub vocab: Vocab,
    trie: Trie,
    scores: Vec<f64>,
    /// The id of each piece where a file gives pieces others than their places; empty where it is the place.
    ids: Vec<u32>,
    /// The piece that stands for characters that are none. Without one they are left out.
    unknown: Option<u32>,
    /// The score of such a character.
    unknown_score: f64,
    /// Tokens of bytes, for characters that are no piece.
    bytes: Option<Box<[Option<u32>; 256]>>,
}

/// How much less an unknown character is worth than the lowest score.
const PENALTY: f64 = 10.0;
const NONE: u32 = u32::MAX;

/// The best way to write the text up to a place.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    score: f64,
    /// Where its last piece begins; `NONE` before there is any way.
    from: u32,
    piece: u32,
}

impl Unigram {
    /// Pieces with their scores, each under its place as id, or under `ids`, whose texts `vocab` has.
    ///
    /// `bytes`: characters that are no piece become the tokens `<0x41>` of their bytes, where there are such.
    pub fn new<'a>(
        vocab: Vocab,
        pieces: impl Iterator<Item = (&'a str, f64)>,
        ids: Vec<u32>,
        unknown: Option<u32>,
        bytes: Option<Box<[Option<u32>; 256]>>,
    ) -> Unigram {
        let mut scores = Vec::new();
        let trie = Trie::new(pieces.enumerate().map(|(i, (piece, score))| {
            scores.push(score);
            (piece, i as u32)
        }));
        let unknown_score = scores.iter().copied().fold(f64::INFINITY, f64::min) - PENALTY;
        Unigram { vocab, trie, scores, ids, unknown, unknown_score, bytes }
    }

    fn id_of(&self, piece: u32) -> u32 {
        self.ids.get(piece as usize).copied().unwrap_or(piece)
    }

    /// True for the id of what is no piece: its token is the text itself.
    pub fn is_unknown(&self, id: u32) -> bool {
        self.unknown.is_some_and(|piece| self.id_of(piece) == id)
    }

    /// Calls `on` for each token of a text with its id and the bytes that it stands for. `steps` and `path` are room that is used again.
    ///
    /// Takes time by the length of the text times that of the longest piece.
    pub fn tokenize(&self, text: &str, steps: &mut Vec<Step>, path: &mut Vec<(u32, usize)>, on: &mut dyn FnMut(u32, usize, usize)) {
        let bytes = text.as_bytes();
        steps.clear();
        steps.resize(bytes.len() + 1, Step { score: 0.0, from: NONE, piece: NONE });
        for (at, c) in text.char_indices() {
            let before = steps[at].score;
            let mut put = |n: usize, piece: u32, score: f64| {
                let step = &mut steps[at + n];
                let score = score + before;
                if step.from == NONE || score > step.score {
                    *step = Step { score, from: at as u32, piece };
                }
            };
            let mut single = false;
            self.trie.prefixes(Trie::ROOT, &bytes[at..], |n, piece| {
                single |= n == c.len_utf8();
                put(n, piece, self.scores[piece as usize]);
            });
            if !single {
                put(c.len_utf8(), self.unknown.unwrap_or(NONE), self.unknown_score);
            }
        }
        path.clear();
        let mut at = bytes.len();
        while at > 0 {
            path.push((steps[at].piece, at));
            at = steps[at].from as usize;
        }
        // What is unknown in a row is one.
        let mut start = 0;
        let mut open = None;
        for (piece, end) in path.iter().rev() {
            if Some(*piece) == self.unknown || *piece == NONE {
                open = open.or(Some(start));
            } else {
                if let Some(from) = open.take() {
                    self.put_unknown(text, from, start, on);
                }
                on(self.id_of(*piece), start, *end);
            }
            start = *end;
        }
        if let Some(from) = open {
            self.put_unknown(text, from, start, on);
        }
    }

    /// Text that no pieces make. Several of its characters may be a piece of a score so low that it is not taken: it counts here.
    fn put_unknown(&self, text: &str, from: usize, to: usize, on: &mut dyn FnMut(u32, usize, usize)) {
        let part = &text.as_bytes()[from..to];
        let mut whole = None;
        self.trie.prefixes(Trie::ROOT, part, |n, piece| whole = (n == part.len()).then_some(piece));
        if let Some(piece) = whole {
            return on(self.id_of(piece), from, to);
        }
        if let Some(table) = &self.bytes
            && part.iter().all(|b| table[*b as usize].is_some())
        {
            return part.iter().filter_map(|b| table[*b as usize]).for_each(|id| on(id, from, to));
        }
        if let Some(piece) = self.unknown {
            on(self.id_of(piece), from, to);
        }
    }
}
