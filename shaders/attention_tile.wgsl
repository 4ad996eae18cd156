// Attention of real GPUs for many queries. See attention.wgsl for what is computed and common/attention_tile.wgsl for how: a workgroup owns
// 32 rows (queries × the heads of one key head) and walks over the keys that any of them sees, 32 at a time.
// Grid: ⌈t·G / 32⌉ workgroups per (batch row, key head), folded. Overwrites.
// Variants: {|CACHED|CACHED,KV=F16} {|CAP} {UNITS=8,EACH=2|UNITS=16,EACH=4|UNITS=32,EACH=8}
#include "common/attention_io.wgsl"
#include "common/attention_kv.wgsl"
@group(0) @binding(auto) var<storage, read_write> o: array<T>;     // (batch, t, heads, dim)
#if !CACHED
@group(0) @binding(auto) var<storage, read_write> lse: array<f32>; // (batch, t, heads)
#endif
#include "common/attention_tile.wgsl"
var<workgroup> qs: array<vec4<f32>, 32u * STRIDE>;
var<workgroup> ps: array<f32, 1024>;      // [key][row]
var<workgroup> keep: array<f32, 32>;      // what the sums of a row are multiplied with

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let id = linear_group(wid, nwg);
  let bh = id / p.groups;
  if (bh >= p.batch * p.kv_heads) { return; }
  let b = bh / p.kv_heads;
  let kvh = bh % p.kv_heads;
  let share = p.heads / p.kv_heads;
  let n = p.t * share;
  let base = (id % p.groups) * 32u;
  // Rows beyond the edge repeat the last one and see nothing.
  let row = lid % 32u;
  let lane = lid / 32u;
  let r = min(base + row, n - 1u);
  let query = b * p.t + r / share;
  let head = query * p.heads + kvh * share + r % share;
  for (var c = lane; c < UNITS; c += 4u) { qs[row * STRIDE + c] = q[head * UNITS + c]; }
  let d = lid % UNITS;
  let first_row = (lid / UNITS) * EACH;
#repeat J EACH
  var acc$J = vec4<f32>(0.0);
#endrepeat
  var m = NEG;
  var l = 0.0;
  for (var pass_ = 0u; pass_ < PASSES; pass_++) {
    let sp = select(vec2<u32>(0u, 0u), span(query, pass_), base + row < n);
    let bounds = limits(sp, lid);
    for (var j0 = bounds.x; j0 < bounds.y; j0 += 32u) {
      // A thread's keys are lane, lane + 4, …
#repeat K 8
      var s$K = 0.0;
      let kat$K = ((b * p.s + min(j0 + lane + $Ku * 4u, bounds.y - 1u)) * p.kv_heads + kvh) * UNITS;
#endrepeat
      for (var c = 0u; c < UNITS; c++) {
        let x = qs[row * STRIDE + c];
#repeat K 8
        s$K += dot(x, k_at(kat$K + c));
#endrepeat
      }
#repeat K 8
      s$K = select(NEG, binary(s$K), j0 + lane + $Ku * 4u - sp.x < sp.y);
      ps[(lane + $Ku * 4u) * 32u + row] = s$K;
#endrepeat
      workgroupBarrier();
      var top = m;
      for (var i = 0u; i < 32u; i++) { top = max(top, ps[i * 32u + row]); }
      let factor = exp2(m - top);
      m = top;
      l *= factor;
      workgroupBarrier();
      if (lane == 0u) { keep[row] = factor; }
#repeat K 8
      {
        // Masked scores give 0, also where nothing was seen so far and the maximum is NEG itself.
        let weight = exp2(s$K - max(top, 0.1 * NEG));
        l += weight;
        ps[(lane + $Ku * 4u) * 32u + row] = weight;
      }
#endrepeat
      workgroupBarrier();
#repeat J EACH
      acc$J *= keep[first_row + $Ju];
#endrepeat
      for (var i = 0u; i < min(32u, bounds.y - j0); i++) {
        let x = v_at(((b * p.s + j0 + i) * p.kv_heads + kvh) * UNITS + d);
#repeat J EACH
        acc$J += ps[i * 32u + first_row + $Ju] * x;
#endrepeat
      }
      workgroupBarrier();
    }
  }
  // The weights of a row lie with four threads.
  ps[lane * 32u + row] = l;
  workgroupBarrier();
  let total = (ps[row] + ps[32u + row]) + (ps[64u + row] + ps[96u + row]);
  if (lane == 0u) {
    keep[row] = select(0.0, 1.0 / total, total > 0.0);
#if !CACHED
    if (base + row < n) { lse[head] = select(0.0, (m + log2(total)) * LN2, total > 0.0); }
#endif
  }
  workgroupBarrier();
#repeat J EACH
  {
    let i = base + first_row + $Ju;
    if (i < n) { o[((b * p.t + i / share) * p.heads + kvh * share + i % share) * UNITS + d] = acc$J * keep[first_row + $Ju]; }
  }
#endrepeat
}
