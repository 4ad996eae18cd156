// y = a + b. Overwrites y; the backward pass hands dy on without a kernel.
// Grid: one thread per element (VEC: per four), 64 per workgroup, folded into (x, y).
// Variants: {|VEC}
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
  y[i] = a[i] + b[i];
}
