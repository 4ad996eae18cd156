// The sigmoid loss of DPO (Rafailov et al. 2023) per pair, with label smoothing:
//   δ = beta·((Σ logp(chosen) − ref(chosen)) − (Σ logp(rejected) − ref(rejected)))
//   loss = −(1 − s)·ln σ(δ) − s·ln σ(−δ)
// metrics (pairs, 8) = loss, rewards/chosen, rewards/rejected, logps/chosen, logps/rejected, margin δ, accuracy (δ > 0), weight; none of
// them is multiplied by the weight. Overwrites metrics. dpo_dlogp gives the gradient.
// Grid: one workgroup per pair (SERIAL: one thread per pair).
// Variants: {|SERIAL}
struct Params { rows: u32, pairs: u32, first: u32 } // rows first…rows − 1, behind those whose sums metrics holds
#include "common/step.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<uniform> step: Step;
@group(0) @binding(auto) var<storage, read> logp: array<f32>;           // (rows) per token
@group(0) @binding(auto) var<storage, read> seq: array<u32>;            // (rows) 2·pair, + 1 for the rejected answer, 0xffffffff: neither
@group(0) @binding(auto) var<storage, read> ref_logp: array<f32>;       // (pairs, 2) sums under the reference policy
@group(0) @binding(auto) var<storage, read> weights: array<f32>;        // (pairs)
@group(0) @binding(auto) var<storage, read_write> metrics: array<f32>;  // (pairs, 8)
#include "common/reduce.wgsl"

// −ln σ(x) without overflow.
fn nlsig(x: f32) -> f32 { return max(-x, 0.0) + log(1.0 + exp(-abs(x))); }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let pair = row_index(wid, nwg, lid);
  if (pair >= p.pairs) { return; }
  var chosen = 0.0;
  var rejected = 0.0;
  for (var i = p.first + row_first(lid); i < p.rows; i += ROW_STEP) {
    let s = seq[i];
    if (s == 2u * pair) { chosen += logp[i]; }
    if (s == 2u * pair + 1u) { rejected += logp[i]; }
  }
  chosen = row_sum(chosen, lid);
  rejected = row_sum(rejected, lid);
  if (row_leader(lid)) {
    if (p.first > 0u) {
      chosen += metrics[8u * pair + 3u];
      rejected += metrics[8u * pair + 4u];
    }
    let rc = step.beta * (chosen - ref_logp[2u * pair]);
    let rr = step.beta * (rejected - ref_logp[2u * pair + 1u]);
    let delta = rc - rr;
    let at = 8u * pair;
    metrics[at] = (1.0 - step.label_smoothing) * nlsig(delta) + step.label_smoothing * nlsig(-delta);
    metrics[at + 1u] = rc;
    metrics[at + 2u] = rr;
    metrics[at + 3u] = chosen;
    metrics[at + 4u] = rejected;
    metrics[at + 5u] = delta;
    metrics[at + 6u] = select(0.0, 1.0, delta > 0.0);
    metrics[at + 7u] = weights[pair];
  }
}
