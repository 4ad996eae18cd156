// DoRA: the gradient of m, the sum of dy·x over the rows of a column, divided by norm; 0 where norm is 0. Overwrites, or adds with ACC.
// Grid: one thread per column, 64 per workgroup, folded into (x, y); neighbours read neighbours.
// Variants: {|ACC}
struct Params { m: u32, n: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> dy: array<f32>;        // (M, N)
@group(0) @binding(auto) var<storage, read> x: array<f32>;         // (M, N)
@group(0) @binding(auto) var<storage, read> norm: array<f32>;      // (N)
@group(0) @binding(auto) var<storage, read_write> dm: array<f32>;  // (N)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let j = linear_id(gid, nwg, 64u);
  if (j >= p.n) { return; }
  var sum = 0.0;
  for (var i = 0u; i < p.m; i++) { sum += dy[i * p.n + j] * x[i * p.n + j]; }
  let d = select(0.0, sum / max(norm[j], 1e-30), norm[j] > 0.0);
#if ACC
  dm[j] += d;
#else
  dm[j] = d;
#endif
}
