//! The vocabulary and the merging of byte pairs.
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use crate::error::{Error, Result};

/// More tokens than any vocabulary has.
pub const MAX_TOKENS: usize = 4_000_000;

/// The bytes of all tokens in one allocation, with a sorted index.
#[derive(Debug, Default)]
pub(in crate::tokenizer) struct Vocab {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// Ids in the order of their bytes.
    sorted: Vec<u32>,
}

impl Vocab {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len() as u32);
    }

    /// Call when all tokens are there.
    pub fn index(&mut self) {
        let mut sorted: Vec<u32> = (0..self.ends.len() as u32).collect();
        sorted.sort_unstable_by(|&a, &b| self.get(a).cmp(self.get(b)).then(a.cmp(&b)));
        self.sorted = sorted;
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of a token; none for an id outside the vocabulary.
    pub fn get(&self, id: u32) -> &[u8] {
        let i = id as usize;
        let Some(&end) = self.ends.get(i) else { return &[] };
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start as usize..end as usize]
    }

    /// The (lowest) id of a token.
    pub fn find(&self, bytes: &[u8]) -> Option<u32> {
        let i = self.sorted.partition_point(|&id| self.get(id) < bytes);
        self.sorted.get(i).copied().filter(|&id| self.get(id) == bytes)
    }
}

/// Ranked merges over a vocabulary.
#[derive(Debug)]
pub(in crate::tokenizer) struct Merges {
    /// (left id, right id) → (rank, id of both together).
    table: HashMap<(u32, u32), (u32, u32)>,
    /// The token of a single byte.
    byte_ids: Box<[Option<u32>; 256]>,
}

impl Merges {
    /// `merges` are pairs of raw bytes in the order of their rank.
    pub fn new(file: &str, vocab: &Vocab, merges: impl Iterator<Item = Result<(Vec<u8>, Vec<u8>)>>) -> Result<Self> {
        let mut table = HashMap::new();
        let mut both = Vec::new();
        for (rank, merge) in merges.enumerate() {
            let (left, right) = merge?;
            both.clear();
            both.extend_from_slice(&left);
            both.extend_from_slice(&right);
            let find = |bytes: &[u8]| {
                vocab.find(bytes).ok_or_else(|| {
                    let text = String::from_utf8_lossy(bytes);
                    Error::file(file, format!("merge number {rank} needs the token {text:?}, which the vocabulary lacks"))
                })
            };
            table.entry((find(&left)?, find(&right)?)).or_insert((rank as u32, find(&both)?));
        }
        let byte_ids = Box::new(std::array::from_fn(|b| vocab.find(&[b as u8])));
        Ok(Merges { table, byte_ids })
    }

    /// Merges of ids, for a tokenizer that does not begin with bytes: (left, right) → (rank, both together).
    pub fn of_table(table: HashMap<(u32, u32), (u32, u32)>) -> Self {
        Merges { table, byte_ids: Box::new([None; 256]) }
    }

    /// Merges one piece: always the pair of lowest rank, the leftmost of equal ones. O(n log n), whatever the text.
    pub fn encode(&self, piece: &[u8], unknown: Option<u32>, out: &mut Vec<u32>) {
        self.merge(piece.iter().filter_map(|&b| self.byte_ids[b as usize].or(unknown)).collect(), out);
    }

    /// The same for symbols that are ids already.
    pub fn merge(&self, ids: Vec<u32>, out: &mut Vec<u32>) {
        if ids.len() < 2 {
            out.extend(ids);
            return;
        }
        // A doubly linked list of symbols; a merged-away symbol has id NONE.
        const NONE: u32 = u32::MAX;
        let n = ids.len();
        let mut ids = ids;
        let mut next: Vec<u32> = (1..=n as u32).collect();
        let mut prev: Vec<u32> = (0..n as u32).map(|i| i.wrapping_sub(1)).collect();
        let mut heap = BinaryHeap::new();
        let rank = |a: u32, b: u32| self.table.get(&(a, b)).copied();
        for i in 0..n - 1 {
            if let Some((r, id)) = rank(ids[i], ids[i + 1]) {
                heap.push(Reverse((r, i as u32, ids[i], ids[i + 1], id)));
            }
        }
        while let Some(Reverse((_, at, left, right, id))) = heap.pop() {
            let (i, j) = (at as usize, next[at as usize] as usize);
            // Stale when either side has changed since it was queued.
            if ids[i] != left || j >= n || ids[j] != right {
                continue;
            }
            ids[i] = id;
            ids[j] = NONE;
            next[i] = next[j];
            if (next[i] as usize) < n {
                let k = next[i] as usize;
                prev[k] = at;
                if let Some((r, id2)) = rank(id, ids[k]) {
                    heap.push(Reverse((r, at, id, ids[k], id2)));
                }
            }
            let h = prev[i];
            if h != u32::MAX
                && let Some((r, id2)) = rank(ids[h as usize], id)
            {
                heap.push(Reverse((r, h, ids[h as usize], id, id2)));
            }
        }
        out.extend(ids.into_iter().filter(|&id| id != NONE));
    }
}

/// The characters that byte-level vocabularies write for bytes: printable Latin-1 for itself, the rest from U+0100 on.
fn char_of(b: u8) -> char {
    let plain = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if plain(b) {
        return b as char;
    }
    let before = (0..b).filter(|&x| !plain(x)).count() as u32;
    char::from_u32(0x100 + before).expect("below U+0200")
}

/// Turns a vocabulary's spelling of a token into its bytes.
pub(in crate::tokenizer) struct Unspell(HashMap<char, u8>);

impl Unspell {
    pub fn new() -> Self {
        Unspell((0..=255).map(|b| (char_of(b), b)).collect())
    }

    /// The bytes, or none where a character stands for no byte.
    pub fn bytes(&self, spelled: &str) -> Option<Vec<u8>> {
        spelled.chars().map(|c| self.0.get(&c).copied()).collect()
    }
}
