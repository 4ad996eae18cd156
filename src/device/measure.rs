//! What a device reaches, in a second or two: a copy, fused multiply-adds, a matmul. Everything else is judged by it, on the command
//! line and in the page.

use super::peak::{PeakCopy, PeakFma};
use crate::graph::{Desc, Exec, Program, ProgramOptions, StepParams, Tape, Tensor};
use crate::ops::linear::Linear;
use crate::{Result, clock};

/// Shorter runs measure the submit.
const LONG_ENOUGH: f64 = 0.02;
/// Rounds of multiply-adds that are enough anywhere.
const MOST_ROUNDS: usize = 8192;

/// Seconds of a program, the best of a few: the first run compiles what is left to compile.
async fn clocked(exec: &Exec, program: &Program) -> Result<f64> {
    let mut best = f64::INFINITY;
    program.compile().await?;
    for _ in 0..4 {
        exec.done().await?;
        let begin = clock::seconds();
        program.submit(&StepParams::default());
        exec.done().await?;
        program.check()?;
        best = best.min(clock::seconds() - begin);
    }
    // The clock of a browser is coarse.
    Ok(best.max(1e-6))
}

/// Values in −0.5…0.5 that no memory controller finds anything to compress in, written a few MiB at a time.
fn noise(exec: &Exec, name: &str, shape: &[usize]) -> Result<Tensor> {
    let tensor = Tensor::zeros(exec, name, Desc::f32(shape))?;
    let (len, mut state) = (tensor.desc().len(), 1u32);
    let piece: Vec<f32> = (0..len.min(1 << 20))
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1u32 << 24) as f32 - 0.5
        })
        .collect();
    for first in (0..len).step_by(piece.len().max(1)) {
        tensor.write_elements(exec, first, bytemuck::cast_slice(&piece[..piece.len().min(len - first)]))?;
        exec.flush();
    }
    Ok(tensor)
}

/// Bytes of the buffer that [`copy`] copies: far more than any cache holds.
pub fn copy_size(exec: &Exec) -> u64 {
    let wanted = if exec.is_processor() { 64 << 20 } else { 256 << 20 };
    exec.max_binding().min(wanted)
}

/// Bytes per second of a large copy, those read and those written.
///
/// # Errors
/// Whatever the device reports.
pub async fn copy(exec: &Exec) -> Result<f64> {
    let (bytes, repeats) = (copy_size(exec), if exec.is_processor() { 2 } else { 16 });
    let len = bytes as usize / 4;
    let (x, y) = (noise(exec, "from", &[len])?, noise(exec, "to", &[len])?);
    let mut best = 0.0f64;
    for per in PeakCopy::PER {
        let mut tape = Tape::new();
        let (x, y) = (tape.tensor(&x), tape.tensor(&y));
        for _ in 0..repeats / 2 {
            tape.push_into(PeakCopy { per }, &[x], &[(y, false)])?;
            tape.push_into(PeakCopy { per }, &[y], &[(x, false)])?;
        }
        let program = Program::build(exec, &tape, ProgramOptions::default())?;
        best = best.max((2 * bytes * repeats) as f64 / clocked(exec, &program).await?);
    }
    Ok(best)
}

/// Floating-point operations per second of fused multiply-adds in registers, each being two.
///
/// # Errors
/// Whatever the device reports.
pub async fn fma(exec: &Exec) -> Result<f64> {
    let len = if exec.is_processor() { 1 << 14 } else { 1 << 22 };
    let (x, y) = (noise(exec, "x", &[len])?, noise(exec, "y", &[len])?);
    let mut best = 0.0f64;
    for chains in PeakFma::CHAINS {
        let mut rounds = 32;
        loop {
            let op = PeakFma { chains, rounds };
            let mut tape = Tape::new();
            let (x, y) = (tape.tensor(&x), tape.tensor(&y));
            tape.push_into(op, &[x], &[(y, false)])?;
            let seconds = clocked(exec, &Program::build(exec, &tape, ProgramOptions::default())?).await?;
            if seconds >= LONG_ENOUGH || rounds >= MOST_ROUNDS {
                best = best.max(op.flops(len) / seconds);
                break;
            }
            rounds *= 4;
        }
    }
    Ok(best)
}

/// Floating-point operations per second of a square f32 matmul as the layers run it.
///
/// # Errors
/// Whatever the device reports.
pub async fn matmul(exec: &Exec, n: usize) -> Result<f64> {
    let repeats = if exec.is_processor() { 4 } else { 20 };
    let (x, w) = (noise(exec, "x", &[n, n])?, noise(exec, "w", &[n, n])?);
    let mut tape = Tape::new();
    let (x, w) = (tape.tensor(&x), tape.tensor(&w));
    for i in 0..repeats {
        let y = tape.push1(Linear::plain(), &[x, w])?;
        if i + 1 == repeats {
            tape.output("y", y);
        }
    }
    let program = Program::build(exec, &tape, ProgramOptions { per_submit: 1, ..ProgramOptions::default() })?;
    Ok(2.0 * (n as f64).powi(3) * repeats as f64 / clocked(exec, &program).await?)
}
