// Attention of real GPUs for few queries: a workgroup of 128 threads per (query, head). See attention.wgsl for what is computed.
// 128 keys at a time: four threads side by side on a key make its score, every thread then finds the maximum of all of them for itself
// (broadcasts from workgroup memory cost less than the barriers of a tree), and p.dim threads side by side add up a row of v.
// The sums of a thread live in registers; they are added across threads at the end. p.dim (in fours) must not exceed 128.
// Grid: queries × heads workgroups, folded. Overwrites o.
// Variants: {|CACHED}
#include "common/attention_io.wgsl"
#include "common/attention_kv.wgsl"
@group(0) @binding(auto) var<storage, read_write> o: array<T>;     // (batch, t, heads, dim)
#if !CACHED
@group(0) @binding(auto) var<storage, read_write> lse: array<f32>; // (batch, t, heads)
#endif
var<workgroup> parts: array<f32, 512>;         // four parts of every key's score
var<workgroup> weights: array<f32, 128>;
var<workgroup> sums: array<vec4<f32>, 128>;
var<workgroup> totals: array<f32, 128>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let id = linear_group(wid, nwg);
  if (id >= p.batch * p.t * p.heads) { return; }
  let row = id / p.heads;
  let head = id % p.heads;
  let kvh = head / (p.heads / p.kv_heads);
  let base = (row / p.t) * p.s;
  let qat = id * p.dim;
  // For adding up v: `lanes` rows of v at a time, p.dim threads on each.
  let lanes = 128u / p.dim;
  let lane = lid / p.dim;
  let d = lid % p.dim;
  var acc = vec4<f32>(0.0);
  var l = 0.0;
  var m = NEG;
  for (var pass_ = 0u; pass_ < PASSES; pass_++) {
    let sp = span(row, pass_);
    for (var j0 = sp.x; j0 < sp.x + sp.y; j0 += 128u) {
      let count = min(sp.x + sp.y - j0, 128u);
      // Scores: thread → part lid % 4 of the keys lid / 4, + 32, + 64, + 96.
      var s0 = 0.0;
      var s1 = 0.0;
      var s2 = 0.0;
      var s3 = 0.0;
      let key = lid / 4u;
      let k0 = ((base + j0 + min(key, count - 1u)) * p.kv_heads + kvh) * p.dim;
      let k1 = ((base + j0 + min(key + 32u, count - 1u)) * p.kv_heads + kvh) * p.dim;
      let k2 = ((base + j0 + min(key + 64u, count - 1u)) * p.kv_heads + kvh) * p.dim;
      let k3 = ((base + j0 + min(key + 96u, count - 1u)) * p.kv_heads + kvh) * p.dim;
      for (var c = lid % 4u; c < p.dim; c += 4u) {
        let x = q[qat + c];
        s0 += dot(x, k_at(k0 + c));
        s1 += dot(x, k_at(k1 + c));
        s2 += dot(x, k_at(k2 + c));
        s3 += dot(x, k_at(k3 + c));
      }
      workgroupBarrier(); // weights of the round before have been used
      parts[lid] = s0;
      parts[lid + 128u] = s1;
      parts[lid + 256u] = s2;
      parts[lid + 384u] = s3;
      workgroupBarrier();
      let mine = ((parts[4u * lid] + parts[4u * lid + 1u]) + (parts[4u * lid + 2u] + parts[4u * lid + 3u])) * (p.scale * LOG2E);
      weights[lid] = select(NEG, mine, lid < count);
      workgroupBarrier();
      var top = m;
      for (var i = 0u; i < count; i++) { top = max(top, weights[i]); }
      let keep = exp2(m - top);
      m = top;
      acc *= keep;
      l *= keep;
      if (lane < lanes) {
        for (var i = lane; i < count; i += lanes) {
          let weight = exp2(weights[i] - top);
          l += weight;
          acc += weight * v_at(((base + j0 + i) * p.kv_heads + kvh) * p.dim + d);
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
    o[qat + lid] = sum * select(0.0, 1.0 / total, total > 0.0);
#if !CACHED
    if (lid == 0u) { lse[id] = select(0.0, (m + log2(total)) * LN2, total > 0.0); }
#endif
  }
}
