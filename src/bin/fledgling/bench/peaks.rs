//! What the device can do at most, measured: everything else is a share of it.

use super::machine::card;
use super::report::Report;
use fledgling::Result;
use fledgling::device::measure;
use fledgling::graph::Exec;

/// Both peaks.
pub async fn run(t: &mut Report, exec: &Exec) -> Result<()> {
    let bytes = measure::copy(exec).await?;
    t.line("copy_gbps", &format!("copy of {} MiB, read and written", measure::copy_size(exec) >> 20), bytes / 1e9, "GB/s", 1);
    let flops = measure::fma(exec).await?;
    t.line("fma_gflops", "fused multiply-adds in registers", flops / 1e9, "GFLOP/s", 1);
    if let Some(card) = card(&exec.info().name) {
        let name = format!("copy: of the {}'s data sheet, {:.2} TB/s", card.name, card.bytes / 1e12);
        t.line("copy_sheet_fraction", &name, bytes / card.bytes, "", 3);
        let name = format!("f32: of the {}'s data sheet, {:.1} TFLOP/s", card.name, card.flops / 1e12);
        t.line("fma_sheet_fraction", &name, flops / card.flops, "", 3);
    }
    Ok(())
}
