//! WordPiece: the longest token that a word begins with, then the longest that continues it.
use super::trie::Trie;
use super::vocab::Vocab;

/// A WordPiece model.
#[derive(Debug)]
pub struct WordPiece {
    pub vocab: Vocab,
    trie: Trie,
    /// Where tokens that continue a word begin in the tree; none where no token has the prefix.
    continued: Option<u32>,
    /// Stands for a word that falls into no tokens.
    unknown: u32,
    /// Words of more characters are unknown.
    longest: usize,
}

impl WordPiece {
    /// `prefix` is what tokens inside of a word begin with.
    pub fn new(vocab: Vocab, unknown: u32, prefix: &str, longest: usize) -> WordPiece {
        let trie = Trie::new((0..vocab.len() as u32).map(|id| (vocab.get(id), id)));
        let continued = trie.walk(Trie::ROOT, prefix.as_bytes());
        WordPiece { vocab, trie, continued, unknown, longest }
    }

    /// Calls `on` for each token of a word with its id and the bytes that it stands for. `found` is room that is used again.
    pub fn tokenize(&self, word: &str, found: &mut Vec<(u32, usize)>, on: &mut dyn FnMut(u32, usize, usize)) {
        found.clear();
        let mut start = 0;
        // Counts no further than it has to.
        let mut node = if word.chars().nth(self.longest).is_none() { Some(Trie::ROOT) } else { None };
        while start < word.len() {
            let mut best = None;
            if let Some(node) = node {
                self.trie.prefixes(node, &word.as_bytes()[start..], |n, id| best = Some((id, start + n)));
            }
            let Some((id, end)) = best else { return on(self.unknown, 0, word.len()) };
            found.push((id, end));
            start = end;
            node = self.continued;
        }
        let mut start = 0;
        for (id, end) in found.iter() {
            on(*id, start, *end);
            start = *end;
        }
    }
}
