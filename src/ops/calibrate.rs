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
        let mut best: Option<(f64, &str)> = None;
        for variant in variants {
            gpu.tuning().borrow_mut().choose(class, variant);
            let took = seconds_of(&exec, class).await;
            log::debug!("{class} {variant}: {took:?}");
            if let Ok(t) = took
                && best.is_none_or(|b| t < b.0)
            {
                best = Some((t, variant));
            }
        }
        match best {
            Some((_, variant)) => gpu.tuning().borrow_mut().choose(class, variant),
            None => seconds_of(&exec, class).await.map(|_| ())?, // reports why the last one failed
        }
    }
    Ok(())
}

/// Seconds of a typical piece of work of `class` with the variant chosen at the moment: the best of two to eight runs, of which more than two only
/// within a tenth of a second, behind a first one that compiles. The machine may have other work.
///
/// # Errors
/// Whatever the device reports.
pub async fn seconds_of(exec: &Exec, class: &str) -> Result<f64> {
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
    let (mut best, mut all) = (f64::INFINITY, 0.0);
    for run in 0..9 {
        let start = seconds();
        program.submit(&StepParams::default());
        exec.done().await?;
        let took = seconds() - start;
        if run > 0 {
            best = best.min(took);
            all += took;
        }
        if run >= 2 && all > 0.1 {
            break;
        }
    }
    Ok(best)
}
