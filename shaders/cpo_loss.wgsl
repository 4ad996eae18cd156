// The losses of CPO, SimPO and AlphaPO per pair, from the answers' summed log-probabilities; src/ops/loss/cpo.rs has the formulas. Also the gradient by
// both sums of scale·loss − nll_scale·(sum of the chosen answer).
// metrics (pairs, 8) = loss, rewards/chosen, rewards/rejected, logps/chosen, logps/rejected, nll of the chosen answer, 0, 0.
// Overwrites metrics and dsums.
// Grid: one thread per pair, 64 per workgroup, folded into (x, y).
// Variants: {}
struct Params { pairs: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> sums: array<f32>;           // (2, pairs) chosen, then rejected
@group(0) @binding(auto) var<storage, read> counts: array<f32>;         // (2, pairs) tokens
@group(0) @binding(auto) var<storage, read> numbers: array<f32>;        // (7) beta, label smoothing, scale, nll_scale, loss, gamma, alpha
@group(0) @binding(auto) var<storage, read_write> metrics: array<f32>;  // (pairs, 8)
@group(0) @binding(auto) var<storage, read_write> dsums: array<f32>;    // (2, pairs)
#include "common/grid.wgsl"
#include "common/sigmoid.wgsl"

// What AlphaPO makes of a log-probability, and its slope.
fn shaped(x: f32) -> vec2f {
  let alpha = numbers[6];
  if (alpha == 0.0) { return vec2f(x, 1.0); }
  let e = exp(-alpha * x);
  return vec2f((1.0 - e) / alpha, e);
}

// Loss and slope by d, with label smoothing.
fn smoothed(d: f32) -> vec2f {
  let s = numbers[1];
  return vec2f((1.0 - s) * nlsig(d) + s * nlsig(-d), numbers[0] * ((s - 1.0) * sigmoid(-d) + s * sigmoid(d)));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let pair = linear_id(gid, nwg, 64u);
  if (pair >= p.pairs) { return; }
  let beta = numbers[0];
  let kind = u32(numbers[4]);
  var per = vec2f(1.0);
  if (kind >= 2u) { per = max(vec2f(counts[pair], counts[p.pairs + pair]), vec2f(1.0)); }
  let x = vec2f(sums[pair], sums[p.pairs + pair]) / per;
  let c = shaped(x.x);
  let r = shaped(x.y);
  let z = c.x - r.x;
  var l = vec2f(0.0);
  switch (kind) {
    case 1u: { l = vec2f(max(1.0 - beta * z, 0.0), select(0.0, -beta, beta * z < 1.0)); }
    case 2u: { let off = z - 0.5 / beta; l = vec2f(off * off, 2.0 * off); }
    case 3u: { l = smoothed(beta * z - numbers[5]); }
    default: { l = smoothed(beta * z); }
  }
  let at = 8u * pair;
  metrics[at] = l.x;
  metrics[at + 1u] = beta * c.x;
  metrics[at + 2u] = beta * r.x;
  metrics[at + 3u] = x.x;
  metrics[at + 4u] = x.y;
  metrics[at + 5u] = -sums[pair];
  metrics[at + 6u] = 0.0;
  metrics[at + 7u] = 0.0;
  dsums[pair] = numbers[2] * l.y * c.y / per.x - numbers[3];
  dsums[p.pairs + pair] = -numbers[2] * l.y * r.y / per.y;
}
