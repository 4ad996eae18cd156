//! What changes logits on the host before a token is chosen: Transformers' processors, in its order.

use super::options::GenerateOptions;
use crate::models::Rules;
use crate::{Error, Result};

/// ln softmax of a row.
///
/// # Errors
/// [`Error::NotFinite`] for a row that says nothing.
pub fn log_softmax(logits: &[f32]) -> Result<Vec<f32>> {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !top.is_finite() || logits.iter().any(|v| v.is_nan()) {
        return Err(Error::NotFinite("the logits of the model".into()));
    }
    let sum: f64 = logits.iter().map(|v| f64::from(v - top).exp()).sum();
    let log = sum.ln() as f32;
    Ok(logits.iter().map(|v| v - top - log).collect())
}

/// `repetition_penalty` and `no_repeat_ngram_size` on a row of scores, given all tokens before it.
pub fn penalize(scores: &mut [f32], o: &GenerateOptions, history: &[u32]) {
    if o.repetition_penalty != 1.0 {
        let mut seen: Vec<usize> = history.iter().map(|id| *id as usize).filter(|id| *id < scores.len()).collect();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            let s = &mut scores[id];
            *s = if *s < 0.0 { *s * o.repetition_penalty } else { *s / o.repetition_penalty };
        }
    }
    banned(history, o.no_repeat_ngram_size).for_each(|id| scores[id as usize] = f32::NEG_INFINITY);
}

/// What a model's rules leave of a row of scores, given all tokens before it: the last `at` of them are the answer's, which may have `limit`.
pub fn rule<T: Copy + From<f32>>(scores: &mut [T], rules: &Rules, history: &[u32], at: usize, limit: usize) {
    let never = T::from(f32::NEG_INFINITY);
    for word in &rules.bad_words_ids {
        let Some((last, before)) = word.split_last() else { continue };
        if before.is_empty() || (word.len() <= history.len() && history.ends_with(before)) {
            scores[*last as usize] = never;
        }
    }
    let only = match at {
        _ if at + 1 == limit && !rules.forced_eos_token_id.is_empty() => &rules.forced_eos_token_id[..],
        0 => rules.forced_bos_token_id.as_slice(),
        _ => &[],
    };
    if !only.is_empty() {
        scores.fill(never);
        only.iter().for_each(|id| scores[*id as usize] = T::from(0.0));
    }
}

/// Tokens that would make an n-gram of the history a second time; none for n = 0.
pub fn banned(history: &[u32], n: usize) -> impl Iterator<Item = u32> + '_ {
    let last = &history[(history.len() + 1).saturating_sub(n.max(1)).min(history.len())..];
    let grams = if n == 0 || history.len() < n { &[] } else { history };
    grams.windows(n.max(1)).filter(move |g| g[..n - 1] == *last).map(move |g| g[n - 1])
}

/// The `n` likeliest tokens of a row, the likeliest first, of equal ones the lowest id.
pub fn likeliest(logps: &[f32], n: usize) -> Vec<(u32, f32)> {
    let mut top: Vec<(u32, f32)> = Vec::with_capacity(n + 1);
    for (id, logp) in logps.iter().enumerate().filter(|_| n > 0) {
        if top.len() < n || *logp > top[n - 1].1 {
            let at = top.partition_point(|t| t.1 >= *logp);
            top.insert(at, (id as u32, *logp));
            top.truncate(n);
        }
    }
    top
}

/// What may follow, by looking the last tokens up in all that was said (prompt lookup, Saxena 2023): at most `most` tokens behind the first place
/// where the last n of them stand, for the largest n up to `largest` that stands anywhere; none from a token on that ends an answer.
pub fn lookup(history: &[u32], largest: usize, most: usize, ends: &[u32]) -> Vec<u32> {
    for n in (1..=largest.min(history.len().saturating_sub(1))).rev() {
        let last = &history[history.len() - n..];
        // What stands behind the last place is nothing.
        let before = &history[..history.len() - 1];
        if let Some(at) = before.windows(n).position(|w| w == last) {
            let found = history[at + n..].iter().take(most);
            return found.take_while(|id| !ends.contains(id)).copied().collect();
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_grams_are_banned() {
        let of = |history: &[u32], n: usize| banned(history, n).collect::<Vec<_>>();
        assert_eq!(of(&[1, 2, 3, 1, 2], 3), [3]);
        assert_eq!(of(&[1, 2, 1, 3, 1], 2), [2, 3]);
        assert_eq!(of(&[4, 5], 1), [4, 5]);
        assert!(of(&[1, 2], 3).is_empty() && of(&[1, 2, 3], 0).is_empty() && of(&[], 1).is_empty() && of(&[1, 2], 2).is_empty());
    }

    #[test]
    fn drafts_are_what_stood_behind_the_same_words() {
        let of = |history: &[u32], n: usize, most: usize| lookup(history, n, most, &[9]);
        assert_eq!(of(&[1, 2, 3, 4, 1, 2], 2, 10), [3, 4, 1, 2]);
        assert_eq!(of(&[1, 2, 3, 4, 1, 2], 2, 1), [3]);
        // The largest number of words first, and the first place of it.
        assert_eq!(of(&[2, 7, 1, 2, 8, 1, 2], 2, 1), [8]);
        assert_eq!(of(&[2, 7, 1, 2, 8, 1, 2], 1, 1), [7]);
        assert_eq!(of(&[1, 2, 9, 1], 1, 5), [2]);
        assert!(of(&[1, 9, 1], 1, 5).is_empty() && of(&[1], 2, 5).is_empty() && of(&[1, 2, 3], 2, 5).is_empty());
        // A run may overlap itself.
        assert_eq!(of(&[5, 5, 5], 2, 4), [5]);
    }

    #[test]
    fn rules_leave_some_tokens() {
        let rules = Rules {
            decoder_start_token_id: None,
            forced_bos_token_id: Some(3),
            forced_eos_token_id: vec![0],
            bad_words_ids: vec![vec![1], vec![2, 4]],
        };
        let left = |history: &[u32], at: usize| {
            let mut scores = [0.5f32; 5];
            rule(&mut scores, &rules, history, at, 4);
            (0..5).filter(|i| scores[*i] > f32::NEG_INFINITY).collect::<Vec<_>>()
        };
        assert_eq!(
            (left(&[2], 0), left(&[2, 3], 1), left(&[2, 3, 2], 2), left(&[2, 3, 2, 2], 3)),
            (vec![3], vec![0, 2, 3, 4], vec![0, 2, 3], vec![0])
        );
    }

    #[test]
    fn the_likeliest_come_first() {
        assert_eq!(likeliest(&[-1.0, -0.5, -3.0, -0.5], 3), [(1, -0.5), (3, -0.5), (0, -1.0)]);
        assert!(likeliest(&[-1.0], 0).is_empty());
    }
}
