// y = act(gate)·up. FUSED: gate and up are the two halves of each row of one tensor, otherwise two tensors. Overwrites y.
// Grid: one thread per element of y (VEC: per four), 64 per workgroup, folded into (x, y).
// Variants: {ACT=GELU|ACT=GELU_TANH|ACT=RELU|ACT=SILU} {|VEC} {|FUSED}
struct Params { n: u32, f: u32 } // elements of y and of one of its rows, both in units of E
#include "common/elem.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
#if FUSED
@group(0) @binding(auto) var<storage, read> gu: array<E>;       // (m, 2, f): gate then up
#else
@group(0) @binding(auto) var<storage, read> g: array<E>;        // (m, f)
@group(0) @binding(auto) var<storage, read> u: array<E>;        // (m, f)
#endif
@group(0) @binding(auto) var<storage, read_write> y: array<E>;  // (m, f)
#include "common/grid.wgsl"
#include "common/act.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
#if FUSED
  let at = i + (i / p.f) * p.f;
  let v = gu[at];
  let w = gu[at + p.f];
#else
  let v = g[i];
  let w = u[i];
#endif
#if VEC
  y[i] = vec4<f32>(act(v.x), act(v.y), act(v.z), act(v.w)) * w;
#else
  y[i] = act(v) * w;
#endif
}
