//! Sampling on the GPU: one token per row from its logits, 4 bytes to read back.

use super::{rng, serial_rows};
use crate::cpu::kernels::sample as kernels;
use crate::gpu::KernelKey;
use crate::graph::{CpuIo, Desc, HostIo, Lower, Op, Tape, Val};
use crate::{Error, Result};

/// Logits of a row that one thread or workgroup looks at (`CHUNK` of `common/sample.wgsl`), and words it leaves (`PART`).
const CHUNK: usize = 256;
const PART: usize = 8;

/// Words of a row of `seen`.
pub fn seen_words(vocab: usize) -> usize {
    vocab.div_ceil(32)
}

/// Picks a token per row. Input: logits (n, V). Outputs: token (n) u32; logp (n), log softmax of the raw logits at the token; seen
/// (n, ⌈V/32⌉) u32, in place: one bit per token that has occurred, read by the repetition penalty; the token's bit is set.
///
/// From the step uniform, in the order of Transformers' logits processors: `repetition_penalty`, `temperature` (0 = greedy, of equal
/// logits the lowest id), `top_k` (0 = off), `top_p`, `min_p`. Tokens whose logits are equal are kept or dropped together. The
/// random stream of a row is (`seed`, `counter`, row): rows of one batch are independent, and the same row, seed and counter give
/// the same token. A row with NaN or +∞, or without any finite logit, gives token 0 and logp NaN.
///
/// Two dispatches, whatever the settings.
#[derive(Clone, Copy, Debug)]
pub struct Sample;

impl Sample {
    /// Records it. Gives token and logp.
    ///
    /// # Errors
    /// [`Error::Shape`] when `seen` does not have ⌈V/32⌉ words per row.
    pub fn record(tape: &mut Tape, logits: Val, seen: Val) -> Result<(Val, Val)> {
        let n = tape.desc(logits).rows();
        let (token, logp) = (tape.temp(Desc::u32(&[n])), tape.temp(Desc::f32(&[n])));
        tape.push_into(Sample, &[logits], &[(token, false), (logp, false), (seen, true)])?;
        Ok((token, logp))
    }
}

impl Op for Sample {
    fn name(&self) -> &'static str {
        "sample"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let (n, v) = (inputs[0].rows(), inputs[0].cols());
        // Counts are kept in f32.
        if v == 0 || v >= 1 << 24 {
            return Err(Error::shape("sample", format!("a vocabulary of {v} (1 to 2^24 - 1 can be sampled from)")));
        }
        Ok(vec![Desc::u32(&[n]), Desc::f32(&[n]), Desc::u32(&[n, seen_words(v)])])
    }

    fn scratch(&self, inputs: &[&Desc], _outputs: &[&Desc]) -> Vec<Desc> {
        let (n, v) = (inputs[0].rows(), inputs[0].cols());
        vec![Desc::f32(&[n, v]), Desc::u32(&[n, v.div_ceil(CHUNK), PART])]
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        if !cx.acc[2] {
            return Err(Error::shape("sample", "the table of seen tokens is changed in place: record it with Sample::record"));
        }
        let (n, v) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols());
        let chunks = v.div_ceil(CHUNK);
        let params = [n as u32, v as u32, chunks as u32, seen_words(v) as u32];
        let serial = serial_rows(cx.gpu());
        let scan = KernelKey::new("sample_scan");
        // Small workgroups spread the serial threads over the processor's cores.
        let scan = if serial { scan.flag("SERIAL", true).def("WG", 8) } else { scan }.flag("VEC", v.is_multiple_of(4));
        let grid = cx.gpu().grid(n * chunks, if serial { 8 } else { 1 });
        cx.dispatch(scan, &params, &[&cx.input(0), &cx.output(2), &cx.temp(0), &cx.temp(1)], grid);
        let bufs = [&cx.input(0), &cx.temp(0), &cx.temp(1), &cx.output(0), &cx.output(1), &cx.output(2)];
        let grid = cx.gpu().grid(n, 1);
        cx.dispatch(KernelKey::new("sample_pick"), &params, &bufs, grid);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let logits = io.input(0);
        let v = io.descs[0].cols();
        let words = seen_words(v);
        for (row, x) in logits.chunks(v).enumerate() {
            let seen = |i: usize| io.outputs[2][row * words + i / 32] as u32 >> (i % 32) & 1 == 1;
            let picked = pick(x, row as u32, &seen, io.step);
            io.outputs[0][row] = picked.map_or(0.0, |(i, _)| i as f64);
            io.outputs[1][row] = picked.map_or(f64::NAN, |(_, logp)| logp);
            if let Some((i, _)) = picked {
                let word = &mut io.outputs[2][row * words + i / 32];
                *word = f64::from(*word as u32 | 1 << (i % 32));
            }
        }
        Ok(())
    }

    fn cpu(&self, io: &mut CpuIo<'_>) -> Result<()> {
        let s = io.step();
        let settings = kernels::Settings {
            temperature: s.temperature,
            top_p: s.top_p,
            min_p: s.min_p,
            repetition_penalty: s.repetition_penalty,
            top_k: s.top_k,
            seed: s.seed,
            counter: s.counter,
        };
        kernels::sample(io.pool(), io.f32(0), io.desc(0).cols(), io.out_u32(0), io.out(1), io.out_u32(2), &settings);
        Ok(())
    }
}

