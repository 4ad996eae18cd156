//! An order of answers with ties, such as ③ > ④ > ② > ① = ⑤.
use std::fmt;

use crate::error::{Error, Result};

/// No ranking has more answers: pairs grow with the square.
const MAX_ANSWERS: usize = 1000;

/// Ranks of n answers: 1 is best, equal ranks are ties, no rank between them is unused; 0 is an answer that nobody has placed. It is
/// neither better nor worse than any other: that one answer was called bad says nothing of those that were not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    ranks: Vec<u32>,
}

/// An answer that was preferred to another, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StrictPair {
    pub chosen: usize,
    pub rejected: usize,
}

fn bad(message: impl Into<String>) -> Error {
    Error::config("ranking", message)
}

impl Ranking {
    /// From one rank per answer; smaller is better, gaps are closed.
    pub fn from_ranks(ranks: &[u32]) -> Result<Self> {
        let places: Vec<Option<u32>> = ranks.iter().copied().map(Some).collect();
        Self::from_places(&places)
    }

    /// From one place per answer; answers without one are not ranked.
    pub fn from_places(places: &[Option<u32>]) -> Result<Self> {
        if places.is_empty() || places.len() > MAX_ANSWERS {
            return Err(bad(format!("ranks {} answers, expected 1 to {MAX_ANSWERS}", places.len())));
        }
        let mut used: Vec<u32> = places.iter().flatten().copied().collect();
        used.sort_unstable();
        used.dedup();
        let rank = |p: &Option<u32>| p.map_or(0, |p| used.partition_point(|u| *u < p) as u32 + 1);
        Ok(Ranking { ranks: places.iter().map(rank).collect() })
    }

    /// From one score per answer; larger is better, scores closer than `tie` are equal, answers without one are not ranked.
    pub fn from_scores(scores: &[Option<f64>], tie: f64) -> Result<Self> {
        let mut levels: Vec<f64> = scores.iter().flatten().copied().collect();
        if let Some(bad_score) = levels.iter().find(|s| !s.is_finite()) {
            return Err(Error::NotFinite(format!("a score of {bad_score} in a ranking")));
        }
        levels.sort_by(|a, b| b.total_cmp(a));
        let mut starts: Vec<f64> = Vec::new();
        for s in levels {
            if starts.last().is_none_or(|&start| start - s > tie) {
                starts.push(s);
            }
        }
        let place = |s: &Option<f64>| s.map(|s| starts.iter().rposition(|&start| s <= start).unwrap_or(0) as u32 + 1);
        Self::from_places(&scores.iter().map(place).collect::<Vec<_>>())
    }

    /// Reads `③ > ④ > ② > ① = ⑤`; answers may also be plain numbers from 1, and `＞ ＝` wide signs. Every answer
    /// from the first to the last must occur once.
    pub fn parse(text: &str) -> Result<Self> {
        let mut places: Vec<Option<u32>> = Vec::new();
        let mut place = 1;
        let mut rest = text.trim();
        loop {
            let (answer, after) = answer(rest).ok_or_else(|| {
                let at: String = rest.chars().take(20).collect();
                bad(format!("{text:?} lacks an answer at {at:?}; expected for example ③ > ④ > ② > ① = ⑤"))
            })?;
            if answer == 0 || answer > MAX_ANSWERS {
                return Err(bad(format!("{text:?} names answer {answer}, expected 1 to {MAX_ANSWERS}")));
            }
            if places.len() < answer {
                places.resize(answer, None);
            }
            if places[answer - 1].replace(place).is_some() {
                return Err(bad(format!("{text:?} names answer {answer} twice")));
            }
            let mut chars = after.trim_start().chars();
            match chars.next() {
                None => break,
                Some('>' | '＞') => place += 1,
                Some('=' | '＝') => {}
                Some(c) => return Err(bad(format!("{text:?} has {c:?} where > or = was expected"))),
            }
            rest = chars.as_str().trim_start();
        }
        match places.iter().position(Option::is_none) {
            Some(missing) => Err(bad(format!("{text:?} leaves out answer {}", missing + 1))),
            None => Self::from_places(&places),
        }
    }

    /// One rank per answer, from 1; 0 where it has no place.
    pub fn ranks(&self) -> &[u32] {
        &self.ranks
    }

    /// Number of answers.
    pub fn len(&self) -> usize {
        self.ranks.len()
    }

    /// A ranking is never empty.
    pub fn is_empty(&self) -> bool {
        self.ranks.is_empty()
    }

    /// Answers from best to worst, tied ones together; those without a place are in none.
    pub fn groups(&self) -> Vec<Vec<usize>> {
        let worst = self.ranks.iter().copied().max().unwrap_or(0);
        (1..=worst).map(|r| (0..self.len()).filter(|&i| self.ranks[i] == r).collect()).collect()
    }

    /// All strict pairs, the better answer first, from the best answer on; ties and answers without a place give none. A ranking in which nothing is
    /// better than anything is an error.
    pub fn pairs(&self) -> Result<Vec<StrictPair>> {
        let order: Vec<usize> = self.groups().concat();
        let mut pairs = Vec::new();
        for (k, &chosen) in order.iter().enumerate() {
            let worse = order[k + 1..].iter().filter(|&&i| self.ranks[i] > self.ranks[chosen]);
            pairs.extend(worse.map(|&rejected| StrictPair { chosen, rejected }));
        }
        match pairs.is_empty() {
            true if order.is_empty() => Err(Error::NoPairs("no answer has a place".into())),
            true => Err(Error::NoPairs(format!("{self}: no answer is better than another"))),
            false => Ok(pairs),
        }
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

/// The number of the answer at the beginning of `s`, and what follows it.
fn answer(s: &str) -> Option<(usize, &str)> {
    let c = s.chars().next()?;
    if let Some(n) = (1..=50).find(|&n| circled(n) == Some(c)) {
        return Some((n, &s[c.len_utf8()..]));
    }
    let digits = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
    Some((s[..digits].parse().ok()?, &s[digits..]))
}

impl fmt::Display for Ranking {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (g, group) in self.groups().iter().enumerate() {
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
