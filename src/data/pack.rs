//! Packing: rows of many lengths into sequences of one, so that little is padded.

use std::collections::{BTreeMap, VecDeque};

use super::example::{BEGIN, BEGIN_SEEN, Example, IGNORE, SEEN};

/// How rows become packs, by TRL's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Best fit decreasing: the longest first, each into the fullest pack that still has room. Documents do not see each other.
    Bfd,
    /// The same, with documents that are too long cut into several.
    BfdSplit,
    /// All of them one after the other, cut where a pack is full. Documents see what stands before them.
    Wrapped,
}

impl Packing {
    /// # Panics
    /// For another name than TRL's.
    pub fn from_name(name: &str) -> Packing {
        match name {
            "bfd" => Packing::Bfd,
            "bfd_split" => Packing::BfdSplit,
            "wrapped" => Packing::Wrapped,
            other => panic!("{other} is no strategy of packing"),
        }
    }

    /// Packs of at most `len` tokens, in the order in which TRL 1.16 makes them, but for those with nothing to learn, which are left out.
    ///
    /// # Panics
    /// Without room for a token.
    pub fn pack(self, examples: &[Example], len: usize) -> Vec<Example> {
        assert!(len > 0, "packs of no tokens");
        let packs = match self {
            Packing::Bfd => best_fit(examples, len),
            Packing::BfdSplit => best_fit(&examples.iter().flat_map(|e| cut(e, len)).collect::<Vec<_>>(), len),
            Packing::Wrapped => {
                let join = |of: fn(&Example) -> &Vec<u32>| examples.iter().flat_map(|e| of(e).iter().copied()).collect();
                let all = Example { ids: join(|e| &e.ids), labels: join(|e| &e.labels), ..Example::default() };
                cut(&all, len).collect()
            }
        };
        packs.into_iter().filter(|p| p.counted() > 0).collect()
    }
}

/// Pieces of at most `len` tokens.
fn cut(e: &Example, len: usize) -> impl Iterator<Item = Example> + '_ {
    e.ids.chunks(len).zip(e.labels.chunks(len)).map(|(ids, labels)| Example {
        ids: ids.to_vec(),
        labels: labels.to_vec(),
        ..Example::default()
    })
}

fn best_fit(documents: &[Example], len: usize) -> Vec<Example> {
    let mut order: Vec<&Example> = documents.iter().filter(|d| !d.ids.is_empty()).collect();
    // Stable, as TRL's: documents of one length stay in their order.
    order.sort_by_key(|d| std::cmp::Reverse(d.ids.len()));
    let mut packs: Vec<Example> = Vec::new();
    // Packs by the room they have, the earliest first.
    let mut room: BTreeMap<usize, VecDeque<usize>> = BTreeMap::new();
    for d in order {
        let needed = d.ids.len();
        let found = room.range(needed..).next().map(|(space, _)| *space);
        let (pack, space) = match found {
            Some(space) => {
                let same = room.get_mut(&space).expect("just found");
                let pack = same.pop_front().expect("no list is empty");
                if same.is_empty() {
                    room.remove(&space);
                }
                (pack, space)
            }
            None => {
                packs.push(Example::default());
                (packs.len() - 1, len.max(needed))
            }
        };
        let p = &mut packs[pack];
        let begins = p.ids.len();
        p.ids.extend_from_slice(&d.ids);
        p.labels.extend_from_slice(&d.labels);
        // Nothing before a document's first token predicts it.
        p.labels[begins] = match (begins, p.labels[begins] == SEEN) {
            (0, true) => SEEN,
            (0, false) => IGNORE,
            (_, true) => BEGIN_SEEN,
            (_, false) => BEGIN,
        };
        if space > needed {
            room.entry(space - needed).or_default().push_back(pack);
        }
    }
    packs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(first: u32, n: u32) -> Example {
        Example::from_parts((0..n).map(|i| first + i).collect(), 0)
    }

    fn lens(packs: &[Example]) -> Vec<Vec<usize>> {
        packs.iter().map(|p| p.documents().map(|d| d.len()).collect()).collect()
    }

    #[test]
    fn the_best_fit_is_the_fullest_pack_with_room() {
        let docs: Vec<Example> = [3, 7, 2, 5, 5, 8, 1].iter().enumerate().map(|(i, n)| document(100 * i as u32, *n)).collect();
        let packs = Packing::Bfd.pack(&docs, 10);
        // 8 | 7 | 5 5 | then 3 goes to 7, 2 to 8, 1 to a pack of its own, which has nothing to learn.
        assert_eq!(lens(&packs), [vec![8, 2], vec![7, 3], vec![5, 5]]);
        assert_eq!(packs[2].ids[..6], [300, 301, 302, 303, 304, 400]);
        assert_eq!(packs[2].labels[..6], [IGNORE, 301, 302, 303, 304, BEGIN]);
        let of = |all: &[Example]| all.iter().map(Example::counted).sum::<usize>();
        assert_eq!(of(&packs), of(&docs));
    }

    #[test]
    fn long_documents_are_split_or_wrapped() {
        let docs = [document(0, 7), document(50, 3)];
        let packs = Packing::BfdSplit.pack(&docs, 3);
        // Of 3, 3 and 1 tokens the last one has nothing to learn.
        assert_eq!(lens(&packs), [[3], [3], [3]]);
        assert_eq!(packs[1].ids, [3, 4, 5]);
        let packs = Packing::Wrapped.pack(&docs, 4);
        assert_eq!(packs.iter().map(|p| p.ids.clone()).collect::<Vec<_>>(), [vec![0, 1, 2, 3], vec![4, 5, 6, 50], vec![51, 52]]);
        // One document: what stands before it predicts the first token of the next.
        assert_eq!((lens(&packs)[1].clone(), packs[1].counted()), (vec![4], 3));
    }
}
