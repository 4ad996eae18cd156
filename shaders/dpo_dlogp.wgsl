// Gradient of loss_scale · Σ weight·loss(pair) of dpo_loss with respect to every token's logp:
//   ± weight·loss_scale·beta·((s − 1)·σ(−δ) + s·σ(δ)), + for the chosen answer's tokens, − for the rejected one's, 0 for others.
// Overwrites dlogp.
// Grid: one thread per row, 64 per workgroup, folded into (x, y).
// Variants: {}
struct Params { rows: u32, pairs: u32 }
#include "common/step.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<uniform> step: Step;
@group(0) @binding(auto) var<storage, read> seq: array<u32>;          // (rows)
@group(0) @binding(auto) var<storage, read> metrics: array<f32>;      // (pairs, 8) of dpo_loss
@group(0) @binding(auto) var<storage, read_write> dlogp: array<f32>;  // (rows)
#include "common/grid.wgsl"

fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + exp(-clamp(x, -80.0, 80.0))); }

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.rows) { return; }
  let pair = seq[i] >> 1u;
  if (pair >= p.pairs) {
    dlogp[i] = 0.0;
    return;
  }
  let delta = metrics[8u * pair + 5u];
  let s = step.label_smoothing;
  let d = metrics[8u * pair + 7u] * step.loss_scale * step.beta * ((s - 1.0) * sigmoid(-delta) + s * sigmoid(delta));
  dlogp[i] = select(d, -d, (seq[i] & 1u) == 1u);
}
