// y = cap·tanh(x / cap); GRAD: dx = dy·(1 − (y / cap)²), from y. Overwrites, or adds with ACC.
// Grid: one thread per element (VEC: per four), 64 per workgroup, folded into (x, y).
// Variants: {|VEC} {|GRAD|GRAD,ACC}
struct Params { n: u32, cap: f32 }
#include "common/elem.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> x: array<E>;          // (n); with GRAD y
#if GRAD
@group(0) @binding(auto) var<storage, read> dy: array<E>;         // (n)
#endif
@group(0) @binding(auto) var<storage, read_write> out: array<E>;  // (n)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
  let t = x[i] / p.cap;
#if GRAD
  let d = dy[i] * (1.0 - t * t);
#if ACC
  out[i] += d;
#else
  out[i] = d;
#endif
#else
  // tanh of ±15 is ±1 in f32, and exp inside tanh overflows on some drivers.
  out[i] = p.cap * tanh(clamp(t, E(-15.0), E(15.0)));
#endif
}
