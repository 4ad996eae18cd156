//! From examples to what a recorded plan takes: a few shapes (buckets), so that a new length does not mean a new plan.
//!
//! Only the rows that are judged go through the vocabulary head: their hidden states are gathered first.

use super::example::{Example, IGNORE};

/// How sequences are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// One after the other where that is shorter, and not too long; else side by side.
    #[default]
    Auto,
    /// One after the other in a single row, whatever its length.
    OneRow,
}

/// The shape a plan is recorded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchShape {
    /// Sequences side by side; 1 when they are laid one after the other in a single row.
    pub batch: usize,
    /// Tokens of each.
    pub len: usize,
    /// Judged positions.
    pub rows: usize,
    /// Sequences (each pair of a preference has two).
    pub seqs: usize,
    /// Tokens that the encoder of an encoder-decoder reads, in each row; 0 for other models.
    pub source: usize,
}

/// The next bucket that holds `n`: multiples of 16 to 128, then four to each power of two. So at most a fifth of a long row is padding, and
/// there are few enough buckets that rows of any length soon find a plan that was recorded for others.
pub fn bucket(n: usize) -> usize {
    steps(n, 8)
}

/// Buckets of judged positions: two to a power of two, since every one of them may meet every bucket of the tokens, and only the head sees
/// their padding.
fn judged_bucket(n: usize) -> usize {
    steps(n, 4)
}

/// The next multiple of a `share`-th of the power of two above `n`, and of 16.
fn steps(n: usize, share: usize) -> usize {
    let n = n.max(1);
    n.next_multiple_of((n.next_power_of_two() / share).max(16))
}

/// Above this, sequences are padded side by side rather than laid one after the other: the backward pass of attention
/// looks at all queries of a row.
const MAX_ROW: usize = 1024;

/// Which keys of its own sequence a token sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Itself and all before it; in a document that says how long its prefix is, as with [`Sight::Prefix`].
    Causal,
    /// The tokens of a document's prefix see each other, whatever their order; those behind them are causal. The prefix is what the row said
    /// ([`Example::set_prefix`]), else the prompt: all before the first token that is judged.
    Prefix,
    /// All of the sequence, as in an encoder.
    Bidirectional,
}

/// What every sequence has in front of its tokens, which an adapter makes. Positions count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Front {
    #[default]
    Nothing,
    /// So many virtual tokens, which are rows of the batch.
    Tokens(usize),
    /// So many keys and values, which are none.
    Keys(usize),
}

impl Front {
    /// How many there are.
    pub fn count(self) -> usize {
        match self {
            Front::Nothing => 0,
            Front::Tokens(n) | Front::Keys(n) => n,
        }
    }
}

impl Sight {
    /// The keys [begin, end) that key `t` of a document with `len` of them sees, `front` of which are in front of its tokens and `prefix` of its
    /// prefix. What is in front is causal, so that a cache can keep it for any prompt. A window bounds both sides: at most so many keys up to its own,
    /// which is one of them, and as many from its own on.
    fn span(self, t: usize, len: usize, (front, prefix): (usize, usize), window: Option<usize>) -> (usize, usize) {
        let end = match self {
            Sight::Causal | Sight::Prefix if t < front => t + 1,
            Sight::Causal | Sight::Prefix => (front + prefix).min(len).max(t + 1),
            Sight::Bidirectional => len,
        };
        match window {
            None => (0, end),
            Some(w) => ((t + 1).saturating_sub(w), end.min(t + w.max(1))),
        }
    }
}

/// What the encoder reads, in as many rows as the decoder's tokens are in.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Token ids (batch · source), 0 where nothing is.
    pub ids: Vec<u32>,
    /// Position of each in its own sequence.
    pub positions: Vec<u32>,
    /// Tokens of its row that each sees, [begin, end): all of its sequence.
    pub spans: Vec<u32>,
    /// The same for each token of the decoder (batch · len).
    pub cross: Vec<u32>,
}

