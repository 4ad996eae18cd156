// Attention of real GPUs for few queries: a workgroup of 128 threads per (query, head). See attention.wgsl for what is computed.
// 128 keys at a time: eight threads side by side on a key make its score, and p.dim threads side by side add up a row of v. Loads of several
// keys are under way at a time: with so few threads it is their latency that takes the time.
// The sums of a thread live in registers; they are added across threads at the end. p.dim (in fours) must not exceed 128.
// Grid: queries × heads workgroups, folded. Overwrites o.
// Variants: {|CACHED|CACHED,KV=F16}
#include "common/attention_io.wgsl"
#include "common/attention_kv.wgsl"
@group(0) @binding(auto) var<storage, read_write> o: array<T>;     // (batch, t, heads, dim)
#if !CACHED
@group(0) @binding(auto) var<storage, read_write> lse: array<f32>; // (batch, t, heads)
#endif
var<workgroup> parts: array<f32, 1024>;        // eight parts of every key's score
var<workgroup> weights: array<f32, 192>;       // the last 64 stay those of no key
var<workgroup> tops: array<f32, 16>;           // maxima of eight scores
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
  if (lid < 64u) { weights[lid + 128u] = NEG; }
  for (var pass_ = 0u; pass_ < PASSES; pass_++) {
    let sp = span(row, pass_);
    for (var j0 = sp.x; j0 < sp.x + sp.y; j0 += 128u) {
      let count = min(sp.x + sp.y - j0, 128u);
      // Scores: thread → part lid % 8 of the keys lid / 8, + 16, … + 112.
      let key = lid / 8u;
#repeat K 8
      var s$K = 0.0;
      let k$K = ((base + j0 + min(key + $Ku * 16u, count - 1u)) * p.kv_heads + kvh) * p.dim;
#endrepeat
      for (var c = lid % 8u; c < p.dim; c += 8u) {
        let x = q[qat + c];
#repeat K 8
        s$K += dot(x, k_at(k$K + c));
#endrepeat
      }
      workgroupBarrier(); // weights of the round before have been used
#repeat K 8
      parts[lid + $Ku * 128u] = s$K;
#endrepeat
      workgroupBarrier();
      var mine = 0.0;
#repeat K 8
      mine += parts[lid * 8u + $Ku];
#endrepeat
      weights[lid] = select(NEG, mine * (p.scale * LOG2E), lid < count);
      workgroupBarrier();
      if (lid < 16u) {
        var eight = NEG;
#repeat K 8
        eight = max(eight, weights[lid * 8u + $Ku]);
#endrepeat
        tops[lid] = eight;
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
          let w$K = exp2(weights[min(i + $Ku * lanes, 191u)] - top);
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
    o[qat + lid] = sum * select(0.0, 1.0 / total, total > 0.0);
#if !CACHED
    if (lid == 0u) { lse[id] = select(0.0, (m + log2(total)) * LN2, total > 0.0); }
#endif
  }
}
