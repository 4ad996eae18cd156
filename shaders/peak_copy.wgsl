// The memory's peak, for the benchmark: y = x, sixteen bytes at a time. Overwrites y.
// Grid: one thread per PER times four elements, 64 per workgroup, folded into (x, y); the threads of a group read side by side.
// Variants: {PER=1|PER=4}
struct Params { n: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<vec4<f32>>;        // (n, 4)
@group(0) @binding(auto) var<storage, read_write> y: array<vec4<f32>>;  // (n, 4)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let t = linear_id(gid, nwg, 64u);
  let first = t / 64u * (64u * PER) + t % 64u;
#repeat I PER
  if (first + $I * 64u < p.n) { y[first + $I * 64u] = x[first + $I * 64u]; }
#endrepeat
}
