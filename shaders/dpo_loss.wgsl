// The sigmoid loss of DPO (Rafailov et al. 2023) per pair, with label smoothing s, from the answers' summed log-probabilities:
//   δ = beta·((chosen − ref(chosen)) − (rejected − ref(rejected)))
//   loss = −(1 − s)·ln σ(δ) − s·ln σ(−δ)
// and the gradient of scale · Σ weight·loss: ± weight·scale·beta·((s − 1)·σ(−δ) + s·σ(δ)), + for the chosen answer, − for the rejected one.
// metrics (pairs, 8) = loss, rewards/chosen, rewards/rejected, logps/chosen, logps/rejected, margin δ, accuracy (δ > 0), weight; none of
// them is multiplied by the weight. Overwrites metrics and dsums.
// Grid: one thread per pair, 64 per workgroup, folded into (x, y).
// Variants: {}
struct Params { pairs: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> sums: array<f32>;           // (2, pairs) chosen, then rejected
@group(0) @binding(auto) var<storage, read> ref_sums: array<f32>;       // (2, pairs) under the reference policy
@group(0) @binding(auto) var<storage, read> weights: array<f32>;        // (pairs)
@group(0) @binding(auto) var<storage, read> numbers: array<f32>;        // (3) beta, label smoothing, scale
@group(0) @binding(auto) var<storage, read_write> metrics: array<f32>;  // (pairs, 8)
@group(0) @binding(auto) var<storage, read_write> dsums: array<f32>;    // (2, pairs)
#include "common/grid.wgsl"
#include "common/sigmoid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let pair = linear_id(gid, nwg, 64u);
  if (pair >= p.pairs) { return; }
  let beta = numbers[0];
  let s = numbers[1];
  let chosen = sums[pair];
  let rejected = sums[p.pairs + pair];
  let rc = beta * (chosen - ref_sums[pair]);
  let rr = beta * (rejected - ref_sums[p.pairs + pair]);
  let delta = rc - rr;
  let at = 8u * pair;
  metrics[at] = (1.0 - s) * nlsig(delta) + s * nlsig(-delta);
  metrics[at + 1u] = rc;
  metrics[at + 2u] = rr;
  metrics[at + 3u] = chosen;
  metrics[at + 4u] = rejected;
  metrics[at + 5u] = delta;
  metrics[at + 6u] = select(0.0, 1.0, delta > 0.0);
  metrics[at + 7u] = weights[pair];
  let d = weights[pair] * numbers[2] * beta * ((s - 1.0) * sigmoid(-delta) + s * sigmoid(delta));
  dsums[pair] = d;
  dsums[p.pairs + pair] = -d;
}
