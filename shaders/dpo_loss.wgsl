// The losses of DPO's family per pair (TRL's loss_type, a weighted sum of them), from the answers' summed log-probabilities. With c and r the log
// ratios of policy and reference of the chosen and the rejected answer, each passed through the divergence's f′, and Δ = beta·(c − r), the plain one
// is −ln σ(Δ); src/ops/loss/dpo.rs and docs/methods.md have all of them. Also the gradient of scale · Σ weight·loss by both sums.
// metrics (pairs, 8) = loss, rewards/chosen, rewards/rejected, logps/chosen, logps/rejected, margin, accuracy (margin > 0), weight; none of
// them is multiplied by the weight. Overwrites metrics and dsums.
// ALIGNED: a pair counts exp of the mean over each answer's tokens of ln p − ln Σ p² (WPO), without a gradient.
// The two losses that sort (aot, aot_unpaired) look at all pairs of the batch.
// Grid: one thread per pair, 64 per workgroup, folded into (x, y).
// Variants: {|ALIGNED}
struct Params { pairs: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> sums: array<f32>;           // (2, pairs) chosen, then rejected
@group(0) @binding(auto) var<storage, read> ref_sums: array<f32>;       // (2, pairs) under the reference policy
@group(0) @binding(auto) var<storage, read> counts: array<f32>;         // (2, pairs) tokens
@group(0) @binding(auto) var<storage, read> weights: array<f32>;        // (pairs)
// (22) beta, label smoothing, scale, discopop's tau, divergence, its alpha, pairs per chosen token, weights of the losses
@group(0) @binding(auto) var<storage, read> numbers: array<f32>;
#if ALIGNED
@group(0) @binding(auto) var<storage, read> likely: array<f32>;         // (2, pairs) Σ (ln p − ln Σ p²)
#endif
@group(0) @binding(auto) var<storage, read_write> metrics: array<f32>;  // (pairs, 8)
@group(0) @binding(auto) var<storage, read_write> dsums: array<f32>;    // (2, pairs)
#include "common/grid.wgsl"
#include "common/sigmoid.wgsl"

// Loss, and its slopes by the chosen and the rejected sum.
var<private> total: vec3f;
var<private> slope_c: f32;
var<private> slope_r: f32;
var<private> beta: f32;

fn add(weight: f32, loss: f32, chosen: f32, rejected: f32) { total += weight * vec3f(loss, chosen, rejected); }
// A loss of Δ: its slope goes through beta and the divergence.
fn add_delta(weight: f32, loss: f32, d: f32) { add(weight, loss, d * beta * slope_c, -d * beta * slope_r); }
fn bump(x: f32) -> f32 { return sigmoid(x) * sigmoid(-x); }
// a·(−ln σ(d)) + b·(−ln σ(−d)), and its slope.
fn smoothed(d: f32, a: f32, b: f32) -> vec2f { return vec2f(a * nlsig(d) + b * nlsig(-d), -a * sigmoid(-d) + b * sigmoid(d)); }

// f′ of the divergence at a log ratio, and its slope.
fn score(u: f32) -> vec2f {
  let kind = u32(numbers[4]);
  let alpha = numbers[5] - 1.0;
  if (kind == 1u) { return vec2f(1.0 - exp(-u), exp(-u)); }
  if (kind == 2u) { return vec2f(0.69314718 - nlsig(u), sigmoid(-u)); }
  if (kind == 3u && abs(alpha) >= 1e-6) {
    let t = alpha * u;
    let e = exp(min(t, 80.0));
    return vec2f((e - 1.0) / alpha, select(e, 0.0, t > 80.0));
  }
  return vec2f(u, 1.0);
}

// What is sorted: 0 log ratios of the policy between the two answers, 1 the same of the reference, 2 and 3 log ratios of chosen and rejected answers.
fn value(what: u32, i: u32) -> f32 {
  switch (what) {
    case 0u: { return sums[i] - sums[p.pairs + i]; }
    case 1u: { return ref_sums[i] - ref_sums[p.pairs + i]; }
    case 2u: { return sums[i] - ref_sums[i]; }
    default: { return sums[p.pairs + i] - ref_sums[p.pairs + i]; }
  }
}
// The place of pair i; of equal ones the earlier comes first.
fn rank(what: u32, i: u32) -> u32 {
  let own = value(what, i);
  var n = 0u;
  for (var j = 0u; j < p.pairs; j++) {
    let other = value(what, j);
    if (other < own || (other == own && j < i)) { n++; }
  }
  return n;
}
fn at_rank(what: u32, place: u32) -> f32 {
  for (var i = 0u; i < p.pairs; i++) {
    if (rank(what, i) == place) { return value(what, i); }
  }
  return 0.0;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let pair = linear_id(gid, nwg, 64u);
  if (pair >= p.pairs) { return; }
  beta = numbers[0];
  let s = numbers[1];
  let chosen = sums[pair];
  let rejected = sums[p.pairs + pair];
  let c = chosen - ref_sums[pair];
  let r = rejected - ref_sums[p.pairs + pair];
  let cn = max(counts[pair], 1.0);
  let rn = max(counts[p.pairs + pair], 1.0);
  let fc = score(c);
  let fr = score(r);
  slope_c = fc.y;
  slope_r = fr.y;
  let delta = beta * (fc.x - fr.x);
  let bc = beta * c;
  let br = beta * r;
  total = vec3f(0.0);
  if (numbers[7] != 0.0) { add_delta(numbers[7], nlsig(delta), -sigmoid(-delta)); } // sigmoid
  if (numbers[8] != 0.0) { add_delta(numbers[8], max(1.0 - delta, 0.0), select(0.0, -1.0, delta < 1.0)); } // hinge
  if (numbers[9] != 0.0) { // ipo
    let off = fc.x / cn - fr.x / rn - 0.5 / beta;
    add(numbers[9], off * off, 2.0 * off / cn * slope_c, -2.0 * off / rn * slope_r);
  }
  if (numbers[10] != 0.0) { // exo_pair
    let q = sigmoid(delta);
    let o = sigmoid(-delta);
    let a = -nlsig(delta) - log(1.0 - s);
    let b = -nlsig(-delta) - log(s);
    add_delta(numbers[10], q * a + o * b, q * o * (a - b));
  }
  if (numbers[11] != 0.0) { // nca_pair
    let l = nlsig(bc) + 0.5 * nlsig(-bc) + 0.5 * nlsig(-br);
    add(numbers[11], l, beta * (0.5 * sigmoid(bc) - sigmoid(-bc)), 0.5 * beta * sigmoid(br));
  }
  if (numbers[12] != 0.0) { // robust
    let l = smoothed(delta, (1.0 - s) / (1.0 - 2.0 * s), -s / (1.0 - 2.0 * s));
    add_delta(numbers[12], l.x, l.y);
  }
  if (numbers[13] != 0.0) { add(numbers[13], nlsig(bc) + nlsig(-br), -beta * sigmoid(-bc), beta * sigmoid(br)); } // bco_pair
  if (numbers[14] != 0.0) { // sppo_hard
    let a = c - 0.5 / beta;
    let b = r + 0.5 / beta;
    add(numbers[14], a * a + b * b, 2.0 * a, 2.0 * b);
  }
  if (numbers[15] != 0.0) { // aot
    let l = smoothed(beta * (value(0u, pair) - at_rank(1u, rank(0u, pair))), 1.0 - s, s);
    add(numbers[15], l.x, beta * l.y, -beta * l.y);
  }
  if (numbers[16] != 0.0) { // aot_unpaired: its rejected answer stands beside another pair's chosen one
    let l = smoothed(beta * (c - at_rank(3u, rank(2u, pair))), 1.0 - s, s);
    let other = smoothed(beta * (at_rank(2u, rank(3u, pair)) - r), 1.0 - s, s);
    add(numbers[16], l.x, beta * l.y, -beta * other.y);
  }
  if (numbers[17] != 0.0) { add(numbers[17], sigmoid(-bc) + sigmoid(br), -beta * bump(bc), beta * bump(br)); } // apo_zero
  if (numbers[18] != 0.0) { // apo_down
    let a = beta * bump(bc);
    let b = beta * bump(bc - br);
    add(numbers[18], sigmoid(bc) + sigmoid(br - bc), a - b, b);
  }
  if (numbers[19] != 0.0) { // discopop
    let m = sigmoid(delta / numbers[3]);
    let logistic = nlsig(delta);
    let exponential = exp(-delta);
    let d = -sigmoid(-delta) * (1.0 - m) - exponential * m + (exponential - logistic) * bump(delta / numbers[3]) / numbers[3];
    add_delta(numbers[19], logistic * (1.0 - m) + exponential * m, d);
  }
  if (numbers[20] != 0.0) { add(numbers[20], -chosen * numbers[6], -numbers[6], 0.0); } // sft
  if (numbers[21] != 0.0) { // sigmoid_norm
    let d = beta * (fc.x / cn - fr.x / rn);
    let g = sigmoid(-d) * beta;
    add(numbers[21], nlsig(d), -g / cn * slope_c, g / rn * slope_r);
  }
  var share = 1.0;
#if ALIGNED
  share = exp(likely[pair] / cn + likely[p.pairs + pair] / rn);
#endif
  let at = 8u * pair;
  metrics[at] = total.x * share;
  metrics[at + 1u] = bc;
  metrics[at + 2u] = br;
  metrics[at + 3u] = chosen;
  metrics[at + 4u] = rejected;
  metrics[at + 5u] = bc - br;
  metrics[at + 6u] = select(0.0, 1.0, bc > br);
  metrics[at + 7u] = weights[pair];
  let k = weights[pair] * numbers[2] * share;
  dsums[pair] = k * total.y;
  dsums[p.pairs + pair] = k * total.z;
}
