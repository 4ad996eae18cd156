//! What the device can do at most, measured: everything else is a share of it.

use super::clocked;
use super::machine::card;
use super::report::Report;
use fledgling::Result;
use fledgling::graph::{Desc, Exec, Program, ProgramOptions, Tape, Tensor};
use fledgling::ops::peak::{PeakCopy, PeakFma};

/// Shorter runs measure the submit.
const LONG_ENOUGH: f64 = 0.02;

/// Both peaks.
pub async fn run(t: &mut Report, exec: &Exec) -> Result<()> {
    let (bytes, size) = copy(exec).await?;
    t.line("copy_gbps", &format!("copy of {} MiB, read and written", size >> 20), bytes / 1e9, "GB/s", 1);
    let flops = fma(exec).await?;
    t.line("fma_gflops", "fused multiply-adds in registers", flops / 1e9, "GFLOP/s", 1);
    if let Some(card) = card(&exec.info().name) {
        t.line(
            "copy_sheet_fraction",
            &format!("copy: of the {}'s data sheet, {:.2} TB/s", card.name, card.bytes / 1e12),
            bytes / card.bytes,
            "",
            3,
        );
        t.line(
            "fma_sheet_fraction",
            &format!("f32: of the {}'s data sheet, {:.1} TFLOP/s", card.name, card.flops / 1e12),
            flops / card.flops,
            "",
            3,
        );
    }
    Ok(())
}

/// Values in 0…1 that no compression of a memory controller makes smaller, written a few MiB at a time.
fn noise(exec: &Exec, name: &str, len: usize) -> Result<Tensor> {
    let tensor = Tensor::zeros(exec, name, Desc::f32(&[len]))?;
    let mut state = 1u32;
    let piece: Vec<f32> = (0..len.min(1 << 20))
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1u32 << 24) as f32
        })
        .collect();
    for first in (0..len).step_by(piece.len()) {
        let part = &piece[..piece.len().min(len - first)];
        tensor.write_elements(exec, first, bytemuck::cast_slice(part))?;
        exec.flush();
    }
    Ok(tensor)
}

/// Bytes per second, read and written, and the bytes of the buffer: far more than any cache holds.
async fn copy(exec: &Exec) -> Result<(f64, u64)> {
    let (bytes, repeats) = if exec.is_processor() { (64 << 20, 2) } else { (256 << 20, 16) };
    let bytes = exec.max_binding().min(bytes);
    let len = bytes as usize / 4;
    let (x, y) = (noise(exec, "from", len)?, noise(exec, "to", len)?);
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
    Ok((best, bytes))
}

/// Floating-point operations per second, a fused multiply-add being two.
async fn fma(exec: &Exec) -> Result<f64> {
    let len = if exec.is_processor() { 1 << 14 } else { 1 << 22 };
    let (x, y) = (noise(exec, "x", len)?, noise(exec, "y", len)?);
    let mut best = 0.0f64;
    for chains in PeakFma::CHAINS {
        let mut rounds = 64;
        loop {
            let op = PeakFma { chains, rounds };
            let mut tape = Tape::new();
            let (x, y) = (tape.tensor(&x), tape.tensor(&y));
            tape.push_into(op, &[x], &[(y, false)])?;
            let seconds = clocked(exec, &Program::build(exec, &tape, ProgramOptions::default())?).await?;
            if seconds >= LONG_ENOUGH || rounds >= 16_384 {
                best = best.max(op.flops(len) / seconds);
                break;
            }
            rounds *= 4;
        }
    }
    Ok(best)
}
