//! The losses of DPO's family over pairs of answers, from the answers' summed log-probabilities ([`super::SequenceSums`]).

use super::METRICS;
use super::math::{nlsig, sigmoid};
use crate::gpu::KernelKey;
use crate::graph::{CpuIo, Desc, HostIo, Lower, Op};
use crate::{Error, Result};

/// TRL's `loss_type`, in the order of their weights in [`DpoNumbers`].
pub const DPO_LOSSES: [&str; 15] = [
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "sigmoid_norm",
];

/// TRL's `f_divergence_type`, by number.
pub const DIVERGENCES: [&str; 4] = ["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"];

/// Words of the input of numbers.
pub const DPO_NUMBERS: usize = 7 + DPO_LOSSES.len();

/// What the loss is computed with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpoNumbers {
    pub beta: f32,
    /// ε of robust, exo_pair and the two aot.
    pub label_smoothing: f32,
    /// Of all gradients: one over the pairs of a micro-batch and the micro-batches of an update.
    pub scale: f32,
    pub discopop_tau: f32,
    /// A place in [`DIVERGENCES`].
    pub divergence: f32,
    pub f_alpha_divergence_coef: f32,
    /// Pairs of the micro-batch over the tokens of its chosen answers: `sft` is a mean over tokens.
    pub sft_share: f32,
    /// Weights of [`DPO_LOSSES`], 0 for those that take no part.
    pub losses: [f32; DPO_LOSSES.len()],
}

impl DpoNumbers {
    /// As the input of the op.
    pub fn words(&self) -> [f32; DPO_NUMBERS] {
        let mut out = [0.0; DPO_NUMBERS];
        out[..7].copy_from_slice(&[
            self.beta,
            self.label_smoothing,
            self.scale,
            self.discopop_tau,
            self.divergence,
            self.f_alpha_divergence_coef,
            self.sft_share,
        ]);
        out[7..].copy_from_slice(&self.losses);
        out
    }
}

/// A weighted sum of losses of pairs (Rafailov et al. 2023 and those after it, as TRL 1.16 computes them; docs/methods.md has the formulas).
///
/// Inputs: sums (2P), all chosen answers, then all rejected ones; ref (2P), the same under the reference policy; counts (2P), tokens of the
/// answers; pair weights (P); numbers ([`DPO_NUMBERS`], see [`DpoNumbers`]); and with `aligned` Σ (ln p − ln Σ p²) over the answers' tokens
/// (2P): a pair then counts exp of their means, without a gradient (WPO, Zhou et al. 2024).
/// Outputs: metrics (P, 8) and dsums (2P), the gradient of scale · Σ weight·loss.
///
/// metrics per pair: loss, rewards/chosen, rewards/rejected, logps/chosen, logps/rejected, rewards/margins, rewards/accuracies, weight.
/// They are not multiplied by the weight.
#[derive(Clone, Copy, Debug, Default)]
pub struct DpoLoss {
    pub aligned: bool,
}

/// What divergence makes of a log ratio, and its slope.
fn score(u: f64, kind: usize, alpha: f64) -> (f64, f64) {
    match kind {
        1 => (1.0 - (-u).exp(), (-u).exp()),
        2 => (std::f64::consts::LN_2 - nlsig(u), sigmoid(-u)),
        3 if (alpha - 1.0).abs() >= 1e-6 => {
            // As TRL: beyond 80 there is no number in f32.
            let t = (alpha - 1.0) * u;
            let e = t.min(80.0).exp();
            ((e - 1.0) / (alpha - 1.0), if t > 80.0 { 0.0 } else { e })
        }
        _ => (u, 1.0),
    }
}

/// The log ratios of all pairs of a micro-batch.
struct Pairs<'a> {
    /// Policy and reference.
    sums: [&'a [f64]; 2],
    counts: &'a [f64],
    numbers: &'a [f64],
}

