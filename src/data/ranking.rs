//! An order of answers with ties, such as ③ > ④ > ② > ① = ⑤.
use std::fmt;

/// Ranks of n answers: 1 is best, equal ranks are ties, no rank between them is unused. An answer that nobody has placed has none: it is
/// neither better nor worse than any other. That one answer was called bad says nothing of those that were not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    ranks: Vec<Option<u32>>,
}

impl Ranking {
    /// No ranking should have more answers: pairs grow with the square.
    pub const MAX_ANSWERS: usize = 1000;
    /// Nor should more of them be tied where the ranking is learned as a whole: all their sets are looked at.
    pub const MAX_TIED: usize = 12;

    /// From one rank per answer; gaps are closed.
    pub fn new(ranks: &[Option<u32>]) -> Self {
        Ranking::from_numbers(&ranks.iter().map(|r| r.map(f64::from)).collect::<Vec<_>>())
    }

    /// From one number per answer, of which the smallest is best.
    pub fn from_numbers(numbers: &[Option<f64>]) -> Self {
        let mut used: Vec<f64> = numbers.iter().flatten().copied().collect();
        used.sort_by(f64::total_cmp);
        used.dedup_by(|a, b| a == b);
        let rank = |n: &Option<f64>| n.map(|n| used.partition_point(|u| *u < n) as u32 + 1);
        Ranking { ranks: numbers.iter().map(rank).collect() }
    }

    /// One rank per answer, from 1.
    pub fn ranks(&self) -> &[Option<u32>] {
        &self.ranks
    }

    /// Answers from best to worst, tied ones together; those without a place are in none.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let worst = self.ranks.iter().flatten().copied().max().unwrap_or(0);
        let mut groups = vec![Vec::new(); worst as usize];
        for (i, rank) in self.ranks.iter().enumerate().filter_map(|(i, r)| Some((i, (*r)?))) {
            groups[rank as usize - 1].push(i);
        }
        groups
    }

    /// All strict pairs (better, worse) of answers by their places in the list, from the best answer on. Ties and answers without a place
    /// give none.
    pub fn pairs(&self) -> Vec<(usize, usize)> {
        let order: Vec<usize> = self.groups().concat();
        let mut pairs = Vec::new();
        for (k, &better) in order.iter().enumerate() {
            let worse = order[k + 1..].iter().filter(|&&i| self.ranks[i] > self.ranks[better]);
            pairs.extend(worse.map(|&worse| (better, worse)));
        }
        pairs
    }
}

/// Circled numbers lie in three runs of Unicode.
fn circled(n: usize) -> Option<char> {
    let code = match n {
        1..=20 => 0x2460 + n - 1,
        21..=35 => 0x3251 + n - 21,
        36..=50 => 0x32b1 + n - 36,
        _ => return None,
    };
    char::from_u32(code as u32)
}

impl fmt::Display for Ranking {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let groups = self.groups();
        if groups.is_empty() {
            return f.write_str("no answer has a place");
        }
        for (g, group) in groups.iter().enumerate() {
            for (k, &i) in group.iter().enumerate() {
                f.write_str(match (g, k) {
                    (0, 0) => "",
                    (_, 0) => " > ",
                    _ => " = ",
                })?;
                match circled(i + 1) {
                    Some(c) => write!(f, "{c}")?,
                    None => write!(f, "{}", i + 1)?,
                }
            }
        }
        Ok(())
    }
}
