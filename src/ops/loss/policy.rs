//! The clipped policy loss of tokens (GRPO and its kin, RLOO, PPO), with the divergence from a reference beside it.

use crate::gpu::KernelKey;
use crate::graph::{CpuIo, Desc, HostIo, Lower, Op};
use crate::tensor::DType;
use crate::{Error, Result};

/// Words of the input of numbers.
pub const POLICY_NUMBERS: usize = 7;

/// Words of a token's metrics.
pub const POLICY_METRICS: usize = 4;

/// What the loss is computed with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicyNumbers {
    /// Ratios below and above these are clipped: 1 − ε and 1 + ε of TRL's `epsilon_high`.
    pub clip: [f32; 2],
    /// Ratios above this are cut first (TRL's `delta`); `f32::MAX` for never.
    pub delta: f32,
    /// Weight of the divergence from the reference; 0 for none.
    pub beta: f32,
    /// The divergence is multiplied by the ratio, and learns through it (`use_bias_correction_kl`).
    pub corrected: bool,
    /// One ratio for all tokens of a sequence: exp of its step times the sum of their log ratios.
    pub sequence: bool,
    /// The old policy is the present one: ratios are 1, and only their gradient counts.
    pub fresh: bool,
}

impl PolicyNumbers {
    /// As the input of the op.
    pub fn words(&self) -> [f32; POLICY_NUMBERS] {
        let [corrected, sequence, fresh] = [self.corrected, self.sequence, self.fresh].map(|b| f32::from(u8::from(b)));
        [self.clip[0], self.clip[1], self.delta, self.beta, corrected, sequence, fresh]
    }
}

/// −min(ρ·A, clip(ρ)·A) + β·k of every token (Schulman et al. 2017; Shao et al. 2024), ρ = exp(ln π − ln π_old), A its advantage and
/// k = exp(d) − d − 1 with d = ln π_ref − ln π. With `corrected` k is multiplied by ρ. With `sequence` the exponent is `step` times the sum over the
/// sequence's tokens: their mean (GSPO, Zheng et al. 2025) with a step of one over their number, the whole answer's ratio (RLOO) with a step of 1.
///
/// Inputs: logp (R); seq (R) u32, the sequence of each token, [`super::IGNORE`] for none, those of a sequence side by side; tokens (R, 4): ln π_old,
/// ln π_ref, what the token's loss counts, its advantage; steps (S); numbers ([`POLICY_NUMBERS`], see [`PolicyNumbers`]).
/// Outputs: metrics (R, 4) and dlogp (R), the gradient of Σ weight·loss.
///
/// metrics per token: loss without its weight; k, multiplied by ρ where it is corrected; 1 where ρ is below the clip and A below 0; 1 where ρ is above
/// it and A above 0.
#[derive(Clone, Copy, Debug)]
pub struct PolicyLoss;

/// What is known of a token.
#[derive(Clone, Copy)]
struct Token {
    logp: f64,
    old: f64,
    reference: f64,
    weight: f64,
    advantage: f64,
}

impl Token {
    fn new(logp: f64, known: [f64; 4]) -> Token {
        let [old, reference, weight, advantage] = known;
        Token { logp, old, reference, weight, advantage }
    }
}

/// A token in f64: its metrics, and the gradients of its weighted loss by its log-probability, directly and by the exponent of the ratio.
fn token(t: Token, exponent: f64, n: &[f64]) -> ([f64; POLICY_METRICS], f64, f64) {
    let (low, high, delta, beta, corrected) = (n[0], n[1], n[2], n[3], n[4] != 0.0);
    let advantage = t.advantage;
    let ratio = exponent.exp();
    let cut = ratio.min(delta);
    let (plain, clipped) = (cut * advantage, ratio.clamp(low, high) * advantage);
    let moves = if plain <= clipped { ratio <= delta } else { (low..=high).contains(&ratio) };
    let mut loss = -plain.min(clipped);
    let mut through = if moves { -advantage * ratio } else { 0.0 };
    let (mut k, mut direct) = (0.0, 0.0);
    if beta != 0.0 {
        let d = t.reference - t.logp;
        let factor = if corrected { ratio } else { 1.0 };
        k = (d.exp_m1() - d) * factor;
        direct = -beta * d.exp_m1() * factor;
        loss += beta * k;
        through += if corrected { beta * k } else { 0.0 };
    }
    let flag = |b: bool| f64::from(u8::from(b));
    let flags = [flag(cut < low && advantage < 0.0), flag(cut > high && advantage > 0.0)];
    ([loss, k, flags[0], flags[1]], t.weight * direct, t.weight * through)
}

