// The next token of every row, and its log-probability under log softmax of the raw logits.
// In the order of Transformers: repetition penalty (Keskar et al. 2019) on the tokens of `seen`, temperature, top-k, top-p
// (Holtzman et al. 2020), min-p (Nguyen et al. 2024); then one draw by inverting the cumulative distribution. Temperature 0 is greedy, ties
// go to the lowest id. Thresholds are found exactly, without sorting, by building them bit by bit on order-preserving integer keys;
// candidates equal to a threshold stay in. A row with a NaN or an infinity gives token 0 and a log-probability of NaN.
// The random stream is (step.seed, step.counter, row). The token's bit is set in `seen`.
// Loops take four tokens per round: llvmpipe ends all loops of a thread after 65,535 rounds in total.
// Grid: one workgroup of WG threads per row. Overwrites token and logp.
// Variants: {WG=64|WG=256}
struct Params { rows: u32, cols: u32, words: u32 }
@group(0) @binding(auto) var<uniform> p: Params;
#include "common/step.wgsl"
@group(0) @binding(auto) var<uniform> step: Step;
@group(0) @binding(auto) var<storage, read> logits: array<f32>;        // (rows, cols)
@group(0) @binding(auto) var<storage, read_write> token: array<u32>;   // (rows)
@group(0) @binding(auto) var<storage, read_write> logp: array<f32>;    // (rows)
@group(0) @binding(auto) var<storage, read_write> seen: array<u32>;    // (rows, words): one bit per token id
#include "common/rng.wgsl"

const STEP: u32 = u32(WG);
var<workgroup> part: array<f32, WG>;
var<workgroup> parti: array<u32, WG>;

