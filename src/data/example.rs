//! Tokens of rows, and which of them count.

/// Label and index that mean "not judged": −100 in files, this on the GPU.
pub const IGNORE: u32 = u32::MAX;

/// Label of a token, not the first, with which another document begins: it is not judged, it sees nothing that stands before it, and positions
/// begin at 0 with it. So several documents share a sequence and learn as if each stood alone.
pub const BEGIN: u32 = u32::MAX - 1;

/// Label of a token of a document's prefix, which the others of the prefix see: it is not judged. The first token of a document has it or
/// [`BEGIN_SEEN`] where the row says how long its prefix is.
pub const SEEN: u32 = u32::MAX - 2;

/// [`BEGIN`] of a document that says how long its prefix is.
pub const BEGIN_SEEN: u32 = u32::MAX - 3;

/// Tokens of one sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    pub ids: Vec<u32>,
    /// Per token: the id itself where it is to be learned, [`IGNORE`] elsewhere, or [`BEGIN`], [`SEEN`], [`BEGIN_SEEN`]. Label t + 1 judges position t.
    pub labels: Vec<u32>,
    /// The segment of each token; empty where all are of the first one.
    pub types: Vec<u32>,
    /// What an encoder-decoder's encoder reads; empty for other models. The tokens are then the decoder's.
    pub source: Vec<u32>,
}

impl Example {
    /// All tokens, of which those from `learn_from` on count.
    pub fn from_parts(ids: Vec<u32>, learn_from: usize) -> Example {
        let labels = ids.iter().enumerate().map(|(i, id)| if i < learn_from { IGNORE } else { *id }).collect();
        Example { ids, labels, ..Example::default() }
    }

    /// All tokens of an encoder's sequence, with what each is to be ([`IGNORE`] where nothing is asked): its own place is judged, not the next one's.
    pub fn in_place(ids: Vec<u32>, labels: &[u32], types: Vec<u32>) -> Example {
        let labels = std::iter::once(IGNORE).chain(labels.iter().copied()).collect();
        Example { ids, labels, types, ..Example::default() }
    }

    /// All tokens, of which the last one is judged, by a score: what follows it does not matter. It has one label more than tokens.
    pub fn scored(ids: Vec<u32>) -> Example {
        let mut labels = vec![IGNORE; ids.len()];
        labels.push(0);
        Example { ids, labels, ..Example::default() }
    }

    /// What token `t` is to be, where it is judged: the first of a document has nothing before it.
    pub fn target(&self, t: usize) -> Option<u32> {
        self.labels.get(t).copied().filter(|l| t > 0 && *l < BEGIN_SEEN)
    }

    /// Tokens that are judged.
    pub fn counted(&self) -> usize {
        (1..self.labels.len()).filter(|t| self.target(*t).is_some()).count()
    }

    /// Where its documents stand.
    pub fn documents(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let begin = at;
            if begin >= self.ids.len() {
                return None;
            }
            at = (begin + 1..self.ids.len()).find(|t| matches!(self.labels.get(*t), Some(&(BEGIN | BEGIN_SEEN)))).unwrap_or(self.ids.len());
            Some(begin..at)
        })
    }

    /// Has its first `n` tokens see one another, if it is laid out with prefixes or not.
    pub fn set_prefix(&mut self, n: usize) {
        // None is as one: a token sees itself.
        self.labels.iter_mut().take(n.max(1)).for_each(|l| *l = SEEN);
    }

    /// Tokens of a document's prefix, where the row said so: see [`Example::set_prefix`].
    pub fn prefix(&self, document: &std::ops::Range<usize>) -> Option<usize> {
        let said = matches!(self.labels.get(document.start), Some(&(SEEN | BEGIN_SEEN)));
        let rest = self.labels.get(document.start + 1..document.end).unwrap_or_default();
        said.then(|| 1 + rest.iter().take_while(|l| **l == SEEN).count())
    }

    /// Tokens of a document's prompt: all before the first that is judged.
    pub fn prompt(&self, document: &std::ops::Range<usize>) -> usize {
        let first = (document.start + 1..=document.end).find(|t| self.target(*t).is_some());
        first.unwrap_or(document.end) - document.start
    }

    /// Keeps the beginning, as TRL's `truncation_mode="keep_start"`.
    pub fn truncate(&mut self, len: usize) {
        // An encoder's token has its label one place further on.
        let in_place = self.labels.len() > self.ids.len();
        self.ids.truncate(len);
        self.labels.truncate(len + usize::from(in_place));
        self.types.truncate(len);
        self.source.truncate(len);
    }

    /// Keeps the end, as `truncation_mode="keep_end"`.
    pub fn keep_end(&mut self, len: usize) {
        let from = self.ids.len().saturating_sub(len);
        let said = self.labels.first() == Some(&SEEN);
        self.ids.drain(..from);
        self.labels.drain(..from);
        if let Some(first) = self.labels.first_mut().filter(|_| said) {
            *first = SEEN;
        }
        self.types.drain(..from.min(self.types.len()));
    }
}