impl Pairs<'_> {
    fn len(&self) -> usize {
        self.counts.len() / 2
    }

    /// ln π − ln π_ref of an answer.
    fn ratio(&self, side: usize, pair: usize) -> f64 {
        let at = side * self.len() + pair;
        self.sums[0][at] - self.sums[1][at]
    }

    /// The place of pair `i` among all by a value; of equal ones the earlier comes first.
    fn rank(&self, value: &dyn Fn(usize) -> f64, i: usize) -> usize {
        let own = value(i);
        (0..self.len()).filter(|j| value(*j) < own || (value(*j) == own && *j < i)).count()
    }

    /// The value that has a place.
    fn at_rank(&self, value: &dyn Fn(usize) -> f64, rank: usize) -> f64 {
        (0..self.len()).find(|i| self.rank(value, *i) == rank).map_or(0.0, value)
    }

    /// Loss of a pair, and its slopes by the chosen and the rejected sum.
    fn loss(&self, pair: usize) -> (f64, f64, f64) {
        let n = self.numbers;
        let (beta, s, tau, divergence, alpha) = (n[0], n[1], n[3], n[4] as usize, n[5]);
        let weight = |name: &str| n[7 + DPO_LOSSES.iter().position(|l| *l == name).expect("a loss of the list")];
        let (c, r) = (self.ratio(0, pair), self.ratio(1, pair));
        let (cn, rn) = (self.counts[pair].max(1.0), self.counts[self.len() + pair].max(1.0));
        let ((fc, dc), (fr, dr)) = (score(c, divergence, alpha), score(r, divergence, alpha));
        let delta = beta * (fc - fr);
        let (mut loss, mut chosen, mut rejected) = (0.0, 0.0, 0.0);
        let mut add = |name: &str, value: &dyn Fn() -> (f64, f64, f64)| {
            let w = weight(name);
            if w != 0.0 {
                let (l, a, b) = value();
                loss += w * l;
                chosen += w * a;
                rejected += w * b;
            }
        };
        // Of a loss of Δ: its slope by Δ goes through β and the divergence.
        let of_delta = |l: f64, d: f64| (l, d * beta * dc, -d * beta * dr);
        let smoothed = |d: f64, a: f64, b: f64| (a * nlsig(d) + b * nlsig(-d), -a * sigmoid(-d) + b * sigmoid(d));
        add("sigmoid", &|| of_delta(nlsig(delta), -sigmoid(-delta)));
        add("hinge", &|| of_delta((1.0 - delta).max(0.0), if delta < 1.0 { -1.0 } else { 0.0 }));
        add("ipo", &|| {
            let off = fc / cn - fr / rn - 0.5 / beta;
            (off * off, 2.0 * off / cn * dc, -2.0 * off / rn * dr)
        });
        add("exo_pair", &|| {
            let (q, p) = (sigmoid(delta), sigmoid(-delta));
            let (a, b) = (-nlsig(delta) - (-s).ln_1p(), -nlsig(-delta) - s.ln());
            // d/dΔ of q·a + p·b: q′ = q·p, and the slopes of the logarithms cancel.
            of_delta(q * a + p * b, q * p * (a - b))
        });
        add("nca_pair", &|| {
            let (bc, br) = (beta * c, beta * r);
            let l = nlsig(bc) + 0.5 * nlsig(-bc) + 0.5 * nlsig(-br);
            (l, beta * (-sigmoid(-bc) + 0.5 * sigmoid(bc)), beta * 0.5 * sigmoid(br))
        });
        add("robust", &|| {
            let (l, d) = smoothed(delta, (1.0 - s) / (1.0 - 2.0 * s), -s / (1.0 - 2.0 * s));
            of_delta(l, d)
        });
        add("bco_pair", &|| {
            let (bc, br) = (beta * c, beta * r);
            (nlsig(bc) + nlsig(-br), -beta * sigmoid(-bc), beta * sigmoid(br))
        });
        add("sppo_hard", &|| {
            let (a, b) = (c - 0.5 / beta, r + 0.5 / beta);
            (a * a + b * b, 2.0 * a, 2.0 * b)
        });
        add("aot", &|| {
            let policy = |i: usize| self.sums[0][i] - self.sums[0][self.len() + i];
            let reference = |i: usize| self.sums[1][i] - self.sums[1][self.len() + i];
            let d = beta * (policy(pair) - self.at_rank(&reference, self.rank(&policy, pair)));
            let (l, d) = smoothed(d, 1.0 - s, s);
            (l, beta * d, -beta * d)
        });
        add("aot_unpaired", &|| {
            let (of_c, of_r) = (|i: usize| self.ratio(0, i), |i: usize| self.ratio(1, i));
            let (l, d) = smoothed(beta * (c - self.at_rank(&of_r, self.rank(&of_c, pair))), 1.0 - s, s);
            // Its rejected answer stands beside another pair's chosen one.
            let (_, e) = smoothed(beta * (self.at_rank(&of_c, self.rank(&of_r, pair)) - r), 1.0 - s, s);
            (l, beta * d, -beta * e)
        });
        let bump = |x: f64| sigmoid(x) * sigmoid(-x);
        add("apo_zero", &|| (sigmoid(-beta * c) + sigmoid(beta * r), -beta * bump(beta * c), beta * bump(beta * r)));
        add("apo_down", &|| {
            let (a, b) = (beta * bump(beta * c), beta * bump(beta * (c - r)));
            (sigmoid(beta * c) + sigmoid(-beta * (c - r)), a - b, b)
        });
        add("discopop", &|| {
            let m = sigmoid(delta / tau);
            let (logistic, exponential) = (nlsig(delta), (-delta).exp());
            let d = -sigmoid(-delta) * (1.0 - m) - exponential * m + (exponential - logistic) * bump(delta / tau) / tau;
            of_delta(logistic * (1.0 - m) + exponential * m, d)
        });
        add("sft", &|| (-self.sums[0][pair] * n[6], -n[6], 0.0));
        add("sigmoid_norm", &|| {
            let d = beta * (fc / cn - fr / rn);
            (nlsig(d), -sigmoid(-d) * beta / cn * dc, sigmoid(-d) * beta / rn * dr)
        });
        (loss, chosen, rejected)
    }

    /// Metrics and both slopes of a pair with its weight.
    fn all(&self, pair: usize, weight: f64, aligned: Option<&[f64]>) -> ([f64; METRICS], [f64; 2]) {
        let p = self.len();
        let (beta, scale) = (self.numbers[0], self.numbers[2]);
        let (loss, chosen, rejected) = self.loss(pair);
        // WPO: how likely the answers are for a policy that samples them.
        let likely = aligned.map_or(1.0, |a| [pair, p + pair].map(|i| a[i] / self.counts[i].max(1.0)).iter().sum::<f64>().exp());
        let (rc, rr) = (beta * self.ratio(0, pair), beta * self.ratio(1, pair));
        let right = f64::from(u8::from(rc > rr));
        let metrics = [loss * likely, rc, rr, self.sums[0][pair], self.sums[0][p + pair], rc - rr, right, weight];
        (metrics, [chosen, rejected].map(|d| d * scale * weight * likely))
    }
}

