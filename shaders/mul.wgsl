// y = a·b, element by element; overwrites y, or adds to it with ACC. Its own backward: da = dy·b, db = dy·a.
// Grid: one thread per element (VEC: per four), 64 per workgroup, folded into (x, y).
// Variants: {|VEC} {|ACC}
struct Params { n: u32 }
#include "common/elem.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> a: array<E>;        // (n)
@group(0) @binding(auto) var<storage, read> b: array<E>;        // (n)
@group(0) @binding(auto) var<storage, read_write> y: array<E>;  // (n)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
#if ACC
  y[i] += a[i] * b[i];
#else
  y[i] = a[i] * b[i];
#endif
}
