//! The loss of reward models: how likely the rankings of answers are by their scores.

use crate::gpu::KernelKey;
use crate::graph::{CpuIo, Desc, HostIo, Lower, Op};
use crate::tensor::DType;
use crate::{Error, Result};

/// Words of the input of numbers: scale of a row's loss, weight of centring.
pub const RANKING_NUMBERS: usize = 2;

/// Words of the metrics of each place.
pub const RANKING_METRICS: usize = 2;

/// Most answers that may be tied: subsets of them are summed over.
pub const MOST_TIED: usize = 16;

/// −ln of the likelihood of rankings under Plackett and Luce (1975), of which Bradley and Terry's of pairs is the case of two: an order has
/// Σᵢ ln Σⱼ≥ᵢ exp(zⱼ) − zᵢ. Answers that are tied stand for all orders that agree with the ranks: the mean of their losses, or with `marginal` that of the
/// sum of their probabilities. To it comes center·(2·mean of the scores)², for two answers (s_c + s_r)² (Eisenstein et al. 2023).
///
/// Inputs: scores (N or more); order (E ≤ N) u32, the score of each place: rows one after the other, in each the best answer first, and tied ones
/// together; every number below E once; places (E, 2) u32, the place behind the tied ones of this place and the place behind its row; offsets (E), what is
/// added to a score before it is compared (a margin, negative, at the better one); numbers ([`RANKING_NUMBERS`]).
/// Outputs: metrics (E, 2), per place the loss of the row that begins there (0 elsewhere), and score number e; dscores as scores, the gradient of
/// Σ scale·loss. A row of one place has no loss.
#[derive(Clone, Copy, Debug)]
pub struct RankingLoss {
    pub marginal: bool,
    /// Most answers that are tied in any row.
    pub tied: usize,
}

/// One row in f64: its scores in order with their offsets, the place behind the tied ones of each place; adds the slopes.
struct Row<'a> {
    z: &'a [f64],
    ends: &'a [usize],
    slopes: &'a mut [f64],
}

impl Row<'_> {
    /// ln Σ exp over the members of a set of tied ones from `first` to `end` and all behind them.
    fn log_sum(&self, mask: usize, first: usize, end: usize) -> f64 {
        let inside = || (first..self.z.len()).filter(|j| *j >= end || mask >> (j - first) & 1 == 1).map(|j| self.z[j]);
        let top = inside().fold(f64::NEG_INFINITY, f64::max);
        top + inside().map(|z| (z - top).exp()).sum::<f64>().ln()
    }

    /// Adds `weight` times the slopes of that.
    fn slope(&mut self, mask: usize, first: usize, end: usize, weight: f64, log_sum: f64) {
        for j in (first..self.z.len()).filter(|j| *j >= end || mask >> (j - first) & 1 == 1) {
            self.slopes[j] += weight * (self.z[j] - log_sum).exp();
        }
    }

    /// The mean over all orders of the tied ones: what is left of them after some were taken is each set of its size equally often.
    fn mean(&mut self, first: usize, end: usize) -> f64 {
        let n = end - first;
        let mut loss = 0.0;
        for mask in 1..1usize << n {
            let weight = (0..mask.count_ones() as usize).fold(1.0, |w, t| w * (t + 1) as f64 / (n - t) as f64);
            let log_sum = self.log_sum(mask, first, end);
            loss += weight * log_sum;
            self.slope(mask, first, end, weight, log_sum);
        }
        loss - self.z[first..end].iter().sum::<f64>()
    }

    /// −ln of the sum of the probabilities of all orders of the tied ones: `ahead[S]` is that of S being taken in any order, `passed[S]` how likely it is
    /// that just S is left at some time.
    fn marginal(&mut self, first: usize, end: usize) -> f64 {
        let n = end - first;
        let full = (1usize << n) - 1;
        let (mut ahead, mut passed) = (vec![0.0; full + 1], vec![0.0; full + 1]);
        let members = |mask: usize| (0..n).filter(move |i| mask >> i & 1 == 1);
        for mask in 1..=full {
            let log_sum = self.log_sum(mask, first, end);
            let of = |i: usize| self.z[first + i] - log_sum + ahead[mask ^ 1 << i];
            let top = members(mask).map(of).fold(f64::NEG_INFINITY, f64::max);
            ahead[mask] = top + members(mask).map(|i| (of(i) - top).exp()).sum::<f64>().ln();
        }
        passed[full] = 1.0;
        for mask in (1..=full).rev() {
            let log_sum = self.log_sum(mask, first, end);
            self.slope(mask, first, end, passed[mask], log_sum);
            for i in members(mask) {
                let rest = mask ^ 1 << i;
                passed[rest] += passed[mask] * (self.z[first + i] - log_sum + ahead[rest] - ahead[mask]).exp();
            }
        }
        -ahead[full]
    }

    fn loss(&mut self, marginal: bool) -> f64 {
        let (mut first, mut loss) = (0, 0.0);
        while first < self.z.len() {
            let end = self.ends[first].clamp(first + 1, self.z.len()).min(first + MOST_TIED);
            loss += if marginal && end > first + 1 { self.marginal(first, end) } else { self.mean(first, end) };
            self.slopes[first..end].iter_mut().for_each(|s| *s -= 1.0);
            first = end;
        }
        loss
    }
}