/// One micro-batch, laid out.
#[derive(Clone, Debug)]
pub struct Batch {
    pub shape: BatchShape,
    /// Token ids (batch · len), 0 where nothing is.
    pub ids: Vec<u32>,
    /// Position of each token in its own document (batch · len).
    pub positions: Vec<u32>,
    /// Keys each query sees, [begin, end) inside its row (batch · len · 2); empty where nothing is.
    pub spans: Vec<u32>,
    /// The same under a sliding window, where the model has one.
    pub window_spans: Vec<u32>,
    /// Judged position → row of the batch (rows); `IGNORE` in the unused end.
    pub gather: Vec<u32>,
    /// Row of the batch → judged position (batch · len); `IGNORE` where it is not judged.
    pub inverse: Vec<u32>,
    /// Token to be predicted at each judged position (rows).
    pub targets: Vec<u32>,
    /// Sequence of each judged position (rows).
    pub seqs: Vec<u32>,
    /// Segment of each token (batch · len).
    pub types: Vec<u32>,
    /// Tokens of the document that each token is in (batch · len), 0 where nothing is.
    pub lens: Vec<u32>,
    /// What is in front: of rows of the batch, which virtual token each is (batch · len), `IGNORE` where it is a token; of keys, their numbers for
    /// every sequence (batch · n).
    pub front: Vec<u32>,
    /// What the encoder of an encoder-decoder reads; empty for other models.
    pub sources: Sources,
    /// Real tokens.
    pub tokens: usize,
    /// Judged positions that are real.
    pub counted: usize,
}

impl Batch {
    /// Lays sequences out. `sight` says which keys a query sees, and `window` how many of them at most under a sliding window.
    pub fn new(examples: &[&Example], sight: Sight, window: Option<usize>) -> Batch {
        Batch::laid_out(examples, sight, window, Layout::Auto, Front::Nothing)
    }

    /// The same with a layout, and with something in front of every document. Documents of one sequence do not see each other, and `sight` is each one's.
    pub fn laid_out(examples: &[&Example], sight: Sight, window: Option<usize>, layout: Layout, front: Front) -> Batch {
        // Rows and keys in front.
        let (rows, keys) = (if let Front::Tokens(n) = front { n } else { 0 }, front.count());
        // A key in front is in front of all of a row: each document is one then.
        let own_rows = rows != keys;
        let documents = |e: &&Example| e.documents().map(|d| d.len() + rows).collect::<Vec<_>>();
        let lens: Vec<usize> = match own_rows {
            true => examples.iter().flat_map(documents).collect(),
            false => examples.iter().map(|e| documents(e).iter().sum()).collect(),
        };
        let longest = lens.iter().copied().max().unwrap_or(1);
        let tokens: usize = lens.iter().sum();
        let counted: usize = examples.iter().map(|e| e.counted()).sum();
        let packed = bucket(tokens);
        let side_by_side = lens.len() * bucket(longest);
        // One row has no padding between sequences.
        let one_row = ((packed <= MAX_ROW && packed < side_by_side) || layout == Layout::OneRow) && !own_rows;
        let (batch, len) = if one_row { (1, packed) } else { (lens.len(), bucket(longest)) };
        let shape = BatchShape { batch, len, rows: judged_bucket(counted), seqs: examples.len(), source: 0 };
        let m = batch * len;
        let mut b = Batch {
            shape,
            ids: vec![0; m],
            positions: vec![0; m],
            spans: vec![0; 2 * m],
            window_spans: vec![0; 2 * m],
            gather: vec![IGNORE; shape.rows],
            inverse: vec![IGNORE; m],
            targets: vec![IGNORE; shape.rows],
            seqs: vec![IGNORE; shape.rows],
            types: vec![0; m],
            lens: vec![0; m],
            front: match front {
                Front::Nothing => Vec::new(),
                Front::Tokens(_) => vec![IGNORE; m],
                Front::Keys(n) => (0..batch * n).map(|i| (i % n) as u32).collect(),
            },
            sources: Sources::default(),
            tokens: examples.iter().map(|e| e.ids.len()).sum(),
            counted,
        };
        // The next free row of the batch where all are one row or a document is one; the next judged position; documents so far.
        let (mut at, mut row, mut documents) = (0, 0, 0);
        for (s, e) in examples.iter().enumerate() {
            if !one_row {
                at = s * len;
            }
            for document in e.documents() {
                if own_rows {
                    at = documents * len;
                }
                // Where the document begins inside its row of the batch.
                let start = at % len;
                let prefix = match (e.prefix(&document), sight) {
                    (Some(said), _) => said,
                    (None, Sight::Prefix) => e.prompt(&document),
                    (None, _) => 0,
                };
                for key in keys - rows..keys + document.len() {
                    let m = at + key + rows - keys;
                    b.positions[m] = key as u32;
                    for (spans, window) in [(&mut b.spans, None), (&mut b.window_spans, window)] {
                        let (begin, end) = sight.span(key, document.len() + keys, (keys, prefix), window);
                        spans[2 * m] = (start + begin) as u32;
                        spans[2 * m + 1] = (start + end) as u32;
                    }
                    let Some(own) = key.checked_sub(keys) else {
                        // No token's id: the embedding gives zeros.
                        b.ids[m] = IGNORE;
                        b.front[m] = key as u32;
                        continue;
                    };
                    let t = document.start + own;
                    b.ids[m] = e.ids[t];
                    b.lens[m] = document.len() as u32;
                    b.types[m] = e.types.get(t).copied().unwrap_or(0);
                    if let Some(label) = e.target(t + 1) {
                        b.gather[row] = m as u32;
                        b.inverse[m] = row as u32;
                        b.targets[row] = label;
                        b.seqs[row] = s as u32;
                        row += 1;
                    }
                }
                at += rows + document.len();
                documents += 1;
            }
        }
        b
    }

