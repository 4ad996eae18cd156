// y = act(x). Overwrites y; x itself is what the backward pass needs.
// Grid: one thread per element (VEC: per four), 64 per workgroup, folded into (x, y).
// Variants: {ACT=GELU|ACT=GELU_TANH|ACT=RELU|ACT=SILU} {|VEC}
struct Params { n: u32 }
#include "common/elem.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<E>;        // (n)
@group(0) @binding(auto) var<storage, read_write> y: array<E>;  // (n)
#include "common/grid.wgsl"
#include "common/act.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
  let v = x[i];
#if VEC
  y[i] = vec4<f32>(act(v.x), act(v.y), act(v.z), act(v.w));
#else
  y[i] = act(v);
#endif
}
