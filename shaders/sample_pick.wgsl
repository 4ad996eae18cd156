// Second half of sampling: one token per row from what sample_scan left.
//   temperature 0: the largest z, of equal ones the lowest id. Otherwise the largest race (common/sample.wgsl) among the tokens kept by
//   top-k: z not below the k-th largest;   min-p: z ≥ max z + ln min_p;
//   top-p: the probability of all tokens with larger z, within top-k, is below top_p (the first token is always kept)
// Nothing is sorted. The k-th largest is bisected over the ordered bits of z. For top-p no threshold is searched: the winner of the race is
// kept or not; if not, no token with a z as small is, and the race is run again among the larger ones. Chunks whose largest z is too
// small are skipped.
// logp = log softmax(logits)[token]: of the raw logits. A row with NaN or +∞, or without any finite logit, gives token 0 and logp NaN.
// Overwrites token and logp, sets the token's bit in seen.
// A thread looks at four elements of a chunk per round of its loop: llvmpipe ends all loops of a thread after 65,535 rounds in total.
// Grid: one workgroup of 64 threads per row, folded. Reductions take three barriers, on every adapter.
// Variants: {}
struct Params { rows: u32, v: u32, chunks: u32, words: u32 } // words = ⌈v/32⌉
#include "common/step.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<uniform> step: Step;
@group(0) @binding(auto) var<storage, read> logits: array<f32>;       // (rows, v)
@group(0) @binding(auto) var<storage, read> z: array<f32>;            // (rows, v)
@group(0) @binding(auto) var<storage, read> parts: array<u32>;        // (rows, chunks, PART)
@group(0) @binding(auto) var<storage, read_write> token: array<u32>;  // (rows)
@group(0) @binding(auto) var<storage, read_write> logp: array<u32>;   // (rows) f32 as bits, so that NaN can be written
@group(0) @binding(auto) var<storage, read_write> seen: array<u32>;   // (rows, words)
#include "common/rng.wgsl"
#include "common/grid.wgsl"
#include "common/sample.wgsl"

// Bits in the order of the numbers.
fn ordered(x: f32) -> u32 {
  let b = bitcast<u32>(x);
  return b ^ select(0x80000000u, 0xffffffffu, b >= 0x80000000u);
}
fn part(row: u32, c: u32, word: u32) -> f32 { return bitcast<f32>(parts[(row * p.chunks + c) * PART + word]); }


#define WG 64
struct Best { v: f32, i: u32 }
fn better(a: Best, b: Best) -> Best {
  if (b.v > a.v || (b.v == a.v && b.i < a.i)) { return b; }
  return a;
}
// Reductions whose result is uniform, so that barriers may depend on it.
var<workgroup> red: array<f32, WG>;
var<workgroup> red_i: array<u32, WG>;
var<workgroup> one: f32;
var<workgroup> one_i: u32;
fn all_sum(v: f32, lid: u32) -> f32 {
  red[lid] = v;
  workgroupBarrier();
  if (lid == 0u) {
    var s = vec4<f32>(0.0);
    for (var i = 0u; i < u32(WG); i += 4u) { s += vec4<f32>(red[i], red[i + 1u], red[i + 2u], red[i + 3u]); }
    one = s.x + s.y + s.z + s.w;
  }
  return workgroupUniformLoad(&one);
}
fn all_max(v: f32, lid: u32) -> f32 {
  red[lid] = v;
  workgroupBarrier();
  if (lid == 0u) {
    var s = vec4<f32>(red[0]);
    for (var i = 0u; i < u32(WG); i += 4u) { s = max(s, vec4<f32>(red[i], red[i + 1u], red[i + 2u], red[i + 3u])); }
    one = max(max(s.x, s.y), max(s.z, s.w));
  }
  return workgroupUniformLoad(&one);
}
// The index of the best; of equal ones the lowest.
fn all_best(b: Best, lid: u32) -> u32 {
  red[lid] = b.v;
  red_i[lid] = b.i;
  workgroupBarrier();
  if (lid == 0u) {
    var r = Best(red[0], red_i[0]);
    for (var i = 1u; i < u32(WG); i++) { r = better(r, Best(red[i], red_i[i])); }
    one_i = r.i;
  }
  return workgroupUniformLoad(&one_i);
}