/// A preference.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    pub chosen: Example,
    pub rejected: Example,
    /// Multiplies its loss.
    pub weight: f32,
}

/// Answers to one prompt and which of them are better than which: a preference has two, a ranking all that have a place. An answer that is in several
/// pairs stands here once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Preferred {
    pub answers: Vec<Example>,
    /// Places of the better and the worse answer.
    pub pairs: Vec<[usize; 2]>,
    /// Multiplies the loss of every pair.
    pub weight: f32,
}

impl Preferred {
    /// Of pairs from one row.
    pub fn new(pairs: Vec<Pair>) -> Preferred {
        let mut all = Preferred { weight: pairs.first().map_or(1.0, |p| p.weight), ..Preferred::default() };
        for Pair { chosen, rejected, .. } in pairs {
            let better = all.place(chosen, None);
            let worse = all.place(rejected, Some(better));
            all.pairs.push([better, worse]);
        }
        all
    }

    /// Where an answer stands, other than at `taken`.
    fn place(&mut self, answer: Example, taken: Option<usize>) -> usize {
        let there = self.answers.iter().position(|a| *a == answer).filter(|at| Some(*at) != taken);
        there.unwrap_or_else(|| {
            self.answers.push(answer);
            self.answers.len() - 1
        })
    }

    /// Each pair by itself.
    pub fn apart(&self) -> impl Iterator<Item = Preferred> + '_ {
        let one = |[a, b]: [usize; 2]| Preferred {
            answers: vec![self.answers[a].clone(), self.answers[b].clone()],
            pairs: vec![[0, 1]],
            weight: self.weight,
        };
        self.pairs.iter().copied().map(one)
    }
}

/// A judgement of one answer. Prompt and completion stay whole and apart: what is cut is cut when they are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpaired {
    pub prompt: Vec<u32>,
    pub completion: Vec<u32>,
    /// True for a good answer.
    pub label: bool,
    /// Tokens that a sequence may have.
    pub max_length: usize,
}

impl Unpaired {
    /// The answer to its prompt.
    pub fn example(&self) -> Example {
        self.with_completion(&self.completion)
    }

    /// Another answer to the prompt, such as KTO's mismatched one.
    pub fn with_completion(&self, completion: &[u32]) -> Example {
        let mut e = Example::from_parts([&self.prompt[..], completion].concat(), self.prompt.len());
        e.truncate(self.max_length);
        e
    }
}

/// Answers to one prompt that were compared, each a whole sequence (prompt and answer).
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The best one first, tied ones together; at least two.
    pub answers: Vec<Example>,
    /// Of each answer: the smallest is best, equal ones are tied.
    pub ranks: Vec<u32>,
    /// Of a pair: by how much the first one should be better, at least.
    pub margin: f32,
}

impl Comparison {
    /// All strict pairs (better, worse) of places.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let better = move |a: usize| (a + 1..self.ranks.len()).filter(move |b| self.ranks[*b] > self.ranks[a]).map(move |b| (a, b));
        (0..self.ranks.len()).flat_map(better)
    }

    /// For every place, the one behind those that are tied with it.
    pub fn ends(&self) -> Vec<usize> {
        let behind = |rank: &u32| self.ranks.iter().rposition(|r| r == rank).map_or(0, |at| at + 1);
        self.ranks.iter().map(behind).collect()
    }

    /// The size of its largest tie.
    pub fn tied(&self) -> usize {
        self.ranks.chunk_by(|a, b| a == b).map(<[u32]>::len).max().unwrap_or(0)
    }
}
