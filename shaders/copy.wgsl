// y = x, or y += x with ACC.
// Grid: one thread per element, 64 per workgroup, folded into (x, y).
// Variants: {|ACC}
struct Params { n: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<f32>;        // (n)
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;  // (n)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
#if ACC
  y[i] += x[i];
#else
  y[i] = x[i];
#endif
}
