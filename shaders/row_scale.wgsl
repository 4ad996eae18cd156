// y[row, c] = s[row]·x[row, c]; overwrites y, or adds with ACC. Grid: one thread per element, 64 per workgroup, folded.
// Variants: {|ACC}
struct Params { rows: u32, cols: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<f32>;        // (rows, cols)
@group(0) @binding(auto) var<storage, read> s: array<f32>;        // (rows)
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;  // (rows, cols)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.rows * p.cols) { return; }
#if ACC
  y[i] += s[i / p.cols] * x[i];
#else
  y[i] = s[i / p.cols] * x[i];
#endif
}
