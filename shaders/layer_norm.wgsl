// y = (x − mean) / sqrt(var + eps) · w (BIAS: + b), per row, var biased; row r takes weights r mod heads. Saves mean and r = 1 / sqrt(var +
// eps) for the backward pass.
// Two passes over the row: the variance of large values with a small spread would cancel in one.
// Grid: one workgroup per row (SERIAL: one thread per row). Overwrites y and stats.
// Variants: {|SERIAL} {|BIAS}
struct Params { rows: u32, cols: u32, eps: f32, heads: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<f32>;            // (rows, cols)
@group(0) @binding(auto) var<storage, read> w: array<f32>;            // (heads, cols)
#if BIAS
@group(0) @binding(auto) var<storage, read> b: array<f32>;            // (heads, cols)
#endif
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;      // (rows, cols)
@group(0) @binding(auto) var<storage, read_write> stats: array<f32>;  // (rows, 2): mean, r
#include "common/reduce.wgsl"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let row = row_index(wid, nwg, lid);
  if (row >= p.rows) { return; }
  let at = row * p.cols;
  var acc = 0.0;
  for (var i = row_first(lid); i < p.cols; i += ROW_STEP) { acc += x[at + i]; }
  let mean = row_sum(acc, lid) / f32(p.cols);
  acc = 0.0;
  for (var i = row_first(lid); i < p.cols; i += ROW_STEP) { let d = x[at + i] - mean; acc += d * d; }
  let scale = inverseSqrt(row_sum(acc, lid) / f32(p.cols) + p.eps);
  let own = row % p.heads * p.cols;
  for (var i = row_first(lid); i < p.cols; i += ROW_STEP) {
    var v = (x[at + i] - mean) * scale * w[own + i];
#if BIAS
    v += b[own + i];
#endif
    y[at + i] = v;
  }
  if (row_leader(lid)) { stats[2u * row] = mean; stats[2u * row + 1u] = scale; }
}