// Every thread gets the sum of all, added in the order of the threads.
fn all_sum(v: f32, lid: u32) -> f32 {
  part[lid] = v;
  workgroupBarrier();
  var s = 0.0;
  for (var i = 0u; i < STEP; i++) { s += part[i]; }
  workgroupBarrier();
  return s;
}
fn all_sumi(v: u32, lid: u32) -> u32 {
  parti[lid] = v;
  workgroupBarrier();
  var s = 0u;
  for (var i = 0u; i < STEP; i++) { s += parti[i]; }
  workgroupBarrier();
  return s;
}
fn all_max(v: u32, lid: u32) -> u32 {
  parti[lid] = v;
  workgroupBarrier();
  var s = 0u;
  for (var i = 0u; i < STEP; i++) { s = max(s, parti[i]); }
  workgroupBarrier();
  return s;
}
// Integers in the order of the floats.
fn key_of(x: f32) -> u32 {
  let b = bitcast<u32>(x);
  return select(~b, b | 0x80000000u, b < 0x80000000u);
}
fn float_of(key: u32) -> f32 {
  return bitcast<f32>(select(~key, key & 0x7fffffffu, key >= 0x80000000u));
}
// The logit of token i of the row after penalty and temperature.
fn shaped(row: u32, i: u32) -> f32 {
  var x = logits[row * p.cols + i];
  if (step.repetition_penalty != 1.0 && ((seen[row * p.words + (i >> 5u)] >> (i & 31u)) & 1u) == 1u) {
    x = select(x * step.repetition_penalty, x / step.repetition_penalty, x > 0.0);
  }
  if (step.temperature > 0.0) { x /= step.temperature; }
  return x;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let row = wid.x;
  let at = row * p.cols;
  // Largest raw logit, largest shaped one, anything that is not a finite number.
  var raw_key = 0u;
  var top_key = 0u;
  var top_at = 0xffffffffu;
  var bad = 0u;
  for (var o = lid; o < p.cols; o += 4u * STEP) {
#repeat U 4
    { let i = o + $Uu * STEP; if (i < p.cols) {
    let raw = logits[at + i];
    if ((bitcast<u32>(raw) & 0x7f800000u) == 0x7f800000u) { bad = 1u; }
    raw_key = max(raw_key, key_of(raw));
    let k = key_of(shaped(row, i));
    if (k > top_key) { top_key = k; top_at = i; }
    } }
#endrepeat
  }
  bad = all_max(bad, lid);
  let raw_top = float_of(all_max(raw_key, lid));
  let best = all_max(top_key, lid);
  let top = float_of(best);
  // The lowest id among the best: ids are compared as their complement.
  let greedy = ~all_max(select(0u, ~top_at, top_key == best && top_at != 0xffffffffu), lid);
  var acc = 0.0;
  for (var o = lid; o < p.cols; o += 4u * STEP) {
#repeat U 4
    { let i = o + $Uu * STEP; if (i < p.cols) { acc += exp(logits[at + i] - raw_top); } }
#endrepeat
  }
  let raw_sum = all_sum(acc, lid);

  var cut = 0u;
  var chosen = greedy;
  var mine = lid == 0u;
  if (step.temperature > 0.0) {
    if (step.top_k > 0u && step.top_k < p.cols) {
      // The largest cut that at least top_k keys reach.
      for (var bit = 0u; bit < 32u; bit++) {
        let trial = cut | (0x80000000u >> bit);
        var n = 0u;
        for (var o = lid; o < p.cols; o += 4u * STEP) {
#repeat U 4
    { let i = o + $Uu * STEP; if (i < p.cols) { n += select(0u, 1u, key_of(shaped(row, i)) >= trial); } }
#endrepeat
  }
        if (all_sumi(n, lid) >= step.top_k) { cut = trial; }
      }
    }
    if (step.top_p < 1.0) {
      var whole = 0.0;
      for (var o = lid; o < p.cols; o += 4u * STEP) {
#repeat U 4
        { let i = o + $Uu * STEP; if (i < p.cols) {
        let x = shaped(row, i);
        whole += select(0.0, exp(x - top), key_of(x) >= cut);
        } }
#endrepeat
      }
      let need = step.top_p * all_sum(whole, lid);
      // The largest cut whose tokens hold top_p of what top-k has left.
      var nucleus = 0u;
      for (var bit = 0u; bit < 32u; bit++) {
        let trial = nucleus | (0x80000000u >> bit);
        var s = 0.0;
        for (var o = lid; o < p.cols; o += 4u * STEP) {
#repeat U 4
          { let i = o + $Uu * STEP; if (i < p.cols) {
          let x = shaped(row, i);
          s += select(0.0, exp(x - top), key_of(x) >= max(trial, cut));
          } }
#endrepeat
        }
        if (all_sum(s, lid) >= need) { nucleus = trial; }
      }
      cut = max(cut, nucleus);
    }
    if (step.min_p > 0.0) { cut = max(cut, key_of(top + log(step.min_p))); }
    cut = min(cut, best);
    var own = 0.0;
    for (var o = lid; o < p.cols; o += 4u * STEP) {
#repeat U 4
      { let i = o + $Uu * STEP; if (i < p.cols) {
      let x = shaped(row, i);
      own += select(0.0, exp(x - top), key_of(x) >= cut);
      } }
#endrepeat
    }
    part[lid] = own;
    workgroupBarrier();
    var before = 0.0;
    var total = 0.0;
    for (var i = 0u; i < STEP; i++) {
      if (i == lid) { before = total; }
      total += part[i];
    }
    let draw = f32(random4(step.seed, step.counter, 0x5a3b1e77u, row).x >> 8u) * 5.9604645e-8 * total;
    mine = own > 0.0 && draw >= before && draw < before + own;
    if (mine) {
      var sum = before;
      var found = false;
      for (var o = lid; o < p.cols; o += 4u * STEP) {
#repeat U 4
        { let i = o + $Uu * STEP; if (i < p.cols) {
        let x = shaped(row, i);
        if (key_of(x) >= cut && !found) {
          sum += exp(x - top);
          chosen = i; // the last one stays chosen where rounding leaves none
          found = draw < sum;
        }
        } }
#endrepeat
      }
    }
    if (bad == 1u) { mine = lid == 0u; }
  }
  if (mine) {
    if (bad == 1u) {
      token[row] = 0u;
      logp[row] = bitcast<f32>(0x7fc00000u | (p.rows & 0u));
    } else {
      token[row] = chosen;
      logp[row] = logits[at + chosen] - raw_top - log(raw_sum);
      let word = row * p.words + (chosen >> 5u);
      seen[word] = seen[word] | (1u << (chosen & 31u));
    }
  }
}
