//! The next token: repetition penalty, temperature, top-k, top-p, min-p and one draw, in one dispatch; 4 bytes per row are read.

use super::rng;
use crate::gpu::KernelKey;
use crate::graph::{Desc, HostIo, Lower, Op};
use crate::tensor::DType;
use crate::{Error, Result};

/// Inputs: logits (n, V). Outputs: token (n) u32, logp (n): log softmax of the raw logits at the token; seen (n, ⌈V/32⌉) u32 in place: one
/// bit per token id that the repetition penalty applies to; the drawn token's bit is set. Options come from
/// [`crate::graph::StepParams`]; see `shaders/sample.wgsl` for the exact rules.
#[derive(Clone, Copy, Debug)]
pub struct Sample;

/// Salt of the sampler's random stream.
const SALT: u32 = 0x5a3b_1e77;

/// Threads per row: a barrier costs a software adapter more than the work of a small row.
fn threads(cols: usize, software: bool) -> usize {
    if software && cols <= 65_536 { 64 } else { 256 }
}

/// Words of a row of `seen`.
pub fn seen_words(vocab: usize) -> usize {
    vocab.div_ceil(32)
}

impl Op for Sample {
    fn name(&self) -> &'static str {
        "sample"
    }

    fn infer(&self, inputs: &[&Desc]) -> Result<Vec<Desc>> {
        let d = inputs[0];
        if d.dtype != DType::F32 || d.is_empty() {
            return Err(Error::shape("sample", format!("logits {:?} {}", d.shape, d.dtype.name())));
        }
        Ok(vec![Desc::u32(&[d.rows()]), Desc::f32(&[d.rows()]), Desc::u32(&[d.rows(), seen_words(d.cols())])])
    }

    fn lower(&self, cx: &mut Lower<'_>) -> Result<()> {
        let (rows, cols) = (cx.inputs[0].desc.rows(), cx.inputs[0].desc.cols());
        let threads = if cx.caps().max_threads < 256 { 64 } else { threads(cols, cx.caps().is_software) };
        let params = [rows as u32, cols as u32, seen_words(cols) as u32];
        let bufs = [&cx.input(0), &cx.output(0), &cx.output(1), &cx.output(2)];
        cx.dispatch(KernelKey::new("sample").def("WG", threads), &params, &bufs, [rows as u32, 1, 1]);
        Ok(())
    }

    fn host(&self, io: &mut HostIo<'_>) -> Result<()> {
        let logits = io.input(0);
        let cols = io.descs[0].cols();
        let words = seen_words(cols);
        let step = *io.step;
        for row in 0..io.descs[0].rows() {
            let z = &logits[row * cols..(row + 1) * cols];
            if z.iter().any(|v| !v.is_finite()) {
                io.outputs[0][row] = 0.0;
                io.outputs[1][row] = f64::NAN;
                continue;
            }
            let x = shaped(z, &io.outputs[2][row * words..(row + 1) * words], &step);
            let chosen = if step.temperature > 0.0 {
                let u = f64::from(rng::pcg4d([step.seed, step.counter, SALT, row as u32])[0] >> 8) / f64::from(1u32 << 24);
                draw(&x, &step, u, threads(cols, true))
            } else {
                (0..cols).rev().fold(0, |b, i| if x[i] >= x[b] { i } else { b })
            };
            let top = z.iter().fold(f64::NEG_INFINITY, |m: f64, v| m.max(*v));
            let sum: f64 = z.iter().map(|v| (v - top).exp()).sum();
            io.outputs[0][row] = chosen as f64;
            io.outputs[1][row] = z[chosen] - top - sum.ln();
            let word = &mut io.outputs[2][row * words + chosen / 32];
            *word = f64::from(*word as u32 | 1 << (chosen % 32));
        }
        Ok(())
    }
}

/// Logits after penalty and temperature.
fn shaped(z: &[f64], seen: &[f64], step: &crate::graph::StepParams) -> Vec<f64> {
    let penalty = f64::from(step.repetition_penalty);
    z.iter()
        .enumerate()
        .map(|(i, v)| {
            let marked = seen[i / 32] as u32 >> (i % 32) & 1 == 1;
            let v = match (marked, *v > 0.0) {
                (false, _) => *v,
                (true, true) => v / penalty,
                (true, false) => v * penalty,
            };
            if step.temperature > 0.0 { v / f64::from(step.temperature) } else { v }
        })
        .collect()
}

/// Which tokens top-k, top-p and min-p leave: (probability before normalisation, or zero).
pub fn kept(x: &[f64], step: &crate::graph::StepParams) -> Vec<f64> {
    let mut order: Vec<f64> = x.to_vec();
    order.sort_by(|a, b| b.total_cmp(a));
    let top = order[0];
    let mut cut = f64::NEG_INFINITY;
    if step.top_k > 0 && (step.top_k as usize) < x.len() {
        cut = order[step.top_k as usize - 1];
    }
    if step.top_p < 1.0 {
        let left: Vec<f64> = order.iter().copied().filter(|v| *v >= cut).collect();
        let need = f64::from(step.top_p) * left.iter().map(|v| (v - top).exp()).sum::<f64>();
        let mut sum = 0.0;
        for v in left {
            sum += (v - top).exp();
            cut = v;
            if sum >= need {
                break;
            }
        }
    }
    if step.min_p > 0.0 {
        cut = cut.max(top + f64::from(step.min_p).ln());
    }
    let cut = cut.min(top);
    x.iter().map(|v| if *v >= cut { (v - top).exp() } else { 0.0 }).collect()
}

/// One draw: the kernel's threads stand one after the other, each with every `threads`-th token (their number is that of software
/// adapters, which the tests compare with).
fn draw(x: &[f64], step: &crate::graph::StepParams, u: f64, threads: usize) -> usize {
    let p = kept(x, step);
    let target = u * p.iter().sum::<f64>();
    let mut sum = 0.0;
    let mut last = 0;
    for t in 0..threads {
        for i in (t..x.len()).step_by(threads) {
            if p[i] > 0.0 {
                sum += p[i];
                last = i;
                if target < sum {
                    return i;
                }
            }
        }
    }
    last
}
