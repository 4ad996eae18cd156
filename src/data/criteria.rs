//! Three things a person can weigh separately, and the order that follows.
use serde::{Deserialize, Serialize};

use super::Ranking;
use crate::error::{Error, Result};

/// Scores closer than this are a tie: it only absorbs rounding.
const TIE: f64 = 1e-9;

/// A value per criterion: its weight, or the ratings of all answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Criteria<T> {
    pub helpful: T,
    pub accurate: T,
    pub harmless: T,
}

impl<T> Criteria<T> {
    /// The three with their names.
    pub fn named(&self) -> [(&'static str, &T); 3] {
        [("helpful", &self.helpful), ("accurate", &self.accurate), ("harmless", &self.harmless)]
    }
}

impl Criteria<f64> {
    /// All count the same.
    pub const EQUAL: Criteria<f64> = Criteria { helpful: 1.0, accurate: 1.0, harmless: 1.0 };
}

/// The order of `n` answers by the weighted mean of their ratings (larger is better). A criterion counts for an answer
/// where it was rated and weighs more than nothing; answers without any rating are not ranked.
pub fn overall(ratings: &Criteria<Vec<Option<f64>>>, weights: &Criteria<f64>, n: usize) -> Result<Ranking> {
    for ((name, given), (_, &weight)) in ratings.named().into_iter().zip(weights.named()) {
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(Error::config(format!("weights.{name}"), format!("is {weight}, expected a number from 0 on")));
        }
        if given.len() > n {
            return Err(Error::config(format!("ratings.{name}"), format!("has {} ratings for {n} answers", given.len())));
        }
        if let Some(bad) = given.iter().flatten().find(|r| !r.is_finite()) {
            return Err(Error::config(format!("ratings.{name}"), format!("has a rating of {bad}")));
        }
    }
    let score = |i: usize| {
        let rated = ratings.named().into_iter().zip(weights.named());
        let (mut sum, mut total) = (0.0, 0.0);
        for ((_, given), (_, &weight)) in rated {
            if let Some(Some(rating)) = given.get(i)
                && weight > 0.0
            {
                sum += weight * rating;
                total += weight;
            }
        }
        (total > 0.0).then(|| sum / total)
    };
    Ranking::from_scores(&(0..n).map(score).collect::<Vec<_>>(), TIE)
}
