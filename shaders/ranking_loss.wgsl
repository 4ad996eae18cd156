// −ln of the likelihood of rankings by the answers' scores (Plackett and Luce; of two answers Bradley and Terry), for reward models, with its gradient;
// src/ops/loss/ranking.rs has the formulas. Of tied answers it sums over the sets of them that may be left: a set is a mask of bits.
// metrics (n, 2) = loss of the row that begins at this place (0 elsewhere), score of this number.
// Overwrites metrics and dscores.
// MARGINAL: of ties the sum over the orders' probabilities; `sets` holds per place ln P of each set and then how likely it is to be passed.
// Grid: one thread per score, 64 per workgroup, folded into (x, y). That of a row's first place does the row.
// Variants: {|MARGINAL}
struct Params { n: u32, scores: u32, tied: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<storage, read> scores: array<f32>;         // (scores)
@group(0) @binding(auto) var<storage, read> order: array<u32>;          // (n)
@group(0) @binding(auto) var<storage, read> places: array<u32>;         // (n, 2) behind the tied ones, behind the row
@group(0) @binding(auto) var<storage, read> offsets: array<f32>;        // (n)
@group(0) @binding(auto) var<storage, read> numbers: array<f32>;        // (2) scale, center
@group(0) @binding(auto) var<storage, read_write> metrics: array<f32>;  // (n, 2)
@group(0) @binding(auto) var<storage, read_write> dscores: array<f32>;  // (scores)
#if MARGINAL
@group(0) @binding(auto) var<storage, read_write> sets: array<f32>;     // (n, 2, 2^tied)
#endif
#include "common/grid.wgsl"

fn z(j: u32) -> f32 { return scores[order[j]] + offsets[j]; }

// Whether place j, from `first` on, is in a set of the tied ones from there to `end` or behind them.
fn inside(mask: u32, j: u32, first: u32, end: u32) -> bool {
  return j >= end || ((mask >> min(j - first, 31u)) & 1u) == 1u;
}

fn log_sum(mask: u32, first: u32, end: u32, row_end: u32) -> f32 {
  var top = -3.0e38;
  for (var j = first; j < row_end; j++) { if (inside(mask, j, first, end)) { top = max(top, z(j)); } }
  var sum = 0.0;
  for (var j = first; j < row_end; j++) { if (inside(mask, j, first, end)) { sum += exp(z(j) - top); } }
  return top + log(sum);
}

// The slopes of a set's sum are added up where they end, unscaled.
fn slope(mask: u32, first: u32, end: u32, row_end: u32, weight: f32, sum: f32) {
  for (var j = first; j < row_end; j++) {
    if (inside(mask, j, first, end)) { dscores[order[j]] += weight * exp(z(j) - sum); }
  }
}

fn mean_of_orders(first: u32, end: u32, row_end: u32) -> f32 {
  let n = end - first;
  var loss = 0.0;
  for (var mask = 1u; mask < (1u << n); mask++) {
    var weight = 1.0;
    for (var t = 0u; t < countOneBits(mask); t++) { weight = weight * f32(t + 1u) / f32(n - t); }
    let sum = log_sum(mask, first, end, row_end);
    loss += weight * sum;
    slope(mask, first, end, row_end, weight, sum);
  }
  for (var j = first; j < end; j++) { loss -= z(j); }
  return loss;
}

#if MARGINAL
fn marginal(first: u32, end: u32, row_end: u32, ahead: u32) -> f32 {
  let n = end - first;
  let full = (1u << n) - 1u;
  let passed = ahead + (1u << p.tied);
  sets[ahead] = 0.0;
  for (var mask = 1u; mask <= full; mask++) {
    let sum = log_sum(mask, first, end, row_end);
    var top = -3.0e38;
    for (var i = 0u; i < n; i++) { if (((mask >> i) & 1u) == 1u) { top = max(top, z(first + i) - sum + sets[ahead + (mask ^ (1u << i))]); } }
    var all = 0.0;
    for (var i = 0u; i < n; i++) { if (((mask >> i) & 1u) == 1u) { all += exp(z(first + i) - sum + sets[ahead + (mask ^ (1u << i))] - top); } }
    sets[ahead + mask] = top + log(all);
    sets[passed + mask] = 0.0;
  }
  sets[passed] = 0.0;
  sets[passed + full] = 1.0;
  for (var mask = full; mask > 0u; mask--) {
    let sum = log_sum(mask, first, end, row_end);
    let share = sets[passed + mask];
    slope(mask, first, end, row_end, share, sum);
    for (var i = 0u; i < n; i++) {
      if (((mask >> i) & 1u) == 1u) {
        let rest = mask ^ (1u << i);
        sets[passed + rest] += share * exp(z(first + i) - sum + sets[ahead + rest] - sets[ahead + mask]);
      }
    }
  }
  return -sets[ahead + full];
}
#endif

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>) {
  let e = linear_id(gid, nwg, 64u);
  if (e >= p.scores) { return; }
  if (e >= p.n) { dscores[e] = 0.0; return; }
  metrics[2u * e + 1u] = scores[e];
  let row_end = clamp(places[2u * e + 1u], e + 1u, p.n);
  let begins = e == 0u || places[2u * e - 1u] <= e;
  if (!begins) { metrics[2u * e] = 0.0; return; }
  let count = row_end - e;
  var middle = 0.0;
  for (var j = e; j < row_end; j++) { dscores[order[j]] = 0.0; middle += scores[order[j]] / f32(count); }
  var loss = 0.0;
  if (count > 1u) {
    var first = e;
    while (first < row_end) {
      let end = min(clamp(places[2u * first], first + 1u, row_end), first + p.tied);
#if MARGINAL
      if (end > first + 1u) {
        loss += marginal(first, end, row_end, e << (p.tied + 1u));
      } else {
        loss += mean_of_orders(first, end, row_end);
      }
#else
      loss += mean_of_orders(first, end, row_end);
#endif
      for (var j = first; j < end; j++) { dscores[order[j]] -= 1.0; }
      first = end;
    }
    loss += numbers[1] * 4.0 * middle * middle;
    for (var j = e; j < row_end; j++) {
      dscores[order[j]] = numbers[0] * (dscores[order[j]] + numbers[1] * 8.0 * middle / f32(count));
    }
  }
  metrics[2u * e] = loss;
}
