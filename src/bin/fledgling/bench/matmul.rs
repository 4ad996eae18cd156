//! A square f32 matmul as the layers run it.

use serde_json::json;

use super::machine::card;
use super::report::Report;
use fledgling::Result;
use fledgling::device::measure;
use fledgling::graph::Exec;

/// Rows and columns: by default what keeps this device busy for a moment.
pub fn size(exec: &Exec, asked: Option<usize>) -> usize {
    asked.unwrap_or(if exec.is_processor() { 512 } else { 4096 })
}

/// `n` as in [`size`].
pub async fn run(t: &mut Report, exec: &Exec, n: Option<usize>) -> Result<()> {
    let n = size(exec, n);
    let flops = measure::matmul(exec, n).await?;
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
