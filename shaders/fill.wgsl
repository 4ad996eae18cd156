// y = value: for gradients that are gathered into by rows and do not start from what is there.
// Grid: one thread per element, 64 per workgroup, folded into (x, y).
// Variants: {}
struct Params { n: u32, value: f32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read_write> y: array<f32>;  // (n)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i < p.n) { y[i] = p.value; }
}