/// Metrics and gradient of all rows in f64.
fn ranking(marginal: bool, scores: &[f64], order: &[usize], places: &[usize], offsets: &[f64], numbers: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (mut metrics, mut dscores) = (vec![0.0; order.len() * RANKING_METRICS], vec![0.0; scores.len()]);
    (0..order.len()).for_each(|e| metrics[RANKING_METRICS * e + 1] = scores[e]);
    let mut at = 0;
    while at < order.len() {
        let end = places[2 * at + 1].clamp(at + 1, order.len());
        let n = end - at;
        if n > 1 {
            let z: Vec<f64> = (at..end).map(|e| scores[order[e]] + offsets[e]).collect();
            let ends: Vec<usize> = (at..end).map(|e| places[2 * e].saturating_sub(at)).collect();
            let mut slopes = vec![0.0; n];
            let middle = (at..end).map(|e| scores[order[e]]).sum::<f64>() / n as f64;
            let loss = Row { z: &z, ends: &ends, slopes: &mut slopes }.loss(marginal);
            metrics[RANKING_METRICS * at] = loss + numbers[1] * (2.0 * middle).powi(2);
            for (slope, e) in slopes.iter().zip(at..end) {
                dscores[order[e]] = numbers[0] * (slope + numbers[1] * 8.0 * middle / n as f64);
            }
        }
        at = end;
    }
    (metrics, dscores)
}

impl Op for RankingLoss {
    fn name(&self) -> &'static str {
        "ranking_loss"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (scores, order, places, offsets, numbers) = (inputs[0], inputs[1], inputs[2], inputs[3], inputs[4]);
        let n = order.len();
        let whole = order.dtype == DType::U32 && places.dtype == DType::U32;
        if !whole
            || n > scores.len()
            || places.len() != 2 * n
            || offsets.len() != n
            || numbers.len() != RANKING_NUMBERS
            || self.tied > MOST_TIED
        {
            let shapes = (&scores.shape, &order.shape, &places.shape, &offsets.shape, &numbers.shape);
            return Err(Error::shape("ranking_loss", format!("scores, order, places, offsets and numbers {shapes:?}, {} tied", self.tied)));
        }
        Ok(vec![Desc::f32(&[n, RANKING_METRICS]), scores.clone()])
    }

    fn scratch(&self, inputs: &[&Desc], _outputs: &[&Desc]) -> Vec<Desc> {
        // Per place, since a row may begin at any.
        if self.marginal { vec![Desc::f32(&[inputs[1].len() << (self.tied + 1)])] } else { Vec::new() }
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (n, scores) = (cx.inputs[1].desc.len(), cx.inputs[0].desc.len());
        let key = KernelKey::new("ranking_loss").flag("MARGINAL", self.marginal);
        let mut bufs: Vec<_> = (0..5).map(|i| cx.input(i)).collect();
        bufs.extend([cx.output(0), cx.output(1)]);
        if self.marginal {
            bufs.push(cx.temp(0));
        }
        let grid = cx.gpu().grid(scores, 64);
        cx.dispatch(key, &[n as u32, scores as u32, self.tied as u32], &bufs.iter().collect::<Vec<_>>(), grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let whole = |i: usize| io.input(i).iter().map(|v| *v as usize).collect::<Vec<_>>();
        let (order, places) = (whole(1), whole(2));
        let (metrics, dscores) = ranking(self.marginal, &io.input(0), &order, &places, &io.input(3), &io.input(4));
        metrics.into_iter().enumerate().for_each(|(i, v)| io.add(0, i, v));
        dscores.into_iter().enumerate().for_each(|(i, v)| io.add(1, i, v));
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let [scores, offsets, numbers] = [0, 3, 4].map(|i| io.f32(i).iter().map(|v| f64::from(*v)).collect::<Vec<f64>>());
        let [order, places] = [1, 2].map(|i| io.u32(i).iter().map(|v| *v as usize).collect::<Vec<usize>>());
        let (metrics, dscores) = ranking(self.marginal, &scores, &order, &places, &offsets, &numbers);
        io.out(0).iter_mut().zip(metrics).for_each(|(m, v)| *m = v as f32);
        io.out(1).iter_mut().zip(dscores).for_each(|(d, v)| *d = v as f32);
        Ok(())
    }
}
