// The loss of ORPO (Hong et al. 2024) per pair, from summed log-probabilities of both answers and of the chosen sequence's prompt:
//   c, r = means over an answer's tokens,  z = (c − r) − (ln(1 − eᶜ) − ln(1 − eʳ))
//   loss = −nll_scale · (prompt + chosen) − scale·beta·ln σ(z), and its gradient
// metrics (pairs, 8) = −(prompt + chosen), c, r, z, ln σ(z), 0, 0, 0. Overwrites metrics and dsums.
// Grid: one thread per pair, 64 per workgroup, folded into (x, y).
// Variants: {}
struct Params { pairs: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> sums: array<f32>;           // (3, pairs) chosen answers, rejected answers, prompts of the chosen
@group(0) @binding(auto) var<storage, read> counts: array<f32>;         // (2, pairs) tokens of the chosen answers, of the rejected ones
@group(0) @binding(auto) var<storage, read> numbers: array<f32>;        // (3) beta, scale, nll_scale
@group(0) @binding(auto) var<storage, read_write> metrics: array<f32>;  // (pairs, 8)
@group(0) @binding(auto) var<storage, read_write> dsums: array<f32>;    // (3, pairs)
#include "common/grid.wgsl"
#include "common/sigmoid.wgsl"

// 1 − eˣ for x ≤ 0: near 0 by its series, since there is no expm1.
fn one_minus_exp(x: f32) -> f32 {
  return select(1.0 - exp(x), -x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0 * (1.0 + x / 5.0)))), x > -0.1);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let pair = linear_id(gid, nwg, 64u);
  if (pair >= p.pairs) { return; }
  let chosen = sums[pair] / counts[pair];
  let rejected = sums[p.pairs + pair] / counts[p.pairs + pair];
  let left_c = one_minus_exp(chosen);
  let left_r = one_minus_exp(rejected);
  let z = (chosen - rejected) - (log(left_c) - log(left_r));
  let at = 8u * pair;
  metrics[at] = -(sums[2u * p.pairs + pair] + sums[pair]);
  metrics[at + 1u] = chosen;
  metrics[at + 2u] = rejected;
  metrics[at + 3u] = z;
  metrics[at + 4u] = -nlsig(z);
  metrics[at + 5u] = 0.0;
  metrics[at + 6u] = 0.0;
  metrics[at + 7u] = 0.0;
  let d = -numbers[0] * numbers[1] * sigmoid(-z);
  dsums[2u * p.pairs + pair] = -numbers[2];
  dsums[pair] = d / left_c / counts[pair] - numbers[2];
  dsums[p.pairs + pair] = -d / left_r / counts[p.pairs + pair];
}
