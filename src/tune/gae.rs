//! From scores, log-probabilities and values to advantages and returns: PPO's numbers between sampling and loss, on the host, in f64.
//!
//! A response of n tokens has n + 1 places: before each token, and after the last one, where the score of the whole is given; one that fills all the
//! room that there is has n, and the score is given with its last token. A token's reward is minus `kl_coef` times its divergence from the reference.
//! Generalized advantage estimation (Schulman et al. 2016) runs back over the places; nothing is expected behind them.

/// How.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gae {
    pub gamma: f64,
    pub lam: f64,
    /// Weight of the divergence from the reference.
    pub kl_coef: f64,
    /// The divergence is estimated by exp(d) − 1 − d with d = ln π_ref − ln π, rather than by −d.
    pub k3: bool,
    /// Rewards are divided by their standard deviation over all places.
    pub whiten_rewards: bool,
    /// Tokens that a response may have.
    pub response_length: usize,
}

/// What is known of a response.
#[derive(Clone, Copy, Debug)]
pub struct Spoken<'a> {
    /// ln p of its tokens under the policy that wrote it, and under the reference.
    pub old: &'a [f32],
    pub reference: &'a [f32],
    /// What the critic expects at its places.
    pub values: &'a [f32],
    /// Of the whole.
    pub score: f64,
}

/// What becomes of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weighed {
    /// Of its tokens, whitened over all responses.
    pub advantages: Vec<f64>,
    /// Of its places.
    pub returns: Vec<f64>,
    /// Estimated divergence from the reference, summed over its tokens.
    pub kl: f64,
}

/// Added to a variance under a root.
const EPSILON: f64 = 1e-8;

/// Mean and one over the standard deviation (with n − 1) of some values.
fn spread(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

impl Gae {
    /// Places of a response of `n` tokens.
    pub fn places(&self, n: usize) -> usize {
        (n + 1).min(self.response_length.max(n))
    }

    /// All responses of a round. With fewer than two tokens in all there is nothing to whiten, and they are left as they are.
    pub fn weigh(&self, all: &[Spoken<'_>]) -> Vec<Weighed> {
        let divergence = |s: &Spoken<'_>, t: usize| {
            let d = f64::from(s.reference[t]) - f64::from(s.old[t]);
            if self.k3 { d.exp_m1() - d } else { -d }
        };
        let mut rewards: Vec<Vec<f64>> = all
            .iter()
            .map(|s| {
                let n = s.old.len();
                let mut of: Vec<f64> = (0..self.places(n)).map(|t| if t < n { -self.kl_coef * divergence(s, t) } else { 0.0 }).collect();
                if let Some(last) = of.last_mut() {
                    *last += s.score;
                }
                of
            })
            .collect();
        if self.whiten_rewards && rewards.iter().map(Vec::len).sum::<usize>() > 1 {
            let (mean, scale) = spread(&rewards.concat());
            rewards.iter_mut().flatten().for_each(|r| *r = (*r - mean) * scale + mean);
        }
        let mut out: Vec<Weighed> = Vec::with_capacity(all.len());
        for (s, rewards) in all.iter().zip(&rewards) {
            let value = |t: usize| s.values.get(t).map_or(0.0, |v| f64::from(*v));
            let (mut advantages, mut last) = (vec![0.0; rewards.len()], 0.0);
            for t in (0..rewards.len()).rev() {
                last = rewards[t] + self.gamma * value(t + 1) - value(t) + self.gamma * self.lam * last;
                advantages[t] = last;
            }
            let returns = advantages.iter().enumerate().map(|(t, a)| a + value(t)).collect();
            advantages.truncate(s.old.len());
            out.push(Weighed { advantages, returns, kl: (0..s.old.len()).map(|t| divergence(s, t)).sum() });
        }
        if out.iter().map(|w| w.advantages.len()).sum::<usize>() > 1 {
            let every: Vec<f64> = out.iter().flat_map(|w| w.advantages.iter().copied()).collect();
            let (mean, scale) = spread(&every);
            out.iter_mut().flat_map(|w| &mut w.advantages).for_each(|a| *a = (*a - mean) * scale);
        }
        out
    }
}

/// The weight of the divergence for the next round (Ziegler et al. 2019): larger where the last one's was above the target, by at most a fifth per
/// `horizon` responses.
pub fn adapted(kl_coef: f64, kl: f64, target: f64, horizon: f64, responses: usize) -> f64 {
    kl_coef * (1.0 + (kl / target - 1.0).clamp(-0.2, 0.2) * responses as f64 / horizon)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Gae = Gae { gamma: 1.0, lam: 1.0, kl_coef: 0.5, k3: false, whiten_rewards: false, response_length: 4 };

    #[test]
    fn rewards_end_behind_the_last_token_and_nothing_is_expected_there() {
        let (old, reference, values) = ([-1.0, -2.0], [-1.5, -2.0], [0.1, 0.2, 0.3]);
        let s = Spoken { old: &old, reference: &reference, values: &values, score: 2.0 };
        let w = &PLAIN.weigh(&[s])[0];
        // With γ = λ = 1 a return is the sum of the rewards to come.
        assert!((w.kl - 0.5).abs() < 1e-12);
        let want = [1.75, 2.0, 2.0];
        assert!(w.returns.iter().zip(want).all(|(r, w)| (r - w).abs() < 1e-7), "{:?}", w.returns);
        // Whitened: mean 0 and, of two, ± 1/√2.
        assert!((w.advantages[0] + w.advantages[1]).abs() < 1e-9 && (w.advantages[0].abs() - 0.5f64.sqrt()).abs() < 1e-5);
        // One that fills all the room has its score with the last token.
        let full = [-1.0f32; 4];
        let w = &PLAIN.weigh(&[Spoken { old: &full, reference: &full, values: &full, score: 3.0 }])[0];
        assert_eq!((w.returns.clone(), PLAIN.places(4), PLAIN.places(3)), (vec![3.0; 4], 4, 4));
        // A single token has nothing to be compared with.
        let one =
            &Gae { whiten_rewards: true, ..PLAIN }.weigh(&[Spoken { old: &[-1.0], reference: &[-1.0], values: &[0.0, 0.0], score: 1.0 }])
                [0];
        assert!(one.advantages[0].is_finite());
    }

    #[test]
    fn the_weight_of_the_divergence_follows_it() {
        assert_eq!(adapted(0.1, 6.0, 6.0, 100.0, 10), 0.1);
        assert!((adapted(0.1, 60.0, 6.0, 100.0, 10) - 0.1 * 1.02).abs() < 1e-12 && adapted(0.1, 0.0, 6.0, 100.0, 10) < 0.1);
    }
}
