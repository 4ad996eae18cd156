// y = x as halves, two in a word, the even element in its lower part: see common/half.wgsl for the rounding. Overwrites.
// Grid: one thread per word (VEC: per two), 64 per workgroup, folded into (x, y).
// Variants: {|VEC}
struct Params { n: u32 }
#include "common/halves.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<E>;        // (n), of two or four
@group(0) @binding(auto) var<storage, read_write> y: array<H>;  // (n), of two or four
#include "common/grid.wgsl"
#include "common/half.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
  let v = x[i];
#if VEC
  y[i] = vec2<u32>(word(v.x, v.y), word(v.z, v.w));
#else
  y[i] = word(v.x, v.y);
#endif
}
