//! A square f32 matmul as the layers run it.

use serde_json::json;

use super::clocked;
use super::machine::card;
use super::report::Report;
use fledgling::Result;
use fledgling::graph::{Exec, Program, ProgramOptions, Tape, Tensor};
use fledgling::ops::linear::Linear;

/// `n`: rows and columns; by default what keeps this device busy for a moment.
pub async fn run(t: &mut Report, exec: &Exec, n: Option<usize>) -> Result<()> {
    let (default, repeats) = if exec.is_processor() { (512, 4) } else { (4096, 20) };
    let n = n.unwrap_or(default);
    let values: Vec<f64> = (0..n * n).map(|i| ((i * 2_654_435_761) % 1000) as f64 / 1000.0 - 0.5).collect();
    let x = Tensor::from_f64(exec, "x", &[n, n], &values)?;
    let w = Tensor::from_f64(exec, "w", &[n, n], &values)?;
    let mut tape = Tape::new();
    let (x, w) = (tape.tensor(&x), tape.tensor(&w));
    for i in 0..repeats {
        let y = tape.push1(Linear::plain(), &[x, w])?;
        if i + 1 == repeats {
            tape.output("y", y);
        }
    }
    let program = Program::build(exec, &tape, ProgramOptions { per_submit: 1 })?;
    let flops = 2.0 * (n as f64).powi(3) * repeats as f64 / clocked(exec, &program).await?;
    t.put("matmul_n", json!(n));
    t.line("matmul_gflops", &format!("matmul, {n}³ f32"), flops / 1e9, "GFLOP/s", 1);
    if let Some(peak) = t.number("fma_gflops") {
        t.line("matmul_fma_fraction", "of the measured multiply-adds", flops / 1e9 / peak, "", 3);
    }
    if let Some(card) = card(&exec.info().name) {
        let name = format!("of the {}'s f32 peak, {:.1} TFLOP/s", card.name, card.flops / 1e12);
        t.line("matmul_peak_fraction", &name, flops / card.flops, "", 3);
    }
    Ok(())
}