// The race of token i, as sample_scan ran it; e = exp(z − top).
fn race(row: u32, i: u32, e: f32) -> f32 {
  return e / exponential4(random4(step.seed, step.counter, row, i >> 2u))[i & 3u];
}
// How many chunks have a largest z of at least `key`.
fn chunks_from(row: u32, key: u32, lid: u32) -> f32 {
  var n = 0.0;
  for (var c = lid; c < p.chunks; c += u32(WG)) {
    if (ordered(part(row, c, 2u)) >= key) { n += 1.0; }
  }
  return all_sum(n, lid);
}
// How many z are at least `key` (exact in f32 below 2²⁴).
fn count_from(row: u32, key: u32, lid: u32) -> f32 {
  var n = 0.0;
  for (var c = 0u; c < p.chunks; c++) {
    if (ordered(part(row, c, 2u)) >= key) {
#repeat U 4
      {
        let i = c * CHUNK + lid + $Uu * u32(WG);
        if (i < p.v && ordered(z[row * p.v + i]) >= key) { n += 1.0; }
      }
#endrepeat
    }
  }
  return all_sum(n, lid);
}
// Σ exp(z − top) over z of at least `key`.
fn mass_from(row: u32, key: u32, top: f32, lid: u32) -> f32 {
  var sum = 0.0;
  for (var c = 0u; c < p.chunks; c++) {
    if (ordered(part(row, c, 2u)) >= key) {
#repeat U 4
      {
        let i = c * CHUNK + lid + $Uu * u32(WG);
        if (i < p.v) {
          let v = z[row * p.v + i];
          if (ordered(v) >= key) { sum += exp0(v - top); }
        }
      }
#endrepeat
    }
  }
  return all_sum(sum, lid);
}
// The winner among z of at least `key`.
fn race_from(row: u32, key: u32, top: f32, lid: u32) -> u32 {
  var best = Best(-1.0, 0xffffffffu);
  for (var c = 0u; c < p.chunks; c++) {
    if (ordered(part(row, c, 2u)) >= key) {
#repeat U 4
      {
        let i = c * CHUNK + lid + $Uu * u32(WG);
        if (i < p.v) {
          let v = z[row * p.v + i];
          if (ordered(v) >= key) { best = better(best, Best(race(row, i, exp0(v - top)), i)); }
        }
      }
#endrepeat
    }
  }
  return all_best(best, lid);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let row = linear_group(wid, nwg);
  if (row >= p.rows) { return; }
  var raw = LOW;
  var first = Best(LOW, 0xffffffffu);
  var bad = 0.0;
  for (var c = lid; c < p.chunks; c += u32(WG)) {
    raw = max(raw, part(row, c, 0u));
    first = better(first, Best(part(row, c, 2u), parts[(row * p.chunks + c) * PART + 6u]));
    if (parts[(row * p.chunks + c) * PART + 7u] != 0u) { bad = 1.0; }
  }
  raw = all_max(raw, lid);
  let top = all_max(first.v, lid);
  var choice = all_best(first, lid);
  var raw_sum = 0.0;
  var total = 0.0;
  var best = Best(-1.0, 0xffffffffu);
  for (var c = lid; c < p.chunks; c += u32(WG)) {
    raw_sum += part(row, c, 1u) * exp0(part(row, c, 0u) - raw);
    let f = exp0(part(row, c, 2u) - top);
    total += part(row, c, 3u) * f;
    best = better(best, Best(part(row, c, 4u) * f, parts[(row * p.chunks + c) * PART + 5u]));
  }
  raw_sum = all_sum(raw_sum, lid);
  let usable = all_max(bad, lid) == 0.0 && raw > -3.3e38;
  if (usable && step.temperature > 0.0) {
    var mass = all_sum(total, lid);
    choice = all_best(best, lid);
    var low = 0u; // tokens below this key are out
    if (step.top_k > 0u && step.top_k < p.v) {
      let k = f32(step.top_k);
      // Invariant: at least k values reach a, fewer than k exceed b. A value that k chunk maxima reach is a good a.
      var a = 0u;
      var b = ordered(top);
      if (step.top_k <= p.chunks) {
        for (var turn = 0u; turn < 16u && a < b; turn++) {
          let mid = a + (b - a + 1u) / 2u;
          if (chunks_from(row, mid, lid) >= k) { a = mid; } else { b = mid - 1u; }
        }
        b = ordered(top);
      }
      while (a < b) {
        let mid = a + (b - a + 1u) / 2u;
        let n = count_from(row, mid, lid);
        if (n >= k) { a = mid; } else { b = mid - 1u; }
        if (n == k) { break; }
      }
      low = a;
      mass = mass_from(row, low, top, lid);
    }
    if (step.min_p > 0.0) { low = max(low, ordered(min(top + log(step.min_p), top))); }
    if (low > 0u) { choice = race_from(row, low, top, lid); }
    if (step.top_p < 1.0) {
      // Every turn drops at least one token, half of what is left on average; with the largest z nothing is above.
      for (var turn = 0u; turn < p.v; turn++) {
        let key = ordered(z[row * p.v + min(choice, p.v - 1u)]);
        let above = mass_from(row, key + 1u, top, lid);
        if (above <= 0.0 || above < step.top_p * mass) { break; }
        choice = race_from(row, key + 1u, top, lid);
      }
    }
  }
  if (lid == 0u) {
    if (usable && choice < p.v) {
      token[row] = choice;
      logp[row] = bitcast<u32>(logits[row * p.v + choice] - raw - log(raw_sum));
      seen[row * p.words + (choice >> 5u)] |= 1u << (choice & 31u);
    } else {
      token[row] = 0u;
      logp[row] = 0x7fc00000u;
    }
  }
}
