// dq of real GPUs. See attention_dq.wgsl for what is computed and common/attention_tile.wgsl for how: a workgroup owns 32 rows (queries ×
// the heads of one key head) and walks over the keys that any of them sees, 16 at a time.
// Grid: ⌈t·G / 32⌉ workgroups per (batch row, key head), folded. Overwrites dq, or adds to it with ACC.
// Variants: {|ACC} {|CAP} {UNITS=8,EACH=2|UNITS=16,EACH=4|UNITS=32,EACH=8}
#include "common/attention_io.wgsl"
@group(0) @binding(auto) var<storage, read> q: array<T>;             // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read> k: array<T>;             // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read> v: array<T>;             // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read> dout: array<T>;          // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read> o: array<T>;             // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read_write> dq: array<T>;      // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read_write> stats: array<f32>; // see common/attention_stats.wgsl; delta is written here
#include "common/attention_stats.wgsl"
#include "common/attention_tile.wgsl"
var<workgroup> qs: array<vec4<f32>, 32u * STRIDE>;
var<workgroup> gs: array<vec4<f32>, 32u * STRIDE>;
var<workgroup> ds: array<f32, 512>;      // [key][row]

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
  var delta = 0.0;
  for (var c = 0u; c < UNITS; c++) { delta += dot(o[head * UNITS + c], dout[head * UNITS + c]); }
  if (lane == 0u && base + row < n) { stats[delta_at(head)] = delta; }
  for (var c = lane; c < UNITS; c += 4u) {
    qs[row * STRIDE + c] = q[head * UNITS + c];
    gs[row * STRIDE + c] = dout[head * UNITS + c];
  }
  let lse = stats[head];
  let sp = select(vec2<u32>(0u, 0u), span(query, 0u), base + row < n);
  let bounds = limits(sp, lid);
  let d = lid % UNITS;
  let first_row = (lid / UNITS) * EACH;
#repeat J EACH
  var acc$J = vec4<f32>(0.0);
#endrepeat
  for (var j0 = bounds.x; j0 < bounds.y; j0 += 16u) {
    // A thread's keys are lane, lane + 4, …
#repeat K 4
    var s$K = 0.0;
    var dp$K = 0.0;
    let kat$K = ((b * p.s + min(j0 + lane + $Ku * 4u, bounds.y - 1u)) * p.kv_heads + kvh) * UNITS;
#endrepeat
    for (var c = 0u; c < UNITS; c++) {
      let x = qs[row * STRIDE + c];
      let g = gs[row * STRIDE + c];
#repeat K 4
      s$K += dot(x, k[kat$K + c]);
      dp$K += dot(g, v[kat$K + c]);
#endrepeat
    }
#repeat K 4
    {
      let w = exp2((natural(s$K) - lse) * LOG2E);
      ds[(lane + $Ku * 4u) * 32u + row] = select(0.0, w * (dp$K - delta) * slope(s$K), j0 + lane + $Ku * 4u - sp.x < sp.y);
    }
#endrepeat
    workgroupBarrier();
    for (var i = 0u; i < min(16u, bounds.y - j0); i++) {
      let x = k[((b * p.s + j0 + i) * p.kv_heads + kvh) * UNITS + d];
#repeat J EACH
      acc$J += ds[i * 32u + first_row + $Ju] * x;
#endrepeat
    }
    workgroupBarrier();
  }
#repeat J EACH
  {
    let i = base + first_row + $Ju;
    if (i < n) {
      let at = ((b * p.t + i / share) * p.heads + kvh * share + i % share) * UNITS + d;
#if ACC
      dq[at] += acc$J;
#else
      dq[at] = acc$J;
#endif
    }
  }
#endrepeat
}
