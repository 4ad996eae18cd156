// The losses of KTO (Ethayarajh et al. 2024) per row, from the answers' summed log-probabilities:
//   u = answer − ref(answer),  KL = max(0, mean over the rows of (mismatched − ref(mismatched))), without a gradient; 0 with UNPAIRED
//   loss = 1 − σ(beta·(u − KL)) of a desirable row,  1 − σ(beta·(KL − u)) of an undesirable one
// and the gradient of scale · Σ weight·loss. UNPAIRED is apo_zero_unpaired of D'Oosterlinck et al. (2024).
// metrics (rows, 8) = loss (not multiplied by the weight), reward beta·u, log-probability of the answer, KL, weight, 0, 0, 0.
// Overwrites metrics and dsums.
// Grid: one thread per row, 64 per workgroup, folded into (x, y).
// Variants: {|UNPAIRED}
struct Params { rows: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> sums: array<f32>;           // (rows)
@group(0) @binding(auto) var<storage, read> ref_sums: array<f32>;       // (rows)
@group(0) @binding(auto) var<storage, read> weights: array<f32>;        // (rows) above 0: desirable; below: undesirable, of the weight −w
@group(0) @binding(auto) var<storage, read> numbers: array<f32>;        // (2) beta, scale
#if !UNPAIRED
@group(0) @binding(auto) var<storage, read> mismatched: array<f32>;     // (rows) under the policy
@group(0) @binding(auto) var<storage, read> ref_mismatched: array<f32>; // (rows)
#endif
@group(0) @binding(auto) var<storage, read_write> metrics: array<f32>;  // (rows, 8)
@group(0) @binding(auto) var<storage, read_write> dsums: array<f32>;    // (rows)
#include "common/grid.wgsl"
#include "common/sigmoid.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let row = linear_id(gid, nwg, 64u);
  if (row >= p.rows) { return; }
  var kl = 0.0;
#if !UNPAIRED
  for (var i = 0u; i < p.rows; i++) { kl += mismatched[i] - ref_mismatched[i]; }
  kl = max(kl / f32(p.rows), 0.0);
#endif
  let beta = numbers[0];
  let u = sums[row] - ref_sums[row];
  let kind = select(-1.0, 1.0, weights[row] > 0.0);
  let x = kind * beta * (u - kl);
  let at = 8u * row;
  // 1 − σ(x) = σ(−x).
  metrics[at] = sigmoid(-x);
  metrics[at + 1u] = beta * u;
  metrics[at + 2u] = sums[row];
  metrics[at + 3u] = kl;
  metrics[at + 4u] = abs(weights[row]);
  metrics[at + 5u] = 0.0;
  metrics[at + 6u] = 0.0;
  metrics[at + 7u] = 0.0;
  dsums[row] = -weights[row] * numbers[1] * beta * sigmoid(x) * sigmoid(-x);
}