    /// NEFTune's size of noise at each token (batch · len): alpha/√(L·width) with L the tokens of its document, 0 where nothing is.
    pub fn noise(&self, alpha: f64, width: usize) -> Vec<f32> {
        let size = |len: &u32| if *len == 0 { 0.0 } else { (alpha / (f64::from(*len) * width as f64).sqrt()) as f32 };
        self.lens.iter().map(size).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(ids: &[u32], from: usize) -> Example {
        let labels = ids.iter().enumerate().map(|(i, id)| if i < from { IGNORE } else { *id }).collect();
        Example { ids: ids.to_vec(), labels, ..Example::default() }
    }

    #[test]
    fn buckets() {
        assert_eq!([1, 16, 17, 128, 129, 512, 513, 2049].map(bucket), [16, 16, 32, 128, 160, 512, 640, 2560]);
        assert_eq!([0, 16, 17, 65, 128, 129, 513].map(judged_bucket), [16, 16, 32, 96, 128, 192, 768]);
        assert!((1..100_000).all(|n| bucket(n) >= n && bucket(n).is_multiple_of(16) && judged_bucket(n) >= n));
    }

    #[test]
    fn one_row_when_it_is_shorter() {
        let (a, b) = (example(&[5, 6, 7], 1), example(&[8, 9], 1));
        let batch = Batch::new(&[&a, &b], Sight::Causal, None);
        assert_eq!(batch.shape, BatchShape { batch: 1, len: 16, rows: 16, seqs: 2, source: 0 });
        assert_eq!(batch.ids[..6], [5, 6, 7, 8, 9, 0]);
        assert_eq!(batch.positions[..6], [0, 1, 2, 0, 1, 0]);
        assert_eq!(batch.spans[..12], [0, 1, 0, 2, 0, 3, 3, 4, 3, 5, 0, 0]);
        assert_eq!(batch.gather[..4], [0, 1, 3, IGNORE]);
        assert_eq!(batch.inverse[..5], [0, 1, IGNORE, 2, IGNORE]);
        assert_eq!(batch.targets[..4], [6, 7, 9, IGNORE]);
        assert_eq!(batch.seqs[..4], [0, 0, 1, IGNORE]);
        assert_eq!((batch.tokens, batch.counted), (5, 3));
    }

    #[test]
    fn documents_of_a_pack_are_like_sequences() {
        let (a, b) = (example(&[5, 6, 7], 1), example(&[8, 9], 0));
        let pack = super::super::Packing::Bfd.pack(&[b.clone(), a.clone()], 6).remove(0);
        let (apart, packed) = (Batch::new(&[&a, &b], Sight::Causal, Some(2)), Batch::new(&[&pack], Sight::Causal, Some(2)));
        assert_eq!((&packed.ids, &packed.positions, &packed.spans), (&apart.ids, &apart.positions, &apart.spans));
        assert_eq!((&packed.window_spans, &packed.gather, &packed.targets), (&apart.window_spans, &apart.gather, &apart.targets));
        assert_eq!((packed.seqs[2], apart.seqs[2], packed.lens[..6].to_vec()), (0, 1, vec![3, 3, 3, 2, 2, 0]));
        assert_eq!(packed.noise(6.0, 12)[..6], [1.0, 1.0, 1.0, 1.5f32.sqrt(), 1.5f32.sqrt(), 0.0]);
        assert_eq!(Batch::laid_out(&[&pack; 300], Sight::Causal, None, Layout::OneRow, Front::Nothing).shape.batch, 1);
    }

    #[test]
    fn side_by_side_when_nothing_is_wasted() {
        let (a, b) = (example(&[1; 16], 2), example(&[2; 15], 1));
        let batch = Batch::new(&[&a, &b], Sight::Causal, Some(4));
        assert_eq!(batch.shape, BatchShape { batch: 2, len: 16, rows: 32, seqs: 2, source: 0 });
        assert_eq!(batch.spans[32..36], [0, 1, 0, 2]);
        assert_eq!(batch.window_spans[2 * 10..2 * 10 + 2], [7, 11]);
        // Labels of the first token judge nothing: 14 of each are counted.
        assert_eq!(batch.counted, 28);
        assert_eq!(batch.gather[14], 16);
    }

    #[test]
    fn what_is_in_front_is_seen_and_counted() {
        let (a, b) = (example(&[5, 6, 7], 1), example(&[8, 9], 1));
        let batch = Batch::laid_out(&[&a, &b], Sight::Causal, Some(3), Layout::Auto, Front::Tokens(2));
        assert_eq!(batch.shape, BatchShape { batch: 1, len: 16, rows: 16, seqs: 2, source: 0 });
        assert_eq!(batch.ids[..9], [IGNORE, IGNORE, 5, 6, 7, IGNORE, IGNORE, 8, 9]);
        assert_eq!(batch.front[..9], [0, 1, IGNORE, IGNORE, IGNORE, 0, 1, IGNORE, IGNORE]);
        assert_eq!(batch.positions[..9], [0, 1, 2, 3, 4, 0, 1, 2, 3]);
        assert_eq!(batch.spans[..18], [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 5, 6, 5, 7, 5, 8, 5, 9]);
        assert_eq!(batch.window_spans[6..10], [1, 4, 2, 5]);
        assert_eq!((&batch.gather[..3], batch.tokens, batch.counted), (&[2, 3, 7][..], 5, 3));
        let batch = Batch::laid_out(&[&a, &b], Sight::Causal, None, Layout::Auto, Front::Keys(2));
        assert_eq!(batch.shape, BatchShape { batch: 2, len: 16, rows: 16, seqs: 2, source: 0 });
        assert_eq!((&batch.front[..], &batch.positions[16..18]), (&[0, 1, 0, 1][..], &[2, 3][..]));
        assert_eq!((&batch.spans[..6], &batch.spans[32..36]), (&[0, 3, 0, 4, 0, 5][..], &[0, 3, 0, 4][..]));
        assert_eq!((batch.ids[0], batch.ids[16], batch.gather[2]), (5, 8, 16));
    }

    #[test]
    fn tokens_see_what_they_are_told_to() {
        let rows = |prefixes: Option<[usize; 2]>| {
            let mut rows = [example(&[1, 2, 3, 4], 3), example(&[5, 6, 7], 1)];
            prefixes.iter().for_each(|p| rows.iter_mut().zip(p).for_each(|(row, n)| row.set_prefix(*n)));
            rows
        };
        let with = |prefixes: Option<[usize; 2]>, sight: Sight, window: Option<usize>| {
            let [a, b] = rows(prefixes);
            let batch = Batch::new(&[&a, &b], sight, window);
            assert_eq!(batch.shape.batch, 1);
            let pairs = |spans: &[u32]| spans[..14].chunks(2).map(|c| (c[0], c[1])).collect::<Vec<_>>();
            (pairs(&batch.spans), pairs(&batch.window_spans))
        };
        let of = |sight: Sight, window: Option<usize>| with(None, sight, window);
        let causal = vec![(0, 1), (0, 2), (0, 3), (0, 4), (4, 5), (4, 6), (4, 7)];
        assert_eq!(of(Sight::Causal, None), (causal.clone(), causal.clone()));
        assert_eq!(of(Sight::Causal, Some(2)).1, [(0, 1), (0, 2), (1, 3), (2, 4), (4, 5), (4, 6), (5, 7)]);
        // The prompt is the prefix, unless the row says how long it is. No prefix at all is causal; a longer one than the sequence is all of it.
        assert_eq!(of(Sight::Prefix, None).0, [(0, 3), (0, 3), (0, 3), (0, 4), (4, 5), (4, 6), (4, 7)]);
        assert_eq!(of(Sight::Prefix, Some(2)).1, [(0, 2), (0, 3), (1, 3), (2, 4), (4, 5), (4, 6), (5, 7)]);
        for sight in [Sight::Causal, Sight::Prefix] {
            assert_eq!(with(Some([0, 1]), sight, None).0, causal);
            assert_eq!(with(Some([2, 9]), sight, None).0, [(0, 2), (0, 2), (0, 3), (0, 4), (4, 7), (4, 7), (4, 7)]);
        }
        // Each document of a pack has its own.
        let [a, b] = rows(Some([2, 3]));
        for (a, b) in [(a.clone(), b.clone()), (Example::from_parts(a.ids, 3), Example::from_parts(b.ids, 2))] {
            let pack = super::super::Packing::Bfd.pack(&[b.clone(), a.clone()], 7).remove(0);
            let (packed, apart) = (Batch::new(&[&pack], Sight::Prefix, None), Batch::new(&[&a, &b], Sight::Prefix, None));
            assert_eq!((packed.spans, packed.targets), (apart.spans, apart.targets));
        }
        // A prompt alone, and a sequence that is scored, are all prefix.
        for e in [Example { ids: vec![1, 2], labels: vec![IGNORE; 2], ..Example::default() }, Example::scored(vec![1, 2])] {
            assert_eq!(Batch::new(&[&e], Sight::Prefix, None).spans[..4], [0, 2, 0, 2]);
        }
        // What is in front stays causal.
        let [a, _] = rows(None);
        let batch = Batch::laid_out(&[&a], Sight::Prefix, None, Layout::Auto, Front::Tokens(2));
        assert_eq!(batch.spans[..12], [0, 1, 0, 2, 0, 5, 0, 5, 0, 5, 0, 6]);
        let whole = [(0, 4), (0, 4), (0, 4), (0, 4), (4, 7), (4, 7), (4, 7)];
        assert_eq!(of(Sight::Bidirectional, None).0, whole);
        let (full, near) = of(Sight::Bidirectional, Some(2));
        assert_eq!((full, near), (whole.to_vec(), vec![(0, 2), (0, 3), (1, 4), (2, 4), (4, 6), (4, 7), (5, 7)]));
    }
}
