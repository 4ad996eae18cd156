// Backward of `gated`. FUSED: both halves of d(gate, up) at once; otherwise one of them:
//   dgate = dy·up·act′(gate) (PART = GATE),   dup = dy·act(gate) (PART = UP).
// Overwrites, or adds with ACC.
// Grid: one thread per element of dy (VEC: per four), 64 per workgroup, folded into (x, y).
// Variants: {ACT=GELU|ACT=GELU_TANH|ACT=RELU|ACT=SILU} {|VEC} {|ACC} {FUSED|PART=GATE|PART=UP}
struct Params { n: u32, f: u32 } // elements of dy and of one of its rows, both in units of E
#include "common/elem.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
#if FUSED
@group(0) @binding(auto) var<storage, read> gu: array<E>;        // (m, 2, f): gate then up
#else
@group(0) @binding(auto) var<storage, read> g: array<E>;         // (m, f)
@group(0) @binding(auto) var<storage, read> u: array<E>;         // (m, f)
#endif
@group(0) @binding(auto) var<storage, read> dy: array<E>;        // (m, f)
@group(0) @binding(auto) var<storage, read_write> dx: array<E>;  // (m, 2, f) or (m, f)
#include "common/grid.wgsl"
#include "common/act.wgsl"

fn value(v: E) -> E {
#if VEC
  return vec4<f32>(act(v.x), act(v.y), act(v.z), act(v.w));
#else
  return act(v);
#endif
}
fn slope(v: E) -> E {
#if VEC
  return vec4<f32>(act_grad(v.x), act_grad(v.y), act_grad(v.z), act_grad(v.w));
#else
  return act_grad(v);
#endif
}
fn put(at: u32, d: E) {
#if ACC
  dx[at] += d;
#else
  dx[at] = d;
#endif
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
#if FUSED
  let at = i + (i / p.f) * p.f;
  let v = gu[at];
  let w = gu[at + p.f];
  put(at, dy[i] * w * slope(v));
  put(at + p.f, dy[i] * value(v));
#elif PART == GATE
  put(i, dy[i] * u[i] * slope(g[i]));
#else
  put(i, dy[i] * value(g[i]));
#endif
}
