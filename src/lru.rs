//! A small map that forgets what has not been used for longest: recorded programs and adapter shapes come and go with the data, and none
//! of them may pile up.

/// Few entries, found by looking at all of them.
pub struct Lru<K, V> {
    most: usize,
    /// The last used one at the end.
    items: Vec<(K, V)>,
}

impl<K: PartialEq, V> Lru<K, V> {
    /// At most `most` entries, at least one.
    pub fn new(most: usize) -> Lru<K, V> {
        Lru { most: most.max(1), items: Vec::new() }
    }

    /// The value of a key, which is the last used from now on.
    pub fn get(&mut self, key: &K) -> Option<&mut V> {
        let at = self.items.iter().position(|(k, _)| k == key)?;
        self.items[at..].rotate_left(1);
        self.items.last_mut().map(|(_, v)| v)
    }

    /// Takes a value, in place of the key's former one or of the one unused for longest.
    pub fn insert(&mut self, key: K, value: V) {
        self.items.retain(|(k, _)| *k != key);
        if self.items.len() >= self.most {
            self.items.remove(0);
        }
        self.items.push((key, value));
    }

    pub fn clear(&mut self) {
        self.items.clear();
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.items.iter().map(|(_, v)| v)
    }
}

#[cfg(test)]
mod tests {
    use super::Lru;

    #[test]
    fn the_one_unused_for_longest_goes() {
        let mut l = Lru::new(2);
        l.insert("a", 1);
        l.insert("b", 2);
        assert_eq!(l.get(&"a"), Some(&mut 1));
        l.insert("c", 3);
        assert!(l.get(&"b").is_none() && l.values().count() == 2);
        l.insert("a", 4);
        assert_eq!(["a", "c"].map(|k| l.get(&k).copied()), [Some(4), Some(3)]);
        l.clear();
        assert!(l.values().next().is_none());
    }
}
