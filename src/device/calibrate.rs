//! A short measurement on the adapter at hand: which kernel variant is fastest for each class of work. The result is kept in
//! [`crate::gpu::Tuning`], and callers store it under the adapter's name.

use super::variants::{CLASSES, variants};
use crate::Result;
use crate::clock::seconds;
use crate::gpu::Gpu;
use crate::graph::{Desc, Exec, Program, ProgramOptions, StepParams, Tape, Tensor, Val};
use crate::ops::attention::{Attention, AttentionAppend};
use crate::ops::linear::{Linear, LinearDx};
use crate::ops::norm::RmsNorm;
use crate::ops::rope::RopeSplit;
use crate::tensor::DType;

/// Measures every class that is neither forced nor remembered. Takes a few seconds on a software adapter, well under one on a GPU.
///
/// # Errors
/// Whatever the device reports: a variant it cannot compile is left out only if another one runs.
pub async fn calibrate(gpu: &Gpu) -> Result<()> {
    let exec = Exec::Gpu(gpu.clone());
    for class in CLASSES {
        let variants = variants(gpu, class);
        let known = {
            let tuning = gpu.tuning().borrow();
            // What was remembered may have been measured when there were others to choose from.
            tuning.known(class) && tuning.measured().get(class).is_none_or(|v| variants.contains(&v.as_str()))
        };
        if known {
            continue;
        }
        if let [only] = variants[..] {
            gpu.tuning().borrow_mut().choose(class, only);
            continue;
        }
        // All take turns: whatever else the machine does for a moment meets each of them.
        let (mut trials, mut why) = (Vec::new(), None);
        for variant in variants {
            gpu.tuning().borrow_mut().choose(class, variant);
            match Trial::of(&exec, class).await {
                Ok(trial) => trials.push((variant, trial)),
                Err(e) => {
                    log::debug!("{class} {variant}: {e}");
                    why = Some(e);
                }
            }
        }
        take_turns(&mut trials).await?;
        log::debug!("{class}: {:?}", trials.iter().map(|(v, t)| (v, t.best)).collect::<Vec<_>>());
        if let Some((variant, _)) = trials.into_iter().min_by(|a, b| a.1.best.total_cmp(&b.1.best)) {
            gpu.tuning().borrow_mut().choose(class, variant);
        } else if let Some(e) = why {
            return Err(e);
        }
    }
    Ok(())
}

/// Seconds of a typical piece of work of `class` with the variant chosen at the moment: the best of some runs, behind a first one that compiles.
///
/// # Errors
/// Whatever the device reports.
pub async fn seconds_of(exec: &Exec, class: &str) -> Result<f64> {
    let mut trials = [("", Trial::of(exec, class).await?)];
    take_turns(&mut trials).await?;
    Ok(trials[0].1.best)
}

/// Three to eight runs of each in turn, of which more than three only within a tenth of a second for each.
async fn take_turns(trials: &mut [(&str, Trial)]) -> Result<()> {
    let begin = seconds();
    for run in 1..=8 {
        for (_, trial) in &mut *trials {
            trial.best = trial.run().await?.min(trial.best);
        }
        if run >= 3 && seconds() - begin > 0.1 * trials.len() as f64 {
            break;
        }
    }
    Ok(())
}

/// A typical piece of work of one class in one variant.
struct Trial {
    exec: Exec,
    program: Program,
    /// Seconds of its fastest run.
    best: f64,
}

impl Trial {
    /// With the variant chosen at the moment; it has run once.
    async fn of(exec: &Exec, class: &str) -> Result<Self> {
        let trial = Trial { exec: exec.clone(), program: work(exec, class).await?, best: f64::INFINITY };
        trial.run().await?;
        Ok(trial)
    }

    /// Seconds of one run.
    async fn run(&self) -> Result<f64> {
        let start = seconds();
        self.program.submit(&StepParams::default());
        self.exec.done().await?;
        Ok(seconds() - start)
    }
}

/// Heads, key heads and their width in what is measured: those of a small model.
const HEADS: (usize, usize, usize) = (9, 3, 64);

/// What is measured for `class`, compiled.
async fn work(exec: &Exec, class: &str) -> Result<Program> {
    let mut tape = Tape::new();
    match class {
        "linear.m1" => few(exec, &mut tape, 1, false)?,
        "linear.m8" => few(exec, &mut tape, 4, false)?,
        "linear_norm" => few(exec, &mut tape, 1, true)?,
        "attention" => attention(exec, &mut tape, false)?,
        "attention_dq" | "attention_dkv" => attention(exec, &mut tape, true)?,
        "attention_small" => token(exec, &mut tape)?,
        _ => many(exec, &mut tape, class)?,
    }
    let program = Program::build(exec, &tape, ProgramOptions::default())?;
    program.compile().await?;
    Ok(program)
}

fn zeros(exec: &Exec, tape: &mut Tape, name: &str, desc: Desc) -> Result<Val> {
    Ok(tape.tensor(&Tensor::zeros(exec, name, desc)?))
}

