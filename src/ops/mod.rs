//! One file per op family: shape rule, kernels, backward and f64 host reference.

pub mod norm;

use crate::gpu::Gpu;

/// True when row kernels run one thread per row without barriers (software adapters), not one workgroup per row.
pub(crate) fn serial_rows(gpu: &Gpu) -> bool {
    gpu.tuning().borrow().pick("rows", "serial", "group") == "serial"
}

/// Threads of a row kernel's workgroup and its grid for `rows` rows.
pub(crate) fn row_grid(gpu: &Gpu, rows: usize) -> [u32; 3] {
    if serial_rows(gpu) { gpu.grid(rows, 64) } else { gpu.grid(rows, 1) }
}
