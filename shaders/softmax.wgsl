// y = exp(x − max x) / Σ exp(x − max x) over the last axis. LENGTHS: only the first lengths[row] elements are there, the others give 0; a
// row of length 0 is all zeros. Saves nothing: the backward pass needs y. Overwrites y.
// Grid: one workgroup per row (SERIAL: one thread per row). Eight elements per round: llvmpipe ends all loops of a thread after 65,535
// rounds in total.
// Variants: {|SERIAL} {|LENGTHS}
struct Params { rows: u32, cols: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<f32>;        // (rows, cols)
#if LENGTHS
@group(0) @binding(auto) var<storage, read> lengths: array<u32>;  // (rows)
#endif
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;  // (rows, cols)
#include "common/reduce.wgsl"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let row = row_index(wid, nwg, lid);
  if (row >= p.rows) { return; }
  let at = row * p.cols;
#if LENGTHS
  let n = min(lengths[row], p.cols);
#else
  let n = p.cols;
#endif
  var top = -3.4e38;
  for (var i = row_first(lid) * 8u; i < n; i += ROW_STEP * 8u) {
#repeat U 8
    top = max(top, x[at + min(i + $Uu, n - 1u)]);
#endrepeat
  }
  top = row_max(top, lid);
  var acc = 0.0;
  for (var i = row_first(lid) * 8u; i < n; i += ROW_STEP * 8u) {
#repeat U 8
    acc += select(0.0, exp(x[at + min(i + $Uu, n - 1u)] - top), i + $Uu < n);
#endrepeat
  }
  let inv = 1.0 / row_sum(acc, lid);
  for (var i = row_first(lid) * 8u; i < p.cols; i += ROW_STEP * 8u) {
#repeat U 8
    if (i + $Uu < n) { y[at + i + $Uu] = exp(x[at + i + $Uu] - top) * inv; } else if (i + $Uu < p.cols) { y[at + i + $Uu] = 0.0; }
#endrepeat
  }
}
