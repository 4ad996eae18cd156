//! A short measurement on the adapter at hand: which kernel variant is fastest for each class of work. The result is kept in
//! [`crate::gpu::Tuning`], and callers store it under the adapter's name.

use super::linear::Linear;
use super::linear_bwd::LinearDx;
use super::{matmul, norm::RmsNorm};
use crate::Result;
use crate::clock::seconds;
use crate::gpu::Gpu;
use crate::graph::{Desc, Exec, Program, ProgramOptions, StepParams, Tape, Tensor, Val};
use crate::tensor::DType;

/// Classes, in the order they are measured.
const CLASSES: [&str; 5] = ["linear.m1", "linear.m8", "linear.big", "linear_dx", "rows"];

/// Measures every class that is neither forced nor remembered. Takes a few seconds on a software adapter, well under one on a GPU.
///
/// # Errors
/// Whatever the device reports: a variant it cannot compile is left out only if another one runs.
pub async fn calibrate(gpu: &Gpu) -> Result<()> {
    let exec = Exec::Gpu(gpu.clone());
    for class in CLASSES {
        let variants = matmul::variants(gpu, class);
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

/// What is measured for `class`, compiled.
async fn work(exec: &Exec, class: &str) -> Result<Program> {
    let mut tape = Tape::new();
    let m = match class {
        "linear.m1" => 1,
        "linear.m8" => 4,
        _ => 64,
    };
    let mut tensor = |name: &str, desc: Desc| -> Result<Val> { Ok(tape.tensor(&Tensor::zeros(exec, name, desc)?)) };
    if m <= 8 {
        // The shapes of a small model's layer when it decodes: q, k and v, the gated pair, the projection back. One kernel for all, because
        // what a software adapter takes to compile the variants is most of what the user waits for.
        let mut weight = |n: usize, k: usize| tensor("w", Desc { shape: vec![n, k], dtype: DType::Q4_1 });
        let weights = [weight(960, 576)?, weight(3072, 576)?, weight(576, 1536)?];
        let (x, hidden) = (tensor("x", Desc::f32(&[m, 576]))?, tensor("hidden", Desc::f32(&[m, 1536]))?);
        for _ in 0..2 {
            for (x, w) in [x, x, hidden].into_iter().zip(weights) {
                tape.push(Linear::plain(), &[x, w])?;
            }
        }
    } else {
        let (n, k) = (768, 768);
        let w = tensor("w", Desc { shape: vec![n, k], dtype: DType::Q4_1 })?;
        let x = tensor("x", Desc::f32(&[m, k]))?;
        let gain = tensor("gain", Desc::f32(&[k]))?;
        for _ in 0..2 {
            match class {
                "linear_dx" => tape.push(LinearDx, &[x, w])?,
                "rows" => tape.push(RmsNorm { eps: 1e-5 }, &[x, gain])?,
                _ => tape.push(Linear::plain(), &[x, w])?,
            };
        }
    }
    let program = Program::build(exec, &tape, ProgramOptions::default())?;
    program.compile().await?;
    Ok(program)
}
