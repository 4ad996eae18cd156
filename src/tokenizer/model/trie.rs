//! All tokens as a tree of bytes: which of them a text begins with.

/// The tree. Nodes stand by depth, and the children of one beside each other in the order of their bytes.
#[derive(Debug)]
pub struct Trie {
    /// The byte that leads to each node.
    labels: Vec<u8>,
    /// Where the children of each node begin; those of the next one end them.
    firsts: Vec<u32>,
    /// The token that ends at each node.
    ids: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Trie {
    /// The root: nothing has been read.
    pub const ROOT: u32 = 0;

    /// The tree of tokens with their numbers. Of equal ones the last counts; an empty one is never found.
    pub fn new<'a>(tokens: impl Iterator<Item = (&'a str, u32)>) -> Trie {
        let mut sorted: Vec<(&[u8], u32)> = tokens.filter(|t| !t.0.is_empty()).map(|(t, id)| (t.as_bytes(), id)).collect();
        sorted.sort_by_key(|t| t.0);
        let mut out = Trie { labels: vec![0], firsts: Vec::new(), ids: Vec::new() };
        // The tokens below each node, and how many bytes lead to it.
        let mut below: Vec<(u32, u32, u32)> = vec![(0, sorted.len() as u32, 0)];
        let mut at = 0;
        while let Some(&(from, to, depth)) = below.get(at) {
            let (mut from, to, n) = (from as usize, to as usize, depth as usize);
            let mut id = NONE;
            while from < to && sorted[from].0.len() == n {
                id = sorted[from].1;
                from += 1;
            }
            out.ids.push(id);
            out.firsts.push(below.len() as u32);
            while from < to {
                let label = sorted[from].0[n];
                let end = from + sorted[from..to].partition_point(|t| t.0[n] == label);
                out.labels.push(label);
                below.push((from as u32, end as u32, depth + 1));
                from = end;
            }
            at += 1;
        }
        out.firsts.push(below.len() as u32);
        out
    }

    /// The node that a byte leads to.
    pub fn step(&self, node: u32, byte: u8) -> Option<u32> {
        let (from, to) = (self.firsts[node as usize] as usize, self.firsts[node as usize + 1] as usize);
        self.labels[from..to].binary_search(&byte).ok().map(|i| (from + i) as u32)
    }

    /// The node that bytes lead to.
    pub fn walk(&self, node: u32, bytes: &[u8]) -> Option<u32> {
        bytes.iter().try_fold(node, |node, b| self.step(node, *b))
    }

    /// Calls `on` for each token that `bytes` begin with, the shortest first, with its length and number.
    pub fn prefixes(&self, mut node: u32, bytes: &[u8], mut on: impl FnMut(usize, u32)) {
        for (i, b) in bytes.iter().enumerate() {
            let Some(next) = self.step(node, *b) else { return };
            node = next;
            let id = self.ids[node as usize];
            if id != NONE {
                on(i + 1, id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Trie;

    #[test]
    fn every_token_a_text_begins_with() {
        let t = Trie::new([("ab", 0), ("a", 1), ("abcd", 2), ("", 3), ("b", 4), ("é", 5), ("a", 6)].into_iter());
        let found = |node, text: &str| {
            let mut all = Vec::new();
            t.prefixes(node, text.as_bytes(), |n, id| all.push((n, id)));
            all
        };
        assert_eq!(found(Trie::ROOT, "abcde"), [(1, 6), (2, 0), (4, 2)]);
        assert_eq!(found(Trie::ROOT, "abce"), [(1, 6), (2, 0)]);
        assert_eq!(found(Trie::ROOT, "éa"), [(2, 5)]);
        assert_eq!(found(Trie::ROOT, "x"), []);
        assert_eq!(found(t.walk(Trie::ROOT, b"a").unwrap(), "bcd"), [(1, 0), (3, 2)]);
        assert_eq!(t.walk(Trie::ROOT, b"ax"), None);
        assert_eq!(Trie::new(std::iter::empty()).walk(Trie::ROOT, b"a"), None);
    }
}
