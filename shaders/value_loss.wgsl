// The clipped loss of a critic's values, 1/2 max((v - R)^2, (clip(v) - R)^2), for PPO, with its gradient; src/ops/loss/value.rs says what the targets are.
// metrics (n, 2) = loss without its weight, 1 where the clipped one is the larger.
// Overwrites metrics and dvalues.
// Grid: one thread per value, 64 per workgroup, folded into (x, y).
// Variants: {}
struct Params { n: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> values: array<f32>;         // (n)
@group(0) @binding(auto) var<storage, read> targets: array<f32>;        // (n, 3) value before, return, weight
@group(0) @binding(auto) var<storage, read> numbers: array<f32>;        // (1) bound
@group(0) @binding(auto) var<storage, read_write> metrics: array<f32>;  // (n, 2)
@group(0) @binding(auto) var<storage, read_write> dvalues: array<f32>;  // (n)
#include "common/grid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.n) { return; }
  let v = values[i];
  let off = v - targets[3u * i + 1u];
  let cut = clamp(v, targets[3u * i] - numbers[0], targets[3u * i] + numbers[0]) - targets[3u * i + 1u];
  let plain = off * off;
  let clipped = cut * cut;
  metrics[2u * i] = 0.5 * max(plain, clipped);
  metrics[2u * i + 1u] = select(0.0, 1.0, clipped > plain);
  dvalues[i] = select(0.0, targets[3u * i + 2u] * off, plain >= clipped);
}
