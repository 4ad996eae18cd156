// y = factor·x; overwrites y, or adds to it with ACC. Its own backward: dx = factor·dy.
// Grid: one thread per element (VEC: per four), 64 per workgroup, folded into (x, y).
// Variants: {|VEC} {|ACC}
struct Params { n: u32, factor: f32 }
#include "common/elem.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<E>;        // (n)
@group(0) @binding(auto) var<storage, read_write> y: array<E>;  // (n)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
#if ACC
  y[i] += p.factor * x[i];
#else
  y[i] = p.factor * x[i];
#endif
}
