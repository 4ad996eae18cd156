// dq = scale · Σ_j ds_j·k_j with ds_j = w_j·(do·v_j − delta), w_j = exp(scale·q·k_j − lse): the weights are computed again, never stored.
// Without barriers: a thread owns QB rows (see common/attention_io.wgsl) and takes the keys that any of them sees KB at a time. Sums are kept in dq.
// Keys may be cut into several dispatches, all but the first with ACC.
// Grid: ⌈t·G / (WG·QB)⌉ workgroups per (batch row, key head), folded into (x, y). Overwrites dq, or adds to it with ACC.
// Variants: {|ACC} {|SCALAR} {|CAP} {WG=8|WG=32} {QB=1,KB=8|QB=8,KB=8}
#include "common/attention_io.wgsl"
@group(0) @binding(auto) var<storage, read> q: array<T>;             // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read> k: array<T>;             // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read> v: array<T>;             // (batch, s, kv_heads, dim)
@group(0) @binding(auto) var<storage, read> dout: array<T>;          // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read> o: array<T>;             // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read_write> dq: array<T>;      // (batch, t, heads, dim)
@group(0) @binding(auto) var<storage, read_write> stats: array<f32>; // see common/attention_stats.wgsl; delta is written here
#include "common/attention_stats.wgsl"

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let id = linear_group(wid, nwg);
  let bh = id / p.groups;
  if (bh >= p.batch * p.kv_heads) { return; }
  let b = bh / p.kv_heads;
  let kvh = bh % p.kv_heads;
  let share = p.heads / p.kv_heads;
  let n = p.t * share;
  var first = 0xffffffffu;
  var last = 0u;
  let base = ((id % p.groups) * u32(WG) + lid) * u32(QB);
  if (base >= n) { return; }
#repeat I QB
  // Rows beyond the edge repeat the last one and see nothing.
  let r$I = min(base + $Iu, n - 1u);
  let row$I = b * p.t + r$I / share;
  let head$I = row$I * p.heads + kvh * share + r$I % share;
  let at$I = head$I * p.dim;
  let sp$I = select(vec2<u32>(0u, 0u), span(row$I, 0u), base + $Iu < n);
  first = min(first, select(first, sp$I.x, sp$I.y > 0u));
  last = max(last, select(0u, sp$I.x + sp$I.y, sp$I.y > 0u));
  let lse$I = stats[head$I] * LOG2E;
  var delta$I = 0.0;
  for (var d = 0u; d < p.dim; d++) {
    delta$I += inner(o[at$I + d], dout[at$I + d]);
#if !ACC
    dq[at$I + d] = T(0.0);
#endif
  }
  stats[delta_at(head$I)] = delta$I;
#endrepeat
  for (var j = first; j < last; j += u32(KB)) {
#repeat J KB
    let kat$J = ((b * p.s + min(j + $Ju, p.s - 1u)) * p.kv_heads + kvh) * p.dim;
#repeat I QB
    var s$I_$J = 0.0;
    var dp$I_$J = 0.0;
#endrepeat
#endrepeat
    for (var d = 0u; d < p.dim; d++) {
#repeat J KB
      let k$J = k[kat$J + d];
      let v$J = v[kat$J + d];
#endrepeat
#repeat I QB
      let q$I = q[at$I + d];
      let g$I = dout[at$I + d];
#repeat J KB
      s$I_$J += inner(q$I, k$J);
      dp$I_$J += inner(g$I, v$J);
#endrepeat
#endrepeat
    }
#repeat I QB
#repeat J KB
    {
      let w = exp2(binary(s$I_$J) - lse$I);
      s$I_$J = select(0.0, w * (dp$I_$J - delta$I) * slope(s$I_$J), j + $Ju - sp$I.x < sp$I.y);
    }
#endrepeat
#endrepeat
    for (var d = 0u; d < p.dim; d++) {
#repeat J KB
      let k$J = k[kat$J + d];
#endrepeat
#repeat I QB
      var a$I = dq[at$I + d];
#repeat J KB
      a$I += s$I_$J * k$J;
#endrepeat
      dq[at$I + d] = a$I;
#endrepeat
    }
  }
}
