// The clipped policy loss of every token, with the divergence from a reference beside it; src/ops/loss/policy.rs has the formulas. Also the gradient of
// Σ weight·loss by the log-probabilities. With one ratio for a whole sequence a thread walks its sequence twice: for the sum of the log ratios, and
// for what all its tokens' losses say of the ratio. Answers are short, and no thread waits for another.
// metrics (rows, 4) = loss without its weight, divergence, below the clip, above the clip.
// Overwrites metrics and dlogp; 0 for tokens of no sequence.
// Grid: one thread per token, 64 per workgroup, folded into (x, y).
// Variants: {}
struct Params { rows: u32, seqs: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> logp: array<f32>;           // (rows)
@group(0) @binding(auto) var<storage, read> seq: array<u32>;            // (rows) those of a sequence side by side; seqs or more: none
@group(0) @binding(auto) var<storage, read> tokens: array<f32>;         // (rows, 4) old, reference, weight, advantage
@group(0) @binding(auto) var<storage, read> steps: array<f32>;          // (seqs)
@group(0) @binding(auto) var<storage, read> numbers: array<f32>;        // (7) low, high, delta, beta, corrected, sequence, fresh
@group(0) @binding(auto) var<storage, read_write> metrics: array<f32>;  // (rows, 4)
@group(0) @binding(auto) var<storage, read_write> dlogp: array<f32>;    // (rows)
#include "common/grid.wgsl"

struct Token { metrics: vec4f, direct: f32, through: f32 }

fn log_ratio(i: u32) -> f32 {
  return select(logp[i] - tokens[4u * i], 0.0, numbers[6] != 0.0);
}

// exp(x) − 1 − x without the loss of digits near 0.
fn excess(x: f32) -> f32 {
  if (abs(x) > 0.25) { return exp(x) - 1.0 - x; }
  return x * x * (0.5 + x * (0.16666667 + x * (0.041666668 + x * (0.008333334 + x * (0.0013888889 + x * 0.0001984127)))));
}

fn token(i: u32, exponent: f32) -> Token {
  let advantage = tokens[4u * i + 3u];
  let weight = tokens[4u * i + 2u];
  let low = numbers[0];
  let high = numbers[1];
  let beta = numbers[3];
  let ratio = exp(exponent);
  let cut = min(ratio, numbers[2]);
  let plain = cut * advantage;
  let clipped = clamp(ratio, low, high) * advantage;
  var moves = low <= ratio && ratio <= high;
  if (plain <= clipped) { moves = ratio <= numbers[2]; }
  var loss = -min(plain, clipped);
  var through = select(0.0, -advantage * ratio, moves);
  var k = 0.0;
  var direct = 0.0;
  if (beta != 0.0) {
    let d = tokens[4u * i + 1u] - logp[i];
    let corrected = numbers[4] != 0.0;
    let factor = select(1.0, ratio, corrected);
    let e = excess(d);
    k = e * factor;
    direct = -beta * (e + d) * factor;
    loss += beta * k;
    through += select(0.0, beta * k, corrected);
  }
  let below = select(0.0, 1.0, cut < low && advantage < 0.0);
  let above = select(0.0, 1.0, cut > high && advantage > 0.0);
  return Token(vec4f(loss, k, below, above), weight * direct, weight * through);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let i = linear_id(gid, nwg, 64u);
  if (i >= p.rows) { return; }
  let s = seq[i];
  var out = Token(vec4f(0.0), 0.0, 0.0);
  if (s < p.seqs) {
    if (numbers[5] == 0.0) {
      out = token(i, log_ratio(i));
    } else {
      var first = i;
      while (first > 0u && seq[first - 1u] == s) { first--; }
      var sum = 0.0;
      for (var j = first; j < p.rows && seq[j] == s; j++) { sum += log_ratio(j); }
      let exponent = steps[s] * sum;
      out = token(i, exponent);
      var through = 0.0;
      for (var j = first; j < p.rows && seq[j] == s; j++) { through += token(j, exponent).through; }
      out.through = steps[s] * through;
    }
  }
  for (var k = 0u; k < 4u; k++) { metrics[4u * i + k] = out.metrics[k]; }
  dlogp[i] = out.direct + out.through;
}