/// The layer's products of a small model that decodes: q, k and v, the gated pair, the projection back, the first two with a norm in front where that is what
/// is measured. One kernel for all, because what a software adapter takes to compile the variants is most of what the user waits for.
fn few(exec: &Exec, tape: &mut Tape, m: usize, normed: bool) -> Result<()> {
    let mut tensor = |name: &str, desc: Desc| zeros(exec, tape, name, desc);
    let mut weight = |n: usize, k: usize| tensor("w", Desc { shape: vec![n, k], dtype: DType::Q4_1 });
    let weights = [weight(960, 576)?, weight(3072, 576)?, weight(576, 1536)?];
    let (x, hidden) = (tensor("x", Desc::f32(&[m, 576]))?, tensor("hidden", Desc::f32(&[m, 1536]))?);
    let gain = tensor("gain", Desc::f32(&[576]))?;
    for _ in 0..2 {
        for (from, w) in [x, x, hidden].into_iter().zip(weights) {
            if normed && from == x {
                tape.push(Linear { norm: Some(RmsNorm::new(1e-5)), ..Linear::plain() }, &[x, w, gain])?;
            } else {
                tape.push(Linear::plain(), &[from, w])?;
            }
        }
    }
    Ok(())
}

/// 64 rows through a square weight, or a norm.
fn many(exec: &Exec, tape: &mut Tape, class: &str) -> Result<()> {
    let (m, n, k) = (64, 768, 768);
    let w = zeros(exec, tape, "w", Desc { shape: vec![n, k], dtype: DType::Q4_1 })?;
    let x = zeros(exec, tape, "x", Desc::f32(&[m, k]))?;
    let gain = zeros(exec, tape, "gain", Desc::f32(&[k]))?;
    for _ in 0..2 {
        match class {
            "linear_dx" => tape.push(LinearDx, &[x, w])?,
            "rows" => tape.push(RmsNorm::new(1e-5), &[x, gain])?,
            _ => tape.push(Linear::plain(), &[x, w])?,
        };
    }
    Ok(())
}

/// Numbers that a kernel is given as u32.
fn words(exec: &Exec, tape: &mut Tape, name: &str, shape: &[usize], values: &[u32]) -> Result<Val> {
    let tensor = Tensor::zeros(exec, name, Desc { shape: shape.to_vec(), dtype: DType::U32 })?;
    tensor.write_elements(exec, 0, bytemuck::cast_slice(values))?;
    Ok(tape.tensor(&tensor))
}

/// 256 tokens that see those before them, and with `backward` the gradients of q, k and v.
fn attention(exec: &Exec, tape: &mut Tape, backward: bool) -> Result<()> {
    let ((heads, kv_heads, dim), t) = (HEADS, 256);
    let spans: Vec<u32> = (1..=t as u32).flat_map(|end| [0, end]).collect();
    let spans = words(exec, tape, "spans", &[t, 2], &spans)?;
    let mut qkv = Vec::new();
    for heads in [heads, kv_heads, kv_heads] {
        let desc = Desc::f32(&[t, heads * dim]);
        let x = Tensor::zeros(exec, "x", desc.clone())?;
        if backward {
            x.set_grad(Some(Tensor::zeros(exec, "dx", desc)?));
        }
        qkv.push(tape.tensor(&x));
    }
    let op = Attention { heads, kv_heads, dim, scale: 0.125, cap: None, batch: 1 };
    let o = tape.push(op, &[qkv[0], qkv[1], qkv[2], spans])?[0];
    if backward {
        let seed = zeros(exec, tape, "do", Desc::f32(&[t, heads * dim]))?;
        tape.backward(&[(o, seed)], false)?;
    }
    Ok(())
}

/// A token behind 255 others, three layers' worth.
fn token(exec: &Exec, tape: &mut Tape) -> Result<()> {
    let ((heads, kv_heads, dim), slots) = (HEADS, 256);
    let qkv = zeros(exec, tape, "qkv", Desc::f32(&[1, (heads + 2 * kv_heads) * dim]))?;
    let inv_freq = zeros(exec, tape, "inv_freq", Desc::f32(&[dim / 2]))?;
    let cache = zeros(exec, tape, "cache", Desc::f32(&[2, slots, kv_heads * dim]))?;
    let last = slots as u32 - 1;
    let at = words(exec, tape, "at", &[1], &[last])?;
    let spans = words(exec, tape, "spans", &[1, 4], &[last, last, 0, slots as u32])?;
    let rope = RopeSplit { heads, kv_heads, dim, rotary: dim, interleaved: false, mscale: 1.0, by_head: false };
    for _ in 0..3 {
        let o = tape.temp(Desc::f32(&[1, heads * dim]));
        tape.push_into(AttentionAppend { rope, scale: 0.125, cap: None }, &[qkv, at, inv_freq, at, spans], &[(o, false), (cache, true)])?;
    }
    Ok(())
}
