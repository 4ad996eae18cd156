// y = keep·x / (1 − p), keep = random bits of (seed, counter, salt, element) ≥ p·2³². The mask is drawn again in the backward
// pass, which is this kernel on dy: nothing is saved. Overwrites y, or adds to it with ACC.
// Grid: one thread per element (VEC: per four), 64 per workgroup, folded into (x, y).
// Variants: {|VEC} {|ACC}
struct Params { n: u32, salt: u32, threshold: u32, factor: f32 } // factor = 1 / (1 − p)
#include "common/elem.wgsl"
#include "common/step.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<uniform> step: Step;
@group(0) @binding(auto) var<storage, read> x: array<E>;        // (n)
@group(0) @binding(auto) var<storage, read_write> y: array<E>;  // (n)
#include "common/grid.wgsl"
#include "common/rng.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
#if VEC
  let keep = random4(step.seed, step.counter, p.salt, i) >= vec4<u32>(p.threshold);
  let v = select(vec4<f32>(0.0), x[i] * p.factor, keep);
#else
  let bits = random4(step.seed, step.counter, p.salt, i >> 2u);
  let v = select(0.0, x[i] * p.factor, bits[i & 3u] >= p.threshold);
#endif
#if ACC
  y[i] += v;
#else
  y[i] = v;
#endif
}
