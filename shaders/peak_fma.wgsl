// The arithmetic peak, for the benchmark: registers only, nothing to wait for but the units themselves.
//   a_k = (k + 1)·x for N chains k; rounds times sixteen: a_k = fma(a_k, m, x); y = Σ a_k. Overwrites y.
// Each thread turns 4N numbers that do not depend on each other. Which N keeps an adapter's units busiest is for the caller to try.
// Grid: one thread per four elements, 64 per workgroup, folded into (x, y).
// Variants: {N=2|N=4|N=8}
struct Params { n: u32, rounds: u32, m: f32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;        // (n, 4)
@group(0) @binding(auto) var<storage, read_write> y: array<vec4<f32>>;  // (n, 4)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
  let b = x[i];
  let m = vec4<f32>(p.m);
#repeat K N
  var a$K = b * f32($K + 1);
#endrepeat
  for (var r = 0u; r < p.rounds; r++) {
#repeat U 16
#repeat K N
    a$K = fma(a$K, m, b);
#endrepeat
#endrepeat
  }
  var sum = vec4<f32>(0.0);
#repeat K N
  sum += a$K;
#endrepeat
  y[i] = sum;
}