/// One row on the host, as [`Sample`] chooses it: token and log-probability, or nothing where the logits cannot be sampled from.
pub fn pick(x: &[f64], row: u32, seen: &dyn Fn(usize) -> bool, step: &crate::graph::StepParams) -> Option<(usize, f64)> {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if x.iter().any(|v| v.is_nan()) || !largest.is_finite() {
        return None;
    }
    let log_sum = largest + x.iter().map(|v| (v - largest).exp()).sum::<f64>().ln();
    let penalty = f64::from(step.repetition_penalty);
    let temperature = if step.temperature > 0.0 { f64::from(step.temperature.max(1e-6)) } else { 1.0 };
    let z: Vec<f64> = (0..x.len())
        .map(|i| match (seen(i), x[i] < 0.0) {
            (false, _) => x[i] / temperature,
            (true, true) => x[i] * penalty / temperature,
            (true, false) => x[i] / penalty / temperature,
        })
        .collect();
    // Descending, equal ones by id.
    let mut order: Vec<usize> = (0..z.len()).collect();
    order.sort_by(|a, b| z[*b].total_cmp(&z[*a]).then(a.cmp(b)));
    let top = z[order[0]];
    let result = |i: usize| Some((i, x[i] - log_sum));
    if step.temperature <= 0.0 {
        return result(order[0]);
    }
    let k = step.top_k as usize;
    let kth = if k > 0 && k < z.len() { z[order[k - 1]] } else { f64::NEG_INFINITY };
    let weight = |i: usize| (z[i] - top).exp();
    let mass: f64 = order.iter().take_while(|i| z[**i] >= kth).map(|i| weight(*i)).sum();
    let floor = if step.min_p > 0.0 { kth.max(top + f64::from(step.min_p).ln().min(0.0)) } else { kth };
    let (mut above, mut sum, mut last) = (0.0, 0.0, f64::INFINITY);
    let mut best: Option<(f64, usize)> = None;
    for i in order {
        if z[i] < last {
            (above, last) = (sum, z[i]);
        }
        let kept = step.top_p >= 1.0 || above == 0.0 || above < f64::from(step.top_p) * mass;
        if z[i] < floor || !kept {
            break;
        }
        sum += weight(i);
        let race = weight(i) / rng::exponential(rng::bits(step.seed, step.counter, row, i as u32));
        if best.is_none_or(|(b, j)| race > b || (race == b && i < j)) {
            best = Some((race, i));
        }
    }
    best.and_then(|(_, i)| result(i))
}