/// All tokens: `put(row, metrics, dlogp)`.
fn all(seq: &[usize], at: impl Fn(usize) -> Token, steps: &[f64], n: &[f64], mut put: impl FnMut(usize, [f64; POLICY_METRICS], f64)) {
    let (of_sequence, fresh) = (n[5] != 0.0, n[6] != 0.0);
    let log_ratio = |i: usize| if fresh { 0.0 } else { at(i).logp - at(i).old };
    let mut first = 0;
    for tokens in seq.chunk_by(|a, b| a == b) {
        let range = first..first + tokens.len();
        first = range.end;
        let Some(step) = steps.get(tokens[0]) else {
            range.for_each(|i| put(i, [0.0; POLICY_METRICS], 0.0));
            continue;
        };
        let shared = if of_sequence { step * range.clone().map(log_ratio).sum::<f64>() } else { 0.0 };
        let of = |i: usize| token(at(i), if of_sequence { shared } else { log_ratio(i) }, n);
        let through = if of_sequence { step * range.clone().map(|i| of(i).2).sum::<f64>() } else { 0.0 };
        for i in range {
            let (metrics, direct, own) = of(i);
            put(i, metrics, direct + if of_sequence { through } else { own });
        }
    }
}

impl Op for PolicyLoss {
    fn name(&self) -> &'static str {
        "policy_loss"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let rows = inputs[0].len();
        let fits = inputs[1].len() == rows && inputs[1].dtype == DType::U32 && inputs[2].len() == 4 * rows;
        if !fits || inputs[4].len() != POLICY_NUMBERS {
            return Err(Error::shape("policy_loss", format!("inputs {:?}", inputs.iter().map(|d| &d.shape).collect::<Vec<_>>())));
        }
        Ok(vec![Desc::f32(&[rows, POLICY_METRICS]), inputs[0].clone()])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (rows, seqs) = (cx.inputs[0].desc.len(), cx.inputs[3].desc.len());
        let grid = cx.gpu().grid(rows, 64);
        let bufs: Vec<_> = (0..5).map(|i| cx.input(i)).chain([cx.output(0), cx.output(1)]).collect();
        cx.dispatch(KernelKey::new("policy_loss"), &[rows as u32, seqs as u32], &bufs.iter().collect::<Vec<_>>(), grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let [logp, seq, tokens, steps, numbers] = [0, 1, 2, 3, 4].map(|i| io.input(i).to_vec());
        let seq: Vec<usize> = seq.iter().map(|s| *s as usize).collect();
        let at = |i: usize| Token::new(logp[i], [0, 1, 2, 3].map(|k| tokens[4 * i + k]));
        all(&seq, at, &steps, &numbers, |i, metrics, d| {
            metrics.into_iter().enumerate().for_each(|(k, v)| io.add(0, POLICY_METRICS * i + k, v));
            io.add(1, i, d);
        });
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let wide = |i: usize| io.f32(i).iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
        let [steps, numbers] = [3, 4].map(wide);
        let seq: Vec<usize> = io.u32(1).iter().map(|s| *s as usize).collect();
        let (logp, tokens) = (io.f32(0), io.f32(2));
        let (out, dlogp) = (io.out(0), io.out(1));
        let at = |i: usize| Token::new(f64::from(logp[i]), [0, 1, 2, 3].map(|k| f64::from(tokens[4 * i + k])));
        all(&seq, at, &steps, &numbers, |i, metrics, d| {
            out[POLICY_METRICS * i..POLICY_METRICS * (i + 1)].copy_from_slice(&metrics.map(|v| v as f32));
            dlogp[i] = d as f32;
        });
        Ok(())
    }
}
