// dk and dv of real GPUs. See attention_dkv.wgsl for what is computed and common/attention_tile.wgsl for how: a workgroup owns 32 keys and
// walks over all rows of its batch row (queries × the heads of one key head), 16 at a time; tiles that see none of its keys cost little.
// Grid: ⌈s / 32⌉ workgroups per (batch row, key head), folded. Overwrites, or adds with ACC_K and ACC_V.
// Variants: {|ACC_K} {|ACC_V} {|CAP} {UNITS=8,EACH=2|UNITS=16,EACH=4|UNITS=32,EACH=8}
#include "common/attention_io.wgsl"
@group(0) @binding(auto) var<storage, read> q: array<T>;             // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read> k: array<T>;             // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read> v: array<T>;             // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read> dout: array<T>;          // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read> stats: array<f32>;       // see common/attention_stats.wgsl
#include "common/attention_stats.wgsl"
@group(0) @binding(auto) var<storage, read_write> dk: array<T>;      // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read_write> dv: array<T>;      // (batch, s, kv_heads, dim)
#include "common/attention_tile.wgsl"
var<workgroup> ks: array<vec4<f32>, 32u * STRIDE>;
var<workgroup> vs: array<vec4<f32>, 32u * STRIDE>;
var<workgroup> ws: array<f32, 512>;          // [row][key]
var<workgroup> ds: array<f32, 512>;          // [row][key]
var<workgroup> heads: array<u32, 16>;        // index of a row's head

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
  // Keys beyond the edge repeat the last one and are not stored.
  let key = lid % 32u;
  let lane = lid / 32u;
  let kat = ((b * p.s + min(base + key, p.s - 1u)) * p.kv_heads + kvh) * UNITS;
  for (var c = lane; c < UNITS; c += 4u) {
    ks[key * STRIDE + c] = k[kat + c];
    vs[key * STRIDE + c] = v[kat + c];
  }
  let d = lid % UNITS;
  let first_key = (lid / UNITS) * EACH;
#repeat J EACH
  var dk$J = vec4<f32>(0.0);
  var dv$J = vec4<f32>(0.0);
#endrepeat
  for (var r0 = 0u; r0 < n; r0 += 16u) {
    workgroupBarrier();
    if (lid < 16u) {
      let r = min(r0 + lid, n - 1u);
      let query = b * p.t + r / share;
      heads[lid] = query * p.heads + kvh * share + r % share;
      ranges[lid] = select(vec2<u32>(0u, 0u), span(query, 0u), r0 + lid < n);
    }
    workgroupBarrier();
    var seen = false;
    for (var i = 0u; i < 16u; i++) {
      let sp = ranges[i];
      // Keys base … base + 31 and sp overlap.
      seen = seen | ((base + 31u - sp.x < sp.y + 31u) & (sp.y > 0u));
    }
    if (seen) {
      // A thread's rows are lane, lane + 4, …
#repeat R 4
      var s$R = 0.0;
      var dp$R = 0.0;
      let h$R = heads[lane + $Ru * 4u];
#endrepeat
      for (var c = 0u; c < UNITS; c++) {
        let x = ks[key * STRIDE + c];
        let y = vs[key * STRIDE + c];
#repeat R 4
        s$R += dot(q[h$R * UNITS + c], x);
        dp$R += dot(dout[h$R * UNITS + c], y);
#endrepeat
      }
#repeat R 4
      {
        let st = vec2<f32>(stats[h$R], stats[delta_at(h$R)]);
        let sp = ranges[lane + $Ru * 4u];
        let w = select(0.0, exp2((natural(s$R) - st.x) * LOG2E), base + key - sp.x < sp.y);
        ws[(lane + $Ru * 4u) * 32u + key] = w;
        ds[(lane + $Ru * 4u) * 32u + key] = w * (dp$R - st.y) * slope(s$R);
      }
#endrepeat
    }
    workgroupBarrier();
    if (seen) {
      for (var i = 0u; i < 16u; i++) {
        let at = heads[i] * UNITS + d;
        let x = q[at];
        let y = dout[at];
#repeat J EACH
        dk$J += ds[i * 32u + first_key + $Ju] * x;
        dv$J += ws[i * 32u + first_key + $Ju] * y;
#endrepeat
      }
    }
  }
#repeat J EACH
  if (base + first_key + $Ju < p.s) {
    let at = ((b * p.s + base + first_key + $Ju) * p.kv_heads + kvh) * UNITS + d;
#if ACC_K
    dk[at] += dk$J;
#else
    dk[at] = dk$J;
#endif
#if ACC_V
    dv[at] += dv$J;
#else
    dv[at] = dv$J;
#endif
  }
#endrepeat
}
