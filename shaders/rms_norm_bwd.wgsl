// dx = r·(dy·g) − x·r³/cols · Σ(dy·g·x) with g = offset + w, per row; overwrites dx, or adds to it with ACC.
// Grid: one workgroup per row (SERIAL: one thread per row).
// Variants: {|SERIAL} {|ACC}
struct Params { rows: u32, cols: u32, offset: f32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<f32>;         // (rows, cols)
@group(0) @binding(auto) var<storage, read> w: array<f32>;         // (cols)
@group(0) @binding(auto) var<storage, read> r: array<f32>;         // (rows)
@group(0) @binding(auto) var<storage, read> dy: array<f32>;        // (rows, cols)
@group(0) @binding(auto) var<storage, read_write> dx: array<f32>;  // (rows, cols)
#include "common/reduce.wgsl"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let row = row_index(wid, nwg, lid);
  if (row >= p.rows) { return; }
  let at = row * p.cols;
  var acc = 0.0;
  for (var i = row_first(lid); i < p.cols; i += ROW_STEP) { acc += dy[at + i] * (w[i] + p.offset) * x[at + i]; }
  let dot = row_sum(acc, lid);
  let s = r[row];
  let k = s * s * s * dot / f32(p.cols);
  for (var i = row_first(lid); i < p.cols; i += ROW_STEP) {
    let v = s * dy[at + i] * (w[i] + p.offset) - x[at + i] * k;
#if ACC
    dx[at + i] += v;
#else
    dx[at + i] = v;
#endif
  }
}
