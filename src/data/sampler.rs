//! Which rows come next.

/// The order of rows: a new permutation every epoch from a seed, or as they come. Its whole state is a position.
#[derive(Clone, Debug)]
pub struct Sampler {
    /// Rows of this epoch.
    rows: usize,
    /// Rows of the next one.
    coming: usize,
    shuffle: bool,
    seed: u32,
    epoch: u64,
    order: Vec<u32>,
    /// Rows of this epoch already taken.
    at: usize,
}

impl Sampler {
    /// At the beginning.
    pub fn new(rows: usize, shuffle: bool, seed: u32) -> Sampler {
        Sampler::at(rows, shuffle, seed, 0, 0)
    }

    /// At a position that [`Sampler::position`] gave.
    pub fn at(rows: usize, shuffle: bool, seed: u32, epoch: u64, at: usize) -> Sampler {
        let mut s = Sampler { rows, coming: rows, shuffle, seed, epoch, order: Vec::new(), at: at.min(rows) };
        s.reorder();
        s
    }

    fn reorder(&mut self) {
        self.order = (0..self.rows as u32).collect();
        if self.shuffle {
            let mut state = u64::from(self.seed) << 32 ^ self.epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            for i in (1..self.rows).rev() {
                // Multiply-shift: the bias is below 2⁻³² per draw.
                let j = ((splitmix(&mut state) >> 32) * (i as u64 + 1)) >> 32;
                self.order.swap(i, j as usize);
            }
        }
    }

    /// There are so many rows now. Those that came during an epoch take part from the next one on: the order of the present one stays.
    pub fn grow(&mut self, rows: usize) {
        self.coming = rows.max(self.rows);
    }

    /// Rows of this epoch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The next at most `n` rows of this epoch; at its end, the first of the next.
    pub fn take(&mut self, n: usize) -> Vec<u32> {
        if self.at >= self.rows {
            self.epoch += 1;
            self.at = 0;
            self.rows = self.coming;
            self.reorder();
        }
        let end = (self.at + n).min(self.rows);
        let rows = self.order[self.at..end].to_vec();
        self.at = end;
        rows
    }

    /// True when the epoch's last row has been taken.
    pub fn epoch_done(&self) -> bool {
        self.at >= self.rows
    }

    /// (epoch, rows taken of it).
    pub fn position(&self) -> (u64, usize) {
        (self.epoch, self.at)
    }

    /// Passes over the data so far, with the fraction of the present one.
    pub fn epochs(&self) -> f64 {
        self.epoch as f64 + self.at as f64 / self.rows.max(1) as f64
    }
}

/// SplitMix64 (Steele et al. 2014).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_come_later_wait_for_the_next_epoch() {
        let mut s = Sampler::new(3, true, 7);
        let first = s.take(1);
        s.grow(5);
        let rest = s.take(4);
        assert_eq!((rest.len(), s.epoch_done(), s.rows()), (2, true, 3));
        assert!(!rest.contains(&first[0]) && rest.iter().all(|r| *r < 3));
        let mut second = s.take(9);
        assert_eq!(s.position(), (1, 5));
        // As if they had been there from the beginning.
        assert_eq!(second, Sampler::at(5, true, 7, 1, 0).take(9));
        second.sort_unstable();
        assert_eq!(second, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn every_row_once_an_epoch_and_the_same_from_any_position() {
        let mut s = Sampler::new(5, true, 7);
        let mut first: Vec<u32> = Vec::new();
        while !s.epoch_done() {
            first.extend(s.take(2));
        }
        let second: Vec<u32> = (0..3).flat_map(|_| s.take(2)).collect();
        let sorted = |v: &[u32]| {
            let mut v = v.to_vec();
            v.sort_unstable();
            v
        };
        assert_eq!((sorted(&first), sorted(&second)), (vec![0, 1, 2, 3, 4], vec![0, 1, 2, 3, 4]));
        assert_ne!(first, second);
        let mut again = Sampler::at(5, true, 7, 1, 2);
        assert_eq!(again.take(2), second[2..4]);
        assert_eq!(Sampler::new(3, false, 7).take(9), [0, 1, 2]);
    }
}
