// DoRA: column j of x times m[j] / norm[j], where norm is not 0; BIAS is added. Overwrites, or adds with ACC. Its own backward pass for x.
// Grid: one thread per element, 64 per workgroup, folded into (x, y).
// Variants: {|BIAS} {|ACC}
struct Params { len: u32, n: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<f32>;        // (M, N)
@group(0) @binding(auto) var<storage, read> m: array<f32>;        // (N)
@group(0) @binding(auto) var<storage, read> norm: array<f32>;     // (N)
#if BIAS
@group(0) @binding(auto) var<storage, read> bias: array<f32>;     // (N)
#endif
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;  // (M, N)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.len) { return; }
  let j = i % p.n;
  var v = x[i];
  if (norm[j] > 0.0) { v *= m[j] / norm[j]; }
#if BIAS
  v += bias[j];
#endif
#if ACC
  y[i] += v;
#else
  y[i] = v;
#endif
}
