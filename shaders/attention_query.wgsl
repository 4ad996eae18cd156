// Attention of real GPUs for few queries: a workgroup of WG threads (128 or 512) per (query, head). See attention.wgsl for what is computed.
// KEYS = PER·WG/8 keys at a time: eight threads side by side on a key make its score, and p.dim threads side by side add up a row of v. Loads of
// several keys are under way at a time: with so few threads it is their latency that takes the time, and the more threads, the fewer rounds of it.
// The sums of a thread live in registers; they are added across threads at the end. p.dim (in fours) must not exceed 128.
// APPEND: q, and a row's own key and value, come from its projections; the row is turned by its position here, and the first query head of
// each key head writes the key and the value into the cache. No other row of the dispatch may see them: nothing orders them.
// Grid: queries × heads workgroups, folded. Overwrites o.
// Variants: {|CACHED|CACHED,KV=F16|CACHED,APPEND|CACHED,APPEND,KV=F16} {|CAP} {WG=128,PER=8|WG=512,PER=4}
#include "common/attention_io.wgsl"
#include "common/attention_kv.wgsl"
@group(0) @binding(auto) var<storage, read_write> o: array<T>;     // (batch, t, heads, dim)
#if !CACHED
@group(0) @binding(auto) var<storage, read_write> lse: array<f32>; // (batch, t, heads)
#endif
const THREADS: u32 = u32(WG);
const KEYS: u32 = THREADS * u32(PER) / 8u;       // at most one for each thread
var<workgroup> parts: array<f32, KEYS * 8u>;     // eight parts of every key's score
var<workgroup> weights: array<f32, KEYS + 1u>;   // the last stays that of no key
var<workgroup> tops: array<f32, 16>;             // maxima of every sixteenth score
var<workgroup> sums: array<vec4<f32>, THREADS>;
var<workgroup> totals: array<f32, THREADS>;
#if APPEND
var<workgroup> query: array<vec4<f32>, 128>;
var<workgroup> own: array<f32, 128>;             // parts of the own key's score
#endif

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let id = linear_group(wid, nwg);
  if (id >= p.batch * p.t * p.heads) { return; }
  let row = id / p.heads;
  let head = id % p.heads;
  let kvh = head / (p.heads / p.kv_heads);
  let base = (row / p.t) * p.s;
  let qat = id * p.dim;
#if APPEND
  for (var i = lid; i < p.rotary / 2u; i += THREADS) { rotations[i] = rotation(positions[row], inv_freq[i]) * p.mscale; }
  workgroupBarrier();
  var own_v = vec4<f32>(0.0);
  if (lid < p.dim) {
    let width = p.dim * 4u;
    let first = row * (p.heads + 2u * p.kv_heads) * width;
    let x = turned_at(first + place(head) * width, lid * 4u);
    let slot = slots[row];
    let write = slot < p.s && head % (p.heads / p.kv_heads) == 0u;
    let at = (slot * p.kv_heads + kvh) * p.dim + lid;
    let own_k = stored(at, turned_at(first + place(p.heads + kvh) * width, lid * 4u), write);
    own_v = stored(p.plane + at, copied_at(first + place(p.heads + p.kv_heads + kvh) * width, lid * 4u), write);
    query[lid] = x;
    own[lid] = dot(x, own_k);
  }
  workgroupBarrier();
#endif
  // For adding up v: `lanes` rows of v at a time, p.dim threads on each.
  let lanes = THREADS / p.dim;
  let lane = lid / p.dim;
  let d = lid % p.dim;
  var acc = vec4<f32>(0.0);
  var l = 0.0;
  var m = NEG;
  if (lid == 0u) { weights[KEYS] = NEG; }
  for (var pass_ = 0u; pass_ < PASSES; pass_++) {
    let sp = span(row, pass_);
    for (var j0 = sp.x; j0 < sp.x + sp.y; j0 += KEYS) {
      let count = min(sp.x + sp.y - j0, KEYS);
      // Scores: thread → part lid % 8 of the keys lid / 8, + THREADS / 8, ….
      let key = lid / 8u;
#repeat K PER
      var s$K = 0.0;
      let k$K = ((base + j0 + min(key + $Ku * (THREADS / 8u), count - 1u)) * p.kv_heads + kvh) * p.dim;
#endrepeat
      for (var c = lid % 8u; c < p.dim; c += 8u) {
#if APPEND
        let x = query[c];
#else
        let x = q[qat + c];
#endif
#repeat K PER
        s$K += dot(x, k_at(k$K + c));
#endrepeat
      }
      workgroupBarrier(); // weights of the round before have been used
#repeat K PER
      parts[lid + $Ku * THREADS] = s$K;
#endrepeat
      workgroupBarrier();
      if (lid < KEYS) {
        var mine = 0.0;
#repeat K 8
        mine += parts[lid * 8u + $Ku];
#endrepeat
        weights[lid] = select(NEG, binary(mine), lid < count);
      }
      workgroupBarrier();
      if (lid < 16u) {
        var largest = NEG;
        for (var i = lid; i < KEYS; i += 16u) { largest = max(largest, weights[i]); }
        tops[lid] = largest;
      }
      workgroupBarrier();
      var top = m;
#repeat K 16
      top = max(top, tops[$K]);
#endrepeat
      let keep = exp2(m - top);
      m = top;
      acc *= keep;
      l *= keep;
      if (lane < lanes) {
        for (var i = lane; i < count; i += 4u * lanes) {
          // Keys beyond the last have the weight of no key.
#repeat K 4
          let w$K = exp2(weights[min(i + $Ku * lanes, KEYS)] - top);
          let x$K = v_at(((base + j0 + min(i + $Ku * lanes, count - 1u)) * p.kv_heads + kvh) * p.dim + d);
#endrepeat
          l += (w0 + w1) + (w2 + w3);
          acc += (w0 * x0 + w1 * x1) + (w2 * x2 + w3 * x3);
        }
      }
    }
  }
  sums[lid] = acc;
  totals[lid] = l;
  workgroupBarrier();
  if (lid < p.dim) {
    var sum = vec4<f32>(0.0);
    var total = 0.0;
    for (var i = 0u; i < lanes; i++) {
      sum += sums[i * p.dim + lid];
      total += totals[i * p.dim + lid];
    }
#if APPEND
    if (sees_own(row)) {
      var score = 0.0;
      for (var i = 0u; i < p.dim; i++) { score += own[i]; }
      score = binary(score);
      let top = max(m, score);
      let keep = exp2(m - top);
      let w = exp2(score - top);
      sum = sum * keep + w * own_v;
      total = total * keep + w;
    }
#endif
    o[qat + lid] = sum * select(0.0, 1.0 / total, total > 0.0);
#if !CACHED
    if (lid == 0u) { lse[id] = select(0.0, (m + log2(total)) * LN2, total > 0.0); }
#endif
  }
}