impl Op for DpoLoss {
    fn name(&self) -> &'static str {
        "dpo_loss"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (sums, weights, numbers) = (inputs[0], inputs[3], inputs[4]);
        let alike = [1, 2].into_iter().chain(self.aligned.then_some(5)).all(|i| inputs[i].len() == sums.len());
        if sums.len() != 2 * weights.len() || !alike || numbers.len() != DPO_NUMBERS {
            return Err(Error::shape("dpo_loss", format!("inputs {:?}", inputs.iter().map(|d| &d.shape).collect::<Vec<_>>())));
        }
        Ok(vec![Desc::f32(&[weights.len(), METRICS]), sums.clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let pairs = cx.inputs[3].desc.len();
        let grid = cx.gpu().grid(pairs, 64);
        let bufs: Vec<_> = (0..cx.inputs.len()).map(|i| cx.input(i)).chain([cx.output(0), cx.output(1)]).collect();
        let key = KernelKey::new("dpo_loss").flag("ALIGNED", self.aligned);
        cx.dispatch(key, &[pairs as u32], &bufs.iter().collect::<Vec<_>>(), grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let [sums, reference, counts, weights, numbers] = [0, 1, 2, 3, 4].map(|i| io.input(i).to_vec());
        let aligned = self.aligned.then(|| io.input(5).to_vec());
        let all = Pairs { sums: [&sums, &reference], counts: &counts, numbers: &numbers };
        for (pair, weight) in weights.iter().enumerate() {
            let (metrics, slopes) = all.all(pair, *weight, aligned.as_deref());
            metrics.into_iter().enumerate().for_each(|(k, v)| io.add(0, METRICS * pair + k, v));
            slopes.into_iter().enumerate().for_each(|(side, v)| io.add(1, side * weights.len() + pair, v));
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        // A handful of numbers: in f64, as the reference.
        let wide = |i: usize| io.f32(i).iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let [sums, reference, counts, weights, numbers] = [0, 1, 2, 3, 4].map(wide);
        let aligned = self.aligned.then(|| wide(5));
        let all = Pairs { sums: [&sums, &reference], counts: &counts, numbers: &numbers };
        let (metrics, dsums) = (io.out(0), io.out(1));
        for (pair, weight) in weights.iter().enumerate() {
            let (values, slopes) = all.all(pair, *weight, aligned.as_deref());
            metrics[METRICS * pair..].iter_mut().zip(values).for_each(|(m, v)| *m = v as f32);
            slopes.into_iter().enumerate().for_each(|(side, v)| dsums[side * weights.len() + pair] = v as f32);
        }
        Ok(())
    }
}
