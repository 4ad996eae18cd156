// y = x, which are halves, two in a word. Exact. Overwrites.
// Grid: one thread per word (VEC: per two), 64 per workgroup, folded into (x, y).
// Variants: {|VEC}
struct Params { n: u32 }
#include "common/halves.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<H>;        // (n), of two or four
@group(0) @binding(auto) var<storage, read_write> y: array<E>;  // (n), of two or four
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
#if VEC
  y[i] = vec4<f32>(unpack2x16float(x[i].x), unpack2x16float(x[i].y));
#else
  y[i] = unpack2x16float(x[i]);
#endif
}
