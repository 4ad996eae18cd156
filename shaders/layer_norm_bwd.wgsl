// dx = r·(g − Σg/cols − x̂·Σ(g·x̂)/cols) with g = dy·w and x̂ = (x − mean)·r, per row; overwrites dx, or adds to it with ACC.
// Grid: one workgroup per row (SERIAL: one thread per row).
// Variants: {|SERIAL} {|ACC}
struct Params { rows: u32, cols: u32, heads: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<f32>;         // (rows, cols)
@group(0) @binding(auto) var<storage, read> w: array<f32>;         // (heads, cols): row r takes r mod heads
@group(0) @binding(auto) var<storage, read> stats: array<f32>;     // (rows, 2): mean, r
@group(0) @binding(auto) var<storage, read> dy: array<f32>;        // (rows, cols)
@group(0) @binding(auto) var<storage, read_write> dx: array<f32>;  // (rows, cols)
#include "common/reduce.wgsl"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let row = row_index(wid, nwg, lid);
  if (row >= p.rows) { return; }
  let at = row * p.cols;
  let own = row % p.heads * p.cols;
  let mean = stats[2u * row];
  let r = stats[2u * row + 1u];
  var sum = 0.0;
  var dot = 0.0;
  for (var i = row_first(lid); i < p.cols; i += ROW_STEP) {
    let g = dy[at + i] * w[own + i];
    sum += g;
    dot += g * (x[at + i] - mean);
  }
  let a = row_sum(sum, lid) / f32(p.cols);
  let k = row_sum(dot, lid) * r * r / f32(p.cols);
  for (var i = row_first(lid); i < p.cols; i += ROW_STEP) {
    let v = r * (dy[at + i] * w[own + i] - a - (x[at + i] - mean) * k);
#if ACC
    dx[at + i] += v;
#else
    dx[at + i] = v;
#endif
  }
}
