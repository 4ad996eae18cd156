// y = x / sqrt(mean(x²) + eps) · (offset + w), per row. Saves r = 1 / sqrt(mean(x²) + eps) for the backward pass.
// Grid: one workgroup per row (SERIAL: one thread per row). Overwrites y and r.
// Variants: {|SERIAL|WG=256}
struct Params { rows: u32, cols: u32, eps: f32, offset: f32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<f32>;        // (rows, cols)
@group(0) @binding(auto) var<storage, read> w: array<f32>;        // (cols)
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;  // (rows, cols)
@group(0) @binding(auto) var<storage, read_write> r: array<f32>;  // (rows)
#include "common/reduce.wgsl"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let row = row_index(wid, nwg, lid);
  if (row >= p.rows) { return; }
  let at = row * p.cols;
  var acc = 0.0;
  for (var i = row_first(lid); i < p.cols; i += ROW_STEP) { acc += x[at + i] * x[at + i]; }
  let scale = inverseSqrt(row_sum(acc, lid) / f32(p.cols) + p.eps);
  for (var i = row_first(lid); i < p.cols; i += ROW_STEP) { y[at + i] = x[at + i] * scale * (w[i] + p.offset); }
  if (row_leader(lid)) { r[row] = scale; }
}
