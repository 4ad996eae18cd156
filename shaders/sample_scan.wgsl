// First half of sampling: one pass over the logits in chunks (see common/sample.wgsl for what a chunk leaves behind).
//   z = logits; of tokens seen before, z·penalty where negative, z/penalty where positive (Keskar et al. 2019); then z/temperature
// Overwrites z and parts.
// Grid: one workgroup per chunk of every row, folded (SERIAL: one thread per chunk).
// Four elements per round; VEC: rows are whole quads and are loaded as such.
// Variants: {|SERIAL,WG=8} {|VEC}
struct Params { rows: u32, v: u32, chunks: u32, words: u32 } // words = ⌈v/32⌉
#include "common/step.wgsl"
@group(0) @binding(auto) var<uniform> p: Params;
@group(0) @binding(auto) var<uniform> step: Step;
#if VEC
@group(0) @binding(auto) var<storage, read> logits: array<vec4<f32>>; // (rows, v/4)
#else
@group(0) @binding(auto) var<storage, read> logits: array<f32>;       // (rows, v)
#endif
@group(0) @binding(auto) var<storage, read> seen: array<u32>;         // (rows, words) one bit per token
#if VEC
@group(0) @binding(auto) var<storage, read_write> z: array<vec4<f32>>; // (rows, v/4)
#else
@group(0) @binding(auto) var<storage, read_write> z: array<f32>;      // (rows, v)
#endif
@group(0) @binding(auto) var<storage, read_write> parts: array<u32>;  // (rows, chunks, PART)
#include "common/rng.wgsl"
#include "common/reduce.wgsl"
#include "common/best.wgsl"
#include "common/sample.wgsl"


// Elements i…i + 3 of the row that begins at `at`; those from `end` on are LOW.
fn load(at: u32, i: u32, end: u32) -> vec4<f32> {
#if VEC
  return logits[(at + i) >> 2u];
#else
  var x = vec4<f32>(LOW);
  x.x = logits[at + i];
  if (i + 1u < end) { x.y = logits[at + i + 1u]; }
  if (i + 2u < end) { x.z = logits[at + i + 2u]; }
  if (i + 3u < end) { x.w = logits[at + i + 3u]; }
  return x;
#endif
}
// Logits to z.
fn shape(row: u32, i: u32, x: vec4<f32>, temperature: f32) -> vec4<f32> {
  var v = x;
  let penalty = step.repetition_penalty;
  if (penalty != 1.0) {
    let marks = (vec4<u32>(seen[row * p.words + (i >> 5u)] >> (i & 31u)) & vec4<u32>(1u, 2u, 4u, 8u)) != vec4<u32>(0u);
    v = select(v, select(v / penalty, v * penalty, v < vec4<f32>(0.0)), marks);
  }
  v = clamp(v / temperature, vec4<f32>(LOW), vec4<f32>(-LOW));
  return select(v, vec4<f32>(0.0), v == vec4<f32>(0.0)); // one zero only: z is compared by bits
}
fn exp0_4(d: vec4<f32>) -> vec4<f32> { return select(exp(d), vec4<f32>(0.0), d < vec4<f32>(-87.0)); }
fn total(v: vec4<f32>) -> f32 { return v.x + v.y + v.z + v.w; }
fn largest(v: vec4<f32>) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }
// The best of four columns.
fn merge(v: vec4<f32>, i: vec4<u32>) -> Best {
  return better(better(Best(v.x, i.x), Best(v.y, i.y)), better(Best(v.z, i.z), Best(v.w, i.w)));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let item = row_index(wid, nwg, lid);
  if (item >= p.rows * p.chunks) { return; }
  let row = item / p.chunks;
  let first = (item % p.chunks) * CHUNK;
  let end = min(first + CHUNK, p.v);
  let at = row * p.v;
  let greedy = step.temperature <= 0.0;
  let temperature = select(max(step.temperature, 1e-6), 1.0, greedy);
  let plain = step.repetition_penalty == 1.0 && temperature == 1.0; // then z are the logits
  let offsets = vec4<u32>(0u, 1u, 2u, 3u);
  var bad = vec4<u32>(0u);
  var raw4 = vec4<f32>(LOW);
  var top4 = vec4<f32>(LOW);
  var top_at = vec4<u32>(0xffffffffu);
  for (var i = first + 4u * row_first(lid); i < end; i += 4u * ROW_STEP) {
    let x = load(at, i, end);
    // NaN or +∞, asked by bits (a NaN has either sign): compilers may believe that there are none.
    let bits = bitcast<vec4<u32>>(x);
    bad |= select(vec4<u32>(0u), vec4<u32>(1u), (bits == vec4<u32>(0x7f800000u)) | ((bits & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u)));
    var v = max(x, vec4<f32>(LOW));
    raw4 = max(raw4, v);
    v = shape(row, i, v, temperature);
#if VEC
    z[(at + i) >> 2u] = v;
#else
    z[at + i] = v.x;
    if (i + 1u < end) { z[at + i + 1u] = v.y; }
    if (i + 2u < end) { z[at + i + 2u] = v.z; }
    if (i + 3u < end) { z[at + i + 3u] = v.w; }
#endif
    let up = v > top4;
    top4 = select(top4, v, up);
    top_at = select(top_at, vec4<u32>(i) + offsets, up);
  }
  let raw = row_max(largest(raw4), lid);
  let top = row_best(merge(top4, top_at), lid);
  var raw_sum4 = vec4<f32>(0.0);
  var sum4 = vec4<f32>(0.0);
  var best4 = vec4<f32>(-1.0);
  var best_at = vec4<u32>(0xffffffffu);
  for (var i = first + 4u * row_first(lid); i < end; i += 4u * ROW_STEP) {
    let x = max(load(at, i, end), vec4<f32>(LOW));
    var e = exp0_4(x - raw);
    raw_sum4 += e;
    if (!greedy) {
      if (!plain) { e = exp0_4(shape(row, i, x, temperature) - top.v); }
      sum4 += e;
      let r = e / exponential4(random4(step.seed, step.counter, row, i >> 2u));
      let up = r > best4;
      best4 = select(best4, r, up);
      best_at = select(best_at, vec4<u32>(i) + offsets, up);
    }
  }
  let raw_sum = row_sum(total(raw_sum4), lid);
  let sum = row_sum(total(sum4), lid);
  let best = row_best(merge(best4, best_at), lid);
  let unusable = row_max(select(0.0, 1.0, any(bad != vec4<u32>(0u))), lid);
  if (row_leader(lid)) {
    let q = item * PART;
    parts[q] = bitcast<u32>(raw);
    parts[q + 1u] = bitcast<u32>(raw_sum);
    parts[q + 2u] = bitcast<u32>(top.v);
    parts[q + 3u] = bitcast<u32>(sum);
    parts[q + 4u] = bitcast<u32>(best.v);
    parts[q + 5u] = best.i;
    parts[q + 6u] = top.i;
    parts[q + 7u] = u32(unusable);
  }
}
